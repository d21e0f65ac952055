"""EcnValidator: what a path does to marks, as the peer's counts tell it (RFC 9000 §13.4.2)."""

from collections.abc import Callable

import pytest

from endpoint.batch import ECN_ECT_0, ECN_NOT_ECT
from endpoint.level import Level
from endpoint.recovery.ecn import TESTING_PACKETS, EcnCounts, EcnState, EcnValidator

APP = Level.ONE_RTT


def make(sent: int = 0) -> EcnValidator:
    ecn = EcnValidator(EcnCounts())
    if sent:
        ecn.on_sent(APP, sent)
    return ecn


def state(ecn: EcnValidator) -> EcnState:
    """Through a function: a type checker believes in the last state it saw."""
    return ecn.state


def ack(
    ecn: EcnValidator,
    packets: int,
    reported: tuple[int, int, int] | None,
    *,
    level: Level = APP,
    newest: bool = True,
    now: float = 1.0,
) -> bool:
    return ecn.on_acked(level, packets, reported, newest=newest, now=now)


def test_marks_until_it_knows_better() -> None:
    ecn = make()
    assert (state(ecn), ecn.codepoint) == (EcnState.TESTING, ECN_ECT_0)
    ecn.on_sent(Level.INITIAL, TESTING_PACKETS - 1)
    assert state(ecn) is EcnState.TESTING
    ecn.on_sent(Level.HANDSHAKE, 1)
    assert (state(ecn), ecn.codepoint) == (EcnState.UNKNOWN, ECN_NOT_ECT)
    assert not ack(ecn, 1, (1, 0, 0), level=Level.HANDSHAKE)
    assert (state(ecn), ecn.codepoint) == (EcnState.CAPABLE, ECN_ECT_0)


def test_disabled() -> None:
    ecn = EcnValidator(EcnCounts(), enabled=False)
    assert ecn.codepoint == ECN_NOT_ECT
    assert not ack(ecn, 0, (0, 0, 3))
    ecn.resume()
    assert ecn.codepoint == ECN_NOT_ECT


@pytest.mark.parametrize(
    ("packets", "reported"),
    [
        (5, None),  # cleared, or not reported
        (5, (0, 0, 0)),
        (5, (4, 0, 0)),  # one of them cleared
        (5, (0, 5, 0)),  # remarked to ECT(1)
        (5, (5, 1, 0)),
        (1, (9, 0, 0)),  # more than were sent
        (1, (4, 0, 5)),
        (0, (0, 1, 0)),
    ],
)
def test_counts_that_fail(packets: int, reported: tuple[int, int, int] | None) -> None:
    ecn = make(8)
    assert not ack(ecn, packets, reported)
    assert (state(ecn), ecn.codepoint) == (EcnState.FAILED, ECN_NOT_ECT)
    assert not ack(ecn, 1, (8, 0, 0))
    assert state(ecn) is EcnState.FAILED


def test_every_space_counts_by_itself() -> None:
    ecn = make()
    ecn.on_sent(Level.INITIAL, 2)
    ecn.on_sent(APP, 2)
    ack(ecn, 2, (2, 0, 0), level=Level.INITIAL)
    assert state(ecn) is EcnState.CAPABLE
    ack(ecn, 2, (1, 0, 0))
    assert state(ecn) is EcnState.FAILED


def test_zero_rtt_and_one_rtt_are_one_space() -> None:
    ecn = make(1)
    ecn.on_sent(Level.ZERO_RTT, 3)
    ack(ecn, 4, (4, 0, 0))
    assert state(ecn) is EcnState.CAPABLE


@pytest.mark.parametrize("second", [(4, 0, 0), (5, 0, 0), (9, 0, 0)])
def test_marks_that_vanish_later(second: tuple[int, int, int]) -> None:
    ecn = make(5)
    ack(ecn, 5, (5, 0, 0))
    ecn.on_sent(APP, 5)
    ack(ecn, 5, second)
    assert state(ecn) is EcnState.FAILED


def test_unmarked_packets_need_no_counts() -> None:
    ecn = make(5)
    ack(ecn, 0, None)
    assert state(ecn) is EcnState.TESTING
    ack(ecn, 5, (5, 0, 0))
    ack(ecn, 0, (5, 0, 0))
    assert state(ecn) is EcnState.CAPABLE


def test_an_old_ack_is_not_judged_but_not_forgotten() -> None:
    ecn = make(10)
    ack(ecn, 4, (8, 0, 0))
    ack(ecn, 4, (4, 0, 0), newest=False)  # the ACK before, overtaken
    assert state(ecn) is EcnState.CAPABLE
    ack(ecn, 2, (9, 0, 0))  # 10 were acknowledged
    assert state(ecn) is EcnState.FAILED


def test_counts_ahead_of_acknowledgements() -> None:
    """An ACK of limited length leaves out ranges whose packets it has counted; a later one has them."""
    ecn = make(10)
    ack(ecn, 4, (9, 0, 0))
    ack(ecn, 6, (10, 0, 0))
    assert state(ecn) is EcnState.CAPABLE


def test_each_new_mark_of_congestion_is_told_once() -> None:
    ecn = make(10)
    assert ack(ecn, 4, (3, 0, 1))
    assert not ack(ecn, 2, (5, 0, 1))
    assert not ack(ecn, 1, (4, 0, 2), newest=False)
    assert ack(ecn, 1, (5, 0, 3))


