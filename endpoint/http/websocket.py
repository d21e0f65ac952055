"""WebSockets over HTTP/3 (RFC 9220) for ASGI applications; frames and messages are those of wsproto.

https://asgi.readthedocs.io/en/latest/specs/www.html#websocket
"""

import asyncio
import logging
from collections import deque
from enum import Enum, auto
from typing import Any, Final

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError

from endpoint.errors import InterquicError
from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.events import HeadersReceived
from endpoint.h3.headers import MessageError
from endpoint.http.asgi_scope import clean_fields, shown_path
from endpoint.http.asgi_stream import (
    FAILURES,
    AsgiStream,
    ClientDisconnectedError,
    comes_from_disconnect,
    is_cancelled_from_outside,
)
from endpoint.http.lifespan import AsgiApp, Message, Scope
from endpoint.http.server import Session

_LOG = logging.getLogger(__name__)

# RFC 6455 §4.1, which RFC 8441 §5 keeps.
VERSION: Final = b"13"
READ_SIZE: Final = 64 * 1024
# A message is kept until it is complete: longer ones are refused.
MAX_MESSAGE: Final = 16 * 1024 * 1024


class _Phase(Enum):
    """Where the WebSocket is in its life, as the application has made it."""

    CONNECTING = auto()
    OPEN = auto()
    CLOSED = auto()


