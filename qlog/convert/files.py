"""Repair, split and merge: other files with the same events, untouched."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from qlog.convert import container
from qlog.convert.container import Form
from qlog.convert.convert import Batches, ConversionError
from qlog.eras import Era
from qlog.events import EVENT_SCHEMAS
from qlog.model import Event, JsonObject, Trace
from qlog.reader import Reader

# Files open at a time when splitting.
_MOST_OPEN = 200


def repair(path: Path, output: Path) -> list[str]:
    """Write what can be read of a damaged file in its own era; what was wrong, in words.

    Raises ConversionError, OSError and what Reader raises.
    """
    reader = _opened(path)
    form: Form = "json" if reader.format == "json" else "json-seq"
    with output.open("wb") as file:
        file.writelines(_written(reader, form))
    found = [f"at byte {damage.offset}: {damage.message}" for damage in reader.take_damages()]
    if not reader.header:
        found.append("the header was lost: who logged, and when, is not known any more")
    return found


def merge(paths: Iterable[Path], output: Path) -> int:
    """Write the traces of all files into one document; how many they are.

    Raises ConversionError, OSError and what Reader raises.
    """
    opened = [(path, _opened(path)) for path in paths]
    readers = [reader for _, reader in opened]
    older = [path for path, reader in opened if not reader.era.has_file_schema]
    if 0 < len(older) < len(readers):
        # One document has one era; which one is for the user to say, since something is lost on each way.
        raise ConversionError(
            f"{older[0]} is of an older era than others: merge what 'qlog convert --to newest' makes of it"
            " (qvis, report and pair take both as they are)"
        )
    with output.open("wb") as file:
        header = _file_header(readers[0], "json")
        traces = (trace for reader in readers for trace in _traces(reader))
        file.writelines(container.document(header, traces))
    return sum(len(reader.traces) for reader in readers)


def split(path: Path, folder: Path) -> list[Path]:
    """Write a JSON text sequence for each connection of each trace; their paths, in the order of the file.

    Raises ConversionError, OSError and what Reader raises.
    """
    reader = _opened(path)
    files: dict[tuple[int, str], BinaryIO] = {}
    paths: list[Path] = []
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for event in reader.events():
            key = (event.trace.index, event.group_id)
            if key not in files:
                if len(files) == _MOST_OPEN:
                    raise ConversionError(f"more than {_MOST_OPEN} connections in one file")
                paths.append(_free(folder, event))
                files[key] = paths[-1].open("wb")
                header = _trace_header(event.trace, event.group_id)
                files[key].writelines(container.sequence(_file_header(reader, "json-seq"), header, ()))
            files[key].write(b"\x1e" + container.encoded(event.fields) + b"\n")
    finally:
        for file in files.values():
            file.close()
    return paths


def _opened(path: Path) -> Reader:
    reader = Reader(path)
    if reader.era.has_rows or any(trace.era.has_rows for trace in reader.traces):
        raise ConversionError(f"{path}: events of {reader.era.value} are rows: convert it first")
    return reader


def _written(reader: Reader, form: Form) -> Iterator[bytes]:
    traces = _traces(reader)
    if form == "json":
        yield from container.document(_file_header(reader, form), traces)
    else:
        # The first events tell the era of a file that has lost its header.
        trace, events = next(iter(traces))
        yield from container.sequence(_file_header(reader, form), trace, events or ())


def _traces(reader: Reader) -> Iterator[tuple[JsonObject, Iterable[bytes] | None]]:
    batches = Batches(reader)
    for trace in batches.started():
        if trace.error is not None:
            yield container.trace_error(trace), None
        else:
            events = (container.encoded(event.fields) for event in batches.of(trace.index))
            yield _trace_header(trace, ""), events


def _file_header(reader: Reader, form: Form) -> JsonObject:
    """The file's own, with the form that is written now."""
    newest = reader.era.has_file_schema or reader.era is Era.UNKNOWN
    made = container.file_header("newest" if newest else "0.3", form, "", "")
    own = {name: value for name, value in reader.header.items() if name not in {"trace", "traces"}}
    if "qlog_version" in own and not newest:
        made["qlog_version"] = own["qlog_version"]
    return {**made, **{name: value for name, value in own.items() if name not in made}}


def _trace_header(trace: Trace, group_id: str) -> JsonObject:
    header = {name: value for name, value in trace.header.items() if name != "events"}
    if not header:
        header = {"vantage_point": {"type": "unknown"}}
        if trace.era is Era.NEWEST:
            header["event_schemas"] = list(EVENT_SCHEMAS)
    if group_id and "group_id" not in trace.common_fields and "ODCID" not in trace.common_fields:
        # Every event carries it, so it may not stand here too: the title tells.
        header.setdefault("title", group_id)
    return header


def _free(folder: Path, event: Event) -> Path:
    """A name that no file has yet, as the main schema recommends it ("Methods of access")."""
    group = "".join(char for char in event.group_id if char.isalnum() or char in "-_")[:64]
    stem = f"{group or f'trace{event.trace.index}'}_{event.trace.vantage_point.type}"
    path = folder / f"{stem}.sqlog"
    count = 1
    while path.exists():
        count += 1
        path = folder / f"{stem}_{count}.sqlog"
    return path
