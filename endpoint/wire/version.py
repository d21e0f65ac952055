"""What differs between the QUIC versions we speak: salts, labels, Retry keys, long header type bits."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

QUIC_V1 = 0x00000001
QUIC_V2 = 0x6B3343CF
# The Version field of a Version Negotiation packet (RFC 8999 §6).
VERSION_NEGOTIATION = 0x00000000


class PacketType(IntEnum):
    """The kinds of packets of RFC 9000 §17. The values are ours: the wire's differ by version."""

    INITIAL = 0
    ZERO_RTT = 1
    HANDSHAKE = 2
    RETRY = 3
    VERSION_NEGOTIATION = 4
    ONE_RTT = 5


@dataclass(frozen=True, slots=True)
class VersionParameters:
    """Everything that is bound to one version number.

    `long_packet_types[bits]` is the type that the two bits 0x30 of the first byte stand for;
    `first_bytes[type]` is the first byte with form bit, fixed bit and type set and the rest zero.
    The labels are those of HKDF-Expand-Label without the "tls13 " that TLS puts in front.
    """

    version: int
    initial_salt: bytes
    key_label: str
    iv_label: str
    hp_label: str
    ku_label: str
    retry_key: bytes
    retry_nonce: bytes
    long_packet_types: tuple[PacketType, PacketType, PacketType, PacketType]
    first_bytes: Mapping[PacketType, int]


def _first_bytes(types: tuple[PacketType, ...]) -> Mapping[PacketType, int]:
    return {packet_type: 0xC0 | bits << 4 for bits, packet_type in enumerate(types)}


# RFC 9000 §17.2 (types) and RFC 9001 §5.1, §5.2, §5.8.
_V1_TYPES = (PacketType.INITIAL, PacketType.ZERO_RTT, PacketType.HANDSHAKE, PacketType.RETRY)
_V1 = VersionParameters(
    version=QUIC_V1,
    initial_salt=bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"),
    key_label="quic key",
    iv_label="quic iv",
    hp_label="quic hp",
    ku_label="quic ku",
    retry_key=bytes.fromhex("be0c690b9f66575a1d766b54e368c84e"),
    retry_nonce=bytes.fromhex("461599d35d632bf2239825bb"),
    long_packet_types=_V1_TYPES,
    first_bytes=_first_bytes(_V1_TYPES),
)

# RFC 9369 §3.2 (types) and §3.3.
_V2_TYPES = (PacketType.RETRY, PacketType.INITIAL, PacketType.ZERO_RTT, PacketType.HANDSHAKE)
_V2 = VersionParameters(
    version=QUIC_V2,
    initial_salt=bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"),
    key_label="quicv2 key",
    iv_label="quicv2 iv",
    hp_label="quicv2 hp",
    ku_label="quicv2 ku",
    retry_key=bytes.fromhex("8fb4b01b56ac48e260fbcbcead7ccc92"),
    retry_nonce=bytes.fromhex("d86969bc2d7c6d9990efb04a"),
    long_packet_types=_V2_TYPES,
    first_bytes=_first_bytes(_V2_TYPES),
)

VERSIONS: Mapping[int, VersionParameters] = {QUIC_V1: _V1, QUIC_V2: _V2}


def first_flight_parameters(version: int) -> VersionParameters:
    """The parameters to begin a connection with.

    Nobody speaks a reserved version, so any shape does for the packets that are to earn a Version
    Negotiation packet: that of version 1. KeyError for a version that we don't know.
    """
    return replace(_V1, version=version) if is_reserved_version(version) else VERSIONS[version]


def is_reserved_version(version: int) -> bool:
    """Whether the version follows 0x?a?a?a?a, which no one will ever speak (RFC 9000 §15)."""
    return version & 0x0F0F0F0F == 0x0A0A0A0A
