"""Alternative services (RFC 7838): the field, the memory of it, and pauses for servers that do not answer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endpoint.http.alt_svc import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Alternative,
    AltSvcCache,
    Unreachable,
    format_alt_svc,
    parse_alt_svc,
)

ORIGIN = ("https", "example.com", 443)
DAY = 86400


@pytest.mark.parametrize(
    ("value", "alternatives"),
    [
        ('h3=":443"', [Alternative("h3", "", 443)]),
        ('h3=":443"; ma=60;persist=1', [Alternative("h3", "", 443, 60, persist=True)]),
        (
            'h3="Alt.example:8443" , h2=":443"',
            [Alternative("h3", "alt.example", 8443), Alternative("h2", "", 443)],
        ),
        ('h3="[::1]:443"', [Alternative("h3", "::1", 443)]),
        (', h3=":1",, h3=":2",', [Alternative("h3", "", 1), Alternative("h3", "", 2)]),
        ('w%3Dx%3Ay="\\:443"', [Alternative("w=x:y", "", 443)]),
        ('h3=":443"; ma="60"; persist=2; v="46,43"; MA=61', [Alternative("h3", "", 443, 61)]),
        ('h3=":443"; ma=99999999999999999999', [Alternative("h3", "", 443, 1 << 31)]),
        ('clear=":443"', [Alternative("clear", "", 443)]),
        ("clear", []),
        ('h3=":443", clear', []),
        # An alternative that can't be used is left out.
        ('h3=":0", h3=":65536", h3="a b:1", h3=":443"; ma=-1, h3=":5"', [Alternative("h3", "", 5)]),
        # Nothing in it that could be understood.
        ("", None),
        ('h3=":0"', None),
        ("Clear", None),
        ("clearly", None),
        ("h3", None),
        ("h3=:443", None),
        ('h3=":443', None),
        ('h3=":443" h2=":443"', None),
        ('h3=":443"; ma', None),
        ('h3 =":443"', None),
    ],
)
def test_the_field_is_read(value: str, alternatives: list[Alternative] | None) -> None:
    assert parse_alt_svc(value) == alternatives


def test_the_field_is_written() -> None:
    alternatives = [Alternative("h3", "", 443, 3600, persist=True), Alternative("h2", "::1", 8443)]
    assert format_alt_svc(alternatives) == 'h3=":443"; ma=3600; persist=1, h2="[::1]:8443"'
    assert format_alt_svc([]) == "clear"


@settings(deadline=None)
@given(
    st.lists(
        st.builds(
            Alternative,
            st.text(st.characters(codec="ascii"), min_size=1),
            st.sampled_from(["", "a.example", "::1", "192.0.2.1"]),
            st.integers(1, 65535),
            st.integers(0, 1 << 31),
            st.booleans(),
        )
    )
)
def test_what_is_written_is_read(alternatives: list[Alternative]) -> None:
    assert parse_alt_svc(format_alt_svc(alternatives)) == alternatives


@settings(deadline=None)
@given(st.text() | st.text('h3="\\:;,= ma1clear'))
def test_no_value_raises(value: str) -> None:
    assert parse_alt_svc(value) is None or all(each.port for each in parse_alt_svc(value) or [])


@pytest.mark.parametrize(
    "value", ['h3="' + "\\" * 60000, "a=" * 30000, 'h3=":1"' + ";a=b" * 15000 + "(", " ," * 30000]
)
def test_long_hostile_values_cost_no_more_than_their_length(value: str) -> None:
    assert parse_alt_svc(value) is None


def test_an_alternative_is_known_while_it_is_fresh() -> None:
    cache = AltSvcCache()
    cache.learn(ORIGIN, 'h3=":8443"; ma=60, h3="b.example:1", h2=":1"', 1000.0, age=10)
    near = Alternative("h3", "example.com", 8443, 60)
    far = Alternative("h3", "b.example", 1)
    assert cache.alternatives(ORIGIN, 1049.0) == [near, far]
    assert cache.alternatives(ORIGIN, 1050.0) == [far]
    assert cache.alternatives(ORIGIN, 1050.0, "h2") == [Alternative("h2", "example.com", 1)]
    assert cache.alternatives(ORIGIN, 990.0 + DAY) == []
    assert cache.alternatives(("https", "example.com", 8443), 1000.0) == []


@pytest.mark.parametrize(
    ("value", "left"),
    [("clear", []), ('h3=":3"', [3]), ('h3=":3"; ma=0', []), ("nonsense", [1, 2]), ("", [1, 2])],
)
def test_a_field_replaces_what_was_known_if_it_is_understood(value: str, left: list[int]) -> None:
    cache = AltSvcCache()
    cache.learn(ORIGIN, 'h3=":1", h3=":2"', 0.0)
    cache.learn(ORIGIN, value, 1.0)
    assert [each.port for each in cache.alternatives(ORIGIN, 2.0)] == left


def test_another_network_leaves_what_persists() -> None:
    cache = AltSvcCache()
    other = ("https", "other.example", 443)
    cache.learn(ORIGIN, 'h3=":1", h3=":2"; persist=1', 0.0)
    cache.learn(other, 'h3=":1"', 0.0)
    cache.network_changed()
    assert [each.port for each in cache.alternatives(ORIGIN, 1.0)] == [2]
    assert cache.alternatives(other, 1.0) == []


def test_the_cache_has_a_limit() -> None:
    cache = AltSvcCache(limit=2)
    origins = [("https", f"{number}.example", 443) for number in range(3)]
    for origin in [*origins[:2], origins[0], origins[2]]:
        cache.learn(origin, 'h3=":1"', 0.0)
    assert [bool(cache.alternatives(origin, 1.0)) for origin in origins] == [True, False, True]


def test_a_server_that_does_not_answer_gets_longer_and_longer_pauses() -> None:
    unreachable = Unreachable()
    assert not unreachable.is_paused("host", 443, 0.0)
    unreachable.failed("host", 443, 0.0)
    assert unreachable.is_paused("host", 443, FIRST_PAUSE - 1)
    assert not unreachable.is_paused("host", 443, FIRST_PAUSE)
    assert not unreachable.is_paused("host", 444, 0.0)
    unreachable.failed("host", 443, 1000.0)
    assert unreachable.is_paused("host", 443, 999.0 + 2 * FIRST_PAUSE)
    for _ in range(20):
        unreachable.failed("host", 443, 1000.0)
    assert not unreachable.is_paused("host", 443, 1000.0 + LONGEST_PAUSE)
    unreachable.worked("host", 443)
    assert not unreachable.is_paused("host", 443, 1000.0)
    unreachable.failed("host", 443, 2000.0)
    assert not unreachable.is_paused("host", 443, 2000.0 + FIRST_PAUSE)


def test_failures_are_remembered_up_to_a_limit() -> None:
    unreachable = Unreachable(limit=2)
    for port in (1, 2, 1, 3):
        unreachable.failed("host", port, 0.0)
    assert [unreachable.is_paused("host", port, 1.0) for port in (1, 2, 3)] == [True, False, True]


def test_an_alternative_that_is_misdirected_is_forgotten() -> None:
    """RFC 7838 §6: it alone."""
    cache = AltSvcCache()
    cache.learn(ORIGIN, 'h3=":1", h3="other.example:2"', 0.0)
    cache.forget(ORIGIN, "example.com", 2)
    cache.forget(("https", "example.net", 443), "example.com", 1)
    assert len(cache.alternatives(ORIGIN, 1.0)) == 2
    cache.forget(ORIGIN, "example.com", 1)
    assert [each.host for each in cache.alternatives(ORIGIN, 1.0)] == ["other.example"]
    cache.forget(ORIGIN, "other.example", 2)
    assert cache.alternatives(ORIGIN, 1.0) == []
