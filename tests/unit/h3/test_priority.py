"""Priorities as fields and as frames (RFC 9218)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endpoint.h3.errors import H3ConnectionError, H3ErrorCode
from endpoint.h3.priority import Priority, encode_priority_update, parse_priority_update

priorities = st.builds(Priority, st.integers(0, 7), st.booleans())


@pytest.mark.parametrize(
    ("value", "urgency", "incremental"),
    [
        (b"", 3, False),
        (b"u=0", 0, False),
        (b"i", 3, True),
        (b"u=5, i", 5, True),
        (b"i,u=5", 5, True),
        (b" u=5\t,\ti ", 5, True),
        (b"u=1, i=?0", 1, False),
        (b"i=?1", 3, True),
        (b"u=2, u=4", 4, False),  # the last counts
        (b'u=2;x;y=1.5, i;z="a\\"b"', 2, True),  # parameters of members are nobody's
        # Unknown members of any type are ignored (RFC 9218 §4).
        (b'u=1, a=tok/en, b="s,t", c=:YWI=:, d=(1 "x";p two), e=-1.25, f=(), *g=?1, i', 1, True),
        # Values out of range or of another type are ignored.
        (b"u=8, i", 3, True),
        (b"u=-1", 3, False),
        (b"u=1.0", 3, False),
        (b"u", 3, False),
        (b"u=high, i=1", 3, False),
        (b"u=(1)", 3, False),
        (b"u=2, u=x", 3, False),
        # No dictionary at all: as good as none.
        (b"u=1,", 3, False),
        (b"u=1 i", 3, False),
        (b"u=1,,i", 3, False),
        (b"U=1", 3, False),
        (b"u= 1", 3, False),
        (b"u=1, x=(1", 3, False),
        (b'u=1, x="', 3, False),
        (b"u=1, x=1234567890123456", 3, False),
        (b"u=1, x=1.", 3, False),
        (b"u=1, \xff", 3, False),
        (b"u=1\n", 3, False),
    ],
)
def test_a_field_value_is_read_as_leniently_as_asked(value: bytes, urgency: int, incremental: bool) -> None:
    assert Priority.parse(value) == Priority(urgency, incremental)


def test_only_what_is_not_default_is_said() -> None:
    assert Priority().serialize() == b""
    assert Priority(5, incremental=True).serialize() == b"u=5, i"


@settings(deadline=None)
@given(priorities)
def test_a_priority_survives_field_and_frame(priority: Priority) -> None:
    assert Priority.parse(priority.serialize()) == priority
    assert Priority.parse(priority.serialize() + b" ") == priority, "not only by the table of the usual ones"
    assert parse_priority_update(encode_priority_update(1 << 40, priority)) == (1 << 40, priority)


@settings(deadline=None)
@given(st.binary() | st.text('ui=?01,;() "x:.-', max_size=60).map(str.encode))
def test_no_field_value_raises(value: bytes) -> None:
    assert 0 <= Priority.parse(value).urgency <= 7


@pytest.mark.parametrize(
    "value",
    [b"a" * 60000 + b"!", b"a=(" + b"x " * 30000, b"a" + b";b" * 30000 + b"!", b'a="' + b'\\"' * 30000],
)
def test_long_hostile_values_cost_no_more_than_their_length(value: bytes) -> None:
    """Matched twice at each step, any of these would take longer than the whole suite may."""
    assert Priority.parse(value) == Priority()


def test_urgency_has_a_range() -> None:
    for urgency in (-1, 8):
        with pytest.raises(ValueError, match="0 to 7"):
            Priority(urgency)


@pytest.mark.parametrize("payload", [b"", b"\x40", b"\xc0\0\0"])
def test_a_frame_without_an_element_is_an_error(payload: bytes) -> None:
    with pytest.raises(H3ConnectionError) as caught:
        parse_priority_update(payload)
    assert caught.value.code is H3ErrorCode.H3_FRAME_ERROR
