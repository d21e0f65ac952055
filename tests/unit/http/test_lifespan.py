"""The lifespan protocol: what applications answer, and what they fail to."""

import asyncio
import gc

import pytest

from endpoint.http.lifespan import AsgiApp, Lifespan, LifespanError, LifespanMode, Receive, Scope, Send


async def orderly(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "lifespan"
    scope["state"]["seen"] = []
    for event in ("startup", "shutdown"):
        assert (await receive())["type"] == f"lifespan.{event}"
        scope["state"]["seen"].append(event)
        await send({"type": f"lifespan.{event}.complete"})


async def unaware(scope: Scope, _receive: Receive, _send: Send) -> None:
    raise KeyError(scope["path"])


async def silent(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Returns at once, as some applications do for a scope that they don't know."""


def test_an_application_starts_and_ends_in_order() -> None:
    async def go() -> None:
        lifespan = Lifespan(orderly)
        assert lifespan.state is None
        await lifespan.startup()
        assert lifespan.state == {"seen": ["startup"]}
        await lifespan.shutdown()
        assert lifespan.state == {"seen": ["startup", "shutdown"]}

    asyncio.run(go())


@pytest.mark.parametrize("app", [unaware, silent])
def test_auto_leaves_alone_who_does_not_know_the_protocol(app: AsgiApp) -> None:
    async def go() -> None:
        lifespan = Lifespan(app)
        await lifespan.startup()
        assert lifespan.state is None
        await lifespan.shutdown()

    asyncio.run(go())


@pytest.mark.parametrize(("app", "reason"), [(unaware, "KeyError: 'path'"), (silent, "it ended")])
def test_on_wants_it(app: AsgiApp, reason: str) -> None:
    async def go() -> None:
        with pytest.raises(LifespanError, match=f"does not support lifespan: {reason}"):
            await Lifespan(app, LifespanMode.ON).startup()

    asyncio.run(go())


def test_off_does_not_ask() -> None:
    async def never(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError("asked")

    async def go() -> None:
        lifespan = Lifespan(never, LifespanMode.OFF)
        await lifespan.startup()
        await lifespan.shutdown()
        assert lifespan.state is None

    asyncio.run(go())


def test_a_failure_is_told_once() -> None:
    """Starlette's applications say why they can't start, and raise it too."""
    reported: list[object] = []

    async def both(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        raise ValueError("no database")

    async def go() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
        with pytest.raises(LifespanError, match="no database"):
            await Lifespan(both).startup()
        await asyncio.sleep(0)
        gc.collect()

    asyncio.run(go())
    assert not reported


def test_failures_are_told() -> None:
    async def no_start(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    async def no_end(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed"})

    async def dies(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise ValueError("gone")

    async def babbles(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "hello"})

    async def mumbles(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({})

    async def go() -> None:
        with pytest.raises(LifespanError, match=r"answered lifespan\.startup with None$"):
            await Lifespan(mumbles).startup()
        with pytest.raises(LifespanError, match=r"^the application could not start: no database$"):
            await Lifespan(no_start).startup()
        with pytest.raises(LifespanError, match=r"answered lifespan\.startup with hello$"):
            await Lifespan(babbles).startup()
        ending = Lifespan(no_end)
        await ending.startup()
        with pytest.raises(LifespanError, match=r"^the application could not end in order$"):
            await ending.shutdown()
        dying = Lifespan(dies)
        await dying.startup()
        with pytest.raises(LifespanError, match=r"^the application failed: ValueError: gone$"):
            await dying.shutdown()

    asyncio.run(go())
