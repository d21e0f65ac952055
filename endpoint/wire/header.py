"""Packet headers (RFC 9000 §17, RFC 8999): what can be read before, and written without, any key."""

from collections.abc import Sequence
from dataclasses import dataclass

from endpoint.errors import InterquicError, TransportError
from endpoint.wire.varint import Buffer, append_varint, read_varint
from endpoint.wire.version import VERSION_NEGOTIATION, VERSIONS, PacketType, VersionParameters

__all__ = [
    "FIXED_BIT",
    "KEY_PHASE_BIT",
    "LONG_HEADER_FORM",
    "LONG_RESERVED_BITS",
    "MAX_CID_LENGTH",
    "PN_LENGTH_MASK",
    "RETRY_INTEGRITY_TAG_LENGTH",
    "SHORT_RESERVED_BITS",
    "SPIN_BIT",
    "HeaderError",
    "LongHeader",
    "PacketType",
    "append_long_header",
    "append_short_header",
    "encode_retry",
    "encode_version_negotiation",
    "finish_long_header",
    "parse_long_header",
    "retry_pseudo_packet",
]

# Bits of the first byte.
LONG_HEADER_FORM = 0x80
FIXED_BIT = 0x40
LONG_RESERVED_BITS = 0x0C
SHORT_RESERVED_BITS = 0x18
SPIN_BIT = 0x20
KEY_PHASE_BIT = 0x04
PN_LENGTH_MASK = 0x03

# RFC 9000 §17.2, for versions 1 and 2; other versions may go up to 255.
MAX_CID_LENGTH = 20
RETRY_INTEGRITY_TAG_LENGTH = 16

# Largest value of the two-byte Length field that the writers reserve.
_MAX_LENGTH_FIELD = 0x3FFF


class HeaderError(InterquicError):
    """A header that can't be read. The packet is dropped; it never closes a connection."""


@dataclass(slots=True)
class LongHeader:
    """The unprotected part of a packet with a long header.

    `type` is None where the version is one we don't know; then only the connection IDs are valid.
    `token` is the token of an Initial or of a Retry packet, else empty.
    `pn_offset` is the position of the packet number in the buffer, 0 for packets without one.
    `packet_end` is where the packet ends by its Length field: the next coalesced packet begins there.
    Packets without a Length field take all the rest of the datagram.
    `supported_versions` belongs to Version Negotiation, `integrity_tag` to Retry; else empty.
    """

    first_byte: int
    version: int
    type: PacketType | None
    dcid: bytes
    scid: bytes
    token: bytes
    pn_offset: int
    packet_end: int
    supported_versions: tuple[int, ...] = ()
    integrity_tag: bytes = b""

    @property
    def fixed_bit(self) -> bool:
        """False only in a packet of a peer we told that we don't mind (RFC 9287), else invalid."""
        return self.first_byte & FIXED_BIT != 0


def parse_long_header(buf: Buffer, start: int, end: int) -> LongHeader:
    """Read the long header of the packet at `start` in a datagram that ends at `end`.

    The first byte must have LONG_HEADER_FORM set. Raises HeaderError. The fixed bit is not judged.
    """
    if end - start < 7:
        raise HeaderError("datagram too short for a long header")
    first_byte = buf[start]
    version = int.from_bytes(buf[start + 1 : start + 5], "big")
    dcid, pos = _read_cid(buf, start + 5, end)
    scid, pos = _read_cid(buf, pos, end)
    if version == VERSION_NEGOTIATION:
        versions = _read_versions(buf, pos, end)
        return LongHeader(
            first_byte, version, PacketType.VERSION_NEGOTIATION, dcid, scid, b"", 0, end, versions
        )
    params = VERSIONS.get(version)
    if params is None:
        return LongHeader(first_byte, version, None, dcid, scid, b"", 0, end)
    # RFC 9000 §17.2: only versions we know limit the length; others need a Version Negotiation packet.
    if len(dcid) > MAX_CID_LENGTH or len(scid) > MAX_CID_LENGTH:
        raise HeaderError("connection ID of more than 20 bytes")
    packet_type = params.long_packet_types[first_byte >> 4 & 0x03]
    if packet_type is PacketType.RETRY:
        tag_start = end - RETRY_INTEGRITY_TAG_LENGTH
        # RFC 9000 §17.2.5.2: a client discards a Retry packet with an empty token.
        if tag_start <= pos:
            raise HeaderError("Retry packet without a token")
        token, tag = bytes(buf[pos:tag_start]), bytes(buf[tag_start:end])
        return LongHeader(first_byte, version, packet_type, dcid, scid, token, 0, end, (), tag)
    token = b""
    if packet_type is PacketType.INITIAL:
        token, pos = _read_token(buf, pos, end)
    length, pn_offset = _read_header_varint(buf, pos, end)
    packet_end = pn_offset + length
    if packet_end > end:
        raise HeaderError("Length field exceeds the datagram")
    return LongHeader(first_byte, version, packet_type, dcid, scid, token, pn_offset, packet_end)


