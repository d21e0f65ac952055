"""Ends that break the rules break just the one that they are named after, and only while they are told to."""

from endpoint.batch import ECN_NOT_ECT
from endpoint.recovery.ack_tracker import AckTracker
from endpoint.testing.misbehaviour import OptimisticAcks, optimistic_acks
from endpoint.transport import setup


def test_optimistic_acks_have_no_gap() -> None:
    acks = OptimisticAcks(immediate=False, max_ack_delay=0.025)
    assert acks.ack_ranges(32) == []
    for number in (3, 4, 7, 9):
        acks.on_received(number, number, True, 0.0, ECN_NOT_ECT)
    assert acks.ack_ranges(32) == [(3, 9)]


def test_only_inside() -> None:
    with optimistic_acks():
        assert vars(setup)["AckTracker"] is OptimisticAcks
    assert vars(setup)["AckTracker"] is AckTracker
