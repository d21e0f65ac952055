"""One request on its way, and its response, for asyncio.

Nothing is buffered here: what the application does not read stays in the core, whose flow control then holds
the server back, and a request's body is taken from the application as the server takes it.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self, TypeAlias

from endpoint.errors import ConnectionClosedError, StreamError
from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.events import Headers
from endpoint.http.requests import InvalidRequestError, RequestError
from endpoint.io.streams import ConnectionLostError

if TYPE_CHECKING:
    from endpoint.h3.connection import H3Connection
    from endpoint.http.client import Http3Client

Body: TypeAlias = bytes | AsyncIterable[bytes]

# One read takes at most this, so that one response with much to give does not hold up the event loop.
READ_SIZE = 1024 * 1024
# There is no limit to how many 1xx responses a server may send; so many are kept.
MAX_INFORMATIONAL = 100


class QueueTimeoutError(TimeoutError):
    """The server's limit of concurrent requests was used up for too long; nothing was sent."""


class WriteTimeoutError(TimeoutError):
    """The server did not take a piece of a request's body for too long. The request is cancelled."""


class ReadTimeoutError(TimeoutError):
    """The server did not answer, or did not go on, for too long. The request is cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds to wait for each step of a request; None: as long as the connection lives.

    `queue` is for the limit of requests, `write` for each piece of a body that is an iterator, and `read`
    for the head of the response once the request is sent, and for each piece of its body.
    """

    queue: float | None = None
    write: float | None = None
    read: float | None = None


class Informational(NamedTuple):
    """A 1xx response that came before the final one (RFC 9110 §15.2)."""

    status: int
    headers: Headers


