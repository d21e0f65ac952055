"""The options about sessions, tokens, versions and keys, in both commands."""

import argparse
import stat
from pathlib import Path
from typing import Any

import pytest

from endpoint.cli.main import main
from endpoint.cli.options import add_common_options, make_config, open_key_ring
from endpoint.config import Config
from endpoint.wire.version import QUIC_V1, QUIC_V2


class Client:
    """Downloads a small file, with a session file of its own."""

    def __init__(self, certificate: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.sessions = folder / "sessions"
        self._options = ["--ca", str(certificate), "-o", f"{folder}/out/"]
        self._file = folder / "out" / "small"
        self._capsys = capsys

    def get(self, port: int, *options: str) -> str:
        """What the command says before its summary."""
        command = ["client", f"https://localhost:{port}/small", "--session-file", str(self.sessions)]
        status = main([*command, *self._options, *options])
        said = self._capsys.readouterr()
        assert (status, said.err) == (0, "")
        assert self._file.read_bytes() == b"small content"
        before, found, _ = said.out.partition("1 file, ")
        assert found
        return before


@pytest.fixture
def client(files: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Client:
    return Client(files.certificate, tmp_path, capsys)


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 1
    [line] = capsys.readouterr().err.splitlines()
    return line


def test_a_session_is_kept_and_used(server: Any, client: Client) -> None:
    assert client.get(server.port) == ""
    assert stat.S_IMODE(client.sessions.stat().st_mode) == 0o600
    for _ in range(3):
        assert client.get(server.port) == f"localhost:{server.port}: session resumed\n"


def test_early_data(start_server: Any, client: Client) -> None:
    port = start_server("--early-data").port
    assert client.get(port, "--early-data") == ""
    for _ in range(3):
        # The next session comes after the answer, and is waited for.
        assert client.get(port, "--early-data") == f"localhost:{port}: session resumed, 0-RTT data accepted\n"


def test_early_data_that_a_restarted_server_refuses(start_server: Any, client: Client) -> None:
    first = start_server("--early-data")
    client.get(first.port)
    first.process.terminate()
    first.process.wait(10)
    start_server("--early-data", "--port", str(first.port))
    told = client.get(first.port, "--early-data")
    assert told == f"localhost:{first.port}: session refused, 0-RTT data refused\n"


def test_a_key_file_outlives_the_server(start_server: Any, client: Client, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    first = start_server("--key-file", str(keys))
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    client.get(first.port)
    first.process.terminate()
    first.process.wait(10)
    start_server("--key-file", str(keys), "--port", str(first.port))
    assert "session resumed" in client.get(first.port)
    assert not list(tmp_path.glob(".keys-*"))


def test_a_key_file_is_not_made_twice(tmp_path: Path) -> None:
    path = str(tmp_path / "keys")
    assert open_key_ring(path).dump() == open_key_ring(path).dump()


@pytest.mark.parametrize("when", ["never", "always", "0", "3"])
def test_retry(start_server: Any, client: Client, when: str) -> None:
    port = start_server("--retry", when).port
    client.get(port)
    client.get(port)


@pytest.mark.parametrize(
    "options",
    [
        ["--quic-version", "v2"],
        ["--versions", "v2,v1"],
        ["--versions", "V2"],
        ["--versions", "v1"],
        ["--key-update", "2"],
    ],
)
def test_versions_and_keys(server: Any, client: Client, options: list[str]) -> None:
    client.get(server.port, *options)


def test_a_server_of_one_version(start_server: Any, client: Client) -> None:
    """The client goes on in the version that is offered."""
    port = start_server("--versions", "v2").port
    client.get(port)


@pytest.mark.parametrize(
    ("options", "config"),
    [
        (["--versions", "v2,v1"], Config(versions=(QUIC_V2, QUIC_V1))),
        (["--versions", "v2"], Config(versions=(QUIC_V2,), initial_version=QUIC_V2)),
        (["--versions", "v1"], Config(versions=(QUIC_V1,))),
    ],
)
def test_versions_become_settings(options: list[str], config: Config) -> None:
    parser = argparse.ArgumentParser()
    add_common_options(parser)
    assert make_config(parser.parse_args(options)) == config


# One clear line for everything that goes wrong.


def test_session_files_that_can_not_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["client", "https://localhost:1/x", "-o", str(tmp_path), "--session-file"]
    damaged = tmp_path / "damaged"
    damaged.write_text("{}")
    line = failure(capsys, *command, str(damaged))
    assert line == f"interquic: session file {damaged}: not a session file, or damaged"
    nowhere = str(tmp_path / "none" / "sessions")
    line = failure(capsys, *command, nowhere)
    assert line == f"interquic: session file {nowhere}: No such file or directory"


def test_key_files_that_can_not_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = tmp_path / "damaged"
    damaged.write_text("{}")
    line = failure(capsys, "server", "--key-file", str(damaged))
    assert line.startswith(f"interquic: key file {damaged}: not a key file")
    nowhere = str(tmp_path / "none" / "keys")
    assert failure(capsys, "server", "--key-file", nowhere).endswith("No such file or directory")


def test_options_that_do_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    url = "https://localhost:1/x"
    assert "needs a --session-file" in failure(capsys, "client", url, "--early-data")
    line = failure(capsys, "client", url, "--versions", "v1", "--quic-version", "v2")
    assert "--quic-version is not among the --versions" in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["server", "--retry", "sometimes"],
        ["server", "--retry", "-1"],
        ["server", "--versions", "v3"],
        ["server", "--versions", "v1,v1"],
        ["server", "--key-update", "1"],
        ["client", "https://h/x", "--quic-version", "v1,v2"],
        ["client", "https://h/x", "--key-update", "0"],
    ],
)
def test_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: interquic")
