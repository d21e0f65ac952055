"""What the reader hands out and what every check, converter and report is written against."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from qlog.eras import Era

Severity = Literal["error", "warning", "info"]

JsonObject = dict[str, Any]


@dataclass(slots=True, frozen=True)
class VantagePoint:
    """Who wrote the trace. `type` is client, server, network or unknown, whatever the file says."""

    name: str = ""
    type: str = "unknown"
    flow: str = "unknown"


@dataclass(slots=True)
class Trace:
    """A trace without its events.

    `reference_time` is what `Event.time` counts from, in ms since 1970, or None where the file does not tell
    (a monotonic clock). `revisions` holds the draft numbers that the trace claims per namespace
    (`{"quic": 12}`); a namespace that is not in it is taken as the newest. `header` is the object of the
    file as it stands, less its events, `pointer` the JSON pointer to it; `error` is the text of a TraceError.
    `time_units` is "us" only in draft-00 and draft-01: the reader has scaled `Event.time`, but not the times
    inside `Event.data`.
    """

    index: int
    era: Era
    title: str = ""
    description: str = ""
    vantage_point: VantagePoint = field(default_factory=VantagePoint)
    common_fields: Mapping[str, Any] = field(default_factory=dict)
    event_schemas: tuple[str, ...] = ()
    revisions: Mapping[str, int] = field(default_factory=dict)
    reference_time: float | None = None
    time_units: Literal["ms", "us"] = "ms"
    header: JsonObject = field(default_factory=dict)
    pointer: str = ""
    error: str | None = None


class Event:
    """One event of any era.

    `index` counts the trace's events from 0, unreadable ones included. `time` is in ms from the trace's
    `reference_time`, deltas summed up. `name` is the newest spelling, `original_name` the file's. `data` and
    `fields` (the whole event) are the file's own objects: no field in them has been renamed. What is a row in
    draft-00 and draft-01 has been made an object. `group_id` falls back to the common fields, then to "".
    `offset` is the byte of the decompressed file where the event, or the batch it was read in, starts.
    """

    __slots__ = ("data", "fields", "group_id", "index", "name", "offset", "original_name", "time", "trace")

    def __init__(
        self,
        trace: Trace,
        index: int,
        time: float,
        name: str,
        original_name: str,
        data: JsonObject,
        fields: JsonObject,
        group_id: str,
        offset: int,
    ) -> None:
        self.trace = trace
        self.index = index
        self.time = time
        self.name = name
        self.original_name = original_name
        self.data = data
        self.fields = fields
        self.group_id = group_id
        self.offset = offset

    @property
    def network_tuple(self) -> str:
        """The id of the pair of addresses it happened on; "" for the first, and if the file does not tell."""
        written = self.fields.get("tuple") or self.trace.common_fields.get("tuple", "")
        return written if isinstance(written, str) else ""

    @property
    def absolute_time(self) -> float | None:
        """ms since 1970; None if the trace's clock has no known start."""
        reference = self.trace.reference_time
        return None if reference is None else self.time + reference


@dataclass(slots=True, frozen=True)
class Damage:
    """Bytes that are no qlog, and what became of them.

    `rule` is an id of `qlog.damage`; `offset` counts bytes of the decompressed file, `record` JSON texts
    from 0 (the header) in files of one text per event. `trace` and `event` are those that were being read.
    """

    rule: str
    message: str
    fix: str
    offset: int
    record: int | None = None
    trace: int | None = None
    event: int | None = None


@dataclass(slots=True)
class Finding:
    """Something a file gets wrong; the fields are those of `--format json`.

    `event` is the index in the trace (None: the header), `pointer` a JSON pointer into the event, or into the
    header where `event` is None. `count` says how often it was found; the place is that of the first time.
    """

    rule: str
    severity: Severity
    trace: int | None
    event: int | None
    pointer: str
    name: str
    message: str
    reference: str = ""
    fix: str = ""
    count: int = 1


class Observer(Protocol):
    """A semantic check, fed with one file from its start to its end."""

    def on_trace(self, trace: Trace) -> None:
        """A trace begins. Also for traces without events."""

    def on_event(self, event: Event) -> None:
        """The next event, in the order of the file. Events that break their schema are left out."""

    def on_refused(self, event: Event) -> None:
        """An event that was left out, in its place: what it would have told is not known."""

    def findings(self) -> Iterable[Finding]:
        """Called once, after the last event."""
