"""Takes captured frames in order, finds the connection of each packet, and opens it."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

from endpoint.batch import Address
from endpoint.crypto.retry import retry_tag_is_valid
from endpoint.testing.link import Datagram as UdpDatagram
from endpoint.wire.frames import STATELESS_RESET_TOKEN_LENGTH
from endpoint.wire.header import LONG_HEADER_FORM, HeaderError, LongHeader, PacketType, parse_long_header
from endpoint.wire.version import VERSIONS
from interop.dissect.connection import Connection
from interop.dissect.container import CapturedFrame, CaptureError, read_frames
from interop.dissect.keylog import KeyLog
from interop.dissect.link import udp_datagram
from interop.dissect.model import Datagram, Packet, Side

QUIC_PORT: Final = 443
# RFC 9000 §10.3: a stateless reset has at least 5 bytes in front of the token.
_MIN_RESET: Final = 5 + STATELESS_RESET_TOKEN_LENGTH
_FIRST_TYPES: Final = (PacketType.INITIAL, PacketType.ZERO_RTT)
_VOID_TAG: Final = "the integrity tag is wrong"
_UNKNOWN: Final = "belongs to no connection of the capture"

# A connection that a packet may be of, and the side that would have sent it.
_Choice: TypeAlias = tuple[Connection, Side]


class Dissector:
    """`add` frames in order; `connections` are those with an authentic packet, in order."""

    def __init__(self, key_log: KeyLog, ports: Iterable[int] = (QUIC_PORT,)) -> None:
        """On these UDP `ports` everything is QUIC, elsewhere what shows itself to be."""
        self.connections: list[Connection] = []
        self._key_log = key_log
        self._ports = frozenset(ports)
        self._by_cid: dict[bytes, list[_Choice]] = {}
        self._cid_lengths: list[int] = []
        self._by_path: dict[tuple[Address, Address], _Choice] = {}
        # Owners of empty connection IDs.
        self._without_cid: list[_Choice] = []
        self._tokens: dict[bytes, _Choice] = {}

    def add(self, frame: CapturedFrame) -> Datagram | None:
        """The QUIC datagram in a frame. Packets that come before their keys are completed later.

        Raises CaptureError for a link type that can't be read.
        """
        found = udp_datagram(frame)
        if found is None:
            return None
        udp, checksum_is_right = found
        datagram = Datagram(
            frame.number,
            frame.time,
            udp.source,
            udp.destination,
            udp.ecn,
            len(udp.data),
            [],
            checksum_is_right,
        )
        is_known = udp.source[1] in self._ports or udp.destination[1] in self._ports
        is_quic = self._split(datagram, udp) or is_known
        return datagram if is_quic and udp.data else None

    # Where a connection says what is its own: `connection.Routes`.

    def add_cid(self, cid: bytes, connection: Connection, owner: Side) -> None:
        """See `Routes`."""
        if not cid:
            if owner not in connection.empty_cids:
                connection.empty_cids.add(owner)
                self._without_cid.insert(0, (connection, owner))
            return
        choices = self._by_cid.setdefault(cid, [])
        if (connection, owner) not in choices:
            choices.insert(0, (connection, owner))
            if len(cid) not in self._cid_lengths:
                self._cid_lengths = sorted((*self._cid_lengths, len(cid)), reverse=True)

    def add_token(self, token: bytes, connection: Connection, owner: Side) -> None:
        """See `Routes`."""
        self._tokens[token] = (connection, owner)

    # Packets of a datagram.

    def _split(self, datagram: Datagram, udp: UdpDatagram) -> bool:
        """Fill in the packets; whether it looks like QUIC."""
        data = udp.data
        path = (udp.source, udp.destination)
        looks_right = False
        start = 0
        while start < len(data):
            if data[start] & LONG_HEADER_FORM:
                packet, length = self._long_packet(data[start:], path)
                looks_right |= packet.kind is not None
            else:
                packet, length = self._short_packet(data[start:], path), len(data) - start
                if packet.problem and start:
                    # RFC 9000 §12.2 has packets only, but zeros are seen, and nobody minds them.
                    if not any(data[start:]):
                        datagram.padding = length
                        break
                    packet.dcid = datagram.packets[0].dcid
            looks_right |= packet.connection is not None
            datagram.packets.append(packet)
            start += length
        return looks_right

    def _long_packet(self, data: bytes, path: tuple[Address, Address]) -> tuple[Packet, int]:
        """The first packet of `data` and its length."""
        try:
            header = parse_long_header(data, 0, len(data))
        except HeaderError as error:
            return Packet(len(data), None, b"", first_byte=data[0], problem=str(error)), len(data)
        length = header.packet_end
        packet = Packet(
            length,
            header.type,
            header.dcid,
            version=header.version,
            scid=header.scid,
            token=header.token,
            header_size=header.pn_offset,
            first_byte=data[0],
            supported_versions=header.supported_versions,
        )
        if header.type is None:
            packet.problem = f"version {header.version:#x} is unknown"
        elif header.type is PacketType.VERSION_NEGOTIATION:
            self._assign(packet, self._choices_of_answer(header, path))
        elif header.type is PacketType.RETRY:
            self._on_retry(packet, data[:length], self._choices_of_answer(header, path))
        else:
            self._open_long(packet, data[:length], header, path)
        return packet, length

    def _choices_of_answer(self, header: LongHeader, path: tuple[Address, Address]) -> list[_Choice]:
        """Connections that a Version Negotiation or Retry packet may answer."""
        choices = [choice for choice in self._choices(header.dcid, path) if choice[1] is Side.SERVER]
        if header.type is PacketType.VERSION_NEGOTIATION:
            # RFC 9000 §17.2.1: it echoes the client's Destination Connection ID.
            choices = [choice for choice in choices if choice[0].original_dcid == header.scid]
        return choices

    def _assign(self, packet: Packet, choices: list[_Choice]) -> None:
        if choices:
            packet.connection, packet.sender = choices[0]

    def _on_retry(self, packet: Packet, data: bytes, choices: list[_Choice]) -> None:
        assert packet.version is not None
        assert packet.scid is not None
        self._assign(packet, choices)
        packet.problem = _VOID_TAG if choices else _UNKNOWN
        for connection, _ in choices:
            if retry_tag_is_valid(VERSIONS[packet.version], connection.original_dcid, data):
                packet.connection, packet.problem = connection, None
                connection.on_retry(packet.scid)
                return

    def _open_long(
        self, packet: Packet, data: bytes, header: LongHeader, path: tuple[Address, Address]
    ) -> None:
        # A capture may lack the packet that told the Destination Connection ID, but know the sender's.
        choices = self._choices(header.dcid, path) or self._by_cid.get(header.scid, [])
        if self._open_first(packet, data, header.pn_offset, choices, path):
            return
        if choices:
            choices[0][0].wait(packet, data, header.pn_offset, choices[0][1])
            return
        packet.problem = _UNKNOWN
        if header.type not in _FIRST_TYPES:
            return
        connection = Connection(header.dcid, self._key_log, self)
        if header.type is PacketType.INITIAL:
            if not self._open_first(packet, data, header.pn_offset, [(connection, Side.CLIENT)], path):
                packet.problem = f"{_UNKNOWN}, and does not open as a client's first"
                return
        else:
            connection.wait(packet, data, header.pn_offset, Side.CLIENT)
        self.add_cid(header.dcid, connection, Side.SERVER)

    def _short_packet(self, data: bytes, path: tuple[Address, Address]) -> Packet:
        packet = Packet(len(data), PacketType.ONE_RTT, b"", header_size=1, first_byte=data[0])
        for length in self._cid_lengths:
            cid = data[1 : 1 + length]
            choices = self._choices_of_cid(cid)
            if choices:
                packet.dcid, packet.header_size = cid, 1 + length
                if not self._open_first(packet, data, 1 + length, choices, path):
                    choices[0][0].wait(packet, data, 1 + length, choices[0][1])
                    self._look_for_reset(packet, data)
                return packet
        without = self._choices(b"", path)
        if self._open_first(packet, data, 1, without, path):
            return packet
        if without:
            without[0][0].wait(packet, data, 1, without[0][1])
        else:
            packet.problem = _UNKNOWN
        self._look_for_reset(packet, data)
        return packet

    def _look_for_reset(self, packet: Packet, data: bytes) -> None:
        choice = self._tokens.get(data[-STATELESS_RESET_TOKEN_LENGTH:])
        if choice is not None and len(data) >= _MIN_RESET:
            packet.is_stateless_reset, packet.kind, packet.problem = True, None, None
            packet.connection, packet.sender = choice

    # Connections.

    def _choices_of_cid(self, cid: bytes) -> list[_Choice]:
        return [(connection, owner.peer) for connection, owner in self._by_cid.get(cid, ())]

    def _choices(self, dcid: bytes, path: tuple[Address, Address]) -> list[_Choice]:
        """Which connections a packet may be of, the likeliest first."""
        if dcid:
            return self._choices_of_cid(dcid)
        choices = [(connection, owner.peer) for connection, owner in self._without_cid]
        on_path = self._by_path.get(path)
        return sorted(choices, key=lambda choice: choice != on_path)

    def _open_first(
        self,
        packet: Packet,
        data: bytes,
        pn_offset: int,
        choices: list[_Choice],
        path: tuple[Address, Address],
    ) -> bool:
        for connection, sender in choices:
            if connection.open(packet, data, pn_offset, sender):
                if connection.number < 0:
                    connection.number = len(self.connections)
                    self.connections.append(connection)
                self._by_path[path] = (connection, sender)
                self._by_path[path[1], path[0]] = (connection, sender.peer)
                return True
        return False


def dissect(
    file: Path, key_log: KeyLog, ports: Iterable[int] = (QUIC_PORT,), most: int | None = None
) -> tuple[list[Datagram], CaptureError | None]:
    """All QUIC datagrams of a capture, or the first `most` of them.

    A file that breaks off gives those before, and the error.
    """
    dissector = Dissector(key_log, ports)
    datagrams: list[Datagram] = []
    try:
        datagrams.extend(islice(_datagrams(dissector, read_frames(file)), most))
    except CaptureError as error:
        return datagrams, error
    return datagrams, None


def _datagrams(dissector: Dissector, frames: Iterable[CapturedFrame]) -> Iterator[Datagram]:
    for frame in frames:
        datagram = dissector.add(frame)
        if datagram is not None:
            yield datagram
