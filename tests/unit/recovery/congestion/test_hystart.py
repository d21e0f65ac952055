from math import inf

import pytest

from endpoint.recovery.congestion.cubic import Cubic
from endpoint.recovery.congestion.hystart import CSS_ROUNDS, HyStart, rtt_threshold
from endpoint.recovery.rtt import RttEstimator


def play_round(hystart: HyStart, start: float, rtt: float, samples: int = 8) -> float:
    """ACKs of packets that were sent at `start`, all a round trip later; returns when they came."""
    for _ in range(samples):
        hystart.on_acked(start, rtt, start + rtt)
    return start + rtt


@pytest.mark.parametrize(
    ("last_round", "threshold"), [(0.0001, 0.004), (0.030, 0.004), (0.080, 0.010), (0.750, 0.016)]
)
def test_threshold_is_an_eighth_within_bounds(last_round: float, threshold: float) -> None:
    assert rtt_threshold(last_round) == threshold


def test_growth_of_the_round_trip_slows_slow_start() -> None:
    hystart = HyStart()
    now = play_round(hystart, 0.0, 0.080)
    now = play_round(hystart, now, 0.0899)
    assert hystart.growth_divisor == 1
    play_round(hystart, now, 0.1012)
    assert hystart.growth_divisor == 4
    assert not hystart.finished


def test_fewer_than_eight_samples_say_nothing() -> None:
    hystart = HyStart()
    now = play_round(hystart, 0.0, 0.080)
    play_round(hystart, now, 0.200, samples=7)
    assert hystart.growth_divisor == 1
    hystart.on_acked(now, 0.200, now + 0.2)
    assert hystart.growth_divisor == 4


def test_a_single_low_sample_keeps_the_round_low() -> None:
    hystart = HyStart()
    now = play_round(hystart, 0.0, 0.080)
    hystart.on_acked(now, 0.081, now + 0.081)
    play_round(hystart, now, 0.200)
    assert hystart.growth_divisor == 1


def test_noise_of_a_loopback_path_does_not_end_slow_start() -> None:
    hystart = HyStart()
    now = 0.0
    for rtt in (0.0001, 0.0008, 0.003, 0.0001, 0.0039):
        now = play_round(hystart, now, rtt)
    assert hystart.growth_divisor == 1


def test_slow_start_resumes_when_the_growth_passes() -> None:
    hystart = HyStart()
    now = play_round(hystart, 0.0, 0.080)
    now = play_round(hystart, now, 0.100)
    assert hystart.growth_divisor == 4
    now = play_round(hystart, now, 0.090)
    assert hystart.growth_divisor == 1
    assert not hystart.finished


def test_five_rounds_end_it() -> None:
    hystart = HyStart()
    now = play_round(hystart, 0.0, 0.080)
    now = play_round(hystart, now, 0.100)
    for _ in range(CSS_ROUNDS - 1):
        now = play_round(hystart, now, 0.100)
        assert not hystart.finished
    hystart.on_acked(now, 0.100, now + 0.1)
    assert hystart.finished


def test_the_controller_grows_by_a_quarter_and_then_leaves_slow_start() -> None:
    controller, rtt = Cubic(1000), RttEstimator(0.08)
    now, grown = 0.0, []
    for sample in (0.080, *[0.120] * (CSS_ROUNDS + 1)):
        for _ in range(8):
            before = controller.congestion_window
            rtt.update(sample, 0.0, handshake_confirmed=True, max_ack_delay=0.0)
            controller.on_sent(1000, now)
            controller.on_acked(1000, now, now + sample, rtt, False)
            grown.append(controller.congestion_window - before)
        now += sample
    # Round 1, and 7 ACKs of round 2, in full; then a quarter in CSS, up to the first ACK after 5 rounds.
    assert grown[:49] == [1000] * 15 + [250] * 34
    assert controller.ssthresh == 10_000 + 15_000 + 34 * 250
    assert not controller.in_slow_start
    assert controller.ssthresh < inf
