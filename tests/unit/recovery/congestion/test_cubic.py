import pytest

from endpoint.recovery.congestion.cubic import Cubic, cubic_k, w_cubic
from endpoint.recovery.rtt import RttEstimator

DATAGRAM = 1000


def rtt_of(seconds: float) -> RttEstimator:
    rtt = RttEstimator(seconds)
    rtt.update(seconds, 0.0, handshake_confirmed=True, max_ack_delay=0.0)
    return rtt


def in_avoidance(window: int, *, now: float = 0.0) -> Cubic:
    """A controller that has grown to `window` in slow start and then lost a packet, at the time `now`."""
    controller = Cubic(DATAGRAM)
    rtt = rtt_of(0.1)
    grow = window - controller.congestion_window
    controller.on_sent(grow, now - 0.1)
    controller.on_acked(grow, now - 0.1, now, rtt, False)
    assert controller.congestion_window == window
    controller.on_congestion_event(now, now)
    return controller


def acked(
    controller: Cubic, now: float, rtt: RttEstimator, size: int = DATAGRAM, *, app_limited: bool = False
) -> int:
    """The growth of the window by one ACK, while 10 kB stay in flight."""
    before = controller.congestion_window
    controller.on_sent(10_000 + size - controller.bytes_in_flight, now)
    controller.on_acked(size, now, now, rtt, app_limited)
    return controller.congestion_window - before


def test_k_by_hand() -> None:
    # From 70 back to 100 segments: cube root of 30 / 0.4 = 75, which is 4.217 s.
    assert cubic_k(100_000, 70_000, DATAGRAM) == pytest.approx(4.2172, abs=1e-4)
    assert cubic_k(70_000, 70_000, DATAGRAM) == 0


def test_the_curve_by_hand() -> None:
    k = cubic_k(100_000, 70_000, DATAGRAM)
    assert w_cubic(0.0, k, 100_000, DATAGRAM) == pytest.approx(70_000)
    assert w_cubic(k, k, 100_000, DATAGRAM) == 100_000
    # 2 s before the plateau: 100 - 0.4 * 8; 5 s after it: 100 + 0.4 * 125 segments.
    assert w_cubic(k - 2, k, 100_000, DATAGRAM) == pytest.approx(96_800)
    assert w_cubic(k + 5, k, 100_000, DATAGRAM) == pytest.approx(150_000)


def test_a_loss_reduces_to_seven_tenths() -> None:
    controller = in_avoidance(100_000)
    assert controller.congestion_window == 70_000


def test_one_ack_in_the_concave_region() -> None:
    controller, rtt = in_avoidance(1_000_000), rtt_of(0.1)
    acked(controller, 1.0, rtt)  # the epoch begins
    cwnd = controller.congestion_window
    # One second in, target W(1.1): K = cube root of 300 / 0.4 = 9.0856, so 1000 - 0.4 * 7.9856 ** 3 segments.
    expected = (1000 - 0.4 * (9.0856 - 1.1) ** 3) * DATAGRAM - cwnd
    assert acked(controller, 2.0, rtt, 7000) == pytest.approx(expected * 7000 / cwnd, abs=2)


