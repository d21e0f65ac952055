"""The frames of the QUIC events, editors' copy of July 2026."""

from qlog.schema.notation import Type, alias, choice, enum, frame, pattern

# What the frames had until their common RawInfo
_OLD = "?raw:RawInfo !length=raw.length@quic-12 !payload_length=raw.payload_length@quic-10"
_RESET = (
    "stream_id:uint64 error:ApplicationError@quic-12 ?error_code:uint64@quic-12"
    " !error_code_bytes=error_code@quic-12"
)

FRAMES: dict[str, Type] = {
    "QuicFrame": choice(
        "frame_type",
        "padding=PaddingFrame ping=PingFrame ack=AckFrame reset_stream=ResetStreamFrame"
        " reset_stream_at=ResetStreamAtFrame stop_sending=StopSendingFrame crypto=CryptoFrame"
        " new_token=NewTokenFrame stream=StreamFrame max_data=MaxDataFrame"
        " max_stream_data=MaxStreamDataFrame max_streams=MaxStreamsFrame data_blocked=DataBlockedFrame"
        " stream_data_blocked=StreamDataBlockedFrame streams_blocked=StreamsBlockedFrame"
        " new_connection_id=NewConnectionIDFrame retire_connection_id=RetireConnectionIDFrame"
        " path_challenge=PathChallengeFrame path_response=PathResponseFrame"
        " connection_close=ConnectionCloseFrame handshake_done=HandshakeDoneFrame unknown=UnknownFrame"
        " datagram=DatagramFrame",
    ),
    "PaddingFrame": frame("padding", _OLD),
    "PingFrame": frame("ping", _OLD),
    "AckRange": alias("[1-2*uint64]"),
    "AckFrame": frame(
        "ack", f"?ack_delay:float ?acked_ranges:[+AckRange] ?ect1:uint64 ?ect0:uint64 ?ce:uint64 {_OLD}"
    ),
    "ResetStreamFrame": frame("reset_stream", f"{_RESET} final_size:uint64 {_OLD}"),
    "ResetStreamAtFrame": frame("reset_stream_at", f"{_RESET} final_size:uint64 reliable_size:uint64 {_OLD}"),
    "StopSendingFrame": frame("stop_sending", f"{_RESET} {_OLD}"),
    "CryptoFrame": frame("crypto", "offset:uint64 raw:RawInfo !length=raw.length@quic-12"),
    "NewTokenFrame": frame("new_token", f"token:Token {_OLD}"),
    "StreamFrame": frame("stream", f"stream_id:uint64 ?offset:uint64 ?fin:bool !id=stream_id {_OLD}"),
    "MaxDataFrame": frame("max_data", f"maximum:uint64 {_OLD}"),
    "MaxStreamDataFrame": frame("max_stream_data", f"stream_id:uint64 maximum:uint64 {_OLD}"),
    "MaxStreamsFrame": frame("max_streams", f"stream_type:StreamType maximum:uint64 {_OLD}"),
    "DataBlockedFrame": frame("data_blocked", f"limit:uint64 {_OLD}"),
    "StreamDataBlockedFrame": frame("stream_data_blocked", f"stream_id:uint64 limit:uint64 {_OLD}"),
    "StreamsBlockedFrame": frame("streams_blocked", f"stream_type:StreamType limit:uint64 {_OLD}"),
    "NewConnectionIDFrame": frame(
        "new_connection_id",
        "sequence_number:uint64 retire_prior_to:uint64 ?connection_id_length:uint8 connection_id:ConnectionID"
        " ?stateless_reset_token:StatelessResetToken ?raw:RawInfo !length=connection_id_length"
        " !reset_token=stateless_reset_token !retire_before=retire_prior_to",
    ),
    "RetireConnectionIDFrame": frame("retire_connection_id", f"sequence_number:uint64 {_OLD}"),
    # RFC 9000 §19.17: 8 bytes, and the draft says so in a comment
    "PathData": pattern("[0-9a-f]{16}"),
    "PathChallengeFrame": frame("path_challenge", f"?data:PathData {_OLD}"),
    "PathResponseFrame": frame("path_response", f"?data:PathData {_OLD}"),
    "ErrorSpace": enum(
        "transport application", renamed="transport_error=transport application_error=application"
    ),
    "ConnectionCloseFrame": frame(
        "connection_close",
        "?error_space:ErrorSpace ?error:TransportError/CryptoError/ApplicationError@quic-12"
        " ?error_code:uint64@quic-12 !raw_error_code=error_code@quic-04 !error_code_value=error_code@quic-07"
        " !error_code_bytes=error_code@quic-12"
        f" ?reason:text ?reason_bytes:hexstring ?trigger_frame_type:uint64/text {_OLD}",
    ),
    "HandshakeDoneFrame": frame("handshake_done", _OLD),
    "UnknownFrame": frame(
        "unknown",
        "frame_type_bytes:uint64 ?raw:RawInfo !raw_frame_type=frame_type_bytes@quic-04"
        " !frame_type_value=frame_type_bytes@quic-08 !raw_length=raw.length@quic-04",
    ),
    "DatagramFrame": frame("datagram", _OLD),
}
