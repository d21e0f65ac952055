"""Numbers of the flow control windows (RFC 9000 §4)."""

import pytest

from endpoint.errors import TransportError, TransportErrorCode
from endpoint.transport.flow_control import ReceiveWindow, SendWindow

RTT = 0.1


def test_the_limit_is_inclusive() -> None:
    window = ReceiveWindow(1000, 1000)
    window.on_received(1000)
    with pytest.raises(TransportError) as caught:
        window.on_received(1)
    assert caught.value.code == TransportErrorCode.FLOW_CONTROL_ERROR
    assert window.received == 1000


def test_check_counts_nothing() -> None:
    window = ReceiveWindow(1000, 1000)
    window.check(1000)
    assert window.received == 0
    with pytest.raises(TransportError, match="1001 bytes received, 1000 allowed"):
        window.check(1001)


def test_an_update_is_due_when_half_is_consumed_and_not_when_it_is_received() -> None:
    window = ReceiveWindow(1000, 1000)
    window.on_received(1000)
    assert not window.update_due
    assert not window.on_consumed(499)
    assert window.on_consumed(1)
    assert window.limit == 1000  # until the frame is made
    assert window.update(10.0, RTT) == 1500
    assert not window.update_due


def test_the_limit_follows_all_that_is_consumed_when_the_frame_is_made() -> None:
    window = ReceiveWindow(1000, 1000)
    window.on_received(900)
    window.on_consumed(500)
    window.on_consumed(400)
    assert window.update(10.0, RTT) == 1900


def test_a_repeated_frame_has_the_current_limit() -> None:
    window = ReceiveWindow(1000, 4000)
    window.on_received(600)
    window.on_consumed(600)
    assert window.update(10.0, RTT) == 1600
    assert window.update(10.01, RTT) == 1600
    window.on_received(100)
    window.on_consumed(100)
    assert window.update(10.02, RTT) == 1700
    assert window.window == 1000  # repeating is no sign of speed


@pytest.mark.parametrize(("elapsed", "expected"), [(0.199, 2000), (0.2, 1000), (5.0, 1000)])
def test_the_window_doubles_when_half_is_consumed_in_two_round_trips(elapsed: float, expected: int) -> None:
    window = ReceiveWindow(1000, 8000)
    window.on_received(500)
    window.on_consumed(500)
    window.update(0.0, RTT)
    window.on_received(500)
    window.on_consumed(500)
    assert window.update(elapsed, RTT) == 1000 + expected
    assert window.window == expected


def test_the_first_update_has_nothing_to_compare_with() -> None:
    window = ReceiveWindow(1000, 8000)
    window.on_received(1000)
    window.on_consumed(1000)
    assert window.update(0.0, RTT) == 2000


def consume_quickly(window: ReceiveWindow, rounds: int, rtt: float) -> None:
    for turn in range(rounds):
        step = window.limit - window.received
        window.on_received(step)
        window.on_consumed(step)
        window.update(turn * rtt / 2, rtt)


def test_growth_ends_at_the_maximum() -> None:
    window = ReceiveWindow(1000, 5000)
    consume_quickly(window, 10, RTT)
    assert window.window == 5000


def test_on_a_short_path_growth_ends_at_what_the_socket_buffers() -> None:
    short = ReceiveWindow(1000, 100_000, burst_size=5000)
    consume_quickly(short, 20, 0.0005)
    assert short.window == 4000
    long = ReceiveWindow(1000, 100_000, burst_size=5000)
    consume_quickly(long, 20, 0.03)
    assert long.window == 100_000


def test_ensure_window_is_limited_and_may_make_an_update_due() -> None:
    window = ReceiveWindow(1000, 3000)
    assert not window.ensure_window(900)
    assert window.window == 1000
    assert window.ensure_window(9000)
    assert window.update(0.0, RTT) == 3000


def test_a_first_window_above_the_maximum_stays() -> None:
    window = ReceiveWindow(1000, 500)
    consume_quickly(window, 3, RTT)
    assert window.window == 1000


def test_send_window_counts_and_ignores_what_is_no_increase() -> None:
    window = SendWindow(100)
    window.use(60)
    assert window.available == 40
    assert not window.raise_limit(100)
    assert not window.raise_limit(50)
    assert window.available == 40
    assert window.raise_limit(101)
    assert window.available == 41
    with pytest.raises(AssertionError):
        window.use(42)


def test_blocked_is_reported_once_per_limit() -> None:
    window = SendWindow()
    assert window.note_blocked()
    assert not window.note_blocked()
    window.raise_limit(10)
    window.use(10)
    assert window.note_blocked()
    assert not window.note_blocked()
    window.restart(10)
    assert window.available == 10
    assert window.note_blocked()
