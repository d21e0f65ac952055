import pytest

from endpoint.recovery.rtt import RttEstimator


def estimator(*samples: float) -> RttEstimator:
    rtt = RttEstimator(0.333)
    for sample in samples:
        rtt.update(sample, 0.0, handshake_confirmed=True, max_ack_delay=0.025)
    return rtt


def test_before_any_sample_the_pto_is_one_second() -> None:
    rtt = estimator()
    assert not rtt.has_sample
    assert rtt.smoothed_rtt == 0.333
    assert rtt.rttvar == pytest.approx(0.1665)
    # RFC 9002 §6.2.2: 333 + 4 * 166.5 = 999 ms.
    assert rtt.pto(0.0) == pytest.approx(0.999)


def test_the_first_sample_replaces_everything_and_ignores_the_delay() -> None:
    rtt = RttEstimator(0.333)
    rtt.update(0.100, 0.050, handshake_confirmed=False, max_ack_delay=0.025)
    assert rtt.has_sample
    assert (rtt.latest_rtt, rtt.min_rtt, rtt.smoothed_rtt, rtt.rttvar) == (0.1, 0.1, 0.1, 0.05)


def test_a_second_sample_by_hand() -> None:
    rtt = estimator(0.100)
    rtt.update(0.140, 0.020, handshake_confirmed=True, max_ack_delay=0.025)
    # adjusted 120 ms; rttvar 3/4 * 50 + 1/4 * |100 - 120| = 42.5; smoothed 7/8 * 100 + 1/8 * 120 = 102.5
    assert rtt.latest_rtt == 0.140
    assert rtt.min_rtt == 0.100
    assert rtt.rttvar == pytest.approx(0.0425)
    assert rtt.smoothed_rtt == pytest.approx(0.1025)
    # 102.5 + 4 * 42.5 + 25 = 297.5 ms
    assert rtt.pto(0.025) == pytest.approx(0.2975)
    # 9/8 * max(102.5, 140) = 157.5 ms
    assert rtt.loss_delay == pytest.approx(0.1575)


def test_the_delay_is_limited_to_the_promise_only_once_confirmed() -> None:
    confirmed, before = estimator(0.100), estimator(0.100)
    confirmed.update(0.200, 0.080, handshake_confirmed=True, max_ack_delay=0.025)
    before.update(0.200, 0.080, handshake_confirmed=False, max_ack_delay=0.025)
    assert confirmed.smoothed_rtt == pytest.approx((7 * 0.100 + 0.175) / 8)
    assert before.smoothed_rtt == pytest.approx((7 * 0.100 + 0.120) / 8)


def test_no_delay_is_subtracted_below_min_rtt() -> None:
    rtt = estimator(0.100)
    rtt.update(0.110, 0.020, handshake_confirmed=True, max_ack_delay=0.025)
    assert rtt.smoothed_rtt == pytest.approx((7 * 0.100 + 0.110) / 8)
    rtt.update(0.125, 0.020, handshake_confirmed=True, max_ack_delay=0.025)
    assert rtt.smoothed_rtt == pytest.approx((7 * (7 * 0.100 + 0.110) / 8 + 0.105) / 8)


def test_min_rtt_ignores_the_delay_and_can_be_restarted() -> None:
    rtt = estimator(0.100, 0.080, 0.300)
    assert rtt.min_rtt == 0.080
    rtt.forget_min_rtt()
    assert rtt.min_rtt == 0.300


def test_periods_are_at_least_the_granularity() -> None:
    rtt = estimator(*[0.0001] * 60)
    assert rtt.pto(0.0) == pytest.approx(0.0001 + 0.001)
    assert rtt.loss_delay == 0.001


def test_loss_delay_uses_the_smoothed_rtt_when_the_latest_is_lower() -> None:
    rtt = estimator(0.100, 0.020)
    assert rtt.smoothed_rtt == pytest.approx(0.090)
    assert rtt.loss_delay == pytest.approx(0.10125)
