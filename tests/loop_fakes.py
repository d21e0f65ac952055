"""What a driver is made of, in the hands of a test: socket, connections, application."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast

from endpoint.batch import PacketBuffer, RecvBatch, SendBatch
from endpoint.events import Event
from endpoint.io.loop import Driver
from endpoint.io.udp import UdpSocket

ANYWHERE = ("127.0.0.1", 9)


class FakeConnection:
    """A connection of the core as the driver sees it: it answers what the test put in."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log
        self.to_send = 0
        self.events: deque[Event] = deque()
        self.deadline: float | None = None
        self.is_closed = False
        self.raises: Exception | None = None
        self.timeout_raises: Exception | None = None
        self.timeouts: list[float] = []
        self.on_close: Callable[[], None] = lambda: None
        self.on_receive: Callable[[], None] = lambda: None

    def receive(self, batch: RecvBatch, _now: float) -> None:
        self.log.append(f"{self.name} receives {batch.length}")
        self.on_receive()

    def on_socket_drained(self, _now: float) -> None:
        self.log.append(f"{self.name} drained")

    def on_timeout(self, now: float) -> None:
        self.timeouts.append(now)
        self.deadline = None
        if self.timeout_raises is not None:
            raise self.timeout_raises

    def next_timeout(self) -> float | None:
        return self.deadline

    def next_event(self) -> Event | None:
        if self.raises is not None:
            raise self.raises
        return self.events.popleft() if self.events else None

    def take_events(self) -> list[Event]:
        taken = list(self.events)
        self.events.clear()
        return taken

    def transmit(self, _buffer: PacketBuffer, _now: float) -> SendBatch | None:
        if not self.to_send:
            return None
        self.to_send -= 1
        self.log.append(f"{self.name} sends")
        return SendBatch(10, 10, ANYWHERE, None, 0)

    def close(self, _code: int, _reason: str, *, application: bool, now: float) -> None:  # noqa: ARG002
        self.log.append(f"{self.name} closes")
        self.to_send = 1
        self.on_close()


class FakeUdp:
    """Batches to be read, and sends that may block, on a real descriptor that is readable when told."""

    def __init__(self) -> None:
        self.real = UdpSocket.bind("127.0.0.1", 0)
        self.batches: deque[RecvBatch] = deque()
        self.blocked = 0
        self.sent = 0
        self.error_count = 0
        self.last_error: OSError | None = None

    def fileno(self) -> int:
        return self.real.fileno()

    def close(self) -> None:
        self.real.close()

    def wake(self) -> None:
        buffer = PacketBuffer()
        self.real.send_batch(buffer, SendBatch(1, 1, self.real.address, None, 0))

    def recv_batch(self, buffer: PacketBuffer) -> RecvBatch | None:
        if self.batches:
            return self.batches.popleft()
        self.real.recv_batch(buffer)
        return None

    def send_batch(self, _buffer: PacketBuffer, _batch: SendBatch) -> bool:
        if self.blocked:
            self.blocked -= 1
            return False
        self.sent += 1
        return True


class FakeFront:
    """Hands every batch to the connection whose turn it is."""

    def __init__(self, *connections: FakeConnection) -> None:
        self.order = deque(connections)
        self.stateless = 0
        self.forgotten: list[FakeConnection] = []
        self.errors: list[OSError] = []
        self.raises: Exception | None = None

    def receive(self, batch: RecvBatch, now: float) -> Iterable[Any]:
        if self.raises is not None:
            raise self.raises
        self.order.rotate(-1)
        self.order[-1].receive(batch, now)
        return (self.order[-1],)

    def transmit(self, _buffer: PacketBuffer, _now: float) -> SendBatch | None:
        if not self.stateless:
            return None
        self.stateless -= 1
        return SendBatch(5, 5, ANYWHERE, None, 0)

    def update(self, connection: Any) -> None:
        """Nothing that a test looks at."""

    def forget(self, connection: Any) -> None:
        self.forgotten.append(connection)

    def on_socket_error(self, error: OSError) -> None:
        self.errors.append(error)


class Recorder:
    """An application that notes its events, or raises."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Event]] = []
        self.raises: Exception | None = None

    def on_event(self, connection: Any, event: Event) -> None:
        self.events.append((connection.name, event))
        if self.raises is not None:
            raise self.raises


class Setup:
    """A driver over fakes."""

    def __init__(self, *names: str) -> None:
        self.log: list[str] = []
        self.connections = [FakeConnection(name, self.log) for name in names or ("a",)]
        self.front = FakeFront(*self.connections)
        self.udp = FakeUdp()
        self.application = Recorder()
        self.driver = Driver(cast("Any", self.udp), self.front, self.application)
        self.faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: self.faults.append(context))
        self.driver.start()

    def touch(self, *indexes: int) -> None:
        for i in indexes or (0,):
            self.driver.touch(cast("Any", self.connections[i]))


@asynccontextmanager
async def running(*names: str) -> AsyncIterator[Setup]:
    setup = Setup(*names)
    try:
        yield setup
    finally:
        setup.driver.stop()


def batch(length: int = 100) -> RecvBatch:
    return RecvBatch(PacketBuffer(64), length, length, ANYWHERE, None, 0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(2):
        while not condition():  # noqa: ASYNC110 - the fakes have no event to wait for
            await asyncio.sleep(0.001)


def run(scenario: Callable[[], Any]) -> None:
    asyncio.run(scenario())