def test_congestion_marks_alone_are_not_trusted() -> None:
    ecn = make(TESTING_PACKETS)
    assert not ack(ecn, TESTING_PACKETS - 1, (0, 0, TESTING_PACKETS - 1))
    assert state(ecn) is EcnState.UNKNOWN
    assert not ack(ecn, 1, (0, 0, TESTING_PACKETS))
    assert state(ecn) is EcnState.FAILED


def test_all_marked_packets_lost() -> None:
    ecn = make(TESTING_PACKETS)
    ecn.on_lost(TESTING_PACKETS - 1, 0.5)
    assert state(ecn) is EcnState.UNKNOWN
    ecn.on_lost(1, 0.5)
    assert state(ecn) is EcnState.FAILED


def test_the_test_pauses_when_all_marked_packets_so_far_are_lost() -> None:
    """Who sends little would else wait for ten losses, or for two PTOs after some of them."""
    ecn = make(2)
    ecn.on_lost(2, 0.5)
    assert (state(ecn), ecn.codepoint) == (EcnState.UNKNOWN, ECN_NOT_ECT)
    ack(ecn, 1, (1, 0, 0))  # it was only late
    assert state(ecn) is EcnState.CAPABLE


def test_losses_while_testing_or_capable_are_only_losses() -> None:
    ecn = make(5)
    ecn.on_lost(4, 0.5)
    assert state(ecn) is EcnState.TESTING
    ack(ecn, 1, (1, 0, 0))
    ecn.on_sent(APP, 20)
    ecn.on_lost(20, 0.5)
    assert state(ecn) is EcnState.CAPABLE


def test_no_answer_to_marked_packets_ends_the_test() -> None:
    ecn = make(2)
    ecn.on_pto(1)
    assert ecn.codepoint == ECN_ECT_0
    ecn.on_pto(2)
    assert (state(ecn), ecn.codepoint) == (EcnState.UNKNOWN, ECN_NOT_ECT)
    ecn.on_pto(3)
    ack(ecn, 0, None)  # an unmarked one got through
    assert state(ecn) is EcnState.UNKNOWN
    ecn.on_lost(2, 0.5)
    assert state(ecn) is EcnState.FAILED


@pytest.mark.parametrize("reported", [None, (5, 0, 0)])
def test_a_capable_path_is_tested_again_after_an_outage(reported: tuple[int, int, int] | None) -> None:
    ecn = make(5)
    ack(ecn, 5, (5, 0, 0))
    ecn.on_sent(APP, 10)
    ecn.on_pto(2)
    assert ecn.codepoint == ECN_NOT_ECT
    ack(ecn, 0, reported, now=5.0)
    assert state(ecn) is EcnState.TESTING
    ecn.on_lost(10, 4.0)  # sent before: they say nothing of the new test
    ecn.on_sent(APP, TESTING_PACKETS)
    assert state(ecn) is EcnState.UNKNOWN
    ecn.on_lost(TESTING_PACKETS, 5.1)
    assert state(ecn) is EcnState.FAILED


def test_an_outage_that_a_marked_packet_survives() -> None:
    ecn = make(5)
    ack(ecn, 5, (5, 0, 0))
    ecn.on_sent(APP, 1)
    ecn.on_pto(2)
    ack(ecn, 1, (6, 0, 0))
    assert state(ecn) is EcnState.CAPABLE


def test_another_path_begins_from_the_counts_so_far() -> None:
    counts = EcnCounts()
    old, new = EcnValidator(counts), EcnValidator(counts)
    old.on_sent(APP, 20)
    ack(old, 10, (0, 10, 0))
    assert state(old) is EcnState.FAILED
    new = EcnValidator(counts)
    new.on_sent(APP, 5)
    ack(new, 5, (5, 10, 0))
    assert state(new) is EcnState.CAPABLE
    new.on_sent(APP, 5)
    ack(new, 5, (5, 10, 0))
    assert state(new) is EcnState.FAILED


def test_returning_to_a_path() -> None:
    counts = EcnCounts()
    ecn = EcnValidator(counts)
    ecn.on_sent(APP, 10)
    ecn.on_lost(5, 0.1)
    ecn.resume()
    assert ecn.codepoint == ECN_NOT_ECT, "marks may be what was wrong, so first anything has to arrive"
    ack(ecn, 0, None)
    assert state(ecn) is EcnState.TESTING
    ecn.on_sent(APP, 1)
    ack(ecn, 1, (1, 0, 0))
    ecn.resume()
    assert state(ecn) is EcnState.CAPABLE


@pytest.mark.parametrize("end", [lambda ecn: ecn.on_pto(2), lambda ecn: ecn.on_lost(2, 0.5)])
def test_returning_to_a_path_that_let_nothing_marked_through(end: Callable[[EcnValidator], None]) -> None:
    """Nor is a path of the same hosts another one: what drops marks there is still on the way."""
    ecn = make(2)
    end(ecn)
    ecn.resume()
    ack(ecn, 0, None)
    assert (state(ecn), ecn.codepoint) == (EcnState.UNKNOWN, ECN_NOT_ECT)
