"""Two peers over loopback with nothing in between: whether they start, and understand each other at all."""

import datetime as dt
import os
import random
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from endpoint.cli.testcases import UNSUPPORTED, Role
from endpoint.testing.certificates import make_chain
from interop.registry import Launch, Peer, choose_alpn
from interop.runner.process import Process

_ADDRESS: Final = "127.0.0.1"
# As in the runner (and RFC 9000 §6): an unknown version, both connection IDs empty, 1,200 bytes.
_PROBE: Final = b"\xc0WAIT\x00\x00" + bytes(1200)
_PROBE_EVERY: Final = 0.2
_START_LIMIT: Final = 15.0
# As in the runner: a client's TESTCASE, and what the server sees in place of it.
SEEN_BY_SERVER: Final = {"keyupdate": "transfer"}
_SEED: Final = 6
_TAIL: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How it went: `problem` is empty, or says what is wrong. `supported` is False if one side declined."""

    supported: bool
    problem: str
    seconds: float


class _TrialError(Exception):
    """The trial is over; the message is its problem."""


class _UnsupportedError(Exception):
    """One side says that it doesn't have the test case."""


def _ended(role: Role, status: int) -> Exception:
    return _UnsupportedError() if status == UNSUPPORTED else _TrialError(f"the {role} ended with {status}")


def try_pair(
    client: Peer, server: Peer, testcase: str, folder: Path, sizes: Sequence[int], limit: float = 60.0
) -> Trial:
    """Have the client download files of these sizes in bytes; logs go into the folder, which has to be new.

    `limit` is that of the client, in seconds. Raises CommandError if one of the two isn't installed.
    """
    alpn = choose_alpn(client, server, testcase)
    if alpn is None:
        return Trial(supported=False, problem="", seconds=0.0)
    www, downloads = folder / "www", folder / "downloads"
    for path in (www, downloads, folder / "certs"):
        path.mkdir(parents=True)
    # Valid since yesterday: for clocks that differ.
    make_chain(dt.datetime.now(dt.UTC) - dt.timedelta(days=1)).write(folder / "certs")
    source = random.Random(_SEED)  # noqa: S311 - content of files
    files = {f"file-{number}-{size}": source.randbytes(size) for number, size in enumerate(sizes)}
    for name, content in files.items():
        (www / name).write_bytes(content)
    port = free_port()
    requests = " ".join(f"https://localhost:{port}/{name}" for name in files)
    common = {"ALPN": alpn, "CERTS": str(folder / "certs"), "WWW": str(www)}
    launches = [
        peer.launch(role, common | more | _logs(folder, role))
        for peer, role, more in (
            (
                server,
                Role.SERVER,
                {
                    "TESTCASE": SEEN_BY_SERVER.get(testcase, testcase),
                    "IP": _ADDRESS,
                    "PORT": str(port),
                },
            ),
            (
                client,
                Role.CLIENT,
                {"TESTCASE": testcase, "REQUESTS": requests, "DOWNLOADS": str(downloads)},
            ),
        )
    ]
    started = time.monotonic()
    try:
        with Process(launches[0], folder / "server.log") as process:
            try:
                _wait_for_server(process, port)
                _run_client(launches[1], folder / "client.log", limit)
            finally:
                process.stop()
        _compare(files, downloads)
    except _UnsupportedError:
        return Trial(supported=False, problem="", seconds=time.monotonic() - started)
    except _TrialError as failed:
        problem = _with_logs(str(failed), folder)
        return Trial(supported=True, problem=problem, seconds=time.monotonic() - started)
    return Trial(supported=True, problem="", seconds=time.monotonic() - started)


def free_port() -> int:
    """A UDP port of the loopback address that nobody has at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((_ADDRESS, 0))
        port: int = udp.getsockname()[1]
        return port


def _logs(folder: Path, role: Role) -> dict[str, str]:
    qlog = folder / f"{role}-qlog"
    qlog.mkdir()
    return {"SSLKEYLOGFILE": str(folder / f"{role}-keys.log"), "QLOGDIR": f"{qlog}/"}


def _wait_for_server(process: Process, port: int) -> None:
    """Return when it answers an unknown version with Version Negotiation: the runner waits for that."""
    deadline = time.monotonic() + _START_LIMIT
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect((_ADDRESS, port))
        udp.settimeout(_PROBE_EVERY)
        while time.monotonic() < deadline:
            status = process.poll()
            if status is not None:
                raise _ended(Role.SERVER, status)
            try:
                udp.send(_PROBE)
                answer = udp.recv(2048)
            except TimeoutError:
                continue
            except ConnectionRefusedError:
                time.sleep(_PROBE_EVERY)
                continue
            if answer[1:5] != bytes(4):
                raise _TrialError(f"the server answers an unknown version with {answer[:16].hex()}")
            return
    raise _TrialError(f"the server did not answer an unknown version within {_START_LIMIT:.0f} s")


def _run_client(launch: Launch, log: Path, limit: float) -> None:
    with Process(launch, log) as process:
        status = process.wait(limit)
        process.stop()
    if status is None:
        raise _TrialError(f"the client was not done after {limit:.0f} s")
    if status:
        raise _ended(Role.CLIENT, status)


def _compare(files: Mapping[str, bytes], downloads: Path) -> None:
    found = {path.name: path for path in downloads.iterdir() if path.is_file()}
    for name, content in files.items():
        if name not in found:
            raise _TrialError(f"{name} was not downloaded")
        if found[name].read_bytes() != content:
            raise _TrialError(
                f"{name}: {found[name].stat().st_size} bytes that differ from the {len(content)} sent"
            )
    extra = sorted(set(found) - set(files))
    if extra:
        raise _TrialError(f"nobody asked for {', '.join(extra)}")


def _with_logs(problem: str, folder: Path) -> str:
    for role in Role:
        log = folder / f"{role}.log"
        lines = log.read_text(errors="replace").splitlines()[-_TAIL:] if log.exists() else []
        problem += "".join(f"{os.linesep}  {role}: {line}" for line in lines)
    return problem
