import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from endpoint.config import Config
from endpoint.errors import CRYPTO_ERROR_FIRST, AlertDescription, StreamError
from endpoint.events import ConnectionClosed
from endpoint.io.client import ClientConnection, UnreachableError, connect
from endpoint.io.server import HANDLER_FAILED, Server, ServerConnection, serve
from endpoint.io.streams import (
    ConnectionLostError,
    Stream,
    StreamResetError,
    StreamStoppedError,
    describe_close,
)
from endpoint.recovery.ecn import EcnState
from endpoint.tls.config import TlsConfig

Handler = Callable[[ServerConnection], Awaitable[None]]
Scenario = Callable[[], Awaitable[None]]


def run(scenario: Scenario) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await scenario()

    asyncio.run(bounded())


async def echo(connection: ServerConnection) -> None:
    async for stream in connection.incoming_streams():
        async for chunk in stream:
            await stream.write(chunk)
        stream.finish()


@pytest.fixture
def pair(server_tls: TlsConfig, client_tls: TlsConfig) -> Any:
    """Opens a server with a handler and a connection to it."""

    @asynccontextmanager
    async def make(
        handler: Handler = echo, *, host: str = "127.0.0.1", **options: Any
    ) -> AsyncIterator[tuple[Server, ClientConnection]]:
        server_config = options.pop("server_config", None)
        async with (
            serve(host, 0, handler, tls=server_tls, config=server_config) as server,
            connect(host, server.address[1], tls=client_tls, **options) as connection,
        ):
            yield server, connection

    return make


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_echo(pair: Any, host: str) -> None:
    async def scenario() -> None:
        async with pair(host=host) as (server, connection):
            stream = await connection.open_stream()
            await stream.write(b"hello ")
            await stream.write(bytearray(b"world"))
            stream.finish()
            assert await stream.read_to_end() == b"hello world"
            await stream.wait_finished()
            assert stream.is_done
            assert await stream.read() == b""
            assert connection.handshake.alpn == "test"
            assert len(connection.handshake.peer_certificates) == 1
            assert len(server.connections) == 1
            assert connection.core.rtt.smoothed_rtt < 1

    run(scenario)


@pytest.mark.parametrize("offload", [True, False])
def test_megabytes_through_small_windows(pair: Any, offload: bool) -> None:
    data = bytes(range(256)) * 8192
    config = Config(
        initial_max_data=50_000,
        initial_max_stream_data=30_000,
        max_data_window=100_000,
        max_stream_data_window=60_000,
        send_buffer_size=100_000,
    )

    async def scenario() -> None:
        async with pair(config=config, server_config=config, gso=offload, gro=offload) as (_, connection):
            stream = await connection.open_stream()

            async def write() -> None:
                await stream.write(data)
                stream.finish()

            writer = asyncio.create_task(write())
            assert await stream.read_to_end() == data
            await writer

    run(scenario)


@pytest.mark.parametrize(("host", "size"), [("127.0.0.1", 1472), ("::1", 1452)])
def test_real_sockets_carry_marks_and_probes(pair: Any, host: str, size: int) -> None:
    async def scenario() -> None:
        async with pair(host=host) as (_, connection):
            stream = await connection.open_stream()

            async def write() -> None:
                await stream.write(bytes(1_000_000))
                stream.finish()

            writer = asyncio.create_task(write())
            await stream.read_to_end()
            await writer
            assert connection.core.max_udp_payload == size
            assert connection.core.ecn_state is EcnState.CAPABLE

    run(scenario)


def test_writing_waits_for_the_reader(pair: Any) -> None:
    """A peer that does not read holds the writer back: nothing piles up on the way."""
    release = asyncio.Event()
    config = Config(max_stream_data_window=64_000, initial_max_stream_data=64_000, send_buffer_size=100_000)

    async def slow(connection: ServerConnection) -> None:
        stream = await connection.accept_stream()
        await release.wait()
        await stream.write(str(len(await stream.read_to_end())).encode())
        stream.finish()

    async def scenario() -> None:
        async with pair(slow, config=config, server_config=config) as (_, connection):
            stream = await connection.open_stream()
            written = 0

            async def write() -> None:
                nonlocal written
                for _ in range(50):
                    await stream.write(bytes(10_000))
                    written += 10_000
                stream.finish()

            writer = asyncio.create_task(write())
            await asyncio.sleep(0.1)
            assert written <= 164_000 + 10_000
            release.set()
            await writer
            assert await stream.read_to_end() == b"500000"

    run(scenario)


def test_read_limits(pair: Any) -> None:
    async def scenario() -> None:
        async with pair() as (_, connection):
            stream = await connection.open_stream()
            await stream.write(b"0123456789")
            stream.finish()
            assert await stream.read(4) == b"0123"
            with pytest.raises(ValueError, match="0 bytes"):
                await stream.read(0)
            with pytest.raises(StreamError, match="more than 5"):
                await stream.read_to_end(5)

    run(scenario)


