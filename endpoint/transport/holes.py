"""Packet numbers left out on purpose: an ACK of one proves that the peer invents ACKs (RFC 9000 §21.4)."""

from collections import deque
from collections.abc import Callable, Sequence

from endpoint.errors import TransportError, TransportErrorCode
from endpoint.transport.spaces import PacketSpace
from endpoint.wire.frames import FrameType

# Packets between two holes: from FIRST_INTERVAL to twice as many, at random; doubled each time up to
# LAST_INTERVAL. Early, because an attacker gains most in slow start; then rarer, because every hole
# costs the peer an ACK at once and a range in its ACKs.
FIRST_INTERVAL = 64
LAST_INTERVAL = 8192
# Holes remembered. What is older than so many intervals nobody gains from acknowledging.
MAX_HOLES = 16


class PacketNumberHoles:
    """Holes in the numbers of the 1-RTT space. `count`: how many there were, `due_at`: the next."""

    __slots__ = ("_holes", "_interval", "_random", "_space", "count", "due_at")

    def __init__(self, space: PacketSpace, random: Callable[[int], bytes]) -> None:
        self._space = space
        self._random = random
        self._interval = FIRST_INTERVAL
        self._holes: deque[int] = deque(maxlen=MAX_HOLES)
        self.count = 0
        self.due_at = 0
        self._plan()

    def skip(self) -> None:
        """Leave out the next number. Call when `next_pn` has reached `due_at`, between packets only."""
        self._holes.append(self._space.next_pn)
        self._space.next_pn += 1
        self.count += 1
        self._plan()

    def check_ack(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Raise PROTOCOL_VIOLATION if an ACK with these inclusive, descending ranges has a hole in it."""
        if not self._holes or ranges[0][1] < self._holes[0]:
            return
        # Both go down, and ranges below the oldest hole tell nothing.
        position = len(self._holes) - 1
        for smallest, largest in ranges:
            while self._holes[position] > largest:
                if not position:
                    return
                position -= 1
            if self._holes[position] >= smallest:
                raise TransportError(
                    TransportErrorCode.PROTOCOL_VIOLATION,
                    f"ACK of packet {self._holes[position]}, never sent",
                    FrameType.ACK,
                )

    def _plan(self) -> None:
        spread = int.from_bytes(self._random(4), "big") % self._interval
        self.due_at = self._space.next_pn + self._interval + spread
        self._interval = min(2 * self._interval, LAST_INTERVAL)
