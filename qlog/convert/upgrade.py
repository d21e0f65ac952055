"""Events of any era in the words of the newest drafts.

What no draft renames stays as it is, also what no draft knows.
"""

from collections.abc import Callable
from typing import Any

from qlog.convert import codes
from qlog.convert.record import Dropped, Record, place
from qlog.convert.shapes import Shape, events
from qlog.model import Event, JsonObject
from qlog.packets import number, whole

_ENVELOPE = {
    "time", "name", "data", "time_format", "category", "event", "event_type", "relative_time", "delta_time",
    "protocol_type", "protocol_types",
}  # fmt: skip

_VERSION_FIELDS = ("server_versions", "client_versions", "chosen_version")
_CID_FIELDS = (
    "scid", "dcid", "old", "new", "original_destination_connection_id", "initial_source_connection_id",
    "retry_source_connection_id",
)  # fmt: skip
_DURATIONS = ("min_rtt", "smoothed_rtt", "latest_rtt", "rtt_variance", "rttvar", "delta", "initial_rtt")

# Bits of a short header's first byte (RFC 9000 §17.3.1), which 0.3 kept as one number.
_SPIN, _KEY_PHASE, _NUMBER_LENGTH = 0x20, 0x04, 0x03


def upgraded(event: Event, dropped: Dropped) -> Record:
    """The event in the newest words. The event itself is not touched."""
    data = dict(event.data)
    if event.trace.time_units == "us":
        _scale(data)
    special = _SPECIAL.get(event.name)
    if special is not None:
        special(data, dropped)
    shape = events().get(event.name)
    if shape is not None:
        data = _renamed(data, shape, event.name, dropped)
    fields = {name: value for name, value in event.fields.items() if name not in _ENVELOPE}
    if "path" in fields:
        fields.setdefault("tuple", fields.pop("path"))
    if "group_id" in fields:
        fields["group_id"] = str(fields["group_id"])
    return Record(event.time, event.name, data, fields)


def _renamed(value: Any, shape: Shape, where: str, dropped: Dropped) -> Any:
    if isinstance(value, dict):
        if shape.kind_field == "frame_type" and isinstance(value.get("frame_type"), str):
            value = _frame(value, dropped)
        kind = shape.kind(value)
        return value if kind is None else _renamed_map(value, kind, where, dropped)
    if isinstance(value, list):
        items = shape.items
        return value if items is None else [_renamed(item, items, where, dropped) for item in value]
    if isinstance(value, str) and shape.values:
        return shape.values.get(value, value)
    return value


def _renamed_map(value: JsonObject, shape: Shape, where: str, dropped: Dropped) -> JsonObject:
    result = value
    old = [name for name in shape.renamed if name in value]
    if old:
        result = {name: item for name, item in value.items() if name not in old}
        for name in old:
            path = shape.renamed[name]
            if not path:
                dropped.note(f"{where} {name}", "no longer in qlog")
            elif not place(result, path, value[name]) and value[name] != _at(result, path):
                dropped.note(f"{where} {name}", f"{'.'.join(path)} says otherwise")
    fields = shape.fields
    changed = {}
    for name, item in result.items():
        inner = fields.get(name)
        if inner is not None and type(item) in (dict, list, str):
            new = _renamed(item, inner, where, dropped)
            if new is not item:
                changed[name] = new
    return {**result, **changed} if changed else result


def _at(value: JsonObject, path: tuple[str, ...]) -> Any:
    found: Any = value
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _frame(frame: JsonObject, dropped: Dropped) -> JsonObject:
    """What names alone don't tell: forms that changed within frames."""
    special = _FRAMES.get(frame["frame_type"])
    raw = frame.get("raw")
    if special is None and raw is None and "length" not in frame:
        return frame
    frame = dict(frame)
    if isinstance(raw, str):
        frame["raw"] = {"data": raw}
    elif isinstance(raw, dict) and ("length" in raw or "payload_length" in raw):
        # Both were written so that old readers find the one; raw says the same in other words.
        frame.pop("length", None)
    if special is not None:
        special(frame, dropped)
    return frame


