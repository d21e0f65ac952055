"""Ends that break the rules break just the one that they are named after, and only while they are told to."""

import random

from endpoint import listener
from endpoint.batch import ECN_NOT_ECT
from endpoint.crypto.aead import AES_128_GCM_SHA256
from endpoint.crypto.keys import PacketKeys
from endpoint.keyring import KeyRing
from endpoint.level import Level
from endpoint.recovery.ack_tracker import AckTracker
from endpoint.testing.misbehaviour import (
    OptimisticAcks,
    RetryTokens,
    UnhurriedKeyPhase,
    optimistic_acks,
    retry_every_time,
    unhurried_key_updates,
)
from endpoint.transport import setup
from endpoint.transport.key_update import KeyPhase
from endpoint.transport.spaces import PacketSpace
from endpoint.transport.tokens import AddressTokens, TokenOutcome
from endpoint.wire.version import QUIC_V1, VERSIONS


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
    with unhurried_key_updates():
        assert vars(setup)["KeyPhase"] is UnhurriedKeyPhase
    assert vars(setup)["KeyPhase"] is KeyPhase
    with retry_every_time():
        assert vars(listener)["AddressTokens"] is RetryTokens
    assert vars(listener)["AddressTokens"] is AddressTokens


def test_key_updates_that_leave_the_peer_its_time() -> None:
    space = PacketSpace(Level.ONE_RTT, AckTracker(immediate=False, max_ack_delay=0.025))
    space.read_keys = space.write_keys = PacketKeys(AES_128_GCM_SHA256, bytes(32), VERSIONS[QUIC_V1])
    pto = [0.1]
    phase = UnhurriedKeyPhase(space, lambda: pto[0])
    phase.update(1.0)
    assert len(space.control) == 1, "what the next one needs is acknowledged"
    phase.on_opened(1, 0, 2.0)
    assert not phase.is_settled(2.29)
    assert phase.is_settled(2.31)
    pto[0] = 10.0
    phase.update(2.31)
    assert len(space.control) == phase.updates == 2
    phase.on_opened(0, 1, 3.0)
    assert not phase.is_settled(3.7)
    assert phase.is_settled(3.8)


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
