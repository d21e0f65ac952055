"""LossDetector: ACKs, thresholds, spurious loss, persistent congestion, several paths."""

from math import inf

import pytest

from endpoint.batch import ECN_ECT_0, ECN_NOT_ECT
from endpoint.config import CongestionAlgorithm
from endpoint.errors import TransportError, TransportErrorCode
from endpoint.level import Level
from endpoint.recovery.loss import MAX_PACKET_THRESHOLD, LossDetector
from endpoint.recovery.outcome import AckOutcome
from endpoint.recovery.sent_packets import SentRun

APP = Level.ONE_RTT


class Sender:
    """A detector with a peer: sends numbered runs and takes ACKs, in 1-RTT."""

    def __init__(self, *, rtt: float | None = 0.1, max_ack_delay: float = 0.025) -> None:
        self.detector = LossDetector(
            is_client=False,
            initial_rtt=0.333,
            max_datagram_size=1000,
            congestion=CongestionAlgorithm.NEWRENO,
        )
        self.detector.handshake_confirmed = True
        self.detector.max_ack_delay = max_ack_delay
        self.next_pn = 0
        if rtt is not None:
            self.send(-rtt)
            self.ack(0.0, (0, 0))

    def send(
        self, now: float, count: int = 1, *, ack_eliciting: bool = True, path: int = 0, ecn: int = 0
    ) -> None:
        first, last = self.next_pn, self.next_pn + count - 1
        run = SentRun(first, last, now, 1000, ack_eliciting=ack_eliciting, path=path, ecn=ecn)
        self.next_pn += count
        self.detector.on_packet_sent(APP, run, now)

    def ack(
        self,
        now: float,
        *ranges: tuple[int, int],
        ack_delay: float = 0.0,
        ecn_counts: tuple[int, int, int] | None = None,
    ) -> AckOutcome:
        return self.detector.on_ack_received(APP, list(ranges), ack_delay, now, self.next_pn, ecn_counts)


def spans(runs: list[SentRun]) -> list[tuple[int, int]]:
    return [(run.first, run.last) for run in runs]


def test_an_ack_updates_round_trip_window_and_pacer() -> None:
    sender = Sender(rtt=None)
    sender.send(1.0, 10)
    assert sender.detector.available_window == 0
    outcome = sender.ack(1.05, (0, 9))
    assert spans(outcome.acked) == [(0, 9)]
    assert outcome.newly_acked_bytes == 10_000
    assert outcome.rtt_updated
    assert not outcome.lost
    assert not outcome.spurious
    assert not outcome.persistent_congestion
    detector = sender.detector
    assert detector.rtt.smoothed_rtt == pytest.approx(0.05)
    assert detector.congestion.bytes_in_flight == 0
    assert detector.congestion.congestion_window == 20_000
    assert detector.pacer.rate == pytest.approx(2 * 20_000 / 0.05)


def test_acknowledging_what_was_never_sent_is_a_protocol_violation() -> None:
    sender = Sender()
    with pytest.raises(TransportError) as caught:
        sender.ack(1.0, (0, 1))
    assert caught.value.code == TransportErrorCode.PROTOCOL_VIOLATION


def test_no_sample_unless_the_largest_is_newly_acknowledged() -> None:
    sender = Sender()
    sender.send(1.0, 3)
    assert sender.ack(1.1, (3, 3)).rtt_updated
    assert not sender.ack(1.2, (2, 3)).rtt_updated
    assert not sender.ack(1.3, (2, 3)).acked
    assert sender.detector.rtt.latest_rtt == pytest.approx(0.1)


def test_no_sample_from_packets_that_elicit_no_ack() -> None:
    sender = Sender()
    sender.send(1.0, ack_eliciting=False)
    assert not sender.ack(9.0, (1, 1)).rtt_updated


def test_the_ack_delay_of_initial_packets_is_ignored() -> None:
    sender = Sender()
    detector = sender.detector
    detector.on_packet_sent(Level.INITIAL, SentRun(0, 0, 1.0, 1000), 1.0)
    detector.on_ack_received(Level.INITIAL, [(0, 0)], 0.05, 1.2, 1)
    assert detector.rtt.smoothed_rtt == pytest.approx((7 * 0.1 + 0.2) / 8)
    sender.send(2.0)
    sender.ack(2.2, (1, 1), ack_delay=0.02)
    assert detector.rtt.smoothed_rtt == pytest.approx((7 * (7 * 0.1 + 0.2) / 8 + 0.18) / 8)


