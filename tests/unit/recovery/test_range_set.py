from endpoint.recovery.range_set import RangeSet


def range_set(*ranges: tuple[int, int]) -> RangeSet:
    result = RangeSet()
    for start, stop in ranges:
        result.add(start, stop)
    return result


def test_touching_ranges_become_one() -> None:
    ranges = range_set((0, 5), (10, 15))
    ranges.add(5, 10)
    assert list(ranges) == [(0, 15)]


def test_adding_at_the_end_extends_or_appends() -> None:
    ranges = range_set((0, 5), (5, 8), (9, 12), (10, 11))
    assert list(ranges) == [(0, 8), (9, 12)]


def test_adding_across_several_ranges_swallows_them() -> None:
    ranges = range_set((0, 2), (4, 6), (8, 10), (20, 30))
    ranges.add(5, 9)
    assert list(ranges) == [(0, 2), (4, 10), (20, 30)]


def test_adding_in_front_and_between() -> None:
    ranges = range_set((10, 12), (2, 4), (6, 7))
    assert list(ranges) == [(2, 4), (6, 7), (10, 12)]


def test_empty_ranges_change_nothing() -> None:
    ranges = range_set((3, 5))
    ranges.add(9, 9)
    ranges.subtract(4, 4)
    assert list(ranges) == [(3, 5)]
    assert ranges.covers(100, 100)


def test_subtract_cuts_a_hole_and_trims_ends() -> None:
    ranges = range_set((0, 10))
    ranges.subtract(3, 5)
    assert list(ranges) == [(0, 3), (5, 10)]
    ranges.subtract(2, 6)
    assert list(ranges) == [(0, 2), (6, 10)]
    ranges.subtract(10, 99)
    assert list(ranges) == [(0, 2), (6, 10)]


def test_contains_and_covers_are_half_open() -> None:
    ranges = range_set((2, 4), (6, 9))
    assert [value for value in range(10) if value in ranges] == [2, 3, 6, 7, 8]
    assert ranges.covers(6, 9)
    assert not ranges.covers(6, 10)
    assert not ranges.covers(3, 7)


def test_gaps_are_the_complement() -> None:
    ranges = range_set((2, 4), (6, 9))
    assert list(ranges.gaps(0, 12)) == [(0, 2), (4, 6), (9, 12)]
    assert list(ranges.gaps(3, 7)) == [(4, 6)]
    assert list(ranges.gaps(6, 9)) == []
    assert list(RangeSet().gaps(1, 3)) == [(1, 3)]


def test_trimming() -> None:
    ranges = range_set((0, 1), (2, 3), (4, 8), (9, 12))
    ranges.keep_last(3)
    assert ranges.first() == (2, 3)
    ranges.discard_below(6)
    assert list(ranges) == [(6, 8), (9, 12)]
    assert list(reversed(ranges)) == [(9, 12), (6, 8)]
    assert ranges.last() == (9, 12)
    assert len(ranges) == 2
    ranges.clear()
    assert not ranges
    ranges.discard_below(5)
    assert list(ranges) == []


def test_repr_shows_the_ranges() -> None:
    assert repr(range_set((0, 3), (5, 6))) == "RangeSet(0-3, 5-6)"
