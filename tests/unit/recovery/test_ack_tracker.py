import pytest

from endpoint.batch import ECN_CE, ECN_ECT_0, ECN_ECT_1, ECN_NOT_ECT
from endpoint.recovery.ack_tracker import MAX_GAPS, MAX_RANGES, AckTracker


def tracker(*, immediate: bool = False) -> AckTracker:
    return AckTracker(immediate=immediate, max_ack_delay=0.025)


def receive(
    acks: AckTracker, first: int, last: int | None = None, *, eliciting: bool = True, now: float = 0.0
) -> None:
    acks.on_received(first, first if last is None else last, eliciting, now, ECN_NOT_ECT)


def due(acks: AckTracker) -> bool:
    return acks.ack_now


def test_a_single_packet_waits_for_max_ack_delay() -> None:
    acks = tracker()
    receive(acks, 0, now=1.0)
    acks.on_socket_drained()
    assert not due(acks)
    assert acks.ack_eliciting_pending == 1
    assert acks.deadline == pytest.approx(1.025)
    acks.on_timeout(1.02)
    assert not due(acks)
    acks.on_timeout(1.025)
    assert due(acks)


def test_the_deadline_is_that_of_the_first_packet_waiting() -> None:
    acks = tracker()
    receive(acks, 0, now=1.0)
    receive(acks, 1, now=1.02)
    assert acks.deadline == pytest.approx(1.025)


def test_two_packets_are_due_once_the_socket_is_drained() -> None:
    acks = tracker()
    receive(acks, 0)
    acks.on_socket_drained()
    receive(acks, 1)
    assert not due(acks)
    acks.on_socket_drained()
    assert due(acks)
    assert acks.on_ack_sent(0.0, ack_eliciting=False) == 1
    assert not due(acks)
    assert acks.deadline is None
    assert acks.ack_eliciting_pending == 0
    acks.on_socket_drained()
    assert not due(acks)


def test_a_run_counts_its_packets() -> None:
    acks = tracker()
    receive(acks, 0, 51)
    assert not due(acks)
    acks.on_socket_drained()
    assert due(acks)
    assert acks.ack_ranges(10) == [(0, 51)]


def test_initial_and_handshake_packets_are_acknowledged_at_once() -> None:
    acks = tracker(immediate=True)
    receive(acks, 0, eliciting=False)
    assert not due(acks)
    receive(acks, 1)
    assert due(acks)


def test_a_gap_is_reported_at_once_but_only_once() -> None:
    acks = tracker()
    receive(acks, 0)
    assert not due(acks)
    receive(acks, 2)
    assert due(acks)
    acks.on_ack_sent(0.0, ack_eliciting=False)
    receive(acks, 3)
    assert not due(acks)


def test_a_late_packet_is_reported_at_once() -> None:
    acks = tracker()
    receive(acks, 0, 2)
    receive(acks, 4, 5)
    acks.on_ack_sent(0.0, ack_eliciting=False)
    receive(acks, 3)
    assert due(acks)
    assert acks.ack_ranges(10) == [(0, 5)]


def test_a_gap_at_the_very_start_is_reported() -> None:
    acks = tracker()
    receive(acks, 1)
    assert due(acks)


def test_non_eliciting_packets_fill_gaps_but_ask_for_nothing() -> None:
    acks = tracker()
    receive(acks, 0)
    receive(acks, 1, eliciting=False)
    receive(acks, 2)
    assert not due(acks)
    acks.on_ack_sent(0.0, ack_eliciting=False)
    receive(acks, 9, eliciting=False)
    acks.on_socket_drained()
    assert not due(acks)
    assert acks.deadline is None
    receive(acks, 10)
    assert due(acks), "3 to 8 are missing below an ack-eliciting packet"


def test_congestion_experienced_is_reported_at_once() -> None:
    acks = tracker()
    acks.on_received(0, 0, True, 0.0, ECN_ECT_0)
    assert not due(acks)
    acks.on_received(1, 1, True, 0.0, ECN_CE)
    assert due(acks)


def test_ecn_counts_are_per_packet_and_in_the_order_of_the_frame() -> None:
    acks = tracker()
    receive(acks, 0)
    assert acks.ecn_counts is None
    acks.on_received(1, 10, True, 0.0, ECN_ECT_0)
    acks.on_received(11, 12, False, 0.0, ECN_ECT_1)
    acks.on_received(13, 15, True, 0.0, ECN_CE)
    assert acks.ecn_counts == (10, 2, 3)


