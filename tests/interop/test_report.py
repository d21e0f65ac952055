"""Reports of a small matrix with one cell of each kind."""

import io
import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

from interop_samples import FAILED, MATRIX, make_cell
from rich.console import Console

from interop.report import table
from interop.report.html import html
from interop.report.junit import junit
from interop.report.markdown import markdown
from interop.report.runner_json import runner_json
from interop.report.squares import squares
from interop.results import Owner, Status
from interop.runner.blame import attribute


def test_squares_put_repetitions_together() -> None:
    found = {square.test: square for square in squares(MATRIX, "red", "blue")}
    assert list(found) == ["handshake", "transfer", "retry", "v2", "goodput"]
    assert found["goodput"].goodput == "8500 (± 500) kbps"
    assert (found["transfer"].unexpected, found["retry"].unexpected) == (True, False)
    mixed = replace(MATRIX, cells=(make_cell(), make_cell(status=Status.FAILED, repeat=2)))
    (square,) = squares(mixed, "red", "blue")
    assert (square.status, square.label) == (Status.FAILED, "H 1/2")


def test_junit_counts() -> None:
    (suite,) = ET.fromstring(junit(MATRIX))
    assert suite.attrib["name"] == "red <- blue"
    assert [suite.attrib[name] for name in ("tests", "failures", "skipped")] == ["6", "1", "2"]
    failed = [case for case in suite if case.find("failure") is not None]
    assert [case.attrib["name"] for case in failed] == ["transfer"]
    text = failed[0].findtext("failure")
    assert text is not None
    assert "amber|cedar" in text


def test_junit_survives_control_characters() -> None:
    odd = make_cell(status=Status.FAILED, explanation="\x1b[1mred\x00")
    ((case,),) = ET.fromstring(junit(replace(MATRIX, cells=(odd,))))
    failure = case.find("failure")
    assert failure is not None
    assert failure.attrib["message"] == "[1mred"


def test_the_public_format() -> None:
    """Pairs client by client, each with every test in the order of `tests`, measurements apart."""
    other = make_cell(server="blue", client="red")
    document = json.loads(
        runner_json(replace(MATRIX, cells=(*MATRIX.cells, other)), {"red": "https://red"}, "logs")
    )
    assert (document["servers"], document["clients"]) == (["red", "blue"], ["blue", "red"])
    assert document["urls"] == {"red": "https://red", "blue": ""}
    assert document["tests"]["DC"]["name"] == "transfer"
    verdicts = [[test["result"] for test in pair] for pair in document["results"]]
    assert verdicts == [
        ["succeeded", "failed", "failed", "unsupported"],
        [None] * 4,
        [None] * 4,
        ["succeeded", None, None, None],
    ]
    assert document["measurements"][0] == [
        {"abbr": "G", "name": "goodput", "result": "succeeded", "details": "8500 (± 500) kbps"}
    ]


def test_markdown() -> None:
    text = markdown(MATRIX)
    assert "&lt;b>" in text
    assert "<b>" not in text
    assert "| **blue** | ✅ H G 8500 (± 500) kbps<br>⚪ V2<br>❌ DC<br>⚠️ S |" in text
    # A bar in a message must not end its column.
    row = next(line for line in text.splitlines() if line.startswith("| red | blue | transfer"))
    assert row.replace("\\|", "").count("|") == 7


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)
        self.found += [value for name, value in attrs if name in {"href", "src"} and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing() -> None:
    page = html(MATRIX)
    assert "<!--" not in page
    assert "&lt;b&gt;amber|cedar&lt;/b&gt; differs" in page
    assert "<b>amber" not in page
    links = _Links()
    links.feed(page.replace("<br>", ""))
    assert links.open == []
    assert "red_blue/transfer/1/explanation.md" in links.found
    assert all(link.startswith("red_blue/") for link in links.found)
    assert 'class="chip failed"' in page
    assert 'class="chip known"' in page


def test_terminal() -> None:
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(table.matrix(MATRIX))
    text = console.export_text()
    for line in ("✓ H G 8500 (± 500) kbps", "✗ DC S", "- V2"):
        assert line in text
    assert "FAILED red ← blue transfer (server): files:" in text
    assert "known  red ← blue retry" in text
    assert "3 succeeded  2 failed  1 unsupported  in 60 s" in text


def test_whose_failure_it_is_the_others_tell() -> None:
    lost = make_cell(status=Status.FAILED, owner=Owner.UNKNOWN)
    server_works = make_cell(client="green")
    client_works = make_cell(server="green")
    elsewhere = make_cell("transfer", server="green")

    def owner(*others: object) -> Owner | None:
        cells = (lost, *(cell for cell in others if isinstance(cell, type(lost))))
        return attribute(replace(MATRIX, cells=cells)).cells[0].owner

    assert owner() is Owner.UNKNOWN
    assert owner(server_works) is Owner.CLIENT
    assert owner(client_works) is Owner.SERVER
    assert owner(client_works, server_works) is Owner.UNKNOWN
    assert owner(elsewhere) is Owner.UNKNOWN
    assert attribute(replace(MATRIX, cells=(FAILED, server_works))).cells[0].owner is Owner.SERVER
