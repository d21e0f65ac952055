from endpoint.recovery.congestion.newreno import NewReno
from endpoint.recovery.rtt import RttEstimator

RTT = RttEstimator(0.1)


def test_a_loss_halves_the_window() -> None:
    controller = NewReno(1200)
    controller.on_congestion_event(0.0, 0.1)
    assert controller.congestion_window == 6000


def test_avoidance_grows_by_one_datagram_per_window_acknowledged() -> None:
    controller = NewReno(1200)
    controller.on_congestion_event(0.0, 0.1)
    now = 0.2
    windows = []
    for _ in range(11):
        controller.on_sent(1200, now)
        controller.on_acked(1200, now, now + 0.1, RTT, False)
        windows.append(controller.congestion_window)
        now += 0.2
    # 5 datagrams for the window of 5, then 6 for that of 6.
    assert windows == [6000] * 4 + [7200] * 6 + [8400]


def test_bytes_count_not_acks() -> None:
    controller = NewReno(1200)
    controller.on_congestion_event(0.0, 0.1)
    controller.on_sent(6000, 0.2)
    controller.on_acked(6000, 0.2, 0.3, RTT, False)
    assert controller.congestion_window == 7200
