"""What a download has done so far, and its end, for people to read."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from endpoint.io.files import Downloads

# Often enough to look alive; each update costs some 2 ms.
_INTERVAL = 0.2


@asynccontextmanager
async def show_progress(downloads: "Downloads", total: int) -> AsyncIterator[None]:
    """A bar with rate while standard output is a terminal, nothing otherwise. `total` is in files."""
    if not sys.stdout.isatty():
        yield
        return
    task = asyncio.create_task(_draw(downloads, total))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _draw(downloads: "Downloads", total: int) -> None:
    # Imported here: it takes 50 ms that a download without a terminal need not wait for.
    from rich import progress  # noqa: PLC0415

    # HTTP/0.9 does not tell the length of a file, so the bar counts files and the rest is in bytes.
    bar = progress.Progress(
        progress.TextColumn("{task.completed:.0f} of {task.total:.0f} files"),
        progress.BarColumn(),
        progress.TextColumn("{task.fields[size]}  {task.fields[rate]}"),
        progress.TimeElapsedColumn(),
        auto_refresh=False,  # that would be a thread of its own
        transient=True,
    )
    start = time.monotonic()
    task = bar.add_task("", total=total, size="", rate="")
    with bar:
        while True:
            elapsed = time.monotonic() - start
            bar.update(
                task,
                completed=len(downloads.completed),
                size=format_size(downloads.received),
                rate=format_rate(downloads.received, elapsed),
            )
            bar.refresh()
            await asyncio.sleep(_INTERVAL)


def summary(files: int, size: int, elapsed: float) -> str:
    """One line about a complete download."""
    noun = "file" if files == 1 else "files"
    return f"{files} {noun}, {format_size(size)} in {elapsed:.2f} s, {format_rate(size, elapsed)}"


def format_size(size: int) -> str:
    """Bytes in decimal units: 1.5 MB is 1,500,000 bytes."""
    value = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.2f} {unit}"
        value /= 1000
    return f"{value:.2f} TB"


def format_rate(size: int, elapsed: float) -> str:
    """Bits per second, for `size` bytes in `elapsed` seconds."""
    rate = size * 8 / elapsed if elapsed > 0 else 0.0
    return f"{rate / 1e6:.2f} Mbit/s" if rate < 1e9 else f"{rate / 1e9:.2f} Gbit/s"
