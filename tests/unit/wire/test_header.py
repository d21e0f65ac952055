"""RFC 9000 §17 and RFC 8999; packets of RFC 9001 and RFC 9369, Appendix A."""

import pytest

from endpoint.wire.header import (
    HeaderError,
    LongHeader,
    PacketType,
    append_long_header,
    append_short_header,
    encode_retry,
    encode_version_negotiation,
    finish_long_header,
    parse_long_header,
    retry_pseudo_packet,
)
from endpoint.wire.version import QUIC_V1, QUIC_V2, VERSIONS

DCID = bytes.fromhex("8394c8f03e515708")


def parse(datagram: bytes) -> LongHeader:
    return parse_long_header(datagram, 0, len(datagram))


def long_packet(packet_type: PacketType, *, version: int = QUIC_V1, token: bytes = b"") -> bytearray:
    out = bytearray()
    length_offset = append_long_header(out, VERSIONS[version], packet_type, DCID, b"src", token, 2, 4)
    out += bytes(30)
    finish_long_header(out, length_offset, len(out))
    return out


def test_client_initial_of_rfc_9001_a2() -> None:
    # The unprotected header of the example; the packet has 1200 bytes, the Length field says 1182.
    header = bytes.fromhex("c300000001088394c8f03e5157080000449e00000002")
    packet = header + bytes(1200 - len(header))
    parsed = parse(packet)
    assert parsed == LongHeader(0xC3, QUIC_V1, PacketType.INITIAL, DCID, b"", b"", 18, 1200)
    out = bytearray()
    length_offset = append_long_header(out, VERSIONS[QUIC_V1], PacketType.INITIAL, DCID, b"", b"", 2, 4)
    finish_long_header(out, length_offset, 1200)
    assert out == header


def test_server_initial_of_rfc_9001_a3() -> None:
    header = bytes.fromhex("c1000000010008f067a5502a4262b50040750001")
    out = bytearray()
    scid = bytes.fromhex("f067a5502a4262b5")
    length_offset = append_long_header(out, VERSIONS[QUIC_V1], PacketType.INITIAL, b"", scid, b"", 1, 2)
    finish_long_header(out, length_offset, 135)
    assert out == header


@pytest.mark.parametrize("version", [QUIC_V1, QUIC_V2])
@pytest.mark.parametrize("packet_type", [PacketType.INITIAL, PacketType.ZERO_RTT, PacketType.HANDSHAKE])
def test_written_packet_is_read_back_and_the_next_one_found(version: int, packet_type: PacketType) -> None:
    token = b"token" if packet_type is PacketType.INITIAL else b""
    packet = long_packet(packet_type, version=version, token=token)
    datagram = b"before" + packet + b"coalesced"
    parsed = parse_long_header(memoryview(datagram), 6, len(datagram))
    assert (parsed.version, parsed.type, parsed.token) == (version, packet_type, token)
    assert (parsed.dcid, parsed.scid) == (DCID, b"src")
    assert datagram[parsed.pn_offset : parsed.pn_offset + 4] == b"\0\0\0\2"
    assert datagram[parsed.packet_end :] == b"coalesced"
    assert parsed.fixed_bit


def test_fixed_bit_is_shown_and_not_judged() -> None:
    packet = long_packet(PacketType.HANDSHAKE)
    packet[0] &= ~0x40
    parsed = parse(bytes(packet))
    assert not parsed.fixed_bit
    assert parsed.type is PacketType.HANDSHAKE


def test_unknown_version_gives_long_connection_ids() -> None:
    dcid, scid = bytes(range(255)), b"s" * 255
    datagram = b"\x80\x0a\x1a\x2a\x3a\xff" + dcid + b"\xff" + scid + b"anything"
    parsed = parse(datagram)
    assert parsed == LongHeader(0x80, 0x0A1A2A3A, None, dcid, scid, b"", 0, len(datagram))


