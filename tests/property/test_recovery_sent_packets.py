"""Runs against a naive model that keeps every packet by itself."""

from hypothesis import given
from hypothesis import strategies as st

from endpoint.recovery.sent_packets import SentPackets, SentRun

PACKET_THRESHOLD = 3


class Numbers:
    def __init__(self, numbers: range) -> None:
        self.numbers = numbers

    def split(self, count: int) -> "Numbers":
        rest = Numbers(self.numbers[count:])
        self.numbers = self.numbers[:count]
        return rest

    def on_acked(self) -> None: ...

    def on_lost(self) -> None: ...


class PacketModel:
    """RFC 9002 §A, packet by packet: number -> (time, size)."""

    def __init__(self) -> None:
        self.outstanding: dict[int, tuple[float, int]] = {}
        self.lost: set[int] = set()
        self.largest_acked = -1

    def ack(self, numbers: set[int]) -> tuple[set[int], set[int]]:
        self.largest_acked = max(self.largest_acked, *numbers)
        acked = numbers & self.outstanding.keys()
        for number in acked:
            del self.outstanding[number]
        spurious = numbers & self.lost
        self.lost -= spurious
        return acked, spurious

    def detect_lost(self, lost_send_time: float) -> tuple[set[int], float | None]:
        lost = {
            number
            for number, (time, _) in self.outstanding.items()
            if number < self.largest_acked
            and (time <= lost_send_time or self.largest_acked >= number + PACKET_THRESHOLD)
        }
        for number in lost:
            del self.outstanding[number]
        self.lost |= lost
        left = [time for number, (time, _) in self.outstanding.items() if number < self.largest_acked]
        return lost, min(left, default=None)


def expand(runs: list[SentRun]) -> list[int]:
    numbers: list[int] = []
    for run in runs:
        assert isinstance(run.content, Numbers)
        assert run.content.numbers == range(run.first, run.last + 1), "content is cut with its run"
        numbers += run.content.numbers
    assert numbers == sorted(set(numbers)), "runs ascend and no packet is reported twice"
    return numbers


def descending_ranges(numbers: set[int]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for number in sorted(numbers, reverse=True):
        if ranges and ranges[-1][0] == number + 1:
            ranges[-1] = (number, ranges[-1][1])
        else:
            ranges.append((number, number))
    return ranges


send_step = st.tuples(st.just("send"), st.integers(1, 12), st.integers(0, 3))
ack_step = st.tuples(st.just("ack"), st.sets(st.integers(0, 79), min_size=1, max_size=40), st.integers(0, 6))


@given(st.lists(st.one_of(send_step, ack_step), max_size=30))
def test_runs_equal_packets(steps: list[tuple[str, int | set[int], int]]) -> None:
    sent, model = SentPackets(), PacketModel()
    now, next_pn = 0.0, 0
    for _, what, wait in steps:
        if isinstance(what, int):
            now += 1.0
            next_pn += wait == 3  # a number that is never used
            size = 1200 - 100 * wait
            last = next_pn + what - 1
            sent.add(SentRun(next_pn, last, now, size, content=Numbers(range(next_pn, last + 1))))
            model.outstanding |= dict.fromkeys(range(next_pn, last + 1), (now, size))
            next_pn = last + 1
        elif numbers := {number % next_pn for number in what} if next_pn else None:
            ranges = descending_ranges(numbers)
            spurious = expand(sent.take_spurious(ranges))
            assert (set(expand(sent.on_ack(ranges, next_pn))), set(spurious)) == model.ack(numbers)
            lost, oldest_left = sent.detect_lost(now - wait, PACKET_THRESHOLD, now)
            assert (set(expand(lost)), oldest_left) == model.detect_lost(now - wait)
        assert set(expand(list(sent))) == model.outstanding.keys()
        assert sent.bytes_in_flight == sum(size for _, size in model.outstanding.values())
        assert sent.ack_eliciting_in_flight == len(model.outstanding)
        assert sent.largest_acked == model.largest_acked
