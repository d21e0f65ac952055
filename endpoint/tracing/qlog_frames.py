"""Frames as qlog writes them (draft-ietf-quic-qlog-quic-events, "QUIC Frames")."""

from collections.abc import Callable, Mapping
from typing import Any

from endpoint.errors import TransportError
from endpoint.level import Level
from endpoint.trace import DataRange
from endpoint.tracing.qlog_names import application_error, transport_error
from endpoint.wire.frame_parser import iter_frames
from endpoint.wire.frames import (
    Ack,
    AckFrequency,
    ConnectionClose,
    Crypto,
    DataBlocked,
    Datagram,
    Frame,
    FrameType,
    HandshakeDone,
    ImmediateAck,
    MaxData,
    MaxStreamData,
    MaxStreams,
    NewConnectionId,
    NewToken,
    Padding,
    PathChallenge,
    PathResponse,
    Ping,
    ResetStream,
    RetireConnectionId,
    StopSending,
    Stream,
    StreamDataBlocked,
    StreamsBlocked,
)
from endpoint.wire.varint import Buffer

QlogFrame = dict[str, Any]


def qlog_frames(
    payload: Buffer, level: Level, ack_delay_exponent: int, error_names: Mapping[int, str]
) -> list[QlogFrame]:
    """The frames of a packet, as far as they are well-formed.

    `ack_delay_exponent` is that of the sender (RFC 9000 §18.2), `error_names` what the application calls its
    error codes.
    """
    frames: list[QlogFrame] = []
    try:
        for frame in iter_frames(payload, 0, len(payload), level):
            if isinstance(frame, Ack):
                frames.append(_ack(frame, ack_delay_exponent))
            elif isinstance(frame, ResetStream | StopSending | ConnectionClose):
                frames.append(_ERROR_WRITERS[type(frame)](frame, error_names))
            else:
                frames.append(_WRITERS[type(frame)](frame))
    except TransportError:
        # What is wrong with it closes the connection, and connection_closed tells.
        return frames
    return frames


def qlog_data(data: DataRange) -> QlogFrame:
    """The frame that a range of data would fit in."""
    place = {"offset": data.offset, "raw": {"length": data.length}}
    if data.stream_id is None:
        return {"frame_type": "crypto", **place}
    frame = {"frame_type": "stream", "stream_id": data.stream_id, **place}
    return {**frame, "fin": True} if data.fin else frame


def _ack(frame: Ack, exponent: int) -> QlogFrame:
    qlog: QlogFrame = {
        "frame_type": "ack",
        "ack_delay": (frame.ack_delay << exponent) / 1000,
        "acked_ranges": [[low] if low == high else [low, high] for low, high in frame.ranges],
    }
    if frame.ecn is not None:
        qlog["ect0"], qlog["ect1"], qlog["ce"] = frame.ecn
    return qlog


def _stream_type(*, unidirectional: bool) -> str:
    return "unidirectional" if unidirectional else "bidirectional"


def _reset_stream(frame: ResetStream, names: Mapping[int, str]) -> QlogFrame:
    return {
        "frame_type": "reset_stream",
        "stream_id": frame.stream_id,
        **application_error("error", frame.application_error_code, names),
        "final_size": frame.final_size,
    }


def _stop_sending(frame: StopSending, names: Mapping[int, str]) -> QlogFrame:
    return {
        "frame_type": "stop_sending",
        "stream_id": frame.stream_id,
        **application_error("error", frame.application_error_code, names),
    }


def _stream(frame: Stream) -> QlogFrame:
    qlog: QlogFrame = {"frame_type": "stream", "stream_id": frame.stream_id, "offset": frame.offset}
    if frame.fin:
        qlog["fin"] = True
    qlog["raw"] = {"length": len(frame.data)}
    return qlog


def _max_streams(frame: MaxStreams) -> QlogFrame:
    stream_type = _stream_type(unidirectional=frame.unidirectional)
    return {"frame_type": "max_streams", "stream_type": stream_type, "maximum": frame.maximum_streams}


def _streams_blocked(frame: StreamsBlocked) -> QlogFrame:
    stream_type = _stream_type(unidirectional=frame.unidirectional)
    return {"frame_type": "streams_blocked", "stream_type": stream_type, "limit": frame.maximum_streams}


def _new_connection_id(frame: NewConnectionId) -> QlogFrame:
    return {
        "frame_type": "new_connection_id",
        "sequence_number": frame.sequence_number,
        "retire_prior_to": frame.retire_prior_to,
        "connection_id_length": len(frame.connection_id),
        "connection_id": frame.connection_id.hex(),
        "stateless_reset_token": frame.stateless_reset_token.hex(),
    }


def _connection_close(frame: ConnectionClose, names: Mapping[int, str]) -> QlogFrame:
    if frame.frame_type is None:
        error = application_error("error", frame.error_code, names)
        return {
            "frame_type": "connection_close",
            "error_space": "application",
            **error,
            "reason": frame.reason,
        }
    qlog: QlogFrame = {
        "frame_type": "connection_close",
        "error_space": "transport",
        **transport_error("error", frame.error_code),
        "reason": frame.reason,
    }
    if frame.frame_type:
        qlog["trigger_frame_type"] = frame.frame_type
    return qlog


def _unknown(frame_type: int) -> QlogFrame:
    return {"frame_type": "unknown", "frame_type_bytes": frame_type}


_ERROR_WRITERS: dict[type[Frame], Callable[[Any, Mapping[int, str]], QlogFrame]] = {
    ResetStream: _reset_stream,
    StopSending: _stop_sending,
    ConnectionClose: _connection_close,
}
_WRITERS: dict[type[Frame], Callable[[Any], QlogFrame]] = {
    Padding: lambda frame: {"frame_type": "padding", "raw": {"payload_length": frame.length}},
    Ping: lambda _: {"frame_type": "ping"},
    Crypto: lambda frame: {
        "frame_type": "crypto",
        "offset": frame.offset,
        "raw": {"length": len(frame.data)},
    },
    NewToken: lambda frame: {
        "frame_type": "new_token",
        "token": {"type": "resumption", "raw": {"length": len(frame.token), "data": frame.token.hex()}},
    },
    Stream: _stream,
    MaxData: lambda frame: {"frame_type": "max_data", "maximum": frame.maximum_data},
    MaxStreamData: lambda frame: {
        "frame_type": "max_stream_data",
        "stream_id": frame.stream_id,
        "maximum": frame.maximum_stream_data,
    },
    MaxStreams: _max_streams,
    DataBlocked: lambda frame: {"frame_type": "data_blocked", "limit": frame.maximum_data},
    StreamDataBlocked: lambda frame: {
        "frame_type": "stream_data_blocked",
        "stream_id": frame.stream_id,
        "limit": frame.maximum_stream_data,
    },
    StreamsBlocked: _streams_blocked,
    NewConnectionId: _new_connection_id,
    RetireConnectionId: lambda frame: {
        "frame_type": "retire_connection_id",
        "sequence_number": frame.sequence_number,
    },
    PathChallenge: lambda frame: {"frame_type": "path_challenge", "data": frame.data.hex()},
    PathResponse: lambda frame: {"frame_type": "path_response", "data": frame.data.hex()},
    HandshakeDone: lambda _: {"frame_type": "handshake_done"},
    Datagram: lambda frame: {"frame_type": "datagram", "raw": {"length": len(frame.data)}},
    # The drafts have no names for frames of other extensions.
    AckFrequency: lambda _: _unknown(FrameType.ACK_FREQUENCY),
    ImmediateAck: lambda _: _unknown(FrameType.IMMEDIATE_ACK),
}