def _token_text(frame: JsonObject, _dropped: Dropped) -> None:
    token = frame.get("token")
    if isinstance(token, str):
        frame["token"] = {"raw": {"data": token}}


def _reset_token(values: JsonObject, _dropped: Dropped) -> None:
    for name in ("stateless_reset_token", "reset_token"):
        token = values.get(name)
        if isinstance(token, dict):
            raw = token.get("raw")
            data = token.get("data", raw.get("data") if isinstance(raw, dict) else None)
            if isinstance(data, str):
                values[name] = data


def _application_error(frame: JsonObject, _dropped: Dropped) -> None:
    if "error" not in frame and "error_code" in frame:
        codes.split(frame, "error", frame.pop("error_code"), application=True)


def _connection_close(frame: JsonObject, _dropped: Dropped) -> None:
    old = [frame.pop(name, None) for name in ("raw_error_code", "error_code_value", "error_code_bytes")]
    if "error" in frame:
        return
    numbers = [value for value in old if value is not None]
    written = frame.pop("error_code", None)
    if not isinstance(written, str) and numbers:
        written = numbers[0]
    if written is not None:
        space = frame.get("error_space")
        codes.split(frame, "error", written, application=isinstance(space, str) and "application" in space)
        if frame["error"] == "unknown" and numbers:
            frame["error_code"] = numbers[0]


def _unknown_frame(frame: JsonObject, _dropped: Dropped) -> None:
    if "raw_length" in frame:
        place(frame, ("raw", "length"), frame.pop("raw_length"))


_FRAMES: dict[str, Callable[[JsonObject, Dropped], None]] = {
    "new_token": _token_text,
    "new_connection_id": _reset_token,
    "reset_stream": _application_error,
    "reset_stream_at": _application_error,
    "stop_sending": _application_error,
    "connection_close": _connection_close,
    "unknown": _unknown_frame,
}


def _packet(data: JsonObject, dropped: Dropped) -> None:
    written = data.get("header")
    header = dict(written) if isinstance(written, dict) else None
    if header is not None:
        data["header"] = header
        for old, new in (("packet_size", "length"), ("payload_length", "payload_length")):
            if old in header:
                place(data, ("raw", new), header.pop(old))
        flags = whole(header.pop("flags", None))
        if flags is not None and header.get("packet_type") in ("1RTT", "onertt", "1rtt"):
            header.setdefault("spin_bit", bool(flags & _SPIN))
            if "key_phase" not in header:
                header.setdefault("key_phase_bit", bool(flags & _KEY_PHASE))
        if flags is not None:
            header.setdefault("packet_number_length", (flags & _NUMBER_LENGTH) + 1)
        if isinstance(header.get("key_phase_bit"), str):
            header["key_phase_bit"] = header["key_phase_bit"] == "1"
        for name in ("scid", "dcid"):
            if header.get(name) == "(empty)":
                header[name] = ""
        if "version" in header:
            header["version"] = _version(header["version"])
        if isinstance(header.get("token"), str):
            header["token"] = {"raw": {"data": header["token"]}}
    for name, why in (
        ("is_coalesced", "datagrams have checksums now"),
        ("datagram_id", "datagrams have checksums now"),
    ):
        if name in data:
            dropped.note(f"packet {name}", why)
            del data[name]
    if isinstance(data.get("supported_versions"), list):
        data["supported_versions"] = [_version(version) for version in data["supported_versions"]]
    _reset_token(data, dropped)
    raw = data.get("raw")
    if isinstance(raw, str):
        data["raw"] = {"data": raw}


def _versions(data: JsonObject, _dropped: Dropped) -> None:
    for name in _VERSION_FIELDS:
        value = data.get(name)
        if isinstance(value, list):
            data[name] = [_version(item) for item in value]
        elif value is not None:
            data[name] = _version(value)


def _version(written: Any) -> Any:
    """8 hex digits, of a number or a short text."""
    if type(written) is int and 0 <= written < 1 << 32:
        return f"{written:08x}"
    if isinstance(written, str) and (written.startswith("0x") or len(written) % 2):
        return written.removeprefix("0x").rjust(8, "0")
    return written


