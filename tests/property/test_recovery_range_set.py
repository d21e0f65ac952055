"""RangeSet against Python's own set."""

from hypothesis import given
from hypothesis import strategies as st

from endpoint.recovery.range_set import RangeSet

operations = st.lists(
    st.tuples(
        st.sampled_from(["add", "subtract", "discard_below"]),
        st.integers(0, 60),
        st.integers(0, 12),
    ),
    max_size=40,
)


@given(operations)
def test_range_set_equals_a_set_of_integers(steps: list[tuple[str, int, int]]) -> None:
    ranges, model = RangeSet(), set[int]()
    for name, start, length in steps:
        if name == "add":
            ranges.add(start, start + length)
            model |= set(range(start, start + length))
        elif name == "subtract":
            ranges.subtract(start, start + length)
            model -= set(range(start, start + length))
        else:
            ranges.discard_below(start)
            model -= set(range(start))
        assert {value for low, high in ranges for value in range(low, high)} == model
        flat = [edge for pair in ranges for edge in pair]
        assert flat == sorted(set(flat)), "ranges are disjoint, apart and ascending"
    assert {value for value in range(80) if value in ranges} == model
    assert {value for low, high in ranges.gaps(0, 80) for value in range(low, high)} == set(range(80)) - model
    assert all(ranges.covers(low, high) for low, high in ranges)
