"""What holds for every controller."""

from math import inf

import pytest

from endpoint.config import CongestionAlgorithm
from endpoint.recovery.congestion import CongestionController, create_controller
from endpoint.recovery.congestion.base import initial_window
from endpoint.recovery.rtt import RttEstimator


@pytest.fixture(params=list(CongestionAlgorithm))
def controller(request: pytest.FixtureRequest) -> CongestionController:
    return create_controller(request.param, 1000)


@pytest.fixture
def rtt() -> RttEstimator:
    estimator = RttEstimator(0.1)
    estimator.update(0.1, 0.0, handshake_confirmed=True, max_ack_delay=0.025)
    return estimator


@pytest.mark.parametrize(
    ("max_datagram_size", "window"), [(1200, 12_000), (1472, 14_720), (1500, 14_720), (9000, 18_000)]
)
def test_initial_window(max_datagram_size: int, window: int) -> None:
    assert initial_window(max_datagram_size) == window


def test_begins_in_slow_start_with_the_initial_window(controller: CongestionController) -> None:
    assert controller.congestion_window == 10_000
    assert controller.ssthresh == inf
    assert controller.in_slow_start
    assert controller.minimum_window == 2000


def test_the_window_limits_what_is_in_flight(controller: CongestionController) -> None:
    controller.on_sent(9500, 0.0)
    assert controller.available == 500
    assert controller.can_send(500)
    assert not controller.can_send(501)
    controller.on_sent(1000, 0.0)
    assert controller.available == 0
    controller.on_packets_discarded(10_500)
    assert controller.bytes_in_flight == 0


def test_slow_start_grows_by_what_is_acknowledged(
    controller: CongestionController, rtt: RttEstimator
) -> None:
    controller.on_sent(10_000, 0.0)
    controller.on_acked(6000, 0.0, 0.1, rtt, False)
    assert controller.congestion_window == 16_000
    assert controller.bytes_in_flight == 4000


def test_an_unused_window_does_not_grow(controller: CongestionController, rtt: RttEstimator) -> None:
    controller.on_sent(3000, 0.0)
    controller.on_acked(3000, 0.0, 0.1, rtt, True)
    assert controller.congestion_window == 10_000
    assert controller.bytes_in_flight == 0


def test_one_reduction_per_recovery_period(controller: CongestionController, rtt: RttEstimator) -> None:
    controller.on_sent(10_000, 1.0)
    assert controller.on_congestion_event(1.0, 1.1)
    reduced = controller.congestion_window
    assert reduced < 10_000
    assert controller.ssthresh == reduced
    assert not controller.in_slow_start
    assert not controller.on_congestion_event(1.1, 1.2), "sent before the period began"
    controller.on_acked(1000, 1.05, 1.2, rtt, False)
    assert controller.congestion_window == reduced, "no growth in recovery"
    assert controller.on_congestion_event(1.15, 1.3)
    assert controller.congestion_window < reduced


def test_the_window_is_never_below_two_datagrams(controller: CongestionController) -> None:
    for second in range(20):
        controller.on_congestion_event(float(second), second + 0.5)
    assert controller.congestion_window == 2000
    assert controller.ssthresh == 2000


def test_a_spurious_loss_is_undone(controller: CongestionController, rtt: RttEstimator) -> None:
    controller.on_sent(10_000, 0.0)
    controller.on_congestion_event(0.0, 0.1)
    controller.on_spurious_loss()
    assert controller.congestion_window == 10_000
    assert controller.ssthresh == inf
    controller.on_acked(5000, 0.0, 0.2, rtt, False)
    assert controller.congestion_window == 15_000, "and recovery is over"
    controller.on_spurious_loss()
    assert controller.congestion_window == 15_000


def test_undoing_never_shrinks_the_window(controller: CongestionController, rtt: RttEstimator) -> None:
    controller.on_congestion_event(0.0, 0.1)
    now = 0.2
    while controller.congestion_window <= 10_000:
        controller.on_sent(5000, now)
        controller.on_acked(5000, now, now + 0.1, rtt, False)
        now += 0.2
    grown = controller.congestion_window
    controller.on_spurious_loss()
    assert controller.congestion_window == grown


def test_congestion_marks_reduce_like_losses_but_for_good(controller: CongestionController) -> None:
    assert controller.on_ecn_ce(0.0, 0.1)
    reduced = controller.congestion_window
    assert reduced < 10_000
    assert not controller.on_ecn_ce(0.1, 0.2)
    controller.on_spurious_loss()
    assert controller.congestion_window == reduced


def test_persistent_congestion_restarts_with_the_minimum(
    controller: CongestionController, rtt: RttEstimator
) -> None:
    controller.on_congestion_event(0.0, 5.0)
    controller.on_persistent_congestion()
    assert controller.congestion_window == 2000
    assert controller.in_slow_start
    controller.on_spurious_loss()
    assert controller.congestion_window == 2000
    controller.on_sent(2000, 4.0)
    controller.on_acked(2000, 4.0, 5.1, rtt, False)
    assert controller.congestion_window == 4000, "the recovery period is over as well"


def test_another_datagram_size_before_and_after_use(
    controller: CongestionController, rtt: RttEstimator
) -> None:
    controller.set_max_datagram_size(1400)
    assert controller.congestion_window == 14_000
    controller.on_sent(14_000, 0.0)
    controller.on_acked(1000, 0.0, 0.1, rtt, False)
    controller.set_max_datagram_size(1200)
    assert controller.congestion_window == 15_000
    controller.on_persistent_congestion()
    controller.set_max_datagram_size(1400)
    assert controller.congestion_window == 2800
