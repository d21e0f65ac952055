"""A client and a server, HTTP/0.9 and HTTP/3, on aioquic or qh3: the other side of tests and benchmarks.

    python hq_peer.py aioquic server --cert cert.pem --key priv.key [--root DIR] ...
    python hq_peer.py qh3 client --ca ca.pem https://localhost:4433/NAME ... [-o DIR] ...

The server prints one JSON line with its port and runs until SIGTERM. Without `--root` it answers `/N`
with N bytes from memory. The client prints one JSON line with what it measured and ends with status 1
when anything is missing. Both stacks have the same API, so one program drives either.
"""

import argparse
import asyncio
import contextlib
import json
import random
import resource
import signal
import socket
import ssl
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from interop.peers.python.stack import H3, HQ, STACKS, ClientSession, ServerSession, Stack, protocol_factory

CIPHERS = {
    "aes128": "AES_128_GCM_SHA256",
    "aes256": "AES_256_GCM_SHA384",
    "chacha20": "CHACHA20_POLY1305_SHA256",
}


async def open_server_socket(
    stack: Stack, factory: Callable[[], Any], address: tuple[str, int]
) -> tuple[Any, Any]:
    """A transport and a protocol; with segmentation offload where the stack has it.

    qh3's `serve` does without what its `connect` uses; the comparison is to be fair to it.
    """
    loop = asyncio.get_running_loop()
    if stack.name != "qh3":
        return await loop.create_datagram_endpoint(factory, local_addr=address)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(address)
    transport: Any = import_module("qh3.asyncio._transport")
    opened: tuple[Any, Any] = await transport.create_optimized_datagram_transport(loop, factory, sock=udp)
    return opened


def configure(stack: Stack, arguments: argparse.Namespace, *, is_client: bool) -> Any:
    return stack.configure(
        is_client=is_client,
        alpn=(arguments.alpn,) if is_client else (H3, HQ),
        versions=arguments.versions.split(","),
        cipher_suites=[CIPHERS[name] for name in arguments.cipher or ()],
        keylog=arguments.keylog,
        qlog=arguments.qlog,
        idle_timeout=arguments.idle_timeout,
        max_datagram_size=arguments.max_udp_payload,
        max_data=arguments.max_data,
        max_stream_data=arguments.max_stream_data,
        # HTTP/3 of qh3 says that it takes datagrams, and ends the connection if its QUIC does not.
        max_datagram_frame_size=65536,
        original_version=stack.versions[arguments.initial_version] if is_client else None,
    )


def drop_received(protocol: Any, probability: float, seed: int) -> None:
    """Let a protocol miss this share of its datagrams."""
    rng = random.Random(seed)
    receive_one = protocol.datagram_received
    receive_many: Any = getattr(protocol, "datagrams_received", None)

    def datagram_received(data: bytes, address: Any) -> None:
        if rng.random() >= probability:
            receive_one(data, address)

    def datagrams_received(data: list[bytes], address: Any) -> None:
        receive_many([one for one in data if rng.random() >= probability], address)

    protocol.datagram_received = datagram_received
    if receive_many is not None:
        protocol.datagrams_received = datagrams_received


