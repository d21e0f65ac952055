"""The newest words in those of qlog 0.3, which is also what qvis reads.

What 0.3 has no word for keeps the newest one: readers of 0.3 skip what they don't know, and the way back
finds it again.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from qlog import names
from qlog.convert import codes
from qlog.convert.record import Dropped, Record
from qlog.convert.shapes import Shape, events, fields_of, frame_fields
from qlog.model import JsonObject
from qlog.packets import data_length, whole
from qlog.schema.bundled import event_types

# Names of events that 0.3 did not have, in the category where its readers look for such things.
_LATER = {
    "quic:connection_data_blocked_updated": "transport",
    "quic:stream_data_blocked_updated": "transport",
    "quic:datagram_data_blocked_updated": "transport",
    "quic:datagram_data_moved": "transport",
    "quic:ecn_state_updated": "recovery",
    "quic:frames_created": "transport",
    "quic:frames_parsed": "transport",
    "quic:migration_state_updated": "connectivity",
    "quic:tuple_assigned": "connectivity",
}
# Names with more than one old spelling: the one of 0.3.
_EXACT = {
    "quic:key_discarded": "security:key_retired",
    "quic:timer_updated": "recovery:loss_timer_updated",
    "quic:udp_datagrams_sent": "transport:datagrams_sent",
    "quic:udp_datagrams_received": "transport:datagrams_received",
    "quic:udp_datagram_dropped": "transport:datagram_dropped",
    "quic:stream_data_moved": "transport:data_moved",
}


@cache
def old_name(name: str) -> str:
    """The name of an event in 0.3."""
    if name in _EXACT:
        return _EXACT[name]
    namespace, _, event_type = name.partition(":")
    if name in _LATER:
        return f"{_LATER[name]}:{event_type}"
    if namespace == "http3":
        return f"http:{event_type}"
    if namespace == "loglevel":
        return f"generic:{event_type}"
    for known in event_types("v03"):
        if names.newest(known).name == name:
            return known
    return name


def downgraded(record: Record, dropped: Dropped) -> Record:
    """The event in the words of 0.3. The given one is not touched."""
    name = old_name(record.name)
    data = dict(record.data)
    special = _SPECIAL.get(record.name)
    if special is not None:
        special(data, dropped)
    shape = events().get(record.name)
    if shape is not None:
        known = fields_of("v03", name) if name in event_types("v03") else frozenset[str]()
        data = _renamed_map(data, shape, known)
    return Record(record.time, name, data, record.fields)


def _renamed_map(value: JsonObject, shape: Shape, known: frozenset[str]) -> JsonObject:
    result = dict(value)
    for old, path in shape.renamed.items():
        # Frames have their own rules: see `_frame`.
        if len(path) == 1 and old in known and path[0] in result and path[0] not in known:
            result.setdefault(old, result.pop(path[0]))
    frames = result.get("frames")
    if isinstance(frames, list):
        result["frames"] = [_frame(frame) if isinstance(frame, dict) else frame for frame in frames]
    return result


def _frame(frame: JsonObject) -> JsonObject:
    kind = frame.get("frame_type")
    known = frame_fields("v03", kind) if isinstance(kind, str) else frozenset[str]()
    result = dict(frame)
    raw = result.get("raw")
    if isinstance(raw, dict):
        if "length" in known:
            _old_lengths(result, raw, known)
        elif kind == "unknown" and set(raw) <= {"length", "data"}:
            result["raw_length"] = raw.get("length")
            del result["raw"]
    special = _FRAMES.get(kind) if isinstance(kind, str) else None
    if special is not None:
        special(result)
    return result


def _old_lengths(frame: JsonObject, raw: JsonObject, known: frozenset[str]) -> None:
    """`length` on the frame; `raw` stays where it tells more than that."""
    length = data_length(frame) if frame["frame_type"] in _WITH_DATA else raw.get("length")
    if set(raw) == {"payload_length"} and "payload_length" in known and length is None:
        frame["payload_length"] = raw["payload_length"]
        del frame["raw"]
    elif length is not None:
        frame["length"] = length
        if set(raw) == {"length"}:
            del frame["raw"]


_WITH_DATA = {"stream", "crypto", "datagram"}


def _stream(frame: JsonObject) -> None:
    frame.setdefault("offset", 0)


def _reset(frame: JsonObject) -> None:
    if "error" in frame:
        frame["error_code"] = codes.join(frame, "error")


def _connection_close(frame: JsonObject) -> None:
    if "error" in frame:
        number = whole(frame.get("error_code"))
        frame["error_code"] = codes.join(frame, "error")
        if number is not None:
            frame["raw_error_code"] = number


def _unknown(frame: JsonObject) -> None:
    if "frame_type_bytes" in frame:
        frame["raw_frame_type"] = frame.pop("frame_type_bytes")


_FRAMES: dict[str, Callable[[JsonObject], None]] = {
    "stream": _stream,
    "reset_stream": _reset,
    "reset_stream_at": _reset,
    "stop_sending": _reset,
    "connection_close": _connection_close,
    "unknown": _unknown,
}


def _packet(data: JsonObject, _dropped: Dropped) -> None:
    written = data.get("header")
    if not isinstance(written, dict) or "packet_number_length" not in written:
        return
    header = dict(written)
    data["header"] = header
    length = whole(header.get("packet_number_length"))
    if header.get("packet_type") != "1RTT" or length is None or not 1 <= length <= 4:
        return
    if "spin_bit" not in header:
        return  # the way back would tell one that nobody logged
    phase = whole(header.get("key_phase"))
    bit = bool(phase & 1) if phase is not None else header.get("key_phase_bit") is True
    header["flags"] = 0x40 | (header.get("spin_bit") is True) << 5 | bit << 2 | length - 1


def _alpn(data: JsonObject, dropped: Dropped) -> None:
    for name in ("server_alpns", "client_alpns"):
        if isinstance(data.get(name), list):
            data[name] = [_alpn_text(item, dropped) for item in data[name]]
    if "chosen_alpn" in data:
        data["chosen_alpn"] = _alpn_text(data["chosen_alpn"], dropped)


def _alpn_text(written: Any, dropped: Dropped) -> Any:
    if not isinstance(written, dict):
        return written
    if "string_value" in written:
        if "byte_value" in written:
            dropped.note("alpn_information byte_value", "0.3 has texts only")
        return written["string_value"]
    dropped.note("alpn_information byte_value", "0.3 has texts only; the hex digits stand there")
    return str(written.get("byte_value", ""))


def _connection_started(data: JsonObject, dropped: Dropped) -> None:
    for new, old in (("local", "src"), ("remote", "dst")):
        end = data.get(new)
        if not isinstance(end, dict):
            continue
        end = dict(end)
        version = "v6" if "ip_v6" in end and "ip_v4" not in end else "v4"
        data["ip_version"] = version
        ids = end.pop("connection_ids", None)
        for field, value in (
            ("ip", end.pop(f"ip_{version}", None)),
            ("port", end.pop(f"port_{version}", None)),
        ):
            if value is not None:
                data[f"{old}_{field}"] = value
        # 0.3 wants an address on each side.
        data.setdefault(f"{old}_ip", "")
        if isinstance(ids, list) and ids:
            data[f"{old}_cid"] = ids[0]
            if len(ids) > 1:
                dropped.note("connection_started connection_ids", "0.3 has one on each side")
        del data[new]
        if end:
            dropped.note(f"connection_started {new}", "0.3 has one address on each side")


def _connection_closed(data: JsonObject, _dropped: Dropped) -> None:
    for new, old in (("connection_error", "connection_code"), ("application_error", "application_code")):
        if new in data:
            data[old] = codes.join(data, new)


def _http_frame(data: JsonObject, _dropped: Dropped) -> None:
    frame = data.get("frame")
    raw = frame.get("raw") if isinstance(frame, dict) else None
    if isinstance(raw, dict) and "payload_length" in raw:
        data["length"] = raw["payload_length"]
        if set(raw) == {"payload_length"}:
            data["frame"] = {name: value for name, value in data["frame"].items() if name != "raw"}


def _data_moved(data: JsonObject, _dropped: Dropped) -> None:
    raw = data.get("raw")
    if isinstance(raw, dict):
        length = raw.get("length", raw.get("payload_length"))
        if length is not None:
            data["length"] = length
        if set(raw) == {"length"}:
            del data["raw"]


_SPECIAL: dict[str, Callable[[JsonObject, Dropped], None]] = {
    "quic:packet_sent": _packet,
    "quic:packet_received": _packet,
    "quic:packet_lost": _packet,
    "quic:alpn_information": _alpn,
    "quic:connection_started": _connection_started,
    "quic:connection_closed": _connection_closed,
    "quic:stream_data_moved": _data_moved,
    "http3:frame_created": _http_frame,
    "http3:frame_parsed": _http_frame,
}
