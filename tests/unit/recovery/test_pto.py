"""LossDetector: the probe timeout and which space it is for (RFC 9002 §6.2)."""

import pytest

from endpoint.config import CongestionAlgorithm
from endpoint.level import Level
from endpoint.recovery.loss import MAX_PTO, LossDetector
from endpoint.recovery.sent_packets import SentRun


def make_detector(*, is_client: bool) -> LossDetector:
    return LossDetector(
        is_client=is_client, initial_rtt=0.333, max_datagram_size=1200, congestion=CongestionAlgorithm.CUBIC
    )


def send(detector: LossDetector, level: Level, pn: int, now: float, *, ack_eliciting: bool = True) -> None:
    run = SentRun(pn, pn, now, 1200, ack_eliciting=ack_eliciting, in_flight=ack_eliciting)
    detector.on_packet_sent(level, run, now)


def acked(detector: LossDetector, level: Level, pn: int, now: float) -> None:
    detector.on_ack_received(level, [(pn, pn)], 0.0, now, pn + 1)


def confirmed(rtt: float = 0.03) -> LossDetector:
    """A client after the handshake; one sample of `rtt`, at the time 0."""
    detector = make_detector(is_client=True)
    detector.handshake_confirmed = True
    send(detector, Level.ONE_RTT, 0, -rtt)
    acked(detector, Level.ONE_RTT, 0, 0.0)
    return detector


def test_nothing_sent_needs_no_timer() -> None:
    for is_client in (True, False):
        detector = make_detector(is_client=is_client)
        assert detector.next_timeout() is None
        assert detector.on_timeout(1e9) is None


def test_the_first_initial_is_probed_after_a_second_then_two_then_four() -> None:
    detector = make_detector(is_client=True)
    now = 10.0
    for pn, period in enumerate((0.999, 1.998, 3.996)):
        send(detector, Level.INITIAL, pn, now)
        assert detector.next_timeout() == pytest.approx(now + period)
        assert detector.on_timeout(now + period - 0.001) is None
        now += period + 0.0001
        timeout = detector.on_timeout(now)
        assert timeout is not None
        assert (timeout.level, timeout.lost, timeout.probes) == (Level.INITIAL, [], 2)
        assert detector.pto_count == pn + 1


def test_probes_declare_nothing_lost() -> None:
    detector = confirmed()
    send(detector, Level.ONE_RTT, 1, 1.0)
    detector.on_timeout(2.0)
    assert detector.congestion.bytes_in_flight == 1200
    assert len(detector.sent_packets[Level.ONE_RTT]) == 1


def test_one_rtt_includes_max_ack_delay_and_handshake_does_not() -> None:
    detector = confirmed(rtt=0.03)
    send(detector, Level.ONE_RTT, 1, 1.0)
    # 30 + 4 * 15 + 25 = 115 ms
    assert detector.next_timeout() == pytest.approx(1.115)
    send(detector, Level.HANDSHAKE, 0, 1.0)
    assert detector.next_timeout() == pytest.approx(1.090)
    timeout = detector.on_timeout(1.1)
    assert timeout is not None
    assert timeout.level is Level.HANDSHAKE
    # The back-off counts for all spaces, and for max_ack_delay.
    acked(detector, Level.HANDSHAKE, 0, 1.1)
    detector.on_timeout(9.0)
    period = detector.rtt.pto(detector.max_ack_delay)
    assert detector.next_timeout() == pytest.approx(1.0 + 2 * period)


def test_the_period_starts_at_the_last_ack_eliciting_packet() -> None:
    detector = confirmed()
    send(detector, Level.ONE_RTT, 1, 1.0)
    send(detector, Level.ONE_RTT, 2, 2.0)
    send(detector, Level.ONE_RTT, 3, 3.0, ack_eliciting=False)
    assert detector.next_timeout() == pytest.approx(2.115)


def test_an_ack_resets_the_back_off() -> None:
    detector = confirmed()
    send(detector, Level.ONE_RTT, 1, 1.0)
    detector.on_timeout(1.2)
    detector.on_timeout(1.4)
    assert detector.pto_count == 2
    acked(detector, Level.ONE_RTT, 1, 1.5)
    assert detector.pto_count == 0
    assert detector.next_timeout() is None


def test_one_rtt_is_not_probed_before_confirmation() -> None:
    detector = make_detector(is_client=False)
    send(detector, Level.ONE_RTT, 0, 1.0)
    assert detector.next_timeout() is None
    detector.handshake_confirmed = True
    assert detector.next_timeout() == pytest.approx(1.0 + 0.999 + 0.025)


