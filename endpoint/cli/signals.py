"""SIGTERM and SIGINT end a command at once, but in order."""

import asyncio
import os
import signal
import threading
from collections.abc import Coroutine
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run(command: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine in an event loop of its own, cancelling it at the first signal.

    Returns what the coroutine returns (it may catch CancelledError to choose), or 128 + the signal.
    """
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        status, was_stopped = runner.run(_watch(command))
        if was_stopped and threading.active_count() > 1:
            # All else has ended in order. But a thread that reads from a terminal, writes to somebody who
            # does not read or asks a name server would be waited for, and nothing can end that.
            os._exit(status)
        return status


async def _watch(command: Coroutine[Any, Any, int]) -> tuple[int, bool]:
    """The status, and whether a signal has ended the command before it had one."""
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
        return await task, False
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0], True
