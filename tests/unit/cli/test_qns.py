import contextlib
import datetime as dt
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from endpoint.cli import qns
from endpoint.cli.qns import Environment
from endpoint.cli.testcases import UNSUPPORTED, Role
from endpoint.testing.certificates import make_chain


def test_defaults_are_those_of_the_container() -> None:
    environment = Environment.read({}, Role.SERVER)
    assert environment.root == Path("/")
    assert environment.port == 443
    assert environment.requests == ()
    assert environment.key_log is None
    assert not environment.gso
    assert environment.preferred_port != environment.port
    assert environment.preferred_hosts == ("server4", "server6")


def test_variables_of_the_runner() -> None:
    urls = [f"https://server4:443/{number}" for number in range(1999)]
    variables = {"REQUESTS": " ".join(urls), "SSLKEYLOGFILE": "/logs/keys.log", "SERVER_PARAMS": "--port 1"}
    environment = Environment.read(variables, Role.CLIENT)
    assert environment.requests == tuple(urls)
    assert environment.key_log == "/logs/keys.log"
    assert environment.port == 443, "the parameters are those of the other role"


def test_parameters_of_the_role() -> None:
    environment = Environment.read({"SERVER_PARAMS": "--port 4433 --gso"}, Role.SERVER)
    assert environment.port == 4433
    assert environment.gso


def test_unknown_parameters_are_refused() -> None:
    with pytest.raises(SystemExit) as ended:
        Environment.read({"CLIENT_PARAMS": "--warp 9"}, Role.CLIENT)
    assert ended.value.code == 2


@pytest.mark.parametrize("role", ["client", "server", ""])
def test_unsupported_comes_before_everything_else(role: str) -> None:
    variables = {"ROLE": role, "TESTCASE": "giraffe", f"{role.upper()}_PARAMS": "--warp 9"}
    assert qns.main(variables) == UNSUPPORTED


@pytest.fixture
def busy_port() -> Iterator[int]:
    with contextlib.closing(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as other:
        other.bind(("::", 0))
        yield other.getsockname()[1]


def failures(tmp_path: Path) -> dict[str, tuple[dict[str, str], str]]:
    client = {"ROLE": "client", "TESTCASE": "handshake", "INTERQUIC_ROOT": str(tmp_path)}
    url = "https://127.0.0.1:1/file"
    return {
        "no request": (client, "REQUESTS is empty"),
        "no authority": ({**client, "REQUESTS": url}, "ca.pem: No such file"),
        "no https": ({**client, "REQUESTS": "ftp://localhost/file"}, "ftp://localhost/file: not a URL"),
        "two origins of a name": (
            {**client, "REQUESTS": f"{url} https://[::1]/file"},
            "both be stored as file",
        ),
        "no server certificate": ({**client, "ROLE": "server"}, "cert.pem: No such file"),
        "key log in no folder": ({**client, "SSLKEYLOGFILE": f"{tmp_path}/a/b"}, "key log"),
    }


@pytest.mark.parametrize("name", failures(Path()))
def test_failures_are_one_line_and_status_1(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variables, message = failures(tmp_path)[name]
    assert qns.main(variables) == 1
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_port_in_use(tmp_path: Path, busy_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("certs", "www"):
        (tmp_path / folder).mkdir()
    make_chain(dt.datetime.now(dt.UTC)).write(tmp_path / "certs")
    variables = {"ROLE": "server", "TESTCASE": "handshake", "INTERQUIC_ROOT": str(tmp_path)}
    assert qns.main({**variables, "SERVER_PARAMS": f"--port {busy_port}"}) == 1
    assert f"port {busy_port} is in use" in capsys.readouterr().err
