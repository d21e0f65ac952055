"""The rules of key updates, one KeyPhase at a time (RFC 9001 §6)."""

import pytest

from endpoint.crypto.aead import AES_128_GCM_SHA256
from endpoint.crypto.keys import PacketKeys
from endpoint.errors import TransportError, TransportErrorCode
from endpoint.level import Level
from endpoint.recovery.ack_tracker import AckTracker
from endpoint.transport.key_update import KeyPhase
from endpoint.transport.spaces import PacketSpace
from endpoint.wire.version import QUIC_V1, VERSIONS

PTO = 0.1


@pytest.fixture
def space() -> PacketSpace:
    space = PacketSpace(Level.ONE_RTT, AckTracker(immediate=False, max_ack_delay=0.025))
    space.read_keys = PacketKeys(AES_128_GCM_SHA256, bytes(32), VERSIONS[QUIC_V1])
    space.write_keys = PacketKeys(AES_128_GCM_SHA256, bytes(range(32)), VERSIONS[QUIC_V1])
    return space


@pytest.fixture
def phase(space: PacketSpace) -> KeyPhase:
    space.next_pn = 10
    phase = KeyPhase(space, lambda: PTO)
    phase.prepare()
    return phase


def keys_of(phase: KeyPhase, bit: int, pn: int, now: float) -> tuple[PacketKeys, bool]:
    found = phase.read_keys(bit, pn, now)
    assert found is not None
    return found


def test_only_after_an_acknowledgement(space: PacketSpace, phase: KeyPhase) -> None:
    assert not phase.may_update(largest_acked=-1)
    assert phase.may_update(largest_acked=0)
    phase.update(now=1.0)
    assert not phase.may_update(largest_acked=9)
    space.next_pn = 12
    assert not phase.may_update(largest_acked=10)  # the peer has not followed yet
    phase.on_opened(1, 20, now=1.1)
    assert phase.may_update(largest_acked=10)


def test_old_keys_are_kept_for_three_ptos(space: PacketSpace, phase: KeyPhase) -> None:
    old = space.read_keys
    phase.update(now=1.0)
    assert keys_of(phase, 0, 30, now=9.0) == (old, False)  # as long as the peer has not followed
    phase.on_opened(1, 31, now=10.0)
    assert keys_of(phase, 0, 30, now=10.0 + 2.9 * PTO) == (old, False)
    assert phase.read_keys(0, 30, now=10.0 + 3.1 * PTO) is None


def test_old_keys_go_with_the_first_packet_after_that(phase: KeyPhase) -> None:
    """RFC 9001 §6.5: not only when somebody asks for them."""
    phase.update(now=1.0)
    phase.on_opened(1, 31, now=10.0)
    phase.on_opened(1, 32, now=10.0 + 2.9 * PTO)
    assert phase.keeps_old_keys
    phase.on_opened(1, 33, now=10.0 + 3.1 * PTO)
    assert not phase.keeps_old_keys


def test_a_later_packet_with_the_other_bit_is_the_next_update(space: PacketSpace, phase: KeyPhase) -> None:
    keys, begins = keys_of(phase, 1, 5, now=1.0)
    assert begins
    phase.on_peer_updated(5, now=1.0)
    assert (space.read_keys, phase.bit, phase.updates) == (keys, 1, 1)
    phase.on_sent()
    assert keys_of(phase, 0, 4, now=1.0)[1] is False  # overtaken
    assert keys_of(phase, 0, 6, now=1.0)[1] is True


def test_two_updates_without_confirmation(phase: KeyPhase) -> None:
    phase.on_peer_updated(5, now=1.0)
    with pytest.raises(TransportError) as caught:
        phase.on_peer_updated(6, now=1.0)
    assert caught.value.code == TransportErrorCode.KEY_UPDATE_ERROR


def test_ack_of_new_keys_in_old_ones(phase: KeyPhase) -> None:
    phase.update(now=1.0)  # packet 10 is the first of the new phase
    phase.on_opened(0, 3, now=1.0)
    phase.check_ack(9)
    with pytest.raises(TransportError) as caught:
        phase.check_ack(10)
    assert caught.value.code == TransportErrorCode.KEY_UPDATE_ERROR
    phase.on_opened(1, 4, now=1.0)
    phase.check_ack(10)


def test_header_protection_stays(space: PacketSpace, phase: KeyPhase) -> None:
    before = space.write_keys
    phase.update(now=1.0)
    assert before is not None
    assert space.write_keys is not None
    assert space.write_keys is not before
    assert space.write_keys.header_protection is before.header_protection