def _alpn(data: JsonObject, _dropped: Dropped) -> None:
    for name in ("server_alpns", "client_alpns"):
        if isinstance(data.get(name), list):
            data[name] = [_alpn_object(item) for item in data[name]]
    if "chosen_alpn" in data:
        data["chosen_alpn"] = _alpn_object(data["chosen_alpn"])


def _alpn_object(written: Any) -> Any:
    return {"string_value": written} if isinstance(written, str) else written


def _connection_started(data: JsonObject, _dropped: Dropped) -> None:
    written = data.pop("ip_version", "")
    data.pop("protocol", None)
    for old, new in (("src", "local"), ("dst", "remote")):
        address, port, cid = (data.pop(f"{old}_{part}", None) for part in ("ip", "port", "cid"))
        address = address or None
        version = "v6" if "6" in str(written) or ":" in str(address) else "v4"
        end: JsonObject = dict(data[new]) if isinstance(data.get(new), dict) else {}
        for name, value in ((f"ip_{version}", address), (f"port_{version}", port)):
            if value is not None:
                end.setdefault(name, value)
        if cid is not None:
            end.setdefault("connection_ids", ["" if cid == "(empty)" else cid])
        data[new] = end


def _connection_closed(data: JsonObject, _dropped: Dropped) -> None:
    for old, new in (("connection_code", "connection_error"), ("application_code", "application_error")):
        if old in data and new not in data:
            codes.split(data, new, data.pop(old), application=new.startswith("application"))
    code = data.pop("code_bytes", None)
    if code is not None:
        data.setdefault("error_code", code)


def _connection_ids(data: JsonObject, dropped: Dropped) -> None:
    for name in _CID_FIELDS:
        if data.get(name) == "(empty)":
            data[name] = ""
    _reset_token(data, dropped)


def _datagrams(data: JsonObject, dropped: Dropped) -> None:
    length = data.pop("byte_length", None)
    if length is not None:
        data.setdefault("raw", [{"length": length}])
    if isinstance(data.get("raw"), dict):
        data["raw"] = [data["raw"]]
    if data.pop("datagram_ids", None) is not None:
        dropped.note("datagram_ids", "datagrams have checksums now")


def _http_frame(data: JsonObject, _dropped: Dropped) -> None:
    frame = dict(data["frame"]) if isinstance(data.get("frame"), dict) else None
    if frame is None:
        return
    data["frame"] = frame
    # Drafts up to http3-11: "payload byte length".
    length = data.pop("byte_length", None)
    old = data.pop("length", None)
    if isinstance(data.get("raw"), str):
        place(frame, ("raw", "data"), data.pop("raw"))
    for value in (length, old):
        raw = frame.get("raw")
        if value is not None and not (isinstance(raw, dict) and "length" in raw):
            place(frame, ("raw", "payload_length"), value)


_SPECIAL: dict[str, Callable[[JsonObject, Dropped], None]] = {
    "quic:packet_sent": _packet,
    "quic:packet_received": _packet,
    "quic:packet_dropped": _packet,
    "quic:packet_buffered": _packet,
    "quic:packet_lost": _packet,
    "quic:version_information": _versions,
    "quic:alpn_information": _alpn,
    "quic:connection_started": _connection_started,
    "quic:connection_closed": _connection_closed,
    "quic:connection_id_updated": _connection_ids,
    "quic:parameters_set": _connection_ids,
    "quic:udp_datagrams_sent": _datagrams,
    "quic:udp_datagrams_received": _datagrams,
    "http3:frame_created": _http_frame,
    "http3:frame_parsed": _http_frame,
}


def _scale(data: JsonObject) -> None:
    """Microseconds to ms, wherever a duration stands."""
    for name in _DURATIONS:
        value = number(data.get(name))
        if value is not None:
            data[name] = value / 1000
    frames = data.get("frames")
    if isinstance(frames, list):
        data["frames"] = [_scaled_ack(frame) for frame in frames]


def _scaled_ack(frame: Any) -> Any:
    delay = number(frame.get("ack_delay")) if isinstance(frame, dict) else None
    return frame if delay is None else {**frame, "ack_delay": delay / 1000}
