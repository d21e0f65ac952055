"""Connecting to a server: names, addresses tried in turn, the handshake."""

import asyncio
import errno
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from endpoint.batch import Address, PacketBuffer, RecvBatch, SendBatch
from endpoint.config import Config
from endpoint.errors import ConnectionClosedError
from endpoint.events import ConnectionClosed, Event, HandshakeCompleted, VersionsOffered
from endpoint.io.loop import Application, Driver
from endpoint.io.streams import AsyncConnection, ConnectionLostError
from endpoint.io.udp import UdpSocket
from endpoint.tls.config import TlsConfig
from endpoint.transport.connection import Connection
from endpoint.transport.versions import choose_version

# ICMP is not authenticated, and a server may be starting just now: a port counts as closed when the first
# datagrams, sent within some three seconds, have all been refused and nothing else was heard.
REFUSALS = 3
# Errors of the local system about the address: waiting will not help.
_NO_ROUTE = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM, errno.EINVAL)


class UnreachableError(ConnectionClosedError):
    """No datagram reaches the server, as far as the system can tell; `error` is what it said."""

    def __init__(self, address: Address, error: OSError) -> None:
        super().__init__(f"{address[0]} port {address[1]} can't be reached: {error.strerror}")
        self.error = error


class ClientConnection(AsyncConnection):
    """A client's connection, its handshake completed."""


class _ClientFront:
    """One connection, and an eye on whether the server can be reached at all."""

    def __init__(self, connection: Connection, peer: Address, outcome: "asyncio.Future[None]") -> None:
        self._connection = connection
        self._peer = peer
        self._outcome = outcome
        self._heard = False
        self._refusals = 0

    def receive(self, batch: RecvBatch, now: float) -> Iterable[Connection]:
        self._heard = True
        self._connection.receive(batch, now)
        return (self._connection,)

    def transmit(self, buffer: PacketBuffer, now: float) -> SendBatch | None:  # noqa: ARG002 - nothing here
        return None

    def update(self, connection: Connection) -> None:
        """Nothing to do: everything that comes is for the one connection."""

    def forget(self, connection: Connection) -> None:
        """Nothing to do: the front ends with its connection."""

    def on_socket_error(self, error: OSError) -> None:
        if self._heard or self._outcome.done() or error.errno == errno.EMSGSIZE:
            return
        self._refusals += 1
        if self._refusals >= REFUSALS or error.errno in _NO_ROUTE:
            self._outcome.set_exception(UnreachableError(self._peer, error))


class _Gate:
    """Watches for the outcome of the handshake and passes everything on.

    An attempt that fails is none of the application's business: another address may follow.
    """

    def __init__(self, application: Application) -> None:
        self.application = application
        self.outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.offered: tuple[int, ...] = ()

    def on_event(self, connection: Connection, event: Event) -> None:
        if not self.outcome.done():
            match event:
                case HandshakeCompleted():
                    self.outcome.set_result(None)
                case VersionsOffered(versions):
                    self.offered = versions
                    return
                case ConnectionClosed():
                    self.outcome.set_exception(ConnectionLostError(event))
                    return
        elif self.outcome.exception() is not None:
            return
        self.application.on_event(connection, event)


@asynccontextmanager
async def open_client(
    host: str,
    port: int,
    *,
    application: Application,
    tls: TlsConfig,
    config: Config | None = None,
    server_name: str | None = None,
    keylog: Callable[[str], None] | None = None,
    gso: bool = True,
    gro: bool = True,
) -> AsyncIterator[tuple[Driver, Connection]]:
    """A connection whose events go straight to `application`: no tasks, no waiting, the fastest way.

    Gives the driver and the connection once the handshake is complete; leaving closes the connection.
    `application` first hears `HandshakeCompleted`. Arguments and exceptions are those of `connect`.
    """
    driver, connection = await _establish(
        host,
        port,
        application,
        config or Config(),
        {"tls": tls, "server_name": server_name or host, "keylog": keylog},
        gso=gso,
        gro=gro,
    )
    try:
        yield driver, connection
    finally:
        driver.close_all(0, "")
        driver.stop()


