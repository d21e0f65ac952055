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
