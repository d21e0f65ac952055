"""Address tokens: what a client shows to prove that it has been at its address (RFC 9000 §8.1).

A token is sealed content, so the server remembers nothing but which ones were used.
"""

import hashlib
import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from endpoint.batch import Address
from endpoint.keyring import KeyRing

# Seconds. A Retry is answered within a round trip, or some when packets are lost (§8.1.4: short).
RETRY_TOKEN_LIFETIME = 60.0
# A client may come back tomorrow (§8.1.3).
NEW_TOKEN_LIFETIME = 24 * 3600.0
# Clocks of servers that share keys.
CLOCK_TOLERANCE = 10.0
# How many used tokens are remembered. When more are used in their lifetime, the newest no longer count
# as proof: those clients lose a round trip.
MAX_USED_TOKENS = 65536

# Authenticated with each token: neither kind can be taken for the other, nor for a session ticket.
_RETRY = b"interquic retry token 1"
_NEW_TOKEN = b"interquic new token 1"
_ISSUED = struct.Struct(">d")


class TokenOutcome(Enum):
    """What a token is worth."""

    NONE = auto()  # nothing: treated as if there were none (§8.1.3)
    VALIDATED = auto()  # the address is proven
    INVALID = auto()  # a Retry token that is wrong: the connection can't succeed (§8.1.2)


@dataclass(frozen=True, slots=True)
class TokenCheck:
    """The outcome, and after a Retry the connection ID of the very first Initial."""

    outcome: TokenOutcome
    original_destination_cid: bytes | None = None


class AddressTokens:
    """Makes and checks the tokens of one server, or of several that share a key ring."""

    __slots__ = ("_keys", "_used", "_wall_time")

    def __init__(self, keys: KeyRing, wall_time: Callable[[], float]) -> None:
        self._keys = keys
        self._wall_time = wall_time
        # Digest of each used token, and when it expires; oldest first.
        self._used: OrderedDict[bytes, float] = OrderedDict()

    def for_retry(self, peer: Address, original_destination_cid: bytes, retry_source_cid: bytes) -> bytes:
        """The token of a Retry: good for this address and port, and for the connection ID it gives."""
        issued = self._wall_time()
        content = _ISSUED.pack(issued) + _joined(
            _address(peer, with_port=True), retry_source_cid, original_destination_cid
        )
        return self._keys.seal(content, _RETRY, issued)

    def for_later(self, peer: Address, version: int) -> bytes:
        """The token of a NEW_TOKEN frame: good for this address at any port, since ports change.

        It is good for one version of QUIC, that of the connection which gives it (RFC 9369 §5).
        """
        issued = self._wall_time()
        content = _ISSUED.pack(issued) + _later(peer, version)
        return self._keys.seal(content, _NEW_TOKEN, issued)

    def check(self, token: bytes, peer: Address, destination_cid: bytes, version: int) -> TokenCheck:
        """Judge the token of an Initial from `peer` to `destination_cid`. A good one is used up by this.

        `version` is that of the Initial.
        """
        if not token:
            return TokenCheck(TokenOutcome.NONE)
        now = self._wall_time()
        content = self._keys.open(token, _RETRY)
        if content is not None:
            fresh = self._is_fresh(content, now, RETRY_TOKEN_LIFETIME)
            bound = _joined(_address(peer, with_port=True), destination_cid)
            told = content[_ISSUED.size :]
            # The same Initial may come again, so this one is not used up: it opens one connection only,
            # because that one's connection ID is in it.
            if not fresh or not told.startswith(bound):
                return TokenCheck(TokenOutcome.INVALID)
            return TokenCheck(TokenOutcome.VALIDATED, told[len(bound) + 1 :])
        content = self._keys.open(token, _NEW_TOKEN)
        if (
            content is None
            or not self._is_fresh(content, now, NEW_TOKEN_LIFETIME)
            or content[_ISSUED.size :] != _later(peer, version)
            or not self._use(token, now)
        ):
            return TokenCheck(TokenOutcome.NONE)
        return TokenCheck(TokenOutcome.VALIDATED)

    @staticmethod
    def _is_fresh(content: bytes, now: float, lifetime: float) -> bool:
        issued: float = _ISSUED.unpack_from(content)[0]
        return -CLOCK_TOLERANCE <= now - issued <= lifetime

    def _use(self, token: bytes, now: float) -> bool:
        """Remember the token; False if it was used before, or if there is no room to remember it."""
        digest = hashlib.sha256(token).digest()[:16]
        if digest in self._used:
            return False
        while self._used and next(iter(self._used.values())) <= now:
            self._used.popitem(last=False)
        if len(self._used) >= MAX_USED_TOKENS:
            return False
        self._used[digest] = now + NEW_TOKEN_LIFETIME + CLOCK_TOLERANCE
        return True


def _address(peer: Address, *, with_port: bool) -> bytes:
    """What identifies a client: the host, and the port too while a NAT can't have changed it."""
    return f"{peer[0]}|{peer[1]}".encode() if with_port else str(peer[0]).encode()


def _later(peer: Address, version: int) -> bytes:
    """What a NEW_TOKEN token is bound to."""
    return _joined(_address(peer, with_port=False), version.to_bytes(4, "big"))


def _joined(*fields: bytes) -> bytes:
    """Each field behind its length."""
    return b"".join(bytes((len(field),)) + field for field in fields)
