"""Packets that came before the keys to open them (RFC 9001 §5.7)."""

# A flight or two; the rest is resent.
MAX_EARLY_PACKETS = 16
MAX_EARLY_BYTES = 32768


class EarlyPackets:
    """Copies of packets, each with the ECN field of its datagram, until the keys may be there."""

    __slots__ = ("_packets", "_size")

    def __init__(self) -> None:
        self._packets: list[tuple[bytes, int]] = []
        self._size = 0

    def keep(self, packet: memoryview, ecn: int) -> bool:
        """Keep a copy; False if there is no room for it."""
        if len(self._packets) >= MAX_EARLY_PACKETS or self._size + len(packet) > MAX_EARLY_BYTES:
            return False
        self._packets.append((bytes(packet), ecn))
        self._size += len(packet)
        return True

    def take(self) -> list[tuple[bytes, int]]:
        """All of them, in the order in which they came."""
        packets, self._packets = self._packets, []
        self._size = 0
        return packets
