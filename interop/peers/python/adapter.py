"""aioquic or qh3 as a peer of the matrix: the argument says which, the environment all the rest.

What a test case changes is in `CASES`; a name that is not there ends the program with status 127.
"""

import asyncio
import contextlib
import os
import signal
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from interop.peers.python.stack import (
    H3,
    HQ,
    ClientSession,
    ServerSession,
    Stack,
    protocol_factory,
)

UNSUPPORTED = 127
RESERVED_VERSION = 0x1A2A3A4A
# Seconds after the handshake, by when the server's HANDSHAKE_DONE has come: no event tells of it.
CONFIRMED_AFTER = 0.2
TIMEOUT = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a value of TESTCASE changes."""

    cipher_suites: tuple[str, ...] = ()
    versions: tuple[str, ...] = ("v1",)
    # None: any; the client's choice is in the variable ALPN.
    alpn: str | None = None
    retry: bool = False
    connection_per_url: bool = False
    resume: bool = False
    early_data: bool = False
    key_update: bool = False
    # Client: the version of its first packets, if it is not the first choice.
    initial_version: int | None = None


CASES = {
    "handshake": Case(),
    "transfer": Case(),
    "chacha20": Case(cipher_suites=("CHACHA20_POLY1305_SHA256",)),
    "multiconnect": Case(connection_per_url=True),
    "retry": Case(retry=True),
    "resumption": Case(resume=True),
    "zerortt": Case(resume=True, early_data=True),
    "zerorttretry": Case(retry=True, resume=True, early_data=True),
    "http3": Case(alpn=H3),
    "keyupdate": Case(key_update=True),
    "v2": Case(versions=("v2", "v1"), initial_version=1),
    "versionnegotiation": Case(initial_version=RESERVED_VERSION),
}
# qh3 has version 2, but a handshake that changes to it from version 1 never ends.
MISSING = {("qh3", "v2")}


def configure(stack: Stack, case: Case, *, is_client: bool) -> Any:
    """The configuration of one connection, or of the server."""
    keylog, qlog = os.environ.get("SSLKEYLOGFILE"), os.environ.get("QLOGDIR")
    alpn = [case.alpn] if case.alpn else [os.environ.get("ALPN", HQ)] if is_client else [HQ, H3]
    initial_version = case.initial_version if is_client else None
    configuration = stack.configure(
        is_client=is_client,
        alpn=alpn,
        versions=case.versions,
        cipher_suites=case.cipher_suites,
        keylog=Path(keylog) if keylog else None,
        qlog=Path(qlog) if qlog else None,
        original_version=initial_version,
        idle_timeout=120.0,
        # qh3's HTTP/3 announces datagrams, which takes the transport parameter.
        max_datagram_frame_size=65536,
    )
    if initial_version == RESERVED_VERSION and stack.name == "aioquic":
        # It has Initial keys only for versions that it offers.
        configuration.supported_versions.append(RESERVED_VERSION)
    return configuration


async def serve(stack: Stack, case: Case) -> None:
    """Serve WWW until SIGTERM."""
    certs, root = Path(os.environ["CERTS"]), Path(os.environ["WWW"])
    configuration = configure(stack, case, is_client=False)
    configuration.load_cert_chain(certs / "cert.pem", certs / "priv.key")
    options: dict[str, Any] = {"retry": case.retry}
    if case.resume:
        # Not `pop`: qh3 asks twice for a ticket that comes with 0-RTT data.
        tickets: dict[bytes, Any] = {}
        options["session_ticket_fetcher"] = tickets.get
        options["session_ticket_handler"] = lambda ticket: tickets.update({ticket.ticket: ticket})

    def session(protocol: Any, quic: Any) -> ServerSession:
        del protocol
        return ServerSession(stack, root, quic)

    server = await stack.asyncio.serve(
        os.environ.get("IP") or "::",
        int(os.environ.get("PORT") or 443),
        configuration=configuration,
        create_protocol=protocol_factory(stack, session),
        **options,
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    server.close()


class Client:
    """Downloads what REQUESTS asks for, over as many connections as the case wants."""

    def __init__(self, stack: Stack, case: Case) -> None:
        self.stack = stack
        self.case = case
        self.directory = Path(os.environ["DOWNLOADS"])
        self.tickets: asyncio.Queue[Any] = asyncio.Queue()
        self.ticket: Any = None
        self.closing: list[asyncio.Task[Any]] = []

    async def run(self, urls: list[SplitResult]) -> str:
        """What failed, or nothing."""
        groups = [urls]
        if self.case.connection_per_url:
            groups = [[url] for url in urls]
        elif self.case.resume:
            groups = [urls[:1], urls[1:]]
        try:
            async with asyncio.timeout(TIMEOUT):
                for number, group in enumerate(groups):
                    failure = await self.download(group, is_last=number == len(groups) - 1)
                    if failure:
                        return failure
                await asyncio.gather(*self.closing)
        except (ConnectionError, TimeoutError) as error:
            return repr(error)
        return ""

    async def download(self, urls: list[SplitResult], *, is_last: bool) -> str:
        """These files over one connection; what failed."""
        host, port = str(urls[0].hostname), urls[0].port or 443
        exits = contextlib.AsyncExitStack()
        protocol = await exits.enter_async_context(self.connect(host, port))
        if self.case.key_update:
            await asyncio.sleep(CONFIRMED_AFTER)
            protocol.request_key_update()
        session: ClientSession = protocol.session
        names = [url.path.removeprefix("/") for url in urls if url.path.removeprefix("/")]
        if names:
            session.request(names)
            await session.finished.wait()
        if self.case.resume and not is_last:
            self.ticket = await self.tickets.get()
        # Closing waits for the draining period; the next connection need not.
        self.closing.append(asyncio.create_task(exits.aclose()))
        return session.failure

    def connect(self, host: str, port: int) -> Any:
        configuration = configure(self.stack, self.case, is_client=True)
        configuration.server_name = host
        configuration.verify_mode = ssl.CERT_NONE
        options: dict[str, Any] = {}
        if self.case.resume:
            options["session_ticket_handler"] = self.tickets.put_nowait
            if self.ticket is not None:
                configuration.session_ticket = self.ticket
                options["wait_connected"] = not self.case.early_data

        def session(protocol: Any, quic: Any) -> ClientSession:
            authority = f"{host}:{port}" if configuration.alpn_protocols == [H3] else None
            return ClientSession(self.stack, protocol, quic, self.directory, authority)

        return self.stack.asyncio.connect(
            host,
            port,
            configuration=configuration,
            create_protocol=protocol_factory(self.stack, session),
            **options,
        )


def main() -> int:
    name, testcase = sys.argv[1], os.environ.get("TESTCASE", "")
    case = CASES.get(testcase)
    if case is None or (name, testcase) in MISSING:
        return UNSUPPORTED
    stack = Stack(name)
    if os.environ.get("ROLE") == "server":
        asyncio.run(serve(stack, case))
        return 0
    urls = [urlsplit(url) for url in os.environ["REQUESTS"].split()]
    failure = asyncio.run(Client(stack, case).run(urls))
    if failure:
        print(failure, file=sys.stderr)
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main())
