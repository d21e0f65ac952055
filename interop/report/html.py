"""The matrix as one page that needs nothing else, with links into the logs."""

import datetime as dt
from collections.abc import Iterator
from html import escape
from importlib.resources import files
from typing import Final
from urllib.parse import quote

from interop.report.squares import Square, counts, failures, in_order, squares
from interop.results import CellResult, MatrixResult, Status
from interop.testcases import ALL_CASES

_PAGE: Final = "page.html"


def html(result: MatrixResult) -> str:
    """Links are relative to where the cells have their logs."""
    page = files("interop.report").joinpath(_PAGE).read_text()
    started = dt.datetime.fromtimestamp(result.started, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    parts = {
        "SUMMARY": "".join(_summary(result)),
        "STARTED": escape(f"{started}, {result.ended - result.started:.0f} s, interquic {result.interquic}"),
        "MATRIX": "".join(_matrix(result)),
        "FAILURES": "".join(map(_failure, failures(result))),
        "CELLS": "".join(map(_cell, result.cells)),
        "LEGEND": "".join(_legend(result)),
        "PEERS": escape(", ".join(f"{name} {version}" for name, version in result.peers.items())),
    }
    for name, text in parts.items():
        page = page.replace(f"<!--{name}-->", text)
    return page


def _summary(result: MatrixResult) -> Iterator[str]:
    for status, count in counts(result).items():
        yield f'<span class="pill {status}">{count} {status}</span> '


def _matrix(result: MatrixResult) -> Iterator[str]:
    yield "<tr><th class=corner>client ↓ server →</th>"
    yield "".join(f"<th>{escape(server)}</th>" for server in result.servers)
    yield "</tr>"
    for client in result.clients:
        yield f"<tr><th>{escape(client)}</th>"
        for server in result.servers:
            chips = "".join(map(_chip, squares(result, server, client)))
            yield f"<td>{chips}</td>"
        yield "</tr>"


def _kind(cell: CellResult) -> str:
    return "known" if cell.status is Status.FAILED and cell.known else cell.status.value


def _chip(square: Square) -> str:
    cell = square.worst
    title = f"{square.test}: {cell.status}, {cell.seconds:.1f} s"
    if cell.explanation:
        title += f"\n{cell.explanation}"
    if square.goodput:
        title += f"\n{square.goodput}"
    kind = _kind(cell) if not square.unexpected else Status.FAILED.value
    return _link(cell, square.label, f' class="chip {kind}" title="{escape(title)}"')


def _link(cell: CellResult, text: str, attributes: str = "") -> str:
    """To a failure's explanation, else to the folder; plain text where the logs are not there."""
    if not cell.log_dir:
        return f"<span{attributes}>{escape(text)}</span>"
    file = "explanation.md" if cell.status is Status.FAILED else ""
    return f'<a href="{escape(quote(f"{cell.log_dir}/{file}"))}"{attributes}>{escape(text)}</a>'


def _failure(cell: CellResult) -> str:
    known = f"<br><small>known: {escape(cell.known)}</small>" if cell.known else ""
    packet = next((check.packet for check in cell.checks if not check.passed and check.packet), None) or ""
    return (
        f'<tr><td><span class="pill {_kind(cell)}">{_kind(cell)}</span></td><td>{escape(cell.server)}</td>'
        f"<td>{escape(cell.client)}</td><td>{escape(cell.test)}</td><td>{cell.owner or ''}</td>"
        f"<td>{escape(cell.explanation)}{known}</td><td>{escape(packet)}</td>"
        f"<td>{_link(cell, 'log' if cell.log_dir else '')}</td></tr>"
    )


def _cell(cell: CellResult) -> str:
    notes = "; ".join(
        f"{check.name}: {check.message}" for check in cell.checks if check.strict and not check.passed
    )
    sides = (("client", cell.qlog_findings.client), ("server", cell.qlog_findings.server))
    findings = ", ".join(f"{side} {count}" for side, count in sides if count)
    return (
        f'<tr class="{_kind(cell)}"><td>{escape(cell.server)}</td><td>{escape(cell.client)}</td>'
        f"<td>{_link(cell, cell.test)}</td><td>{cell.repeat}</td>"
        f'<td><span class="pill {_kind(cell)}">{_kind(cell)}</span></td><td class=n>{cell.seconds:.1f}</td>'
        f"<td class=n>{cell.goodput_mbps or ''}</td><td>{escape(notes)}</td><td>{escape(findings)}</td></tr>"
    )


def _legend(result: MatrixResult) -> Iterator[str]:
    for test in in_order(result.tests):
        case = ALL_CASES.get(test)
        if case is not None:
            text = f"<b>{escape(case.name)}</b>: {escape(case.summary)}"
            yield f"<div><dt>{escape(case.abbreviation)}</dt><dd>{text}</dd></div>"
