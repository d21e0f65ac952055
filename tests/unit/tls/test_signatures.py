"""Choice of scheme, signing and verifying."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from endpoint.errors import AlertDescription, AlertError
from endpoint.tls import signatures
from endpoint.tls.signatures import SIGNATURE_SCHEMES, choose_scheme, sign, signed_content, verify

SCHEMES = {
    "p256": [signatures.ECDSA_SECP256R1_SHA256],
    "p384": [signatures.ECDSA_SECP384R1_SHA384],
    "p521": [signatures.ECDSA_SECP521R1_SHA512],
    "ed25519": [signatures.ED25519],
    "rsa": [signatures.RSA_PSS_RSAE_SHA256, signatures.RSA_PSS_RSAE_SHA384, signatures.RSA_PSS_RSAE_SHA512],
}


@pytest.mark.parametrize("kind", SCHEMES)
def test_each_key_signs_with_its_own_schemes_only(pki: Any, kind: str) -> None:
    key = pki.keys[kind]
    for scheme in SIGNATURE_SCHEMES:
        expected = scheme if scheme in SCHEMES[kind] else None
        assert choose_scheme(key, (scheme,)) == expected
        if expected is not None:
            signature = sign(key, scheme, b"content")
            verify(key.public_key(), scheme, signature, b"content")
            for bad in (b"", signature[:-1], signature + b"\0", bytes(len(signature))):
                with pytest.raises(AlertError) as caught:
                    verify(key.public_key(), scheme, bad, b"content")
                assert caught.value.alert == AlertDescription.DECRYPT_ERROR
            with pytest.raises(AlertError) as caught:
                verify(key.public_key(), scheme, signature, b"other content")
            assert caught.value.alert == AlertDescription.DECRYPT_ERROR
        else:
            with pytest.raises(AlertError) as caught:
                verify(key.public_key(), scheme, b"signature", b"content")
            assert caught.value.alert == AlertDescription.ILLEGAL_PARAMETER


def test_our_order_decides(pki: Any) -> None:
    offered = (signatures.RSA_PSS_RSAE_SHA512, signatures.RSA_PSS_RSAE_SHA256)
    assert choose_scheme(pki.keys["rsa"], offered) == signatures.RSA_PSS_RSAE_SHA256
    assert choose_scheme(pki.keys["rsa"], ()) is None


def test_short_rsa_key_can_not_sign_with_a_long_digest() -> None:
    key = rsa.generate_private_key(65537, 1024)
    assert choose_scheme(key, (signatures.RSA_PSS_RSAE_SHA512,)) is None
    assert choose_scheme(key, (signatures.RSA_PSS_RSAE_SHA384,)) == signatures.RSA_PSS_RSAE_SHA384
    with pytest.raises(AlertError) as caught:
        verify(key.public_key(), signatures.RSA_PSS_RSAE_SHA512, bytes(128), b"")
    assert caught.value.alert == AlertDescription.ILLEGAL_PARAMETER


def test_signed_content_is_the_example_of_the_rfc() -> None:
    assert signed_content(b"\1" * 32, by_server=True) == bytes.fromhex(
        "20" * 64 + "544c5320312e332c207365727665722043657274696669636174655665726966" + "7900" + "01" * 32
    )
    assert signed_content(b"", by_server=False) == b" " * 64 + b"TLS 1.3, client CertificateVerify\0"