class WebSocket(AsgiStream):
    """One WebSocket: `receive` and `send` of the application, and a `Responder` for us."""

    __slots__ = (
        "_disconnect",
        "_messages",
        "_partial",
        "_phase",
        "_scope",
        "_size",
        "_told",
        "_wire",
        "_writing",
    )

    def __init__(self, session: Session, request: HeadersReceived, scope: Scope) -> None:
        """`scope` is that of the request; it is made one of a WebSocket."""
        super().__init__(session, request.stream_id)
        protocols = [value for name, value in scope["headers"] if name == b"sec-websocket-protocol"]
        scope["type"] = "websocket"
        scope["scheme"] = "wss"
        scope["subprotocols"] = [
            name.strip() for name in b",".join(protocols).decode("latin-1").split(",") if name.strip()
        ]
        scope["extensions"] = {}
        del scope["method"]
        self._scope = scope
        self._phase = _Phase.CONNECTING
        self._wire = Connection(ConnectionType.SERVER)
        # Held while a frame goes out: tasks send, and answers to pings come between.
        self._writing = asyncio.Lock()
        self._told = False  # of websocket.connect
        self._messages: deque[Message] = deque()
        # Parts of a message, and their length together.
        self._partial: list[str | bytes] = []
        self._size = 0
        # What the application hears when there are no more messages.
        self._disconnect: Message | None = None

    async def run(self, app: AsgiApp) -> None:
        """Run the application, and close what it leaves open."""
        code = CloseReason.NORMAL_CLOSURE
        try:
            await app(self._scope, self.receive, self.send)
        except FAILURES as error:  # logged; one WebSocket must not end the server
            if is_cancelled_from_outside(error):
                code = CloseReason.GOING_AWAY
                raise
            code = CloseReason.INTERNAL_ERROR
            if not comes_from_disconnect(error):
                _LOG.error("WebSocket %s: the application failed", shown_path(self._scope), exc_info=error)
        finally:
            self._end(code)

    async def receive(self) -> Message:
        """The next message of the client, or the end of it all."""
        if not self._told:
            self._told = True
            return {"type": "websocket.connect"}
        while not self._messages:
            if self.gone or self._disconnect is not None or self._phase is _Phase.CLOSED:
                return self._disconnect or _disconnected(CloseReason.ABNORMAL_CLOSURE)
            found = self.read(READ_SIZE) if self._phase is _Phase.OPEN else None
            if found is None:
                if not self.gone:
                    await self.wait_readable()
                continue
            await self._take(*found)
        return self._messages.popleft()

    async def send(self, message: Message) -> None:
        """Take a message of the application.

        Raises:
            ClientDisconnectedError: the client has gone.
            RuntimeError: the message is not one that may come now.
            ValueError: the fields of the answer are not valid HTTP.
        """
        kind = message["type"]
        if self.gone or (self._disconnect is not None and kind != "websocket.close"):
            raise ClientDisconnectedError("the client has gone")
        try:
            match self._phase, kind:
                case _Phase.CONNECTING, "websocket.accept":
                    self._accept(message)
                case _Phase.CONNECTING, "websocket.close":
                    self._refuse(b"403")
                case _Phase.OPEN, "websocket.send":
                    await self._send_message(message)
                case _Phase.OPEN, "websocket.close":
                    code = int(message.get("code") or CloseReason.NORMAL_CLOSURE)
                    await self._close(code, message.get("reason") or "")
                case _:
                    raise RuntimeError(f"{kind} can't be sent now")
        except MessageError:
            raise  # ours is not valid
        except InterquicError as error:
            raise ClientDisconnectedError(str(error)) from error

    # -- from the client

    async def _take(self, data: bytes, ended: bool) -> None:
        answers = b""
        self._wire.receive_data(data)
        for event in self._wire.events():
            answers += self._on_event(event)
        if self._size > MAX_MESSAGE:
            await self._close(CloseReason.MESSAGE_TOO_BIG, "")
            self._disconnect = _disconnected(CloseReason.MESSAGE_TOO_BIG)
            return
        closed = self._disconnect is not None
        if closed:
            self._phase = _Phase.CLOSED
        if answers:
            await self._write_frames(answers, end=closed)
        if ended and not closed:
            # RFC 9220 §3: the end of the stream is what the end of the TCP connection is elsewhere.
            self._disconnect = _disconnected(CloseReason.ABNORMAL_CLOSURE)

    def _on_event(self, event: Event) -> bytes:
        """What has to be answered at once."""
        match event:
            case TextMessage() | BytesMessage():
                if event.data:
                    self._size += len(event.data)
                    self._partial.append(event.data if isinstance(event, TextMessage) else bytes(event.data))
                if event.message_finished and self._size <= MAX_MESSAGE:
                    self._complete(is_text=isinstance(event, TextMessage))
            case Ping():
                return self._wire.send(event.response())
            case CloseConnection():
                # The client's, or wsproto's for a client that breaks the rules.
                self._disconnect = _disconnected(event.code, event.reason or "")
                return self._wire.send(event.response())
        return b""

    def _complete(self, *, is_text: bool) -> None:
        parts: Any = self._partial
        content = ("" if is_text else b"").join(parts)
        self._messages.append({"type": "websocket.receive", "text" if is_text else "bytes": content})
        self._partial = []
        self._size = 0

    # -- from the application

    def _accept(self, message: Message) -> None:
        fields = clean_fields(message.get("headers", ()))
        if (protocol := message.get("subprotocol")) is not None:
            fields.append((b"sec-websocket-protocol", protocol.encode()))
        # RFC 9220 §3, RFC 8441 §5: 200, and no key to be accepted.
        self.session.h3.send_headers(self.stream_id, [(b":status", b"200"), *fields])
        self.session.touch()
        self._phase = _Phase.OPEN

    async def _send_message(self, message: Message) -> None:
        text, data = message.get("text"), message.get("bytes")
        event = TextMessage(data=text) if text is not None else BytesMessage(data=bytes(data or b""))
        await self._write_frames(self._wire.send(event), end=False)

    async def _close(self, code: int, reason: str) -> None:
        """Say that it is over, and end the stream. What the client still sends is dropped."""
        self._phase = _Phase.CLOSED
        try:
            frame = self._wire.send(CloseConnection(code, reason[:100]))
        except LocalProtocolError:
            frame = b""  # said already
        self.on_readable()  # websocket.disconnect for those who wait for it
        await self._write_frames(frame, end=True)

    async def _write_frames(self, frames: bytes, *, end: bool) -> None:
        """Hand over whole frames: those of others, of which a part is out, come first."""
        async with self._writing:
            try:
                await self.write(frames, end=end)
            except asyncio.CancelledError:
                # Nothing can follow half a frame.
                self.session.reject(self.stream_id, H3ErrorCode.H3_REQUEST_CANCELLED)
                self.session.touch()
                self.on_abandoned()
                raise

    def _refuse(self, status: bytes) -> None:
        self._phase = _Phase.CLOSED
        self.session.send_status(self.stream_id, status)

    def _end(self, code: CloseReason) -> None:
        """The application is done with it, in whatever way."""
        session, stream_id = self.session, self.stream_id
        session.forget(stream_id)
        if self.gone:
            return
        if self._phase is _Phase.CONNECTING:
            self._refuse(b"403" if code is CloseReason.NORMAL_CLOSURE else b"500")
        elif self._phase is _Phase.OPEN:
            try:
                frame = self._wire.send(CloseConnection(code))
                complete = not self._writing.locked() and (
                    session.h3.send_body(stream_id, frame, end=True) == len(frame)
                )
            except (LocalProtocolError, InterquicError):
                complete = False
            if not complete:
                session.reject(stream_id, H3ErrorCode.H3_REQUEST_CANCELLED)
        session.ignore_rest(stream_id)
        session.touch()


def _disconnected(code: int, reason: str = "") -> Message:
    return {"type": "websocket.disconnect", "code": int(code), "reason": reason}
