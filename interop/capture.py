"""The captures of a run: dissected once, asked by side and packet type, and named in complaints."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple, Self

from endpoint.wire.version import PacketType
from interop.dissect.dissector import dissect
from interop.dissect.keylog import KeyLog
from interop.dissect.model import Datagram, Packet, Side
from interop.simnet.netns import CLIENT_IPV4, CLIENT_IPV6, SERVER_IPV4, SERVER_IPV6

# The runner knows a packet's direction by its source.
_HOSTS: Final = {
    CLIENT_IPV4: Side.CLIENT,
    CLIENT_IPV6: Side.CLIENT,
    SERVER_IPV4: Side.SERVER,
    SERVER_IPV6: Side.SERVER,
}
# Dissected packets take some 2 KB each. An end that sends without pause must not take all memory.
MOST_DATAGRAMS: Final = 200_000
_NEEDED_LABEL: Final = "SERVER_HANDSHAKE_TRAFFIC_SECRET "


class Sighting(NamedTuple):
    """A packet and the datagram it was seen in."""

    datagram: Datagram
    packet: Packet


class Complaint(str):
    """What a check found; `packet` is the place in the captures, "" if there is no single one.

    `side` is whose fault it is, None where what was captured does not tell.
    """

    __slots__ = ("packet", "side")
    packet: str
    side: Side | None

    def __new__(cls, text: str, packet: str = "", side: Side | None = None) -> Self:
        complaint = super().__new__(cls, ": ".join(part for part in (packet, side, text) if part))
        complaint.packet = packet
        complaint.side = side
        return complaint


@dataclass(frozen=True)
class Capture:
    """A capture file and the key log that opens it; a key log that is not there opens nothing."""

    file: Path
    key_log: Path

    @cached_property
    def datagrams(self) -> list[Datagram]:
        """All of QUIC, in order. Raises CaptureError."""
        return self.load()

    def load(self) -> list[Datagram]:
        """Read the first `MOST_DATAGRAMS`; `datagrams` does it once.

        Lines that are none of a key log's open nothing.
        """
        secrets = KeyLog.parse(self.key_log.read_text("ascii", "replace") if self.key_log.exists() else "")
        datagrams, error = dissect(self.file, secrets, most=MOST_DATAGRAMS)
        if error is not None:
            raise error
        return datagrams

    def sent_by(self, side: Side) -> Iterator[Datagram]:
        """The datagrams from a side's own addresses: not those of a client that a NAT has renamed."""
        return (each for each in self.datagrams if _HOSTS.get(each.source[0]) is side)

    def packets(self, side: Side) -> Iterator[Sighting]:
        """All packets in them."""
        for datagram in self.sent_by(side):
            for packet in datagram.packets:
                yield Sighting(datagram, packet)

    def packets_of(self, kind: PacketType, side: Side) -> list[Sighting]:
        """Those of one type."""
        return [seen for seen in self.packets(side) if seen.packet.kind is kind]

    @property
    def name(self) -> str:
        """ "left" or "right" for the files of the runner's simulator."""
        return self.file.stem.rpartition("_")[2]

    def place(self, datagram: Datagram, packet: Packet | None = None) -> str:
        """Where that is, with the time since the capture's first datagram."""
        seconds = (datagram.time - self.datagrams[0].time) / 1e9
        number = "" if packet is None or packet.number is None else f", packet number {packet.number}"
        return f"{self.name} {datagram.number} ({seconds:.3f} s{number})"

    def complaint(
        self, text: str, datagram: Datagram, packet: Packet | None = None, side: Side | None = None
    ) -> Complaint:
        """A complaint about that place."""
        return Complaint(text, self.place(datagram, packet), side)


def choose_key_log(client: Path, server: Path) -> Path | None:
    """The one file that the runner opens captures with: the client's if it is of use, else the server's."""
    return next((file for file in (client, server) if _is_useful(file)), None)


def _is_useful(file: Path) -> bool:
    try:
        lines = file.read_text("ascii", "replace").splitlines()
    except OSError:
        return False
    return any(line.startswith(_NEEDED_LABEL) for line in lines)
