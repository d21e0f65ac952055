"""The stream of a request as tasks of an ASGI application use it: they wait for bytes, room, the end."""

import asyncio
from typing import Final

from endpoint.errors import InterquicError
from endpoint.http.server import Session

# What an application may end with that is no end of the server: SystemExit too, which comes from parsers of
# arguments and the like, and a cancellation that it has made itself.
FAILURES: Final = (Exception, SystemExit, asyncio.CancelledError)


class ClientDisconnectedError(OSError):
    """`send` after the client has gone: ASGI wants an OSError."""


class AsgiStream:
    """A `Responder` whose events tasks wait for. `gone`: the client is not there any more."""

    __slots__ = ("_readable", "_writable", "gone", "session", "stream_id")

    def __init__(self, session: Session, stream_id: int) -> None:
        self.session = session
        self.stream_id = stream_id
        self.gone = False
        # Made when somebody waits; there may be several who wait for the end.
        self._readable: asyncio.Event | None = None
        self._writable: asyncio.Event | None = None

    def on_readable(self) -> None:
        """Part of the body is here."""
        if self._readable is not None:
            self._readable.set()

    def on_writable(self) -> None:
        """There is room again."""
        if self._writable is not None:
            self._writable.set()

    def on_abandoned(self) -> None:
        """The client has gone."""
        self.gone = True
        self.on_readable()
        self.on_writable()

    def read(self, max_bytes: int) -> tuple[bytes, bool] | None:
        """What there is of the body, and whether it ends there; None: nothing yet, or the client is gone."""
        try:
            data, ended = self.session.read_body(self.stream_id, max_bytes)
        except InterquicError:
            self.gone = True
            return None
        self.session.touch()
        return (data, ended) if data or ended else None

    async def wait_readable(self) -> None:
        """Wait until there may be more to read, or the client has gone."""
        self._readable = self._readable or asyncio.Event()
        self._readable.clear()
        await self._readable.wait()

    async def write(self, data: bytes | memoryview, *, end: bool) -> None:
        """Hand over all of `data`, waiting for room. Raises ClientDisconnectedError, or as `send_body`."""
        while data or end:
            accepted = self.session.h3.send_body(self.stream_id, data, end=end)
            self.session.touch()
            if accepted == len(data):
                return
            data = memoryview(data)[accepted:]
            self._writable = self._writable or asyncio.Event()
            self._writable.clear()
            await self._writable.wait()
            if self.gone:
                raise ClientDisconnectedError("the client has gone")


def is_cancelled_from_outside(error: BaseException) -> bool:
    """Whether it is the cancellation of the current task, for its end, and no failure of the application."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def comes_from_disconnect(error: BaseException | None) -> bool:
    """Whether an application failed because its client had gone."""
    while error is not None:
        if isinstance(error, ClientDisconnectedError):
            return True
        if isinstance(error, BaseExceptionGroup):
            return all(map(comes_from_disconnect, error.exceptions))
        error = error.__cause__ or error.__context__
    return False