def _read_cid(buf: Buffer, pos: int, end: int) -> tuple[bytes, int]:
    if pos >= end:
        raise HeaderError("connection ID length is missing")
    after = pos + 1 + buf[pos]
    if after > end:
        raise HeaderError("truncated connection ID")
    return bytes(buf[pos + 1 : after]), after


def _read_versions(buf: Buffer, pos: int, end: int) -> tuple[int, ...]:
    # RFC 8999 §6: no version at all, or a truncated one, makes the packet void.
    if pos == end or (end - pos) % 4:
        raise HeaderError("bad version list")
    return tuple(int.from_bytes(buf[at : at + 4], "big") for at in range(pos, end, 4))


def _read_token(buf: Buffer, pos: int, end: int) -> tuple[bytes, int]:
    length, pos = _read_header_varint(buf, pos, end)
    if length > end - pos:
        raise HeaderError("truncated token")
    return bytes(buf[pos : pos + length]), pos + length


def _read_header_varint(buf: Buffer, pos: int, end: int) -> tuple[int, int]:
    try:
        return read_varint(buf, pos, end)
    except TransportError:
        raise HeaderError("truncated integer") from None


def append_long_header(
    out: bytearray,
    params: VersionParameters,
    packet_type: PacketType,
    dcid: bytes,
    scid: bytes,
    token: bytes,
    pn: int,
    pn_length: int,
) -> int:
    """Append the header of an Initial, 0-RTT or Handshake packet up to and with its packet number.

    `token` is written for Initial packets only. Returns the position of the two-byte Length field,
    which `finish_long_header` sets; the packet number follows it, the payload comes next.
    """
    out.append(params.first_bytes[packet_type] | (pn_length - 1))
    _append_version_and_cids(out, params.version, dcid, scid)
    if packet_type is PacketType.INITIAL:
        append_varint(out, len(token))
        out += token
    length_offset = len(out)
    out += b"\x00\x00"
    out += (pn & ((1 << 8 * pn_length) - 1)).to_bytes(pn_length, "big")
    return length_offset


def finish_long_header(out: bytearray, length_offset: int, packet_end: int) -> None:
    """Set the Length field at `length_offset` for a packet that ends at `packet_end`, tag included.

    Two bytes even where one would do: the length is not known yet when the field is reserved.
    Raises ValueError where two bytes do not suffice (over 16383).
    """
    length = packet_end - length_offset - 2
    if not 0 < length <= _MAX_LENGTH_FIELD:
        raise ValueError("packet does not fit its Length field")
    out[length_offset] = 0x40 | length >> 8
    out[length_offset + 1] = length & 0xFF


def append_short_header(
    out: bytearray,
    dcid: bytes,
    pn: int,
    pn_length: int,
    *,
    key_phase: int,
    spin: int,
    fixed_bit: int = FIXED_BIT,
) -> None:
    """Append the header of a 1-RTT packet with its packet number.

    `key_phase`, `spin`: 0 or 1. `fixed_bit`: FIXED_BIT, or 0 where the peer accepts that (RFC 9287).
    """
    out.append(fixed_bit | spin << 5 | key_phase << 2 | (pn_length - 1))
    out += dcid
    out += (pn & ((1 << 8 * pn_length) - 1)).to_bytes(pn_length, "big")


def encode_version_negotiation(
    dcid: bytes, scid: bytes, versions: Sequence[int], first_byte_random: int
) -> bytes:
    """A Version Negotiation packet (RFC 9000 §17.2.1), `dcid` being the client's Source Connection ID.

    `first_byte_random` (0..255) fills the unused bits; the fixed bit is set for those who multiplex.
    """
    out = bytearray((LONG_HEADER_FORM | FIXED_BIT | first_byte_random,))
    _append_version_and_cids(out, VERSION_NEGOTIATION, dcid, scid)
    for version in versions:
        out += version.to_bytes(4, "big")
    return bytes(out)


def encode_retry(
    params: VersionParameters, dcid: bytes, scid: bytes, token: bytes, first_byte_random: int
) -> bytes:
    """A Retry packet (RFC 9000 §17.2.5) up to its integrity tag, which goes at the end.

    The low four bits of `first_byte_random` fill the unused bits.
    """
    out = bytearray((params.first_bytes[PacketType.RETRY] | first_byte_random & 0x0F,))
    _append_version_and_cids(out, params.version, dcid, scid)
    out += token
    return bytes(out)


def retry_pseudo_packet(original_dcid: bytes, retry_without_tag: bytes) -> bytes:
    """What the Retry integrity tag is computed over (RFC 9001 §5.8)."""
    return bytes((len(original_dcid),)) + original_dcid + retry_without_tag


def _append_version_and_cids(out: bytearray, version: int, dcid: bytes, scid: bytes) -> None:
    out += version.to_bytes(4, "big")
    out.append(len(dcid))
    out += dcid
    out.append(len(scid))
    out += scid
