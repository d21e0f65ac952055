"""Results files: what is written comes back, and nothing else is taken for one."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from interop import results
from interop.results import (
    CellResult,
    CheckResult,
    Journal,
    MatrixResult,
    Owner,
    QlogFindings,
    ResultsError,
    Status,
)

CELL = CellResult(
    server="one",
    client="two",
    test="transfer",
    status=Status.FAILED,
    owner=Owner.SERVER,
    seconds=9.5,
    seed=2**40 + 1,
    goodput_mbps=9.1,
    checks=(
        CheckResult(name="files", passed=True),
        CheckResult(name="version", passed=False, strict=True, message="two", packet="left 3"),
    ),
    qlog_findings=QlogFindings(client=2),
    log_dir="one_two/transfer/1",
    explanation="no",
    known="because",
)
OTHER = replace(CELL, repeat=2, owner=None, goodput_mbps=None, status=Status.SUCCEEDED)
RESULT = MatrixResult(
    started=1.5,
    ended=2.5,
    interquic="0.1.0",
    peers={"one": "1", "two": "2"},
    cells=(CELL, OTHER),
    options={"seed": "1"},
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "new" / "results.json"
    results.write(RESULT, file)
    assert results.read(file) == RESULT
    assert list(file.parent.iterdir()) == [file], "no temporary file remains"


def test_a_journal_is_part_of_the_file(tmp_path: Path) -> None:
    """Cells that come later win; a torn line is none; a whole file ends the journal."""
    file, journal = tmp_path / "results.json", tmp_path / "results.json.journal"
    with Journal(file, replace(RESULT, cells=(CELL,))) as kept:
        assert results.read(file).cells == (CELL,)
        again = replace(CELL, status=Status.SUCCEEDED)
        size = file.stat().st_size
        for now, cell in ((3.5, OTHER), (4.5, again)):
            kept.add(cell, now)
            assert results.read(file).ended == now
    assert results.read(file) == replace(RESULT, cells=(again, OTHER), ended=4.5)
    assert file.stat().st_size == size
    journal.write_text(journal.read_text()[:-9])
    assert results.read(file) == replace(RESULT, cells=(CELL, OTHER), ended=3.5)
    results.write(RESULT, file)
    assert list(tmp_path.iterdir()) == [file]


def test_lines_of_somebody_else_are_left_alone(tmp_path: Path) -> None:
    """A file beside the results whose name is like theirs."""
    (tmp_path / "out.jsonl").write_text("{}\n")
    results.write(RESULT, tmp_path / "out.json")
    assert results.read(tmp_path / "out.json") == RESULT
    assert (tmp_path / "out.jsonl").read_text() == "{}\n"


def test_a_journal_of_something_else_is_refused(tmp_path: Path) -> None:
    file, journal = tmp_path / "results.json", tmp_path / "results.json.journal"
    results.write(RESULT, file)
    for text, complaint in (("{\n", "not JSON"), ("{}\n", "line 1 has no 'ended'")):
        journal.write_text(text)
        with pytest.raises(ResultsError, match=complaint) as raised:
            results.read(file)
        assert str(raised.value).startswith(f"{journal}: ")


def test_views() -> None:
    assert (RESULT.servers, RESULT.clients, RESULT.tests) == (["one"], ["two"], ["transfer"])
    assert RESULT.pair("one", "two", "transfer") == [CELL, OTHER]
    assert not CELL.unexpected
    assert replace(CELL, known="").unexpected
    assert not replace(OTHER, known="").unexpected


def test_merge_keeps_the_last_of_a_cell() -> None:
    again = replace(RESULT, started=0.5, ended=9.0, cells=(replace(CELL, status=Status.SUCCEEDED),))
    merged = results.merge([RESULT, again])
    assert [(cell.repeat, cell.status) for cell in merged.cells] == [
        (1, Status.SUCCEEDED),
        (2, Status.SUCCEEDED),
    ]
    assert (merged.started, merged.ended) == (0.5, 9.0)


def test_merge_refuses_two_versions_of_a_peer() -> None:
    with pytest.raises(ResultsError, match="one is 1 in one file and 7 in another"):
        results.merge([RESULT, replace(RESULT, peers={"one": "7"})])


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (["schema"], 2, "schema 2"),
        (["cells", 0, "status"], "lost", r"the file.cells\[0\]: 'status' is 'lost'"),
        (["cells", 0, "seed"], 1.5, "'seed' is 1.5, not int"),
        (["cells", 0, "repeat"], True, "'repeat' is True, not int"),
        (["cells", 1, "checks", 1, "passed"], 1, r"cells\[1\].checks\[1\]: 'passed' is 1, not bool"),
        (["cells"], {}, "'cells' is {}, not list"),
        (["peers", "one"], 1, "not all values of 'peers' are strings"),
    ],
)
def test_other_content_is_refused(
    tmp_path: Path, path: list[str | int], value: object, complaint: str
) -> None:
    file = tmp_path / "results.json"
    results.write(RESULT, file)
    document = json.loads(file.read_text())
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    file.write_text(json.dumps(document))
    with pytest.raises(ResultsError, match=complaint) as raised:
        results.read(file)
    assert str(raised.value).startswith(f"{file}: ")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": 1}'])
def test_files_that_are_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "results.json"
    file.write_text(text)
    with pytest.raises(ResultsError):
        results.read(file)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="No such file"):
        results.read(tmp_path / "none")
