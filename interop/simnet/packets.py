"""UDP datagrams in raw IP packets, both families: what a TUN device gives and takes."""

import socket
import struct
from typing import Final

from endpoint.testing.link import Datagram

IPV4_HEADER: Final = 20
IPV6_HEADER: Final = 40
UDP_HEADER: Final = 8

_UDP: Final = 17
_DONT_FRAGMENT: Final = 0x4000
_FRAGMENT: Final = 0x3FFF  # more fragments, or an offset
_TTL: Final = 62  # two routers away from the usual 64


def decode(packet: bytes) -> Datagram | None:
    """The UDP datagram in an IP packet; None for anything else: other protocols, fragments, damage.

    Addresses are (numeric host, port) in both families. Checksums are taken on trust: what comes from a
    kernel on the same machine was not damaged on the way.
    """
    if len(packet) < IPV4_HEADER:
        return None
    if packet[0] >> 4 == 4:
        return _decode_ipv4(packet)
    if packet[0] >> 4 == 6 and len(packet) >= IPV6_HEADER:
        return _decode_ipv6(packet)
    return None


def _decode_ipv4(packet: bytes) -> Datagram | None:
    length, _, fragment = struct.unpack_from("!HHH", packet, 2)
    header = 4 * (packet[0] & 15)
    if packet[9] != _UDP or fragment & _FRAGMENT or header < IPV4_HEADER or length > len(packet):
        return None
    hosts = (socket.inet_ntop(socket.AF_INET, packet[start : start + 4]) for start in (12, 16))
    return _decode_udp(packet[header:length], *hosts, ecn=packet[1] & 3)


def _decode_ipv6(packet: bytes) -> Datagram | None:
    (length,) = struct.unpack_from("!H", packet, 4)
    if packet[6] != _UDP or IPV6_HEADER + length > len(packet):
        return None
    hosts = (socket.inet_ntop(socket.AF_INET6, packet[start : start + 16]) for start in (8, 24))
    return _decode_udp(packet[IPV6_HEADER : IPV6_HEADER + length], *hosts, ecn=packet[1] >> 4 & 3)


def _decode_udp(segment: bytes, source: str, destination: str, *, ecn: int) -> Datagram | None:
    if len(segment) < UDP_HEADER:
        return None
    source_port, destination_port, length = struct.unpack_from("!HHH", segment)
    if not UDP_HEADER <= length <= len(segment):
        return None
    return Datagram(segment[UDP_HEADER:length], (source, source_port), (destination, destination_port), ecn)


def encode(datagram: Datagram) -> bytes:
    """An IP packet with correct checksums, of the family that its addresses have."""
    (source, source_port), (destination, destination_port) = datagram.source, datagram.destination
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    hosts = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
    length = UDP_HEADER + len(datagram.data)
    udp = struct.pack("!HHHH", source_port, destination_port, length, 0) + datagram.data
    # RFC 768: a sum of zero is sent as all ones, since zero says that there is none.
    checksum = _checksum(hosts + struct.pack("!HH", _UDP, length) + udp) or 0xFFFF
    udp = udp[:6] + checksum.to_bytes(2) + datagram.data
    if family == socket.AF_INET6:
        return struct.pack("!IHBB", 6 << 28 | datagram.ecn << 20, length, _UDP, _TTL) + hosts + udp
    start = struct.pack("!BBHHHBB", 0x45, datagram.ecn, IPV4_HEADER + length, 0, _DONT_FRAGMENT, _TTL, _UDP)
    return start + _checksum(start + hosts).to_bytes(2) + hosts + udp


def _checksum(data: bytes) -> int:
    """RFC 1071: the complement of the ones' complement sum of all 16-bit words."""
    if len(data) % 2:
        data += b"\0"
    # Base 65536 is 1 modulo 65535, so this is the sum of the words. It can't tell 0 from 0xffff, and only
    # words that are all zero sum up to 0: no packet has those.
    return 0xFFFF - (int.from_bytes(data) % 0xFFFF or 0xFFFF)
