"""SIGTERM and SIGINT end a command at once, but in order."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run(command: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine in an event loop of its own, cancelling it at the first signal.

    Returns what the coroutine returns (it may catch CancelledError to choose), or 128 + the signal.
    """
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(_watch(command))


async def _watch(command: Coroutine[Any, Any, int]) -> int:
    loop = asyncio.get_running_loop()
    task = loop.create_task(command)
    received: list[int] = []

    def on_signal(number: int) -> None:
        received.append(number)
        loop.call_soon_threadsafe(task.cancel)

    for number in _SIGNALS:
        try:
            loop.add_signal_handler(number, on_signal, number)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda number, _frame: on_signal(number))
    try:
        return await task
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0]
