"""Installing peers: all or nothing, and clear words about what is missing."""

import os
from pathlib import Path

import pytest

from endpoint.cli import main as program
from endpoint.cli.errors import CommandError
from interop.install import in_use, install, is_ready, missing_programs
from interop.registry import Peer, read_peer

HAS_STEPS = """
language = "sh"
version = "{version}"
[install]
steps = [
    ["sh", "-c", "cat program > {{home}}/peer"],
    ["sh", "-c", "{last}"],
]
[install.needs]
{needs} = "apt install {needs}"
[server]
start = ["{{home}}/peer"]
testcases = ["handshake"]
"""


def describe(folder: Path, *, version: str = "1", last: str = "true", needs: str = "sh") -> Peer:
    (folder / "some").mkdir(exist_ok=True)
    (folder / "some" / "program").write_text("echo hello\n")
    (folder / "some.toml").write_text(HAS_STEPS.format(version=version, last=last, needs=needs))
    return read_peer(folder / "some.toml", folder / "cache")


def test_the_steps_leave_a_peer(tmp_path: Path) -> None:
    peer = describe(tmp_path)
    assert not is_ready(peer)
    assert install(peer)
    assert is_ready(peer)
    assert (peer.home / "peer").read_text() == "echo hello\n"
    assert not install(peer)
    assert sorted(path.name for path in peer.home.parent.iterdir()) == sorted([peer.home.name, "some.log"])


def test_a_failed_step_leaves_only_its_log(tmp_path: Path) -> None:
    peer = describe(tmp_path, last="echo such a pity; exit 3")
    with pytest.raises(
        CommandError, match=r"(?s)ended with 3; all of its output is in .*some\.log\n"
    ) as failed:
        install(peer)
    assert "such a pity" in str(failed.value)
    assert [path.name for path in peer.home.parent.iterdir()] == ["some.log"]
    assert not is_ready(peer)


def test_what_is_missing_is_named_before_anything_happens(tmp_path: Path) -> None:
    peer = describe(tmp_path, needs="no-such-program")
    assert [one.program for one in missing_programs(peer)] == ["no-such-program"]
    with pytest.raises(CommandError, match="no no-such-program: apt install no-such-program"):
        install(peer)
    assert not peer.home.parent.exists()


def test_a_newer_version_replaces_the_older(tmp_path: Path) -> None:
    old = describe(tmp_path)
    install(old)
    new = describe(tmp_path, version="2")
    assert not is_ready(new)
    install(new)
    assert new.home.is_dir()
    assert not old.home.exists()


def test_a_version_in_use_stays_until_it_is_not(tmp_path: Path) -> None:
    old = describe(tmp_path)
    install(old)
    new = describe(tmp_path, version="2")
    with in_use([old, new]), in_use([old]):
        install(new)
        assert (old.home / "peer").exists()
    assert not install(new)
    assert not old.home.exists()
    with in_use([old]):
        assert new.home.is_dir()


def test_a_cache_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    peer = describe(tmp_path)
    peer = read_peer(tmp_path / "some.toml", tmp_path / "file" / "cache")
    with pytest.raises(CommandError, match="cache: Not a directory"):
        install(peer)


def test_the_command_lists_installs_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    describe(tmp_path)
    options = ["--cache-dir", str(tmp_path / "cache"), "--peers-dir", str(tmp_path)]
    peers = ["interop", "peers"]
    assert program.main([*peers, "list", *options]) == 0
    assert "not installed" in next(line for line in capsys.readouterr().out.splitlines() if "some" in line)
    assert program.main([*peers, "install", "some", *options]) == 0
    assert capsys.readouterr().out == "some 1: installed\n"
    assert program.main([*peers, "install", "some", *options]) == 0
    assert capsys.readouterr().out == "some 1: is there\n"
    assert program.main([*peers, "install", "other", *options]) == 2
    assert "no such peer: other" in capsys.readouterr().err


def test_the_command_tells_failures_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    describe(tmp_path, needs="no-such-program")
    options = ["--cache-dir", str(tmp_path / "cache"), "--peers-dir", str(tmp_path)]
    assert program.main(["interop", "peers", "install", "some", "interquic", *options]) == 1
    told = capsys.readouterr()
    assert "no no-such-program" in told.err
    assert "interquic" in told.out


def test_check_meets_ourselves_over_loopback(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["interop", "peers", "check", "interquic"]) == 0
    assert "works" in capsys.readouterr().out


def test_check_says_what_a_broken_peer_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    peer = describe(tmp_path)
    install(peer)
    (peer.home / "peer").write_text("#!/bin/sh\necho out of order >&2\nexit 7\n")
    os.chmod(peer.home / "peer", 0o755)
    options = ["--cache-dir", str(tmp_path / "cache"), "--peers-dir", str(tmp_path)]
    assert program.main(["interop", "peers", "check", "some", *options]) == 1
    told = capsys.readouterr().out
    assert "the server ended with 7" in told
    assert "server: out of order" in told
