"""Read a trace of any era, format and state of health, with constant memory.

reader = Reader(Path("client.sqlog"))
for event in reader.events():
    ...
reader.damages  # what could not be read, and where
"""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from qlog import damage, names, scan
from qlog.contained import Contained
from qlog.eras import DRAFTS_OF_04, Era, claimed_drafts, era_of_event, era_of_header, era_of_trace
from qlog.layout import Batch, Layout
from qlog.model import Damage, Event, JsonObject, Trace, VantagePoint
from qlog.sequence import LINE_FEED, RECORD_SEPARATOR, Sequence
from qlog.source import Source, UnreadableFileError

Format = Literal["json", "json-seq", "ndjson"]

_BOM = b"\xef\xbb\xbf"

# A header record is shorter than this; what does not end within it is one document.
_HEAD = 1 << 20

_SIDES = {"client", "server", "network", "unknown"}


class Reader:
    """One file. Raises UnreadableFileError if it is no qlog file at all.

    `header` is the file's first object; its traces hold `"events": []` instead of their events. `traces` and
    `era` are known from the start.
    """

    def __init__(self, path: Path) -> None:
        self._source = Source(path)
        head = b"".join(islice(self._heads(), 1))
        self._bom = head.startswith(_BOM)
        try:
            self.format: Format = _format_of(head.removeprefix(_BOM).lstrip())
        except UnreadableFileError as error:
            raise UnreadableFileError(self._source.cut or error.reason, path) from error
        self._layout: Layout
        if self.format == "json":
            self._layout = Contained(self._chunks)
        else:
            separator = RECORD_SEPARATOR if self.format == "json-seq" else LINE_FEED
            self._layout = Sequence(self._chunks, separator)
        self.header: JsonObject = self._layout.header()
        self.era = era_of_header(self.header)
        self.traces = [self._trace(index, header) for index, header in enumerate(self._trace_headers())]
        if self.era is Era.NEWEST and any(trace.era is Era.SCHEMA_DRAFT for trace in self.traces):
            self.era = Era.SCHEMA_DRAFT
        self._own: list[Damage] = []

    def take_damages(self) -> list[Damage]:
        """What could not be read since the last call."""
        damages = self._own + self._layout.damages
        self._own.clear()
        self._layout.damages.clear()
        return damages

    def events(self) -> Iterator[Event]:
        """All events, trace by trace in the order of the file. May be called once."""
        for batch in self.batches():
            yield from batch

    def batches(self) -> Iterator[list[Event]]:
        """The same in groups of one trace each, which costs less per event."""
        if self._bom:
            self._damage("bytes-bom", "the file starts with a byte order mark")
        if self.format == "ndjson" and not self._says_ndjson():
            self._damage("record-separator-missing", "lines of JSON without the byte 0x1E before each record")
        clocks: dict[int, _Clock] = {}
        for batch in self._layout.batches():
            trace = self._trace_of(batch)
            clock = clocks.get(trace.index)
            if clock is None:
                clock = clocks[trace.index] = _Clock(trace)
            events = _Rows(trace, clock) if trace.era.has_rows else _Objects(trace, clock)
            made = [event for event in map(events.make, *_numbered(batch)) if event is not None]
            self._own += events.damages
            if made:
                yield made
        if self._source.cut:
            self._damage("bytes-compression-cut", self._source.cut)

    def _damage(self, rule: str, message: str) -> None:
        self._own.append(Damage(rule, message, damage.RULES[rule][1], 0))

    def _heads(self) -> Iterator[bytes]:
        """The start of the file, long enough to tell a header record from a whole document."""
        head = b""
        for chunk in self._source.chunks():
            head += chunk
            if (
                len(head) >= _HEAD
                or RECORD_SEPARATOR in head[:_HEAD]
                or scan.value_end(head, _start(head)) > 0
            ):
                break
        yield head

    def _chunks(self) -> Iterator[bytes]:
        chunks = self._source.chunks()
        first = next(chunks, b"")
        return chain([first.removeprefix(_BOM)], chunks)

    def _says_ndjson(self) -> bool:
        written = self.header.get("qlog_format", "NDJSON" if self.era.has_rows else None)
        return written == "NDJSON"

    def _trace_headers(self) -> list[JsonObject]:
        if self.format != "json":
            trace = self.header.get("trace")
            return [trace if isinstance(trace, dict) else {}]
        traces = self.header.get("traces")
        if not isinstance(traces, list):
            return []
        return [trace if isinstance(trace, dict) else {} for trace in traces]

    def _trace_of(self, batch: Batch) -> Trace:
        trace = self.traces[batch.trace]
        if trace.era is Era.UNKNOWN:
            name = batch.values[0].get("name") if isinstance(batch.values[0], dict) else None
            trace.era = era_of_event(name) if isinstance(name, str) else Era.UNKNOWN
            if self.era is Era.UNKNOWN:
                self.era = trace.era
        return trace

    def _trace(self, index: int, header: JsonObject) -> Trace:
        schemas = header.get("event_schemas", self.header.get("event_schemas"))  # of the file until main-10
        uris = tuple(uri for uri in schemas if isinstance(uri, str)) if isinstance(schemas, list) else ()
        drafts = claimed_drafts(uris)
        era = era_of_trace(self.era, header, drafts)
        common = _object(header.get("common_fields"))
        configuration = _object(header.get("configuration"))
        vantage_point = _object(header.get("vantage_point"))
        side = vantage_point.get("type")
        error = header.get("error_description")
        return Trace(
            index,
            era,
            title=_text(header.get("title")) or _text(self.header.get("title")),
            description=_text(header.get("description")),
            vantage_point=VantagePoint(
                _text(vantage_point.get("name")),
                side if isinstance(side, str) and side in _SIDES else "unknown",
                _text(vantage_point.get("flow")) or "unknown",
            ),
            common_fields=common,
            event_schemas=uris,
            revisions=DRAFTS_OF_04 if era is Era.V04 else drafts,
            reference_time=_reference_time(common),
            time_units="us" if configuration.get("time_units") == "us" else "ms",
            header=header,
            pointer=f"/traces/{index}" if self.format == "json" else "/trace",
            error=error if isinstance(error, str) else None,
        )