def test_a_blocked_server_waits_and_is_late_at_once_when_unblocked() -> None:
    detector = make_detector(is_client=False)
    send(detector, Level.INITIAL, 0, 1.0)
    detector.amplification_limited = True
    assert detector.next_timeout() is None
    assert detector.on_timeout(5.0) is None
    detector.amplification_limited = False
    assert detector.next_timeout() == pytest.approx(1.999)
    timeout = detector.on_timeout(5.0)
    assert timeout is not None
    assert timeout.probes == 2


def test_a_client_keeps_probing_with_nothing_in_flight() -> None:
    # The server may be waiting for bytes: RFC 9002 §6.2.2.1.
    detector = make_detector(is_client=True)
    send(detector, Level.INITIAL, 0, 1.0)
    acked(detector, Level.INITIAL, 0, 1.1)
    assert not detector.peer_completed_address_validation
    # 100 + 4 * 50 = 300 ms after the ACK.
    assert detector.next_timeout() == pytest.approx(1.4)
    timeout = detector.on_timeout(1.41)
    assert timeout is not None
    assert (timeout.level, timeout.probes) == (Level.INITIAL, 1)
    assert detector.next_timeout() == pytest.approx(1.41 + 0.6)
    detector.has_handshake_keys = True
    timeout = detector.on_timeout(2.1)
    assert timeout is not None
    assert timeout.level is Level.HANDSHAKE


def test_a_client_with_only_zero_rtt_in_flight_is_not_stuck() -> None:
    detector = make_detector(is_client=True)
    send(detector, Level.INITIAL, 0, 1.0)
    send(detector, Level.ZERO_RTT, 0, 1.0)
    acked(detector, Level.INITIAL, 0, 1.1)
    timeout = detector.on_timeout(1.5)
    assert timeout is not None
    assert timeout.level is Level.INITIAL


def test_a_client_stops_once_a_handshake_packet_is_acknowledged() -> None:
    detector = make_detector(is_client=True)
    send(detector, Level.INITIAL, 0, 1.0)
    detector.has_handshake_keys = True
    send(detector, Level.HANDSHAKE, 0, 1.1)
    detector.discard_space(Level.INITIAL)
    acked(detector, Level.HANDSHAKE, 0, 1.2)
    assert detector.peer_completed_address_validation
    assert detector.next_timeout() is None


def test_a_client_keeps_its_back_off_over_acks_of_initials() -> None:
    detector = make_detector(is_client=True)
    send(detector, Level.INITIAL, 0, 1.0)
    detector.on_timeout(2.0)
    acked(detector, Level.INITIAL, 0, 2.1)
    assert detector.pto_count == 1
    detector.discard_space(Level.INITIAL)
    assert detector.pto_count == 0


def test_the_server_is_never_unsure_of_the_client() -> None:
    detector = make_detector(is_client=False)
    send(detector, Level.INITIAL, 0, 1.0)
    detector.on_timeout(2.0)
    acked(detector, Level.INITIAL, 0, 2.1)
    assert detector.pto_count == 0
    assert detector.next_timeout() is None


def test_the_loss_timer_takes_precedence() -> None:
    detector = confirmed(rtt=0.1)
    send(detector, Level.ONE_RTT, 1, 1.0)
    send(detector, Level.ONE_RTT, 2, 1.0)
    acked(detector, Level.ONE_RTT, 2, 1.1)
    assert detector.next_timeout() == pytest.approx(1.1125)
    timeout = detector.on_timeout(1.2)
    assert timeout is not None
    assert timeout.probes == 0
    assert len(timeout.lost) == 1


def test_a_probe_follows_soon_after_a_black_hole_of_two_seconds() -> None:
    # The interop case: round trip 30 ms, nothing gets through for 2 s, each PTO is answered by a probe.
    detector = confirmed(rtt=0.03)
    pn, now = 1, 5.0
    send(detector, Level.ONE_RTT, pn, now)
    while now < 7.0:
        at = detector.next_timeout()
        assert at is not None
        now = at + 0.001
        assert detector.on_timeout(now) is not None
        pn += 1
        send(detector, Level.ONE_RTT, pn, now)
    assert now < 9.0


def test_the_back_off_ends_at_a_minute() -> None:
    detector = confirmed()
    send(detector, Level.ONE_RTT, 1, 1.0)
    for _ in range(2000):
        at = detector.next_timeout()
        assert at is not None
        detector.on_timeout(at)
    assert detector.next_timeout() == pytest.approx(1.0 + MAX_PTO)
