"""An HTTP/3 server without tasks: connections, who answers their requests, 0-RTT, the end (RFC 9114).

`H3Server` has an `H3Connection` for each QUIC connection. Each request goes to one function, which answers it
at once or returns a `Responder` that hears of what happens to the request from then on.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from email.utils import formatdate
from typing import TYPE_CHECKING, Protocol

from endpoint.errors import InterquicError
from endpoint.events import ConnectionClosed, Event
from endpoint.h3.connection import H3Connection
from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.events import (
    BodyReadable,
    BodyWritable,
    ConnectionEnded,
    H3Event,
    Headers,
    HeadersReceived,
    RequestReset,
    RequestStopped,
)
from endpoint.h3.settings import Settings
from endpoint.http.requests import SAFE_METHODS

if TYPE_CHECKING:
    from endpoint.io.loop import Driver
    from endpoint.transport.connection import Connection


class Responder(Protocol):
    """What answers a request that could not be answered at once. Called in the event loop; must not block."""

    def on_readable(self) -> None:
        """`Session.read_body` has bytes of the request, or its end."""

    def on_writable(self) -> None:
        """The stream takes bytes again."""

    def on_abandoned(self) -> None:
        """The client gave the request up, or the connection ended: nothing else will be called."""


Answer = Callable[["Session", HeadersReceived], Responder | None]


class Session:
    """One connection of a server, as those who answer see it."""

    __slots__ = ("_answer", "_responders", "_touch", "h3", "quic")

    def __init__(
        self,
        quic: "Connection",
        h3: H3Connection,
        answer: Answer,
        touch: "Callable[[Connection], None]",
    ) -> None:
        """Made by `H3Server`."""
        self.quic = quic
        self.h3 = h3
        self._answer = answer
        self._touch = touch
        self._responders: dict[int, Responder] = {}

    @property
    def early(self) -> bool:
        """Whether what comes now is 0-RTT data: it may be a replay (RFC 9001 §9.2)."""
        return not self.quic.handshake_complete

    @property
    def unfinished(self) -> int:
        """Requests whose answer is not complete, or not acknowledged yet."""
        return len(self._responders) + self.quic.ending_streams

    def touch(self) -> None:
        """Commands were given to `h3` outside of a callback: let the connection send."""
        self._touch(self.quic)

    def read_body(self, stream_id: int, max_bytes: int | None = None) -> tuple[bytes, bool]:
        """What `H3Connection.read_body` gives; what that brings about is dealt with."""
        data, ended = self.h3.read_body(stream_id, max_bytes)
        for event in self.h3.take_events():
            self._on_event(event)
        return data, ended

    def respond(self, stream_id: int, headers: Headers, content: bytes) -> int:
        """Send a final response with content that is in memory.

        Returns how much of the content was taken: all of little, none if there can be no answer. The rest is
        for `H3Connection.send_body`, after `Responder.on_writable`.
        """
        try:
            return self.h3.send_response(stream_id, headers, content, end=True)
        except InterquicError:
            # The connection is closed, or the client takes no fields: there is no answer.
            self.reject(stream_id, H3ErrorCode.H3_INTERNAL_ERROR)
            return 0

    def send_status(self, stream_id: int, status: bytes) -> None:
        """Answer with nothing but a status."""
        self.respond(stream_id, [(b":status", status), (b"content-length", b"0"), date_field()], b"")

    def refuse(self, request: HeadersReceived, status: bytes) -> None:
        """Answer with nothing but a status, whatever the rest of the request is."""
        self.send_status(request.stream_id, status)
        if not request.ended:
            self.ignore_rest(request.stream_id)

    def reject(self, stream_id: int, error_code: H3ErrorCode) -> None:
        """Abandon a request in both directions, as far as they are open."""
        with suppress(InterquicError):
            self.h3.cancel(stream_id, error_code)
        self.forget(stream_id)

    def ignore_rest(self, stream_id: int) -> None:
        """The answer does not depend on the rest of the request (RFC 9114 §4.1)."""
        with suppress(InterquicError):
            self.h3.stop(stream_id, H3ErrorCode.H3_NO_ERROR)

    def forget(self, stream_id: int) -> None:
        """The responder of this request is done."""
        self._responders.pop(stream_id, None)

    def on_events(self, events: Sequence[Event], now: float) -> None:
        """Take events of the QUIC connection. For `H3Server`."""
        told = self.h3.handle_all(events, now)
        early = bool(told) and self.early
        for event in told:
            if event.__class__ is HeadersReceived:
                if early and not is_safe(event.headers):
                    # RFC 8470 §5.2: the client sends it again once the handshake is complete.
                    self.refuse(event, b"425")
                    continue
                responder = self._answer(self, event)
                if responder is not None:
                    self._responders[event.stream_id] = responder
            else:
                self._on_event(event)

    def _on_event(self, event: H3Event) -> None:
        match event:
            case BodyReadable(stream_id=stream_id):
                responder = self._responders.get(stream_id)
                if responder is not None:
                    responder.on_readable()
            case BodyWritable(stream_id=stream_id):
                responder = self._responders.get(stream_id)
                if responder is not None:
                    responder.on_writable()
            case RequestReset(stream_id=stream_id) | RequestStopped(stream_id=stream_id):
                # Half a request can't be answered, and nobody waits for an answer to one that was stopped.
                responder = self._responders.get(stream_id)
                if responder is not None:
                    self.reject(stream_id, H3ErrorCode.H3_REQUEST_CANCELLED)
                    responder.on_abandoned()
            case ConnectionEnded():
                self.end()

    def end(self) -> None:
        """The connection is over: tell all that still answer."""
        responders, self._responders = self._responders, {}
        for responder in responders.values():
            responder.on_abandoned()


class H3Server:
    """Serves HTTP/3. One object serves any number of connections; see `endpoint.io.loop.Application`."""

    def __init__(self, answer: Answer, *, settings: Settings | None = None) -> None:
        """`answer` is called with each request; a Responder that it returns hears of what follows."""
        self._answer = answer
        self._settings = settings or Settings()
        self._sessions: dict[Connection, Session] = {}
        self._driver: Driver | None = None
        # While we drain: set when nothing is left to be answered.
        self._idle: asyncio.Event | None = None

    def start(self, driver: "Driver") -> None:
        """Tell which driver runs the connections, before the first event: asynchronous answers need it."""
        self._driver = driver

    @property
    def open_requests(self) -> int:
        """Requests whose answer is not complete, or not acknowledged yet."""
        return sum(session.unfinished for session in self._sessions.values())

    def on_event(self, connection: "Connection", event: Event) -> None:
        """Take an event of `connection`."""
        self.on_events(connection, (event,))

    def on_events(self, connection: "Connection", events: Sequence[Event]) -> None:
        """Take events of `connection`, at least one."""
        ended = events[-1].__class__ is ConnectionClosed
        session = self._sessions.get(connection)
        if session is None:
            if ended and len(events) == 1:
                return
            session = self._sessions[connection] = self._begin(connection)
        try:
            session.on_events(events, time.monotonic())
        finally:
            if ended:
                self._sessions.pop(connection).end()
        if self._idle is not None and not self.open_requests:
            self._idle.set()

    def _begin(self, connection: "Connection") -> Session:
        h3 = H3Connection(connection, settings=self._settings)
        session = Session(connection, h3, self._answer, self._touch)
        if self._idle is not None:
            session.h3.tell_finished()
            session.h3.send_goaway(final=True)
        return session

    def _touch(self, connection: "Connection") -> None:
        assert self._driver is not None, "start() comes before requests"
        self._driver.touch(connection)

    async def drain(self, grace: float) -> None:
        """Shut down gracefully (RFC 9114 §5.2): take no more requests, answer those that are there.

        Does not wait if there are none, nor longer than `grace` seconds. Then the connections may be closed:
        their clients know which requests they can send again to somebody else.
        """
        self._idle = asyncio.Event()
        for session in self._sessions.values():
            session.h3.tell_finished()
        if self.open_requests:
            for connection, session in self._sessions.items():
                if not connection.is_closing:
                    # What is on its way is taken: that would be one round trip's worth of refusals else.
                    session.h3.send_goaway()
                    session.touch()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), grace)
        for connection, session in self._sessions.items():
            if not connection.is_closing:
                session.h3.send_goaway(final=True)
                session.touch()
        # One turn of the event loop, for the GOAWAY frames to leave before the connections are closed.
        await asyncio.sleep(0)

    def close(self) -> None:
        """Close all connections at once. Without this, whoever closes them says nothing of HTTP/3."""
        for connection, session in self._sessions.items():
            if not connection.is_closing:
                session.h3.close(H3ErrorCode.H3_NO_ERROR, "the server ends", now=time.monotonic())
                session.touch()


def is_safe(headers: Headers) -> bool:
    """Whether the request can be repeated without harm (RFC 9110 §9.2.1)."""
    return pseudo_header(headers, b":method").decode("latin-1") in SAFE_METHODS


def pseudo_header(headers: Headers, name: bytes) -> bytes:
    """The value of a pseudo-header (they come first, RFC 9114 §4.3), b"" where it is missing."""
    for key, value in headers:
        if key == name:
            return value
        if key[:1] != b":":
            break
    return b""


class _Date:
    """The Date field, made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._field = (b"date", b"")

    def __call__(self) -> tuple[bytes, bytes]:
        """The field of now (RFC 9110 §6.6.1)."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._field = (b"date", formatdate(second, usegmt=True).encode())
        return self._field


date_field = _Date()
