"""When to ask the peer for fewer ACKs, and how to obey (draft-ietf-quic-ack-frequency)."""

import pytest

from endpoint.batch import ECN_CE, ECN_ECT_0, ECN_NOT_ECT
from endpoint.config import CongestionAlgorithm
from endpoint.errors import TransportError, TransportErrorCode
from endpoint.level import Level
from endpoint.recovery.ack_tracker import MAX_UNREPORTED_RANGES, AckTracker
from endpoint.recovery.loss import LossDetector
from endpoint.transport.ack_frequency import AckFrequencyControl, local_min_ack_delay
from endpoint.transport.spaces import PacketSpace
from endpoint.wire.frames import AckFrequency
from endpoint.wire.transport_params import TransportParameters

DATAGRAM = 1200
RTT = 0.040


class Side:
    """One end: its control, with what it works on."""

    def __init__(self, *, enabled: bool = True, peer: TransportParameters | None = None) -> None:
        self.space = PacketSpace(Level.ONE_RTT, AckTracker(immediate=False, max_ack_delay=0.025))
        self.recovery = LossDetector(
            is_client=False,
            initial_rtt=RTT,
            max_datagram_size=DATAGRAM,
            congestion=CongestionAlgorithm.NEWRENO,
        )
        self.recovery.handshake_confirmed = True
        self.control = AckFrequencyControl(
            enabled=enabled, max_ack_delay=0.025, space=self.space, recovery=self.recovery
        )
        self.control.apply_peer_parameters(peer or TransportParameters(min_ack_delay=1000))

    def fast(self, packets: int) -> None:
        """Congestion avoidance with a window of so many packets."""
        congestion = self.recovery.congestion
        congestion.congestion_window = packets * DATAGRAM
        congestion.ssthresh = congestion.congestion_window

    def asked(self, now: float) -> AckFrequency | None:
        self.control.on_ack(now)
        if not self.space.control:
            return None
        frame = self.space.control.popleft()
        assert isinstance(frame, AckFrequency)
        return frame


# The sender's side.


def test_a_fast_path_gets_eight_acks_per_window() -> None:
    side = Side()
    side.fast(200)
    assert side.asked(1.0) == AckFrequency(0, 25, 10_000, 3)


@pytest.mark.parametrize(
    ("packets", "threshold"),
    [(63, None), (64, 8), (512, 64), (100_000, 64)],
    ids=["slow", "least", "most", "limit"],
)
def test_threshold(packets: int, threshold: int | None) -> None:
    side = Side()
    side.fast(packets)
    frame = side.asked(1.0)
    assert (None if frame is None else frame.ack_eliciting_threshold) == threshold


@pytest.mark.parametrize(
    ("params", "delay"),
    [
        (TransportParameters(min_ack_delay=20_000), 20_000),
        (TransportParameters(min_ack_delay=1_000, max_ack_delay=5), 5_000),
    ],
    ids=["not below min_ack_delay", "not above max_ack_delay"],
)
def test_delay_keeps_within_the_peers_limits(params: TransportParameters, delay: int) -> None:
    side = Side(peer=params)
    side.fast(200)
    frame = side.asked(1.0)
    assert frame is not None
    assert frame.requested_max_ack_delay == delay


def test_nothing_is_asked_in_slow_start() -> None:
    side = Side()
    side.recovery.congestion.congestion_window = 1000 * DATAGRAM
    assert side.asked(1.0) is None


def test_nothing_is_asked_before_the_handshake_is_confirmed() -> None:
    side = Side()
    side.fast(200)
    side.recovery.handshake_confirmed = False
    assert side.asked(1.0) is None


@pytest.mark.parametrize("side", [Side(enabled=False), Side(peer=TransportParameters())], ids=["we", "peer"])
def test_nothing_is_asked_without_the_extension(side: Side) -> None:
    side.fast(200)
    assert side.asked(1.0) is None
    assert not side.control.may_send


def test_a_small_change_is_not_worth_a_frame_and_a_large_one_has_a_greater_number() -> None:
    side = Side()
    side.fast(200)
    first = side.asked(1.0)
    assert first is not None
    side.control.on_acked(first)
    side.fast(300)
    assert side.asked(2.0) is None
    side.fast(400)
    assert side.asked(3.0) == AckFrequency(1, 50, 10_000, 3)


def test_at_most_one_look_per_round_trip_and_one_request_at_a_time() -> None:
    side = Side()
    assert side.asked(1.0) is None
    side.fast(200)
    assert side.asked(1.0 + RTT / 2) is None
    first = side.asked(1.0 + RTT)
    assert first is not None
    side.fast(400)
    assert side.asked(2.0) is None
    side.control.on_acked(first)
    assert side.asked(3.0) is not None


def test_a_collapsed_window_brings_the_default_back() -> None:
    side = Side()
    side.fast(200)
    first = side.asked(1.0)
    assert first is not None
    side.control.on_acked(first)
    side.fast(10)
    assert side.asked(2.0) == AckFrequency(1, 1, 25_000, 1)


def test_pto_uses_the_greater_delay_until_the_request_is_acknowledged() -> None:
    side = Side()
    side.fast(200)
    shorter = side.asked(1.0)
    assert shorter is not None
    assert side.recovery.max_ack_delay == 0.025
    side.control.on_acked(shorter)
    assert side.recovery.max_ack_delay == 0.010
    side.fast(10)
    longer = side.asked(2.0)
    assert longer is not None
    assert side.recovery.max_ack_delay == 0.025
    side.control.on_acked(shorter)
    assert side.recovery.max_ack_delay == 0.025
    side.control.on_acked(longer)
    assert side.recovery.max_ack_delay == 0.025


