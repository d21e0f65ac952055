"""After a cell: its traces validated, paired and made ready for qvis; a failure explained on one page."""

import json
import shutil
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from endpoint.cli.testcases import Role
from interop.results import CellResult, QlogFindings, Status
from interop.runner.plan import Cell
from interop.simnet.network import LEFT, RIGHT
from qlog import cat, checks
from qlog.convert.qvis import export
from qlog.pair import pair
from qlog.side import sides_of
from qlog.source import UnreadableFileError
from qlog.validate import Report, validate_file

EXPLANATION: Final = "explanation.md"
QVIS: Final = "qvis.qlog"
PAIRS: Final = "pairs.json"
VALIDATION: Final = "qlog.txt"

_NO_QVIS: Final = "not exported for qvis:"
_SUFFIXES: Final = (".qlog", ".sqlog", ".qlognd")
_LAST_EVENTS: Final = 12
_LAST_LINES: Final = 20
_MAX_QVIS_EVENTS: Final = 100_000
# What traces of a success may have in bytes to be worth the time and the space of an export.
_MAX_EXPORTED_SUCCESS: Final = 2 * 1024 * 1024
# Bytes of a trace that is read. Ten times what the longest test case leaves: more comes of ends that send
# without pause, and would keep the matrix waiting for minutes.
MAX_TRACE: Final = 64 * 1024 * 1024
# Of a cell that succeeded only what is small remains.
_LARGE: Final = ("www", "downloads", "certs")


def conclude(cell: Cell, result: CellResult) -> CellResult:
    """The result with the findings in its traces; the folder gets what the module's first line says."""
    folder = cell.log_dir / cell.folder
    failed = result.status is Status.FAILED
    found = {role: _traces(folder / role / "qlog") for role in Role}
    traces = {
        role: [path for path in paths if path.stat().st_size <= MAX_TRACE] for role, paths in found.items()
    }
    reports = {role: [validate_file(path, checks.observers()) for path in traces[role]] for role in Role}
    _write_validation([*reports[Role.CLIENT], *reports[Role.SERVER]], folder)
    for path in set(found[Role.CLIENT] + found[Role.SERVER]) - set(traces[Role.CLIENT] + traces[Role.SERVER]):
        _note(folder, f"{path.relative_to(folder)}: not read: {path.stat().st_size / 1e6:.0f} MB")
    # A side that breaks rules on purpose leaves errors in both traces.
    if not cell.case.breaches:
        findings = QlogFindings(client=_errors(reports[Role.CLIENT]), server=_errors(reports[Role.SERVER]))
        result = replace(result, qlog_findings=findings)
    _write_pairs(traces[Role.CLIENT], traces[Role.SERVER], folder)
    most = None if failed or cell.keep_all else _MAX_EXPORTED_SUCCESS
    _write_qvis([*traces[Role.CLIENT], *traces[Role.SERVER]], folder, most)
    if failed:
        explain(cell, result, traces)
    if not failed and not cell.keep_all:
        _tidy(folder, result)
    return result


def explain(cell: Cell, result: CellResult, traces: Mapping[Role, list[Path]]) -> None:
    """Write the page of a failure into the cell's folder, with the last events of these traces."""
    folder = cell.log_dir / cell.folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / EXPLANATION).write_text("\n".join(_explain(cell, result, traces, folder)) + "\n")


def _traces(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.rglob("*") if path.suffix in _SUFFIXES)


def _errors(reports: list[Report]) -> int | None:
    """None without a trace: that is not the same as a trace without errors."""
    if not reports:
        return None
    return sum(finding.severity == "error" for report in reports for finding in report.findings)


def _write_validation(reports: list[Report], folder: Path) -> None:
    lines = []
    for report in reports:
        name = Path(report.file).relative_to(folder)
        lines.append(
            f"{name}: {'valid' if report.valid else 'NOT VALID'}, {report.events} events, qlog {report.era}"
        )
        lines += [f"  {finding.severity}: {finding.message} ({finding.rule})" for finding in report.findings]
    if lines:
        (folder / VALIDATION).write_text("\n".join(lines) + "\n")


