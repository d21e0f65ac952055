"""LossDetector under random traffic: what the controller counts is what is outstanding."""

from hypothesis import given
from hypothesis import strategies as st

from endpoint.config import CongestionAlgorithm
from endpoint.level import Level
from endpoint.recovery.loss import LossDetector
from endpoint.recovery.sent_packets import SentRun

LEVELS = [Level.INITIAL, Level.HANDSHAKE, Level.ONE_RTT]
steps = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "ack", "ack", "timeout", "discard"]),
        st.sampled_from(LEVELS),
        st.integers(1, 60),
        st.integers(0, 60),
        st.booleans(),
    ),
    max_size=60,
)


@given(st.booleans(), st.sampled_from(list(CongestionAlgorithm)), steps)
def test_bytes_in_flight_are_those_outstanding(
    is_client: bool, algorithm: CongestionAlgorithm, moves: list[tuple[str, Level, int, int, bool]]
) -> None:
    detector = LossDetector(
        is_client=is_client, initial_rtt=0.333, max_datagram_size=1000, congestion=algorithm
    )
    detector.handshake_confirmed = True
    next_pn = dict.fromkeys(LEVELS, 0)
    discarded: set[Level] = set()
    now = 0.0
    for move, level, number, other, flag in moves:
        now += other / 1000
        if move == "timeout":
            at = detector.next_timeout()
            if at is not None:
                now = max(now, at)
                assert detector.on_timeout(now) is not None, "a timer that is set has something to do"
        elif level in discarded:
            continue
        elif move == "send":
            first = next_pn[level]
            next_pn[level] += number
            run = SentRun(
                first, first + number - 1, now, 1000, ack_eliciting=flag, in_flight=flag or other % 2 == 0
            )
            detector.on_packet_sent(level, run, now)
        elif move == "ack" and next_pn[level]:
            largest = (other * 7) % next_pn[level]
            outcome = detector.on_ack_received(
                level, [(max(0, largest - number), largest)], 0.001, now, next_pn[level]
            )
            for run in outcome.acked + outcome.spurious:
                assert largest - number <= run.first <= run.last <= largest
        elif move == "discard" and level is not Level.ONE_RTT:
            discarded.add(level)
            detector.discard_space(level)
        spaces = [detector.sent_packets[level] for level in LEVELS]
        outstanding = sum(run.bytes for space in spaces for run in space if run.in_flight)
        controller = detector.congestion
        assert controller.bytes_in_flight == outstanding
        assert controller.congestion_window >= controller.minimum_window
        assert detector.pacer.rate > 0
