"""Holds a file against the schemas of its era and tells what is wrong, where, and how to mend it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from qlog import damage, names
from qlog.eras import Era, predates
from qlog.explain import Where, explain, nearest
from qlog.findings import Findings
from qlog.model import Damage, Event, Finding, JsonObject, Observer, Severity, Trace
from qlog.reader import Reader
from qlog.schema.accept import Accept
from qlog.schema.bundled import Generation, Schema, event_types, schemas
from qlog.source import UnreadableFileError


@dataclass(slots=True)
class Report:
    """What was found in a file. `events` counts those that could be read."""

    file: str
    era: str = Era.UNKNOWN.value
    events: int = 0
    findings: list[Finding] = field(default_factory=list)
    readable: bool = True

    @property
    def valid(self) -> bool:
        """Whether nothing of severity error was found."""
        return all(finding.severity != "error" for finding in self.findings)


def validate_file(path: Path, observers: Sequence[Observer] = (), *, strict: bool = False) -> Report:
    """Read a file from start to end. `observers` are the semantic checks that see the valid events.

    `strict` makes an error of every breach of the drafts that the file claims, also of those that a tool can
    repair and of fields that other schemas may add.
    """
    report = Report(str(path))
    try:
        reader = Reader(path)
        validation = Validation(reader, observers, strict=strict)
        validation.run()
    except UnreadableFileError as error:
        report.readable = False
        report.findings = [Finding("file-unreadable", "error", None, None, "", "", error.reason)]
        return report
    report.era = reader.era.value
    report.events = validation.events
    report.findings = validation.findings.all()
    return report


class Validation:
    """One file being validated."""

    def __init__(self, reader: Reader, observers: Sequence[Observer], *, strict: bool) -> None:
        self.findings = Findings()
        self.events = 0
        self._reader = reader
        self._observers = observers
        self._strict = strict
        self._started: set[int] = set()

    def run(self) -> None:
        """Do it. Raises UnreadableFileError."""
        self._check_header()
        for batch in self._reader.batches():
            trace = batch[0].trace
            if trace.index not in self._started:
                self._start(trace)
            self._check(trace, batch)
            self.events += len(batch)
            self._note_damages()
        for trace in self._reader.traces:
            if trace.index not in self._started:
                self._start(trace)
        self._note_damages()
        for observer in self._observers:
            self.findings.extend(observer.findings())

    def _check_header(self) -> None:
        reader = self._reader
        if reader.era is Era.UNKNOWN or reader.era.has_rows:
            if reader.header and not reader.era.has_rows:
                version = reader.header.get("qlog_version")
                message = f"{version!r} is no version of qlog that we know"
                fix = "write file_schema and serialization_format"
                self.findings.add(
                    Finding("header-version", "error", None, None, "/qlog_version", "", message, fix=fix)
                )
            return
        schema = schemas(_generation(reader.era))["main"]
        if not reader.header:
            return
        type_name = "QlogFile" if reader.format == "json" else "QlogFileSeq"
        if not schema.acceptors.of_type(type_name)(reader.header):
            # Only the traces claim a draft, so the header is as old as the oldest of them.
            trace = min(reader.traces, key=_main_draft, default=None)
            complaints = schema.judge.complaints(type_name, reader.header)
            claims = Trace(0, reader.era, revisions=trace.revisions if trace else {})
            for finding in explain(complaints, schema, claims, Where(), strict=self._strict):
                finding.trace = _trace_of_pointer(finding.pointer)
                self.findings.add(finding)

    def _start(self, trace: Trace) -> None:
        self._started.add(trace.index)
        for observer in self._observers:
            observer.on_trace(trace)
        if trace.era.has_rows:
            message = f"the events were read, but there is no schema of {trace.era.value} to check them by"
            self.findings.add(Finding("era-without-schema", "info", trace.index, None, "", "", message))

    def _check(self, trace: Trace, batch: list[Event]) -> None:
        observers = self._observers
        if trace.era.has_rows or trace.era is Era.UNKNOWN:
            for observer in observers:
                for event in batch:
                    observer.on_event(event)
        else:
            generation = _generation(trace.era)
            envelope = schemas(generation)["main"].acceptors.of_type("Event")
            known = _acceptors(generation)
            for event in batch:
                accepts = known.get(event.original_name)
                valid = (
                    accepts is not None and envelope(event.fields) and accepts(event.data)
                ) or self._explained(event, generation)
                for observer in observers:
                    (observer.on_event if valid else observer.on_refused)(event)

    def _explained(self, event: Event, generation: Generation) -> bool:
        """Find out why an event was refused; whether it may still count as valid."""
        main = schemas(generation)["main"]
        findings = self._judged(event, main, "Event", event.fields, "")
        # With an envelope that is broken, the type of the data is anybody's guess.
        if isinstance(event.fields.get("data"), dict) and event.original_name:
            found = _known_as(event, generation)
            if found is None and ":" in event.original_name:
                findings.append(_unknown(event, generation, strict=self._strict))
            elif found is not None:
                schema, type_name = found
                findings += _misnamed(event, generation, strict=self._strict)
                findings += self._judged(event, schema, type_name, event.data, "/data")
        self.findings.extend(findings)
        return all(finding.severity != "error" for finding in findings)

    def _judged(
        self, event: Event, schema: Schema, type_name: str, value: JsonObject, pointer: str
    ) -> list[Finding]:
        if schema.acceptors.of_type(type_name)(value):
            return []
        complaints = schema.judge.complaints(type_name, value)
        where = Where(event.index, event.original_name, pointer)
        return explain(complaints, schema, event.trace, where, strict=self._strict)

    def _note_damages(self) -> None:
        for found in self._reader.take_damages():
            severity: Severity = "error" if self._strict else damage.RULES[found.rule][0]
            self.findings.add(
                Finding(found.rule, severity, found.trace, found.event, "", "", _placed(found), fix=found.fix)
            )


def _main_draft(trace: Trace) -> float:
    return trace.revisions.get("main", math.inf)


def _generation(era: Era) -> Generation:
    """The schemas that an era is held against."""
    return "v03" if era is Era.V03 else "newest"


@cache
def _acceptors(generation: Generation) -> dict[str, Accept]:
    return {
        name: schema.acceptors.of_type(type_name)
        for name, (schema, type_name) in event_types(generation).items()
    }


def _known_as(event: Event, generation: Generation) -> tuple[Schema, str] | None:
    types = event_types(generation)
    if generation == "newest":
        return types.get(event.original_name) or types.get(event.name)
    return types.get(_names_of_03().get(event.name, event.original_name)) or types.get(event.original_name)


@cache
def _names_of_03() -> dict[str, str]:
    """The newest name of an event to what 0.3 called it."""
    return {names.newest(name).name: name for name in event_types("v03")}


def _misnamed(event: Event, generation: Generation, *, strict: bool) -> list[Finding]:
    written = event.original_name
    if written in event_types(generation):
        return []
    severity: Severity = "error" if strict else "warning"
    if generation == "v03":
        name = _names_of_03()[event.name]
        message = f"qlog 0.3 calls it {name}"
        reference = "qlog 0.3"
    else:
        name, since = names.newest(written)
        if predates(since, event.trace.revisions):
            return []
        message = f"{written} was renamed in {since}: use {name}"
        reference = "draft-ietf-quic-qlog-main-schema, Event Schema URIs"
    where = (event.trace.index, event.index)
    return [Finding("event-name", severity, *where, "/name", written, message, reference, f"write {name}")]


def _unknown(event: Event, generation: Generation, *, strict: bool) -> Finding:
    written = event.original_name
    known = list(event_types(generation))
    where = (event.trace.index, event.index)
    namespace = written.partition(":")[0]
    if not any(name.startswith(f"{namespace}:") for name in known):
        message = f"the namespace {namespace} is none that we know: its events are not checked"
        return Finding("event-foreign", "info", *where, "/name", written, message)
    severity: Severity = "error" if strict else "warning"
    meant = nearest(written, known)
    message = f"the namespace {namespace} has no such event"
    fix = f"write {meant}" if meant else ""
    return Finding("event-unknown", severity, *where, "/name", written, message, fix=fix)


def _placed(found: Damage) -> str:
    record = "" if found.record is None else f", record {found.record}"
    return f"at byte {found.offset}{record}: {found.message}"


def _trace_of_pointer(pointer: str) -> int | None:
    steps = pointer.split("/")
    if len(steps) > 2 and steps[1] == "traces":
        return int(steps[2])
    return 0 if len(steps) > 1 and steps[1] == "trace" else None
