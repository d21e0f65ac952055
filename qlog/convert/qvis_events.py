"""Single events as qvis reads them: those of 0.3, with the fields beside that its views look for."""

from collections.abc import Callable
from typing import Any

from qlog.convert.downgrade import downgraded
from qlog.convert.record import Dropped, Record
from qlog.convert.sizes import frame_size, varint
from qlog.model import JsonObject
from qlog.packets import data_length, whole

# RFC 9001 §5.3: what encryption adds to every packet.
_TAG = 16

# Events that qvis looks up elsewhere than 0.3 put them.
_NAMES = {
    "quic:stream_data_moved": "http:data_moved",
}
_MESSAGES = {"loglevel"}


def qvis_event(record: Record, dropped: Dropped) -> Record:
    """An event in the newest words, made into what qvis draws."""
    old = downgraded(record, dropped)
    if record.name in _NAMES:
        old.name = _NAMES[record.name]
    elif record.name.partition(":")[0] in _MESSAGES:
        old.name = record.name
    special = _SPECIAL.get(record.name)
    if special is not None:
        special(old.data, record.data)
    # Every distinct group_id would become a trace of its own.
    fields = {name: value for name, value in old.fields.items() if name != "group_id"}
    return Record(old.time, old.name, old.data, fields)


def _packet(data: JsonObject, newest: JsonObject) -> None:
    header = data.get("header")
    data["header"] = header = _header_of(header)
    raw = dict(data["raw"]) if isinstance(data.get("raw"), dict) else {}
    length = whole(raw.get("length"))
    if length is None and "length" in header:
        length = whole(header["length"])
    payload = whole(raw.pop("payload_length", None))
    frames = newest.get("frames")
    written = data.pop("frames", None)
    size = None
    if isinstance(frames, list) and frames and isinstance(written, list):
        sizes = _frame_sizes(frames, payload)
        data["frames"] = [
            _frame(old, new, size) for old, new, size in zip(written, frames, sizes, strict=True)
        ]
        known = [size for size in sizes if size is not None]
        size = sum(known) if len(known) == len(sizes) else None
    if length is not None:
        raw["length"] = length
        if size is not None and size + _TAG <= length:
            payload = size
        elif size is not None:
            # They can't all be right: let qvis guess.
            data["frames"] = [
                {k: v for k, v in frame.items() if k != "frame_size"} for frame in data["frames"]
            ]
            payload = None
        if payload is not None and payload + _TAG <= length:
            raw["payload_length"] = payload + _TAG
    if raw:
        data["raw"] = raw


def _header_of(written: Any) -> JsonObject:
    """A packet's header; without one the views crash."""
    header = dict(written) if isinstance(written, dict) else {}
    if not isinstance(header.get("packet_type"), str):
        header["packet_type"] = "unknown"
    return header


def _frame_sizes(frames: list[Any], payload: int | None) -> list[int | None]:
    """Of all frames of a packet, or of none. One unknown size is what the others leave."""
    sizes = [frame_size(frame) if isinstance(frame, dict) else None for frame in frames]
    unknown = [index for index, size in enumerate(sizes) if size is None]
    if len(unknown) == 1 and payload is not None:
        rest = payload - sum(size for size in sizes if size is not None)
        if rest > 0:
            sizes[unknown[0]] = rest
            unknown = []
    return [None] * len(sizes) if unknown else sizes


def _frame(old: Any, new: Any, size: int | None) -> JsonObject:
    # A frame without a type crashes the view.
    frame = dict(old) if isinstance(old, dict) else {}
    if not isinstance(frame.get("frame_type"), str):
        frame["frame_type"] = "unknown"
    if size is not None:
        frame["frame_size"] = size
    kind = frame["frame_type"]
    if kind in {"stream", "crypto"} and isinstance(new, dict):
        length = data_length(new)
        frame["length"] = 0 if length is None else length
        frame.setdefault("offset", 0)
    elif kind == "ack":
        frame.setdefault("acked_ranges", [])
    return frame


def _parameters_set(data: JsonObject, _newest: JsonObject) -> None:
    initiator = data.get("initiator")
    if initiator is not None:
        data.setdefault("owner", initiator)
    if "max_udp_payload_size" in data:
        data.setdefault("max_packet_size", data["max_udp_payload_size"])


def _metrics(data: JsonObject, _newest: JsonObject) -> None:
    # The text in the sequence view reads `cwnd`, the congestion view either.
    if "congestion_window" in data:
        data.setdefault("cwnd", data["congestion_window"])


def _lost(data: JsonObject, _newest: JsonObject) -> None:
    data["header"] = _header_of(data.get("header"))
    # The statistics view counts frames wherever they stand, so these twice.
    data.pop("frames", None)


def _dropped(data: JsonObject, _newest: JsonObject) -> None:
    data["header"] = _header_of(data.get("header"))


def _http_frame(data: JsonObject, newest: JsonObject) -> None:
    written = newest.get("frame")
    frame = dict(written) if isinstance(written, dict) else {}
    data["frame"] = frame
    if not isinstance(frame.get("frame_type"), str):
        frame["frame_type"] = "unknown"
    if "headers" in frame or frame["frame_type"] in {"headers", "push_promise"}:
        headers = frame.get("headers")
        frame["headers"] = [_header(item) for item in headers] if isinstance(headers, list) else []
    if frame["frame_type"] == "priority_update":
        frame.setdefault("element_id", frame.get("stream_id", frame.get("push_id")))
        frame.setdefault("value", frame.get("priority_field_value"))
    length = _payload_length(frame)
    if length is not None and length > 0:
        data["byte_length"] = length


def _header(written: Any) -> JsonObject:
    field = dict(written) if isinstance(written, dict) else {}
    for name in ("name", "value"):
        octets = field.get(f"{name}_bytes")
        if name not in field and isinstance(octets, str):
            try:
                field[name] = bytes.fromhex(octets).decode(errors="replace")
            except ValueError:
                field[name] = octets
    return field


def _payload_length(frame: JsonObject) -> int | None:
    """Bytes of an HTTP/3 frame without its type and length (RFC 9114 §7.1)."""
    raw = frame.get("raw")
    if not isinstance(raw, dict):
        return None
    payload = whole(raw.get("payload_length"))
    length = whole(raw.get("length"))
    if payload is not None or length is None:
        return payload
    kind = 4 if frame["frame_type"] == "priority_update" else 1
    for field in (1, 2, 4, 8):
        if varint(max(length - kind - field, 0)) <= field:
            return max(length - kind - field, 0)
    return None


def _data_moved(data: JsonObject, newest: JsonObject) -> None:
    raw = newest.get("raw")
    length = data_length({"raw": raw}) if isinstance(raw, dict) else None
    if length is not None:
        data["length"] = length


_SPECIAL: dict[str, Callable[[JsonObject, JsonObject], None]] = {
    "quic:packet_sent": _packet,
    "quic:packet_received": _packet,
    "quic:packet_dropped": _dropped,
    "quic:packet_buffered": _dropped,
    "quic:packet_lost": _lost,
    "quic:parameters_set": _parameters_set,
    "quic:recovery_metrics_updated": _metrics,
    "quic:stream_data_moved": _data_moved,
    "http3:frame_created": _http_frame,
    "http3:frame_parsed": _http_frame,
}
