"""Traces that the commands write."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from endpoint.cli.main import main
from endpoint.cli.options import add_common_options, make_config
from endpoint.cli.qns import Environment
from endpoint.cli.testcases import Role
from endpoint.tracing.qlog import QlogLevel
from qlog.events import events_of_level
from qlog.reader import Reader
from qlog.validate import validate_file


def names(path: Path) -> set[str]:
    """The names of the events of a trace."""
    return {event.name for event in Reader(path).events()}


@pytest.mark.parametrize("level", ["core", "extra"])
def test_both_commands_write_valid_traces(
    level: QlogLevel, files: Any, start_server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, ours = tmp_path / "server", tmp_path / "client" / "deep"
    server = start_server("--qlog-dir", str(theirs), "--qlog-level", level)
    arguments = ["client", "-q", f"https://localhost:{server.port}/large", "--ca", str(files.certificate)]
    options = ["--qlog-dir", str(ours), "--qlog-level", level]
    assert main([*arguments, "-o", str(tmp_path / "downloads"), *options]) == 0
    assert capsys.readouterr().err == ""
    [client_path], [server_path] = ours.iterdir(), theirs.iterdir()
    assert client_path.name.removesuffix("_client.sqlog") == server_path.name.removesuffix("_server.sqlog")
    for path in (client_path, server_path):
        report = validate_file(path, strict=True)
        assert report.findings == []
        assert report.events > 1000
        assert names(path) <= events_of_level(level)


def test_folder_that_can_not_be_made_is_told_and_the_download_works(
    server: Any, files: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    arguments = ["client", "-q", f"https://localhost:{server.port}/small", "--ca", str(files.certificate)]
    assert main([*arguments, "-o", str(tmp_path), "--qlog-dir", str(in_the_way / "traces")]) == 0
    assert (tmp_path / "small").read_bytes() == b"small content"
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_folder_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_common_options(parser)
    monkeypatch.delenv("QLOGDIR", raising=False)
    assert make_config(parser.parse_args([])).tracer is None
    monkeypatch.setenv("QLOGDIR", str(tmp_path))
    parser = argparse.ArgumentParser()
    add_common_options(parser)
    assert make_config(parser.parse_args([])).tracer is not None


def test_variable_of_the_image() -> None:
    assert Environment.read({}, Role.CLIENT).qlog_dir is None
    assert Environment.read({"QLOGDIR": "/logs/qlog/"}, Role.SERVER).qlog_dir == "/logs/qlog/"
