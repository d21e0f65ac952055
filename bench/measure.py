"""Processes, clocks and counters for the benchmarks. Linux only: the numbers come from /proc."""

import contextlib
import json
import os
import platform
import resource
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

# A core that is busy for less than this share counts as idle.
IDLE_SHARE = 0.05
IDLE_WAIT_SECONDS = 20.0


@dataclass(slots=True)
class Table:
    """A result to print: a Markdown table with a heading, and remarks below it."""

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)

    def markdown(self) -> str:
        lines = [f"### {self.title}", ""]
        lines.append("| " + " | ".join(self.columns) + " |")
        lines.append("|" + "---|" * len(self.columns))
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        lines += ["", *(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Spent:
    """One run of a client program: what it printed, and the time and CPU seconds of its whole life.

    `errors` is the last line of its standard error.
    """

    report: dict[str, Any] | None
    status: int
    wall: float
    cpu: float
    errors: str


class Server:
    """A server process of a candidate, listening on a UDP port of the loopback interface."""

    def __init__(self, arguments: Sequence[str], port: int) -> None:
        self.port = port
        self.process = subprocess.Popen(
            arguments, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._wait_bound()

    def _wait_bound(self) -> None:
        deadline = time.monotonic() + 15.0
        while not _is_bound(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"server {self.process.args!r} does not listen")
            time.sleep(0.02)

    def cpu_seconds(self) -> float:
        """User and system time so far, in nanosecond steps, of all threads."""
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def resident_kilobytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1])

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def serving(arguments: Sequence[str], port: int) -> Iterator[Server]:
    """A server for the duration of a block."""
    server = Server(arguments, port)
    try:
        yield server
    finally:
        server.stop()


def run_client(arguments: Sequence[str], *, timeout: float = 120.0) -> Spent:
    """Run a client to its end; a client that takes longer than `timeout` seconds is killed."""
    started = time.monotonic()
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    before = _children_cpu()
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
    wall = time.monotonic() - started
    lines = errors.decode(errors="replace").strip().splitlines()
    return Spent(
        _last_json(output), process.returncode, wall, _children_cpu() - before, lines[-1] if lines else ""
    )


def _last_json(output: bytes) -> dict[str, Any] | None:
    for line in reversed(output.splitlines()):
        if line.startswith(b"{"):
            value: dict[str, Any] = json.loads(line)
            return value
    return None


def _children_cpu() -> float:
    """CPU seconds of all children that have ended; servers run on and so don't count."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _is_bound(port: int) -> bool:
    wanted = f":{port:04X}"
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        lines = Path(table).read_text().splitlines()[1:]
        if any(line.split()[1].endswith(wanted) for line in lines):
            return True
    return False


def free_port() -> int:
    """A UDP port that was free a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_idle() -> bool:
    """Wait until all cores are idle; False if they were still busy after `IDLE_WAIT_SECONDS`."""
    deadline = time.monotonic() + IDLE_WAIT_SECONDS
    while time.monotonic() < deadline:
        busy, total = _busy_and_total()
        time.sleep(0.2)
        busy_after, total_after = _busy_and_total()
        if busy_after - busy <= IDLE_SHARE * max(total_after - total, 1):
            return True
    return False


def _busy_and_total() -> tuple[int, int]:
    fields = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def best_and_median(values: Sequence[float]) -> tuple[float, float]:
    """The largest and the median."""
    return max(values), statistics.median(values)


def machine() -> dict[str, str]:
    """What the numbers were taken on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": model,
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
