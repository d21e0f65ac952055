"""Several cells at once: a process per worker, so that a busy one does not slow the networks of others."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType, TracebackType
from typing import Final, Self, cast

from interop.results import CellResult, Owner, Status
from interop.runner import aftermath
from interop.runner.cell import blank_result, run_cell
from interop.runner.plan import Cell

_STOP: Final = 15.0


@dataclass(slots=True)
class Worker:
    """A process, the pipe to it, and what it has to do now; `since` is of the monotonic clock."""

    process: SpawnProcess
    connection: Connection
    cell: Cell | None = None
    since: float = 0.0


class _Interrupted(BaseException):
    """SIGTERM to a worker: everything on the stack gets to clean up."""


def _follow_runner() -> None:
    """End with the runner, even if it was killed."""
    runner = parent_process()
    assert runner is not None
    runner.join()
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGTERM)


def _work(connection: Connection) -> None:
    """A worker's life: cells in, results out, until the other end is closed."""
    # A session of its own: ^C at the terminal is the runner's to hear, which then stops its workers.
    os.setsid()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise _Interrupted

    signal.signal(signal.SIGTERM, interrupt)
    threading.Thread(target=_follow_runner, name="follow the runner", daemon=True).start()
    try:
        while True:
            connection.send(run_cell(connection.recv()))
    except (EOFError, BrokenPipeError, _Interrupted):
        connection.close()


class Pool:
    """A context manager that runs cells on up to `jobs` workers; leaving it stops what still runs."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._workers: list[Worker] = []

    @property
    def running(self) -> list[tuple[Cell, float]]:
        """The cells that are being run, and for how many seconds."""
        now = time.monotonic()
        return [(worker.cell, now - worker.since) for worker in self._workers if worker.cell is not None]

    def run(self, cells: Sequence[Cell], tick: float) -> Iterator[CellResult | None]:
        """Results as they come; None whenever `tick` seconds have passed without one."""
        waiting = list(reversed(cells))
        while waiting or self.running:
            while waiting and len(self.running) < self._jobs:
                self._give(waiting.pop())
            busy = {worker.connection: worker for worker in self._workers if worker.cell is not None}
            ready = wait(list(busy), tick)
            if not ready:
                yield None
            for connection in ready:
                yield self._take(busy[cast("Connection", connection)])

    def _give(self, cell: Cell) -> None:
        worker = next((worker for worker in self._workers if worker.cell is None), None) or self._start()
        worker.cell, worker.since = cell, time.monotonic()
        worker.connection.send(cell)

    def _start(self) -> Worker:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs,), name="interop worker", daemon=True)
        process.start()
        theirs.close()
        worker = Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _take(self, worker: Worker) -> CellResult:
        cell = worker.cell
        assert cell is not None
        worker.cell = None
        try:
            result: CellResult = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            # Killed, or an error of ours, whose traceback is on standard error.
            worker.process.join()
            worker.connection.close()
            self._workers.remove(worker)
            result = blank_result(
                cell, Status.FAILED, Owner.RUNNER, f"runner: the worker ended with {worker.process.exitcode}"
            )
            # Its traces are left alone: they may be what it died of.
            aftermath.explain(cell, result, {})
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.connection.close()
            if worker.cell is not None:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_STOP)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
