"""From a link's frame to the UDP datagram in it: Ethernet, Linux cooked capture, loopback, raw IP."""

import struct
from collections.abc import Callable, Mapping
from typing import Final

from dpkt.dpkt import in_cksum

from endpoint.testing.link import Datagram
from interop.dissect.container import CapturedFrame, CaptureError
from interop.simnet import packets

_ETHERNET_HEADER: Final = 14
_VLAN_TAG: Final = 4
_VLANS: Final = frozenset((0x8100, 0x88A8))
_IP: Final = frozenset((0x0800, 0x86DD))
_COOKED_HEADER: Final = 16
_COOKED_2_HEADER: Final = 20
_LOOPBACK_HEADER: Final = 4
_IPV4: Final = 4
_UDP: Final = 17


def udp_datagram(frame: CapturedFrame) -> tuple[Datagram, bool] | None:
    """The datagram in a frame and whether its checksum is right; None for other protocols and fragments.

    A wrong checksum needn't be damage: systems leave it to the network card, behind the capture. Raises
    CaptureError for a link type that we don't read.
    """
    strip = _LINK_TYPES.get(frame.link_type)
    if strip is None:
        raise CaptureError(
            f"frame {frame.number}: link type {frame.link_type} is not read; "
            "Ethernet, Linux cooked, loopback and raw IP are"
        )
    packet = strip(frame.data)
    datagram = None if packet is None else packets.decode(packet)
    if packet is None or datagram is None:
        return None
    return datagram, _checksum_is_right(packet)


def _checksum_is_right(packet: bytes) -> bool:
    """RFC 768, RFC 8200 §8.1: the sum over pseudo-header and datagram. `packet` holds whole UDP."""
    is_ipv4 = packet[0] >> 4 == _IPV4
    start = 4 * (packet[0] & 15) if is_ipv4 else packets.IPV6_HEADER
    hosts = packet[12:20] if is_ipv4 else packet[8:40]
    length, checksum = struct.unpack_from("!HH", packet, start + 4)
    if not checksum:
        return is_ipv4  # there is none, which only IPv4 allows
    total: int = in_cksum(hosts + struct.pack("!HH", _UDP, length) + packet[start : start + length])
    return total == 0


def _ethernet(data: bytes) -> bytes | None:
    at = _ETHERNET_HEADER - 2
    while (kind := int.from_bytes(data[at : at + 2], "big")) in _VLANS:
        at += _VLAN_TAG
    return data[at + 2 :] if kind in _IP else None


def _cooked(data: bytes) -> bytes | None:
    kind = int.from_bytes(data[_COOKED_HEADER - 2 : _COOKED_HEADER], "big")
    return data[_COOKED_HEADER:] if kind in _IP else None


def _cooked_2(data: bytes) -> bytes | None:
    return data[_COOKED_2_HEADER:] if int.from_bytes(data[:2], "big") in _IP else None


def _loopback(data: bytes) -> bytes:
    # The family in front is in the byte order of the host that captured; the IP version tells as much.
    return data[_LOOPBACK_HEADER:]


def _raw(data: bytes) -> bytes:
    return data


# Numbers of the list of link types of tcpdump.org; 12 and 14 are older ones of raw IP.
_LINK_TYPES: Mapping[int, Callable[[bytes], bytes | None]] = {
    0: _loopback,
    1: _ethernet,
    12: _raw,
    14: _raw,
    101: _raw,
    108: _loopback,
    113: _cooked,
    228: _raw,
    229: _raw,
    276: _cooked_2,
}
