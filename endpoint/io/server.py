"""Serving: one socket, a listener, and a task per connection or an application for all of them."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

from endpoint.admission import AdmissionPolicy, accept_all
from endpoint.batch import Address, PacketBuffer, RecvBatch, SendBatch
from endpoint.config import Config
from endpoint.errors import ConnectionClosedError
from endpoint.events import ConnectionClosed, EarlyDataAccepted, Event, HandshakeCompleted
from endpoint.io.loop import Application, Driver
from endpoint.io.streams import AsyncConnection
from endpoint.io.udp import UdpSocket
from endpoint.keyring import KeyRing
from endpoint.listener import Listener
from endpoint.tls.config import TlsConfig
from endpoint.tls.tickets import AntiReplay
from endpoint.transport.connection import Connection

# What a peer is told when the handler of its connection raised. Application codes are the application's;
# this is the same number as the transport's INTERNAL_ERROR.
HANDLER_FAILED = 0x01

Handler = Callable[["ServerConnection"], Awaitable[None]]


class ServerConnection(AsyncConnection):
    """A server's connection. Its handshake is complete, or it has brought 0-RTT data (`early`)."""


class _ListenerFront:
    """A listener as the driver sees it."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def receive(self, batch: RecvBatch, now: float) -> Iterable[Connection]:
        touched = self._listener.receive(batch, now)
        # Applications learn of a connection by its first event; nothing is kept waiting here.
        while self._listener.accept() is not None:
            pass
        return touched

    def transmit(self, buffer: PacketBuffer, now: float) -> SendBatch | None:
        return self._listener.transmit(buffer, now)

    def update(self, connection: Connection) -> None:
        self._listener.update(connection)

    def forget(self, connection: Connection) -> None:
        self._listener.forget(connection)

    def on_socket_error(self, error: OSError) -> None:
        """One unreachable peer is no trouble for a server: its connection times out."""


@asynccontextmanager
async def open_server(
    host: str | None,
    port: int,
    *,
    application: Application,
    tls: TlsConfig,
    config: Config | None = None,
    keylog: Callable[[str], None] | None = None,
    gso: bool = True,
    gro: bool = True,
    reuse_address: bool = False,
    ticket_keys: KeyRing | None = None,
    token_keys: KeyRing | None = None,
    reset_key: bytes | None = None,
    early_data: bool = False,
    admission: AdmissionPolicy = accept_all,
) -> AsyncIterator[Driver]:
    """A server whose events go straight to `application`: no tasks, no waiting, the fastest way.

    Leaving closes all connections at once. Arguments and exceptions are those of `serve`.
    """
    udp = UdpSocket.bind(host, port, gso=gso, gro=gro, reuse_address=reuse_address)
    listener = Listener(
        udp.complete(config or Config()),
        _with_tickets(tls, ticket_keys, early_data=early_data),
        random=os.urandom,
        wall_time=time.time,
        keylog=keylog,
        reset_key=reset_key,
        token_keys=token_keys,
        admission=admission,
    )
    driver = Driver(udp, _ListenerFront(listener), application)
    driver.start()
    try:
        for other_host, other_port in _preferred_sockets(host, udp.address[1], config or Config()):
            driver.add_socket(
                UdpSocket.bind(other_host, other_port, gso=gso, gro=gro, reuse_address=reuse_address)
            )
    except OSError:
        driver.stop()
        raise
    try:
        yield driver
    finally:
        listener.shutdown()
        driver.close_all(0, "the server is shutting down")
        driver.stop()


def _with_tickets(tls: TlsConfig, ticket_keys: KeyRing | None, *, early_data: bool) -> TlsConfig:
    """The settings with what resumption takes, as `serve` describes it."""
    keys = ticket_keys or tls.ticket_keys
    if not early_data:
        return replace(tls, ticket_keys=keys)
    return replace(
        tls,
        ticket_keys=keys or KeyRing.generate(os.urandom, time.time()),
        early_data=True,
        anti_replay=tls.anti_replay or AntiReplay(time.time()),
    )


def _preferred_sockets(host: str | None, port: int, config: Config) -> list[tuple[str | None, int]]:
    """Where sockets are needed for the preferred address, besides the main one at `host` and `port`."""
    preferred = [address for address in (config.preferred_ipv4, config.preferred_ipv6) if address is not None]
    if not host or host == "::":
        # All addresses are ours, and each port takes datagrams to all of them.
        return [
            (None, other) for other in dict.fromkeys(address[1] for address in preferred) if other != port
        ]
    return [address for address in preferred if address != (host, port)]


class Server:
    """A running server; made by `serve`."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._connections: dict[Connection, ServerConnection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._driver: Driver | None = None
        self._closing = asyncio.Event()

    @property
    def address(self) -> Address:
        """The address of the socket, as the socket module gives it."""
        assert self._driver is not None
        return self._driver.udp.address

    @property
    def connections(self) -> list[ServerConnection]:
        """Those whose handler was started and that have not ended."""
        return list(self._connections.values())

    async def serve_forever(self) -> None:
        """Wait until `close` is called."""
        await self._closing.wait()

    def close(self) -> None:
        """Let `serve_forever` return."""
        self._closing.set()

    def start(self, driver: Driver) -> None:
        """Begin. For `serve`."""
        self._driver = driver

    async def end_tasks(self) -> None:
        """Cancel the handlers that are still running, and wait for them. For `serve`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def on_event(self, connection: Connection, event: Event) -> None:
        """Take an event of a connection. For the driver."""
        known = self._connections.get(connection)
        if known is None:
            if not isinstance(event, EarlyDataAccepted | HandshakeCompleted):
                return
            known = self._begin(connection)
        known.handle(event)
        if isinstance(event, ConnectionClosed):
            del self._connections[connection]

    def _begin(self, connection: Connection) -> ServerConnection:
        assert self._driver is not None
        known = self._connections[connection] = ServerConnection(self._driver, connection, is_client=False)
        task = asyncio.get_running_loop().create_task(self._run(known))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return known

    async def _run(self, connection: ServerConnection) -> None:
        try:
            await self._handler(connection)
        except Exception as error:  # noqa: BLE001 - shown; one handler must not end the server
            if isinstance(error, ConnectionClosedError) and connection.closed is not None:
                return  # that is how most handlers end
            connection.close(HANDLER_FAILED, "the handler failed")
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a connection handler failed", "exception": error}
            )


@asynccontextmanager
async def serve(
    host: str | None,
    port: int,
    handler: Handler,
    *,
    tls: TlsConfig,
    config: Config | None = None,
    keylog: Callable[[str], None] | None = None,
    gso: bool = True,
    gro: bool = True,
    reuse_address: bool = False,
    ticket_keys: KeyRing | None = None,
    token_keys: KeyRing | None = None,
    reset_key: bytes | None = None,
    early_data: bool = False,
    admission: AdmissionPolicy = accept_all,
) -> AsyncIterator[Server]:
    """Serve connections; `async with serve(...) as server: await server.serve_forever()`.

    Leaving closes every connection with a CONNECTION_CLOSE and cancels the handlers.

    Args:
        host: a name or a numeric address; None or "::" is every address of both families.
        port: the UDP port; 0 is any, see `Server.address`.
        handler: a coroutine function that is run as a task for each connection whose handshake is complete,
            or that brings 0-RTT data before. The connection outlives it; one that raises closes the
            connection and is reported to the exception handler of the event loop.
        tls: ALPN, certificate chain and key. Build it once and share it.
        config: transport settings.
        keylog: takes lines in the format of SSLKEYLOGFILE, without line ends.
        gso: use segmentation offload where the system has it.
        gro: use receive offload where the system has it.
        reuse_address: set SO_REUSEADDR, see `UdpSocket.bind`.
        ticket_keys: seal session tickets, so that clients can resume (RFC 9001 §4.5). Servers that share them
            resume each other's sessions. None leaves what `tls` says.
        token_keys: seal address tokens, for Retry and the next visit (RFC 9000 §8.1); may be the same ring.
            None makes one of our own.
        reset_key: 32 bytes from which stateless resets are made (RFC 9000 §10.3). A server that is started
            again with the same can tell clients that it has lost their connections. None makes one.
        early_data: take 0-RTT data, each ticket's once. The handler is run when it comes, see
            `ServerConnection.early` and `Stream.came_early`; makes `ticket_keys` if there are none.
        admission: decides who is let in, who has to prove an address by a Retry, and who is refused.

    Raises:
        OSError: the port is in use or not permitted, or the address is not ours.
    """
    server = Server(handler)
    try:
        async with open_server(
            host,
            port,
            application=server,
            tls=tls,
            config=config,
            keylog=keylog,
            gso=gso,
            gro=gro,
            reuse_address=reuse_address,
            ticket_keys=ticket_keys,
            token_keys=token_keys,
            reset_key=reset_key,
            early_data=early_data,
            admission=admission,
        ) as driver:
            server.start(driver)
            yield server
    finally:
        await server.end_tasks()
