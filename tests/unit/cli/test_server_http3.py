"""`interquic server` over HTTP/3: applications, the field for other servers, the end."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from endpoint.cli.main import main
from endpoint.events import ConnectionClosed
from endpoint.http.client import connect
from endpoint.tls.config import TlsConfig

COMMAND = [sys.executable, "-m", "endpoint.cli.main"]
APP = """
import asyncio

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("ended in order", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
        return
    print("asked", flush=True)
    await asyncio.sleep(float(scope["path"].strip("/")))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"answer"})

async def unable(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module with applications in the current directory."""
    (tmp_path / "slow_site.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    return "slow_site"


Start = Callable[..., "tuple[subprocess.Popen[str], int]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a server: its process, and its port."""
    started: list[subprocess.Popen[str]] = []

    def start_one(*options: str) -> "tuple[subprocess.Popen[str], int]":
        process = subprocess.Popen(
            [*COMMAND, "server", "--port", "0", *options], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert "self-signed" in process.stdout.readline()
        line = process.stdout.readline()
        return process, int(line.split("port ")[1].split()[0])

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


def ask(port: int, path: str) -> "subprocess.Popen[bytes]":
    command = [*COMMAND, "client", f"https://localhost:{port}/{path}", "--insecure"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize(("signals", "is_answered"), [(1, True), (2, False)])
def test_a_signal_lets_requests_end_and_another_does_not(
    start: Start, site: str, signals: int, is_answered: bool
) -> None:
    server, port = start("--app", f"{site}:app", "--grace", "20")
    with ask(port, "1") as client:
        assert server.stdout is not None
        assert server.stdout.readline() == "asked\n"
        for _ in range(signals):
            server.send_signal(signal.SIGTERM)
            time.sleep(0.1)
        assert server.stdout.readline() == "ended in order\n"
        output, _ = client.communicate(timeout=20)
        assert output == (b"answer" if is_answered else b"")
        assert server.wait(20) == 0


def test_grace_is_an_upper_limit(start: Start, site: str) -> None:
    server, port = start("--app", f"{site}:app", "--grace", "0.1")
    with ask(port, "30") as client:
        assert server.stdout is not None
        assert server.stdout.readline() == "asked\n"
        started = time.monotonic()
        server.terminate()
        assert server.wait(20) == 0
        assert time.monotonic() - started < 5
        assert client.wait(20) != 0


def test_an_application_that_can_not_start(site: str) -> None:
    command = [*COMMAND, "server", "--port", "0", "--app", f"{site}:unable"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 1
    assert ended.stderr == f"interquic: {site}:unable: the application could not start: no database\n"


def test_an_application_that_started_ends_in_order_though_nothing_is_served(site: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = str(other.getsockname()[1])
        command = [*COMMAND, "server", "--host", "127.0.0.1", "--port", port, "--app", f"{site}:app"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 1
    assert "ended in order" in ended.stdout
    assert len(ended.stderr.splitlines()) == 1


# RFC 9114 §8.1: the code of an end without an error is H3_NO_ERROR, for both.


def test_downloads_end_as_http3_does(start: Start, tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "name").write_bytes(b"content")
    _, port = start("--root", str(tmp_path / "www"))
    url = f"https://localhost:{port}/name"
    assert (
        main(["client", "-q", url, "-o", f"{tmp_path}/to/", "--insecure", "--qlog-dir", str(tmp_path)]) == 0
    )
    trace = next(tmp_path.glob("*.sqlog")).read_text()
    closes = [json.loads(line) for line in trace.split("\x1e") if "connection_closed" in line]
    assert [each["data"]["application_error"] for each in closes] == ["http_no_error"]


def test_a_server_ends_as_http3_does(start: Start, tmp_path: Path) -> None:
    server, port = start("--root", str(tmp_path))

    async def hold() -> ConnectionClosed:
        tls = TlsConfig(alpn_protocols=("h3",), insecure=True)
        async with connect("localhost", port, tls=tls) as client:
            server.terminate()
            while client.closed is None:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
            return client.closed

    closed = asyncio.run(asyncio.wait_for(hold(), 20))
    assert (closed.error_code, closed.application) == (0x100, True)


def test_the_field_for_other_servers(start: Start) -> None:
    server, port = start("--alt-svc", "--root", ".")
    assert server.stdout is not None
    assert server.stdout.readline() == f'Alt-Svc: h3=":{port}"\n'


def test_the_field_needs_http3(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["server", "--alt-svc", "--alpn", "hq-interop"]) == 1
    assert capsys.readouterr().err == "interquic: --alt-svc is about h3, which is not in --alpn\n"