def test_duplicates() -> None:
    acks = tracker()
    receive(acks, 0, 4)
    receive(acks, 8)
    assert [pn for pn in range(12) if acks.is_duplicate(pn)] == [0, 1, 2, 3, 4, 8]


def test_largest_received_and_its_delay() -> None:
    acks = tracker()
    assert acks.largest_received == -1
    receive(acks, 3, 5, now=2.0)
    receive(acks, 2, now=3.0)
    assert (acks.largest_received, acks.largest_received_time) == (5, 2.0)
    assert acks.ack_delay(3.5) == 1.5
    assert acks.ack_delay(1.0) == 0.0


def test_ranges_descend_and_the_newest_come_first() -> None:
    acks = tracker()
    for pn in (0, 2, 4, 6):
        receive(acks, pn)
    assert acks.ack_ranges(3) == [(6, 6), (4, 4), (2, 2)]


def test_ranges_are_bounded_and_what_is_forgotten_counts_as_duplicate() -> None:
    acks = tracker()
    for pn in range(0, 20_000, 2):
        receive(acks, pn)
    ranges = acks.ack_ranges(1000)
    assert len(ranges) == MAX_RANGES
    oldest = ranges[-1][0]
    assert acks.is_duplicate(oldest - 1), "never received, but too old to tell"
    assert not acks.is_duplicate(oldest + 1)


def test_an_acknowledged_ack_is_not_repeated() -> None:
    acks = tracker()
    receive(acks, 0, 2)
    receive(acks, 5, 6)
    largest = acks.on_ack_sent(0.0, ack_eliciting=True)
    receive(acks, 8)
    acks.on_ack_acked(largest)
    assert acks.ack_ranges(10) == [(8, 8), (6, 6)]
    assert acks.is_duplicate(2)
    assert not acks.is_duplicate(7)
    acks.on_ack_acked(2)
    assert acks.ack_ranges(10) == [(8, 8), (6, 6)]


def test_what_comes_after_its_gap_was_reported_is_no_duplicate() -> None:
    """A packet may be later than a round trip: the ACK that lacks it has been acknowledged."""
    acks = tracker()
    receive(acks, 0, 2)
    receive(acks, 5, 6)
    acks.on_ack_acked(acks.on_ack_sent(0.0, ack_eliciting=True))
    assert not acks.is_duplicate(3)
    assert not acks.is_duplicate(4)
    receive(acks, 4)
    assert acks.is_duplicate(4)
    assert due(acks)
    assert acks.ack_ranges(10) == [(6, 6), (4, 4)]


def test_gaps_are_remembered_up_to_a_bound() -> None:
    acks = tracker()
    count = MAX_GAPS + 5
    for number in range(count):
        receive(acks, 10 * number)
        acks.on_ack_acked(acks.on_ack_sent(0.0, ack_eliciting=True))
    assert acks.is_duplicate(1), "so old that it is not known any more"
    assert not acks.is_duplicate(10 * (count - 2) + 1)


def test_what_was_forgotten_is_not_taken_for_a_gap() -> None:
    acks = tracker()
    receive(acks, 0)
    receive(acks, 1, 5, eliciting=False)
    acks.on_ack_acked(acks.on_ack_sent(0.0, ack_eliciting=True))
    receive(acks, 6)
    assert not due(acks)


def test_the_largest_received_is_kept_when_all_is_acknowledged() -> None:
    acks = tracker()
    receive(acks, 0, 9)
    acks.on_ack_acked(acks.on_ack_sent(0.0, ack_eliciting=True))
    assert acks.ack_ranges(10) == [(9, 9)]
    assert acks.is_duplicate(9)


def test_a_ping_is_needed_once_per_round_trip_while_many_ranges_are_held() -> None:
    acks = tracker()
    for pn in range(0, 12, 2):
        receive(acks, pn)
    assert not acks.needs_ping(0.0, 0.1)
    receive(acks, 12)
    assert acks.needs_ping(0.0, 0.1)
    acks.on_ack_sent(1.0, ack_eliciting=False)
    assert acks.needs_ping(1.0, 0.1)
    largest = acks.on_ack_sent(1.0, ack_eliciting=True)
    assert not acks.needs_ping(1.05, 0.1)
    assert acks.needs_ping(1.125, 0.1)
    acks.on_ack_acked(largest)
    assert not acks.needs_ping(9.0, 0.1)
