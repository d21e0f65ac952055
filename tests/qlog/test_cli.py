"""`interquic qlog validate`: exit statuses and what it prints."""

import json
from pathlib import Path

import pytest
from qlog_samples import HEADER, sequence
from qlog_traces import client

from endpoint.cli.main import main

CLIENT = client()
GOOD = sequence(CLIENT.header, CLIENT.events)
BAD = sequence(HEADER, [{"time": 0, "name": "quic:spin_bit_updated", "data": {}}] * 3)
ODD = sequence(HEADER, [{"time": 0, "name": "quic:parameters_set", "data": {"owner": "local"}}])


def files(folder: Path) -> None:
    (folder / "good.sqlog").write_bytes(GOOD)
    (folder / "bad.sqlog").write_bytes(BAD)
    (folder / "odd.qlog").write_bytes(ODD)
    (folder / "notes.txt").write_text("no trace")


def test_exit_statuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files(tmp_path)
    good, bad, odd = (str(tmp_path / name) for name in ("good.sqlog", "bad.sqlog", "odd.qlog"))
    assert main(["qlog", "validate", good]) == 0
    assert main(["qlog", "validate", "--strict", "--schema-only", good]) == 0
    assert main(["qlog", "validate", good, bad]) == 1
    assert main(["qlog", "validate", odd]) == 0
    assert main(["qlog", "validate", odd, "--strict"]) == 1
    assert main(["qlog", "validate", bad, str(tmp_path / "missing")]) == 2
    assert main(["qlog", "validate", str(tmp_path / "notes.txt")]) == 2
    capsys.readouterr()
    for arguments in (
        ["validate"],
        ["validate", good, "--format", "xml"],
        ["validate", good, "--max-errors", "-1"],
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["qlog", *arguments])
        assert stopped.value.code == 2


def test_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files(tmp_path)
    path = tmp_path / "bad.sqlog"
    main(["qlog", "validate", str(path)])
    finding, verdict = capsys.readouterr().out.splitlines()
    assert finding == (
        f"{path}: error: event 0 quic:spin_bit_updated /data: state is missing in QUICSpinBitUpdated;"
        " add state (2 more like this) (schema-required)"
        " [draft-ietf-quic-qlog-quic-events, QUICSpinBitUpdated]"
    )
    assert verdict == f"{path}: not valid: 3 events, qlog newest"
    main(["qlog", "validate", str(path), "--max-errors", "0"])
    assert "1 more findings" in capsys.readouterr().out


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files(tmp_path)
    assert main(["qlog", "validate", str(tmp_path), "--format", "json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(line["file"]).name for line in lines] == ["bad.sqlog", "good.sqlog", "odd.qlog"]
    assert lines[1] == {
        "file": str(tmp_path / "good.sqlog"),
        "era": "newest",
        "events": len(CLIENT.events),
        "findings": [],
    }
    assert lines[0]["findings"] == [
        {
            "rule": "schema-required",
            "severity": "error",
            "trace": 0,
            "event": 0,
            "pointer": "/data",
            "name": "quic:spin_bit_updated",
            "message": "state is missing in QUICSpinBitUpdated",
            "reference": "draft-ietf-quic-qlog-quic-events, QUICSpinBitUpdated",
            "fix": "add state",
            "count": 3,
        }
    ]


def test_folder_without_traces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "good.sqlog").write_bytes(sequence(HEADER, []))
    (tmp_path / "empty").mkdir()
    for paths in ([tmp_path / "empty"], [tmp_path / "empty", tmp_path]):
        assert main(["qlog", "validate", *map(str, paths)]) == 2
        assert capsys.readouterr().err == f"interquic: no traces in {tmp_path}/empty\n"
    assert main(["qlog", "validate", str(tmp_path)]) == 0


@pytest.mark.parametrize("command", ["stats", "cat", "convert", "repair", "split", "pair"])
@pytest.mark.parametrize("content", [None, b"", b"no qlog"])
def test_unreadable_files_are_named(
    command: str, content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.qlog"
    if content is not None:
        path.write_bytes(content)
    rest = {
        "convert": ["--to", "newest", "-o", str(tmp_path / "out.sqlog")],
        "repair": ["-o", str(tmp_path / "out.sqlog")],
        "split": ["-o", str(tmp_path)],
        "pair": [str(path)],
    }
    assert main(["qlog", command, str(path), *rest.get(command, [])]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.count(str(path)) == 1
