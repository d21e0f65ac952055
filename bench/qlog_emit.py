"""What tracing costs: the core in memory with and without it, CPU time, rounds taken in turn.

    python -m bench.qlog_emit [--megabytes N] [--rounds N] [--levels core,base,extra]

Both ends write their trace, and there are no sockets to share the time with: in a real transfer tracing
weighs less. The minimum and the median of the rounds; a ratio of two minima repeats within a few per cent.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from bench.core import handshake
from endpoint.trace import TracerFactory
from endpoint.tracing import QlogFolder
from endpoint.tracing.qlog import QLOG_LEVELS


def measure(megabytes: int, tracer: TracerFactory | None) -> float:
    """CPU seconds of one download, both ends together, without the handshake."""
    ends = handshake(tracer)
    ends.download(1_000_000)
    started = time.process_time()
    ends.download(megabytes * 1_000_000)
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--levels", default="core,base,extra")
    arguments = parser.parse_args()
    levels = [level for level in QLOG_LEVELS if level in arguments.levels.split(",")]
    rounds: dict[str, list[float]] = {"off": [], **{level: [] for level in levels}}
    sizes: dict[str, int] = {}
    for _ in range(arguments.rounds):
        rounds["off"].append(measure(arguments.megabytes, None))
        for level in levels:
            with tempfile.TemporaryDirectory() as folder:
                rounds[level].append(measure(arguments.megabytes, QlogFolder(folder, level)))
                sizes[level] = sum(path.stat().st_size for path in Path(folder).iterdir())
    best = min(rounds["off"])
    for name, seconds in rounds.items():
        share = best / min(seconds)
        written = f", {sizes[name] / 1e6:.1f} MB of traces" if name in sizes else ""
        print(
            f"{name:6} {min(seconds):.3f} s (median {statistics.median(seconds):.3f}),"
            f" {share:.0%} of the throughput without{written}"
        )


if __name__ == "__main__":
    main()
