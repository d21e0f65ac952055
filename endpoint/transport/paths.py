"""Network paths: address validation, the anti-amplification limit, path responses (RFC 9000 §8)."""

from collections import deque

from endpoint.batch import Address

# RFC 9000 §8.1: until an address is validated we send it at most this many times what came from it.
AMPLIFICATION_FACTOR = 3

# RFC 9000 §9.3.3 and §8.2: answers waiting to be sent. A peer that asks faster than we may answer
# loses the oldest questions; it has to repeat those that matter to it.
MAX_PATH_RESPONSES = 8


class Path:
    """A pair of addresses and what is known of it."""

    __slots__ = ("local", "peer", "received", "responses", "sent", "validated")

    def __init__(self, peer: Address, local: Address | None, *, validated: bool) -> None:
        self.peer = peer
        self.local = local
        self.validated = validated
        self.received = 0
        self.sent = 0
        self.responses: deque[bytes] = deque(maxlen=MAX_PATH_RESPONSES)

    def budget(self) -> int | None:
        """Bytes of UDP payload that may go to the peer now; None once it is validated (no limit)."""
        if self.validated:
            return None
        return max(0, AMPLIFICATION_FACTOR * self.received - self.sent)

    def on_received(self, size: int) -> None:
        """A datagram of `size` bytes came; all of it counts, readable or not (§8.1)."""
        self.received += size

    def on_sent(self, size: int) -> None:
        """A datagram of `size` bytes went out; padding and retransmissions count too."""
        self.sent += size

    def on_challenge(self, data: bytes) -> None:
        """PATH_CHALLENGE asks for its data back (§8.2.2)."""
        self.responses.append(data)
