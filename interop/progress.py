"""What a run shows while it runs: on a terminal a picture that changes, elsewhere a line per cell."""

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from interop.report.table import STYLES
from interop.results import CellResult, Status
from interop.runner.pool import Pool

_LATEST_FAILURES: Final = 8


class Progress:
    """A context manager; call it with each result, and with None when time has passed."""

    def __init__(self, console: Console, total: int, done: int) -> None:
        self._console = console
        self._total = total
        self._done = done
        self._counts = dict.fromkeys(Status, 0)
        self._failures: list[CellResult] = []
        self._started = time.monotonic()
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __call__(self, result: CellResult | None, pool: Pool) -> None:
        if result is not None:
            self._done += 1
            self._counts[result.status] += 1
            if result.unexpected:
                self._failures.append(result)
        if self._live is not None:
            self._live.update(self._picture(pool), refresh=True)
        elif result is not None:
            self._console.print(self._line(result), soft_wrap=True)

    def _line(self, result: CellResult) -> Text:
        text = Text(f"[{self._done}/{self._total}] ")
        text.append(f"{result.status:<11}", STYLES[result.status])
        repeat = f" #{result.repeat}" if result.repeat > 1 else ""
        text.append(f" {result.server} ← {result.client} {result.test}{repeat} {result.seconds:.1f} s")
        if result.explanation:
            text.append(f": {result.explanation}", "bright_black")
        return text

    def _picture(self, pool: Pool) -> RenderableType:
        head = Text(f"{self._done} of {self._total} cells, {time.monotonic() - self._started:.0f} s  ")
        for status, count in self._counts.items():
            head.append(f"{count} {status}  ", STYLES[status] if count else "bright_black")
        running = Table.grid(padding=(0, 2))
        for cell, seconds in pool.running:
            limit = cell.case.limit * cell.timeout_scale
            running.add_row(
                f"{cell.server.name} ← {cell.client.name}", cell.test, f"{seconds:4.0f} of {limit:.0f} s"
            )
        latest = [self._line(result) for result in self._failures[-_LATEST_FAILURES:]]
        bar = ProgressBar(total=max(self._total, 1), completed=self._done)
        return Group(head, bar, running, *latest)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
