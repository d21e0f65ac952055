"""The server of a cell: one process, or two where the test case kills it and starts it anew."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from interop.runner.process import Process
from interop.simnet.pump import Pump

# What the first of two has said is in a file of this name beside that of the second.
KILLED_OUTPUT: Final = "output-killed.txt"
_POLL: Final = 0.02


class Servers:
    """A context manager that leaves no process behind. `present` is the one that runs, or ran last.

    `wait` returns when a server answers, as `Site.wait_for_server` does once it knows how long that may take.
    """

    present: Process

    def __init__(
        self, start: Callable[[Path], Process], wait: Callable[[Callable[[], bool]], None], output: Path
    ) -> None:
        self._start = start
        self._wait = wait
        self._output = output
        self._running = ExitStack()

    def begin(self) -> None:
        """Start one. Raises TimeoutError or ValueError if it does not answer as it has to."""
        self.present = self._running.enter_context(self._start(self._output))
        self._wait(lambda: self.present.poll() is None)

    def begin_anew(self, pump: Pump, client: Process, after: int, deadline: float) -> None:
        """When the client has got `after` bytes kill the server and start another. Raises as `begin`.

        What was on its way to the first reaches the second, so it hears of the connection whatever the client
        makes of the silence. Does nothing if either has ended before, or at the deadline.
        """
        while pump.network.down.statistics.delivered_bytes < after:
            if client.wait(_POLL) is not None or self.present.poll() is not None:
                return
            if time.monotonic() >= deadline:
                return
        with pump.server_away():
            self._running.close()
            self._output.rename(self._output.with_name(KILLED_OUTPUT))
            self.begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._running.close()
