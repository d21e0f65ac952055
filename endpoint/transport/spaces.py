"""Packet number spaces (RFC 9000 §12.3): keys, packet numbers, what to acknowledge, what to send."""

from collections import deque

from endpoint.crypto.keys import PacketKeys
from endpoint.level import Level
from endpoint.recovery.ack_tracker import AckTracker
from endpoint.transport.crypto_stream import CryptoStream
from endpoint.wire.frames import Frame


class PacketSpace:
    """What belongs to one packet number space. 0-RTT packets share that of 1-RTT.

    `control` are frames waiting to be sent that are sent again when lost. `probes` counts packets that
    a PTO asks for, whatever the congestion window says (RFC 9002 §7.5).
    """

    __slots__ = (
        "acks",
        "control",
        "crypto",
        "level",
        "next_pn",
        "probes",
        "read_keys",
        "write_keys",
    )

    def __init__(self, level: Level, acks: AckTracker) -> None:
        self.level = level
        self.acks = acks
        self.crypto = CryptoStream()
        self.control: deque[Frame] = deque()
        self.next_pn = 0
        self.probes = 0
        self.read_keys: PacketKeys | None = None
        self.write_keys: PacketKeys | None = None

    def discard(self) -> None:
        """RFC 9001 §4.9: the keys go, and with them everything that waited for them."""
        self.read_keys = None
        self.write_keys = None
        self.control.clear()
        self.probes = 0
        self.crypto = CryptoStream()
