"""The command line: exit statuses, one line for mistakes, files, shards and merging."""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from interop_samples import FAILED, KNOWN, MATRIX, make_cell, nothing_runs, script_peer

from endpoint.cli.main import main
from interop import cli_run, results
from interop.runner.carrier import Network
from interop.runner.plan import Cell


def command(directory: Path, behaviour: str = "sys.exit(1)", unknown: int = 127) -> str:
    """`--peer` for a script that is no QUIC."""
    peer = script_peer("script", directory, behaviour=behaviour, unknown=unknown)
    file = directory / "script.py"
    assert peer.name == "script"
    return f"script={shlex.join([sys.executable, str(file)])}"


def arguments(directory: Path, *more: str, behaviour: str = "sys.exit(1)") -> list[str]:
    """Of a run of that peer with itself, on the relay."""
    words = ["interop", "run", "--network", "proxy", "--seed", "1", "--log-dir", str(directory / "logs")]
    words += ["--peer", command(directory, behaviour), "--server", "script", "--client", "script"]
    return [*words, *more]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--test", "nothing"], "no test 'nothing'; there are all, standard,"),
        (["--server", "nobody"], "no peer nobody; there are "),
        (["--with", "nobody"], "no peer nobody; there are "),
        (["--with", "qh3", "--server", "qh3"], "--with is instead of --server and --client"),
        (["--server", ","], "no cells: "),
        (["--test", ""], "no cells: "),
        (["--resume"], "--resume needs --log-dir"),
        (["--resume", "--log-dir", "x"], "--resume needs the --seed"),
        (["--log-dir", "/dev/null/x", "--server", "interquic"], "log folder /dev/null/x: Not a directory"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["interop", "run", "--network", "proxy", *words]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert complaint in errors[-1]
    assert errors[-1].startswith("interquic: ")


@pytest.mark.parametrize(
    "words",
    [
        ["--shard", "3/2"],
        ["--shard", "x"],
        ["--repeat", "0"],
        ["--jobs", "x"],
        ["--peer", "x"],
        ["--timeout-scale", "0"],
        ["--timeout-scale", "x"],
    ],
)
def test_values_that_make_no_sense(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["interop", "run", *words])
    assert ended.value.code == 2
    assert f"error: argument {words[0]}: {words[1]} is not " in capsys.readouterr().err


def test_a_run_leaves_every_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = {name: tmp_path / "more" / name for name in ("json", "junit", "markdown", "html", "runner-json")}
    words = [word for name, file in chosen.items() for word in (f"--{name}", str(file))]
    assert main(arguments(tmp_path, "--test", "handshake,chacha20", *words)) == 1
    logs = tmp_path / "logs"
    assert {path.name for path in logs.iterdir() if path.is_file()} == {
        "index.html",
        "junit.xml",
        "matrix.md",
        "result.json",
        "results.json",
    }
    elsewhere = results.relocated(results.read(logs / "results.json"), logs, tmp_path / "more")
    assert results.read(chosen["json"]) == elsewhere
    text = (logs / "junit.xml").read_text()
    assert chosen["junit"].read_text() == text.replace("log script_", "log ../logs/script_")
    assert json.loads(chosen["runner-json"].read_text())["servers"] == ["script"]
    output = capsys.readouterr().out
    assert "2 cells on proxy" in output
    assert "0 succeeded  1 failed  1 unsupported" in output


def test_unsupported_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a folder whose name a terminal might take for markup."""
    logs = tmp_path / "logs of [/b] long ago"
    assert main(arguments(tmp_path, "--test", "chacha20,v2", "--log-dir", str(logs))) == 0
    assert str(logs / "index.html") in capsys.readouterr().out.splitlines()


def planned(words: list[str], directory: Path) -> list[Cell]:
    """The cells of a run with these words behind `interquic interop run`."""
    parser = argparse.ArgumentParser()
    cli_run.add_arguments(parser)
    args = parser.parse_args(words)
    return cli_run.planned_cells(args, Network(args.network), args.seed, directory)


@pytest.mark.parametrize("network", ["proxy", "docker"])
def test_a_replay_is_the_very_cell(tmp_path: Path, network: str) -> None:
    """Read back: the same peers, seed and limit of time, whatever they are called and wherever they are."""
    images = tmp_path / "my images.json"
    images.write_text('{"theirs": {"image": "theirs:1", "role": "both"}}')
    peers = {
        "proxy": [
            "--peer",
            "mine=./my start.sh --fast",
            "--peer",
            "theirs='a b'",
            "--peers-dir",
            str(tmp_path),
        ],
        "docker": ["--peer", "mine=docker:mine:2", "--images", str(images)],
    }[network]
    options = ["--timeout-scale", "2.5", "--short", "--repeat", "2", "--seed", "7", *peers]
    words = ["--network", network, *options, "--server", "theirs", "--client", "mine", "--test", "L1"]
    second = planned(words, tmp_path)[1]
    assert (second.server.name, second.client.name, second.repeat) == ("theirs", "mine", 2)
    (again,) = planned(shlex.split(second.replay)[3:], tmp_path)
    assert again.own_seed == second.own_seed
    assert replace(again, repeat=2, seed=7) == second


def test_resume_runs_nothing_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(tmp_path, "--test", "handshake")) == 1
    before = results.read(tmp_path / "logs" / "results.json")
    assert main(arguments(tmp_path, "--test", "handshake", "--resume")) == 1
    assert results.read(tmp_path / "logs" / "results.json").cells == before.cells
    assert "[1/1]" in capsys.readouterr().out


def test_shards_make_up_the_matrix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = []
    for number in (1, 2):
        part = tmp_path / str(number)
        part.mkdir()
        assert main(arguments(part, "--test", "chacha20,v2,ecn", "--shard", f"{number}/2")) == 0
        parts.append(part / "logs")
    whole = tmp_path / "whole.json"
    assert main(["interop", "merge", *map(str, parts), "--json", str(whole)]) == 0
    assert sorted(cell.test for cell in results.read(whole).cells) == ["chacha20", "ecn", "v2"]
    assert "3 unsupported" in capsys.readouterr().out


def test_merge_fails_for_what_is_unexpected_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "results.json"
    for cells, status in (((make_cell(), KNOWN), 0), ((FAILED,), 1)):
        results.write(replace(MATRIX, cells=cells), file)
        assert main(["interop", "merge", str(tmp_path)]) == status
    assert main(["interop", "merge", str(tmp_path / "none.json")]) == 2
    assert capsys.readouterr().err.endswith("none.json: No such file or directory\n")


def test_merged_reports_link_to_the_logs_that_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From wherever a report is, whatever it is made in; a part whose logs stayed elsewhere has no links."""
    monkeypatch.chdir(tmp_path)
    there, lost = Path("part #1"), tmp_path / "part2"
    results.write(replace(MATRIX, cells=(make_cell(), FAILED)), there / "results.json")
    results.write(replace(MATRIX, cells=(make_cell("v2"),)), lost / "results.json")
    for cell in (make_cell(), FAILED):
        (there / cell.log_dir).mkdir(parents=True)
        (there / cell.log_dir / "explanation.md").touch()
    page, whole = tmp_path / "reports" / "html" / "x.html", Path("whole.json")
    words = ["--html", str(page), "--json", str(whole), "--junit", "j.xml", "--markdown", "m.md"]
    assert main(["interop", "merge", str(there), str(lost / "results.json"), *words]) == 1
    links = re.findall('href="(.*?)"', page.read_text())
    assert len(links) == 5
    assert all((page.parent / unquote(link)).exists() for link in links)
    folders = [cell.log_dir for cell in results.read(whole).cells]
    assert folders == [f"part #1/{make_cell().log_dir}", f"part #1/{FAILED.log_dir}", ""]
    for report in ("j.xml", "m.md"):
        assert folders[1] in Path(report).read_text()
    output = capsys.readouterr()
    assert f"[{folders[1]}]" in " ".join(output.out.split())
    assert output.err == f"interquic: {lost}/results.json: logs of 1 cells are not there; no links to them\n"


# A program that was started in the background ignores SIGINT, and so do all that it starts: this suite, too.
INTERRUPTIBLE = """
import signal, sys
from endpoint.cli.main import main

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main())
"""


def test_an_interrupt_keeps_what_is_done(tmp_path: Path) -> None:
    """SIGINT to the program, as ^C: no process and no cell is lost, and the status says so."""
    options = ("--test", "handshake", "--jobs", "1", "--repeat", "3")
    words = arguments(tmp_path, *options, behaviour="time.sleep(4)")
    with subprocess.Popen(
        [sys.executable, "-P", "-c", INTERRUPTIBLE, *words], stdout=subprocess.PIPE
    ) as process:
        deadline = time.monotonic() + 60
        journal = tmp_path / "logs" / "results.json.journal"
        while not (journal.exists() and journal.stat().st_size):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        output = process.stdout.read().decode()
    assert process.returncode == 130
    assert "interrupted; go on with the same command and --resume" in " ".join(output.split())
    assert 1 <= len(results.read(tmp_path / "logs" / "results.json").cells) < 3


def test_a_run_that_is_killed_leaves_results_and_no_process(tmp_path: Path) -> None:
    """Neither workers nor endpoints; one of these stands still."""
    ready = tmp_path / "ready"
    pause = f"open({str(ready)!r}, 'w'); os.kill(os.getpid(), signal.SIGSTOP)"
    words = arguments(tmp_path, "--test", "handshake,chacha20", "--jobs", "1", behaviour=pause)
    command = [sys.executable, "-P", "-m", "endpoint.cli.main", *words]
    with subprocess.Popen(command, env=os.environ | {"WHOSE": str(tmp_path)}) as process:
        while not ready.exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    assert nothing_runs(str(tmp_path))
    assert [cell.test for cell in results.read(tmp_path / "logs" / "results.json").cells] == ["chacha20"]