def test_unknown_version_with_empty_connection_ids() -> None:
    # The probe with which the interop runner waits for servers.
    datagram = bytes.fromhex("c0574149540000") + bytes(1200)
    parsed = parse(datagram)
    assert (parsed.version, parsed.type, parsed.dcid, parsed.scid) == (0x57414954, None, b"", b"")
    assert parse(datagram[:7]).type is None


@pytest.mark.parametrize("version", [QUIC_V1, QUIC_V2])
def test_connection_id_over_20_bytes_in_a_known_version(version: int) -> None:
    start = b"\xc0" + version.to_bytes(4, "big")
    with pytest.raises(HeaderError):
        parse(start + b"\x15" + bytes(21) + b"\x00" + bytes(50))
    with pytest.raises(HeaderError):
        parse(start + b"\x00\x15" + bytes(21) + bytes(50))


def test_every_truncation_of_a_packet_is_refused() -> None:
    packet = bytes(long_packet(PacketType.INITIAL, token=b"a token"))
    for length in range(1, len(packet)):
        with pytest.raises(HeaderError):
            parse(packet[:length])
        # The bytes are there, but not in this datagram.
        with pytest.raises(HeaderError):
            parse_long_header(packet, 0, length)


def test_version_negotiation() -> None:
    packet = encode_version_negotiation(b"to", b"from", (QUIC_V1, 0x1A2A3A4A), 0x2B)
    assert packet == bytes.fromhex("eb00000000") + b"\x02to\x04from" + bytes.fromhex("000000011a2a3a4a")
    parsed = parse(packet)
    assert parsed.type is PacketType.VERSION_NEGOTIATION
    assert parsed.supported_versions == (QUIC_V1, 0x1A2A3A4A)
    assert (parsed.dcid, parsed.scid, parsed.packet_end) == (b"to", b"from", len(packet))


def test_version_negotiation_keeps_long_connection_ids() -> None:
    parsed = parse(encode_version_negotiation(b"d" * 255, b"s" * 255, [QUIC_V2], 0))
    assert (parsed.dcid, parsed.scid) == (b"d" * 255, b"s" * 255)


@pytest.mark.parametrize("versions", ["", "000000", "0000000100"])
def test_bad_version_list(versions: str) -> None:
    with pytest.raises(HeaderError):
        parse(bytes.fromhex("80000000000000" + versions))


def test_retry_of_rfc_9001_a4() -> None:
    packet = bytes.fromhex("ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba")
    parsed = parse(packet)
    scid = bytes.fromhex("f067a5502a4262b5")
    assert (parsed.type, parsed.dcid, parsed.scid) == (PacketType.RETRY, b"", scid)
    assert parsed.token == b"token"
    assert parsed.integrity_tag == bytes.fromhex("04a265ba2eff4d829058fb3f0f2496ba")
    without_tag = encode_retry(VERSIONS[QUIC_V1], b"", scid, b"token", 0xFF)
    assert without_tag == packet[:-16]
    assert retry_pseudo_packet(DCID, without_tag) == b"\x08" + DCID + packet[:-16]


def test_retry_without_a_token_is_refused() -> None:
    packet = encode_retry(VERSIONS[QUIC_V1], b"", b"s", b"", 0) + bytes(16)
    with pytest.raises(HeaderError):
        parse(packet)
    assert parse(packet[:-16] + b"t" + bytes(16)).token == b"t"


def test_short_header() -> None:
    out = bytearray()
    append_short_header(out, b"dcid", 0x12345678, 3, key_phase=0, spin=0)
    assert out == b"\x42dcid\x34\x56\x78"
    out = bytearray()
    append_short_header(out, b"", 0x12345678, 4, key_phase=1, spin=1)
    assert out == b"\x67\x12\x34\x56\x78"


def test_length_field_holds_up_to_16383() -> None:
    out = bytearray(2)
    finish_long_header(out, 0, 2 + 16_383)
    assert out == b"\x7f\xff"
    for packet_end in (2, 2 + 16_384):
        with pytest.raises(ValueError, match="Length"):
            finish_long_header(out, 0, packet_end)
