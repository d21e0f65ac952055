"""Our endpoint as a benchmark candidate: content from memory, with the options and reports of the peers.

python bench/own_endpoint.py server --port 4433 --cert cert.pem --key priv.key
python bench/own_endpoint.py client --ca ca.pem [--alpn h3] https://localhost:4433/100000000
"""

import argparse
import asyncio
import contextlib
import json
import random
import resource
import signal
import sys
import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from endpoint.batch import PacketBuffer, RecvBatch
from endpoint.config import Config
from endpoint.errors import InterquicError
from endpoint.h3.events import HeadersReceived
from endpoint.hq import ALPN as HQ
from endpoint.hq import CHUNK_SIZE, Content, HqClient, HqServer
from endpoint.http.downloads import H3Downloads
from endpoint.http.negotiation import ByAlpn
from endpoint.http.requests import ALPN as H3
from endpoint.http.server import H3Server, Responder, Session, pseudo_header
from endpoint.http.static import Response
from endpoint.http.static_server import Transfer
from endpoint.io.client import open_client
from endpoint.io.loop import Driver
from endpoint.io.server import open_server
from endpoint.io.udp import UdpSocket
from endpoint.tls.certificates import load_certificates, load_private_key
from endpoint.tls.config import TlsConfig
from endpoint.transport.connection import Connection

BLOCK = bytes(range(256)) * (CHUNK_SIZE // 256)
SMALL = 4096


class Blocks:
    """So many bytes of the same block, which is never copied but at the very end."""

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int, /) -> bytes:
        piece = BLOCK[: min(size, self._left)]  # the same object where that is all of it
        self._left -= len(piece)
        return piece

    def close(self) -> None:
        """Nothing to give back."""


def lookup(path: str) -> Content | None:
    """`/N` is N bytes."""
    name = path.removeprefix("/")
    return Blocks(int(name)) if name.isdecimal() else None


@lru_cache
def head(status: int, size: int) -> list[tuple[bytes, bytes]]:
    """Of a response. The same list each time."""
    return [
        (b":status", b"%d" % status),
        (b"content-type", b"application/octet-stream"),
        (b"content-length", b"%d" % size),
    ]


def answer(session: Session, request: HeadersReceived) -> Responder | None:
    """The same over HTTP/3: little at once, else by what sends files."""
    name = pseudo_header(request.headers, b":path")[1:]
    size = int(name) if name.isdigit() else 0
    if size < SMALL and request.ended:
        session.respond(request.stream_id, head(200 if name.isdigit() else 404, size), BLOCK[:size])
        return None
    # Blocks is all of a BinaryIO that is used.
    response = Response(200, head(200, size)[1:], cast(BinaryIO, Blocks(size)), 0, size)
    transfer = Transfer(session, request, response)
    transfer.start()
    return None if transfer.done else transfer


@dataclass(slots=True)
class Counter:
    """Counts the bytes of all answers."""

    received: int = 0
    abandoned: list[str] = field(default_factory=list)

    def write(self, data: bytes) -> None:
        self.received += len(data)

    def finish(self) -> None:
        """The client knows."""

    def abandon(self, reason: str) -> None:
        self.abandoned.append(reason)


