"""The stacks that are compared, and how each is started.

Every candidate gets the same UDP payload size, no path MTU probing, windows of at least 4 MiB and content
from memory. The Python ones run `hq-interop` and report what they measured themselves; ngtcp2's programs
speak HTTP/3 to each other, report nothing, and so are timed from outside.
"""

import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import ROOT

PEER_PROGRAM = str(ROOT / "tests" / "peers" / "programs" / "hq_peer.py")
OWN_PROGRAM = str(ROOT / "bench" / "own_endpoint.py")

UDP_PAYLOAD = 1252
CONNECTION_WINDOW = 24 << 20
STREAM_WINDOW = 16 << 20


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a run varies. `rx_loss` is the share of datagrams the client drops on receipt."""

    udp_payload: int = UDP_PAYLOAD
    rx_loss: float = 0.0
    # Ours only: the most packets in a batch (None: no limit), and offload on or off.
    batch: int | None = None
    offload: bool = True


@dataclass(frozen=True, slots=True)
class Work:
    """What a client is told to do: fetch `size` bytes `repeat` times over each of `connections`."""

    size: int | None = None
    repeat: int = 1
    connections: int = 1
    hold: bool = False
    alpn: str = "hq-interop"


ServerArguments = Callable[[Path, int, Conditions], list[str]]
ClientArguments = Callable[[Path, int, Work, Conditions], list[str]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stack. `needs` are what has to be there: programs and modules, by name."""

    name: str
    server: ServerArguments
    client: ClientArguments
    # Whether the client prints a JSON report; else it is timed from outside.
    reports: bool = True
    # A slow one gets this share of the bytes; its result is a rate all the same.
    share: float = 1.0
    programs: tuple[str, ...] = ()
    modules: tuple[str, ...] = field(default=())

    def missing(self) -> list[str]:
        """What of `needs` is not installed."""
        missing = [name for name in self.programs if shutil.which(name) is None]
        missing += [name for name in self.modules if importlib.util.find_spec(name) is None]
        return missing


def _windows(conditions: Conditions) -> list[str]:
    return [
        f"--max-udp-payload={conditions.udp_payload}",
        f"--max-data={CONNECTION_WINDOW}",
        f"--max-stream-data={STREAM_WINDOW}",
    ]


def _own_options(conditions: Conditions) -> list[str]:
    options = _windows(conditions)
    if conditions.batch is not None:
        options.append(f"--batch={conditions.batch}")
    if not conditions.offload:
        options.append("--no-offload")
    return options


def _work(work: Work, certificates: Path, port: int) -> list[str]:
    path = "" if work.size is None else str(work.size)
    return [
        f"--ca={certificates / 'ca.pem'}",
        f"--repeat={work.repeat}",
        f"--connections={work.connections}",
        f"--alpn={work.alpn}",
        *(["--hold"] if work.hold else []),
        f"https://localhost:{port}/{path}",
    ]


def _server_files(certificates: Path, port: int) -> list[str]:
    cert, key = certificates / "cert.pem", certificates / "priv.key"
    return [f"--port={port}", f"--cert={cert}", f"--key={key}"]


def own() -> Candidate:
    """Our endpoint over its asyncio driver."""
    return Candidate(
        "interquic",
        lambda certificates, port, conditions: [
            *(sys.executable, OWN_PROGRAM, "server"),
            *_own_options(conditions),
            *_server_files(certificates, port),
        ],
        lambda certificates, port, work, conditions: [
            *(sys.executable, OWN_PROGRAM, "client"),
            *_own_options(conditions),
            f"--rx-loss={conditions.rx_loss}",
            *_work(work, certificates, port),
        ],
        modules=("endpoint.listener", "endpoint.transport.connection", "endpoint.io.loop"),
    )


def python_peer(name: str, *, share: float = 1.0) -> Candidate:
    """aioquic or qh3."""
    return Candidate(
        name,
        lambda certificates, port, conditions: [
            *(sys.executable, PEER_PROGRAM, name, "server"),
            *_windows(conditions),
            *_server_files(certificates, port),
        ],
        lambda certificates, port, work, conditions: [
            *(sys.executable, PEER_PROGRAM, name, "client"),
            *_windows(conditions),
            f"--rx-loss={conditions.rx_loss}",
            *_work(work, certificates, port),
        ],
        share=share,
        modules=(name,),
    )


def ngtcp2() -> Candidate:
    """The example programs of ngtcp2, as Debian packages them (ngtcp2-client, ngtcp2-server)."""
    windows = [
        f"--max-data={CONNECTION_WINDOW}",
        f"--max-stream-data-bidi-local={STREAM_WINDOW}",
        f"--max-stream-data-bidi-remote={STREAM_WINDOW}",
    ]

    def server(certificates: Path, port: int, conditions: Conditions) -> list[str]:
        return [
            *("gtlsserver", "-q", "--no-pmtud", "--no-quic-dump", "--no-http-dump", "--max-dyn-length=1G"),
            f"--max-udp-payload-size={conditions.udp_payload}",
            *windows,
            *("127.0.0.1", str(port), str(certificates / "priv.key"), str(certificates / "cert.pem")),
        ]

    def client(certificates: Path, port: int, work: Work, conditions: Conditions) -> list[str]:
        del certificates  # this client does not verify
        return [
            *("gtlsclient", "-q", "--no-pmtud", "--no-quic-dump", "--no-http-dump"),
            "--exit-on-all-streams-close",
            f"--max-udp-payload-size={conditions.udp_payload}",
            f"--rx-loss={conditions.rx_loss}",
            *windows,
            *("127.0.0.1", str(port), f"https://localhost:{port}/{work.size}"),
        ]

    return Candidate("ngtcp2 0.12", server, client, reports=False, programs=("gtlsserver", "gtlsclient"))


def throughput_candidates() -> list[Candidate]:
    """All, in the order of the table."""
    return [own(), ngtcp2(), python_peer("qh3"), python_peer("aioquic", share=0.1)]


def python_candidates() -> list[Candidate]:
    """Those whose client can be told to do many small things."""
    return [own(), python_peer("qh3"), python_peer("aioquic")]


def present(candidates: list[Candidate]) -> tuple[list[Candidate], list[str]]:
    """The candidates that can run here, and a remark for each that can't."""
    there = [candidate for candidate in candidates if not candidate.missing()]
    notes = [
        f"{candidate.name}: not measured, {' and '.join(candidate.missing())} not installed"
        for candidate in candidates
        if candidate.missing()
    ]
    return there, notes
