"""HTTP/0.9 over QUIC ("hq-interop"), both roles, without sockets or files.

A request is `GET /NAME` and CRLF on a bidirectional stream of its own, which the client then ends; the answer
is the bare content and the end of the stream. There are no headers and no status: what does not exist is an
empty answer. Both roles are driven by the events of a connection, as `endpoint.io.loop.Application` asks.
"""

import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote_to_bytes

from endpoint.errors import InterquicError
from endpoint.events import (
    ConnectionClosed,
    Event,
    HandshakeCompleted,
    StreamReadable,
    StreamReset,
    StreamsAvailable,
    StreamStopped,
    StreamWritable,
)

if TYPE_CHECKING:
    from endpoint.transport.connection import Connection

ALPN = "hq-interop"

# The interop runner's longest name has 250 letters; what is longer than this is no request.
MAX_REQUEST = 8192
# A file is read in pieces of this size: large, since a packet run that spans two pieces is joined by a copy.
CHUNK_SIZE = 512 * 1024
# What one event takes from a stream at most.
READ_SIZE = 1024 * 1024
# Application error codes. The protocol defines none; a reset only has to be one.
REQUEST_REJECTED = 0x01
REQUEST_CANCELLED = 0x02


class Content(Protocol):
    """A file that is being served."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, fewer than `size` or none only at the end."""

    def close(self) -> None:
        """Give it back; called once."""


class Sink(Protocol):
    """Where a client puts an answer. It deals with its own failures: nothing may be raised."""

    def write(self, data: bytes) -> None:
        """The next piece of the answer."""

    def finish(self) -> None:
        """The answer is complete."""

    def abandon(self, reason: str) -> None:
        """The answer will not become complete."""


class _Exchange:
    """One request and its answer. `piece` was read from `content`, but not taken by the stream yet.

    `last`: nothing comes after it.
    """

    __slots__ = ("content", "last", "piece", "request")

    def __init__(self) -> None:
        self.request = b""
        self.content: Content | None = None
        self.piece: bytes | memoryview = b""
        self.last = False

    def read(self) -> None:
        """Get the next piece. A short one is the last, so a small answer takes one write and one frame."""
        self.piece = b"" if self.content is None else self.content.read(CHUNK_SIZE)
        self.last = len(self.piece) < CHUNK_SIZE

    def close(self) -> None:
        if self.content is not None:
            self.content.close()


class HqServer:
    """Serves what `lookup` finds. One object serves any number of connections."""

    def __init__(self, lookup: Callable[[str], Content | None]) -> None:
        """`lookup` gets the decoded path of a request ("/NAME"); None: there is no such thing.

        Where it, or reading, raises OSError the stream is reset.
        """
        self._lookup = lookup
        self._exchanges: dict[Connection, dict[int, _Exchange]] = {}

    def on_event(self, connection: "Connection", event: Event) -> None:
        """Take an event of `connection`; answers are written to it at once."""
        match event:
            case StreamReadable(stream_id=stream_id):
                self._on_readable(connection, stream_id)
            case StreamWritable(stream_id=stream_id):
                exchange = self._exchanges.get(connection, {}).get(stream_id)
                if exchange is not None:
                    self._pump(connection, stream_id, exchange)
            case StreamReset(stream_id=stream_id):
                self._refuse(connection, stream_id, REQUEST_CANCELLED)
            case StreamStopped(stream_id=stream_id):
                self._end(connection, stream_id)
            case ConnectionClosed():
                for exchange in self._exchanges.pop(connection, {}).values():
                    exchange.close()

    def _on_readable(self, connection: "Connection", stream_id: int) -> None:
        exchange = self._exchanges.setdefault(connection, {}).setdefault(stream_id, _Exchange())
        fin = False
        while not fin and len(exchange.request) <= MAX_REQUEST:
            data, fin = connection.read(stream_id, READ_SIZE)
            if not data:
                break
            exchange.request += data
        # On a unidirectional stream there is no way to answer.
        if len(exchange.request) > MAX_REQUEST or stream_id & 2:
            self._refuse(connection, stream_id, REQUEST_REJECTED)
        elif fin:
            self._answer(connection, stream_id, exchange)

    def _answer(self, connection: "Connection", stream_id: int, exchange: _Exchange) -> None:
        path = parse_request(exchange.request)
        try:
            exchange.content = None if path is None else self._lookup(path)
        except OSError:
            self._refuse(connection, stream_id, REQUEST_REJECTED)
        else:
            self._pump(connection, stream_id, exchange)

    def _pump(self, connection: "Connection", stream_id: int, exchange: _Exchange) -> None:
        """Write until the stream takes no more (a StreamWritable follows) or the content ends."""
        try:
            while True:
                if not exchange.piece:
                    exchange.read()
                piece = exchange.piece
                accepted = connection.write(stream_id, piece, fin=exchange.last)
                if accepted < len(piece):
                    exchange.piece = memoryview(piece)[accepted:]
                    return
                exchange.piece = b""
                if exchange.last:
                    self._end(connection, stream_id)
                    return
        except OSError:
            self._refuse(connection, stream_id, REQUEST_CANCELLED)
        except InterquicError:
            # Stopped or closed by the peer meanwhile: the event that says so is on its way.
            self._end(connection, stream_id)

    def _refuse(self, connection: "Connection", stream_id: int, error_code: int) -> None:
        """Abandon a request in both directions, as far as they are open."""
        with contextlib.suppress(InterquicError):
            connection.stop_sending(stream_id, error_code)
        with contextlib.suppress(InterquicError):
            connection.reset_stream(stream_id, error_code)
        self._end(connection, stream_id)

    def _end(self, connection: "Connection", stream_id: int) -> None:
        exchange = self._exchanges.get(connection, {}).pop(stream_id, None)
        if exchange is not None:
            exchange.close()