def test_packet_threshold_cuts_a_run_and_the_timer_gets_the_rest() -> None:
    sender = Sender()
    sender.send(1.0, 10)  # 1 to 10
    outcome = sender.ack(1.1, (10, 10))
    assert spans(outcome.lost) == [(1, 7)]
    detector = sender.detector
    assert detector.congestion.bytes_in_flight == 2000
    # 8 and 9 follow after 9/8 of 100 ms.
    assert detector.next_timeout() == pytest.approx(1.1125)
    assert detector.on_timeout(1.11) is None
    timeout = detector.on_timeout(1.1126)
    assert timeout is not None
    assert (timeout.level, spans(timeout.lost), timeout.probes) == (APP, [(8, 9)], 0)
    assert detector.congestion.bytes_in_flight == 0
    assert detector.next_timeout() is None


@pytest.mark.parametrize("start", [0.1, 1.7, 12345.678901, 86400.333])
def test_the_loss_timer_always_makes_progress(start: float) -> None:
    sender = Sender()
    sender.send(start, 2)
    sender.ack(start + 0.1, (2, 2))
    at = sender.detector.next_timeout()
    assert at is not None
    timeout = sender.detector.on_timeout(at)
    assert timeout is not None
    assert spans(timeout.lost) == [(1, 1)]


def test_one_reduction_for_all_losses_of_a_flight() -> None:
    sender = Sender()
    sender.send(1.0, 5)
    sender.send(1.01, 5)
    sender.ack(1.1, (5, 5))
    window = sender.detector.congestion.congestion_window
    assert window == 5000
    assert sender.ack(1.11, (10, 10), (5, 5)).lost
    assert sender.detector.congestion.congestion_window == window


def test_congestion_marks_count_once_per_increase() -> None:
    sender = Sender()
    sender.send(1.0, 5, ecn=ECN_ECT_0)
    sender.ack(1.1, (1, 2), ecn_counts=(1, 0, 1))
    assert sender.detector.congestion.congestion_window == 5000
    sender.send(1.2, 2, ecn=ECN_ECT_0)
    sender.ack(1.3, (1, 6), ecn_counts=(5, 0, 1))
    assert sender.detector.congestion.congestion_window == 5000
    sender.ack(1.31, (1, 7), ecn_counts=(5, 0, 2))
    assert sender.detector.congestion.congestion_window == 2500


def test_counts_that_cannot_be_true_are_no_sign_of_congestion() -> None:
    sender = Sender()
    sender.send(1.0, 4, ecn=ECN_ECT_0)
    sender.ack(1.1, (1, 4), ecn_counts=(0, 0, 9))
    assert sender.detector.congestion.congestion_window == 10_000
    assert sender.detector.ecn.codepoint == ECN_NOT_ECT


def test_growth_needs_a_window_in_use() -> None:
    sender = Sender()
    sender.send(1.0, 3)
    sender.ack(1.1, (1, 3))
    assert sender.detector.congestion.congestion_window == 10_000
    sender.send(2.0, 10)
    sender.ack(2.1, (4, 13))
    assert sender.detector.congestion.congestion_window == 20_000


def test_waiting_for_the_pacer_is_not_being_app_limited() -> None:
    sender = Sender()
    sender.send(1.0, 3)
    sender.detector.pacer.on_sent(1_000_000, 1.0)
    assert sender.detector.pacer.next_time(1000, 1.0) is not None
    sender.ack(1.1, (1, 3))
    assert sender.detector.congestion.congestion_window == 13_000


def test_late_packets_undo_the_reduction_and_raise_the_threshold() -> None:
    sender = Sender()
    sender.send(1.0, 10)
    sender.ack(1.1, (6, 6))
    assert sender.detector.congestion.congestion_window == 5000
    outcome = sender.ack(1.101, (6, 6), (1, 2))
    assert spans(outcome.spurious) == [(1, 2)]
    assert sender.detector.congestion.congestion_window == 5000, "3 is still missing"
    assert not outcome.acked
    outcome = sender.ack(1.102, (1, 6))
    assert spans(outcome.spurious) == [(3, 3)]
    assert spans(outcome.acked) == [(4, 5)]
    assert sender.detector.congestion.congestion_window >= 10_000
    # 1 came after 6: five later ones are to be tolerated, so lost is what is six or more behind.
    assert sender.detector.packet_threshold == 6
    sender.send(1.2, 10)
    assert spans(sender.ack(1.21, (20, 20)).lost) == [(7, 10), (11, 14)]


