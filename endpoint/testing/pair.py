"""A client and a server in virtual time.

`Pair.run` does what a driver does: hand over what arrived, say that the socket is drained, let timers
fire, send until there is nothing more to send; then it jumps to the next moment at which anything can
happen. No socket, no clock, no sleep.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from endpoint.batch import MAX_SEGMENTS, Address, PacketBuffer, RecvBatch, SendBatch
from endpoint.errors import InterquicError
from endpoint.events import Event
from endpoint.listener import Listener
from endpoint.testing.link import CLIENT_ADDRESS, SERVER_ADDRESS, Datagram, Network
from endpoint.transport.connection import Connection

# Steps at one and the same moment after which the run is stuck: a timer that is due but never fires, or
# an endpoint that never stops sending. A real burst needs a few dozen.
MAX_STEPS_AT_ONCE = 2_000


class SimulationError(InterquicError):
    """The simulated endpoints make no progress."""


class Application(Protocol):
    """What runs on top of a connection, without I/O of its own."""

    def on_event(self, connection: Connection, event: Event, now: float) -> None:
        """The connection has something to tell."""

    def next_timeout(self) -> float | None:
        """When `on_timeout` is wanted; None for never."""

    def on_timeout(self, connection: Connection, now: float) -> None:
        """The time has come."""


@runtime_checkable
class BatchApplication(Protocol):
    """An application that hears of all that happened at once, see `endpoint.io.loop.BatchApplication`."""

    def on_events(self, connection: Connection, events: Sequence[Event], now: float) -> None:
        """The connection has something to tell."""


class Idle:
    """An application that does nothing."""

    def on_event(self, connection: Connection, event: Event, now: float) -> None:
        """Ignore it."""

    def next_timeout(self) -> float | None:
        """Never."""
        return None

    def on_timeout(self, connection: Connection, now: float) -> None:
        """Never called."""


def seeded_bytes(seed: int) -> Callable[[int], bytes]:
    """Randomness for an endpoint under test: repeatable, so never for anything else."""
    return random.Random(seed).randbytes  # noqa: S311


def split(batch: SendBatch, buffer: PacketBuffer, source: Address) -> Iterator[Datagram]:
    """The datagrams of a batch."""
    for start, end in batch.bounds():
        yield Datagram(bytes(buffer.view[start:end]), source, batch.peer, batch.ecn)


def gather(datagrams: list[Datagram], limit: int, buffer: PacketBuffer) -> Iterator[RecvBatch]:
    """Runs of equal datagrams as receive offload makes them; each is valid until the next is taken."""
    start = 0
    while start < len(datagrams):
        first, end, total = datagrams[start], start + 1, len(datagrams[start].data)
        while end < len(datagrams) and end - start < limit:
            after = datagrams[end]
            fits = len(after.data) <= len(first.data) and total + len(after.data) <= len(buffer.data)
            same = (after.source, after.destination, after.ecn) == (
                first.source,
                first.destination,
                first.ecn,
            )
            if not fits or not same:
                break
            total += len(after.data)
            end += 1
            if len(after.data) < len(first.data):
                break
        run = [datagram.data for datagram in datagrams[start:end]]
        yield RecvBatch.of(run, first.source, first.destination, first.ecn, buffer=buffer)
        start = end


class End:
    """One connection with its application and the events it has told so far."""

    __slots__ = ("_tell_all", "application", "connection", "events")

    def __init__(self, connection: Connection, application: Application) -> None:
        self.connection = connection
        self.application = application
        self._tell_all = application.on_events if isinstance(application, BatchApplication) else None
        self.events: list[Event] = []

    def next_timeout(self) -> float | None:
        times = (self.connection.next_timeout(), self.application.next_timeout())
        return min((time for time in times if time is not None), default=None)

    def on_timeout(self, now: float) -> None:
        """Fire what is due."""
        due = self.connection.next_timeout()
        if due is not None and due <= now:
            self.connection.on_timeout(now)
        due = self.application.next_timeout()
        if due is not None and due <= now:
            self.application.on_timeout(self.connection, now)

    def drain_events(self, now: float) -> None:
        while self._tell_all is not None and (events := self.connection.take_events()):
            self.events += events
            self._tell_all(self.connection, events, now)
        while (event := self.connection.next_event()) is not None:
            self.events.append(event)
            self.application.on_event(self.connection, event, now)


class Pair:
    """A client connection, a listener, and the network between them.

    `server_application` is called once per accepted connection. `batch_limit` is how many datagrams a
    receive call may hand over at most (1: no receive offload). `client` and `servers` are the ends;
    `servers` keeps closed connections too, in the order they were accepted.
    """

    def __init__(
        self,
        client: Connection,
        listener: Listener,
        network: Network,
        *,
        client_application: Application | None = None,
        server_application: Callable[[], Application] = Idle,
        batch_limit: int = MAX_SEGMENTS,
    ) -> None:
        self.now = 0.0
        self.client = End(client, client_application or Idle())
        self.servers: list[End] = []
        self.listener = listener
        self.network = network
        self._server_application = server_application
        self._batch_limit = batch_limit
        self._receive_buffer = PacketBuffer()
        self._send_buffer = PacketBuffer()
        self._live: list[End] = []

    @property
    def server(self) -> End:
        """The first connection the listener accepted."""
        return self.servers[0]

    def restart(self, listener: Listener) -> None:
        """The server's process is killed, and another takes its place."""
        self.listener = listener
        self._live.clear()

    def run(self, until: Callable[[], bool] | None = None, *, deadline: float) -> bool:
        """Run until the condition holds, nothing is left to happen, or virtual time reaches `deadline`.

        Returns whether the condition holds (True for no condition). Raises `SimulationError` when the
        endpoints keep each other or themselves busy without time moving on.
        """
        steps = 0
        while True:
            self._step()
            if until is not None and until():
                return True
            time = self._next_time()
            if time is None or time > deadline:
                self.now = max(self.now, deadline) if time is not None else self.now
                return until is None
            steps = steps + 1 if time <= self.now else 0
            if steps > MAX_STEPS_AT_ONCE:
                raise SimulationError(f"no progress at {self.now:.6f} s")
            self.now = max(self.now, time)

    def _next_time(self) -> float | None:
        ends = [self.client, *self._live]
        times = [self.network.next_arrival(), *(end.next_timeout() for end in ends)]
        return min((time for time in times if time is not None), default=None)

    def _step(self) -> None:
        """Everything that is due at this moment, in a driver's order."""
        now = self.now
        self._client_receives(now)
        self._server_receives(now)
        for end in (self.client, *self._live):
            end.on_timeout(now)
            end.drain_events(now)
        self._client_sends(now)
        self._server_sends(now)
        # Sending changes what can be told (a stream has room again), and telling what can be sent;
        # the next step, at the same moment if need be, goes on from there.
        for end in (self.client, *self._live):
            end.drain_events(now)
        self._client_sends(now)
        self._server_sends(now)
        for end in self._live:
            self.listener.update(end.connection)
        for end in [end for end in self._live if end.connection.is_closed]:
            self.listener.forget(end.connection)
            self._live.remove(end)

    def _client_receives(self, now: float) -> None:
        arrived = self.network.at_client(now)
        for batch in gather(arrived, self._batch_limit, self._receive_buffer):
            self.client.connection.receive(batch, now)
        if arrived:
            self.client.connection.on_socket_drained(now)

    def _server_receives(self, now: float) -> None:
        touched: dict[int, Connection] = {}
        for batch in gather(self.network.at_server(now), self._batch_limit, self._receive_buffer):
            touched |= {id(connection): connection for connection in self.listener.receive(batch, now)}
        for connection in touched.values():
            connection.on_socket_drained(now)
        while (accepted := self.listener.accept()) is not None:
            end = End(accepted, self._server_application())
            self.servers.append(end)
            self._live.append(end)

    def _client_sends(self, now: float) -> None:
        connection = self.client.connection
        while (batch := connection.transmit(self._send_buffer, now)) is not None:
            for datagram in split(batch, self._send_buffer, batch.local or CLIENT_ADDRESS):
                self.network.client_sends(datagram, now)

    def _server_sends(self, now: float) -> None:
        senders: list[Listener | Connection] = [self.listener, *(end.connection for end in self._live)]
        for sender in senders:
            while (batch := sender.transmit(self._send_buffer, now)) is not None:
                for datagram in split(batch, self._send_buffer, batch.local or SERVER_ADDRESS):
                    self.network.server_sends(datagram, now)
