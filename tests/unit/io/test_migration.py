"""Migration and preferred addresses over real sockets on the loopback interface."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from endpoint.batch import ECN_NOT_ECT, Address, PacketBuffer, SendBatch
from endpoint.config import Config
from endpoint.errors import MigrationError
from endpoint.io.client import ClientConnection, connect
from endpoint.io.server import Server, ServerConnection, serve
from endpoint.io.sockets import MAX_OTHERS, Sockets
from endpoint.io.udp import UdpSocket
from endpoint.tls.config import TlsConfig


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(10):
            await scenario()

    asyncio.run(limited())


async def echo(connection: ServerConnection) -> None:
    async for stream in connection.incoming_streams():
        async for chunk in stream:
            await stream.write(chunk)
        stream.finish()


async def exchange(connection: ClientConnection, size: int) -> None:
    stream = await connection.open_stream()
    data = bytes(range(256)) * (size // 256)
    await stream.write(data)
    stream.finish()
    assert await stream.read_to_end() == data


async def until(condition: Callable[..., bool], *arguments: object) -> None:
    while not condition(*arguments):  # noqa: ASYNC110 - nothing tells of a move but its effect
        await asyncio.sleep(0.005)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def server_peer(server: Server) -> Address:
    return server.connections[0].core.peer


def migrates(connection: ClientConnection) -> bool:
    """Try to; connection IDs of earlier paths take a while to be replaced."""
    try:
        connection.migrate()
    except MigrationError:
        return False
    return True


def has_moved(connection: ClientConnection, server: Server, before: Address | None) -> bool:
    """Whether both ends agree on another local address of the client than `before`."""
    local = connection.core.local
    return local is not None and local != before and local[1] == server_peer(server)[1]


def is_at(connection: ClientConnection, peer: tuple[str, int]) -> bool:
    return connection.core.peer[:2] == peer


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_client_migrates(server_tls: TlsConfig, client_tls: TlsConfig, host: str) -> None:
    async def scenario() -> None:
        async with (
            serve(host, 0, echo, tls=server_tls) as server,
            connect(host, server.address[1], tls=client_tls) as connection,
        ):
            await exchange(connection, 1000)
            await until(lambda: connection.core.handshake_confirmed)
            for _ in range(MAX_OTHERS + 2):
                before = connection.core.local
                await until(migrates, connection)
                await exchange(connection, 100_000)
                await until(has_moved, connection, server, before)

    run(scenario)


def test_migration_to_a_given_address(server_tls: TlsConfig, client_tls: TlsConfig) -> None:
    async def scenario() -> None:
        port = free_port()
        async with (
            serve(None, 0, echo, tls=server_tls) as server,
            connect("127.0.0.1", server.address[1], tls=client_tls) as connection,
        ):
            await exchange(connection, 1000)
            connection.migrate("127.0.0.2", port)
            await until(lambda: server_peer(server)[:2] == ("::ffff:127.0.0.2", port))
            await exchange(connection, 1000)

    run(scenario)


def test_migration_that_is_not_allowed_leaves_no_socket(server_tls: TlsConfig, client_tls: TlsConfig) -> None:
    async def scenario() -> None:
        config = Config(disable_active_migration=True)
        async with (
            serve("127.0.0.1", 0, echo, tls=server_tls, config=config) as server,
            connect("127.0.0.1", server.address[1], tls=client_tls) as connection,
        ):
            await exchange(connection, 1000)
            port = free_port()
            with pytest.raises(MigrationError):
                connection.migrate("127.0.0.1", port)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind(("127.0.0.1", port))

    run(scenario)


@pytest.mark.parametrize("listen", [None, "127.0.0.1"])
def test_preferred_address(server_tls: TlsConfig, client_tls: TlsConfig, listen: str | None) -> None:
    """Another port, of the same host; with one socket for all addresses, and with one for each."""

    async def scenario() -> None:
        port = free_port()
        config = Config(preferred_ipv4=("127.0.0.1", port), preferred_ipv6=None)
        async with (
            serve(listen, 0, echo, tls=server_tls, config=config) as server,
            connect("127.0.0.1", server.address[1], tls=client_tls) as connection,
        ):
            await exchange(connection, 500_000)
            await until(lambda: connection.core.peer == ("127.0.0.1", port))
            core = server.connections[0].core
            await until(lambda: core.local is not None and core.local[1] == port)
            await exchange(connection, 500_000)

    run(scenario)


def test_preferred_address_of_both_families(server_tls: TlsConfig, client_tls: TlsConfig) -> None:
    async def scenario() -> None:
        port = free_port()
        config = Config(preferred_ipv4=("127.0.0.1", port), preferred_ipv6=("::1", port))
        async with serve(None, 0, echo, tls=server_tls, config=config) as server:
            for host in ("127.0.0.1", "::1"):
                async with connect(host, server.address[1], tls=client_tls) as connection:
                    await until(is_at, connection, (host, port))
                    await exchange(connection, 100_000)

    run(scenario)


def test_preferred_address_that_is_taken(server_tls: TlsConfig) -> None:
    async def scenario() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            config = Config(preferred_ipv4=sock.getsockname())
            with pytest.raises(OSError, match="in use"):
                async with serve("127.0.0.1", 0, echo, tls=server_tls, config=config):
                    pass

    run(scenario)


def test_sockets_are_found_by_address_then_by_port() -> None:
    made = [UdpSocket.bind("127.0.0.1", 0) for _ in range(3)]
    main, second, third = made
    sockets = Sockets(main)
    try:
        assert sockets.find(None) is sockets.find(("127.0.0.1", 1)) is main
        assert sockets.add(second) is sockets.add(third) is None
        assert sockets.find(second.address) is second
        assert sockets.find(("192.0.2.1", third.address[1])) is third
        assert sockets.find(main.address) is sockets.find(None) is main
        assert list(sockets) == made
        # What comes says where it came to.
        buffer = PacketBuffer()
        buffer.view[:3] = b"abc"
        main.send_batch(buffer, SendBatch(3, 3, third.address, None, ECN_NOT_ECT))
        batch = None
        while batch is None:
            batch = sockets.receive(third, buffer)
        assert batch.local == third.address
    finally:
        for udp in made:
            udp.close()