class Loss:
    """Drops some of what every UDP socket of this process receives, as the core sees it, from `begin` on."""

    def __init__(self, probability: float, seed: int) -> None:
        self._probability = probability
        self._random = random.Random(seed)
        self.seen = 0
        self.dropped = 0

    def begin(self) -> None:
        receive = UdpSocket.recv_batch

        def recv_batch(udp: UdpSocket, buffer: PacketBuffer) -> RecvBatch | None:
            while (batch := receive(udp, buffer)) is not None:
                self._thin_out(batch)
                if batch.length:
                    return batch
            return None

        # The class, not an object: whichever way a driver holds its sockets, this is on it.
        setattr(UdpSocket, "recv_batch", recv_batch)  # noqa: B010 - mypy forbids the plain assignment

    def _thin_out(self, batch: RecvBatch) -> None:
        size, view = batch.segment_size, batch.buffer.view
        count = -(-batch.length // size)
        self.seen += count
        for index in reversed(range(count)):
            if self._random.random() < self._probability:
                self.dropped += 1
                end = min((index + 1) * size, batch.length)
                view[index * size : batch.length - (end - index * size)] = view[end : batch.length]
                batch.length -= end - index * size

    @property
    def is_implausible(self) -> bool:
        """Whether far fewer were dropped than should have been: then the run measured something else."""
        expected = self.seen * self._probability
        return expected >= 20 and self.dropped < expected / 2


def config(arguments: argparse.Namespace) -> Config:
    return Config(
        max_udp_payload_size=arguments.max_udp_payload,
        initial_max_data=arguments.max_data,
        initial_max_stream_data=arguments.max_stream_data,
        max_data_window=arguments.max_data,
        max_stream_data_window=arguments.max_stream_data,
        max_batch_segments=arguments.batch,
        pmtud=False,
    )


async def run_server(arguments: argparse.Namespace) -> int:
    tls = TlsConfig(
        alpn_protocols=(H3, HQ),
        certificate_chain=load_certificates(arguments.cert.read_bytes()),
        private_key=load_private_key(arguments.key.read_bytes()),
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    offload = not arguments.no_offload
    async with open_server(
        "127.0.0.1",
        arguments.port,
        application=ByAlpn({H3: H3Server(answer), HQ: HqServer(lookup)}),
        tls=tls,
        config=config(arguments),
        gso=offload,
        gro=offload,
    ) as driver:
        print(json.dumps({"port": driver.udp.address[1]}), flush=True)
        await stop.wait()
    return 0


@dataclass(slots=True)
class Measured:
    """What one run of the client reports, summed over its connections."""

    bytes: int = 0
    connections: int = 0
    handshake_seconds: float = 0.0
    transfer_seconds: float = 0.0
    transfer_cpu_seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


async def run_client(arguments: argparse.Namespace) -> int:
    url = urlsplit(arguments.url)
    roots = load_certificates(arguments.ca.read_bytes())
    tls = TlsConfig(alpn_protocols=(arguments.alpn,), trusted_roots=roots)
    measured = Measured()
    offload = not arguments.no_offload
    async with contextlib.AsyncExitStack() as held:
        for _ in range(arguments.connections):
            idle = asyncio.Event()
            client = HqClient(idle.set) if arguments.alpn == HQ else H3Downloads(url.netloc, idle.set)
            started = time.monotonic()
            connecting = open_client(
                str(url.hostname),
                url.port or 443,
                application=client,
                tls=tls,
                config=config(arguments),
                gso=offload,
                gro=offload,
            )
            try:
                if arguments.hold:
                    driver, connection = await held.enter_async_context(connecting)
                    measured.connections += 1
                    continue
                async with connecting as (driver, connection):
                    measured.connections += 1
                    measured.handshake_seconds += time.monotonic() - started
                    if url.path not in {"", "/"}:
                        await fetch(driver, connection, client, idle, measured, arguments)
            except InterquicError as error:
                measured.failures.append(str(error))
        if arguments.hold:
            print(json.dumps({"held": measured.connections}), flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(json.dumps(measured.report()), flush=True)
    return 1 if measured.failures else 0


async def fetch(
    driver: Driver,
    connection: Connection,
    client: HqClient | H3Downloads,
    idle: asyncio.Event,
    measured: Measured,
    arguments: argparse.Namespace,
) -> None:
    """Request everything at once and wait for the last byte."""
    loss = Loss(arguments.rx_loss, arguments.seed)
    if arguments.rx_loss:
        loss.begin()
    counter = Counter()
    path = urlsplit(arguments.url).path
    started, cpu = time.monotonic(), cpu_seconds()
    for _ in range(arguments.repeat):
        client.get(path, counter)
    client.send(connection)
    driver.touch(connection)
    try:
        async with asyncio.timeout(arguments.timeout):
            await idle.wait()
    except TimeoutError:
        measured.failures.append(f"timeout, {client.pending} downloads open")
    measured.transfer_seconds += time.monotonic() - started
    measured.transfer_cpu_seconds += cpu_seconds() - cpu
    measured.bytes += counter.received
    measured.failures += sorted(set(counter.abandoned))
    unhooked = arguments.rx_loss and counter.received and not loss.seen
    if unhooked or loss.is_implausible:
        measured.failures.append(
            f"{loss.dropped} of {loss.seen} datagrams dropped, {arguments.rx_loss} wanted"
        )


def cpu_seconds() -> float:
    """User and system time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--max-data", type=int, default=24 << 20, help="bytes")
    common.add_argument("--max-stream-data", type=int, default=16 << 20, help="bytes")
    common.add_argument("--max-udp-payload", type=int, default=1252, help="bytes")
    common.add_argument("--batch", type=int, default=Config().max_batch_segments, help="packets at most")
    common.add_argument("--no-offload", action="store_true", help="neither GSO nor GRO")
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    roles = top.add_subparsers(dest="role", required=True)
    server = roles.add_parser("server", parents=[common])
    server.add_argument("--port", type=int, default=0)
    server.add_argument("--cert", type=Path, required=True)
    server.add_argument("--key", type=Path, required=True)
    client = roles.add_parser("client", parents=[common])
    client.add_argument("url", metavar="URL")
    client.add_argument("--ca", type=Path, required=True)
    client.add_argument("--connections", type=int, default=1, help="do it all this often, each anew")
    client.add_argument("--alpn", choices=(HQ, H3), default=HQ, help="which protocol to speak")
    client.add_argument("--repeat", type=int, default=1, help="request the URL this often")
    client.add_argument("--rx-loss", type=float, default=0.0, help="share of datagrams to drop on receipt")
    client.add_argument("--seed", type=int, default=1, help="decides which")
    client.add_argument("--timeout", type=float, default=60.0, help="seconds per transfer")
    client.add_argument("--hold", action="store_true", help="keep connections open until stdin ends")
    return top


def main() -> int:
    arguments = parser().parse_args()
    return asyncio.run(run_server(arguments) if arguments.role == "server" else run_client(arguments))


if __name__ == "__main__":
    sys.exit(main())