def _write_pairs(clients: list[Path], servers: list[Path], folder: Path) -> None:
    """Every connection that both sides have a trace of, or why that can't be told."""
    found: list[object] = []
    try:
        groups = {group: path for path in servers for group in sides_of(path)}
        single = len(clients) == len(servers) == 1
        for path in clients:
            for group in sides_of(path):
                other = servers[0] if single else groups.get(group)
                if other is not None:
                    found.append(asdict(pair(path, other, None if single else group)))
    except UnreadableFileError as error:
        found.append({"error": str(error)})
    if found:
        (folder / PAIRS).write_text(json.dumps(found, indent=1) + "\n")


def _write_qvis(paths: list[Path], folder: Path, most: int | None) -> None:
    """All connections in one file, unless the traces have more than `most` bytes."""
    size = sum(path.stat().st_size for path in paths)
    if not paths:
        return
    if most is not None and size > most:
        _note(folder, f"{_NO_QVIS} {size / 1e6:.1f} MB of a success; --keep-all exports them as well")
        return
    try:
        export(paths, folder / QVIS, max_events=_MAX_QVIS_EVENTS)
    except UnreadableFileError as error:
        (folder / QVIS).unlink(missing_ok=True)
        _note(folder, f"{_NO_QVIS} {error}")


def _note(folder: Path, text: str) -> None:
    with (folder / VALIDATION).open("a") as file:
        file.write(f"{text}\n")


def _explain(
    cell: Cell, result: CellResult, traces: Mapping[Role, list[Path]], folder: Path
) -> Iterator[str]:
    """The page, in Markdown."""
    case = cell.case
    yield f"# {cell.test}: server {cell.server.name}, client {cell.client.name}"
    yield ""
    yield f"**{result.status}** after {result.seconds:.1f} s of {case.limit * cell.timeout_scale:.0f} s."
    yield f"Whose failure: {result.owner or 'unknown'}. {result.explanation}"
    if result.known:
        yield f"Known: {result.known}"
    yield ""
    yield f"The case: {case.summary}. The server saw TESTCASE={case.server}, the client {case.client}."
    yield ""
    yield "| check | | what it says | packet |"
    yield "|---|---|---|---|"
    for check in result.checks:
        mark = "passed" if check.passed else "noted" if check.strict else "**failed**"
        message = "" if check.passed else check.message.replace("|", "\\|")
        yield f"| {check.name} | {mark} | {message} | {check.packet or ''} |"
    yield ""
    yield "Run just this again:"
    yield ""
    yield f"    {cell.replay}"
    yield ""
    yield "Look closer:"
    yield ""
    for name in (LEFT, RIGHT):
        yield f"    interquic interop dissect sim/{name} --keys {_key_log(folder)}"
    if (folder / QVIS).exists():
        yield f"    {QVIS} for https://qvis.quictools.info/; {PAIRS}; {VALIDATION}"
    for role in Role:
        yield from _last_of(role, traces.get(role, []), folder)


def _key_log(folder: Path) -> str:
    return next((f"{role}/keys.log" for role in Role if (folder / role / "keys.log").exists()), "KEYLOG")


def _last_of(role: Role, traces: list[Path], folder: Path) -> Iterator[str]:
    output = folder / role / "output.txt"
    lines = output.read_text(errors="replace").splitlines() if output.exists() else []
    yield ""
    yield f"## The {role}'s last lines"
    yield ""
    yield from (f"    {line}" for line in lines[-_LAST_LINES:] or ["(it said nothing)"])
    if not traces:
        return
    newest = max(traces, key=lambda path: path.stat().st_mtime)
    yield ""
    yield f"## The {role}'s last events"
    yield ""
    yield f"Of `{newest.relative_to(folder)}`:"
    yield ""
    yield from (f"    {line}" for line in _last_events(newest))


def _last_events(path: Path) -> list[str]:
    try:
        shown = deque(cat.shown(path, cat.Filter()), maxlen=_LAST_EVENTS)
    except UnreadableFileError as error:
        return [str(error)]
    return [cat.line(event, time) for event, time in shown]


def _tidy(folder: Path, result: CellResult) -> None:
    """Key logs, what the programs said and the findings stay; the rest is large and tells of no failure."""
    for name in _LARGE:
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (LEFT, RIGHT):
        (folder / "sim" / name).unlink(missing_ok=True)
    findings = result.qlog_findings
    for role, errors in ((Role.CLIENT, findings.client), (Role.SERVER, findings.server)):
        if not errors:
            shutil.rmtree(folder / role / "qlog", ignore_errors=True)
