"""The cipher suites that QUIC can use (RFC 9846 appendix B.4, RFC 9001 §5.3)."""

from dataclasses import dataclass

TLS_AES_128_GCM_SHA256 = 0x1301
TLS_AES_256_GCM_SHA384 = 0x1302
TLS_CHACHA20_POLY1305_SHA256 = 0x1303


@dataclass(frozen=True, slots=True)
class CipherSuite:
    """What the handshake needs to know of a suite: the hash of transcript and HKDF, by its hashlib name."""

    id: int
    name: str
    hash_name: str
    hash_length: int


CIPHER_SUITES: dict[int, CipherSuite] = {
    suite.id: suite
    for suite in (
        CipherSuite(TLS_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256", "sha256", 32),
        CipherSuite(TLS_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384", "sha384", 48),
        CipherSuite(TLS_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256", "sha256", 32),
    )
}
