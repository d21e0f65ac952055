"""`interquic server` over HTTP/3: applications, the field for other servers, the end."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from endpoint.cli.main import main

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


def test_the_field_for_other_servers(start: Start) -> None:
    server, port = start("--alt-svc", "--root", ".")
    assert server.stdout is not None
    assert server.stdout.readline() == f'Alt-Svc: h3=":{port}"\n'


def test_the_field_needs_http3(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["server", "--alt-svc", "--alpn", "hq-interop"]) == 1
    assert capsys.readouterr().err == "interquic: --alt-svc is about h3, which is not in --alpn\n"