class _Clock:
    """Times of events in ms from the trace's reference time."""

    def __init__(self, trace: Trace) -> None:
        written = trace.common_fields.get("time_format")
        self.format = written if isinstance(written, str) else ""
        configuration = _object(trace.header.get("configuration"))
        self.scale = 0.001 if trace.time_units == "us" else 1.0
        self.shift = _number(configuration.get("time_offset")) or 0.0
        self.last = 0.0
        if self.format == "absolute" or (not self.format and trace.era in {Era.V03, Era.V04}):
            # Absolute times leave nothing to add, whatever reference_time says.
            trace.reference_time = 0.0

    def time(self, written: Any, time_format: Any) -> float:
        """`time_format` is the event's own, None if it has none. What is no number repeats the last time."""
        value = written if type(written) is float else _number(written)
        if value is None:
            return self.last
        value = value * self.scale
        if (time_format or self.format) in {"relative_to_previous_event", "delta"}:
            self.last += value
        else:
            self.last = value + self.shift
        return self.last


class _Objects:
    """Makes events of objects."""

    def __init__(self, trace: Trace, clock: _Clock) -> None:
        self.damages: list[Damage] = []
        self._trace = trace
        self._clock = clock
        self._group_id = _group_id(trace.common_fields)

    def make(self, index: int, offset: int, value: Any) -> Event | None:
        """None if it can't be an event."""
        if type(value) is not dict:
            self._refuse(index, offset, value)
            return None
        written = value.get("name")
        name = written if type(written) is str else ""
        data = value.get("data")
        group = value.get("group_id")
        return Event(
            self._trace,
            index,
            self._clock.time(value.get("time"), value.get("time_format")),
            names.newest(name).name,
            name,
            data if type(data) is dict else {},
            value,
            self._group_id if group is None else str(group),
            offset,
        )

    def _refuse(self, index: int, offset: int, value: Any) -> None:
        kind = type(value).__name__
        self.damages.append(
            Damage(
                "record-not-an-event",
                f"a {kind} stands where an event belongs",
                damage.RULES["record-not-an-event"][1],
                offset,
                trace=self._trace.index,
                event=index,
            )
        )


