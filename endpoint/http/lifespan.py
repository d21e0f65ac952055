"""The lifespan protocol of ASGI: an application is told of the server's start and end.

https://asgi.readthedocs.io/en/latest/specs/lifespan.html
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from enum import StrEnum
from typing import Any, Final

_LOG = logging.getLogger(__name__)

# Messages and scopes are the application's as much as ours: ASGI gives their values no common type.
Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

VERSIONS: Final = {"version": "3.0", "spec_version": "2.4"}


class LifespanMode(StrEnum):
    """What to do about an application that may not know the protocol."""

    AUTO = "auto"  # use it if the application does
    ON = "on"  # an application that does not is an error
    OFF = "off"  # don't ask


class LifespanError(Exception):
    """The application could not start, or not end in order; the message says why."""


class Lifespan:
    """The lifespan of one application. `state` is what it shares with its requests, None if it has none."""

    def __init__(self, app: AsgiApp, mode: LifespanMode = LifespanMode.AUTO) -> None:
        self._app = app
        self._mode = mode
        self._state: dict[str, Any] = {}
        self._task: asyncio.Task[None] | None = None
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()

    @property
    def state(self) -> dict[str, Any] | None:
        """What requests find a copy of in their scope; None without the protocol."""
        return None if self._task is None else self._state

    async def startup(self) -> None:
        """Let the application start. Raises LifespanError when it fails."""
        if self._mode is LifespanMode.OFF:
            return
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(_take_exception)
        answer = await self._ask("lifespan.startup")
        if answer is not None:
            self._check(answer, "lifespan.startup")
            return
        # It ended instead: that is how an application says that it does not know the protocol.
        task, self._task = self._task, None
        error = task.exception()
        if self._mode is LifespanMode.ON:
            reason = "it ended" if error is None else f"{type(error).__name__}: {error}"
            raise LifespanError(f"the application does not support lifespan: {reason}") from error
        if error is not None:
            _LOG.info("no lifespan: the application answers with %r", error)

    async def shutdown(self) -> None:
        """Let the application end. Raises LifespanError when it fails."""
        if self._task is None:
            return
        answer = await self._ask("lifespan.shutdown")
        if answer is not None:
            self._check(answer, "lifespan.shutdown")
        elif (error := self._task.exception()) is not None:
            raise LifespanError(f"the application failed: {type(error).__name__}: {error}") from error

    async def _run(self) -> None:
        await self._app(
            {"type": "lifespan", "asgi": VERSIONS, "state": self._state},
            self._to_app.get,
            self._from_app.put,
        )

    async def _ask(self, event: str) -> Message | None:
        """What the application answers; None when it ended without an answer."""
        assert self._task is not None
        await self._to_app.put({"type": event})
        answer = asyncio.ensure_future(self._from_app.get())
        await asyncio.wait((answer, self._task), return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        return None

    def _check(self, answer: Message, event: str) -> None:
        kind = answer.get("type")
        if kind == f"{event}.complete":
            return
        if kind == f"{event}.failed":
            when = "start" if event == "lifespan.startup" else "end in order"
            message = answer.get("message", "")
            raise LifespanError(f"the application could not {when}" + (f": {message}" if message else ""))
        raise LifespanError(f"the application answered {event} with {kind}")


def _take_exception(task: "asyncio.Task[None]") -> None:
    """Whoever answers that it failed may raise it too: it is told already."""
    if not task.cancelled():
        task.exception()
