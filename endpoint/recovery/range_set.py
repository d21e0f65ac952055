"""A set of integers kept as ranges: packet numbers received, offsets of a stream acknowledged or lost."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class RangeSet:
    """Sorted, disjoint, non-adjacent **half-open** ranges `[start, stop)`.

    Adding at the end is O(1), finding a place O(log n). The two lists are parallel so that bisect
    works on plain integers. Ranges in arguments must not be negative; an empty one does nothing.
    """

    __slots__ = ("_starts", "_stops")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, start: int, stop: int) -> None:
        """Put every integer of `[start, stop)` in the set."""
        if start >= stop:
            return
        stops = self._stops
        if not stops or start > stops[-1]:
            self._starts.append(start)
            stops.append(stop)
            return
        starts = self._starts
        if start >= starts[-1]:
            if stop > stops[-1]:
                stops[-1] = stop
            return
        # Ranges low..high-1 overlap the new one or touch it, and melt into it.
        low = bisect_left(stops, start)
        high = bisect_right(starts, stop)
        if low < high:
            start = min(start, starts[low])
            stop = max(stop, stops[high - 1])
        starts[low:high] = [start]
        stops[low:high] = [stop]

    def subtract(self, start: int, stop: int) -> None:
        """Take every integer of `[start, stop)` out of the set."""
        if start >= stop:
            return
        starts, stops = self._starts, self._stops
        low = bisect_right(stops, start)
        high = bisect_left(starts, stop)
        if low >= high:
            return
        kept_starts: list[int] = []
        kept_stops: list[int] = []
        if starts[low] < start:
            kept_starts.append(starts[low])
            kept_stops.append(start)
        if stops[high - 1] > stop:
            kept_starts.append(stop)
            kept_stops.append(stops[high - 1])
        starts[low:high] = kept_starts
        stops[low:high] = kept_stops

    def discard_below(self, limit: int) -> None:
        """Take every integer less than `limit` out of the set."""
        if self._starts and self._starts[0] < limit:
            self.subtract(self._starts[0], limit)

    def keep_last(self, count: int) -> None:
        """Drop the lowest ranges until at most `count` are left (`count` >= 1)."""
        excess = len(self._starts) - count
        if excess > 0:
            del self._starts[:excess]
            del self._stops[:excess]

    def clear(self) -> None:
        """Take everything out."""
        self._starts.clear()
        self._stops.clear()

    def covers(self, start: int, stop: int) -> bool:
        """Whether every integer of `[start, stop)` is in the set; true for an empty range."""
        if start >= stop:
            return True
        index = bisect_right(self._starts, start) - 1
        return index >= 0 and stop <= self._stops[index]

    def gaps(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The parts of `[start, stop)` that are not in the set, ascending."""
        for index in range(bisect_right(self._stops, start), len(self._starts)):
            if self._starts[index] >= stop:
                break
            if start < self._starts[index]:
                yield start, self._starts[index]
            start = self._stops[index]
        if start < stop:
            yield start, stop

    def first(self) -> tuple[int, int]:
        """The lowest range. The set must not be empty."""
        return self._starts[0], self._stops[0]

    def last(self) -> tuple[int, int]:
        """The highest range. The set must not be empty."""
        return self._starts[-1], self._stops[-1]

    def newest(self, count: int) -> list[tuple[int, int]]:
        """The `count` highest ranges, descending, as **inclusive** pairs: those of an ACK frame."""
        below = -count - 1
        starts, stops = self._starts[:below:-1], self._stops[:below:-1]
        return [(start, stop - 1) for start, stop in zip(starts, stops, strict=True)]

    def __contains__(self, value: int) -> bool:
        index = bisect_right(self._starts, value) - 1
        return index >= 0 and value < self._stops[index]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The ranges, ascending. The set must not change meanwhile."""
        return zip(self._starts, self._stops, strict=True)

    def __reversed__(self) -> Iterator[tuple[int, int]]:
        """The ranges, descending. The set must not change meanwhile."""
        return zip(reversed(self._starts), reversed(self._stops), strict=True)

    def __len__(self) -> int:
        """The number of ranges, not of integers."""
        return len(self._starts)

    def __repr__(self) -> str:
        return f"RangeSet({', '.join(f'{start}-{stop}' for start, stop in self)})"
