import pytest

from endpoint.errors import TransportError, TransportErrorCode
from endpoint.recovery.sent_packets import MAX_LOST_REMEMBERED, SentPackets, SentRun

NEVER = float("-inf")


class Numbers:
    """Content that knows which packets it is the content of."""

    def __init__(self, numbers: range) -> None:
        self.numbers = numbers

    def split(self, count: int) -> "Numbers":
        rest = Numbers(self.numbers[count:])
        self.numbers = self.numbers[:count]
        return rest

    def on_acked(self) -> None:
        raise AssertionError("left to the transport")

    def on_lost(self) -> None:
        raise AssertionError("left to the transport")


def run(first: int, last: int, time: float = 0.0, size: int = 1000) -> SentRun:
    return SentRun(first, last, time, size, content=Numbers(range(first, last + 1)), ecn=2, path=7)


def ack_only(number: int, time: float = 0.0) -> SentRun:
    return SentRun(number, number, time, 40, ack_eliciting=False, in_flight=False)


def spans(runs: list[SentRun]) -> list[tuple[int, int]]:
    for item in runs:
        if isinstance(item.content, Numbers):
            assert item.content.numbers == range(item.first, item.last + 1)
    return [(item.first, item.last) for item in runs]


def test_split_cuts_the_content_too_and_keeps_the_rest_of_the_fields() -> None:
    front = run(10, 19, time=1.5)
    back = front.split(3)
    assert spans([front, back]) == [(10, 12), (13, 19)]
    assert (back.time, back.size, back.ack_eliciting, back.in_flight) == (1.5, 1000, True, True)
    assert (back.ecn, back.path) == (2, 7)
    assert (front.count, front.bytes, back.count, back.bytes) == (3, 3000, 7, 7000)
    assert repr(back) == "SentRun(13-19, 1000 bytes, 1.5)"


def test_ack_of_the_front_leaves_the_rest() -> None:
    sent = SentPackets()
    for first in (0, 52, 104):
        sent.add(run(first, first + 51))
    assert sent.bytes_in_flight == 156_000
    assert spans(sent.on_ack([(0, 51)], 156)) == [(0, 51)]
    assert sent.bytes_in_flight == 104_000
    assert sent.ack_eliciting_in_flight == 104
    assert sent.largest_acked == 51
    assert spans(list(sent)) == [(52, 103), (104, 155)]


def test_one_run_cut_by_two_ranges() -> None:
    sent = SentPackets()
    sent.add(run(0, 9))
    assert spans(sent.on_ack([(7, 8), (2, 3)], 10)) == [(2, 3), (7, 8)]
    assert spans(list(sent)) == [(0, 1), (4, 6), (9, 9)]
    assert sent.bytes_in_flight == 6000


def test_repeated_ranges_acknowledge_nothing_again() -> None:
    sent = SentPackets()
    sent.add(run(0, 9))
    sent.on_ack([(0, 5)], 10)
    assert sent.on_ack([(0, 5)], 10) == []
    assert spans(sent.on_ack([(8, 8), (0, 6)], 10)) == [(6, 6), (8, 8)]


def test_an_old_ack_does_not_lower_the_largest_acknowledged() -> None:
    sent = SentPackets()
    sent.add(run(0, 9))
    sent.on_ack([(8, 9)], 10)
    sent.on_ack([(0, 1)], 10)
    assert sent.largest_acked == 9


def test_acknowledging_what_was_never_sent_is_a_protocol_violation() -> None:
    sent = SentPackets()
    sent.add(run(0, 3))
    with pytest.raises(TransportError) as caught:
        sent.on_ack([(0, 4)], 4)
    assert caught.value.code == TransportErrorCode.PROTOCOL_VIOLATION
    assert sent.largest_acked == -1
    assert len(sent) == 1


def test_packet_threshold_splits_a_run() -> None:
    sent = SentPackets()
    sent.add(run(0, 9, time=5.0))
    sent.on_ack([(9, 9)], 10)
    lost, oldest_left = sent.detect_lost(NEVER, 3, now=5.1)
    assert spans(lost) == [(0, 6)]
    assert lost[0].lost_at == 5.1
    assert oldest_left == 5.0
    assert spans(list(sent)) == [(7, 8)]
    assert sent.bytes_in_flight == 2000


def test_time_threshold_includes_its_instant() -> None:
    sent = SentPackets()
    sent.add(run(0, 0, time=1.0))
    sent.add(run(1, 1, time=2.0))
    sent.add(run(2, 2, time=3.0))
    sent.on_ack([(2, 2)], 3)
    lost, oldest_left = sent.detect_lost(1.0, 3, now=3.5)
    assert spans(lost) == [(0, 0)]
    assert oldest_left == 2.0


def test_nothing_above_the_largest_acknowledged_is_lost() -> None:
    sent = SentPackets()
    sent.add(run(0, 4, time=1.0))
    sent.add(run(5, 9, time=1.0))
    sent.on_ack([(0, 4)], 10)
    assert sent.detect_lost(100.0, 3, now=100.0) == ([], None)


def test_late_ack_reports_the_lost_part_as_spurious_once() -> None:
    sent = SentPackets()
    sent.add(run(0, 9))
    sent.on_ack([(9, 9)], 10)
    sent.detect_lost(100.0, 3, now=100.0)
    assert spans(sent.take_spurious([(9, 9), (6, 7), (2, 3)])) == [(2, 3), (6, 7)]
    assert sent.take_spurious([(9, 9), (6, 7), (2, 3)]) == []
    late = sent.take_spurious([(0, 9)])
    assert spans(late) == [(0, 1), (4, 5), (8, 8)]
    assert late[0].lost_at == 100.0


def test_lost_runs_are_remembered_in_bounded_number() -> None:
    sent = SentPackets()
    count = MAX_LOST_REMEMBERED + 10
    for number in range(count + 1):
        sent.add(run(number, number, time=float(number)))
    sent.on_ack([(count, count)], count + 1)
    lost, _ = sent.detect_lost(1e9, 3, now=1e9)
    assert len(lost) == count
    assert sent.take_spurious([(5, 9)]) == [], "only the newest are remembered"
    assert spans(sent.take_spurious([(8, 11)])) == [(10, 10), (11, 11)]


def test_of_ack_only_packets_in_a_row_the_newest_is_remembered() -> None:
    sent = SentPackets()
    sent.add(run(0, 0))
    for number in range(1, 1000):
        sent.add(ack_only(number))
    assert spans(list(sent)) == [(0, 0), (999, 999)]
    assert sent.bytes_in_flight == 1000
    assert sent.ack_eliciting_in_flight == 1
    assert spans(sent.on_ack([(990, 999)], 1000)) == [(999, 999)]


def test_padding_only_packets_are_in_flight_but_do_not_start_the_pto() -> None:
    sent = SentPackets()
    sent.add(SentRun(0, 0, 3.0, 1200, ack_eliciting=False, in_flight=True))
    assert sent.bytes_in_flight == 1200
    assert sent.ack_eliciting_in_flight == 0
    assert sent.last_ack_eliciting_time == 0.0


def test_clear_returns_what_was_outstanding() -> None:
    sent = SentPackets()
    sent.add(run(0, 4, time=2.0))
    assert sent.last_ack_eliciting_time == 2.0
    assert spans(sent.clear()) == [(0, 4)]
    assert (sent.bytes_in_flight, sent.ack_eliciting_in_flight, len(sent)) == (0, 0, 0)
