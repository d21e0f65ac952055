"""Tokens, sizes and the rate of stateless resets (RFC 9000 §10.3)."""

import hashlib
import hmac

import pytest

from endpoint.testing.pair import seeded_bytes
from endpoint.transport.stateless_reset import (
    MIN_RESET_LENGTH,
    StatelessResetter,
    reset_token,
    same_token,
    tail_token,
)

KEY = bytes(range(32))


def resetter() -> StatelessResetter:
    return StatelessResetter(KEY, seeded_bytes(1))


def test_token_is_a_keyed_hash_of_the_connection_id() -> None:
    expected = hmac.new(KEY, b"some cid", hashlib.sha256).digest()[:16]
    assert reset_token(KEY, b"some cid") == resetter().token(b"some cid") == expected
    assert reset_token(KEY, b"other id") != expected


@pytest.mark.parametrize(("received", "length"), [(21, None), (22, 21), (43, 42), (44, 43), (1200, 43)])
def test_length(received: int, length: int | None) -> None:
    answer = resetter().reset_for(b"some cid", received, 0.0)
    assert (None if answer is None else len(answer)) == length
    if answer is not None:
        assert answer[0] >> 6 == 1
        assert answer.endswith(reset_token(KEY, b"some cid"))


def test_looks_different_each_time() -> None:
    made = resetter()
    heads = {(made.reset_for(b"some cid", 100, 0.0) or b"")[:-16] for _ in range(20)}
    assert len(heads) == 20


def test_rate() -> None:
    """50 at once, then 50 a second; a clock that stands or starts anywhere changes nothing."""
    made = resetter()
    assert sum(made.reset_for(b"c", 100, 1e6) is not None for _ in range(200)) == 50
    assert sum(made.reset_for(b"c", 100, 1e6 + 0.125) is not None for _ in range(200)) == 6
    assert sum(made.reset_for(b"c", 100, 1e6 + 100.0) is not None for _ in range(200)) == 50


def test_tail() -> None:
    data = memoryview(bytes(10) + bytes(range(30)) + bytes(10))
    assert tail_token(data, 10, 40) == bytes(range(14, 30))
    assert tail_token(data, 10, 10 + MIN_RESET_LENGTH) == bytes(range(5, 21))
    assert tail_token(data, 10, 9 + MIN_RESET_LENGTH) is None


def test_comparison() -> None:
    assert same_token(b"a" * 16, b"a" * 16)
    assert not same_token(b"a" * 16, b"a" * 15 + b"b")
