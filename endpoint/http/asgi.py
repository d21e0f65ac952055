"""ASGI 3 over HTTP/3: applications of Starlette, FastAPI and others run unchanged.

https://asgi.readthedocs.io/en/latest/specs/www.html

Each request is one asyncio task. Nothing is buffered here: the body of a request is read when the application
asks for it, so that QUIC's flow control holds a client back; `send` waits while the stream is full.
"""

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from typing import Any, Final

from endpoint.errors import ConnectionClosedError, InterquicError, StreamError
from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.events import HeadersReceived
from endpoint.h3.headers import MessageError
from endpoint.http.asgi_scope import clean_fields, make_scope, shown_path
from endpoint.http.asgi_stream import (
    FAILURES,
    AsgiStream,
    ClientDisconnectedError,
    comes_from_disconnect,
    is_cancelled_from_outside,
)
from endpoint.http.lifespan import AsgiApp, Message, Scope
from endpoint.http.server import Session, date_field, is_safe, pseudo_header
from endpoint.http.websocket import VERSION as WEBSOCKET_VERSION
from endpoint.http.websocket import WebSocket

_LOG = logging.getLogger(__name__)

# Requests of one connection that the application is busy with. The stream limit alone does not say: of a
# request that is cancelled the stream is free at once, while the application may go on with it.
MAX_TASKS: Final = 256
# What one http.request message has at most.
READ_SIZE: Final = 256 * 1024
# RFC 9110 §15.3.5, §15.4.5.
_WITHOUT_CONTENT: Final = frozenset({204, 304})


class _Phase(Enum):
    """What the application has to send next."""

    START = auto()
    BODY = auto()
    TRAILERS = auto()
    NOTHING = auto()


# Which messages may be sent when.
_ALLOWED: Final = {
    _Phase.START: ("http.response.start", "http.response.early_hint"),
    _Phase.BODY: ("http.response.body",),
    _Phase.TRAILERS: ("http.response.trailers",),
    _Phase.NOTHING: (),
}


