"""`interquic interop gate` as CI calls it: exit statuses, files, and going on with what is undecided."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from interop_samples import FAILED, MATRIX, make_cell, script_peer

from endpoint.cli.main import main
from interop import results
from interop.results import CellResult

POLICY = 'schema = 1\n[[cell]]\nserver = "red"\nclient = "blue"\ntest = "*"\n'


def results_file(directory: Path, *cells: CellResult) -> str:
    file = directory / "logs" / "results.json"
    results.write(replace(MATRIX, cells=cells, options={"seed": "7"}), file)
    return str(file)


def policy_file(directory: Path, text: str = POLICY) -> str:
    file = directory / "policy.toml"
    file.write_text(text)
    return str(file)


def gate(directory: Path, cells: Sequence[CellResult], *more: str, policy: str = POLICY) -> int:
    words = ["--results", results_file(directory, *cells), "--policy", policy_file(directory, policy)]
    return main(["interop", "gate", *words, *more])


def test_green(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate(tmp_path, [make_cell()]) == 0
    assert capsys.readouterr().out == "gate green: 1 green, 0 red, 0 undecided, 0 free\n"


def test_red(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate(tmp_path, [make_cell(), FAILED]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("error: transfer: red ← blue (required): failed: files: ")
    assert lines[0].endswith(", check files, at packet left 17 (0.5 s)")
    assert lines[1].endswith("--test transfer --network netns --seed 7")
    assert lines[2] == "gate RED: 1 green, 1 red, 0 undecided, 0 free"


def test_summary_and_annotations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("of another step\n")
    assert gate(tmp_path, [FAILED], "--summary", str(summary), "--annotations") == 1
    assert summary.read_text().startswith("of another step\n# ❌ QUIC interop: gate RED")
    assert capsys.readouterr().out.startswith("::error title=transfer%3A red ← blue (required)::")


def test_a_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tmp_path / "before"
    results.write(replace(MATRIX, cells=(make_cell(), make_cell("v2"))), before / "results.json")
    assert gate(tmp_path, [make_cell()], "--baseline", str(before)) == 1
    assert "error: v2: red ← blue (gone): is in the baseline" in capsys.readouterr().out


def test_what_cannot_be_used_is_neither_red_nor_green(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2 and one line."""
    cells = [make_cell()]
    good, policy = results_file(tmp_path, *cells), policy_file(tmp_path)
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    statuses = [
        main(["interop", "gate", "--results", str(tmp_path / "none"), "--policy", policy]),
        main(["interop", "gate", "--results", str(broken), "--policy", policy]),
        main(["interop", "gate", "--results", good, "--policy", str(tmp_path / "none.toml")]),
        gate(tmp_path, cells, policy="schema = 3\n"),
        gate(tmp_path, cells, "--baseline", str(broken)),
        gate(tmp_path, cells, "--summary", str(tmp_path)),
        gate(tmp_path, cells, "--json", "/dev/null/x"),
        gate(tmp_path, cells, "--decide"),
    ]
    output = capsys.readouterr()
    assert statuses == [2] * len(statuses)
    assert output.out == ""
    errors = output.err.splitlines()
    assert len(errors) == len(statuses)
    assert all(line.startswith("interquic: ") for line in errors)
    assert errors[-1] == "interquic: --decide: the results don't say how to go on: 'timeout scale'"


def test_options_that_are_missing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["interop", "gate", "--results", "x"])
    assert ended.value.code == 2
    assert "--policy" in capsys.readouterr().err


def test_decide_runs_what_is_undecided(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A peer that fails always: one repetition of the run and one more are enough for red."""
    script_peer("red", tmp_path)
    command = f"red={sys.executable} {tmp_path / 'red.py'}"
    logs = tmp_path / "logs"
    words = ["--peer", command, "--server", "red", "--client", "red", "--test", "handshake"]
    run = ["interop", "run", "--network", "proxy", "--seed", "5", "--log-dir", str(logs), *words]
    assert main(run) == 1
    policy = policy_file(
        tmp_path, 'schema = 1\n[[cell]]\nserver = "red"\nclient = "red"\ntest = "handshake"\nrate = 0.95\n'
    )
    words = ["--results", str(logs), "--policy", policy]
    capsys.readouterr()
    assert main(["interop", "gate", *words]) == 1
    assert "passed 0 of 1, expected 95%; 1 more repetition at least to decide" in capsys.readouterr().out
    whole, more = tmp_path / "whole.json", tmp_path / "more"
    words += ["--decide", "--json", str(whole), "--log-dir", str(more), "--peer", command]
    assert main(["interop", "gate", *words]) == 1
    assert "passed 0 of 2, expected 95%; 50% is likelier" in capsys.readouterr().out
    cells = results.read(whole).cells
    assert [cell.repeat for cell in cells] == [1, 2]
    assert cells[0].seed != cells[1].seed, "other losses"
    assert all((tmp_path / cell.log_dir / "explanation.md").exists() for cell in cells)


def test_decide_needs_to_know_how_a_peer_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results.json"
    options = {"seed": "7", "network": "proxy", "timeout scale": "1.0"}
    results.write(replace(MATRIX, cells=(make_cell(),), options=options), file)
    policy = policy_file(tmp_path, POLICY + "rate = 0.95\n")
    words = ["--results", str(file), "--policy", policy, "--decide", "--log-dir", str(tmp_path / "more")]
    assert main(["interop", "gate", *words]) == 2
    assert (
        capsys.readouterr().err == "interquic: --decide: no peer red; --peer red=CMD says how to start it\n"
    )
