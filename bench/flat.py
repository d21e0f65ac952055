"""Memory of both sides while a large body goes either way over HTTP/3: it must not grow with the body.

    python -m bench.flat [--sizes 100,1000]

`interquic client` and `interquic server`, each a process of its own, which is asked for the most resident
memory that it ever had. A file goes to an ASGI application, which counts bytes; a file is downloaded from a
directory, and pieces that an application makes. The files are holes, so that no disk is measured.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.measure import ROOT, Table, free_port, serving
from bench.setup import certificate_directory
from endpoint.config import Config
from endpoint.http.lifespan import Message, Receive, Scope, Send

MEGABYTE = 1_000_000
PIECE = bytes(1 << 18)
# How much more a body ten times as large may take, in MiB: the window of a stream, which grows to this, can
# be full of what waits for its turn.
ALLOWED_GROWTH = Config().max_stream_data_window / 2**20
TIMEOUT = 600.0
_PROGRAM = [sys.executable, "-c", "from endpoint.cli.main import main; main()"]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a body with its length, and GET /N with N bytes."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["method"] == "GET":
        left = int(scope["path"][1:])
        while left:
            piece = PIECE[:left]
            left -= len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})
        return
    size = 0
    message: Message = {"more_body": True}
    while message["more_body"]:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
    await send({"type": "http.response.body", "body": b"%d" % size})


@dataclass(frozen=True, slots=True)
class Peaks:
    """The most resident memory of each side, in MiB, and how long the client ran."""

    server: float
    client: float
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="100,1000", metavar="MB,MB", help="bodies to compare")
    sizes = [int(size) * MEGABYTE for size in parser.parse_args().sizes.split(",")]
    table = Table("Memory while a body goes over HTTP/3", ["", "size", "server MiB", "client MiB", "seconds"])
    grown = False
    with certificate_directory() as directory:
        for name, measure in WAYS.items():
            peaks = [measure(directory, size) for size in sizes]
            for size, peak in zip(sizes, peaks, strict=True):
                table.rows.append(
                    [
                        name,
                        f"{size // MEGABYTE} MB",
                        f"{peak.server:.1f}",
                        f"{peak.client:.1f}",
                        f"{peak.seconds:.1f}",
                    ]
                )
            first, last = peaks[0], peaks[-1]
            grown |= max(last.server - first.server, last.client - first.client) > ALLOWED_GROWTH
    table.notes.append(
        "grows with the body"
        if grown
        else f"flat: grows by less than {ALLOWED_GROWTH:g} MiB, the window of a stream"
    )
    print(table.markdown())
    raise SystemExit(grown)


def upload(directory: Path, size: int) -> Peaks:
    """A file to the application."""
    output = directory / "answer"
    peaks = _run(
        directory,
        ["--app", "bench.flat:app"],
        ["-T", str(_hole(directory, size)), "-o", str(output)],
        "upload",
    )
    if output.read_text() != str(size):
        raise RuntimeError(f"the server counted {output.read_text()} bytes, not {size}")
    return peaks


def download_file(directory: Path, size: int) -> Peaks:
    """A file of a directory."""
    name = _hole(directory, size).name
    return _run(directory, ["--root", str(directory)], ["-f", "-o", "/dev/null"], name)


def download_pieces(directory: Path, size: int) -> Peaks:
    """What the application makes."""
    return _run(directory, ["--app", "bench.flat:app"], ["-f", "-o", "/dev/null"], str(size))


WAYS: dict[str, Callable[[Path, int], Peaks]] = {
    "upload to an application": upload,
    "download of a file": download_file,
    "download from an application": download_pieces,
}


def _hole(directory: Path, size: int) -> Path:
    """A file of zeros that takes no room."""
    path = directory / f"hole-{size}"
    with path.open("wb") as file:
        file.truncate(size)
    return path


def _run(directory: Path, what: list[str], how: list[str], path: str) -> Peaks:
    port = free_port()
    server_options = ["--host", "127.0.0.1", "--port", str(port)]
    server_options += ["--cert", str(directory / "cert.pem"), "--key", str(directory / "priv.key")]
    with serving([*_PROGRAM, "server", *server_options, *what], port) as server:
        url = f"https://localhost:{port}/{path}"
        started = time.monotonic()
        client = subprocess.Popen(
            [*_PROGRAM, "client", "--ca", str(directory / "ca.pem"), "-s", *how, url], cwd=ROOT
        )
        try:
            client_peak = _watch(client, started + TIMEOUT)
        finally:
            client.kill()
            client.wait()
        if client.returncode:
            raise RuntimeError(f"the client ended with {client.returncode}")
        return Peaks(_peak(server.process), client_peak, time.monotonic() - started)


def _watch(process: "subprocess.Popen[Any]", deadline: float) -> float:
    """The peak of a process that runs to its end: the last that it was seen with, every 20 ms."""
    peak = 0.0
    while process.poll() is None:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the client takes more than {TIMEOUT} seconds")
        peak = max(peak, _peak(process))
        time.sleep(0.02)
    return peak


def _peak(process: "subprocess.Popen[Any]") -> float:
    """0 when the process has just ended."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    main()
