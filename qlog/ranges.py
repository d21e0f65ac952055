"""Sets of integers that are mostly runs: packet numbers, bytes of a stream."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

# Ranges that are kept of a set.
MOST_RANGES = 10_000


class Ranges:
    """Disjoint, non-adjacent, ascending ranges with inclusive bounds.

    Of more than `MOST_RANGES` the lower half becomes one, so that a set of any traces fits the memory: up to
    `blurred` (else -1) what lies between members counts as a member, too.
    """

    __slots__ = ("_highs", "_lows", "blurred")

    def __init__(self) -> None:
        self._lows: list[int] = []
        self._highs: list[int] = []
        self.blurred = -1

    def add(self, low: int, high: int) -> None:
        """Add all of `low` to `high`; nothing if `high` is below `low`."""
        if high < low:
            return
        lows, highs = self._lows, self._highs
        if not highs or low > highs[-1] + 1:
            lows.append(low)
            highs.append(high)
            if len(lows) > MOST_RANGES:
                self._blur()
            return
        if low >= lows[-1]:
            highs[-1] = max(highs[-1], high)
            return
        # Of the ranges from first to last, all touch the new one.
        first = bisect_right(highs, low - 2)
        last = bisect_right(lows, high + 1)
        if first < last:
            low = min(low, lows[first])
            high = max(high, highs[last - 1])
        lows[first:last] = [low]
        highs[first:last] = [high]
        if len(lows) > MOST_RANGES:
            self._blur()

    def forget(self, below: int) -> None:
        """Take out what is smaller than `below`, but for the rest of a range that reaches farther."""
        first = bisect_left(self._highs, below)
        del self._lows[:first], self._highs[:first]

    def surely(self, value: int) -> bool:
        """Whether it is a member, and not only looks like one since details were forgotten."""
        return value > self.blurred and self.covers(value, value)

    def __contains__(self, value: int) -> bool:
        return self.covers(value, value)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._lows, self._highs, strict=True)

    def __len__(self) -> int:
        """How many ranges there are."""
        return len(self._lows)

    @property
    def largest(self) -> int:
        """The greatest member, -1 if there is none."""
        return self._highs[-1] if self._highs else -1

    @property
    def total(self) -> int:
        """How many members there are."""
        return sum(high - low + 1 for low, high in self)

    def covers(self, low: int, high: int) -> bool:
        """Whether all of `low` to `high` are members."""
        at = bisect_right(self._lows, low) - 1
        return at >= 0 and self._highs[at] >= high

    def overlaps(self, low: int, high: int) -> bool:
        """Whether any of `low` to `high` is a member."""
        at = bisect_right(self._lows, high) - 1
        return at >= 0 and self._highs[at] >= low

    def _blur(self) -> None:
        half = MOST_RANGES // 2
        self.blurred = self._highs[half - 1]
        self._lows[1:half], self._highs[: half - 1] = [], []

    def missing(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """The ranges within `low` to `high` that are no members."""
        at = max(bisect_right(self._lows, low) - 1, 0)
        while at < len(self._lows) and low <= high:
            if self._highs[at] >= low:
                if self._lows[at] > high:
                    break
                if self._lows[at] > low:
                    yield low, self._lows[at] - 1
                low = self._highs[at] + 1
            at += 1
        if low <= high:
            yield low, high
