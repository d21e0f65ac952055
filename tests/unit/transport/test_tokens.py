"""Address tokens: what they are bound to, and that each is good once (RFC 9000 §8.1)."""

import pytest

from endpoint.keyring import KeyRing
from endpoint.testing.pair import seeded_bytes
from endpoint.transport.tokens import (
    NEW_TOKEN_LIFETIME,
    RETRY_TOKEN_LIFETIME,
    AddressTokens,
    TokenOutcome,
)
from endpoint.wire.version import QUIC_V1, QUIC_V2

PEER = ("192.0.2.1", 4433)
ORIGINAL, RETRIED = b"original", b"retried!"


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ring(clock: Clock) -> KeyRing:
    return KeyRing.generate(seeded_bytes(5), clock.now)


@pytest.fixture
def tokens(clock: Clock, ring: KeyRing) -> AddressTokens:
    return AddressTokens(ring, clock)


def test_none(tokens: AddressTokens) -> None:
    assert tokens.check(b"", PEER, RETRIED, QUIC_V1).outcome is TokenOutcome.NONE
    assert tokens.check(b"x" * 80, PEER, RETRIED, QUIC_V1).outcome is TokenOutcome.NONE


def test_retry_token(tokens: AddressTokens, clock: Clock) -> None:
    token = tokens.for_retry(PEER, ORIGINAL, RETRIED)
    checked = tokens.check(token, PEER, RETRIED, QUIC_V1)
    assert (checked.outcome, checked.original_destination_cid) == (TokenOutcome.VALIDATED, ORIGINAL)
    for peer, cid in ((("192.0.2.2", 4433), RETRIED), (("192.0.2.1", 4434), RETRIED), (PEER, ORIGINAL)):
        assert tokens.check(token, peer, cid, QUIC_V1).outcome is TokenOutcome.INVALID
    clock.now += RETRY_TOKEN_LIFETIME + 1
    assert tokens.check(token, PEER, RETRIED, QUIC_V1).outcome is TokenOutcome.INVALID


def test_new_token_is_good_once(tokens: AddressTokens, ring: KeyRing, clock: Clock) -> None:
    token = tokens.for_later(PEER, QUIC_V1)
    other_port = ("192.0.2.1", 999)
    assert tokens.check(token, ("192.0.2.2", 4433), RETRIED, QUIC_V1).outcome is TokenOutcome.NONE
    assert tokens.check(token, other_port, RETRIED, QUIC_V1).outcome is TokenOutcome.VALIDATED
    assert tokens.check(token, PEER, RETRIED, QUIC_V1).outcome is TokenOutcome.NONE
    # Another server with the same keys knows it too.
    assert AddressTokens(ring, clock).check(token, PEER, RETRIED, QUIC_V1).outcome is TokenOutcome.VALIDATED


def test_new_token_is_for_one_version(tokens: AddressTokens) -> None:
    token = tokens.for_later(PEER, QUIC_V2)
    assert tokens.check(token, PEER, RETRIED, QUIC_V1).outcome is TokenOutcome.NONE
    assert tokens.check(token, PEER, RETRIED, QUIC_V2).outcome is TokenOutcome.VALIDATED


def test_new_token_expires(tokens: AddressTokens, clock: Clock) -> None:
    token = tokens.for_later(PEER, QUIC_V1)
    clock.now += NEW_TOKEN_LIFETIME + 1
    assert tokens.check(token, PEER, RETRIED, QUIC_V1).outcome is TokenOutcome.NONE


def test_memory_is_bounded(tokens: AddressTokens, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("endpoint.transport.tokens.MAX_USED_TOKENS", 3)
    outcomes = [
        tokens.check(tokens.for_later(PEER, QUIC_V1), PEER, RETRIED, QUIC_V1).outcome for _ in range(5)
    ]
    assert outcomes == [TokenOutcome.VALIDATED] * 3 + [TokenOutcome.NONE] * 2
    clock.now += 2 * NEW_TOKEN_LIFETIME
    assert (
        tokens.check(tokens.for_later(PEER, QUIC_V1), PEER, RETRIED, QUIC_V1).outcome
        is TokenOutcome.VALIDATED
    )


def test_kinds_are_not_exchangeable(tokens: AddressTokens, ring: KeyRing) -> None:
    from endpoint.tls.tickets import open_ticket

    assert open_ticket(ring, tokens.for_later(PEER, QUIC_V1)) is None