def test_the_window_follows_the_curve_up_and_beyond_the_plateau() -> None:
    controller, rtt = in_avoidance(1_000_000), rtt_of(0.1)
    k = cubic_k(1_000_000, 700_000, DATAGRAM)
    windows = {}
    for step in range(1501):
        now = 0.01 + step / 100
        acked(controller, now, rtt, controller.congestion_window // 10)
        windows[step] = controller.congestion_window
    for step in (200, 500, 900, 1200, 1500):
        assert windows[step] == pytest.approx(w_cubic(step / 100, k, 1_000_000, DATAGRAM), rel=0.01)


def test_short_round_trips_grow_like_reno() -> None:
    controller, rtt = in_avoidance(20_000), rtt_of(0.0001)
    now = 0.001
    acked(controller, now, rtt, 14_000)
    for _ in range(10):
        now += 0.0001
        acked(controller, now, rtt, controller.congestion_window)
    # Eleven windows of alpha = 3 * 0.3 / 1.7 = 0.529 datagrams each.
    assert controller.congestion_window == pytest.approx(14_000 + 11 * 529, abs=120)


def test_as_fast_as_reno_once_the_old_window_is_reached() -> None:
    controller, rtt = in_avoidance(20_000), rtt_of(0.0001)
    now = 0.001
    while controller.congestion_window < 20_000:
        now += 0.0001
        acked(controller, now, rtt, controller.congestion_window)
    before = controller.congestion_window
    acked(controller, now + 0.0001, rtt, before)
    assert controller.congestion_window - before == pytest.approx(1000, abs=1)


def test_fast_convergence_lowers_the_plateau() -> None:
    controller, rtt = in_avoidance(1_000_000, now=0.0), rtt_of(0.1)
    controller.on_congestion_event(1.0, 1.0)
    assert controller.congestion_window == pytest.approx(490_000, abs=1)
    # The plateau is 700 * 1.7 / 2 = 595 segments: K = cube root of 105 / 0.4 = 6.403 s.
    acked(controller, 2.0, rtt)
    for step in range(1, 641):
        acked(controller, 2.0 + step / 100, rtt, controller.congestion_window // 10)
    assert controller.congestion_window == pytest.approx(595_000, rel=0.01)


def test_growth_per_ack_is_bounded() -> None:
    controller, rtt = in_avoidance(100_000), rtt_of(0.1)
    acked(controller, 1.0, rtt)
    acked(controller, 61.0, rtt, 70_000)
    assert controller.congestion_window <= 1.5 * 70_100


def test_time_without_using_the_window_does_not_count() -> None:
    rtt = rtt_of(0.1)
    busy, limited = in_avoidance(1_000_000), in_avoidance(1_000_000)
    acked(busy, 1.0, rtt)
    acked(limited, 1.0, rtt)
    for now in (20.0, 40.0, 60.0):
        assert acked(limited, now, rtt, app_limited=True) == 0
    assert acked(limited, 60.1, rtt, 10_000) == acked(busy, 1.1, rtt, 10_000)


def test_time_with_nothing_in_flight_does_not_count() -> None:
    rtt = rtt_of(0.1)
    busy, idle = in_avoidance(1_000_000), in_avoidance(1_000_000)
    acked(busy, 1.0, rtt)
    acked(idle, 1.0, rtt)
    idle.on_acked(10_000, 1.0, 1.0, rtt, True)
    idle.on_sent(10_000, 60.0)
    assert acked(idle, 60.1, rtt, 10_000) == acked(busy, 1.1, rtt, 10_000)


def test_undo_restores_the_curve() -> None:
    rtt = rtt_of(0.1)
    disturbed, calm = in_avoidance(1_000_000), in_avoidance(1_000_000)
    for controller in (disturbed, calm):
        acked(controller, 1.0, rtt)
    disturbed.on_congestion_event(2.0, 2.0)
    disturbed.on_spurious_loss()
    assert disturbed.congestion_window == calm.congestion_window
    assert acked(disturbed, 2.1, rtt, 20_000) == acked(calm, 2.1, rtt, 20_000)


def test_after_persistent_congestion_the_curve_begins_where_slow_start_ends() -> None:
    controller, rtt = in_avoidance(100_000), rtt_of(0.1)
    controller.on_persistent_congestion()
    now = 1.0
    while controller.in_slow_start:
        acked(controller, now, rtt, 2000)
        now += 0.1
    start = controller.congestion_window
    acked(controller, now, rtt)
    for step in range(1, 501):
        acked(controller, now + step / 100, rtt, controller.congestion_window // 10)
    # K = 0: 0.4 * 5 ** 3 = 50 segments; Reno's estimate, one datagram per 0.1 s, is the same by then.
    assert controller.congestion_window == pytest.approx(start + 50_000, rel=0.05)
