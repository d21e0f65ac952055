"""Datagrams for tasks (RFC 9221)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from endpoint.config import Config
from endpoint.errors import DatagramError
from endpoint.io.client import ClientConnection, connect
from endpoint.io.server import Server, ServerConnection, serve
from endpoint.io.streams import MAX_DATAGRAMS, ConnectionLostError
from endpoint.tls.config import TlsConfig

TAKES_ALL = Config(max_datagram_frame_size=65535)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await scenario()

    asyncio.run(bounded())


async def echo(connection: ServerConnection) -> None:
    try:
        while True:
            connection.send_datagram(await connection.receive_datagram())
    except ConnectionLostError:
        pass


@pytest.fixture
def pair(server_tls: TlsConfig, client_tls: TlsConfig) -> Any:
    """Opens a server that echoes datagrams and a connection to it."""

    @asynccontextmanager
    async def make(
        server_config: Config = TAKES_ALL, client_config: Config = TAKES_ALL
    ) -> AsyncIterator[tuple[Server, ClientConnection]]:
        async with (
            serve("127.0.0.1", 0, echo, tls=server_tls, config=server_config) as server,
            connect("127.0.0.1", server.address[1], tls=client_tls, config=client_config) as connection,
        ):
            yield server, connection

    return make


def test_echo(pair: Any) -> None:
    async def scenario() -> None:
        async with pair() as (_, connection):
            sent = [b"", b"short", bytes(connection.datagram_limit)]
            for data in sent:
                assert connection.send_datagram(data)
            assert [await connection.receive_datagram() for _ in sent] == sent

    run(scenario)


def test_more_than_the_path_takes(pair: Any) -> None:
    async def scenario() -> None:
        async with pair() as (_, connection):
            with pytest.raises(DatagramError):
                connection.send_datagram(bytes(connection.datagram_limit + 1))

    run(scenario)


def test_a_server_that_takes_none(pair: Any) -> None:
    async def scenario() -> None:
        async with pair(server_config=Config()) as (_, connection):
            assert connection.datagram_limit == 0
            with pytest.raises(DatagramError):
                connection.send_datagram(b"x")

    run(scenario)


def test_waiting_ends_with_the_connection(pair: Any) -> None:
    async def scenario() -> None:
        async with pair() as (_, connection):
            waiting = asyncio.create_task(connection.receive_datagram())
            await asyncio.sleep(0)
            connection.close()
            with pytest.raises(ConnectionLostError):
                await waiting
            with pytest.raises(ConnectionLostError):
                connection.send_datagram(b"x")

    run(scenario)


def test_the_oldest_unread_ones_are_dropped(pair: Any) -> None:
    async def scenario() -> None:
        async with pair() as (_, connection):
            number = 0
            while number < MAX_DATAGRAMS + 100:
                for _ in range(20):
                    connection.send_datagram(number.to_bytes(4, "big"))
                    number += 1
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.05)
            first = int.from_bytes(await connection.receive_datagram(), "big")
            assert first >= 100

    run(scenario)