def test_unidirectional_streams(pair: Any) -> None:
    received: list[bytes] = []

    async def handler(connection: ServerConnection) -> None:
        stream = await connection.accept_stream()
        received.append(await stream.read_to_end())
        with pytest.raises(StreamError, match="never was"):
            await stream.write(b"answer")
        reply = await connection.open_stream(unidirectional=True)
        await reply.write(b"reply")
        reply.finish()

    async def scenario() -> None:
        async with pair(handler) as (_, connection):
            stream = await connection.open_stream(unidirectional=True)
            await stream.write(b"one way")
            stream.finish()
            stream.finish()
            with pytest.raises(StreamError, match="only be written"):
                await stream.read()
            with pytest.raises(StreamError, match="finished"):
                await stream.write(b"more")
            reply = await connection.accept_stream()
            assert await reply.read_to_end() == b"reply"
            assert received == [b"one way"]

    run(scenario)


def test_open_stream_waits_for_the_limit(pair: Any) -> None:
    async def scenario() -> None:
        async with pair(server_config=Config(initial_max_streams_bidi=4)) as (_, connection):

            async def ask(i: int) -> bytes:
                stream: Stream = await connection.open_stream()
                await stream.write(str(i).encode())
                stream.finish()
                return await stream.read_to_end()

            answers = await asyncio.gather(*(ask(i) for i in range(50)))
            assert answers == [str(i).encode() for i in range(50)]

    run(scenario)


def test_finished_streams_are_forgotten(pair: Any) -> None:
    async def scenario() -> None:
        async with pair() as (server, connection):
            for _ in range(20):
                stream = await connection.open_stream()
                await stream.write(b"x")
                stream.finish()
                assert await stream.read_to_end() == b"x"
                await stream.wait_finished()
            await asyncio.sleep(0.05)
            assert connection.open_streams == 0
            [peer] = server.connections
            assert peer.open_streams == 0

    run(scenario)


async def write_on(stream: Stream) -> None:
    while True:
        await stream.write(bytes(1000))
        await asyncio.sleep(0)


def test_reset_and_stop_are_errors_with_their_code(pair: Any) -> None:
    async def handler(connection: ServerConnection) -> None:
        first = await connection.accept_stream()
        await first.read()
        first.reset(42)
        second = await connection.accept_stream()
        second.stop(43)

    async def scenario() -> None:
        async with pair(handler) as (_, connection):
            stream = await connection.open_stream()
            await stream.write(b"x")
            with pytest.raises(StreamResetError) as reset:
                await stream.read_to_end()
            assert reset.value.error_code == 42
            stream = await connection.open_stream()
            with pytest.raises(StreamStoppedError) as stopped:
                await write_on(stream)
            assert stopped.value.error_code == 43
            with pytest.raises(StreamStoppedError):
                stream.finish()

    run(scenario)


def test_what_came_before_the_close_can_still_be_read(pair: Any) -> None:
    async def handler(connection: ServerConnection) -> None:
        stream = await connection.open_stream(unidirectional=True)
        await stream.write(b"last words")
        stream.finish()
        await stream.wait_finished()
        connection.close(7, "that was all")

    async def scenario() -> None:
        async with pair(handler) as (_, connection):
            stream = await connection.accept_stream()
            closed = await connection.wait_closed()
            assert (closed.error_code, closed.reason, closed.remote) == (7, "that was all", True)
            assert await stream.read_to_end() == b"last words"
            with pytest.raises(ConnectionLostError, match="that was all"):
                await connection.open_stream()
            with pytest.raises(ConnectionLostError):
                await connection.accept_stream()

    run(scenario)


def test_waiting_calls_end_with_the_connection(pair: Any) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.accept_stream()
        await asyncio.sleep(0.01)
        connection.close(3)

    async def scenario() -> None:
        async with pair(handler) as (_, connection):
            stream = await connection.open_stream()
            await stream.write(b"x")
            calls = [stream.read(), stream.write(bytes(50_000_000)), connection.accept_stream()]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(result) for result in results] == [ConnectionLostError] * 3

    run(scenario)


def test_a_handler_that_raises_is_reported_and_closes_its_connection(pair: Any) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.accept_stream()
        raise RuntimeError("a bug in the handler")

    async def scenario() -> None:
        faults: list[str] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: faults.append(str(context.get("exception")))
        )
        async with pair(handler) as (_, connection):
            stream = await connection.open_stream()
            await stream.write(b"x")
            closed = await connection.wait_closed()
            assert closed.error_code == HANDLER_FAILED
        assert faults == ["a bug in the handler"]

    run(scenario)


