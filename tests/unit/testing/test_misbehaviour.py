"""Ends that break the rules break just the one that they are named after, and only while they are told to."""

import random

from endpoint import listener
from endpoint.batch import ECN_NOT_ECT
from endpoint.keyring import KeyRing
from endpoint.recovery.ack_tracker import AckTracker
from endpoint.testing.misbehaviour import OptimisticAcks, RetryTokens, optimistic_acks, retry_every_time
from endpoint.transport import setup
from endpoint.transport.tokens import AddressTokens, TokenOutcome
from endpoint.wire.version import QUIC_V1


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
    with retry_every_time():
        assert vars(listener)["AddressTokens"] is RetryTokens
    assert vars(listener)["AddressTokens"] is AddressTokens


def test_only_the_token_of_a_retry_counts() -> None:
    ring = KeyRing.generate(random.Random(1).randbytes, 0.0)
    peer = ("127.0.0.1", 4000)
    usual, special = AddressTokens(ring, lambda: 0.0), RetryTokens(ring, lambda: 0.0)
    later, retried = usual.for_later(peer, QUIC_V1), usual.for_retry(peer, b"original", b"retry id")
    assert special.check(later, peer, b"any", QUIC_V1).outcome is TokenOutcome.NONE
    assert special.check(retried, peer, b"retry id", QUIC_V1).original_destination_cid == b"original"
    assert (
        usual.check(usual.for_later(peer, QUIC_V1), peer, b"any", QUIC_V1).outcome is TokenOutcome.VALIDATED
    )