class Exchange:
    """A request and its response. The connection tells it of events; `Response` is its face."""

    __slots__ = (
        "_client",
        "_h3",
        "_heard",
        "_pending",
        "_read_waiter",
        "_timeouts",
        "_upload",
        "_waiting_since",
        "_write_waiter",
        "body_ended",
        "early",
        "error",
        "head",
        "head_time",
        "informational",
        "sent",
        "stream_id",
        "trailers",
    )

    def __init__(
        self, client: "Http3Client", h3: "H3Connection", stream_id: int, timeouts: Timeouts, *, early: bool
    ) -> None:
        """The header section of the request has been sent on `stream_id`, as 0-RTT data if `early`."""
        self._client = client
        self._h3 = h3
        self._timeouts = timeouts
        self._begin_to_wait()
        self.stream_id = stream_id
        self.early = early
        # Resolved when the head of the final response is here, or with the error that came instead.
        self.head: asyncio.Future[tuple[int, Headers]] = asyncio.get_running_loop().create_future()
        self.head_time = 0.0
        self.informational: list[Informational] = []
        self.trailers: Headers = ()
        self.error: Exception | None = None
        # Whether all of the request is with the core, and all of the response was read.
        self.sent = True
        self.body_ended = False
        # What is left of a body that is in memory.
        self._pending: bytes | memoryview | None = None
        self._upload: asyncio.Task[None] | None = None
        self._read_waiter: asyncio.Future[None] | None = None
        self._write_waiter: asyncio.Future[None] | None = None

    # -- sending

    def send(self, body: Body) -> None:
        """Begin to send the body; it goes on by itself."""
        self.sent = False
        if isinstance(body, bytes):
            self._pending = body
            try:
                self._pump()
            except StreamError as error:
                self.give_up(error)
                raise
        else:
            self._upload = asyncio.create_task(self._send_pieces(body))

    def _pump(self) -> None:
        """Send more of a body that is in memory."""
        if self._pending is None:
            return
        taken = self._h3.send_body(self.stream_id, self._pending, end=True)
        if taken == len(self._pending):
            self._pending = None
            self._all_sent()
        else:
            self._pending = memoryview(self._pending)[taken:]

    async def _send_pieces(self, body: AsyncIterable[bytes]) -> None:
        try:
            async for piece in body:
                taken = self._h3.send_body(self.stream_id, piece)
                self._client.touch()
                while taken < len(piece):
                    await self._wait_writable()
                    taken += self._h3.send_body(self.stream_id, memoryview(piece)[taken:])
                    self._client.touch()
            self._h3.send_body(self.stream_id, b"", end=True)
            self._client.touch()
        except ConnectionClosedError:
            # The response tells.
            self.sent = True
        except StreamError as error:
            # A server that wants no more of it ends this task; so it is not as long as it was said to be.
            self.give_up(InvalidRequestError(str(error)))
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the response
            self.give_up(error)
        else:
            self._all_sent()

    async def _wait_writable(self) -> None:
        self._write_waiter = asyncio.get_running_loop().create_future()
        self._begin_to_wait()
        try:
            async with asyncio.timeout(self._timeouts.write):
                await self._write_waiter
        except TimeoutError as error:
            self._tell_patience()
            raise WriteTimeoutError("the server does not take the body") from error

    def _all_sent(self) -> None:
        self.sent = True
        self._release()

    # -- events of the connection

    def on_informational(self, status: int, headers: Headers) -> None:
        """A 1xx response came."""
        if len(self.informational) < MAX_INFORMATIONAL:
            self.informational.append(Informational(status, headers))

    def on_head(self, status: int, headers: Headers, now: float, *, ended: bool) -> None:
        """The head of the response came; `ended`: there is no more of it."""
        self.head_time = now
        self.body_ended = ended
        if not self.head.done():
            self.head.set_result((status, headers))
        if ended:
            self._release()

    def on_readable(self) -> None:
        """There is something to read, or the end."""
        _wake(self._read_waiter)

    def on_writable(self) -> None:
        """There is room for more of the body."""
        with suppress(ConnectionClosedError, StreamError):  # stopped or closed: the event is on its way
            self._pump()
        _wake(self._write_waiter)

    def on_stopped(self) -> None:
        """The server takes no more of the body. RFC 9114 §4.1: the response counts all the same."""
        self._pending = None
        self.sent = True
        if self._upload is not None:
            self._upload.cancel()
        self._release()

    def fail(self, error: Exception) -> None:
        """The exchange ends without (the rest of) a response."""
        if self.error is not None:
            return
        self.error = error
        self._abandon_body()
        if not self.head.done():
            self.head.set_exception(error)
            # Nobody may be waiting any more.
            self.head.exception()
        _wake(self._read_waiter)
        self._client.forget(self.stream_id)

    # -- what the application does

    async def wait_head(self) -> tuple[int, Headers]:
        """Status and header section of the final response. Cancelling this cancels the request."""
        try:
            if self._upload is not None:
                await asyncio.wait((self._upload, self.head), return_when=asyncio.FIRST_COMPLETED)
            async with asyncio.timeout(self._timeouts.read):
                return await self.head
        except asyncio.CancelledError:
            self.cancel()
            raise
        except TimeoutError as error:
            if self.error is error:  # of the iterator that gives the body
                raise
            self.cancel()
            raise ReadTimeoutError("the server does not answer") from error

    def read_now(self, max_bytes: int) -> bytes:
        """What is here of the response's body. Raises what ended the exchange."""
        if self.body_ended:
            return b""
        if self.error is not None and not isinstance(self.error, ConnectionLostError):
            raise self.error
        data, ended = self._h3.read_body(self.stream_id, max_bytes)
        self._client.after_read()
        if ended:
            self.body_ended = True
            self._release()
        elif not data and self.error is not None:
            raise self.error
        return data

    async def wait_readable(self) -> None:
        """Wait for more. Cancelling this cancels the request."""
        self._read_waiter = asyncio.get_running_loop().create_future()
        self._begin_to_wait()
        try:
            async with asyncio.timeout(self._timeouts.read):
                await self._read_waiter
        except asyncio.CancelledError:
            self.cancel()
            raise
        except TimeoutError as error:
            self.cancel()
            raise ReadTimeoutError("the server does not go on with its response") from error

    def cancel(self) -> None:
        """The application has lost interest (RFC 9114 §4.1.1), or no more patience."""
        if self.error is not None or (self.body_ended and self.sent):
            return
        self._tell_patience()
        self.give_up(RequestError("the request was cancelled", H3ErrorCode.H3_REQUEST_CANCELLED))

    def give_up(self, error: Exception) -> None:
        """Abandon both directions, tell the server so, and fail."""
        self.sent = True
        if not self._client.is_closed:
            self._h3.cancel(self.stream_id, H3ErrorCode.H3_REQUEST_CANCELLED)
            self._client.touch()
        self.fail(error)

    def _begin_to_wait(self) -> None:
        """Note what has been heard of the server, and when this was."""
        self._heard = self._client.liveness.heard
        self._waiting_since = asyncio.get_running_loop().time()

    def _tell_patience(self) -> None:
        """The connection may lead nowhere, if all this time nothing came."""
        waited = asyncio.get_running_loop().time() - self._waiting_since
        self._client.liveness.on_given_up(self._heard, waited)

    def _abandon_body(self) -> None:
        self._pending = None
        if self._upload is not None and self._upload is not asyncio.current_task():
            self._upload.cancel()
        if not self.sent and not self._client.is_closed:
            self._h3.reset(self.stream_id, H3ErrorCode.H3_REQUEST_CANCELLED)
            self._client.touch()
        self.sent = True

    def _release(self) -> None:
        if self.body_ended and self.sent:
            self._client.forget(self.stream_id)


