"""The strict row parser: one frame at a time (RFC 9000 §12.4, §19; RFC 9221 §4).

`iter_frames` is the reference that every faster way of reading frames must agree with. The data path
calls `parse_stream`, `parse_ack`, `parse_datagram` and `skip_padding` itself, which make no frame
objects where they can avoid it, and `parse_frame` for the rest.

Positions are offsets in `buf`; `end` is where the packet's payload stops. Every function raises only
TransportError, with the type of the frame at fault.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeAlias

from endpoint.errors import TransportError, TransportErrorCode
from endpoint.level import Level
from endpoint.wire.frames import (
    FRAME_TYPES,
    PATH_DATA_LENGTH,
    PERMITTED_FRAME_TYPES,
    STATELESS_RESET_TOKEN_LENGTH,
    STREAM_FIN,
    STREAM_LEN,
    STREAM_OFF,
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
from endpoint.wire.header import MAX_CID_LENGTH
from endpoint.wire.varint import VARINT_MAX, Buffer, read_varint, read_varints, varint_length

# RFC 9000 §4.6: a larger count of streams would need stream IDs of more than 62 bits.
MAX_STREAMS_LIMIT = 1 << 60
# The newest ranges that are kept of one ACK frame, so that its cost for recovery is bounded. A peer
# repeats ranges until their ACK is acknowledged, and packets this far back are declared lost anyway.
MAX_ACK_RANGES = 256

_ACK_ECN = int(FrameType.ACK_ECN)

_Parser: TypeAlias = Callable[[Buffer, int, int], tuple[Frame, int]]


def iter_frames(buf: Buffer, pos: int, end: int, level: Level) -> Iterator[Frame]:
    """Yield every frame of a packet's payload, in order, checked against the packet's `level`.

    Runs of PADDING come as one `Padding`. Raises TransportError at the first frame that is malformed,
    of unknown type or out of place, and on the first step for a payload without frames.
    """
    if pos >= end:
        # RFC 9000 §12.4.
        raise TransportError(TransportErrorCode.PROTOCOL_VIOLATION, "packet without frames")
    while pos < end:
        frame_type, pos = read_frame_type(buf, pos, end)
        require_permitted(frame_type, level)
        frame, pos = parse_frame(frame_type, buf, pos, end)
        yield frame


def read_frame_type(buf: Buffer, pos: int, end: int) -> tuple[int, int]:
    """Read a frame type; return it and the position after it.

    Raises TransportError: FRAME_ENCODING_ERROR where cut short, PROTOCOL_VIOLATION where the
    encoding is not the shortest (RFC 9000 §12.4).
    """
    frame_type, after = read_varint(buf, pos, end)
    if after - pos != varint_length(frame_type):
        raise TransportError(
            TransportErrorCode.PROTOCOL_VIOLATION, "frame type not in its shortest form", frame_type
        )
    return frame_type, after


def require_permitted(frame_type: int, level: Level) -> None:
    """Raise TransportError unless a frame of this type may come in a packet of this `level`.

    FRAME_ENCODING_ERROR for unknown types, PROTOCOL_VIOLATION for known ones (RFC 9000 §12.4).
    """
    if frame_type in PERMITTED_FRAME_TYPES[level]:
        return
    rules = FRAME_TYPES.get(frame_type)
    if rules is None:
        raise _unknown_type(frame_type)
    raise TransportError(
        TransportErrorCode.PROTOCOL_VIOLATION, f"{rules.name} in a {level.name} packet", frame_type
    )


def parse_frame(frame_type: int, buf: Buffer, pos: int, end: int) -> tuple[Frame, int]:
    """Parse the frame whose type was just read, `pos` being the position after the type.

    Returns the frame and the position after it. Knows every type of FRAME_TYPES. Raises TransportError.
    """
    parser = _PARSERS.get(frame_type)
    if parser is None:
        raise _unknown_type(frame_type)
    try:
        return parser(buf, pos, end)
    except TransportError as error:
        error.frame_type = frame_type
        raise


def parse_stream(frame_type: int, buf: Buffer, pos: int, end: int) -> tuple[int, int, int, int, bool]:
    """Parse a STREAM frame from after its type (RFC 9000 §19.8).

    Returns (stream_id, offset, data_start, data_end, fin): the data is buf[data_start:data_end] and
    the next frame is at data_end. Raises TransportError (FRAME_ENCODING_ERROR).
    """
    try:
        # Fields of two bytes, as most are, without a call for each.
        if pos + 1 < end and buf[pos] & 0xC0 == 0x40:
            stream_id = (buf[pos] & 0x3F) << 8 | buf[pos + 1]
            pos += 2
        else:
            stream_id, pos = read_varint(buf, pos, end)
        offset, data_end = 0, end
        if frame_type & STREAM_OFF:
            if pos + 1 < end and buf[pos] & 0xC0 == 0x40:
                offset = (buf[pos] & 0x3F) << 8 | buf[pos + 1]
                pos += 2
            else:
                offset, pos = read_varint(buf, pos, end)
        if frame_type & STREAM_LEN:
            if pos + 1 < end and buf[pos] & 0xC0 == 0x40:
                data_end = (buf[pos] & 0x3F) << 8 | buf[pos + 1]
                pos += 2
            else:
                data_end, pos = read_varint(buf, pos, end)
            data_end += pos
            if data_end > end:
                raise _malformed("truncated STREAM data")
        if offset + data_end - pos > VARINT_MAX:
            raise _malformed("stream longer than 2^62-1 bytes")
    except TransportError as error:
        error.frame_type = frame_type
        raise
    return stream_id, offset, pos, data_end, frame_type & STREAM_FIN != 0


def parse_ack(frame_type: int, buf: Buffer, pos: int, end: int) -> tuple[Ack, int]:
    """Parse an ACK frame from after its type (RFC 9000 §19.3); return it and the position after it.

    Only the MAX_ACK_RANGES newest ranges are kept; the others are checked and dropped. Linear in the
    bytes of the frame. Raises TransportError (FRAME_ENCODING_ERROR).
    """
    try:
        (largest, ack_delay, range_count, first_range), pos = read_varints(buf, pos, end, 4)
        smallest = largest - first_range
        if smallest < 0:
            raise _malformed("ACK range below packet number 0")
        ranges = [(smallest, largest)]
        if range_count:
            pos = _parse_ack_ranges(buf, pos, end, range_count, ranges)
        ecn = None
        if frame_type == _ACK_ECN:
            (ect0, ect1, ce), pos = read_varints(buf, pos, end, 3)
            ecn = (ect0, ect1, ce)
    except TransportError as error:
        error.frame_type = frame_type
        raise
    return Ack(largest, ack_delay, ranges, ecn), pos


def _parse_ack_ranges(buf: Buffer, pos: int, end: int, count: int, ranges: list[tuple[int, int]]) -> int:
    smallest = ranges[0][0]
    values, pos = read_varints(buf, pos, end, 2 * count)
    for index in range(0, 2 * count, 2):
        largest = smallest - values[index] - 2
        smallest = largest - values[index + 1]
        if smallest < 0:
            raise _malformed("ACK range below packet number 0")
        if len(ranges) < MAX_ACK_RANGES:
            ranges.append((smallest, largest))
    return pos


def parse_datagram(frame_type: int, buf: Buffer, pos: int, end: int) -> tuple[int, int]:
    """Parse a DATAGRAM frame from after its type (RFC 9221 §4).

    Returns (data_start, data_end); the next frame is at data_end. Raises TransportError
    (FRAME_ENCODING_ERROR).
    """
    if frame_type == FrameType.DATAGRAM:
        return pos, end
    try:
        return _read_length(buf, pos, end)
    except TransportError as error:
        error.frame_type = frame_type
        raise


def skip_padding(buf: Buffer, pos: int, end: int) -> int:
    """The position of the first byte at or after `pos` that is not PADDING."""
    return end - len(bytes(buf[pos:end]).lstrip(b"\x00"))


def _malformed(reason: str) -> TransportError:
    return TransportError(TransportErrorCode.FRAME_ENCODING_ERROR, reason)


def _unknown_type(frame_type: int) -> TransportError:
    return TransportError(TransportErrorCode.FRAME_ENCODING_ERROR, "unknown frame type", frame_type)


def _read_length(buf: Buffer, pos: int, end: int) -> tuple[int, int]:
    """Read a length; return where the field that it describes starts and ends."""
    length, pos = read_varint(buf, pos, end)
    if length > end - pos:
        raise _malformed("field exceeds the packet")
    return pos, pos + length


def _read_bytes(buf: Buffer, pos: int, end: int, length: int) -> tuple[bytes, int]:
    after = pos + length
    if after > end:
        raise _malformed("field exceeds the packet")
    return bytes(buf[pos:after]), after


def _integers(make: Callable[..., Frame], count: int) -> _Parser:
    """A parser for the frames that are `count` integers, each of which may have any value."""

    def parse(buf: Buffer, pos: int, end: int) -> tuple[Frame, int]:
        values, pos = read_varints(buf, pos, end, count)
        return make(*values), pos

    return parse


def _parse_padding(buf: Buffer, pos: int, end: int) -> tuple[Frame, int]:
    after = skip_padding(buf, pos, end)
    return Padding(1 + after - pos), after


def _parse_crypto(buf: Buffer, pos: int, end: int) -> tuple[Frame, int]:
    offset, pos = read_varint(buf, pos, end)
    start, pos = _read_length(buf, pos, end)
    # RFC 9000 §19.6.
    if offset + pos - start > VARINT_MAX:
        raise _malformed("CRYPTO stream longer than 2^62-1 bytes")
    return Crypto(offset, bytes(buf[start:pos])), pos


def _parse_new_token(buf: Buffer, pos: int, end: int) -> tuple[Frame, int]:
    start, pos = _read_length(buf, pos, end)
    # RFC 9000 §19.7.
    if start == pos:
        raise _malformed("empty token")
    return NewToken(bytes(buf[start:pos])), pos


def _parse_stream_frame(frame_type: int, buf: Buffer, pos: int, end: int) -> tuple[Frame, int]:
    stream_id, offset, start, pos, fin = parse_stream(frame_type, buf, pos, end)
    return Stream(stream_id, offset, bytes(buf[start:pos]), fin), pos


def _parse_datagram_frame(frame_type: int, buf: Buffer, pos: int, end: int) -> tuple[Frame, int]:
    start, pos = parse_datagram(frame_type, buf, pos, end)
    return Datagram(bytes(buf[start:pos])), pos


def _stream_count(
    make: Callable[[int, bool], Frame], unidirectional: bool, buf: Buffer, pos: int, end: int
) -> tuple[Frame, int]:
    count, pos = read_varint(buf, pos, end)
    # RFC 9000 §19.11 and §19.14.
    if count > MAX_STREAMS_LIMIT:
        raise _malformed("more than 2^60 streams")
    return make(count, unidirectional), pos


def _parse_new_connection_id(buf: Buffer, pos: int, end: int) -> tuple[Frame, int]:
    sequence_number, pos = read_varint(buf, pos, end)
    retire_prior_to, pos = read_varint(buf, pos, end)
    # RFC 9000 §19.15 for both checks.
    if retire_prior_to > sequence_number:
        raise _malformed("Retire Prior To exceeds Sequence Number")
    length_byte, pos = _read_bytes(buf, pos, end, 1)
    if not 1 <= length_byte[0] <= MAX_CID_LENGTH:
        raise _malformed("connection ID length outside 1..20")
    connection_id, pos = _read_bytes(buf, pos, end, length_byte[0])
    token, pos = _read_bytes(buf, pos, end, STATELESS_RESET_TOKEN_LENGTH)
    return NewConnectionId(sequence_number, retire_prior_to, connection_id, token), pos


def _path_data(make: Callable[[bytes], Frame], buf: Buffer, pos: int, end: int) -> tuple[Frame, int]:
    data, pos = _read_bytes(buf, pos, end, PATH_DATA_LENGTH)
    return make(data), pos


def _parse_close(frame_type: int, buf: Buffer, pos: int, end: int) -> tuple[Frame, int]:
    error_code, pos = read_varint(buf, pos, end)
    cause = None
    if frame_type == FrameType.CONNECTION_CLOSE:
        cause, pos = read_varint(buf, pos, end)
    start, pos = _read_length(buf, pos, end)
    # RFC 9000 §19.19: the phrase only SHOULD be UTF-8.
    reason = bytes(buf[start:pos]).decode("utf-8", "replace")
    return ConnectionClose(error_code, cause, reason), pos


_PARSERS: Mapping[int, _Parser] = {
    FrameType.PADDING: _parse_padding,
    FrameType.PING: _integers(Ping, 0),
    FrameType.ACK: partial(parse_ack, FrameType.ACK),
    FrameType.ACK_ECN: partial(parse_ack, FrameType.ACK_ECN),
    FrameType.RESET_STREAM: _integers(ResetStream, 3),
    FrameType.STOP_SENDING: _integers(StopSending, 2),
    FrameType.CRYPTO: _parse_crypto,
    FrameType.NEW_TOKEN: _parse_new_token,
    **{
        FrameType.STREAM | flags: partial(_parse_stream_frame, FrameType.STREAM | flags) for flags in range(8)
    },
    FrameType.MAX_DATA: _integers(MaxData, 1),
    FrameType.MAX_STREAM_DATA: _integers(MaxStreamData, 2),
    FrameType.MAX_STREAMS_BIDI: partial(_stream_count, MaxStreams, False),
    FrameType.MAX_STREAMS_UNI: partial(_stream_count, MaxStreams, True),
    FrameType.DATA_BLOCKED: _integers(DataBlocked, 1),
    FrameType.STREAM_DATA_BLOCKED: _integers(StreamDataBlocked, 2),
    FrameType.STREAMS_BLOCKED_BIDI: partial(_stream_count, StreamsBlocked, False),
    FrameType.STREAMS_BLOCKED_UNI: partial(_stream_count, StreamsBlocked, True),
    FrameType.NEW_CONNECTION_ID: _parse_new_connection_id,
    FrameType.RETIRE_CONNECTION_ID: _integers(RetireConnectionId, 1),
    FrameType.PATH_CHALLENGE: partial(_path_data, PathChallenge),
    FrameType.PATH_RESPONSE: partial(_path_data, PathResponse),
    FrameType.CONNECTION_CLOSE: partial(_parse_close, FrameType.CONNECTION_CLOSE),
    FrameType.APPLICATION_CLOSE: partial(_parse_close, FrameType.APPLICATION_CLOSE),
    FrameType.HANDSHAKE_DONE: _integers(HandshakeDone, 0),
    FrameType.DATAGRAM: partial(_parse_datagram_frame, FrameType.DATAGRAM),
    FrameType.DATAGRAM_LEN: partial(_parse_datagram_frame, FrameType.DATAGRAM_LEN),
    FrameType.ACK_FREQUENCY: _integers(AckFrequency, 4),
    FrameType.IMMEDIATE_ACK: _integers(ImmediateAck, 0),
}
