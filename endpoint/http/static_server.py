"""Files over HTTP/3, without tasks: a file is read as the stream takes it."""

import time

from endpoint.errors import InterquicError
from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.events import HeadersReceived
from endpoint.hq import CHUNK_SIZE
from endpoint.http.server import Session, pseudo_header
from endpoint.http.static import Response, respond
from endpoint.io.files import Directory

# What is read of the body of a request, for which there is no use here, before the client is asked to stop.
# Most have none, but some send the end of the stream in a packet of its own.
DISCARD_LIMIT = 64 * 1024


class StaticServer:
    """Serves a directory. `answer` is for `endpoint.http.server.H3Server`."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def answer(self, session: Session, request: HeadersReceived) -> "Transfer | None":
        """Answer a request, as far as its stream takes it at once."""
        response = respond(
            self._directory,
            pseudo_header(request.headers, b":method"),
            pseudo_header(request.headers, b":path"),
            request.headers,
            now=time.time(),
        )
        transfer = Transfer(session, request, response)
        transfer.start()
        return None if transfer.done else transfer


class Transfer:
    """One answer on its way. `piece` was read from the file, but not taken by the stream yet."""

    __slots__ = (
        "_content",
        "_discarded",
        "_piece",
        "_remaining",
        "_request_ended",
        "_response",
        "_session",
        "_stream_id",
    )

    def __init__(self, session: Session, request: HeadersReceived, response: Response) -> None:
        """Made by `StaticServer`. Takes the content of `response`, to close it."""
        self._session = session
        self._stream_id = request.stream_id
        self._request_ended = request.ended
        self._response = response
        # None once the answer is complete, or abandoned.
        self._content = response.content
        self._remaining = response.length
        self._piece: bytes | memoryview = b""
        self._discarded = 0

    @property
    def done(self) -> bool:
        """Whether nothing more is to be sent or to be read."""
        return self._content is None and self._request_ended

    def start(self) -> None:
        """Send the head of the answer, and what the stream takes of the content."""
        response = self._response
        head = [(b":status", b"%d" % response.status), *response.headers]
        try:
            piece = self._read() if self._remaining else b""
            accepted = self._session.h3.send_response(self._stream_id, head, piece, end=not self._remaining)
        except (OSError, InterquicError):
            # The file can't be read, or the client takes no fields: there is no answer.
            self._session.reject(self._stream_id, H3ErrorCode.H3_INTERNAL_ERROR)
            self._request_ended = True
            self._close()
        else:
            if accepted < len(piece):
                self._piece = memoryview(piece)[accepted:]
            elif self._remaining:
                self.on_writable()
            elif self._content is not None:
                # All is sent, and the session does not know us yet.
                self._content.close()
                self._content = None

    def on_writable(self) -> None:
        """Write until the stream takes no more, or the content ends."""
        if self._content is None:
            return
        try:
            while self._piece or self._remaining:
                piece = self._piece
                if not piece:
                    piece = self._read()
                accepted = self._session.h3.send_body(self._stream_id, piece, end=not self._remaining)
                self._piece = b"" if accepted == len(piece) else memoryview(piece)[accepted:]
                if self._piece:
                    return
        except OSError:
            self._session.reject(self._stream_id, H3ErrorCode.H3_INTERNAL_ERROR)
            self._request_ended = True
        except InterquicError:
            self._request_ended = True  # the event that says why is on its way
        self._close()

    def _read(self) -> bytes:
        """The next piece of the content. Raises OSError if there is none."""
        assert self._content is not None
        piece = self._content.read(min(CHUNK_SIZE, self._remaining))
        if not piece:
            raise OSError("the file has become shorter than its content-length says")
        self._remaining -= len(piece)
        return piece

    def on_readable(self) -> None:
        """Drop what comes of the request, and ask for no more than a little."""
        while not self._request_ended:
            data, self._request_ended = self._session.read_body(self._stream_id, DISCARD_LIMIT)
            if not data:
                break
            self._discarded += len(data)
            if self._discarded > DISCARD_LIMIT and not self._request_ended:
                self._session.ignore_rest(self._stream_id)
                self._request_ended = True
        self._forget_when_done()

    def on_abandoned(self) -> None:
        """Nobody waits for the file any more."""
        self._request_ended = True
        self._close()

    def _close(self) -> None:
        if self._content is not None:
            self._content.close()
            self._content = None
        self._forget_when_done()

    def _forget_when_done(self) -> None:
        if self.done:
            self._session.forget(self._stream_id)
