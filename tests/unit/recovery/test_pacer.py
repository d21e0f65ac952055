from math import inf

import pytest

from endpoint.recovery.pacer import Pacer

DATAGRAM = 1000


def pacer(rate: float) -> Pacer:
    """A pacer in congestion avoidance with that rate in bytes per second."""
    result = Pacer(DATAGRAM, 10 * DATAGRAM, 0.333)
    result.set_rate(int(rate * 0.1 / 1.25), 0.1, slow_start=False)
    assert result.rate == pytest.approx(rate)
    return result


def test_rate_by_hand() -> None:
    paced = Pacer(DATAGRAM, 10_000, 0.1)
    assert paced.rate == pytest.approx(2 * 10_000 / 0.1)
    paced.set_rate(50_000, 0.040, slow_start=False)
    assert paced.rate == pytest.approx(1.25 * 50_000 / 0.040)


@pytest.mark.parametrize(
    ("rate", "burst"),
    [(1_000_000, 10_000), (10_000_000, 10_000), (30_000_000, 30_000), (500_000_000, 64_000)],
)
def test_burst_is_a_millisecond_within_bounds(rate: float, burst: int) -> None:
    assert pacer(rate).burst == pytest.approx(burst, abs=1)


def test_a_burst_goes_at_once_and_then_one_packet_per_interval() -> None:
    paced = pacer(1_000_000)  # a packet per millisecond, which is also the grain
    budget = paced.budget(5.0)
    assert budget == 11_000, "ten packets and the one that falls due before a timer could fire"
    paced.on_sent(budget, 5.0)
    assert paced.budget(5.0) == 0
    assert paced.budget(5.001) == pytest.approx(1000, abs=1)
    assert paced.budget(5.004) == pytest.approx(4000, abs=1)


def test_next_time_by_hand() -> None:
    paced = pacer(1_000_000)
    assert paced.next_time(1000, 5.0) is None
    paced.on_sent(paced.budget(5.0), 5.0)
    assert paced.next_time(1000, 5.0) == pytest.approx(5.001)
    assert paced.next_time(3000, 5.0) == pytest.approx(5.003)
    assert paced.next_time(1000, 5.0004) == pytest.approx(5.001)


def test_the_time_of_stopping_is_remembered() -> None:
    paced = pacer(1_000_000)
    paced.on_sent(1000, 4.0)
    assert paced.limited_time == -inf
    paced.on_sent(paced.budget(5.0), 5.0)
    assert paced.limited_time == 5.0
    # Nobody has to ask: whoever finds nothing more to send was held back by the pacer nevertheless.
    assert paced.budget(6.0) > 1000
    assert paced.limited_time == 5.0


def test_idle_time_earns_one_burst_at_most() -> None:
    paced = pacer(1_000_000)
    paced.on_sent(paced.budget(5.0), 5.0)
    assert paced.budget(1000.0) == 11_000


def test_probes_overdraw_the_bucket() -> None:
    paced = pacer(1_000_000)
    paced.on_sent(paced.budget(5.0), 5.0)
    paced.on_sent(2000, 5.0)
    assert paced.next_time(1000, 5.0) == pytest.approx(5.003)


@pytest.mark.parametrize("rate", [1_000_000, 100_000_000])
def test_the_rate_is_kept_in_the_long_run_with_a_timer_of_one_millisecond(rate: float) -> None:
    paced = pacer(rate)
    sent, now = 0, 1.0
    for _ in range(1000):
        size = paced.budget(now) // DATAGRAM * DATAGRAM
        if size:
            paced.on_sent(size, now)
            sent += size
        now += 0.001
    assert sent == pytest.approx(rate * 1.0, rel=0.02, abs=11_000)


def test_a_clock_that_stands_still_earns_nothing() -> None:
    paced = pacer(1_000_000)
    paced.on_sent(11_000, 5.0)
    assert paced.budget(5.0) == 0
    assert paced.budget(5.0) == 0


def test_a_larger_datagram_makes_a_larger_burst() -> None:
    paced = pacer(1_000_000)
    paced.set_max_datagram_size(1400)
    paced.set_rate(10_000, 0.1, slow_start=False)
    assert paced.burst == 14_000


def test_a_round_trip_of_zero_is_survived() -> None:
    paced = Pacer(DATAGRAM, 10_000, 0.1)
    paced.set_rate(10_000, 0.0, slow_start=True)
    assert paced.burst == 64_000
