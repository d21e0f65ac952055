"""What a run of the matrix leaves: its cells as data, and the file that keeps them.

A results file is JSON with the number of its schema. While a run goes on, and if it is killed, what has come
since is in a journal beside it, a line for each cell, which readers take for part of it. They refuse what
they don't understand, so that a gate never decides on half of a matrix.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, TypeVar

SCHEMA: Final = 1
# What every run leaves among its logs.
RESULTS: Final = "results.json"

_T = TypeVar("_T")
_E = TypeVar("_E", bound=StrEnum)

# What tells a cell from all others: server, client, test, network, repeat.
CellKey: TypeAlias = tuple[str, str, str, str, int]


class ResultsError(ValueError):
    """A results file can't be used; the message names the file and the place in it."""


class Status(StrEnum):
    """Verdict on a cell, with the public runner's words."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"


class Owner(StrEnum):
    """Whose failure it is, as far as the evidence tells; for an unsupported case, who does not support it."""

    SERVER = "server"
    CLIENT = "client"
    UNKNOWN = "unknown"
    # The machine or the runner itself: nothing is said about the endpoints.
    RUNNER = "runner"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check of a cell. A `strict` one goes beyond the public runner's and does not decide the verdict.

    `packet` is the place that the check points at, as "left 17" or "right 203 (1.234 s)"; None if there
    is no single one.
    """

    name: str
    passed: bool
    strict: bool = False
    message: str = ""
    packet: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QlogFindings:
    """How many errors validation found in the traces of each side; None where it wrote no trace."""

    client: int | None = None
    server: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """One test case, once, between one server and one client.

    `seconds` is wall time from the server's start to the stop of both; `goodput_mbps` is there for
    measurements only, in Mbit/s. `log_dir` is relative to the folder of the results file, empty if it is not
    there.
    """

    server: str
    client: str
    test: str
    status: Status
    owner: Owner | None = None
    seconds: float = 0.0
    seed: int = 0
    repeat: int = 1
    network: str = "netns"
    goodput_mbps: float | None = None
    checks: tuple[CheckResult, ...] = ()
    qlog_findings: QlogFindings = field(default_factory=QlogFindings)
    log_dir: str = ""
    explanation: str = ""
    # Not to be counted against the run: the reason is known and written down.
    known: str = ""

    @property
    def key(self) -> CellKey:
        return (self.server, self.client, self.test, self.network, self.repeat)

    @property
    def unexpected(self) -> bool:
        """It failed, and nobody had said that it would."""
        return self.status is Status.FAILED and not self.known


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixResult:
    """A run. Times are seconds since 1970; `peers` are names and versions; `options` what was asked for."""

    started: float
    ended: float
    interquic: str
    peers: dict[str, str]
    cells: tuple[CellResult, ...]
    options: dict[str, str] = field(default_factory=dict)

    @property
    def servers(self) -> list[str]:
        """In the order of their first cells."""
        return list(dict.fromkeys(cell.server for cell in self.cells))

    @property
    def clients(self) -> list[str]:
        """In the order of their first cells."""
        return list(dict.fromkeys(cell.client for cell in self.cells))

    @property
    def tests(self) -> list[str]:
        """In the order of their first cells."""
        return list(dict.fromkeys(cell.test for cell in self.cells))

    def pair(self, server: str, client: str, test: str) -> list[CellResult]:
        """All repetitions of a cell."""
        return [
            cell for cell in self.cells if (cell.server, cell.client, cell.test) == (server, client, test)
        ]


def merge(results: Sequence[MatrixResult]) -> MatrixResult:
    """One result of many. Of a cell that is in several the one of the last remains.

    Raises ResultsError when a peer has different versions in them: that would be two matrices.
    """
    if not results:
        raise ResultsError("nothing to merge")
    peers: dict[str, str] = {}
    for result in results:
        for name, version in result.peers.items():
            if peers.setdefault(name, version) != version:
                raise ResultsError(f"{name} is {peers[name]} in one file and {version} in another")
    cells = {cell.key: cell for result in results for cell in result.cells}
    return replace(
        results[0],
        started=min(result.started for result in results),
        ended=max(result.ended for result in results),
        peers=peers,
        cells=tuple(cells.values()),
    )


