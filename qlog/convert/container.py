"""Headers of files and traces in both generations, and writing them event by event."""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import orjson

from qlog.convert.record import Dropped, Record
from qlog.eras import NEWEST_DRAFT
from qlog.model import JsonObject, Trace

Target = Literal["newest", "0.3"]
Form = Literal["json", "json-seq"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COMMON_TIMES = {"time_format", "reference_time"}
_GONE = {"protocol_type", "protocol_types"}


def file_header(target: Target, form: Form, title: str, description: str) -> JsonObject:
    """The fields before the traces, those that tell the format first."""
    kind = "contained" if form == "json" else "sequential"
    header: JsonObject
    if target == "newest":
        media = "application/qlog+json" if form == "json" else "application/qlog+json-seq"
        header = {"file_schema": f"urn:ietf:params:qlog:file:{kind}", "serialization_format": media}
    else:
        header = {"qlog_version": "0.3", "qlog_format": form.upper()}
    if title:
        header["title"] = title
    if description:
        header["description"] = description
    return header


def trace_header(trace: Trace, target: Target, namespaces: Iterable[str], dropped: Dropped) -> JsonObject:
    """A trace without its events. `namespaces` are those of its events."""
    header: JsonObject = {}
    for name in ("title", "description"):
        written = trace.header.get(name)
        if isinstance(written, str):
            header[name] = written
    vantage_point = {"type": trace.vantage_point.type}
    if trace.vantage_point.name:
        vantage_point["name"] = trace.vantage_point.name
    if trace.vantage_point.type == "network":
        vantage_point["flow"] = trace.vantage_point.flow
    header["vantage_point"] = vantage_point
    header["common_fields"] = _common_fields(trace, target, dropped)
    configuration = trace.header.get("configuration")
    if isinstance(configuration, dict):
        # Times are in ms and shifted already.
        rest = {
            name: value for name, value in configuration.items() if name not in {"time_units", "time_offset"}
        }
        if target == "0.3" and rest:
            header["configuration"] = rest
        for name in rest if target == "newest" else ():
            dropped.note(f"configuration {name}", "traces have no configuration any more")
    if target == "newest":
        header["event_schemas"] = _schemas(trace, namespaces)
    elif trace.event_schemas:
        dropped.note("event_schemas", "0.3 has none")
    return header


def trace_error(trace: Trace) -> JsonObject:
    """The entry of a trace that its writer could not provide."""
    kept = ("error_description", "uri", "vantage_point")
    return {name: trace.header[name] for name in kept if name in trace.header}


def _common_fields(trace: Trace, target: Target, dropped: Dropped) -> JsonObject:
    common = {
        name: value
        for name, value in trace.common_fields.items()
        if name not in _COMMON_TIMES and name not in _GONE
    }
    if target == "newest":
        if "path" in common:
            common.setdefault("tuple", common.pop("path"))
        # Before there was a group_id, traces called their connection ODCID.
        group = common.get("group_id", common.pop("ODCID", None))
        if group is not None:
            common["group_id"] = str(group)
        common["time_format"] = "relative_to_epoch"
        written = trace.common_fields.get("reference_time")
        common["reference_time"] = written if isinstance(written, dict) else _clock(trace)
        return common
    written = trace.common_fields.get("reference_time")
    if isinstance(written, dict) and trace.reference_time == 0:
        # 0 as a reference would say that the start is not known.
        common["time_format"] = "absolute"
        return common
    common["time_format"] = "relative"
    common["reference_time"] = start_of(trace) or 0
    if isinstance(written, dict) and written.get("clock_type") != "system":
        dropped.note("reference_time", "0.3 has one number for it: the kind of clock is lost")
    return common


def start_of(trace: Trace) -> float | None:
    """When the trace's clock was 0, by its epoch or the wall clock: ms since 1970. None if unknown."""
    if trace.reference_time is not None:
        return trace.reference_time
    written = trace.common_fields.get("reference_time")
    wall = written.get("wall_clock_time") if isinstance(written, dict) else None
    try:
        return datetime.fromisoformat(wall).timestamp() * 1000 if isinstance(wall, str) else None
    except (ValueError, OverflowError):
        return None


def _clock(trace: Trace) -> JsonObject:
    """`reference_time` as the newest drafts write it."""
    reference = trace.reference_time
    if not reference and trace.common_fields.get("time_format") in {"relative", "delta"}:
        # Nobody logged in 1970: writers put 0 there for want of a start.
        reference = None
    if reference:
        try:
            date = (_EPOCH + timedelta(milliseconds=reference)).replace(tzinfo=None)
            return {"clock_type": "system", "epoch": f"{date.isoformat(timespec='microseconds')}Z"}
        except OverflowError:
            reference = None
    if reference is None:
        return {"clock_type": "monotonic", "epoch": "unknown"}
    return {"clock_type": "system", "epoch": "1970-01-01T00:00:00.000Z"}


def _schemas(trace: Trace, namespaces: Iterable[str]) -> list[str]:
    """The newest drafts of the namespaces used, after what the trace lists besides."""
    own = [
        uri for uri in trace.event_schemas if not uri.startswith("urn:ietf:params:qlog:events:") or "#" in uri
    ]
    used = set(namespaces) | {"quic"}
    found = [
        f"urn:ietf:params:qlog:events:{name}-{NEWEST_DRAFT[name]}"
        for name in sorted(used & set(NEWEST_DRAFT))
    ]
    return (
        found
        + [f"urn:ietf:params:qlog:events:{name}" for name in sorted(used & {"loglevel", "simulation"})]
        + own
    )


def event_object(record: Record) -> Mapping[str, Any]:
    """A record as it stands in a file."""
    return {"time": round(record.time, 6), "name": record.name, "data": record.data, **record.fields}


def encoded(value: Any) -> bytes:
    """JSON. What orjson refuses, numbers above 64 bits and half surrogates, the standard library writes."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


def document(
    header: JsonObject, traces: Iterable[tuple[JsonObject, Iterable[bytes] | None]]
) -> Iterator[bytes]:
    """A file of one JSON document, in pieces; the events come encoded, None for a trace that is an error."""
    yield encoded(header)[:-1] + b',"traces":['
    for index, (trace, events) in enumerate(traces):
        yield b"\n" if index == 0 else b",\n"
        if events is None:
            yield encoded(trace)
            continue
        yield encoded(trace)[:-1] + b',"events":['
        separator = b"\n"
        for event in events:
            yield separator + event
            separator = b",\n"
        yield b"]}"
    yield b"]}\n"


def sequence(header: JsonObject, trace: JsonObject, events: Iterable[bytes]) -> Iterator[bytes]:
    """A file of one JSON text per event, in pieces."""
    yield b"\x1e" + encoded({**header, "trace": trace}) + b"\n"
    for event in events:
        yield b"\x1e" + event + b"\n"
