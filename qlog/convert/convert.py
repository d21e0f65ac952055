"""Convert a file of any era to the newest drafts or to 0.3."""

from collections.abc import Iterator
from pathlib import Path

from qlog.convert import container
from qlog.convert.container import Form, Target
from qlog.convert.downgrade import downgraded
from qlog.convert.record import Dropped
from qlog.convert.upgrade import upgraded
from qlog.model import Event, Trace
from qlog.reader import Reader


class ConversionError(Exception):
    """The file can't be written as asked for; says why."""


def convert_file(path: Path, output: Path, target: Target, form: Form | None = None) -> Dropped:
    """Write `path` anew; the form of the file stays if `form` is None. What got lost is returned.

    The file is read twice, and memory does not grow with it. Raises ConversionError, OSError and what Reader
    raises.
    """
    dropped = Dropped()
    namespaces = _namespaces(path)
    reader = Reader(path)
    chosen: Form = form or ("json" if reader.format == "json" else "json-seq")
    if chosen == "json-seq" and len(reader.traces) != 1:
        raise ConversionError(
            f"a JSON text sequence holds one trace, the file has {len(reader.traces)}: split it first"
        )
    title, description = (str(reader.header.get(name, "")) for name in ("title", "description"))
    header = container.file_header(target, chosen, title, description)
    for name in reader.header.keys() & {"summary", "code_version"}:
        dropped.note(name, "no field of the file's header")
    with output.open("wb") as file:
        for piece in _pieces(reader, header, target, chosen, namespaces, dropped):
            file.write(piece)
    for damage in reader.take_damages():
        dropped.note(damage.rule, damage.message)
    return dropped


def _namespaces(path: Path) -> dict[int, set[str]]:
    """Of the events of each trace."""
    found: dict[int, set[str]] = {}
    for batch in Reader(path).batches():
        names = found.setdefault(batch[0].trace.index, set())
        names.update({event.name for event in batch})
    return {index: {name.partition(":")[0] for name in names} for index, names in found.items()}


def _pieces(
    reader: Reader,
    header: dict[str, object],
    target: Target,
    form: Form,
    namespaces: dict[int, set[str]],
    dropped: Dropped,
) -> Iterator[bytes]:
    batches = Batches(reader)

    def events(index: int) -> Iterator[bytes]:
        for event in batches.of(index):
            record = upgraded(event, dropped)
            written = record if target == "newest" else downgraded(record, dropped)
            yield container.encoded(container.event_object(written))

    traces = (
        (container.trace_error(trace), None)
        if trace.error is not None
        else (
            container.trace_header(trace, target, namespaces.get(trace.index, ()), dropped),
            events(trace.index),
        )
        for trace in batches.started()
    )
    if form == "json":
        yield from container.document(header, traces)
    else:
        trace, encoded_events = next(iter(traces))
        yield from container.sequence(header, trace, encoded_events or ())


class Batches:
    """The events of a file trace by trace; a file holds the traces one after the other."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._batches = reader.batches()
        self._next: list[Event] | None = None

    def started(self) -> Iterator[Trace]:
        """Every trace, when its events are next."""
        for trace in self._reader.traces:
            # The clock of a trace is known when its first events have been read.
            self._peek()
            yield trace

    def of(self, index: int) -> Iterator[Event]:
        """The events of a trace."""
        while (batch := self._peek()) is not None and batch[0].trace.index == index:
            self._next = None
            yield from batch

    def _peek(self) -> list[Event] | None:
        if self._next is None:
            self._next = next(self._batches, None)
        return self._next
