"""HKDF and the TLS 1.3 labels on it: the one key derivation that TLS and packet protection share.

RFC 5869 for extract and expand, RFC 9846 §7.1 for HKDF-Expand-Label. `hash_name` is a name of hashlib,
in practice "sha256" or "sha384".
"""

import hashlib
import hmac
from functools import lru_cache

_LABEL_PREFIX = b"tls13 "


def hkdf_extract(hash_name: str, salt: bytes, ikm: bytes) -> bytes:
    """The pseudorandom key (one hash length of bytes) of `ikm`. An empty salt is a hash length of zeros."""
    # HMAC pads its key with zeros, so an empty salt and one of zeros give the same (RFC 5869 §2.2).
    return hmac.digest(salt, ikm, hash_name)


def hkdf_expand(hash_name: str, secret: bytes, info: bytes, length: int) -> bytes:
    """`length` bytes of output keying material. Raises ValueError above 255 hash lengths (RFC 5869 §2.3)."""
    block = hmac.digest(secret, info + b"\x01", hash_name)
    if length <= len(block):  # every use in TLS 1.3 and QUIC except long exporters
        return block[:length]
    if length > 255 * len(block):
        raise ValueError(f"HKDF can't expand to {length} bytes with {hash_name}")
    output = bytearray(block)
    counter = 2
    while len(output) < length:
        block = hmac.digest(secret, block + info + bytes((counter,)), hash_name)
        output += block
        counter += 1
    return bytes(output[:length])


def hkdf_expand_label(hash_name: str, secret: bytes, label: str, context: bytes, length: int) -> bytes:
    """HKDF-Expand-Label (RFC 9846 §7.1). `label` is without its "tls13 " prefix.

    Raises ValueError when label or context exceed their one-byte length, or `length` what HKDF gives.
    """
    info = _hkdf_label(label, length) + bytes((len(context),)) + context
    return hkdf_expand(hash_name, secret, info, length)


@lru_cache(128)
def _hkdf_label(label: str, length: int) -> bytes:
    """An HkdfLabel up to its context: the same few in every handshake."""
    full_label = _LABEL_PREFIX + label.encode("ascii")
    return length.to_bytes(2, "big") + bytes((len(full_label),)) + full_label


def hash_length(hash_name: str) -> int:
    """Bytes of a digest."""
    return hashlib.new(hash_name).digest_size
