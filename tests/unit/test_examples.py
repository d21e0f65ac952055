import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_sans_io(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "sans_io.py"), run_name="__main__")
    assert capsys.readouterr().out == "HELLO FROM MEMORY\n"


def test_echo(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, str(EXAMPLES / "echo_server.py"), "0"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as server:
        assert server.stdout is not None
        port = server.stdout.readline().split()[-1]
        answer = subprocess.run(
            [sys.executable, str(EXAMPLES / "echo_client.py"), port, "to and fro"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
        server.terminate()
    assert answer.stdout == "to and fro\n"


def test_http3(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "INSECURE": "1"}
    command = [sys.executable, str(EXAMPLES / "asgi_server.py"), "0"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as server:
        assert server.stdout is not None
        port = server.stdout.readline().split()[-1]

        def run(name: str, argument: str) -> str:
            return subprocess.run(
                [sys.executable, str(EXAMPLES / name), argument],
                capture_output=True,
                text=True,
                check=True,
                timeout=20,
                env=environment,
            ).stdout

        try:
            answers = run("http3_client.py", port).splitlines()
            line = run("httpx_transport.py", f"https://localhost:{port}/a")
        finally:
            server.terminate()
    assert answers == [
        *(f"200 GET /page/{i} over HTTP/3, 0 bytes" for i in range(3)),
        "PUT /numbers over HTTP/3, 3890 bytes",
    ]
    assert line == "200 HTTP/3 /a 28 bytes\n"
