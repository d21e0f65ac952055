"""Sets of integers that are mostly runs: packet numbers, bytes of a stream."""

from bisect import bisect_right
from collections.abc import Iterator


class Ranges:
    """Disjoint, non-adjacent, ascending ranges with inclusive bounds."""

    __slots__ = ("_highs", "_lows")

    def __init__(self) -> None:
        self._lows: list[int] = []
        self._highs: list[int] = []

    def add(self, low: int, high: int) -> None:
        """Add all of `low` to `high`; nothing if `high` is below `low`."""
        if high < low:
            return
        lows, highs = self._lows, self._highs
        if not highs or low > highs[-1] + 1:
            lows.append(low)
            highs.append(high)
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
