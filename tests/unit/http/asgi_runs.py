"""One request to an ASGI application, on an HTTP/3 connection that the test plays."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from unit.http.fake_h3 import FakeH3, FakeSession

from endpoint.http.asgi import AsgiServer
from endpoint.http.lifespan import AsgiApp, Message

START: Message = {"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"1")]}


def body(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def run(app: AsgiApp, act: Callable[[FakeSession], Awaitable[None]], **options: Any) -> FakeH3:
    """Let the test act on a session that the application answers, then wait for the application."""

    async def go() -> FakeH3:
        asgi = AsgiServer(app, **options)
        session = FakeSession(asgi.answer)
        await act(session)
        for _ in range(20):
            await asyncio.sleep(0)
        await asgi.end_tasks()
        return session.fake

    return asyncio.run(asyncio.wait_for(go(), 5))


def get(*fields: tuple[bytes, bytes], **pseudo: str) -> Callable[[FakeSession], Awaitable[None]]:
    """A request without a body."""

    async def act(session: FakeSession) -> None:
        session.request(*fields, ended=True, **pseudo)

    return act
