"""Cells and matrices for the tests of the reports and the gate, and peers that are a few lines of script."""

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from interop.registry import Peer, local_peer
from interop.results import CellResult, CheckResult, MatrixResult, Owner, QlogFindings, Status

# A server and a client that know one datagram each: whoever asks for a version gets a Version Negotiation
# packet, and the files are copied by the file system. `{behaviour}` is a statement for the client.
_PROGRAM = """
import os, pathlib, shutil, signal, socket, sys, time
if os.environ["TESTCASE"] not in ("handshake", "transfer"):
    sys.exit({unknown})
logs = pathlib.Path(os.environ["SSLKEYLOGFILE"]).parent
if os.environ["ROLE"] == "server":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((os.environ["IP"], int(os.environ["PORT"])))
    while True:
        data, peer = sock.recvfrom(2048)
        sock.sendto(b"\\x80" + bytes(4) + bytes(2) + bytes([0, 0, 0, 1]), peer)
host, _, port = os.environ["REQUESTS"].split()[0].split("/")[2].rpartition(":")
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(5)
sock.sendto(b"\\xc0WAIT" + bytes(1200), (host, int(port)))
sock.recv(2048)
print("a version it is not")
{behaviour}
"""


def script_peer(name: str, directory: Path, *, behaviour: str = "sys.exit(1)", unknown: int = 127) -> Peer:
    """A peer that is no QUIC, but keeps to the interface; `unknown` is its answer to other test cases."""
    file = directory / f"{name}.py"
    file.write_text(_PROGRAM.format(behaviour=behaviour, unknown=unknown))
    return local_peer(name, f"{sys.executable} {file}")


def make_cell(test: str = "handshake", status: Status = Status.SUCCEEDED, **more: object) -> CellResult:
    """A cell between `red`, the server, and `blue`."""
    cell = CellResult(
        server="red", client="blue", test=test, status=status, seconds=1.5, log_dir=f"red_blue/{test}/1"
    )
    return replace(cell, **more)  # type: ignore[arg-type]  # the caller's keywords are checked by replace


def nothing_runs(word: str, limit: float = 10.0) -> bool:
    """Whether, in so many seconds, all processes are gone with this word in command or variables."""
    deadline = time.monotonic() + limit
    while any(word.encode() in words for words in _words_of_processes()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _words_of_processes() -> Iterator[bytes]:
    for process in Path("/proc").glob("[0-9]*"):
        # A process may end while it is looked at.
        with suppress(OSError):
            yield (process / "cmdline").read_bytes() + (process / "environ").read_bytes()


FAILED = make_cell(
    "transfer",
    Status.FAILED,
    owner=Owner.SERVER,
    explanation="files: <b>amber|cedar</b> differs",
    checks=(
        CheckResult(
            name="files", passed=False, message="<b>amber|cedar</b> differs", packet="left 17 (0.5 s)"
        ),
        CheckResult(name="dissected", passed=False, strict=True, message="a packet is odd"),
    ),
    qlog_findings=QlogFindings(client=0, server=3),
)
KNOWN = make_cell("retry", Status.FAILED, explanation="retry: again", known="counts anew")
MEASURED = make_cell("goodput", goodput_mbps=9.0)
MATRIX = MatrixResult(
    started=1_000_000_000.0,
    ended=1_000_000_060.0,
    interquic="0.1.0",
    peers={"red": "1.0", "blue": "2.0"},
    cells=(
        make_cell(),
        FAILED,
        KNOWN,
        make_cell("v2", Status.UNSUPPORTED, explanation="blue as client has no test case v2"),
        MEASURED,
        replace(MEASURED, repeat=2, goodput_mbps=8.0),
    ),
)
