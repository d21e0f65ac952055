"""Writing frames (RFC 9000 §19, RFC 9221 §4): each function appends one frame to a bytearray.

Values are the caller's responsibility; ValueError only where one can't be encoded at all. Whether a
frame fits is asked before, by the size helpers; ACK and CONNECTION_CLOSE cut themselves to a limit.
"""

from collections.abc import Sequence
from struct import Struct
from typing import assert_never

from endpoint.wire.frames import (
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
from endpoint.wire.varint import Buffer, append_varint, append_varints, encode_varint, varint_length

# Asking an enum for a member costs as much as a call (Python 3.11).
_STREAM = int(FrameType.STREAM)
_STREAM_WITH_FIN = _STREAM | STREAM_FIN
_STREAM_OFF, _STREAM_LEN = _STREAM | STREAM_OFF, _STREAM | STREAM_LEN
_STREAM_OFF_LEN = _STREAM_OFF | STREAM_LEN
# What packs the header of a STREAM frame: type, stream in 2 or in 4 bytes, and up to two fields of 2 bytes.
_NARROW = tuple(Struct(">BH" + "H" * count).pack for count in range(3))
_WIDE = tuple(Struct(">BI" + "H" * count).pack for count in range(3))
_ACK, _ACK_ECN = int(FrameType.ACK), int(FrameType.ACK_ECN)
# The longest ACK frame of one range: a type of one byte, four fields of eight, three counts. And what each
# other range adds at most.
_MAX_ACK, _MAX_ACK_RANGE = 1 + 4 * 8 + 3 * 8, 2 * 8


def crypto_overhead(offset: int, length: int) -> int:
    """Bytes of a CRYPTO frame before its `length` bytes of data."""
    return 1 + varint_length(offset) + varint_length(length)


def append_padding(out: bytearray, length: int) -> None:
    """Append `length` PADDING frames."""
    out += bytes(length)


def append_ping(out: bytearray) -> None:
    """Append a PING frame."""
    out.append(FrameType.PING)


def append_ack(
    out: bytearray,
    ranges: Sequence[tuple[int, int]],
    ack_delay: int,
    ecn: tuple[int, int, int] | None,
    max_bytes: int,
) -> int:
    """Append an ACK frame of at most `max_bytes`; return how many of the ranges it tells.

    `ranges` are inclusive (smallest, largest), descending, disjoint and not adjacent, at least one.
    The oldest are left out where there is no room; 0, and nothing written, if not even the first fits.
    `ack_delay` is the field as sent, already divided by 2**ack_delay_exponent. `ecn` are the counts of
    ECT(0), ECT(1) and CE.
    """
    smallest, largest = ranges[0]
    others = len(ranges) - 1
    if max_bytes >= _MAX_ACK + others * _MAX_ACK_RANGE:
        # There is room, as there nearly always is.
        fields = [_ACK if ecn is None else _ACK_ECN, largest, ack_delay, others, largest - smallest]
        for next_smallest, next_largest in ranges[1:]:
            fields += (smallest - next_largest - 2, next_largest - next_smallest)
            smallest = next_smallest
        append_varints(out, fields if ecn is None else (*fields, *ecn))
        return others + 1
    head = encode_varint(largest) + encode_varint(ack_delay)
    first_range = encode_varint(largest - smallest)
    counts = b"" if ecn is None else b"".join(map(encode_varint, ecn))
    # All but the range count, whose own size depends on how many ranges follow.
    room = max_bytes - 1 - len(head) - len(first_range) - len(counts)
    if room < 1:
        return 0
    body = bytearray()
    count = 0
    for next_smallest, next_largest in ranges[1:]:
        mark = len(body)
        append_varint(body, smallest - next_largest - 2)
        append_varint(body, next_largest - next_smallest)
        if len(body) + varint_length(count + 1) > room:
            del body[mark:]
            break
        count += 1
        smallest = next_smallest
    out.append(_ACK if ecn is None else _ACK_ECN)
    out += head
    append_varint(out, count)
    out += first_range
    out += body
    out += counts
    return count + 1


def append_reset_stream(out: bytearray, stream_id: int, application_error_code: int, final_size: int) -> None:
    """Append a RESET_STREAM frame."""
    _append_integers(out, FrameType.RESET_STREAM, stream_id, application_error_code, final_size)


def append_stop_sending(out: bytearray, stream_id: int, application_error_code: int) -> None:
    """Append a STOP_SENDING frame."""
    _append_integers(out, FrameType.STOP_SENDING, stream_id, application_error_code)


def append_crypto(out: bytearray, offset: int, data: Buffer) -> None:
    """Append a CRYPTO frame."""
    _append_integers(out, FrameType.CRYPTO, offset, len(data))
    out += data


def append_new_token(out: bytearray, token: bytes) -> None:
    """Append a NEW_TOKEN frame. The token must not be empty."""
    _append_integers(out, FrameType.NEW_TOKEN, len(token))
    out += token


def begin_stream(
    out: bytearray, stream_id: int, offset: int, length: int, room: int, fin: bool
) -> tuple[int, bool]:
    """Append the header of a STREAM frame for as much of `length` bytes as `room` has space for.

    Returns how many those are, and the FIN bit: that of the whole. The frame takes at most `room` bytes and
    has no Length field where it takes all of them, up to the end of the packet (RFC 9000 §19.8).
    """
    if offset < 0x4000 > room and 0x40 <= stream_id < 0x4000_0000:
        # In one step, with fields of two bytes even where one would do, which RFC 9000 §16 allows.
        if stream_id < 0x4000:
            size, field, headers = 3, stream_id | 0x4000, _NARROW
        else:
            size, field, headers = 5, stream_id | 0x8000_0000, _WIDE
        if offset:
            size += 2
            if length + size + 2 <= room:
                out += headers[2](_STREAM_OFF_LEN | fin, field, offset | 0x4000, length | 0x4000)
                return length, fin
            if length + size >= room:
                fin = fin and length + size == room
                out += headers[1](_STREAM_OFF | fin, field, offset | 0x4000)
                return room - size, fin
        elif length + size + 2 <= room:
            out += headers[1](_STREAM_LEN | fin, field, length | 0x4000)
            return length, fin
        elif length + size >= room:
            fin = fin and length + size == room
            out += headers[0](_STREAM | fin, field)
            return room - size, fin
    return _begin_any_stream(out, stream_id, offset, length, room, fin=fin)


def _begin_any_stream(
    out: bytearray, stream_id: int, offset: int, length: int, room: int, *, fin: bool
) -> tuple[int, bool]:
    """The same for all values, each in its shortest form."""
    start = len(out)
    out.append(_STREAM)
    if offset:
        frame_type = _STREAM | STREAM_OFF
        append_varints(out, (stream_id, offset))
    else:
        frame_type = _STREAM
        append_varint(out, stream_id)
    fits = room - len(out) + start
    if length >= fits:
        fin = fin and length == fits
        length = fits
    else:
        frame_type |= STREAM_LEN
        # As long as the Length field for `room` would be: its own may turn out shorter.
        fits -= 1 if room < 0x40 else 2 if room < 0x4000 else varint_length(room)
        if fits < length:
            length, fin = fits, False
        append_varint(out, length)
    out[start] = frame_type | STREAM_FIN if fin else frame_type
    return length, fin


def append_stream(out: bytearray, stream_id: int, offset: int, data: Buffer, *, fin: bool) -> None:
    """Append a STREAM frame with its data and a Length field: anything may follow in its packet."""
    frame_type = (_STREAM_WITH_FIN if fin else _STREAM) | STREAM_LEN
    if offset:
        append_varints(out, (frame_type | STREAM_OFF, stream_id, offset, len(data)))
    else:
        append_varints(out, (frame_type, stream_id, len(data)))
    out += data


def append_max_data(out: bytearray, maximum_data: int) -> None:
    """Append a MAX_DATA frame."""
    _append_integers(out, FrameType.MAX_DATA, maximum_data)


def append_max_stream_data(out: bytearray, stream_id: int, maximum_stream_data: int) -> None:
    """Append a MAX_STREAM_DATA frame."""
    _append_integers(out, FrameType.MAX_STREAM_DATA, stream_id, maximum_stream_data)


def append_max_streams(out: bytearray, maximum_streams: int, *, unidirectional: bool) -> None:
    """Append a MAX_STREAMS frame."""
    frame_type = FrameType.MAX_STREAMS_UNI if unidirectional else FrameType.MAX_STREAMS_BIDI
    _append_integers(out, frame_type, maximum_streams)


def append_data_blocked(out: bytearray, maximum_data: int) -> None:
    """Append a DATA_BLOCKED frame."""
    _append_integers(out, FrameType.DATA_BLOCKED, maximum_data)


def append_stream_data_blocked(out: bytearray, stream_id: int, maximum_stream_data: int) -> None:
    """Append a STREAM_DATA_BLOCKED frame."""
    _append_integers(out, FrameType.STREAM_DATA_BLOCKED, stream_id, maximum_stream_data)


def append_streams_blocked(out: bytearray, maximum_streams: int, *, unidirectional: bool) -> None:
    """Append a STREAMS_BLOCKED frame."""
    frame_type = FrameType.STREAMS_BLOCKED_UNI if unidirectional else FrameType.STREAMS_BLOCKED_BIDI
    _append_integers(out, frame_type, maximum_streams)


def append_new_connection_id(
    out: bytearray,
    sequence_number: int,
    retire_prior_to: int,
    connection_id: bytes,
    stateless_reset_token: bytes,
) -> None:
    """Append a NEW_CONNECTION_ID frame: an ID of 1 to 20 bytes, a token of 16."""
    _append_integers(out, FrameType.NEW_CONNECTION_ID, sequence_number, retire_prior_to)
    out.append(len(connection_id))
    out += connection_id
    out += stateless_reset_token


def append_retire_connection_id(out: bytearray, sequence_number: int) -> None:
    """Append a RETIRE_CONNECTION_ID frame."""
    _append_integers(out, FrameType.RETIRE_CONNECTION_ID, sequence_number)


def append_path_challenge(out: bytearray, data: bytes) -> None:
    """Append a PATH_CHALLENGE frame with its 8 bytes."""
    out.append(FrameType.PATH_CHALLENGE)
    out += data


def append_path_response(out: bytearray, data: bytes) -> None:
    """Append a PATH_RESPONSE frame with its 8 bytes."""
    out.append(FrameType.PATH_RESPONSE)
    out += data


def append_connection_close(
    out: bytearray, error_code: int, frame_type: int | None, reason: str, max_bytes: int
) -> None:
    """Append a CONNECTION_CLOSE frame of at most `max_bytes`, cutting `reason` at a character to fit.

    `frame_type` is the type of the frame at fault (0: unknown); None makes it the application's
    close, type 0x1d. The frame without reason takes up to 18 bytes, which the caller must have.
    """
    head = bytearray()
    if frame_type is None:
        _append_integers(head, FrameType.APPLICATION_CLOSE, error_code)
    else:
        _append_integers(head, FrameType.CONNECTION_CLOSE, error_code, frame_type)
    phrase = reason.encode("utf-8", "replace")
    room = max(max_bytes - len(head) - varint_length(len(phrase)), 0)
    if len(phrase) > room:
        phrase = phrase[:room].decode("utf-8", "ignore").encode()
    out += head
    append_varint(out, len(phrase))
    out += phrase


def append_handshake_done(out: bytearray) -> None:
    """Append a HANDSHAKE_DONE frame."""
    out.append(FrameType.HANDSHAKE_DONE)


def append_datagram(out: bytearray, data: Buffer, *, with_length: bool = True) -> None:
    """Append a DATAGRAM frame; without a length it must be the last frame of its packet."""
    if with_length:
        _append_integers(out, FrameType.DATAGRAM_LEN, len(data))
    else:
        out.append(FrameType.DATAGRAM)
    out += data


def append_ack_frequency(
    out: bytearray,
    sequence_number: int,
    ack_eliciting_threshold: int,
    requested_max_ack_delay: int,
    reordering_threshold: int,
) -> None:
    """Append an ACK_FREQUENCY frame, whose type takes two bytes. The delay is microseconds."""
    append_varint(out, FrameType.ACK_FREQUENCY)
    for value in (
        sequence_number,
        ack_eliciting_threshold,
        requested_max_ack_delay,
        reordering_threshold,
    ):
        append_varint(out, value)


def append_immediate_ack(out: bytearray) -> None:
    """Append an IMMEDIATE_ACK frame."""
    out.append(FrameType.IMMEDIATE_ACK)


def append_frame(out: bytearray, frame: Frame) -> None:
    """Append any frame value, uncut; the inverse of `frame_parser.parse_frame`."""
    match frame:
        case Padding(length):
            append_padding(out, length)
        case Ping():
            append_ping(out)
        case Ack():
            append_ack(out, frame.ranges, frame.ack_delay, frame.ecn, _UNLIMITED)
        case ResetStream():
            append_reset_stream(out, frame.stream_id, frame.application_error_code, frame.final_size)
        case StopSending():
            append_stop_sending(out, frame.stream_id, frame.application_error_code)
        case Crypto(offset, data):
            append_crypto(out, offset, data)
        case NewToken(token):
            append_new_token(out, token)
        case Stream(stream_id, offset, data, fin):
            append_stream(out, stream_id, offset, data, fin=fin)
        case ConnectionClose(error_code, frame_type, reason):
            append_connection_close(out, error_code, frame_type, reason, _UNLIMITED)
        case HandshakeDone():
            append_handshake_done(out)
        case Datagram(data):
            append_datagram(out, data)
        case AckFrequency(sequence_number, threshold, max_ack_delay, reordering):
            append_ack_frequency(out, sequence_number, threshold, max_ack_delay, reordering)
        case ImmediateAck():
            append_immediate_ack(out)
        case _:
            _append_control_frame(out, frame)


_UNLIMITED = 1 << 62


def _append_control_frame(
    out: bytearray,
    frame: (
        MaxData
        | MaxStreamData
        | MaxStreams
        | DataBlocked
        | StreamDataBlocked
        | StreamsBlocked
        | NewConnectionId
        | RetireConnectionId
        | PathChallenge
        | PathResponse
    ),
) -> None:
    match frame:
        case MaxData(maximum):
            append_max_data(out, maximum)
        case MaxStreamData(stream_id, maximum):
            append_max_stream_data(out, stream_id, maximum)
        case MaxStreams(maximum, unidirectional):
            append_max_streams(out, maximum, unidirectional=unidirectional)
        case DataBlocked(maximum):
            append_data_blocked(out, maximum)
        case StreamDataBlocked(stream_id, maximum):
            append_stream_data_blocked(out, stream_id, maximum)
        case StreamsBlocked(maximum, unidirectional):
            append_streams_blocked(out, maximum, unidirectional=unidirectional)
        case NewConnectionId():
            append_new_connection_id(
                out,
                frame.sequence_number,
                frame.retire_prior_to,
                frame.connection_id,
                frame.stateless_reset_token,
            )
        case RetireConnectionId(sequence_number):
            append_retire_connection_id(out, sequence_number)
        case PathChallenge(data):
            append_path_challenge(out, data)
        case PathResponse(data):
            append_path_response(out, data)
        case _:
            assert_never(frame)


def _append_integers(out: bytearray, frame_type: int, *values: int) -> None:
    out.append(frame_type)
    append_varints(out, values)
