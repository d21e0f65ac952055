"""An endpoint as a process with the life cycle that the interop runner gives its containers."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from interop.registry import Launch

UNSUPPORTED: Final = 127
# What a container has between SIGTERM and SIGKILL.
GRACE: Final = 10.0
# The leader of an endpoint's process group. It waits for the end of a pipe, which comes even when the runner
# is killed, and takes the group with it. (A group that stands still gets SIGHUP when it loses its parent.)
_LEADER: Final = ("sh", "-c", "trap '' HUP; read -r _; kill -KILL 0")


class Process:
    """A context manager that leaves neither the process nor any child of its group behind.

    Nor does a runner that is killed itself.

    `prefix` stands before the command, to run it elsewhere; it has to end in an exec. What the program says
    goes to `output`.
    """

    def __init__(self, launch: Launch, output: Path, prefix: Sequence[str] = ()) -> None:
        self.output_file = output
        # Of one terminal ^C is for the runner alone: it stops its endpoints itself, and in order.
        self._leader = subprocess.Popen(_LEADER, stdin=subprocess.PIPE, process_group=0)  # noqa: S603 - ours
        try:
            with output.open("wb") as file:
                self._process = subprocess.Popen(  # noqa: S603 - no shell
                    [*prefix, *launch.argv],
                    env=launch.env,
                    cwd=launch.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    process_group=self._leader.pid,
                )
        except BaseException:
            self._kill_group()
            raise
        self._pauser: threading.Thread | None = None
        self._ended = threading.Event()

    @property
    def output(self) -> str:
        """Everything that the program has said so far."""
        return self.output_file.read_text(errors="replace")

    def poll(self) -> int | None:
        """The exit status, None while it runs; negative for a signal."""
        return self._process.poll()

    def wait(self, timeout: float) -> int | None:
        """The exit status once it has ended by itself; None if it has not in so many seconds."""
        try:
            return self._process.wait(max(timeout, 0.0))
        except subprocess.TimeoutExpired:
            return None

    def pause(self, periods: Sequence[tuple[float, float]]) -> None:
        """Let it stand still in these periods, in seconds from now."""
        started = time.monotonic()

        def work() -> None:
            for begin, end in periods:
                for moment, number in ((begin, signal.SIGSTOP), (end, signal.SIGCONT)):
                    if self._ended.wait(max(0.0, started + moment - time.monotonic())):
                        return
                    self._signal_group(number)

        self._pauser = threading.Thread(target=work, name="pauses", daemon=True)
        self._pauser.start()

    def stop(self, grace: float = GRACE) -> int | None:
        """SIGTERM to the process alone, as to process 1 of a container; None if it had to be killed."""
        self._go_on()
        if self.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        status = self.wait(grace)
        self._kill_group()
        self._process.wait()
        return status

    def _go_on(self) -> None:
        self._ended.set()
        if self._pauser is not None:
            self._pauser.join()
            self._signal_group(signal.SIGCONT)

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._leader.pid, number)

    def _kill_group(self) -> None:
        # Once the leader has been waited for, its number may be somebody else's.
        if self._leader.returncode is None:
            self._signal_group(signal.SIGKILL)
            self._leader.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._kill_group()
        self._process.wait()
