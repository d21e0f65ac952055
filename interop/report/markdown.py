"""The matrix as Markdown, for a step summary or a comment."""

from collections.abc import Iterator

from interop.report.squares import Square, counts, failures, in_order, squares
from interop.results import CellResult, MatrixResult, Status
from interop.testcases import ALL_CASES

_SIGNS = {Status.SUCCEEDED: "✅", Status.UNSUPPORTED: "⚪", Status.FAILED: "❌"}
_KNOWN = "⚠️"


def markdown(result: MatrixResult) -> str:
    """The whole page."""
    return "\n".join(_lines(result)) + "\n"


def _lines(result: MatrixResult) -> Iterator[str]:
    total = counts(result)
    yield "# QUIC interop matrix"
    yield ""
    words = ", ".join(f"{count} {status}" for status, count in total.items())
    yield f"{words} in {result.ended - result.started:.0f} s, by interquic {result.interquic}."
    yield ""
    yield "| client ↓ server → | " + " | ".join(result.servers) + " |"
    yield "|---" * (len(result.servers) + 1) + "|"
    for client in result.clients:
        row = (_square(squares(result, server, client)) for server in result.servers)
        yield f"| **{client}** | " + " | ".join(row) + " |"
    failed = failures(result)
    if failed:
        yield ""
        yield "## Failures"
        yield ""
        yield "| server | client | test | whose | why | log |"
        yield "|---|---|---|---|---|---|"
        yield from map(_failure, failed)
    yield ""
    known = (ALL_CASES[test] for test in in_order(result.tests) if test in ALL_CASES)
    yield "; ".join(f"{case.abbreviation}: {case.name}" for case in known)
    yield ""
    yield "; ".join(f"{name} {version}" for name, version in result.peers.items())


def _square(found: list[Square]) -> str:
    lines = []
    for status, sign in _SIGNS.items():
        for known in (False, True):
            labels = [
                f"{square.label} {square.goodput}".strip()
                for square in found
                if square.status is status and known is (status is Status.FAILED and not square.unexpected)
            ]
            if labels:
                lines.append(f"{_KNOWN if known else sign} {' '.join(labels)}")
    return "<br>".join(lines)


def _failure(cell: CellResult) -> str:
    why = f"{cell.explanation} (known: {cell.known})" if cell.known else cell.explanation
    why = why.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
    log = f"`{cell.log_dir}`" if cell.log_dir else ""
    return f"| {cell.server} | {cell.client} | {cell.test} | {cell.owner or ''} | {why} | {log} |"
