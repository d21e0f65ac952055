"""The matrix in a terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from interop.report.squares import counts, failures, squares
from interop.results import CellResult, MatrixResult, Status

STYLES = {Status.SUCCEEDED: "green", Status.UNSUPPORTED: "bright_black", Status.FAILED: "bold red"}
_SIGNS = {Status.SUCCEEDED: "✓", Status.UNSUPPORTED: "-", Status.FAILED: "✗"}
_KNOWN = "yellow"


def matrix(result: MatrixResult) -> RenderableType:
    """Servers across, clients down; the letters of the cases by verdict, then every failure in a line."""
    table = Table(show_lines=True, title="server →, client ↓", title_justify="left")
    table.add_column("")
    for server in result.servers:
        table.add_column(server)
    for client in result.clients:
        table.add_row(client, *(_square(result, server, client) for server in result.servers))
    lines = map(_failure_line, failures(result))
    return Group(table, *lines, _summary(result))


def _square(result: MatrixResult, server: str, client: str) -> Text:
    """A line per verdict; the signs are for terminals without colours."""
    text = Text()
    found = squares(result, server, client)
    for status in (Status.SUCCEEDED, Status.FAILED, Status.UNSUPPORTED):
        chosen = [square for square in found if square.status is status]
        if not chosen:
            continue
        text.append("\n" if text else "").append(_SIGNS[status], STYLES[status])
        for square in chosen:
            style = STYLES[status] if status is not Status.FAILED or square.unexpected else _KNOWN
            text.append(f" {square.label} {square.goodput}".rstrip(), style)
    return text


def _failure_line(cell: CellResult) -> Text:
    text = Text()
    text.append(*(("known  ", _KNOWN) if cell.known else ("FAILED ", STYLES[Status.FAILED])))
    whose = f" ({cell.owner})" if cell.owner else ""
    text.append(f"{cell.server} ← {cell.client} {cell.test}{whose}: {cell.explanation}")
    if cell.known or cell.log_dir:
        text.append(f" [{cell.known or cell.log_dir}]", "bright_black")
    return text


def _summary(result: MatrixResult) -> Text:
    text = Text()
    for status, count in counts(result).items():
        text.append(f"{count} {status}  ", STYLES[status] if count else "bright_black")
    text.append(f"in {result.ended - result.started:.0f} s")
    return text