def test_the_packet_threshold_is_bounded() -> None:
    sender = Sender()
    sender.send(1.0, 500)
    sender.ack(1.1, (500, 500))
    sender.ack(1.2, (1, 500))
    assert sender.detector.packet_threshold == MAX_PACKET_THRESHOLD


def test_late_packets_of_an_earlier_reduction_do_not_undo_the_present_one() -> None:
    sender = Sender()
    sender.send(1.0, 5)
    sender.ack(1.1, (5, 5))
    sender.send(1.2, 5)
    sender.ack(1.3, (10, 10))
    assert sender.detector.congestion.congestion_window == 2500
    sender.ack(1.31, (10, 10), (1, 5))
    assert sender.detector.congestion.congestion_window == 2500


def test_persistent_congestion_as_in_the_rfc() -> None:
    # RFC 9002 §7.6.3, with round trip and max_ack_delay such that the period is 2 s, as it says.
    sender = Sender(rtt=0.5, max_ack_delay=0.5)
    assert sender.detector.rtt.pto(0.5) == pytest.approx(2.0)
    sender.send(0.5)  # 1, acknowledged
    sender.send(1.0)
    sender.ack(1.0, (0, 1))
    for time in (2.0, 3.0, 4.0, 5.0, 6.0, 8.0):
        sender.send(time)
    sender.send(12.0)
    # The sample of 200 ms comes first and shortens the period a little: 7 s are well beyond it.
    outcome = sender.ack(12.2, (9, 9))
    assert spans(outcome.lost) == [(number, number) for number in range(2, 9)]
    assert outcome.persistent_congestion
    assert sender.detector.congestion.congestion_window == 2000
    assert sender.detector.rtt.min_rtt == pytest.approx(0.2)


def lose_over(seconds: float, *, arrived_between: bool = False, ack_eliciting: bool = True) -> bool:
    """Whether losing everything for so long is persistent congestion; PTO = 100 + 4 * 50 + 25 = 325 ms."""
    sender = Sender()
    start = 1.0
    sender.send(start, ack_eliciting=ack_eliciting)
    sender.send(start + seconds / 2)
    sender.send(start + seconds, ack_eliciting=ack_eliciting)
    sender.send(start + seconds + 0.2)
    ranges = [(4, 4), (2, 2)] if arrived_between else [(4, 4)]
    # A round trip of 100 ms again; rttvar becomes 37.5 ms, so the duration is 3 * 275 = 825 ms.
    return sender.ack(start + seconds + 0.3, *ranges).persistent_congestion


def test_persistent_congestion_is_three_times_the_pto() -> None:
    assert lose_over(0.83)
    assert not lose_over(0.82)


def test_an_arrival_in_between_is_no_persistent_congestion() -> None:
    assert not lose_over(0.83, arrived_between=True)


def test_packets_that_elicit_no_ack_do_not_establish_persistent_congestion() -> None:
    assert not lose_over(0.83, ack_eliciting=False)


def test_an_arrival_in_another_space_is_no_persistent_congestion() -> None:
    sender = Sender()
    detector = sender.detector
    sender.send(1.0)
    detector.on_packet_sent(Level.HANDSHAKE, SentRun(0, 0, 2.0, 1000), 2.0)
    detector.on_ack_received(Level.HANDSHAKE, [(0, 0)], 0.0, 2.1, 1)
    sender.send(3.0)
    sender.send(3.2)
    outcome = sender.ack(3.3, (3, 3))
    assert spans(outcome.lost) == [(1, 1), (2, 2)]
    assert not outcome.persistent_congestion


def test_what_was_sent_before_the_first_sample_is_no_persistent_congestion() -> None:
    sender = Sender(rtt=None)
    for time in (1.0, 5.0, 10.0):
        sender.send(time)
    outcome = sender.ack(10.1, (2, 2))
    assert spans(outcome.lost) == [(0, 0), (1, 1)]
    assert not outcome.persistent_congestion