class _Rows(_Objects):
    """Makes events of the arrays of draft-00 and draft-01, whose columns `event_fields` names."""

    def __init__(self, trace: Trace, clock: _Clock) -> None:
        super().__init__(trace, clock)
        columns = trace.header.get("event_fields")
        self._columns = [_text(column).lower() for column in columns] if isinstance(columns, list) else []
        if "delta_time" in self._columns:
            clock.format = "delta"

    def make(self, index: int, offset: int, value: Any) -> Event | None:
        if type(value) is not list:
            return super().make(index, offset, value)
        row = dict(zip(self._columns, value, strict=False))
        for column in ("time", "relative_time", "delta_time"):
            if column in row:
                row["time"] = row[column]
        category = _text(row.get("category"))
        event_type = _text(row.get("event_type")) or _text(row.get("event"))
        row["name"] = f"{category}:{event_type}".lower() if category else event_type.lower()
        return super().make(index, offset, row)


def _numbered(batch: Batch) -> tuple[range, list[int], list[Any]]:
    count = len(batch.values)
    return range(batch.first, batch.first + count), [batch.offset] * count, batch.values


def _start(head: bytes) -> int:
    return scan.skip_space(head, len(_BOM) if head.startswith(_BOM) else 0)


def _format_of(head: bytes) -> Format:
    """How a file is laid out, by its first value and what follows that. Raises UnreadableFileError."""
    if not head:
        raise UnreadableFileError("the file is empty")
    if head.startswith(RECORD_SEPARATOR):
        return "json-seq"
    if not head.startswith(b"{"):
        raise UnreadableFileError(
            "not a qlog file: it starts neither with an object nor with a record separator"
        )
    end = scan.value_end(head, 0)
    if end < 0:
        # No end in sight. Records are short, so a separator or a line that parses shows a sequence.
        return "json-seq" if RECORD_SEPARATOR in head else "json"
    following = head[scan.skip_space(head, end) :]
    if following.startswith(RECORD_SEPARATOR):
        return "json-seq"
    # By its text: the object may be broken, and its brackets may not match.
    if b'"traces"' in head[:end]:
        return "json"
    if b'"trace"' in head[:end] or following.startswith(b"{"):
        return "ndjson"
    try:
        first = scan.loads(head[:end])
    except ValueError:
        first = {}
    if era_of_header(first) is Era.UNKNOWN:
        raise UnreadableFileError("not a qlog file: its object has neither file_schema nor qlog_version")
    return "json"


def _reference_time(common: Mapping[str, Any]) -> float | None:
    """ms since 1970, of the number that was used until main-09 and of the object since."""
    written = common.get("reference_time")
    if written is None:
        # main schema, "Timestamps": the default is the system clock from 1970. Relative times without a
        # reference count from a start that nobody knows.
        return None if common.get("time_format") in {"relative", "delta"} else 0.0
    if not isinstance(written, dict):
        number = _number(written)
        return number if number is not None else _date(written)
    return _date(written.get("epoch"))


def _date(written: Any) -> float | None:
    if not isinstance(written, str):
        return None
    try:
        date = datetime.fromisoformat(written)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() * 1000
    except (ValueError, OverflowError):
        return None


def _number(written: Any) -> float | None:
    """A finite number, also one in a string."""
    if isinstance(written, bool) or not isinstance(written, int | float | str):
        return None
    try:
        number = float(written)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _group_id(common: Mapping[str, Any]) -> str:
    for field in ("group_id", "ODCID"):
        if field in common:
            return str(common[field])
    return ""


def _object(written: Any) -> JsonObject:
    return written if isinstance(written, dict) else {}


def _text(written: Any) -> str:
    return written if isinstance(written, str) else ""
