"""Our server as a process of its own, with a directory or an application."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def find_tool(name: str, package: str) -> str:
    """The path of a program. In CI a missing one fails; elsewhere the test is skipped and says why."""
    path = shutil.which(name)
    if path is None:
        message = f"{name} IS MISSING (Debian: {package}): NOT TESTED WITH IT"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


@dataclass
class Running:
    """A server and where it is."""

    process: "subprocess.Popen[str]"
    port: int

    def url(self, path: str) -> str:
        return f"https://localhost:{self.port}{path}"

    @property
    def peak_memory(self) -> int:
        """The most memory that it ever had, bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024


Serve = Callable[..., Running]


@pytest.fixture
def serve(certificates: Path) -> Iterator[Serve]:
    """Start `interquic server` with options; an application is one of `sites.py`."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str, **environment: str) -> Running:
        certificate = ["--cert", str(certificates / "cert.pem"), "--key", str(certificates / "priv.key")]
        process = subprocess.Popen(
            [sys.executable, "-m", "endpoint.cli.main", "server", "--port", "0", *certificate, *options],
            env={**os.environ, **environment},
            cwd=HERE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"port (\d+)", line)
        assert found is not None, line
        return Running(process, int(found[1]))

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=10)
        assert process.returncode == 0
