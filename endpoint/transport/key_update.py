"""Key updates of 1-RTT packets (RFC 9001 §6): which keys a packet needs, and when new ones begin."""

from collections.abc import Callable

from endpoint.crypto.keys import PacketKeys
from endpoint.errors import TransportError, TransportErrorCode
from endpoint.transport.spaces import PacketSpace

# RFC 9001 §6.5: old keys are kept for packets that were overtaken, and no update begins before they go.
KEEP_PTO_COUNT = 3


class KeyPhase:
    """The key phase of the 1-RTT space, whose `read_keys` and `write_keys` it replaces.

    Both directions change together: whoever begins uses new keys to send and expects them to be used by
    the peer from then on (§6.1). Between packets of the two phases the packet number decides (§6.5).
    """

    __slots__ = (
        "_answered",
        "_discard_at",
        "_first_received",
        "_first_sent",
        "_next_read",
        "_opened_bit",
        "_previous_read",
        "_pto",
        "_space",
        "began_here",
        "bit",
        "updates",
    )

    def __init__(self, space: PacketSpace, pto: Callable[[], float]) -> None:
        self._space = space
        self._pto = pto
        self.bit = 0
        self.updates = 0
        # Whether the last update was begun by us.
        self.began_here = False
        self._opened_bit = 0
        self._next_read: PacketKeys | None = None
        self._previous_read: PacketKeys | None = None
        self._discard_at = 0.0
        # Lowest packet numbers of the present phase; None while none was received in it.
        self._first_sent = 0
        self._first_received: int | None = 0
        # Whether we have sent anything in this phase since the peer's first packet of it.
        self._answered = True

    @property
    def packets(self) -> int:
        """About how many packets went either way in the present phase."""
        received = 0
        if self._first_received is not None:
            received = self._space.acks.largest_received + 1 - self._first_received
        return self._space.next_pn - self._first_sent + received

    @property
    def keeps_old_keys(self) -> bool:
        """Whether packets of the phase before can still be opened."""
        return self._previous_read is not None

    def may_update(self, largest_acked: int) -> bool:
        """Whether an update is possible: a packet of this phase was acknowledged (§6.1)."""
        return self._first_received is not None and largest_acked >= self._first_sent

    def is_settled(self, now: float) -> bool:
        """Whether the peer has had its time since the last update (§6.5): sooner it may lose packets."""
        return now >= self._discard_at

    def update(self, now: float) -> None:
        """Begin the next phase (§6.1); `may_update` must hold and the handshake be confirmed."""
        self._begin_phase(now)
        self.began_here = True
        self._first_received = None

    def read_keys(self, bit: int, pn: int, now: float) -> tuple[PacketKeys, bool] | None:
        """The keys for a packet with this key phase bit, and whether they begin a new phase.

        None where they are gone already. Call `on_peer_updated` once a packet of a new phase has opened.
        """
        current = self._space.read_keys
        assert current is not None
        if bit == self.bit:
            return current, False
        first = self._first_received
        if first is None or pn < first:
            # The peer's first packet of this phase is still to come, or this one was overtaken by it.
            if self._previous_read is not None and now >= self._discard_at and first is not None:
                self._previous_read = None
            return None if self._previous_read is None else (self._previous_read, False)
        return self._next_keys(current), True

    def on_opened(self, bit: int, pn: int, now: float) -> None:
        """A packet was authentic. The first of the present phase tells that the peer has followed."""
        self._opened_bit = bit
        if bit != self.bit:
            return
        if self._previous_read is not None and self._first_received is not None and now >= self._discard_at:
            self._previous_read = None
        if self._first_received is None:
            self._first_received = pn
            # §6.5: the old keys go three PTOs after the first packet with the new ones.
            self._discard_at = now + KEEP_PTO_COUNT * self._pto()
        elif pn < self._first_received:
            self._first_received = pn

    def on_peer_updated(self, pn: int, now: float) -> None:
        """A packet of the next phase was authentic: follow (§6.2). Raises KEY_UPDATE_ERROR."""
        if not self._answered:
            # §6.2: nothing we sent can have confirmed the last update, and here is another.
            raise TransportError(
                TransportErrorCode.KEY_UPDATE_ERROR, "keys updated twice without confirmation"
            )
        self._begin_phase(now)
        self.began_here = False
        self._opened_bit = self.bit
        self._first_received = pn
        self._discard_at = now + KEEP_PTO_COUNT * self._pto()
        self._answered = False

    def on_sent(self) -> None:
        """Packets go out with the present keys."""
        self._answered = True

    def check_ack(self, largest_acked: int) -> None:
        """The packet opened last has this ACK. Raises KEY_UPDATE_ERROR.

        §6.2: who has seen a packet of the new phase acknowledges it with new keys.
        """
        if self._opened_bit != self.bit and largest_acked >= self._first_sent:
            raise TransportError(
                TransportErrorCode.KEY_UPDATE_ERROR, "new keys acknowledged in a packet with old ones"
            )

    def prepare(self) -> None:
        """Derive the next keys before they are needed, so that timing tells nothing (§6.3)."""
        if self._space.read_keys is not None:
            self._next_keys(self._space.read_keys)

    def _next_keys(self, current: PacketKeys) -> PacketKeys:
        if self._next_read is None:
            self._next_read = current.next_generation()
        return self._next_read

    def _begin_phase(self, now: float) -> None:
        space = self._space
        assert space.read_keys is not None
        assert space.write_keys is not None
        self._previous_read = space.read_keys
        self._discard_at = now
        space.read_keys = self._next_keys(space.read_keys)
        space.write_keys = space.write_keys.next_generation()
        self._next_read = space.read_keys.next_generation()
        self.bit ^= 1
        self.updates += 1
        self._first_sent = space.next_pn
