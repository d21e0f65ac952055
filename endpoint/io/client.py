"""Connecting to a server: names, addresses tried in turn, the handshake."""

import asyncio
import errno
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from endpoint.batch import Address, PacketBuffer, RecvBatch, SendBatch
from endpoint.config import Config
from endpoint.errors import ConnectionClosedError, TransportErrorCode
from endpoint.events import (
    ConnectionClosed,
    Event,
    HandshakeCompleted,
    NewTokenReceived,
    SessionReceived,
    VersionsOffered,
)
from endpoint.io.loop import Application, Driver, teller
from endpoint.io.sessions import Origin, SessionStore, SessionStoreError
from endpoint.io.streams import AsyncConnection, ConnectionLostError
from endpoint.io.udp import UdpSocket
from endpoint.tls.config import TlsConfig
from endpoint.tls.extensions import ip_address
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
    """A client's connection. Its handshake is complete, but with `early_data`: see `connect`."""

    def migrate(self, host: str = "", port: int = 0) -> None:
        """Move to another local address, as far as the server can be reached from there (RFC 9000 §9).

        Numeric `host` and `port`; by default the system chooses. Streams don't notice. What becomes of it
        is seen in `core.local`.

        Raises:
            MigrationError: the handshake is not confirmed, the server does not allow it or gave no
                connection IDs for it.
            OSError: the address is not ours.
        """
        migrate(self._driver, self._core, host, port)


def migrate(driver: Driver, connection: Connection, host: str = "", port: int = 0) -> None:
    """What `ClientConnection.migrate` does, for a connection made by `open_client`."""
    family = socket.AF_INET6 if ":" in connection.peer[0] else socket.AF_INET
    udp = UdpSocket.for_family(family, local=(host, port), gso=driver.udp.gso, gro=driver.udp.gro)
    driver.migrate(connection, udp)


class _ClientFront:
    """One connection, and an eye on whether the server can be reached at all."""

    def __init__(
        self, connection: Connection, peer: Address, give_up: Callable[[UnreachableError], None]
    ) -> None:
        """`give_up` is called, perhaps more than once, when the server can't be reached."""
        self._connection = connection
        self._peer = peer
        self._give_up = give_up
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
        if self._heard or error.errno == errno.EMSGSIZE:
            return
        self._refusals += 1
        if self._refusals >= REFUSALS or error.errno in _NO_ROUTE:
            self._give_up(UnreachableError(self._peer, error))


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
        elif self.outcome.cancelled() or self.outcome.exception() is not None:
            return
        self.application.on_event(connection, event)

    def give_up(self, error: UnreachableError) -> None:
        """No datagram reaches the server."""
        if not self.outcome.done():
            self.outcome.set_exception(error)


class _Keeper:
    """Puts what the server gives for the next visit into a store, and passes everything on."""

    def __init__(self, application: Application, store: SessionStore, origin: Origin) -> None:
        self._tell_all = teller(application)
        self._store = store
        self._origin = origin

    def on_event(self, connection: Connection, event: Event) -> None:
        self.on_events(connection, (event,))

    def on_events(self, connection: Connection, events: Sequence[Event]) -> None:
        for event in events:
            if event.__class__ is SessionReceived or event.__class__ is NewTokenReceived:
                try:
                    self._keep(connection, event)
                except SessionStoreError as error:
                    # The next connection takes a round trip more; this one has nothing to do with it.
                    asyncio.get_running_loop().call_exception_handler(
                        {"message": "a session could not be kept", "exception": error}
                    )
        self._tell_all(connection, events)

    def _keep(self, connection: Connection, event: Event) -> None:
        address = str(connection.peer[0])
        match event:
            case SessionReceived(session):
                self._store.add_session(self._origin, connection.version, session, address=address)
            case NewTokenReceived(token) if connection.alpn is not None:
                self._store.add_token(
                    self._origin, connection.alpn, connection.version, token, address=address
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What all attempts to connect have in common; see `connect`."""

    origin: Origin
    application: Application
    tls: TlsConfig
    config: Config
    keylog: Callable[[str], None] | None
    gso: bool
    gro: bool
    store: SessionStore | None
    early_data: bool
    # Where the server was last time, "" if not known.
    known_address: str

    def make_connection(self, config: Config, peer: Address, now: float, *, reacted: bool) -> Connection:
        """The connection of one attempt, which takes a session and a token. Raises SessionStoreError."""
        session, token = None, b""
        if self.store is not None:
            wanted = self.origin, self.tls.alpn_protocols, config.initial_version
            session, token = self.store.take_session(*wanted), self.store.take_token(*wanted)
        # Data that goes out early can't go to the next address when this one does not answer: so only to
        # the one that did answer.
        early = self.early_data and peer[0] == self.known_address
        return Connection.client(
            config,
            self.tls if self.tls.early_data is early else replace(self.tls, early_data=early),
            peer=peer,
            server_name=self.origin.server_name,
            random=os.urandom,
            wall_time=time.time,
            now=now,
            keylog=self.keylog,
            reacted_to_version_negotiation=reacted,
            session=session,
            token=token,
        )


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
    store: SessionStore | None = None,
    early_data: bool = False,
) -> AsyncIterator[tuple[Driver, Connection]]:
    """A connection whose events go straight to `application`: no tasks, no waiting, the fastest way.

    Gives the driver and the connection once the handshake is complete; leaving closes the connection.
    `application` first hears `HandshakeCompleted`. With `early_data` both may come earlier: where
    `Connection.sends_early_data` is true, streams can be written at once, before anything is awaited best.
    Arguments and exceptions are those of `connect`.
    """
    origin = Origin(host, port, server_name or host)
    driver, connection = await _establish(
        _Plan(
            origin=origin,
            application=application if store is None else _Keeper(application, store, origin),
            tls=tls,
            config=config or Config(),
            keylog=keylog,
            gso=gso,
            gro=gro,
            store=store,
            early_data=early_data,
            known_address="" if store is None else store.last_address(origin),
        )
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
    store: SessionStore | None = None,
    early_data: bool = False,
) -> AsyncIterator[ClientConnection]:
    """Connect to a server; `async with connect(...) as connection`.

    Gives a connection whose handshake is complete, and closes it on leaving: wait with
    `Stream.wait_finished` for what the peer still has to get.

    With a `store` the connection resumes an earlier one where it can, and tries the address of that first.
    With `early_data` on top, and a session that allows it, it is given before the handshake
    (`connection.early`): what is written then goes out at once, as 0-RTT data. An observer can make the
    server see such data again, so send only what is safe to repeat, or `wait_handshake` first. What the
    server refuses is sent again by itself. A handshake that fails after all then ends the connection,
    instead of raising here.

    Args:
        host: a name or a numeric address. All its addresses are tried, in the resolver's order.
        port: the server's UDP port.
        tls: ALPN, trust, cipher suites. Build it once and share it.
        config: transport settings.
        server_name: what the certificate must name, if that is not `host`.
        keylog: takes lines in the format of SSLKEYLOGFILE, without line ends.
        gso: use segmentation offload where the system has it.
        gro: use receive offload where the system has it.
        store: where sessions and tokens come from, and new ones go to.
        early_data: send 0-RTT data where the session allows it.

    Raises:
        socket.gaierror: the name is unknown.
        SessionStoreError: the file of `store` can't be used.
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
        store=store,
        early_data=early_data,
    ) as (driver, connection):
        yield application.attach(driver, connection)


