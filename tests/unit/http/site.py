"""A small HTTP/3 server on loopback for the tests of clients, in the same event loop."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from endpoint.config import Config
from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.events import Headers, HeadersReceived
from endpoint.http.server import H3Server, Responder, Session, pseudo_header
from endpoint.io.server import open_server
from endpoint.keyring import KeyRing
from endpoint.tls.config import TlsConfig

PIECE = bytes(range(256)) * 256


class _Body:
    """Sends `size` bytes, as the stream takes them."""

    def __init__(self, session: Session, stream_id: int, size: int) -> None:
        self._session, self._stream_id, self._left = session, stream_id, size
        self.on_writable()

    def on_writable(self) -> None:
        while self._left:
            piece = PIECE[: self._left]
            taken = self._session.h3.send_body(self._stream_id, piece, end=len(piece) == self._left)
            self._left -= taken
            if taken < len(piece):
                return

    def on_readable(self) -> None:
        self._session.read_body(self._stream_id)

    def on_abandoned(self) -> None:
        self._left = 0


class _Upload:
    """Reads a request's body, then says what it was. `trailers`: and how long, after that."""

    def __init__(self, site: "Site", session: Session, request: HeadersReceived, *, trailers: bool) -> None:
        self._site, self._session, self._stream_id = site, session, request.stream_id
        self._trailers = trailers
        self._method = pseudo_header(request.headers, b":method")
        self._content = bytearray()
        self.ended = request.ended
        if self.ended:
            self._respond()

    def on_readable(self) -> None:
        while not self.ended:
            data, self.ended = self._session.read_body(self._stream_id)
            self._content += data
            if not data:
                break
        if self.ended:
            self._respond()

    def _respond(self) -> None:
        h3, stream_id = self._session.h3, self._stream_id
        content = self._method + b" " + bytes(self._content[:1000])
        h3.send_headers(stream_id, [(b":status", b"200"), (b"x-size", b"%d" % len(self._content))])
        h3.send_body(stream_id, content, end=not self._trailers)
        if self._trailers:
            h3.send_headers(stream_id, [(b"x-after", b"all")], end=True)
        self._session.forget(stream_id)

    def on_writable(self) -> None:
        """Everything fitted."""

    def on_abandoned(self) -> None:
        self._site.abandoned.append(self._stream_id)


class _Silence:
    """Never answers, reads nothing, and notes when it is told to stop."""

    def __init__(self, site: "Site", stream_id: int) -> None:
        self._site, self._stream_id = site, stream_id

    def on_readable(self) -> None:
        """What is not read holds the client back."""

    def on_writable(self) -> None:
        """There is nothing to write."""

    def on_abandoned(self) -> None:
        self._site.abandoned.append(self._stream_id)


@dataclass
class Site:
    """What the server saw. `requests` are the headers of all that came."""

    requests: list[Headers] = field(default_factory=list)
    abandoned: list[int] = field(default_factory=list)
    early: list[bool] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    port: int = 0
    # What its usual answers have besides.
    fields: Headers = ()

    def answer(self, session: Session, request: HeadersReceived) -> Responder | None:
        """For `H3Server`."""
        self.requests.append(request.headers)
        self.early.append(session.early)
        if session not in self.sessions:
            self.sessions.append(session)
        h3, stream_id = session.h3, request.stream_id
        name, _, argument = pseudo_header(request.headers, b":path").decode()[1:].partition("/")
        match name:
            case "echo" | "trailers":
                return _Upload(self, session, request, trailers=name == "trailers")
            case "bytes":
                size = int(argument)
                fields = [(b":status", b"200"), (b"content-length", b"%d" % size)]
                h3.send_headers(stream_id, fields, end=not size)
                return _Body(session, stream_id, size) if size else None
            case "silence":
                return _Silence(self, stream_id)
            case "reject" | "break":
                code = "H3_REQUEST_REJECTED" if name == "reject" else "H3_INTERNAL_ERROR"
                h3.cancel(stream_id, H3ErrorCode[code])
                return None
            case "goaway":
                h3.send_goaway(final=True)
            case "hints":
                for _ in range(int(argument or 1)):
                    h3.send_headers(stream_id, [(b":status", b"103"), (b"link", b"</a>; rel=preload")])
            case "stop":
                h3.stop(stream_id, H3ErrorCode.H3_NO_ERROR)
        status = argument.encode() if name == "status" else b"200"
        fields = [(b":status", status), (b"server", b"site"), *self.fields]
        if name in {"move", "to"}:
            target = f"/{argument}" if name == "move" else "/to//round" if argument == "/round" else argument
            fields = [(b":status", b"302"), (b"location", target.encode())]
        h3.send_headers(stream_id, fields)
        body = b"" if pseudo_header(request.headers, b":method") == b"HEAD" else b"the answer"
        h3.send_body(stream_id, body, end=True)
        return None


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that the other end brings about, which no event tells."""
    while not condition():  # noqa: ASYNC110 - so many different conditions
        await asyncio.sleep(0.001)


@asynccontextmanager
async def running(
    tls: TlsConfig, *, config: Config | None = None, early_data: bool = False, port: int = 0
) -> AsyncIterator[Site]:
    """The site on a port of loopback; sessions can be resumed, with 0-RTT if `early_data`."""
    site = Site()
    server = H3Server(site.answer)
    keys = KeyRing.generate(os.urandom, time.time()) if early_data else None
    async with open_server(
        "127.0.0.1",
        port,
        application=server,
        tls=tls,
        config=config,
        ticket_keys=keys,
        early_data=early_data,
    ) as driver:
        server.start(driver)
        site.port = driver.udp.address[1]
        yield site
