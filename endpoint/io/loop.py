"""The asyncio driver: a socket (or some), a timer, any number of connections.

A turn of the event loop reads some batches, hands the events to the application, and sends what the
touched connections have to say. Nothing here happens per packet, and no task or future is made per batch:
an `Application` is called directly. The objects of `endpoint.io.streams` are one such application.

The event loop has to watch descriptors (`add_reader`). On Windows that is the selector event loop:
`asyncio.run(main(), loop_factory=asyncio.SelectorEventLoop)` where Python offers it, else the selector
policy; the default one there can't.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from endpoint.batch import PacketBuffer, RecvBatch, SendBatch
from endpoint.errors import TransportErrorCode
from endpoint.events import ConnectionClosed, Event
from endpoint.io.sockets import Sockets
from endpoint.io.udp import UdpSocket

if TYPE_CHECKING:
    from endpoint.transport.connection import Connection

# Batches read before the connections get their turn: at 64 KiB each some 0.5 ms of work, so that
# acknowledgements keep flowing while the socket never runs dry.
READ_LIMIT = 8
# Batches one connection may send before the next has its turn.
SEND_LIMIT = 8
# Events of one connection told at once, and how many are much work: ACKs and what an application answers then
# leave before the next are told or read. A peer that works on the first answers while we make the next costs
# both less time than turns would.
EVENT_LIMIT = 32
MANY_EVENTS = 16
# Batches sent in all before the socket is looked at again.
TURN_LIMIT = 64


class Application(Protocol):
    """What a driver tells of its connections. Called in the event loop; must not block."""

    def on_event(self, connection: "Connection", event: Event) -> None:
        """`event` happened. Commands given to `connection` in here need no `Driver.touch`."""


@runtime_checkable
class BatchApplication(Protocol):
    """An `Application` that rather hears of all that a batch of datagrams brought about at once."""

    def on_events(self, connection: "Connection", events: Sequence[Event]) -> None:
        """`events`, of which there are some, happened in this order."""


TellAll: TypeAlias = "Callable[[Connection, Sequence[Event]], None]"


def teller(application: Application) -> TellAll:
    """How to tell `application` of some events: at once if it can, else one by one."""
    if isinstance(application, BatchApplication):
        return application.on_events

    def one_by_one(connection: "Connection", events: Sequence[Event]) -> None:
        for event in events:
            application.on_event(connection, event)

    return one_by_one


class Front(Protocol):
    """Where datagrams go: a single connection, or a listener that has many."""

    def receive(self, batch: RecvBatch, now: float) -> Iterable["Connection"]:
        """Process datagrams; the connections that took some."""

    def transmit(self, buffer: PacketBuffer, now: float) -> SendBatch | None:
        """The next datagrams that belong to no connection."""

    def update(self, connection: "Connection") -> None:
        """`connection` has worked: its connection IDs may have changed."""

    def forget(self, connection: "Connection") -> None:
        """`connection` is closed and has nothing more to send or to wait for."""

    def on_socket_error(self, error: OSError) -> None:
        """The system reported trouble with an earlier datagram, or refused one."""


class _Entry:
    """What the driver knows of a connection. `deadline` is the one that stands in the heap."""

    __slots__ = ("connection", "deadline", "ended", "failed", "heard", "ready")

    def __init__(self, connection: "Connection") -> None:
        self.connection = connection
        self.deadline: float | None = None
        self.ready = False
        self.heard = False
        self.failed = False
        self.ended = False


class Driver:
    """Runs a `Front` and its connections on a socket in the running event loop, from `start` to `stop`."""

    __slots__ = (
        "_application",
        "_armed",
        "_blocked",
        "_entries",
        "_errors_seen",
        "_heap",
        "_loop",
        "_pushes",
        "_ready",
        "_receive_buffer",
        "_scheduled",
        "_send_buffer",
        "_sockets",
        "_stopped",
        "_tell_all",
        "_timer",
        "front",
        "udp",
    )

    def __init__(self, udp: UdpSocket, front: Front, application: Application) -> None:
        """Needs a running event loop. `udp` is closed by `stop`."""
        self.udp = udp
        self._sockets = Sockets(udp)
        self.front = front
        self.application = application
        self._loop = asyncio.get_running_loop()
        # One pair for all connections: their views are what makes batches cheap, and there are many.
        self._receive_buffer = PacketBuffer()
        self._send_buffer = PacketBuffer()
        self._entries: dict[Connection, _Entry] = {}
        self._ready: deque[_Entry] = deque()
        # A deadline that moved later stays in the heap; it fires early and is looked up again.
        self._heap: list[tuple[float, int, _Entry]] = []
        self._pushes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._armed: float | None = None
        self._scheduled = False
        self._blocked: SendBatch | None = None
        self._errors_seen = 0
        self._stopped = False

    @property
    def application(self) -> Application:
        """Who is told of events; may change at any time."""
        return self._application

    @application.setter
    def application(self, application: Application) -> None:
        self._application = application
        self._tell_all = application.on_events if isinstance(application, BatchApplication) else None

    @property
    def now(self) -> float:
        """The clock that everything in here runs on."""
        return self._loop.time()

    @property
    def connections(self) -> list["Connection"]:
        """All that have not been forgotten yet."""
        return list(self._entries)

    @property
    def pending_deadlines(self) -> int:
        """How many deadlines are kept, overtaken ones included: a measure of memory."""
        return len(self._heap)

    def start(self) -> None:
        """Begin to read from the socket."""
        self._loop.add_reader(self.udp.fileno(), self._on_readable, self.udp)

    def add_socket(self, udp: UdpSocket) -> None:
        """Serve another local address too; `stop` closes `udp`. After `start`.

        A batch is sent from the socket that its `local` address belongs to.
        """
        given_up = self._sockets.add(udp)
        if given_up is not None:
            self._close_socket(given_up)
        self._loop.add_reader(udp.fileno(), self._on_readable, udp)

    def migrate(self, connection: "Connection", udp: UdpSocket) -> None:
        """Client: move `connection` to the address of `udp`, which is closed by `stop` or at once.

        Raises MigrationError where it may not move; see `Connection.migrate`.
        """
        try:
            connection.migrate(udp.address, self.now)
        except Exception:
            udp.close()
            raise
        self.add_socket(udp)
        self.touch(connection)

    def touch(self, connection: "Connection") -> None:
        """An application gave `connection` a command: let it send, in the next turn of the event loop."""
        self._mark(connection)
        self._schedule()

    def close_all(self, error_code: int, reason: str) -> None:
        """Close every connection and send their CONNECTION_CLOSE at once, as far as the socket takes them."""
        now = self.now
        for connection in self.connections:
            connection.close(error_code, reason, application=True, now=now)
            self._mark(connection)
        while self._ready and not self._is_blocked() and not self._stopped:
            self._send(now)

    def stop(self) -> None:
        """Leave the event loop and close the socket. Connections are dropped as they are.

        Applications that have not heard of the end of a connection hear of it now.
        """
        if self._stopped:
            return
        self._stopped = True
        for entry in list(self._entries.values()):
            self._end(entry, ConnectionClosed(0, 0, "stopped", application=True, remote=False))
        for udp in self._sockets:
            self._close_socket(udp)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close_socket(self, udp: UdpSocket) -> None:
        self._loop.remove_reader(udp.fileno())
        if self._loop.remove_writer(udp.fileno()):
            # What waited for it is lost with it.
            self._blocked = None
        udp.close()

    # -- turns of the event loop

    def _on_readable(self, udp: UdpSocket) -> None:
        if self._stopped or udp.fileno() < 0:
            return
        now = self._loop.time()
        for _ in range(READ_LIMIT):
            batch = self._sockets.receive(udp, self._receive_buffer)
            if batch is None:
                break
            now = self._loop.time()
            for connection in self._received(batch, now):
                entry = self._mark(connection)
                entry.heard = True
                # Now, not at the end: the data is still in the processor's cache, and the memory that it
                # takes is free again for the next batch. That is a factor of two for a large transfer.
                self._notify(entry)
        else:
            # More may wait, in the kernel or kept by the socket object: come back after the others.
            self._loop.call_soon(self._on_readable, udp)
        self._turn(now)

    def _on_timer(self) -> None:
        self._timer = self._armed = None
        now = self._loop.time()
        while self._heap and self._heap[0][0] <= now:
            deadline, _, entry = heapq.heappop(self._heap)
            if entry.deadline != deadline:
                continue  # an earlier one was pushed since, and has fired; or the connection is gone
            entry.deadline = None
            try:
                due = entry.connection.next_timeout()
                if due is None:
                    continue
                if due > now:
                    self._push(entry, due)
                    continue
                entry.connection.on_timeout(now)
            except Exception as error:  # noqa: BLE001 - a fault must not end the other connections
                self._fault(entry, error)
            self._enqueue(entry)
        self._turn(now)

    def _on_scheduled(self) -> None:
        self._scheduled = False
        if not self._stopped:
            self._turn(self._loop.time())

    def _on_writable(self) -> None:
        batch = self._blocked
        assert batch is not None
        udp = self._sockets.find(batch.local)
        if udp.send_batch(self._send_buffer, batch):
            self._blocked = None
            self._loop.remove_writer(udp.fileno())
            self._turn(self._loop.time())

    def _turn(self, now: float) -> None:
        self._send(now)
        if self.udp.error_count != self._errors_seen:
            self._errors_seen = self.udp.error_count
            assert self.udp.last_error is not None
            self.front.on_socket_error(self.udp.last_error)
        if self._stopped:
            return
        if self._ready and not self._is_blocked():
            self._schedule()
        self._arm()

    # -- connections

    def _received(self, batch: RecvBatch, now: float) -> Iterable["Connection"]:
        try:
            return self.front.receive(batch, now)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the other connections
            self._report("a batch could not be processed", error)
            return ()

    def _mark(self, connection: "Connection") -> _Entry:
        entry = self._entries.get(connection)
        if entry is None:
            entry = self._entries[connection] = _Entry(connection)
        self._enqueue(entry)
        return entry

    def _enqueue(self, entry: _Entry) -> None:
        if not entry.ready:
            entry.ready = True
            self._ready.append(entry)

    def _send(self, now: float) -> None:
        """Serve ready connections until they are content, the socket is full or the turn is over."""
        if self._is_blocked():
            return
        while (batch := self.front.transmit(self._send_buffer, now)) is not None:
            if not self._dispatch(batch):
                return
        budget = TURN_LIMIT
        ready = self._ready
        while ready and budget > 0:
            entry = ready.popleft()
            entry.ready = False
            if self._entries.get(entry.connection) is not entry:
                continue
            budget -= self._serve(entry, now)
            if self._is_blocked():
                self._enqueue(entry)
                return

    def _serve(self, entry: _Entry, now: float) -> int:
        """Events, then datagrams of one connection; the number of batches sent (at least 1, for the work)."""
        try:
            sent = self._exchange(entry, now)
            if entry.connection.is_closed:
                self._drop(entry)
                return sent
            self.front.update(entry.connection)
            due = entry.connection.next_timeout()
        except Exception as error:  # noqa: BLE001 - a fault must not end the other connections
            self._fault(entry, error)
            return 1
        if due is not None and (entry.deadline is None or due < entry.deadline):
            self._push(entry, due)
        return sent

    def _exchange(self, entry: _Entry, now: float) -> int:
        connection = entry.connection
        if entry.heard:
            entry.heard = False
            connection.on_socket_drained(now)
        self._deliver(entry)
        sent = 0
        while (batch := connection.transmit(self._send_buffer, now)) is not None:
            sent += 1
            if not self._dispatch(batch):
                break
            if sent == SEND_LIMIT:
                self._enqueue(entry)
                break
        # What sending brought about: seldom anything but the end.
        self._deliver(entry)
        return max(sent, 1)

    def _notify(self, entry: _Entry) -> None:
        try:
            self._deliver(entry)
        except Exception as error:  # noqa: BLE001 - a fault must not end the other connections
            self._fault(entry, error)

    def _deliver(self, entry: _Entry) -> None:
        connection = entry.connection
        if self._tell_all is not None:
            while events := connection.take_events():
                if events[-1].__class__ is ConnectionClosed:
                    entry.ended = True
                if len(events) < MANY_EVENTS:
                    self._tell_all(connection, events)
                    continue
                for start in range(0, len(events), EVENT_LIMIT):
                    self._tell_all(connection, events[start : start + EVENT_LIMIT])
                    self._send_some(connection)
            return
        while (event := connection.next_event()) is not None:
            if event.__class__ is ConnectionClosed:
                entry.ended = True
            self._application.on_event(connection, event)

    def _send_some(self, connection: "Connection") -> None:
        """Send what there is already, in between; its turn comes with the rest."""
        now = self._loop.time()
        connection.on_socket_drained(now)
        for _ in range(SEND_LIMIT):
            batch = None if self._is_blocked() else connection.transmit(self._send_buffer, now)
            if batch is None:
                return
            self._dispatch(batch)

    def _is_blocked(self) -> bool:
        """True while a batch waits in the send buffer for the socket: nothing else can use it."""
        return self._blocked is not None

    def _dispatch(self, batch: SendBatch) -> bool:
        udp = self._sockets.find(batch.local)
        if udp.send_batch(self._send_buffer, batch):
            return True
        self._blocked = batch
        self._loop.add_writer(udp.fileno(), self._on_writable)
        return False

    def _drop(self, entry: _Entry) -> None:
        self._entries.pop(entry.connection, None)
        entry.deadline = None
        self.front.forget(entry.connection)

    def _fault(self, entry: _Entry, error: Exception) -> None:
        """An application or the core raised what it should not have: show it, and end this connection."""
        connection, now = entry.connection, self.now
        self._report("a connection failed", error)
        if not entry.failed:
            entry.failed = True
            try:
                connection.close(TransportErrorCode.INTERNAL_ERROR, "", application=False, now=now)
            except Exception as again:  # noqa: BLE001 - reported; the connection is dropped instead
                self._report("a failed connection could not be closed", again)
            else:
                self._enqueue(entry)
                return
        self._drop(entry)
        code = TransportErrorCode.INTERNAL_ERROR
        self._end(entry, ConnectionClosed(code, 0, "internal error", application=False, remote=False))

    def _end(self, entry: _Entry, closed: ConnectionClosed) -> None:
        """Tell the application of an end that the core does not tell of."""
        if entry.ended:
            return
        entry.ended = True
        try:
            self.application.on_event(entry.connection, closed)
        except Exception as error:  # noqa: BLE001 - reported; there is nobody left to tell
            self._report("an application failed at the end of a connection", error)

    def _report(self, message: str, error: Exception) -> None:
        self._loop.call_exception_handler({"message": message, "exception": error})

    # -- the timer

    def _push(self, entry: _Entry, deadline: float) -> None:
        entry.deadline = deadline
        self._pushes += 1  # tells entries of equal deadlines apart, in order
        if len(self._heap) > 2 * len(self._entries) + 64:
            # Mostly deadlines that were overtaken, which would keep closed connections alive.
            self._heap = [item for item in self._heap if item[2].deadline == item[0]]
            heapq.heapify(self._heap)
        heapq.heappush(self._heap, (deadline, self._pushes, entry))

    def _arm(self) -> None:
        if not self._heap:
            return
        deadline = self._heap[0][0]
        if self._armed is None or deadline < self._armed:
            if self._timer is not None:
                self._timer.cancel()
            self._armed = deadline
            self._timer = self._loop.call_at(deadline, self._on_timer)

    def _schedule(self) -> None:
        if not self._scheduled and not self._stopped:
            self._scheduled = True
            self._loop.call_soon(self._on_scheduled)