class _ClientApplication:
    """Passes the events to the connection object, which comes into being a moment later."""

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


async def _establish(plan: _Plan) -> tuple[Driver, Connection]:
    """Try the addresses of the host one after the other; the error of the last one if none answers."""
    origin = plan.origin
    found = await _resolve(origin.host, origin.port)
    found.sort(key=lambda each: each[4][0] != plan.known_address)
    failure: Exception | None = None
    for family, _, _, _, peer in found:
        make_socket = partial(UdpSocket.for_family, family, gso=plan.gso, gro=plan.gro)
        try:
            return await _negotiate(plan, make_socket, peer)
        except UnreachableError as error:
            failure = error
        except ConnectionLostError as error:
            if error.closed.kind != "handshake_timeout":
                raise
            failure = error
    assert failure is not None, "getaddrinfo returns at least one address or raises"
    raise failure


async def _resolve(host: str, port: int) -> list[tuple[Any, ...]]:
    """What getaddrinfo says about a name or a numeric address. Raises socket.gaierror."""
    # What needs no name server is answered at once: a helper thread costs ten times as much. RFC 6761 §6.3
    # keeps localhost names from being asked of one.
    if ip_address(host) is not None or host == "localhost":
        return socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    try:
        return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except UnicodeError as error:  # a label that is empty or too long
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error


async def _negotiate(
    plan: _Plan, make_socket: Callable[[], UdpSocket], peer: Address
) -> tuple[Driver, Connection]:
    """Connect to `peer`, a second time in another version if it asks for that (RFC 9368 §2.1)."""
    gate = _Gate(plan.application)
    try:
        return await _attempt(plan, plan.config, make_socket, peer, gate)
    except ConnectionLostError:
        version = choose_version(plan.config.versions, gate.offered)
        if version is None:
            raise
        again = replace(plan.config, initial_version=version)
        return await _attempt(plan, again, make_socket, peer, _Gate(plan.application), reacted=True)


async def _attempt(
    plan: _Plan,
    config: Config,
    make_socket: Callable[[], UdpSocket],
    peer: Address,
    gate: _Gate,
    *,
    reacted: bool = False,
) -> tuple[Driver, Connection]:
    """One connection from the first datagram to the end of the handshake, or until 0-RTT data can go."""
    try:
        udp = make_socket()
    except OSError as error:  # a system without this family
        raise UnreachableError(peer, error) from error
    try:
        now = asyncio.get_running_loop().time()
        connection = plan.make_connection(udp.complete(config), peer, now, reacted=reacted)
    except BaseException:
        udp.close()
        raise
    if connection.sends_early_data:
        return _start_early(plan, udp, connection, peer)
    driver = Driver(udp, _ClientFront(connection, peer, gate.give_up), gate)
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


def _start_early(
    plan: _Plan, udp: UdpSocket, connection: Connection, peer: Address
) -> tuple[Driver, Connection]:
    """Hand the connection over at once. Nothing goes out before the caller waits for something."""

    def give_up(error: UnreachableError) -> None:
        connection.close(TransportErrorCode.NO_ERROR, str(error), application=False, now=driver.now)
        driver.touch(connection)

    driver = Driver(udp, _ClientFront(connection, peer, give_up), plan.application)
    driver.start()
    driver.touch(connection)
    return driver, connection