async def run_server(stack: Stack, arguments: argparse.Namespace) -> int:
    configuration = configure(stack, arguments, is_client=False)
    configuration.load_cert_chain(arguments.cert, arguments.key)

    def session(protocol: Any, quic: Any) -> ServerSession:
        del protocol
        return ServerSession(stack, arguments.root, quic)

    loop = asyncio.get_running_loop()
    tickets: dict[bytes, Any] = {}
    options: dict[str, Any] = {"retry": arguments.retry}
    if arguments.tickets:
        # Not `pop`: qh3 asks twice for a ticket that comes with 0-RTT data.
        options["session_ticket_fetcher"] = tickets.get
        options["session_ticket_handler"] = lambda ticket: tickets.update({ticket.ticket: ticket})
    transport, server = await open_server_socket(
        stack,
        lambda: stack.server(
            configuration=configuration, create_protocol=protocol_factory(stack, session), **options
        ),
        (arguments.host, arguments.port),
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    print(json.dumps({"port": transport.get_extra_info("sockname")[1]}), flush=True)
    await stop.wait()
    server.close()
    return 0


@dataclass
class Measured:
    """What one run of the client reports, summed over its connections."""

    bytes: int = 0
    connections: int = 0
    handshake_seconds: float = 0.0
    transfer_seconds: float = 0.0
    transfer_cpu_seconds: float = 0.0
    resumed: int = 0
    early_data: int = 0
    versions: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Client:
    """Opens connections one after another and keeps the tally."""

    def __init__(self, stack: Stack, arguments: argparse.Namespace) -> None:
        self.stack = stack
        self.arguments = arguments
        self.measured = Measured()
        self.closing: list[asyncio.Task[Any]] = []
        self.tickets: deque[Any] = deque()

    async def run(self) -> Measured:
        """Download everything, `--connections` or one connection per URL at a time."""
        urls = [urlsplit(url) for url in self.arguments.urls]
        host, port = str(urls[0].hostname), urls[0].port or 443
        names = [url.path.removeprefix("/") for url in urls if url.path.removeprefix("/")]
        names *= self.arguments.repeat
        groups = [[name] for name in names] if self.arguments.multiconnect else [names]
        held: list[Any] = []
        started = time.monotonic()
        for group in groups * self.arguments.connections:
            connection = await self.connect(host, port)
            held.append(connection)
            if connection is not None:
                await self.download(connection[1].session, group)
                self.measured.resumed += connection[1].session.resumed
                self.measured.early_data += connection[1].session.early_data
                if self.arguments.resume:
                    await self.wait_for_ticket()
                if not self.arguments.hold:
                    # Closing waits for the draining period; the next connection need not.
                    self.closing.append(asyncio.create_task(connection[0].aclose()))
        self.measured.handshake_seconds = time.monotonic() - started - self.measured.transfer_seconds
        if self.arguments.hold:
            print(json.dumps({"held": len(held)}), flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
            return self.measured
        await asyncio.gather(*self.closing)
        return self.measured

    async def wait_for_ticket(self) -> None:
        """A ticket comes after the handshake, and may come after the content."""
        for _ in range(100):
            if self.tickets:
                return
            await asyncio.sleep(0.02)
        self.measured.failures.append("no session ticket came")

    async def connect(self, host: str, port: int) -> tuple[contextlib.AsyncExitStack, Any] | None:
        stack, arguments = self.stack, self.arguments
        configuration = configure(stack, arguments, is_client=True)
        configuration.server_name = arguments.server_name or host
        if arguments.ca:
            configuration.load_verify_locations(cafile=str(arguments.ca))
        else:
            configuration.verify_mode = ssl.CERT_NONE

        def session(protocol: Any, quic: Any) -> ClientSession:
            if arguments.rx_loss:
                drop_received(protocol, arguments.rx_loss, arguments.seed)
            authority = f"{host}:{port}" if arguments.alpn == H3 else None
            return ClientSession(stack, protocol, quic, arguments.output, authority)

        options: dict[str, Any] = {}
        if arguments.resume:
            options["session_ticket_handler"] = self.tickets.append
            if self.tickets:
                configuration.session_ticket = self.tickets.popleft()
                options["wait_connected"] = not arguments.early_data
        exits = contextlib.AsyncExitStack()
        context = stack.asyncio.connect(
            host,
            port,
            configuration=configuration,
            create_protocol=protocol_factory(stack, session),
            **options,
        )
        try:
            async with asyncio.timeout(arguments.timeout):
                protocol = await exits.enter_async_context(context)
        except (ConnectionError, TimeoutError) as error:
            self.measured.failures.append(f"handshake: {error!r}")
            return None
        self.measured.connections += 1
        if arguments.key_update:
            await asyncio.sleep(0.1)  # no event tells that the handshake is confirmed
            protocol.request_key_update()
        return exits, protocol

    async def download(self, session: ClientSession, names: list[str]) -> None:
        if not names:
            return
        started, cpu = time.monotonic(), cpu_seconds()
        session.request(names)
        try:
            async with asyncio.timeout(self.arguments.timeout):
                await session.finished.wait()
        except TimeoutError:
            session.failure = f"timeout, {session.open_downloads} downloads open"
        self.measured.transfer_seconds += time.monotonic() - started
        self.measured.transfer_cpu_seconds += cpu_seconds() - cpu
        self.measured.bytes += session.received
        if session.failure:
            self.measured.failures.append(session.failure)


def cpu_seconds() -> float:
    """User and system time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def run_client(stack: Stack, arguments: argparse.Namespace) -> int:
    measured = await Client(stack, arguments).run()
    print(json.dumps(vars(measured)), flush=True)
    return 1 if measured.failures else 0


def parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--cipher", action="append", choices=sorted(CIPHERS), help="only these suites")
    common.add_argument("--max-data", type=int, default=24 << 20, help="bytes")
    common.add_argument("--max-stream-data", type=int, default=16 << 20, help="bytes")
    common.add_argument("--max-udp-payload", type=int, default=1252, help="bytes")
    common.add_argument("--idle-timeout", type=float, default=60.0, help="seconds")
    common.add_argument("--keylog", type=Path)
    common.add_argument("--qlog", type=Path, metavar="DIR", help="one trace per connection")
    common.add_argument("--versions", default="v1", help="spoken, most preferred first: v1,v2")
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("stack", choices=STACKS)
    roles = top.add_subparsers(dest="role", required=True)
    server = roles.add_parser("server", parents=[common])
    server.add_argument("--host", default="127.0.0.1")
    server.add_argument("--port", type=int, default=0)
    server.add_argument("--cert", type=Path, required=True)
    server.add_argument("--key", type=Path, required=True)
    server.add_argument("--root", type=Path)
    server.add_argument("--retry", action="store_true", help="answer every first Initial with a Retry")
    server.add_argument("--tickets", action="store_true", help="give session tickets and take 0-RTT")
    client = roles.add_parser("client", parents=[common])
    client.add_argument("urls", nargs="+", metavar="URL")
    client.add_argument("-o", "--output", type=Path, help="directory to save to; else count and drop")
    client.add_argument("--ca", type=Path, help="verify the server against this root")
    client.add_argument("--server-name")
    client.add_argument("--timeout", type=float, default=60.0, help="seconds per handshake and per transfer")
    client.add_argument("--connections", type=int, default=1, help="do it all this often, each anew")
    client.add_argument("--multiconnect", action="store_true", help="one connection per URL")
    client.add_argument("--alpn", choices=(HQ, H3), default=HQ, help="which protocol to speak")
    client.add_argument("--repeat", type=int, default=1, help="request every URL this often")
    client.add_argument("--rx-loss", type=float, default=0.0, help="share of datagrams to drop on receipt")
    client.add_argument("--seed", type=int, default=1, help="decides which")
    client.add_argument("--initial-version", default="v1", choices=("v1", "v2"))
    client.add_argument("--resume", action="store_true", help="from the second connection on")
    client.add_argument("--early-data", action="store_true", help="send requests as 0-RTT when resuming")
    client.add_argument("--key-update", action="store_true", help="update keys after the handshake")
    client.add_argument("--hold", action="store_true", help="keep connections open until stdin ends")
    return top


def main() -> int:
    arguments = parser().parse_args()
    run = run_server if arguments.role == "server" else run_client
    return asyncio.run(run(Stack(arguments.stack), arguments))


if __name__ == "__main__":
    sys.exit(main())
