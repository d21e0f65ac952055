"""The interop runner's side of a container: folders, scripts, variables and signals, below one directory."""

import datetime as dt
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from endpoint.testing.certificates import make_chain

ROOT = Path(__file__).parents[2]
ENTRY_POINT = ROOT / "run_endpoint.sh"
# A wheel's interpreter in CI, the checkout's otherwise.
PYTHON = os.environ.get("INTERQUIC_PYTHON", sys.executable)

# The base image's scripts leave a trace, and the folder of the logs exists from setup.sh on only.
_SETUP = """#!/bin/bash
mkdir -p "$INTERQUIC_ROOT/logs/qlog"
echo setup >> "$INTERQUIC_ROOT/calls"
"""
_WAIT_FOR_IT = """#!/bin/bash
echo "wait-for-it $*" >> "$INTERQUIC_ROOT/calls"
"""
_LISTENING = re.compile(rb"serving .* port (\d+) ")


class Container:
    """One endpoint started by `run_endpoint.sh`; a context manager that leaves no process behind.

    `command` stands before the entry point, to run it elsewhere; it has to end in an exec.
    """

    def __init__(self, root: Path, role: str, command: Sequence[str] = ()) -> None:
        self.root = root
        self.role = role
        self._command = tuple(command)
        self.logs = root / "logs"
        self.downloads = root / "downloads"
        self.www = root / "www"
        self.certs = root / "certs"
        self.output_file = root / "output"
        self._process: subprocess.Popen[bytes] | None = None
        for directory in (self.downloads, self.www, self.certs):
            directory.mkdir(parents=True)
        for name, text in (("setup.sh", _SETUP), ("wait-for-it.sh", _WAIT_FOR_IT)):
            (root / name).write_text(text)
            (root / name).chmod(0o755)

    def start(self, testcase: str, *, requests: str = "", params: str = "") -> None:
        """Start with the variables that the runner sets; `params` go to CLIENT_PARAMS or SERVER_PARAMS."""
        environment = {
            "PATH": os.environ["PATH"],
            "ROLE": self.role,
            "TESTCASE": testcase,
            "REQUESTS": requests,
            "SSLKEYLOGFILE": str(self.logs / "keys.log"),
            "QLOGDIR": f"{self.logs}/qlog/",
            f"{self.role.upper()}_PARAMS": params,
            "CRON": "",
            "PROTOCOLS": "",
            "INTERQUIC_ROOT": str(self.root),
            "INTERQUIC_PYTHON": PYTHON,
        }
        with self.output_file.open("wb") as output:
            self._process = subprocess.Popen(
                [*self._command, str(ENTRY_POINT)],
                env=environment,
                cwd=self.root,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def serve(self, testcase: str, params: str = "") -> int:
        """Start a server on a free port and return the port when it listens."""
        self.start(testcase, params=f"--port 0 {params}")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            match = _LISTENING.search(self.output_file.read_bytes())
            if match:
                return int(match[1])
            assert self.process.poll() is None, self.output
            time.sleep(0.01)
        raise AssertionError(f"the server does not listen: {self.output}")

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, "not started"
        return self._process

    @property
    def output(self) -> str:
        return self.output_file.read_text(errors="replace")

    @property
    def calls(self) -> list[str]:
        """What the entry point has called of the base image, in order."""
        file = self.root / "calls"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def downloaded(self) -> dict[str, bytes]:
        """Everything directly in the folder of the downloads; a subfolder shows as empty."""
        return {path.name: path.read_bytes() if path.is_file() else b"" for path in self.downloads.iterdir()}

    @property
    def key_log(self) -> list[str]:
        return (self.logs / "keys.log").read_text().splitlines()

    def wait(self, timeout: float = 30.0) -> int:
        """Exit status, once the endpoint has ended by itself."""
        return self.process.wait(timeout)

    def terminate(self) -> tuple[int, float]:
        """SIGTERM to process 1 of the container only; exit status and seconds until it ended."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(10)
        return status, time.monotonic() - started

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)


class Pair:
    """A client's and a server's container with the runner's certificates and files."""

    def __init__(self, client: Container, server: Container) -> None:
        self.client = client
        self.server = server
        self.files: dict[str, bytes] = {}
        self._random = random.Random(9000)

    def make_certificates(self, length: int = 1, padding_names: int = 0) -> None:
        not_before = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
        chain = make_chain(not_before, length=length, padding_names=padding_names)
        for container in (self.client, self.server):
            chain.write(container.certs)

    def make_files(self, *sizes: int, name_length: int = 0) -> None:
        for size in sizes:
            name = f"random-words-{len(self.files)}".ljust(name_length, "x")
            self.files[name] = self._random.randbytes(size)
            (self.server.www / name).write_bytes(self.files[name])

    def wait_for_keys(self) -> None:
        """Return when the client has logged all secrets of a connection: data flows from now on."""
        keys = self.client.logs / "keys.log"
        deadline = time.monotonic() + 10
        while not keys.exists() or b"SERVER_TRAFFIC_SECRET_0" not in keys.read_bytes():
            assert time.monotonic() < deadline, self.client.output
            time.sleep(0.01)

    def urls(self, port: int, host: str = "127.0.0.1") -> str:
        return " ".join(f"https://{host}:{port}/{name}" for name in self.files)


@contextmanager
def containers(directory: Path) -> Iterator[Pair]:
    """A pair below an empty directory; afterwards neither endpoint runs any more."""
    with (
        Container(directory / "client", "client") as client,
        Container(directory / "server", "server") as server,
    ):
        yield Pair(client, server)