def test_a_new_path_is_asked_anew() -> None:
    side = Side()
    side.fast(200)
    first = side.asked(1.0)
    assert first is not None
    side.control.on_acked(first)
    side.recovery.reset_path(1)
    frame = side.asked(2.0)
    assert frame is not None
    assert (frame.sequence_number, frame.ack_eliciting_threshold) == (1, 1)


@pytest.mark.parametrize(
    ("max_ack_delay", "announced"), [(0.025, 1000), (0.001, 1000), (0.0, 0), (0.0004, 0)]
)
def test_our_min_ack_delay_is_never_above_max_ack_delay(max_ack_delay: float, announced: int) -> None:
    """In the milliseconds in which that is told."""
    assert local_min_ack_delay(max_ack_delay) == announced


# The receiver's side.


def receive(acks: AckTracker, first: int, last: int | None = None, *, ecn: int = ECN_NOT_ECT) -> bool:
    """Whether an ACK is due after these packets, which is then sent."""
    acks.on_received(first, first if last is None else last, True, 0.0, ecn)
    acks.on_socket_drained()
    due = acks.ack_now
    if due:
        acks.on_ack_sent(0.0, ack_eliciting=False)
    return due


def test_more_packets_than_the_threshold_are_acknowledged() -> None:
    side = Side()
    side.control.on_ack_frequency(AckFrequency(0, 4, 25_000, 1))
    assert [receive(side.space.acks, pn) for pn in range(10)] == [False] * 4 + [True] + [False] * 4 + [True]


def test_threshold_zero_acknowledges_everything() -> None:
    side = Side()
    side.control.on_ack_frequency(AckFrequency(0, 0, 25_000, 1))
    assert receive(side.space.acks, 0)
    assert receive(side.space.acks, 1)


def test_requested_delay() -> None:
    side = Side()
    side.control.on_ack_frequency(AckFrequency(0, 100, 7_000, 1))
    side.space.acks.on_received(0, 0, True, 1.0, ECN_NOT_ECT)
    assert side.space.acks.deadline == pytest.approx(1.007)


def test_obsolete_requests_are_ignored() -> None:
    side = Side()
    side.control.on_ack_frequency(AckFrequency(5, 4, 25_000, 1))
    for number in (4, 5):
        side.control.on_ack_frequency(AckFrequency(number, 0, 25_000, 1))
    assert not receive(side.space.acks, 0)


@pytest.mark.parametrize("delay", [999, 0, 1 << 24, 16_384_000])
@pytest.mark.parametrize("number", [0, 7], ids=["obsolete", "new"])
def test_delay_outside_its_limits(delay: int, number: int) -> None:
    side = Side()
    side.control.on_ack_frequency(AckFrequency(3, 1, 1000, 1))
    with pytest.raises(TransportError) as caught:
        side.control.on_ack_frequency(AckFrequency(number, 1, delay, 1))
    assert caught.value.code == TransportErrorCode.PROTOCOL_VIOLATION


def test_without_the_extension_the_frames_are_unknown() -> None:
    control = Side(enabled=False).control
    with pytest.raises(TransportError) as caught:
        control.on_ack_frequency(AckFrequency(0, 1, 25_000, 1))
    assert caught.value.code == TransportErrorCode.FRAME_ENCODING_ERROR
    with pytest.raises(TransportError) as caught:
        control.on_immediate_ack()
    assert caught.value.code == TransportErrorCode.FRAME_ENCODING_ERROR


def test_immediate_ack() -> None:
    side = Side()
    side.control.on_immediate_ack()
    assert side.space.acks.ack_now


@pytest.mark.parametrize(
    ("threshold", "packets", "due"),
    [
        # The draft's own tables.
        (3, [0, 1, 3, 4, 5, 8, 9, 10], [5, 9, 10]),
        (5, [0, 1, 3, 5, 6, 7, 8, 9], [7, 9]),
        # None at all, and the default.
        (0, [0, 5, 3, 9], []),
        (1, [0, 1, 3, 4, 2], [3, 2]),
        # A packet that the peer has declared lost by our ACK, and one that it has not.
        (2, [0, 1, 3, 4, 2, 5], [4, 2]),
        (3, [0, 1, 3, 4, 5, 2], [5, 2]),
        (4, [0, 1, 3, 4, 5, 2], []),
        # The first packets are missing too.
        (3, [2, 3], [3]),
    ],
)
def test_reordering_threshold(threshold: int, packets: list[int], due: list[int]) -> None:
    acks = AckTracker(immediate=False, max_ack_delay=0.025)
    acks.set_policy(1000, 0.1, threshold)
    assert [pn for pn in packets if receive(acks, pn)] == due


def test_ranges_do_not_pile_up_unreported() -> None:
    acks = AckTracker(immediate=False, max_ack_delay=0.025)
    acks.set_policy(1000, 0.1, 0)
    due = [pn for pn in range(0, 1000, 2) if receive(acks, pn)]
    assert due == list(range(2 * MAX_UNREPORTED_RANGES, 1000, 2 * (MAX_UNREPORTED_RANGES + 1)))


@pytest.mark.parametrize(
    ("threshold", "due"),
    [(1, [1, 2, 4]), (10, [1, 4]), (0, [0, 1, 2, 3, 4])],
    ids=["default", "few", "all"],
)
def test_the_first_of_several_marks_is_urgent(threshold: int, due: list[int]) -> None:
    acks = AckTracker(immediate=False, max_ack_delay=0.025)
    acks.set_policy(threshold, 0.1, 1)
    marks = [ECN_ECT_0, ECN_CE, ECN_CE, ECN_ECT_0, ECN_CE]
    assert [pn for pn, ecn in enumerate(marks) if receive(acks, pn, ecn=ecn)] == due