class AsgiServer:
    """Gives requests to an application. `answer` is for `H3Server`."""

    def __init__(self, app: AsgiApp, *, state: dict[str, Any] | None = None) -> None:
        """`state` is that of the application's lifespan."""
        self._app = app
        self._state = state
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy: Counter[Session] = Counter()

    def answer(self, session: Session, request: HeadersReceived) -> "Exchange | WebSocket | None":
        """Start a task for a request."""
        is_websocket = pseudo_header(request.headers, b":protocol") == b"websocket"
        refusal = None
        if is_websocket:
            if (b"sec-websocket-version", WEBSOCKET_VERSION) not in request.headers:
                refusal = b"400"  # RFC 6455 §4.2.1
        elif pseudo_header(request.headers, b":method") == b"CONNECT":
            refusal = b"501"  # RFC 9110 §9.3.6: we are no proxy; RFC 9220 §3: nor is there another protocol
        elif not is_safe(request.headers) and (b"early-data", b"1") in request.headers:
            # A gateway in front of us got it as 0-RTT data (RFC 8470 §5.1).
            refusal = b"425"
        if refusal is not None:
            session.refuse(request, refusal)
            return None
        if self._busy[session] >= MAX_TASKS:
            session.reject(request.stream_id, H3ErrorCode.H3_REQUEST_REJECTED)
            return None
        scope = make_scope(session, request.headers)
        if self._state is not None:
            scope["state"] = self._state.copy()
        exchange = (WebSocket if is_websocket else Exchange)(session, request, scope)
        task = asyncio.get_running_loop().create_task(exchange.run(self._app))
        self._tasks.add(task)
        self._busy[session] += 1
        task.add_done_callback(partial(self._on_done, session))
        return exchange

    def _on_done(self, session: Session, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._busy[session] -= 1
        if not self._busy[session]:
            del self._busy[session]

    async def end_tasks(self) -> None:
        """Cancel what is still running, and wait for it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Exchange(AsgiStream):
    """One request and its response: `receive` and `send` of the application, and a `Responder` for us."""

    __slots__ = (
        "_end_told",
        "_expects_continue",
        "_has_content",
        "_head",
        "_phase",
        "_remaining",
        "_request_ended",
        "_scope",
        "_trailer_fields",
        "_trailers",
    )

    def __init__(self, session: Session, request: HeadersReceived, scope: Scope) -> None:
        super().__init__(session, request.stream_id)
        self._scope = scope
        self._phase = _Phase.START
        # Whether nothing more comes of the request, and whether the application knows.
        self._request_ended = request.ended
        self._end_told = False
        self._expects_continue = not request.ended and any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in request.headers
        )
        # The head of the response, until the first part of the body goes with it.
        self._head: list[tuple[bytes, bytes]] | None = None
        self._has_content = scope["method"] != "HEAD"
        self._trailers = False
        self._trailer_fields: list[tuple[bytes, bytes]] = []
        # What is missing of the content-length.
        self._remaining: int | None = None

    # -- the application

    async def run(self, app: AsgiApp) -> None:
        """Run the application, and complete what it leaves incomplete."""
        error_code = H3ErrorCode.H3_INTERNAL_ERROR
        try:
            await app(self._scope, self.receive, self.send)
            if self._phase is not _Phase.NOTHING and not self.gone:
                _LOG.error("%s: the application returned without a complete response", self._name)
        except FAILURES as error:  # logged; one request must not end the server
            if is_cancelled_from_outside(error):
                error_code = H3ErrorCode.H3_REQUEST_CANCELLED
                raise
            if not comes_from_disconnect(error):
                _LOG.error("%s: the application failed", self._name, exc_info=error)
        finally:
            self._end(error_code)

    async def receive(self) -> Message:
        """The next part of the request's body, or the end of it all."""
        while not self.gone and self._phase is not _Phase.NOTHING:
            if not self._end_told:
                message = self._read()
                if message is not None:
                    return message
            await self.wait_readable()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take a part of the response.

        Raises:
            ClientDisconnectedError: the client has gone.
            RuntimeError: the message is not one that may come now.
            ValueError: the response is not valid HTTP.
        """
        kind = message["type"]
        if self.gone:
            raise ClientDisconnectedError("the client has gone")
        if kind not in _ALLOWED[self._phase]:
            raise RuntimeError(f"{kind} can't be sent now")
        try:
            match kind:
                case "http.response.start":
                    self._start(message)
                case "http.response.body":
                    await self._send_body(message)
                case "http.response.trailers":
                    self._send_trailers(message)
                case "http.response.early_hint":
                    links = [(b"link", bytes(link)) for link in message["links"]]
                    self.session.h3.send_headers(self.stream_id, [(b":status", b"103"), *links])
                    self.session.touch()
        except MessageError:
            raise  # ours is not valid
        except StreamError as error:
            # Not the client's doing, which `gone` tells of: fields that are more than it takes, for one.
            raise RuntimeError(str(error)) from error
        except ConnectionClosedError as error:
            # The event that says so is on its way.
            raise ClientDisconnectedError(str(error)) from error

    # -- the request

    def _read(self) -> Message | None:
        """What there is of the body; None: nothing yet."""
        if self._expects_continue and self._phase is _Phase.START:
            self._expects_continue = False
            with suppress(InterquicError):
                self.session.h3.send_headers(self.stream_id, [(b":status", b"100")])
        data = b""
        if not self._request_ended:
            found = self.read(READ_SIZE)
            if found is None:
                return None
            data, self._request_ended = found
        self._end_told = self._request_ended
        return {"type": "http.request", "body": data, "more_body": not self._request_ended}

    # -- the response

    def _start(self, message: Message) -> None:
        status = int(message["status"])
        fields = clean_fields(message.get("headers", ()))
        names = {name for name, _ in fields}
        self._has_content = self._has_content and status not in _WITHOUT_CONTENT
        if b"content-length" in names and self._has_content:
            self._remaining = int(next(value for name, value in fields if name == b"content-length"))
        if b"date" not in names:
            fields.append(date_field())
        self._trailers = bool(message.get("trailers", False))
        self._head = [(b":status", str(status).encode()), *fields]
        self._phase = _Phase.BODY

    async def _send_body(self, message: Message) -> None:
        data = message.get("body", b"") if self._has_content else b""
        more = bool(message.get("more_body", False))
        last = not more and not self._trailers
        if self._remaining is not None:
            self._remaining -= len(data)
            if self._remaining < 0 or (self._remaining and not more):
                raise RuntimeError("the body is not as long as its content-length")
        if self._head is not None:
            alone = last and not data
            self.session.h3.send_headers(self.stream_id, self._head, end=alone)
            self._head = None
            self.session.touch()
            if alone:
                self._complete()
                return
        await self.write(data, end=last)
        if last:
            self._complete()
        elif not more:
            self._phase = _Phase.TRAILERS

    def _send_trailers(self, message: Message) -> None:
        assert self._head is None, "the body comes before trailers"
        self._trailer_fields += clean_fields(message.get("headers", ()))
        if not message.get("more_trailers", False):
            if self._has_content:
                self.session.h3.send_headers(self.stream_id, self._trailer_fields, end=True)
            else:
                # RFC 9110 §6.4.1, §9.3.2: the header section ends it, whatever a GET would have had.
                self.session.h3.send_body(self.stream_id, b"", end=True)
            self._complete()

    def _complete(self) -> None:
        self._phase = _Phase.NOTHING
        self.session.touch()
        self.on_readable()  # http.disconnect for those who wait for it

    def _end(self, error_code: H3ErrorCode) -> None:
        """The application is done with the request, in whatever way."""
        session, stream_id = self.session, self.stream_id
        session.forget(stream_id)
        if self.gone:
            return
        if self._phase is _Phase.NOTHING:
            if not self._request_ended:
                session.ignore_rest(stream_id)
        elif error_code is H3ErrorCode.H3_INTERNAL_ERROR and (
            self._phase is _Phase.START or self._head is not None
        ):
            session.send_status(stream_id, b"500")
            if not self._request_ended:
                session.ignore_rest(stream_id)
        else:
            session.reject(stream_id, error_code)
        session.touch()

    @property
    def _name(self) -> str:
        return f"{self._scope['method']} {shown_path(self._scope)}"