def parse_request(request: bytes) -> str | None:
    """The path of a request line, percent-decoded; None if it is none. The line end may be missing."""
    line = request.split(b"\n", 1)[0].rstrip(b"\r")
    method, _, target = line.partition(b" ")
    if method != b"GET" or not target.startswith(b"/"):
        return None
    # HTTP/0.9 has no version; a client that sends one all the same means HTTP.
    target = target.split(b" ", 1)[0].split(b"?", 1)[0]
    try:
        return unquote_to_bytes(target).decode()
    except UnicodeDecodeError:
        return None


@dataclass(slots=True)
class _Request:
    path: str
    sink: Sink


class HqClient:
    """Sends requests on one connection, as many at once as the peer allows, the rest in order after them.

    `pending` is the number of requests without an outcome; `on_idle` is called each time it reaches 0.
    """

    def __init__(self, on_idle: Callable[[], None] | None = None) -> None:
        self._on_idle = on_idle
        self._waiting: deque[_Request] = deque()
        self._active: dict[int, Sink] = {}
        self._connected = False
        self.received = 0

    @property
    def pending(self) -> int:
        """Requests that have neither been answered nor abandoned."""
        return len(self._waiting) + len(self._active)

    def get(self, path: str, sink: Sink) -> None:
        """Ask for `path` ("/NAME", percent-encoded); `send` lets it go if the connection is up already."""
        self._waiting.append(_Request(path, sink))

    def send(self, connection: "Connection") -> None:
        """Send what waits, as far as the peer's stream limit goes; the rest follows by itself."""
        if connection.is_closing:
            self._abandon_all("the connection is closed")
        while self._waiting and connection.can_open_stream():
            request = self._waiting.popleft()
            stream_id = connection.open_stream()
            self._active[stream_id] = request.sink
            connection.write(stream_id, f"GET {request.path}\r\n".encode(), fin=True)

    def on_event(self, connection: "Connection", event: Event) -> None:
        """Take an event of the connection."""
        match event:
            case StreamReadable(stream_id=stream_id):
                self._on_readable(connection, stream_id)
            case HandshakeCompleted() | StreamsAvailable(unidirectional=False):
                self.send(connection)
            case StreamReset(stream_id=stream_id, error_code=code):
                self._abandon(stream_id, f"the server reset the stream (error 0x{code:x})")
            case StreamStopped(stream_id=stream_id, error_code=code):
                self._abandon(stream_id, f"the server refused the request (error 0x{code:x})")
            case ConnectionClosed(reason=reason):
                self._abandon_all(reason or "the connection was closed")

    def _on_readable(self, connection: "Connection", stream_id: int) -> None:
        sink = self._active.get(stream_id)
        while True:
            data, fin = connection.read(stream_id, READ_SIZE)
            if data:
                self.received += len(data)
                if sink is not None:
                    sink.write(data)
            if fin or len(data) < READ_SIZE:
                break
        if fin and sink is not None:
            del self._active[stream_id]
            sink.finish()
            self._check_idle()

    def _abandon(self, stream_id: int, reason: str) -> None:
        sink = self._active.pop(stream_id, None)
        if sink is not None:
            sink.abandon(reason)
            self._check_idle()

    def _abandon_all(self, reason: str) -> None:
        if not self.pending:
            return
        sinks = [*self._active.values(), *(request.sink for request in self._waiting)]
        self._active.clear()
        self._waiting.clear()
        for sink in sinks:
            sink.abandon(reason)
        self._check_idle()

    def _check_idle(self) -> None:
        if not self.pending and self._on_idle is not None:
            self._on_idle()
