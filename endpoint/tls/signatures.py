"""Signature schemes (RFC 9846 §4.2.3) and the CertificateVerify signature (§4.4.3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from endpoint.errors import AlertDescription, AlertError

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

ECDSA_SECP256R1_SHA256 = 0x0403
ECDSA_SECP384R1_SHA384 = 0x0503
ECDSA_SECP521R1_SHA512 = 0x0603
RSA_PSS_RSAE_SHA256 = 0x0804
RSA_PSS_RSAE_SHA384 = 0x0805
RSA_PSS_RSAE_SHA512 = 0x0806
ED25519 = 0x0807
RSA_PKCS1_SHA256 = 0x0401
RSA_PKCS1_SHA384 = 0x0501
RSA_PKCS1_SHA512 = 0x0601


@dataclass(frozen=True, slots=True)
class _Ecdsa:
    curve_name: str
    algorithm: ec.ECDSA


@dataclass(frozen=True, slots=True)
class _RsaPss:
    digest: hashes.HashAlgorithm
    padding: padding.PSS
    min_key_size: int  # bits: below, the encoded message does not fit (RFC 8017 §9.1.1)


def _rsa_pss(digest: hashes.HashAlgorithm) -> _RsaPss:
    # The salt is as long as the digest (RFC 9846 §4.2.3).
    pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
    return _RsaPss(digest, pss, 8 * (2 * digest.digest_size + 2))


# Those that may sign a handshake, most preferred first. None stands for Ed25519, which has no parameters.
_HANDSHAKE_SCHEMES: dict[int, _Ecdsa | _RsaPss | None] = {
    ECDSA_SECP256R1_SHA256: _Ecdsa("secp256r1", ec.ECDSA(hashes.SHA256())),
    ED25519: None,
    ECDSA_SECP384R1_SHA384: _Ecdsa("secp384r1", ec.ECDSA(hashes.SHA384())),
    ECDSA_SECP521R1_SHA512: _Ecdsa("secp521r1", ec.ECDSA(hashes.SHA512())),
    RSA_PSS_RSAE_SHA256: _rsa_pss(hashes.SHA256()),
    RSA_PSS_RSAE_SHA384: _rsa_pss(hashes.SHA384()),
    RSA_PSS_RSAE_SHA512: _rsa_pss(hashes.SHA512()),
}

# What goes into signature_algorithms. PKCS #1 v1.5 is for the signatures in certificates only.
SIGNATURE_SCHEMES: tuple[int, ...] = (
    *_HANDSHAKE_SCHEMES,
    RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512,
)

_SERVER_PREFIX = b" " * 64 + b"TLS 1.3, server CertificateVerify\0"
_CLIENT_PREFIX = b" " * 64 + b"TLS 1.3, client CertificateVerify\0"


def signed_content(transcript_hash: bytes, *, by_server: bool) -> bytes:
    """What a CertificateVerify signs (RFC 9846 §4.4.3)."""
    return (_SERVER_PREFIX if by_server else _CLIENT_PREFIX) + transcript_hash


def choose_scheme(key: PrivateKey, offered: Sequence[int]) -> int | None:
    """Our most preferred scheme that `key` can sign with and the peer has offered."""
    for scheme, parameters in _HANDSHAKE_SCHEMES.items():
        if scheme in offered and _fits(key, parameters):
            return scheme
    return None


def sign(key: PrivateKey, scheme: int, content: bytes) -> bytes:
    """A signature with a scheme that `choose_scheme` gave for the key."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(content)
    parameters = _HANDSHAKE_SCHEMES[scheme]
    if isinstance(key, rsa.RSAPrivateKey):
        assert isinstance(parameters, _RsaPss)
        return key.sign(content, parameters.padding, parameters.digest)
    assert isinstance(parameters, _Ecdsa)
    return key.sign(content, parameters.algorithm)


def verify(key: CertificatePublicKeyTypes, scheme: int, signature: bytes, content: bytes) -> None:
    """Check the signature of a CertificateVerify.

    Raises AlertError: illegal_parameter for a scheme that we did not offer for handshakes or that is not
    the key's, decrypt_error for a wrong signature.
    """
    if scheme not in _HANDSHAKE_SCHEMES:
        raise AlertError(AlertDescription.ILLEGAL_PARAMETER, f"signature scheme 0x{scheme:04x} not offered")
    parameters = _HANDSHAKE_SCHEMES[scheme]
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(parameters, _Ecdsa):
            if key.curve.name == parameters.curve_name:
                key.verify(signature, content, parameters.algorithm)
                return
        elif isinstance(key, rsa.RSAPublicKey) and isinstance(parameters, _RsaPss):
            if key.key_size >= parameters.min_key_size:
                key.verify(signature, content, parameters.padding, parameters.digest)
                return
        elif isinstance(key, ed25519.Ed25519PublicKey) and parameters is None:
            key.verify(signature, content)
            return
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        raise AlertError(AlertDescription.DECRYPT_ERROR, "wrong signature in CertificateVerify") from None
    raise AlertError(
        AlertDescription.ILLEGAL_PARAMETER, f"signature scheme 0x{scheme:04x} does not fit the certificate"
    )


def key_matches(key: PrivateKey, certificate: x509.Certificate) -> bool:
    """Whether the private key belongs to the certificate."""
    return key.public_key() == certificate.public_key()


def _fits(key: PrivateKey, parameters: _Ecdsa | _RsaPss | None) -> bool:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return isinstance(parameters, _Ecdsa) and key.curve.name == parameters.curve_name
    if isinstance(key, rsa.RSAPrivateKey):
        return isinstance(parameters, _RsaPss) and key.key_size >= parameters.min_key_size
    return parameters is None