def test_leaving_the_server_closes_connections_and_ends_handlers(
    server_tls: TlsConfig, client_tls: TlsConfig
) -> None:
    cancelled: list[bool] = []
    server_side: asyncio.Future[ServerConnection]

    async def handler(connection: ServerConnection) -> None:
        try:
            server_side.set_result(connection)
            await asyncio.sleep(3600)
        finally:
            cancelled.append(True)

    async def scenario() -> None:
        nonlocal server_side
        server_side = asyncio.get_running_loop().create_future()
        async with serve("127.0.0.1", 0, handler, tls=server_tls) as server:
            client = connect("127.0.0.1", server.address[1], tls=client_tls)
            connection = await client.__aenter__()
            await server_side
            server.close()
            await server.serve_forever()
        closed = await connection.wait_closed()
        assert closed.remote
        assert cancelled == [True]
        await client.__aexit__(None, None, None)

    run(scenario)


def test_refusal_names_the_alert(server_tls: TlsConfig, client_tls: TlsConfig) -> None:
    async def scenario() -> None:
        async with serve("127.0.0.1", 0, echo, tls=server_tls) as server:
            other = replace(client_tls, alpn_protocols=("other",))
            with pytest.raises(ConnectionLostError, match="no_application_protocol") as caught:
                async with connect("127.0.0.1", server.address[1], tls=other):
                    pass
            expected = CRYPTO_ERROR_FIRST + AlertDescription.NO_APPLICATION_PROTOCOL
            assert caught.value.closed.error_code == expected
            assert caught.value.closed.remote

    run(scenario)


def test_an_untrusted_server_is_refused(server_tls: TlsConfig, client_tls: TlsConfig) -> None:
    async def scenario() -> None:
        async with serve("127.0.0.1", 0, echo, tls=server_tls) as server:
            wary = replace(client_tls, trusted_roots=None)
            with pytest.raises(ConnectionLostError, match="unknown_ca"):
                async with connect("127.0.0.1", server.address[1], tls=wary):
                    pass

    run(scenario)


def test_nobody_there(client_tls: TlsConfig) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))

        async def scenario() -> None:
            config = Config(handshake_timeout=0.3)
            with pytest.raises(ConnectionLostError, match="does not answer"):
                async with connect("127.0.0.1", silent.getsockname()[1], tls=client_tls, config=config):
                    pass

        run(scenario)


def test_a_closed_port_is_unreachable(client_tls: TlsConfig) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    async def scenario() -> None:
        # Short probes, so that three refusals take no seconds.
        with pytest.raises(UnreachableError, match="refused"):
            async with connect("127.0.0.1", port, tls=client_tls, config=Config(initial_rtt=0.01)):
                pass

    run(scenario)


def test_the_next_address_is_tried(
    server_tls: TlsConfig, client_tls: TlsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with serve("127.0.0.1", 0, echo, tls=server_tls) as server:
            port = server.address[1]

            async def addresses(*_args: Any, **_options: Any) -> list[Any]:
                dead = (socket.AF_INET6, socket.SOCK_DGRAM, 17, "", ("::1", port, 0, 0))
                alive = (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", port))
                return [dead, alive]

            monkeypatch.setattr(loop, "getaddrinfo", addresses)
            config = Config(initial_rtt=0.01)
            async with connect(
                "two.example", port, tls=client_tls, config=config, server_name="localhost"
            ) as connection:
                assert connection.core.peer == ("127.0.0.1", port)

    run(scenario)


def test_an_unknown_name(client_tls: TlsConfig) -> None:
    async def scenario() -> None:
        with pytest.raises(socket.gaierror):
            async with connect("name.invalid", 1, tls=client_tls):
                pass

    run(scenario)


def test_the_key_log_has_all_secrets_of_both_sides(server_tls: TlsConfig, client_tls: TlsConfig) -> None:
    async def scenario() -> None:
        ours: list[str] = []
        theirs: list[str] = []
        async with (
            serve("127.0.0.1", 0, echo, tls=server_tls, keylog=theirs.append) as server,
            connect("127.0.0.1", server.address[1], tls=client_tls, keylog=ours.append),
        ):
            pass
        labels = {line.split()[0] for line in ours}
        assert labels >= {"CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_TRAFFIC_SECRET_0"}
        assert set(ours) >= set(theirs) & set(ours)
        assert len({line.split()[1] for line in ours + theirs}) == 1

    run(scenario)


def test_closed_sockets_leave_no_warning(pair: Any) -> None:
    async def scenario() -> None:
        async with pair() as (_, connection):
            stream = await connection.open_stream()
            await stream.write(b"x")

    run(scenario)
    gc.collect()


@pytest.mark.parametrize(
    ("closed", "text"),
    [
        (ConnectionClosed(0x0A, 0, "why", application=False, remote=True), "PROTOCOL_VIOLATION (why)"),
        (ConnectionClosed(0x5, 0, "", application=True, remote=True), "application error 0x5"),
        (ConnectionClosed(0, 0, "", application=False, remote=False, kind="idle_timeout"), "timed out"),
        (ConnectionClosed(0, 0, "", application=False, remote=True, kind="stateless_reset"), "stateless"),
        (ConnectionClosed(0, 0, "", application=False, remote=True, kind="version_negotiation"), "version"),
    ],
)
def test_describe_close(closed: ConnectionClosed, text: str) -> None:
    assert text in describe_close(closed)
