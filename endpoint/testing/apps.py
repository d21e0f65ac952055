"""Applications for simulations: a server that makes up content, a client that checks it.

The content of every resource is one endless pattern, so any part of it can be checked where it lies.
A request is `GET /N` and a line end, then as many bytes of the same pattern as the client uploads.
"""

import random
from collections import deque
from dataclasses import dataclass, field

from endpoint.events import (
    ConnectionClosed,
    Event,
    HandshakeCompleted,
    StreamReadable,
    StreamReceived,
    StreamsAvailable,
    StreamWritable,
)
from endpoint.testing.pair import Idle
from endpoint.transport.connection import Connection

# A prime, so that a block moved by a packet or a power of two never looks right by chance.
PERIOD = 65_521
_PATTERN = random.Random(0).randbytes(PERIOD) * 2  # noqa: S311 - content, not a secret

READ_SIZE = 1 << 20


def content(offset: int, length: int) -> bytes:
    """Bytes `offset` to `offset + length` of the pattern."""
    start = offset % PERIOD
    if length <= PERIOD:
        return _PATTERN[start : start + length]
    whole = (_PATTERN * (length // PERIOD + 1))[start : start + length]
    return bytes(whole)


@dataclass(slots=True)
class _Sending:
    """What is still to be written on a stream: `head`, then the pattern up to `size`."""

    head: bytes
    size: int
    sent: int = 0

    def write(self, connection: Connection, stream_id: int) -> bool:
        """Write what the stream takes; True when all of it and the end are written."""
        while True:
            head = len(self.head)
            if self.sent < head:
                data = self.head[self.sent :] + content(0, min(self.size, PERIOD))
            else:
                done = self.sent - head
                data = content(done, min(self.size - done, PERIOD))
            last = self.sent + len(data) == head + self.size
            accepted = connection.write(stream_id, data, fin=last)
            self.sent += accepted
            if accepted < len(data):
                return False
            if last:
                return True


@dataclass(slots=True)
class ContentServer(Idle):
    """Answers every request with the size it asks for."""

    requests: int = 0
    uploaded_bytes: int = 0
    damaged: bool = False
    _heads: dict[int, bytes] = field(default_factory=dict)
    _bodies: dict[int, int] = field(default_factory=dict)
    _sending: dict[int, _Sending] = field(default_factory=dict)

    def on_event(self, connection: Connection, event: Event, now: float) -> None:  # noqa: ARG002 - Application
        if isinstance(event, StreamReadable):
            self._read(connection, event.stream_id)
        elif isinstance(event, StreamReceived):
            self._take(event.stream_id, event.data)
            self._answer(connection, event.stream_id)
        elif isinstance(event, StreamWritable) and event.stream_id in self._sending:
            self._write(connection, event.stream_id)

    def _read(self, connection: Connection, stream_id: int) -> None:
        while True:
            data, fin = connection.read(stream_id, READ_SIZE)
            self._take(stream_id, bytes(data))
            if fin:
                self._answer(connection, stream_id)
            if fin or not data:
                return

    def _take(self, stream_id: int, data: bytes) -> None:
        offset = self._bodies.get(stream_id)
        if offset is None:
            head, line_end, data = (self._heads.pop(stream_id, b"") + data).partition(b"\n")
            self._heads[stream_id] = head
            if not line_end:
                return
            offset = 0
        self.damaged |= data != content(offset, len(data))
        self._bodies[stream_id] = offset + len(data)

    def _answer(self, connection: Connection, stream_id: int) -> None:
        self.requests += 1
        self.uploaded_bytes += self._bodies.pop(stream_id, 0)
        size = int(self._heads.pop(stream_id).split(b"/")[1])
        self._sending[stream_id] = _Sending(b"", size)
        self._write(connection, stream_id)

    def _write(self, connection: Connection, stream_id: int) -> None:
        if self._sending[stream_id].write(connection, stream_id):
            del self._sending[stream_id]


@dataclass(slots=True, kw_only=True)
class Download(Idle):
    """Requests resources of the given sizes on streams of their own, as the stream limit allows.

    `upload` is the number of bytes sent with each request. With `read_interval` (seconds) the client is
    a slow reader: it takes at most `read_size` bytes of each stream every so often, and nothing between.
    """

    sizes: list[int]
    upload: int = 0
    read_interval: float | None = None
    read_size: int = READ_SIZE
    started_at: float | None = None
    finished_at: float | None = None
    received_bytes: int = 0
    damaged: bool = False
    failure: str = ""
    completed: int = 0
    _waiting: deque[int] = field(init=False)
    _expected: dict[int, int] = field(default_factory=dict)
    _received: dict[int, int] = field(default_factory=dict)
    _sending: dict[int, _Sending] = field(default_factory=dict)
    _readable: set[int] = field(default_factory=set)
    _next_read: float | None = None

    def __post_init__(self) -> None:
        self._waiting = deque(self.sizes)

    @property
    def done(self) -> bool:
        """Everything is there, and it is what the server sent."""
        return self.finished_at is not None and not self.damaged

    @property
    def seconds(self) -> float:
        """From the first request to the end of the last answer."""
        assert self.started_at is not None
        assert self.finished_at is not None
        return self.finished_at - self.started_at

    def on_event(self, connection: Connection, event: Event, now: float) -> None:
        if isinstance(event, HandshakeCompleted):
            self.started_at = now
            self._request(connection)
        elif isinstance(event, StreamsAvailable):
            self._request(connection)
        elif isinstance(event, StreamWritable) and event.stream_id in self._sending:
            self._write(connection, event.stream_id)
        elif isinstance(event, StreamReadable):
            if self.read_interval is None:
                self._read(connection, event.stream_id, now)
            else:
                self._readable.add(event.stream_id)
                self._next_read = self._next_read or now + self.read_interval
        elif isinstance(event, StreamReceived):
            self._take(connection, event.stream_id, event.data, fin=True, now=now)
        elif isinstance(event, ConnectionClosed) and not self.done:
            self.failure = repr(event)

    def next_timeout(self) -> float | None:
        return self._next_read

    def on_timeout(self, connection: Connection, now: float) -> None:
        assert self.read_interval is not None
        for stream_id in sorted(self._readable):
            if not self._read_once(connection, stream_id, now):
                self._readable.discard(stream_id)
        self._next_read = now + self.read_interval if self._readable else None

    def _request(self, connection: Connection) -> None:
        while self._waiting and connection.can_open_stream():
            size = self._waiting.popleft()
            stream_id = connection.open_stream()
            self._expected[stream_id], self._received[stream_id] = size, 0
            self._sending[stream_id] = _Sending(b"GET /%d\r\n" % size, self.upload)
            self._write(connection, stream_id)

    def _write(self, connection: Connection, stream_id: int) -> None:
        if self._sending[stream_id].write(connection, stream_id):
            del self._sending[stream_id]

    def _read(self, connection: Connection, stream_id: int, now: float) -> None:
        while self._read_once(connection, stream_id, now):
            pass

    def _read_once(self, connection: Connection, stream_id: int, now: float) -> bool:
        """Read once; False when there is nothing more for now, or ever."""
        data, fin = connection.read(stream_id, self.read_size)
        self._take(connection, stream_id, data, fin=fin, now=now)
        return bool(data) and not fin

    def _take(self, connection: Connection, stream_id: int, data: bytes, *, fin: bool, now: float) -> None:
        offset = self._received[stream_id]
        self.damaged |= data != content(offset, len(data))
        self._received[stream_id] = offset + len(data)
        self.received_bytes += len(data)
        if fin:
            self.damaged |= self._received.pop(stream_id) != self._expected.pop(stream_id)
            self.completed += 1
            if not self._expected and not self._waiting:
                self.finished_at = now
            self._request(connection)