@asynccontextmanager
async def connect(
    host: str,
    port: int,
    *,
    tls: TlsConfig,
    config: Config | None = None,
    server_name: str | None = None,
    keylog: Callable[[str], None] | None = None,
    gso: bool = True,
    gro: bool = True,
) -> AsyncIterator[ClientConnection]:
    """Connect to a server; `async with connect(...) as connection`.

    Gives a connection whose handshake is complete, and closes it on leaving: wait with
    `Stream.wait_finished` for what the peer still has to get.

    Args:
        host: a name or a numeric address. All its addresses are tried, in the resolver's order.
        port: the server's UDP port.
        tls: ALPN, trust, cipher suites. Build it once and share it.
        config: transport settings.
        server_name: what the certificate must name, if that is not `host`.
        keylog: takes lines in the format of SSLKEYLOGFILE, without line ends.
        gso: use segmentation offload where the system has it.
        gro: use receive offload where the system has it.

    Raises:
        socket.gaierror: the name is unknown.
        UnreachableError: no address of the host can be reached.
        ConnectionLostError: the handshake failed or timed out; `closed` tells why.
    """
    application = _ClientApplication()
    async with open_client(
        host,
        port,
        application=application,
        tls=tls,
        config=config,
        server_name=server_name,
        keylog=keylog,
        gso=gso,
        gro=gro,
    ) as (driver, connection):
        yield application.attach(driver, connection)


class _ClientApplication:
    """Passes the events to the connection object, which exists only when the handshake is complete."""

    def __init__(self) -> None:
        self._connection: ClientConnection | None = None
        self._early: list[Event] = []

    def attach(self, driver: Driver, connection: Connection) -> ClientConnection:
        self._connection = ClientConnection(driver, connection, is_client=True)
        for event in self._early:
            self._connection.handle(event)
        return self._connection

    def on_event(self, connection: Connection, event: Event) -> None:  # noqa: ARG002 - Application
        if self._connection is None:
            self._early.append(event)
        else:
            self._connection.handle(event)


async def _establish(
    host: str,
    port: int,
    application: Application,
    config: Config,
    options: dict[str, Any],
    *,
    gso: bool,
    gro: bool,
) -> tuple[Driver, Connection]:
    """Try the addresses of `host` one after the other; the error of the last one if none answers."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    failure: Exception | None = None
    for family, _, _, _, peer in found:
        try:
            return await _negotiate(
                partial(UdpSocket.for_family, family, gso=gso, gro=gro),
                peer,
                application,
                config,
                options,
            )
        except UnreachableError as error:
            failure = error
        except ConnectionLostError as error:
            if error.closed.kind != "handshake_timeout":
                raise
            failure = error
    assert failure is not None, "getaddrinfo returns at least one address or raises"
    raise failure


async def _negotiate(
    make_socket: Callable[[], UdpSocket],
    peer: Address,
    application: Application,
    config: Config,
    options: dict[str, Any],
) -> tuple[Driver, Connection]:
    """Connect to `peer`, a second time in another version if it asks for that (RFC 9368 §2.1)."""
    gate = _Gate(application)
    try:
        return await _attempt(make_socket, peer, gate, config, options)
    except ConnectionLostError:
        version = choose_version(config.versions, gate.offered)
        if version is None:
            raise
        again = replace(config, initial_version=version)
        options = options | {"reacted_to_version_negotiation": True}
        return await _attempt(make_socket, peer, _Gate(application), again, options)


async def _attempt(
    make_socket: Callable[[], UdpSocket],
    peer: Address,
    gate: _Gate,
    config: Config,
    options: dict[str, Any],
) -> tuple[Driver, Connection]:
    """One connection from the first datagram to the end of the handshake."""
    try:
        udp = make_socket()
    except OSError as error:  # a system without this family
        raise UnreachableError(peer, error) from error
    loop = asyncio.get_running_loop()
    connection = Connection.client(
        replace(config, receive_buffer_size=udp.receive_buffer_size),
        peer=peer,
        random=os.urandom,
        wall_time=time.time,
        now=loop.time(),
        **options,
    )
    driver = Driver(udp, _ClientFront(connection, peer, gate.outcome), gate)
    driver.start()
    driver.touch(connection)
    try:
        await gate.outcome
    except (UnreachableError, ConnectionLostError):
        # The close, if it was ours, has gone out in the turn that reported it.
        driver.stop()
        raise
    except BaseException:
        driver.close_all(0, "")
        driver.stop()
        raise
    driver.application = gate.application
    return driver, connection