class Journal:
    """A context manager that keeps the cells of a run as they come.

    Each costs as much as the first, and those that are written survive the writer. `path` is that of the
    results file, `begun` what there is before.
    """

    def __init__(self, path: Path, begun: MatrixResult) -> None:
        write(begun, path)
        self._file = _journal(path).open("w")

    def add(self, cell: CellResult, now: float) -> None:
        """Keep what has come at this moment, in seconds since 1970."""
        self._file.write(json.dumps({"ended": now, "cell": asdict(cell)}) + "\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()


def _journal(path: Path) -> Path:
    return path.with_name(f"{path.name}.journal")


def write(result: MatrixResult, path: Path) -> None:
    """Replace file and journal as a whole: whoever reads meanwhile sees the old content or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"schema": SCHEMA, **asdict(result)}, indent=1)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text + "\n")
    temporary.replace(path)
    _journal(path).unlink(missing_ok=True)


def read(path: Path) -> MatrixResult:
    """Raises ResultsError for a file that is not there, is not ours or is of another schema."""
    # In this order: a run that ends meanwhile puts into the file what the journal had.
    journal = _journal(path)
    with _located(journal):
        added = _read_journal(_text_or_none(journal))
    with _located(path):
        result = _read_matrix(_Record(json.loads(path.read_text()), "the file"))
    if not added:
        return result
    cells = {cell.key: cell for cell in (*result.cells, *(cell for _, cell in added))}
    return replace(result, cells=tuple(cells.values()), ended=max(result.ended, added[-1][0]))


def _text_or_none(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


@contextmanager
def _located(path: Path) -> Iterator[None]:
    """Errors of reading become a ResultsError that names the file."""
    try:
        yield
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror or error}") from error
    except ResultsError as error:
        raise ResultsError(f"{path}: {error}") from error
    except ValueError as error:
        raise ResultsError(f"{path}: not JSON: {error}") from error


def read_here(path: Path) -> MatrixResult:
    """Of a file, or of the folder of a run, with logs relative to the current folder. Raises ResultsError."""
    file = path / RESULTS if path.is_dir() else path
    return relocated(read(file), file.parent, Path())


def relocated(result: MatrixResult, source: Path, target: Path) -> MatrixResult:
    """With logs relative to the folder `target` in place of `source`; those that are not there have none."""
    return replace(result, cells=tuple(_relocated(cell, source, target) for cell in result.cells))


def _relocated(cell: CellResult, source: Path, target: Path) -> CellResult:
    folder = source / cell.log_dir
    is_there = cell.log_dir and folder.is_dir()
    return replace(cell, log_dir=os.path.relpath(folder, target) if is_there else "")


class _Record:
    """A JSON object whose members are taken with the type that they must have."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise ResultsError(f"{where} is not a JSON object")
        self._members: Mapping[str, object] = value
        self._where = where

    def take(self, name: str, *kinds: type[_T]) -> _T:
        if name not in self._members:
            raise ResultsError(f"{self._where} has no {name!r}")
        value = self._members[name]
        # JSON has one kind of number, and bool is an int to Python only.
        if isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds):
            return value
        raise ResultsError(
            f"{self._where}: {name!r} is {value!r}, not {' or '.join(k.__name__ for k in kinds)}"
        )

    def number(self, name: str) -> float:
        return float(self.take(name, int, float))

    def optional(self, name: str, take: Callable[[str], _T]) -> _T | None:
        return None if self._members.get(name) is None else take(name)

    def text(self, name: str) -> str:
        return self.take(name, str)

    def count(self, name: str) -> int:
        return self.take(name, int)

    def choice(self, name: str, kind: type[_E]) -> _E:
        text = self.text(name)
        try:
            return kind(text)
        except ValueError:
            raise ResultsError(f"{self._where}: {name!r} is {text!r}, not one of {', '.join(kind)}") from None

    def texts(self, name: str) -> dict[str, str]:
        found: dict[Any, Any] = self.take(name, dict)
        if not all(isinstance(value, str) for value in found.values()):
            raise ResultsError(f"{self._where}: not all values of {name!r} are strings")
        return found

    def record(self, name: str) -> "_Record":
        return _Record(self.take(name, dict), f"{self._where}.{name}")

    def records(self, name: str) -> list["_Record"]:
        items = enumerate(self.take(name, list))
        return [_Record(item, f"{self._where}.{name}[{index}]") for index, item in items]


def _read_matrix(record: _Record) -> MatrixResult:
    schema = record.count("schema")
    if schema != SCHEMA:
        raise ResultsError(f"schema {schema}; this version reads schema {SCHEMA}")
    return MatrixResult(
        started=record.number("started"),
        ended=record.number("ended"),
        interquic=record.text("interquic"),
        peers=record.texts("peers"),
        cells=tuple(_read_cell(cell) for cell in record.records("cells")),
        options=record.texts("options"),
    )


def _read_journal(text: str) -> list[tuple[float, CellResult]]:
    """The cells, and when each came. Of a writer that was killed the last line may be torn."""
    lines = text.split("\n")[:-1]
    records = (_Record(json.loads(line), f"line {number}") for number, line in enumerate(lines, 1))
    return [(record.number("ended"), _read_cell(record.record("cell"))) for record in records]


def _read_cell(record: _Record) -> CellResult:
    findings = record.record("qlog_findings")
    return CellResult(
        server=record.text("server"),
        client=record.text("client"),
        test=record.text("test"),
        status=record.choice("status", Status),
        owner=record.optional("owner", lambda name: record.choice(name, Owner)),
        seconds=record.number("seconds"),
        seed=record.count("seed"),
        repeat=record.count("repeat"),
        network=record.text("network"),
        goodput_mbps=record.optional("goodput_mbps", record.number),
        checks=tuple(_read_check(check) for check in record.records("checks")),
        qlog_findings=QlogFindings(
            client=findings.optional("client", findings.count),
            server=findings.optional("server", findings.count),
        ),
        log_dir=record.text("log_dir"),
        explanation=record.text("explanation"),
        known=record.text("known"),
    )


def _read_check(record: _Record) -> CheckResult:
    return CheckResult(
        name=record.text("name"),
        passed=record.take("passed", bool),
        strict=record.take("strict", bool),
        message=record.text("message"),
        packet=record.optional("packet", record.text),
    )
