"""How many bytes a frame took in its packet, from what was logged of it (RFC 9000 §19)."""

from collections.abc import Callable

from qlog.model import JsonObject
from qlog.packets import acked_ranges, data_length, number, whole

# RFC 9000 §18.2: what an ACK Delay is shifted by, unless the peer says otherwise.
_ACK_DELAY_EXPONENT = 3
# In ms: from here on they take the same eight bytes, and hostile ones become no infinity.
_LONGEST_DELAY = 1e12
_RESET_TOKEN = 16
_PATH_DATA = 8


def frame_size(frame: JsonObject) -> int | None:
    """The size of the whole frame in bytes; None if what was logged does not tell.

    An ACK's delay is taken as sent with the default exponent.
    """
    kind = frame.get("frame_type")
    sizer = _SIZES.get(kind) if isinstance(kind, str) else None
    raw = frame.get("raw")
    if sizer is not None:
        return sizer(frame)
    return whole(raw.get("length")) if isinstance(raw, dict) else None


def varint(value: int) -> int:
    """The bytes that a number takes (RFC 9000 §16)."""
    return 1 if value < 1 << 6 else 2 if value < 1 << 14 else 4 if value < 1 << 30 else 8


def _of(*names: str) -> Callable[[JsonObject], int | None]:
    """A type and the named numbers."""

    def size(frame: JsonObject) -> int | None:
        values = [whole(frame.get(name)) for name in names]
        return None if None in values else 1 + sum(varint(value) for value in values if value is not None)

    return size


def _with_error(*names: str) -> Callable[[JsonObject], int | None]:
    """The same with an error code, which is small whatever its name."""
    rest = _of(*names)

    def size(frame: JsonObject) -> int | None:
        fixed = rest(frame)
        code = whole(frame.get("error_code")) or 0
        named = 2 if str(frame.get("error", "")).startswith("http_") else 1
        return None if fixed is None else fixed + max(varint(code), named)

    return size


def _padding(frame: JsonObject) -> int | None:
    return data_length(frame)


def _ack(frame: JsonObject) -> int | None:
    ranges = sorted(acked_ranges(frame), reverse=True)
    if not ranges:
        return None
    ms = max(0.0, min(number(frame.get("ack_delay")) or 0.0, _LONGEST_DELAY))
    delay = int(ms * 1000) >> _ACK_DELAY_EXPONENT
    smallest, largest = ranges[0]
    size = 1 + varint(largest) + varint(delay) + varint(len(ranges) - 1) + varint(max(largest - smallest, 0))
    for low, high in ranges[1:]:
        size += varint(max(smallest - high - 2, 0)) + varint(max(high - low, 0))
        smallest = low
    counts = [whole(frame.get(name)) for name in ("ect0", "ect1", "ce")]
    if any(count is not None for count in counts):
        size += sum(varint(count or 0) for count in counts)
    return size


def _crypto(frame: JsonObject) -> int | None:
    offset, length = whole(frame.get("offset")), data_length(frame)
    return None if offset is None or length is None else 1 + varint(offset) + varint(length) + length


def _stream(frame: JsonObject) -> int | None:
    identifier, length = whole(frame.get("stream_id")), data_length(frame)
    if identifier is None or length is None:
        return None
    offset = whole(frame.get("offset")) or 0
    return 1 + varint(identifier) + (varint(offset) if offset else 0) + varint(length) + length


def _datagram(frame: JsonObject) -> int | None:
    length = data_length(frame)
    return None if length is None else 1 + varint(length) + length


def _new_token(frame: JsonObject) -> int | None:
    token = frame.get("token")
    raw = token.get("raw") if isinstance(token, dict) else None
    if not isinstance(raw, dict):
        return None
    length = whole(raw.get("length"))
    if length is None and isinstance(raw.get("data"), str):
        length = len(raw["data"]) // 2
    return None if length is None else 1 + varint(length) + length


def _new_connection_id(frame: JsonObject) -> int | None:
    fixed = _of("sequence_number", "retire_prior_to")(frame)
    cid = frame.get("connection_id")
    if fixed is None or not isinstance(cid, str):
        return None
    return fixed + 1 + len(cid) // 2 + _RESET_TOKEN


def _connection_close(frame: JsonObject) -> int | None:
    reason = frame.get("reason")
    length = len(reason.encode()) if isinstance(reason, str) else 0
    code = 2 if str(frame.get("error", "")).startswith(("crypto_", "http_")) else 1
    trigger = 0 if frame.get("error_space") == "application" else 1
    return 1 + code + trigger + varint(length) + length


_SIZES: dict[str, Callable[[JsonObject], int | None]] = {
    "padding": _padding,
    "ping": _of(),
    "handshake_done": _of(),
    "ack": _ack,
    "crypto": _crypto,
    "stream": _stream,
    "datagram": _datagram,
    "new_token": _new_token,
    "max_data": _of("maximum"),
    "max_stream_data": _of("stream_id", "maximum"),
    "max_streams": _of("maximum"),
    "data_blocked": _of("limit"),
    "stream_data_blocked": _of("stream_id", "limit"),
    "streams_blocked": _of("limit"),
    "retire_connection_id": _of("sequence_number"),
    "path_challenge": lambda _frame: 1 + _PATH_DATA,
    "path_response": lambda _frame: 1 + _PATH_DATA,
    "new_connection_id": _new_connection_id,
    "reset_stream": _with_error("stream_id", "final_size"),
    "reset_stream_at": _with_error("stream_id", "final_size", "reliable_size"),
    "stop_sending": _with_error("stream_id"),
    "connection_close": _connection_close,
}
