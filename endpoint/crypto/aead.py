"""The cipher suites QUIC can use, their usage limits, and nonces (RFC 9001 §5.3, §6.6)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import TypeAlias

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from endpoint.batch import MAX_SEGMENTS

Aead: TypeAlias = AESGCM | ChaCha20Poly1305

NONCE_LENGTH = 12


class HeaderProtectionKind(IntEnum):
    """The two header protection algorithms of RFC 9001 §5.4."""

    AES = 0
    CHACHA20 = 1


@dataclass(frozen=True, slots=True)
class CipherSuite:
    """One TLS 1.3 cipher suite as packet protection sees it.

    `key_length` is of the AEAD key and of the header protection key, which are equally long. The limits
    count packets: how many may be sealed with one key, and how many may fail to open in one connection.
    """

    number: int
    name: str
    hash_name: str
    key_length: int
    aead: Callable[[bytes], Aead]
    header_protection: HeaderProtectionKind
    confidentiality_limit: int
    integrity_limit: int


AES_128_GCM_SHA256 = CipherSuite(
    number=0x1301,
    name="TLS_AES_128_GCM_SHA256",
    hash_name="sha256",
    key_length=16,
    aead=AESGCM,
    header_protection=HeaderProtectionKind.AES,
    confidentiality_limit=1 << 23,
    integrity_limit=1 << 52,
)
AES_256_GCM_SHA384 = CipherSuite(
    number=0x1302,
    name="TLS_AES_256_GCM_SHA384",
    hash_name="sha384",
    key_length=32,
    aead=AESGCM,
    header_protection=HeaderProtectionKind.AES,
    confidentiality_limit=1 << 23,
    integrity_limit=1 << 52,
)
CHACHA20_POLY1305_SHA256 = CipherSuite(
    number=0x1303,
    name="TLS_CHACHA20_POLY1305_SHA256",
    hash_name="sha256",
    key_length=32,
    aead=ChaCha20Poly1305,
    header_protection=HeaderProtectionKind.CHACHA20,
    # RFC 9001 §6.6: above the number of packets there can be, so it never acts.
    confidentiality_limit=1 << 62,
    integrity_limit=1 << 36,
)

CIPHER_SUITES: Mapping[int, CipherSuite] = {
    suite.number: suite for suite in (AES_128_GCM_SHA256, AES_256_GCM_SHA384, CHACHA20_POLY1305_SHA256)
}

# A nonce is the IV XOR the packet number (RFC 9001 §5.3). For n packets all nonces are computed at once in
# one integer of n lanes, a lane as wide as a nonce and the first packet in the highest: _ONES[n] repeats
# what it is multiplied with in every lane, _RAMP[n] counts 0, 1, 2 ... along the lanes. A packet number has
# 62 bits, so no lane carries into the next.
_LANE_BITS = 8 * NONCE_LENGTH
_ONES = [sum(1 << _LANE_BITS * lane for lane in range(n)) for n in range(MAX_SEGMENTS + 1)]
_RAMP = [sum((n - 1 - lane) << _LANE_BITS * lane for lane in range(n)) for n in range(MAX_SEGMENTS + 1)]
_SPLIT = [Struct(f"{NONCE_LENGTH}s" * n) for n in range(MAX_SEGMENTS + 1)]
_JOIN_NUMBERS = [Struct(">" + "4xQ" * n) for n in range(MAX_SEGMENTS + 1)]


def nonce(iv: int, pn: int) -> bytes:
    """The nonce of one packet; `iv` is the IV as a big-endian integer."""
    return (iv ^ pn).to_bytes(NONCE_LENGTH, "big")


def nonces(iv: int, packet_numbers: Sequence[int]) -> tuple[bytes, ...]:
    """The nonces of up to `MAX_SEGMENTS` packets, in order. Quickest where the numbers are a `range`."""
    n = len(packet_numbers)
    if isinstance(packet_numbers, range) and packet_numbers.step == 1:
        lanes = packet_numbers.start * _ONES[n] + _RAMP[n]
    else:
        lanes = int.from_bytes(_JOIN_NUMBERS[n].pack(*packet_numbers), "big")
    return _SPLIT[n].unpack((lanes ^ iv * _ONES[n]).to_bytes(NONCE_LENGTH * n, "big"))
