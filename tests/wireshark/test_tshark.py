"""What is read from the dissector's output."""

import pytest
from wireshark.tshark import Packet, PacketType, parse_json

# Two coalesced packets and what stands around them, shortened.
TEXT = """
[{"_index": "packets", "_source": {"layers": {
  "frame": {"frame.time_epoch": "0.712239000", "frame.number": "2"},
  "raw": "Raw packet data",
  "ip": {"ip.dsfield": "0x02", "ip.dsfield_tree": {"ip.dsfield.dscp": "0", "ip.dsfield.ecn": "2"},
         "ip.src": "193.167.100.100", "ip.addr": "193.167.100.100",
         "ip.dst": "193.167.0.100", "ip.addr": "193.167.0.100"},
  "udp": {"udp.srcport": "443", "udp.dstport": "49553", "udp.length": "1208"},
  "quic": {"quic.header_form": "1", "quic.long.packet_type": "0", "quic.version": "0x00000001",
           "quic.frame": {"quic.frame_type": "3", "quic.ack.ect0_count": "1"},
           "quic.frame": {"quic.frame_type": "6", "tls": {"tls.handshake": {"tls.handshake.type": "2"}}}},
  "quic": {"quic.header_form": "0", "quic.payload": "01:02:ff"}
}}},
{"_source": {"layers": {
  "frame": {"frame.time_epoch": "1", "frame.number": "3"},
  "ipv6": {"ipv6.tclass": "0x00", "ipv6.tclass_tree": {"ipv6.tclass.ecn": "0"},
           "ipv6.src": "fd00:cafe:cafe::100", "ipv6.dst": "fd00:cafe:cafe:100::100"},
  "udp": {"udp.srcport": "49553", "udp.dstport": "443", "udp.length": "50"},
  "quic": {"quic.header_form": "0"}
}}}]
"""


def test_datagrams() -> None:
    first, second = parse_json(TEXT)
    assert (first.number, first.time, first.ecn, first.size) == (2, 0.712239, 2, 1200)
    assert (first.source, first.destination) == (("193.167.100.100", 443), ("193.167.0.100", 49553))
    assert first.is_ipv4
    assert (second.number, second.ecn, second.size) == (3, 0, 42)
    assert (second.source, second.is_ipv4) == (("fd00:cafe:cafe::100", 49553), False)
    assert parse_json("[]") == []


def test_packets() -> None:
    long, short = parse_json(TEXT)[0].packets
    assert long.values("quic.frame_type") == ["3", "6"]
    assert long.first("quic.frame_type") == "3"
    assert long.first("tls.handshake.type") == "2"
    assert (long.long_type, long.version, long.is_short) == (PacketType.INITIAL, 1, False)
    assert long.first("quic.payload") is None
    assert long.values("quic.payload") == []
    assert (short.long_type, short.version, short.is_short) == (None, None, True)


@pytest.mark.parametrize(
    ("number", "kind"),
    [(0, PacketType.RETRY), (1, PacketType.INITIAL), (2, PacketType.ZERO_RTT), (3, PacketType.HANDSHAKE)],
)
def test_types_of_version_2(number: int, kind: PacketType) -> None:
    """RFC 9369 §3.2."""
    assert Packet(1, {"quic.long.packet_type_v2": [str(number)]}).long_type is kind


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"quic.payload": ["01:02"]}, 2),
        ({"quic.protected_payload": ["01:02:03"], "quic.payload": [""]}, 3),
        ({"quic.remaining_payload": ["01"]}, 1),
        ({}, 0),
    ],
)
def test_payload_size(fields: dict[str, list[str]], size: int) -> None:
    assert Packet(1, fields).payload_size == size
