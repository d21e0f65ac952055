"""Connections and streams for asyncio: reading and writing that waits, with the peer's pace as the limit.

Nothing is buffered here. What is not read stays in the core, whose flow control then holds the peer back;
`Stream.write` returns when the core has taken the bytes, which it does as the peer acknowledges earlier ones.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from endpoint.errors import ConnectionClosedError, StreamError, transport_error_name
from endpoint.events import (
    ConnectionClosed,
    DatagramReceived,
    Event,
    HandshakeCompleted,
    StreamFinished,
    StreamOpened,
    StreamReadable,
    StreamReset,
    StreamsAvailable,
    StreamStopped,
    StreamWritable,
)

if TYPE_CHECKING:
    from endpoint.io.loop import Driver
    from endpoint.transport.connection import Connection

# One read takes at most this, so that one stream with much to give does not hold up the event loop.
READ_SIZE = 1024 * 1024
# Datagrams that nobody has asked for yet; of more, the oldest are dropped.
MAX_DATAGRAMS = 1024


class ConnectionLostError(ConnectionClosedError):
    """The connection has ended; `closed` is the event that says why."""

    def __init__(self, closed: ConnectionClosed) -> None:
        super().__init__(describe_close(closed))
        self.closed = closed


class StreamResetError(StreamError):
    """The peer abandoned the stream with `error_code`: what it sent before is gone (RFC 9000 §3.2)."""

    def __init__(self, error_code: int) -> None:
        super().__init__(f"the peer reset the stream (error 0x{error_code:x})")
        self.error_code = error_code


class StreamStoppedError(StreamError):
    """The peer no longer reads the stream; `error_code` is its reason."""

    def __init__(self, error_code: int) -> None:
        super().__init__(f"the peer stopped reading the stream (error 0x{error_code:x})")
        self.error_code = error_code


def describe_close(closed: ConnectionClosed) -> str:
    """One line for humans: who closed the connection, with which error and reason."""
    match closed.kind:
        case "idle_timeout":
            return "the connection timed out: nothing was heard from the peer"
        case "handshake_timeout":
            return "the handshake timed out: the peer does not answer"
        case "stateless_reset":
            return "the peer has lost the connection (stateless reset)"
        case "version_negotiation":
            return f"no QUIC version in common: {closed.reason}" if closed.reason else "no version in common"
    who = "the peer closed the connection" if closed.remote else "the connection was closed"
    code = f"application error 0x{closed.error_code:x}"
    if not closed.application:
        code = transport_error_name(closed.error_code)
    return f"{who}: {code}" + (f" ({closed.reason})" if closed.reason else "")


class Stream:
    """One stream: a reader, a writer, or both. Not for use by several tasks in the same direction."""

    __slots__ = (
        "_connection",
        "_finish_waiter",
        "_finished",
        "_is_readable",
        "_is_writable",
        "_read_done",
        "_read_error",
        "_read_waiter",
        "_write_done",
        "_write_error",
        "_write_waiter",
        "came_early",
        "stream_id",
    )

    def __init__(self, connection: "AsyncConnection", stream_id: int) -> None:
        """Made by `AsyncConnection`."""
        self._connection = connection
        self.stream_id = stream_id
        # RFC 9000 §2.1: bit 1 is set for unidirectional streams, bit 0 for those of the server.
        both_ways = not stream_id & 2
        ours = bool(stream_id & 1) is not connection.is_client
        # Whether the peer opened it before the handshake was complete: what came first may be a replay.
        self.came_early = connection.early and not ours
        self._is_readable = both_ways or not ours
        self._is_writable = both_ways or ours
        self._read_done = not self._is_readable
        self._write_done = self._finished = not self._is_writable
        self._read_error: StreamResetError | None = None
        self._write_error: StreamStoppedError | None = None
        self._read_waiter: asyncio.Future[None] | None = None
        self._write_waiter: asyncio.Future[None] | None = None
        self._finish_waiter: asyncio.Future[None] | None = None

    async def read(self, max_bytes: int = READ_SIZE) -> bytes:
        """Bytes as soon as there are some, at most `max_bytes`; b"" at the end of the stream.

        Raises:
            StreamResetError: the peer reset the stream.
            StreamError: this stream can only be written.
            ConnectionLostError: the connection ended first.
        """
        if max_bytes <= 0:
            raise ValueError(f"can't read {max_bytes} bytes")
        if not self._is_readable:
            raise StreamError("this stream can only be written")
        while self._read_error is None and not self._read_done:
            # Before looking whether the connection lives: what came before its end can still be read.
            data, fin = self._connection.read(self.stream_id, max_bytes)
            if fin:
                self._read_done = True
                self._connection.release(self)
            if data or fin:
                return data
            self._connection.check()
            self._read_waiter = _waiter()
            await self._read_waiter
        if self._read_error is not None:
            raise self._read_error
        return b""

    async def read_to_end(self, limit: int = 64 * 1024 * 1024) -> bytes:
        """Everything up to the end of the stream, in one piece.

        Raises StreamError when there is more than `limit` bytes, and as `read` does.
        """
        chunks: list[bytes] = []
        size = 0
        async for chunk in self:
            size += len(chunk)
            if size > limit:
                raise StreamError(f"the peer sent more than {limit} bytes")
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The chunks as they come, until the end of the stream."""
        while chunk := await self.read():
            yield chunk

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Hand over all of `data`, waiting for room. Bytes objects are kept, not copied.

        When the task is cancelled in here, a part of `data` may have been sent.

        Raises:
            StreamStoppedError: the peer asked us to stop.
            StreamError: the stream can only be read, or was finished or reset.
            ConnectionLostError: the connection ended first.
        """
        while True:
            self._check_writing()
            accepted = self._connection.write(self.stream_id, data, fin=False)
            if accepted == len(data):
                return
            data = memoryview(data)[accepted:]
            self._write_waiter = _waiter()
            await self._write_waiter

    def finish(self) -> None:
        """End our side of the stream. Repeating it does nothing; raises as `write` does."""
        if self._write_done and self._is_writable and self._write_error is None:
            return
        self._check_writing()
        self._connection.write(self.stream_id, b"", fin=True)
        self._write_done = True

    async def wait_finished(self) -> None:
        """Wait until the peer has acknowledged all we wrote, and the end of it. Raises as `write` does."""
        while not self._finished:
            if self._write_error is not None:
                raise self._write_error
            self._connection.check()
            self._finish_waiter = _waiter()
            await self._finish_waiter

    def reset(self, error_code: int = 0) -> None:
        """Abandon what we have not sent yet (RESET_STREAM, RFC 9000 §19.4)."""
        self._connection.reset_stream(self.stream_id, error_code)
        self._write_done = self._finished = True
        self._connection.release(self)

    def stop(self, error_code: int = 0) -> None:
        """Ask the peer to stop sending (STOP_SENDING, RFC 9000 §19.5); nothing more can be read."""
        self._connection.stop_sending(self.stream_id, error_code)
        self._read_done = True
        self._connection.release(self)

    @property
    def is_done(self) -> bool:
        """True when neither side has anything more to say or to acknowledge."""
        return (self._read_done or self._read_error is not None) and self._finished

    def _check_writing(self) -> None:
        if self._write_error is not None:
            raise self._write_error
        if self._write_done:
            raise StreamError("our side of the stream is finished, or never was")
        self._connection.check()

    def handle(self, event: Event) -> None:
        """Take an event that concerns this stream. For `AsyncConnection`."""
        match event:
            case StreamReadable():
                _wake(self._read_waiter)
            case StreamWritable():
                _wake(self._write_waiter)
            case StreamReset(error_code=code):
                self._read_error = StreamResetError(code)
                _wake(self._read_waiter)
            case StreamStopped(error_code=code):
                self._write_error = StreamStoppedError(code)
                self._write_done = self._finished = True
                self.wake()
            case StreamFinished():
                self._finished = True
                _wake(self._finish_waiter)

    def wake(self) -> None:
        """Have every waiting call look again."""
        for waiter in (self._read_waiter, self._write_waiter, self._finish_waiter):
            _wake(waiter)


class AsyncConnection:
    """A connection whose streams are read and written by tasks. Made by `connect` and `serve`."""

    def __init__(self, driver: "Driver", connection: "Connection", *, is_client: bool) -> None:
        """`connection` is the core's, run by `driver`."""
        self.is_client = is_client
        self._driver = driver
        self._core = connection
        self._streams: dict[int, Stream] = {}
        self._incoming: deque[Stream] = deque()
        self._datagrams: deque[bytes] = deque(maxlen=MAX_DATAGRAMS)
        self._waiters: list[asyncio.Future[None]] = []
        self._closed: ConnectionClosed | None = None
        self._handshake: HandshakeCompleted | None = None

    # -- for applications

    @property
    def core(self) -> "Connection":
        """The sans-I/O connection, for statistics; commands to it need `Driver.touch`."""
        return self._core

    @property
    def handshake(self) -> HandshakeCompleted | None:
        """The outcome of the handshake: ALPN, cipher suite, the peer's certificates; None before it."""
        return self._handshake

    @property
    def early(self) -> bool:
        """Whether the handshake is not complete: data goes, or came, as 0-RTT data (RFC 9001 §4.6).

        A server may see such data again, repeated by an observer: act only on what is safe to repeat.
        """
        return self._handshake is None

    async def wait_handshake(self) -> HandshakeCompleted:
        """Wait for the end of the handshake; returns at once but with 0-RTT. Raises ConnectionLostError."""
        while self._handshake is None:
            self.check()
            await self._changed()
        return self._handshake

    @property
    def closed(self) -> ConnectionClosed | None:
        """How the connection ended; None as long as it lives."""
        return self._closed

    @property
    def open_streams(self) -> int:
        """How many streams have something to come or to be acknowledged."""
        return len(self._streams)

    async def open_stream(self, *, unidirectional: bool = False) -> Stream:
        """Open a stream, waiting while the peer's limit is used up.

        The peer learns of it with the first byte (or the end) written. Raises ConnectionLostError.
        """
        while True:
            self.check()
            if self._core.can_open_stream(unidirectional=unidirectional):
                stream = Stream(self, self._core.open_stream(unidirectional=unidirectional))
                self._streams[stream.stream_id] = stream
                return stream
            await self._changed()

    async def accept_stream(self) -> Stream:
        """The next stream the peer opened. Raises ConnectionLostError when none can come any more."""
        while not self._incoming:
            self.check()
            await self._changed()
        return self._incoming.popleft()

    async def incoming_streams(self) -> AsyncIterator[Stream]:
        """Streams as the peer opens them, until the connection ends, however it ends."""
        while self._incoming or self._closed is None:
            if self._incoming:
                yield self._incoming.popleft()
            else:
                await self._changed()

    @property
    def datagram_limit(self) -> int:
        """The longest datagram that can be sent now; 0 if the peer takes none."""
        return self._core.datagram_limit

    def send_datagram(self, data: bytes) -> bool:
        """Send `data` unreliably (RFC 9221). It may be lost, and come late or out of order.

        Returns at once; False tells that too many were waiting, so that the oldest was dropped.

        Raises:
            DatagramError: the peer takes no datagrams, or `data` is longer than `datagram_limit`.
            ConnectionLostError: the connection has ended.
        """
        self.check()
        kept_all = self._core.send_datagram(data)
        self._driver.touch(self._core)
        return kept_all

    async def receive_datagram(self) -> bytes:
        """The next datagram of the peer. Raises ConnectionLostError when none can come any more.

        `Config.max_datagram_frame_size` has to allow datagrams, or the peer sends none. Those that nobody
        takes are kept up to a limit; then the oldest are dropped.
        """
        while not self._datagrams:
            self.check()
            await self._changed()
        return self._datagrams.popleft()

    async def wait_closed(self) -> ConnectionClosed:
        """Wait until the connection has ended; tells how."""
        while self._closed is None:
            await self._changed()
        return self._closed

    def close(self, error_code: int = 0, reason: str = "") -> None:
        """Close at once: what has not been sent is lost, see `Stream.wait_finished`."""
        if self._closed is None:
            self._core.close(error_code, reason, application=True, now=self._driver.now)
            self._driver.touch(self._core)

    # -- for the driver and for streams

    def handle(self, event: Event) -> None:
        """Take an event of the core."""
        match event:
            case StreamOpened(stream_id=stream_id):
                stream = self._streams[stream_id] = Stream(self, stream_id)
                self._incoming.append(stream)
                self._wake()
            case (
                StreamReadable(stream_id=stream_id)
                | StreamWritable(stream_id=stream_id)
                | StreamReset(stream_id=stream_id)
                | StreamStopped(stream_id=stream_id)
                | StreamFinished(stream_id=stream_id)
            ):
                known = self._streams.get(stream_id)
                if known is not None:
                    known.handle(event)
                    self.release(known)
            case DatagramReceived(data=data):
                self._datagrams.append(data)
                self._wake()
            case StreamsAvailable():
                self._wake()
            case HandshakeCompleted():
                self._handshake = event
                self._wake()
            case ConnectionClosed():
                self._closed = event
                for stream in self._streams.values():
                    stream.wake()
                self._wake()

    def check(self) -> None:
        """Raise ConnectionLostError if the connection has ended."""
        if self._closed is not None:
            raise ConnectionLostError(self._closed)

    def release(self, stream: Stream) -> None:
        """Forget a stream that has nothing more to come; the object stays usable for what it knows."""
        if stream.is_done:
            self._streams.pop(stream.stream_id, None)

    def read(self, stream_id: int, max_bytes: int) -> tuple[bytes, bool]:
        """Read from the core, which may have window updates to send then."""
        data, fin = self._core.read(stream_id, max_bytes)
        if data:
            self._driver.touch(self._core)
        return data, fin

    def write(self, stream_id: int, data: bytes | bytearray | memoryview, *, fin: bool) -> int:
        """Write to the core; the number of bytes taken."""
        accepted = self._core.write(stream_id, data, fin=fin)
        self._driver.touch(self._core)
        return accepted

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        """Reset our side of a stream."""
        self._core.reset_stream(stream_id, error_code)
        self._driver.touch(self._core)

    def stop_sending(self, stream_id: int, error_code: int) -> None:
        """Ask the peer to stop sending on a stream."""
        self._core.stop_sending(stream_id, error_code)
        self._driver.touch(self._core)

    async def _changed(self) -> None:
        waiter = _waiter()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            _wake(waiter)


def _waiter() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
