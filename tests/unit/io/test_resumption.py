"""Resumption, 0-RTT, tokens and Retry over real sockets (RFC 9001 §4.5, §4.6; RFC 9000 §8.1)."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from endpoint.admission import Decision, Incoming
from endpoint.config import Config
from endpoint.errors import ConnectionClosedError
from endpoint.io.client import ClientConnection, connect
from endpoint.io.loop import Driver
from endpoint.io.server import Server, ServerConnection, serve
from endpoint.io.sessions import SessionStore
from endpoint.io.streams import ConnectionLostError
from endpoint.keyring import KeyRing
from endpoint.tls.config import TlsConfig
from endpoint.wire.version import QUIC_V2

Scenario = Callable[[], Awaitable[None]]


def run(scenario: Scenario) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await scenario()

    asyncio.run(bounded())


def make_ring() -> KeyRing:
    return KeyRing.generate(os.urandom, time.time())


async def shout(connection: ServerConnection) -> None:
    """Answers each stream with what it brought, and whether that was early."""
    async for stream in connection.incoming_streams():
        early = b"early " if stream.came_early else b""
        await stream.write(early + await stream.read_to_end())
        stream.finish()


async def ask(connection: ClientConnection, text: bytes) -> bytes:
    stream = await connection.open_stream()
    await stream.write(text)
    stream.finish()
    return await stream.read_to_end()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.001)


class Site:
    """A server with its options, and clients with one store."""

    def __init__(self, server_tls: TlsConfig, client_tls: TlsConfig, store: SessionStore) -> None:
        self.store = store
        self._server_tls = server_tls
        self._client_tls = client_tls
        self.port = 0

    @asynccontextmanager
    async def serve(self, **options: Any) -> AsyncIterator[Server]:
        async with serve("127.0.0.1", self.port, shout, tls=self._server_tls, **options) as server:
            self.port = server.address[1]
            yield server

    @asynccontextmanager
    async def connect(self, **options: Any) -> AsyncIterator[ClientConnection]:
        options = {"store": self.store, **options}
        host = options.pop("host", "127.0.0.1")
        async with connect(host, self.port, tls=self._client_tls, **options) as connection:
            yield connection

    async def visit(self, **options: Any) -> bool:
        """A connection with a question, whose session and token are kept; whether it was resumed."""
        async with self.connect(**options) as connection:
            assert await ask(connection, b"hello") == b"hello"
            # The session and the token come before, or with, what confirms the handshake.
            await until(lambda: connection.core.handshake_confirmed)
            return (await connection.wait_handshake()).resumed


@pytest.fixture
def site(server_tls: TlsConfig, client_tls: TlsConfig, tmp_path: Path) -> Site:
    return Site(server_tls, client_tls, SessionStore(tmp_path / "sessions"))


def test_resumption(site: Site) -> None:
    async def scenario() -> None:
        async with site.serve(ticket_keys=make_ring()):
            assert [await site.visit() for _ in range(3)] == [False, True, True]
            assert not await site.visit(store=None)

    run(scenario)


def test_no_keys_no_resumption(site: Site) -> None:
    async def scenario() -> None:
        async with site.serve():
            assert [await site.visit() for _ in range(2)] == [False, False]

    run(scenario)


def test_restarted_server(site: Site) -> None:
    """With its keys it knows its clients again, without it does not."""
    ring = make_ring()
    other = KeyRing.load(ring.dump(), os.urandom)

    async def scenario() -> None:
        for keys, resumed in ((ring, False), (other, True), (make_ring(), False)):
            async with site.serve(ticket_keys=keys, token_keys=keys):
                assert await site.visit() is resumed

    run(scenario)


def test_early_data(site: Site) -> None:
    async def scenario() -> None:
        async with site.serve(early_data=True):
            assert not await site.visit(early_data=True)
            async with site.connect(early_data=True) as connection:
                assert connection.early
                assert connection.handshake is None
                assert await ask(connection, b"hello") == b"early hello"
                handshake = await connection.wait_handshake()
                assert handshake.resumed
                assert handshake.early_data
                assert not connection.early
                assert await ask(connection, b"again") == b"again"

    run(scenario)


def test_early_data_has_to_be_asked_for(site: Site) -> None:
    async def scenario() -> None:
        async with site.serve(early_data=True):
            await site.visit()
            async with site.connect() as connection:
                assert not connection.early
                assert await ask(connection, b"hello") == b"hello"
                assert connection.handshake is not None
                assert not connection.handshake.early_data

    run(scenario)


def test_refused_early_data_is_sent_again(site: Site) -> None:
    """A server that has forgotten its keys."""

    async def scenario() -> None:
        async with site.serve(early_data=True):
            await site.visit()
        async with site.serve(early_data=True), site.connect(early_data=True) as connection:
            assert connection.early
            assert await ask(connection, b"hello") == b"hello"
            handshake = await connection.wait_handshake()
            assert not handshake.early_data

    run(scenario)


def test_early_data_goes_where_the_server_was(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name has another address that comes first, and nobody is there."""
    options: dict[str, Any] = {"host": "two.example", "server_name": "localhost", "early_data": True}

    async def addresses(*_args: Any, **_options: Any) -> list[Any]:
        dead = (socket.AF_INET6, socket.SOCK_DGRAM, 17, "", ("::1", site.port, 0, 0))
        return [dead, (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", site.port))]

    async def scenario() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", addresses)
        async with site.serve(early_data=True):
            assert not await site.visit(config=Config(initial_rtt=0.01), **options)
            async with site.connect(**options) as connection:
                assert connection.early
                assert connection.core.peer[0] == "127.0.0.1"
                assert await ask(connection, b"hello") == b"early hello"

    run(scenario)


def test_early_data_to_nobody(site: Site) -> None:
    """The connection is there before the server was heard; that there is none ends it."""

    async def scenario() -> None:
        async with site.serve(early_data=True):
            await site.visit()
        with pytest.raises(ConnectionLostError, match="can't be reached"):
            async with site.connect(early_data=True) as connection:
                await ask(connection, b"hello")
        with pytest.raises(ConnectionClosedError):
            await connection.wait_handshake()

    run(scenario)


def test_sessions_of_a_version(site: Site) -> None:
    """RFC 9369 §5: one of version 1 is no use in version 2, and both are kept apart."""
    v2 = Config(versions=(QUIC_V2,), initial_version=QUIC_V2)

    async def scenario() -> None:
        async with site.serve(ticket_keys=make_ring()):
            assert not await site.visit()
            assert not await site.visit(config=v2)
            assert await site.visit(config=v2)
            assert await site.visit()

    run(scenario)


def test_admission(site: Site) -> None:
    """The token of the first connection spares the second the Retry."""
    seen: list[bool] = []

    def retry(incoming: Incoming) -> Decision:
        seen.append(incoming.validated)
        return Decision.RETRY

    async def scenario() -> None:
        async with site.serve(admission=retry):
            await site.visit()
            assert seen == [False, True]
            await site.visit()
            assert seen == [False, True, True]

    run(scenario)


def test_refusal(site: Site) -> None:
    async def scenario() -> None:
        async with site.serve(admission=lambda _: Decision.REFUSE):
            with pytest.raises(ConnectionLostError, match="CONNECTION_REFUSED"):
                await site.visit()

    run(scenario)


def test_stateless_reset_of_a_restarted_server(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same key it can tell a client that its connection is lost (RFC 9000 §10.3)."""
    key = os.urandom(32)
    # Without its farewell a server that ends is like one that crashed.
    monkeypatch.setattr(Driver, "close_all", lambda *_: None)

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            async with site.serve(reset_key=key):
                connection = await stack.enter_async_context(site.connect())
                await ask(connection, b"hello")
            async with site.serve(reset_key=key):
                stream = await connection.open_stream()
                await stream.write(b"are you there?" * 10)
                closed = await connection.wait_closed()
            assert closed.kind == "stateless_reset"

    run(scenario)


def test_a_store_that_fails_does_not_end_the_connection(site: Site, tmp_path: Path) -> None:
    reported: list[str] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(context["message"]))
        async with site.serve(ticket_keys=make_ring()), site.connect() as connection:
            (tmp_path / "sessions").write_text("not ours")
            await until(lambda: bool(reported))
            assert await ask(connection, b"hello") == b"hello"

    run(scenario)
    assert set(reported) == {"a session could not be kept"}
