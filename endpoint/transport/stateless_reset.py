"""Stateless reset (RFC 9000 §10.3): what a server says of packets whose connection it has forgotten."""

import hashlib
import hmac
from collections.abc import Callable

TOKEN_LENGTH = 16

# §10.3: 5 bytes that look like a short header and its packet number, and the token.
MIN_RESET_LENGTH = 21
# Shorter than this, it could be told from a real packet, whose ID and tag take more.
_PREFERRED_LENGTH = 43
# §10.3.3: each reset is smaller than what it answers, so that two endpoints can't loop.
_RATE = 50.0  # resets a second: enough for the clients of a restarted server, too few to amplify
_BURST = 50.0


def reset_token(static_key: bytes, cid: bytes) -> bytes:
    """The token of `cid`, a keyed hash so that it needs no memory (§10.3.2)."""
    return hmac.digest(static_key, cid, hashlib.sha256)[:TOKEN_LENGTH]


class StatelessResetter:
    """Makes resets, at a limited rate."""

    __slots__ = ("_credit", "_key", "_random", "_time")

    def __init__(self, static_key: bytes, random: Callable[[int], bytes]) -> None:
        self._key = static_key
        self._random = random
        self._credit = _BURST
        self._time = 0.0

    def token(self, cid: bytes) -> bytes:
        """The token to advertise with `cid`."""
        return reset_token(self._key, cid)

    def reset_for(self, cid: bytes, received_length: int, now: float) -> bytes | None:
        """The datagram that answers one of `received_length` bytes; None if that is unwise."""
        length = min(received_length - 1, _PREFERRED_LENGTH)
        if length < MIN_RESET_LENGTH:
            return None
        self._credit = min(_BURST, self._credit + max(0.0, now - self._time) * _RATE)
        self._time = now
        if self._credit < 1.0:
            return None
        self._credit -= 1.0
        noise = bytearray(self._random(length - TOKEN_LENGTH))
        noise[0] = 0x40 | noise[0] & 0x3F
        return bytes(noise) + self.token(cid)


def tail_token(data: memoryview | bytearray, start: int, end: int) -> bytes | None:
    """The last 16 bytes of a datagram, where a reset carries its token; None if it is too short."""
    if end - start < MIN_RESET_LENGTH:
        return None
    return bytes(data[end - TOKEN_LENGTH : end])


def same_token(first: bytes, second: bytes) -> bool:
    """Compare in constant time (§10.3.1)."""
    return hmac.compare_digest(first, second)
