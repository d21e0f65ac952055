"""Pmtud: the search for the largest datagram, and what to do when it stops arriving (RFC 8899)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoint.recovery.pmtud import (
    BASE_SIZE,
    BLACK_HOLE_LOSSES,
    MAX_PROBES,
    MIN_FULL_ACKED,
    MIN_GAIN,
    RAISE_INTERVAL,
    Pmtud,
)


def make(start: int = 1252, limit: int | None = 1452) -> Pmtud:
    pmtud = Pmtud(start, limit)
    pmtud.on_large_acked(pmtud.size, MIN_FULL_ACKED)
    return pmtud


def search(pmtud: Pmtud, mtu: int, now: float = 1.0) -> list[int]:
    """Run the search on a path that carries `mtu`; the sizes that were tried."""
    tried = []
    while (size := pmtud.probe_size(now)) is not None:
        tried.append(size)
        pmtud.on_probe_sent(size)
        if size <= mtu:
            pmtud.on_probe_acked(size)
        else:
            pmtud.on_probe_lost(size)
    return tried


def test_the_top_first() -> None:
    pmtud = make()
    assert search(pmtud, 1452) == [1452]
    assert pmtud.size == 1452


def test_then_by_halves() -> None:
    """A path of 1,400 bytes between 1,252 and 1,452."""
    pmtud = make()
    assert search(pmtud, 1400) == [1452] * MAX_PROBES + [1352] + [1402] * MAX_PROBES + [1377, 1389]
    assert pmtud.size == 1389


@given(st.integers(BASE_SIZE, 1500), st.integers(BASE_SIZE, 1500), st.integers(BASE_SIZE, 1500))
def test_any_path(start: int, limit: int, mtu: int) -> None:
    mtu = max(mtu, start)
    pmtud = make(start, limit)
    tried = search(pmtud, mtu)
    assert start <= pmtud.size <= mtu
    best = min(max(limit, start), mtu)
    assert best - pmtud.size < MIN_GAIN
    assert len(tried) <= 2 + 6 * MAX_PROBES


def test_no_search_without_limit_or_beyond_a_start_that_is_larger() -> None:
    assert make(1252, None).probe_size(1.0) is None
    pmtud = make(8000, 1452)
    assert pmtud.probe_size(1.0) is None
    assert pmtud.size == 8000


def test_no_probe_before_the_connection_has_use_for_it() -> None:
    pmtud = Pmtud(1252, 1452)
    pmtud.on_large_acked(pmtud.size, MIN_FULL_ACKED - 1)
    assert pmtud.probe_size(1.0) is None
    pmtud.on_large_acked(pmtud.size, 1)
    assert pmtud.probe_size(1.0) == 1452


def test_one_probe_at_a_time() -> None:
    pmtud = make()
    pmtud.on_probe_sent(1452)
    assert pmtud.probe_size(1.0) is None
    pmtud.on_probe_lost(1452)
    assert pmtud.probe_size(1.0) == 1452
    assert pmtud.size == 1252


def test_chance_losses_do_not_end_the_search() -> None:
    pmtud = make()
    for _ in range(MAX_PROBES - 1):
        pmtud.on_probe_sent(1452)
        pmtud.on_probe_lost(1452)
    pmtud.on_probe_sent(1452)
    pmtud.on_probe_acked(1452)
    assert pmtud.size == 1452


def test_a_probe_that_was_only_late() -> None:
    pmtud = make()
    for _ in range(MAX_PROBES):
        pmtud.on_probe_sent(1452)
        pmtud.on_probe_lost(1452)
    assert pmtud.probe_size(1.0) == 1352
    pmtud.on_probe_sent(1352)
    pmtud.on_probe_acked(1452)
    assert pmtud.size == 1452
    pmtud.on_probe_acked(1352)
    assert pmtud.size == 1452
    assert pmtud.probe_size(1.0) is None


def test_the_peer_sets_a_limit() -> None:
    pmtud = Pmtud(1252, 1452)
    pmtud.set_peer_limit(1300)
    pmtud.on_large_acked(pmtud.size, MIN_FULL_ACKED)
    assert search(pmtud, 1452) == [1300]
    pmtud.set_peer_limit(1220)
    assert pmtud.size == 1220
    assert pmtud.for_new_path().size == 1220
    assert pmtud.probe_size(1.0) is None
    pmtud.set_peer_limit(65527)
    assert pmtud.size == 1220


def test_a_peers_limit_without_search() -> None:
    pmtud = Pmtud(1452)
    pmtud.set_peer_limit(1000)  # the codec refuses it; below 1,200 QUIC does not work
    assert pmtud.size == BASE_SIZE


def test_later_the_path_may_carry_more() -> None:
    pmtud = make()
    search(pmtud, 1400, now=100.0)
    assert pmtud.probe_size(100.0 + RAISE_INTERVAL - 1) is None
    assert search(pmtud, 1452, now=100.0 + RAISE_INTERVAL) == [1452]
    assert pmtud.size == 1452
    assert pmtud.probe_size(1e6) is None


def test_black_hole_by_losses() -> None:
    pmtud = make()
    search(pmtud, 1452)
    for _ in range(BLACK_HOLE_LOSSES - 1):
        pmtud.on_large_lost(pmtud.size)
    pmtud.on_large_acked(pmtud.size, 1)
    for _ in range(BLACK_HOLE_LOSSES - 1):
        pmtud.on_large_lost(pmtud.size)
    assert pmtud.size == 1452
    pmtud.on_large_lost(pmtud.size)
    assert pmtud.size == BASE_SIZE
    assert pmtud.probe_size(1.0) is None
    pmtud.on_large_acked(pmtud.size, MIN_FULL_ACKED)
    assert search(pmtud, 1300)[: MAX_PROBES + 1] == [1452] * MAX_PROBES + [1326]
    assert 1300 - MIN_GAIN < pmtud.size <= 1300


def test_black_hole_by_silence_that_was_an_outage() -> None:
    """The size that was in use comes back with one probe, though it is not the limit."""
    pmtud = make()
    search(pmtud, 1400)
    pmtud.on_pto(1)
    assert pmtud.size == 1389
    pmtud.on_pto(2)
    pmtud.on_pto(3)
    assert pmtud.size == BASE_SIZE
    pmtud.on_large_acked(pmtud.size, MIN_FULL_ACKED)
    assert search(pmtud, 1400) == [1389]
    assert pmtud.size == 1389


def test_a_probe_under_way_when_the_path_fails_does_not_count() -> None:
    pmtud = make()
    pmtud.on_probe_sent(1452)
    pmtud.on_pto(2)
    pmtud.on_probe_lost(1452)
    pmtud.on_large_acked(pmtud.size, MIN_FULL_ACKED)
    assert search(pmtud, 1452) == [1252, 1452]


@pytest.mark.parametrize("pmtud", [Pmtud(1252), Pmtud(BASE_SIZE, 1452)])
def test_nothing_to_fall_back_to(pmtud: Pmtud) -> None:
    size = pmtud.size
    pmtud.on_pto(5)
    assert pmtud.size == size


def test_another_path_begins_anew() -> None:
    pmtud = make()
    search(pmtud, 1452)
    new = pmtud.for_new_path()
    assert new.size == 1252
    new.on_large_acked(new.size, MIN_FULL_ACKED)
    assert new.probe_size(1.0) == 1452


def test_returning_to_a_path_forgets_the_probe_that_was_under_way() -> None:
    pmtud = make()
    pmtud.on_probe_sent(1452)
    pmtud.resume()
    assert pmtud.probe_size(1.0) == 1452


def test_a_black_hole_for_less_than_full_datagrams() -> None:
    """A tail that is sent again and again is large, too; small packets that arrive say nothing of it."""
    pmtud = Pmtud(1252, 1452)
    for _ in range(BLACK_HOLE_LOSSES - 1):
        pmtud.on_large_lost(1240)
        pmtud.on_large_acked(1210, 1)
    assert pmtud.size == 1252
    pmtud.on_large_lost(1230)
    assert pmtud.size == BASE_SIZE


def test_what_is_as_large_arrives() -> None:
    pmtud = Pmtud(1252, 1452)
    for _ in range(3 * BLACK_HOLE_LOSSES):
        pmtud.on_large_lost(1240)
        pmtud.on_large_acked(1240, 1)
    assert pmtud.size == 1252