def test_discarding_a_space_frees_its_bytes() -> None:
    sender = Sender()
    detector = sender.detector
    detector.on_packet_sent(Level.HANDSHAKE, SentRun(0, 4, 1.0, 1000), 1.0)
    detector.on_ack_received(Level.HANDSHAKE, [(3, 3)], 0.0, 1.01, 5)
    assert detector.next_timeout() is not None
    sender.send(1.0, 2)
    detector.discard_space(Level.HANDSHAKE)
    assert detector.congestion.bytes_in_flight == 2000
    assert len(detector.sent_packets[Level.HANDSHAKE]) == 0
    timeout = detector.on_timeout(1.2)
    assert timeout is None, "the loss timer of the space is gone"


def test_rejected_zero_rtt_comes_back() -> None:
    detector = LossDetector(
        is_client=True, initial_rtt=0.333, max_datagram_size=1000, congestion=CongestionAlgorithm.CUBIC
    )
    detector.on_packet_sent(Level.INITIAL, SentRun(0, 0, 1.0, 1000), 1.0)
    detector.on_packet_sent(Level.ZERO_RTT, SentRun(0, 2, 1.0, 1000), 1.0)
    assert spans(detector.on_zero_rtt_rejected()) == [(0, 2)]
    assert detector.congestion.bytes_in_flight == 1000
    assert detector.sent_packets[Level.ONE_RTT].largest_acked == -1


def test_retry_starts_everything_again() -> None:
    detector = LossDetector(
        is_client=True, initial_rtt=0.333, max_datagram_size=1000, congestion=CongestionAlgorithm.CUBIC
    )
    detector.on_packet_sent(Level.INITIAL, SentRun(0, 0, 1.0, 1000), 1.0)
    detector.on_packet_sent(Level.ZERO_RTT, SentRun(0, 2, 1.0, 1000), 1.0)
    detector.on_timeout(5.0)
    assert detector.pto_count == 1
    assert spans(detector.on_retry()) == [(0, 0), (0, 2)]
    assert detector.pto_count == 0
    assert detector.congestion.bytes_in_flight == 0
    assert detector.congestion.ssthresh == inf


def test_packets_of_another_path_touch_neither_window_nor_round_trip() -> None:
    sender = Sender()
    detector = sender.detector
    sender.send(1.0, 8)
    detector.reset_path(1)
    assert detector.congestion.bytes_in_flight == 0
    assert not detector.rtt.has_sample
    sender.send(1.01, 2, path=1)
    outcome = sender.ack(1.1, (8, 8))
    assert spans(outcome.acked) == [(8, 8)]
    assert spans(outcome.lost) == [(1, 5)]
    assert outcome.newly_acked_bytes == 0
    assert not outcome.rtt_updated
    assert detector.congestion.congestion_window == 10_000
    assert detector.congestion.bytes_in_flight == 2000
    assert sender.ack(1.12, (9, 10), (8, 8)).rtt_updated
    assert detector.rtt.smoothed_rtt == pytest.approx(0.11)


def test_a_larger_datagram_reaches_window_and_pacer() -> None:
    sender = Sender()
    sender.detector.set_max_datagram_size(1400)
    assert sender.detector.congestion.congestion_window == 14_000
    assert sender.detector.pacer.burst == 14_000


def test_probes_of_a_path_count_once_the_connection_moves_there() -> None:
    sender = Sender()
    sender.send(1.0)  # on the old path
    sender.send(1.0, path=1)
    assert sender.detector.congestion.bytes_in_flight == 1000
    sender.detector.reset_path(1)
    assert sender.detector.congestion.bytes_in_flight == 1000
    sender.ack(1.1, (1, 2))
    assert sender.detector.congestion.bytes_in_flight == 0


def test_the_peers_limit_holds_on_paths_kept_from_before() -> None:
    """A server's path may change before it knows the client's max_udp_payload_size."""
    detector = LossDetector(
        is_client=False, initial_rtt=0.333, max_datagram_size=1452, congestion=CongestionAlgorithm.CUBIC
    )
    kept = detector.keep_path()
    detector.reset_path(1)
    detector.set_peer_max_udp_payload(1300)
    detector.return_to_path(0, kept)
    assert detector.max_datagram_size == 1300
