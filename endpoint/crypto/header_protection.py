"""Masks for the protected bits of packet headers (RFC 9001 §5.4).

A mask is 16 bytes of which RFC 9001 uses five: mask[0] for the first byte, mask[1:5] for the packet number.
The masks of a batch are the concatenation of its masks, so `masks[k::16]` is byte k of all of them.

The cipher contexts are made once per key: to make one costs twenty times as much as a mask.
"""

from collections.abc import Sequence
from typing import Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from endpoint.crypto.aead import CipherSuite, HeaderProtectionKind

MASK_LENGTH = 16
# What of the first byte is protected: reserved bits, packet number length, in short headers the key phase.
LONG_HEADER_BITS = 0x0F
SHORT_HEADER_BITS = 0x1F


class HeaderProtection(Protocol):
    """The header protection of one direction; keys of one direction and level share it (RFC 9001 §6)."""

    def mask(self, sample: bytes | memoryview, /) -> bytes:
        """The mask of one sample of 16 bytes."""

    def masks(self, samples: Sequence[memoryview], /) -> bytes:
        """The masks of many samples, concatenated."""


class AesHeaderProtection:
    """RFC 9001 §5.4.3. ECB has no state between blocks, so one encryptor serves every sample."""

    __slots__ = ("mask",)

    def __init__(self, key: bytes) -> None:
        # ECB of one block is what RFC 9001 defines; nothing is encrypted for secrecy with it.
        cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305
        self.mask = cipher.encryptor().update

    def masks(self, samples: Sequence[memoryview], /) -> bytes:
        """The masks of many samples in one call, concatenated."""
        return self.mask(b"".join(samples))


class ChaCha20HeaderProtection:
    """RFC 9001 §5.4.4. The sample is counter and nonce, so every mask is a restart of the cipher."""

    __slots__ = ("_context",)

    def __init__(self, key: bytes) -> None:
        self._context = Cipher(algorithms.ChaCha20(key, bytes(16)), None).encryptor()

    def mask(self, sample: bytes | memoryview, /) -> bytes:
        """The mask of one sample of 16 bytes."""
        self._context.reset_nonce(bytes(sample))
        return self._context.update(bytes(MASK_LENGTH))

    def masks(self, samples: Sequence[memoryview], /) -> bytes:
        """The masks of many samples, concatenated."""
        return b"".join(map(self.mask, samples))


def make_header_protection(suite: CipherSuite, key: bytes) -> HeaderProtection:
    """The header protection that goes with the suite's AEAD."""
    if suite.header_protection is HeaderProtectionKind.AES:
        return AesHeaderProtection(key)
    return ChaCha20HeaderProtection(key)