class Response:
    """The final response to a request. Read its body by `read`, `read_some` or `async for`, once.

    Leaving the body unread holds its part of the connection: `close` it, or use it as `async with`.
    """

    def __init__(self, exchange: Exchange, status: int, headers: Headers) -> None:
        """Made by `Http3Client.request`."""
        self._exchange = exchange
        self.status = status
        # Without the pseudo-header field; names are in lower case.
        self.headers = headers

    @property
    def stream_id(self) -> int:
        """The stream that carries it."""
        return self._exchange.stream_id

    @property
    def early(self) -> bool:
        """Whether the request went out as 0-RTT data."""
        return self._exchange.early

    @property
    def head_time(self) -> float:
        """When the head came, on the event loop's clock."""
        return self._exchange.head_time

    @property
    def informational(self) -> list[Informational]:
        """The 1xx responses that came before it, the first of them if there were very many."""
        return self._exchange.informational

    @property
    def trailers(self) -> Headers:
        """The fields that followed the body; complete when that was read to its end."""
        return self._exchange.trailers

    @property
    def ended(self) -> bool:
        """Whether nothing is left to read."""
        return self._exchange.body_ended

    def header(self, name: str) -> str | None:
        """The value of the first field of this name (lower case), None without one."""
        wanted = name.encode()
        return next((value.decode("latin-1") for key, value in self.headers if key == wanted), None)

    async def read_some(self, max_bytes: int = READ_SIZE) -> bytes:
        """Bytes as soon as there are some, b"" at the end. A cancelled call cancels the request.

        Raises:
            RequestError: the server abandoned the response.
            ConnectionLostError: the connection ended first.
            ReadTimeoutError: nothing came for as long as the request's `Timeouts.read`.
        """
        exchange = self._exchange
        while not (data := exchange.read_now(max_bytes)) and not exchange.body_ended:
            await exchange.wait_readable()
        return data

    async def read(self) -> bytes:
        """All (that is left) of the body in one piece; raises as `read_some` does."""
        pieces = [piece async for piece in self]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The pieces as they come; raises as `read_some` does."""
        while piece := await self.read_some():
            yield piece

    def close(self) -> None:
        """Have no more of it: cancels the request unless it is complete. Repeating it does nothing."""
        self._exchange.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


def _wake(waiter: "asyncio.Future[None] | None") -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
