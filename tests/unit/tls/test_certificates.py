"""Loading keys and chains, and names."""

import random
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from endpoint.errors import AlertDescription, AlertError
from endpoint.tls.certificates import (
    check_server_name,
    load_certificates,
    load_private_key,
    make_self_signed,
    parse_chain,
)
from endpoint.tls.signatures import key_matches

# The object identifier of prime256v1 in a block of its own, as `openssl ecparam -genkey` writes it.
EC_PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"


def pem(key: Any, form: PrivateFormat) -> bytes:
    encoded: bytes = key.private_bytes(Encoding.PEM, form, NoEncryption())
    return encoded


@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "rsa", "ed25519"])
def test_pkcs8_keys(pki: Any, kind: str) -> None:
    key = load_private_key(pem(pki.keys[kind], PrivateFormat.PKCS8))
    assert key.public_key() == pki.keys[kind].public_key()


@pytest.mark.parametrize("kind", ["p256", "rsa"])
def test_traditional_keys(pki: Any, kind: str) -> None:
    key = load_private_key(pem(pki.keys[kind], PrivateFormat.TraditionalOpenSSL))
    assert key.public_key() == pki.keys[kind].public_key()


def test_sec1_key_behind_its_parameters(pki: Any) -> None:
    key = load_private_key(EC_PARAMETERS + pem(pki.keys["p256"], PrivateFormat.TraditionalOpenSSL))
    assert key.public_key() == pki.keys["p256"].public_key()


def test_keys_that_can_not_be_used(pki: Any) -> None:
    encrypted = pki.keys["p256"].private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    no_signer = pem(x25519.X25519PrivateKey.generate(), PrivateFormat.PKCS8)
    for bad in (b"", b"no PEM", encrypted, no_signer, EC_PARAMETERS):
        with pytest.raises(ValueError):  # noqa: PT011 - the library's texts
            load_private_key(bad)


def test_certificates_keep_their_order(pki: Any) -> None:
    chain = [pki.root.issue(name, pki.keys["p256"]) for name in ("leaf", "first", "second")]
    text = b"some text\n" + b"".join(each.public_bytes(Encoding.PEM) for each in chain)
    assert load_certificates(text) == tuple(chain)
    with pytest.raises(ValueError):  # noqa: PT011 - the library's text
        load_certificates(b"nothing")


def test_self_signed() -> None:
    certificate, key = make_self_signed(["server." + "x" * 100], 1_790_000_000.0, lifetime_days=3)
    assert key_matches(key, certificate)
    assert not key_matches(ec.generate_private_key(ec.SECP256R1()), certificate)
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).total_seconds() == 73 * 3600


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("server", "server", True),
        ("server", "SERVER", True),
        ("SerVer", "server", True),
        ("server", "server.", True),
        ("server", "server4", False),
        ("server", "www.server", False),
        ("*.example.org", "www.example.org", True),
        ("*.example.org", "WWW.Example.ORG", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "a.b.example.org", False),
        ("*.example.org", ".example.org", False),
        ("w*.example.org", "www.example.org", False),
        ("*.org", "example.org", False),
        ("*", "server", False),
        ("127.0.0.1", "127.0.0.1", False),  # a DNS name is no address
    ],
)
def test_names(pki: Any, pattern: str, name: str, matches: bool) -> None:
    leaf = pki.root.issue("", pki.keys["p256"], names=["other", pattern])
    if matches:
        check_server_name(leaf, name)
        return
    with pytest.raises(AlertError) as caught:
        check_server_name(leaf, name)
    assert caught.value.alert == AlertDescription.BAD_CERTIFICATE
    assert name in caught.value.reason


def test_common_name_does_not_count(pki: Any) -> None:
    with pytest.raises(AlertError, match="not for server"):
        check_server_name(pki.root.issue("server", pki.keys["p256"]), "server")


def test_malformed_alternative_name(pki: Any) -> None:
    broken = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x03\x82\x05a")
    leaf = pki.root.issue("", pki.keys["p256"], [(broken, False)])
    with pytest.raises(AlertError) as caught:
        check_server_name(leaf, "server")
    assert caught.value.alert == AlertDescription.BAD_CERTIFICATE


def test_leaf_with_an_unknown_kind_of_key(pki: Any) -> None:
    der = bytearray(pki.root.issue("", pki.keys["p256"]).public_bytes(Encoding.DER))
    curve = bytes.fromhex("06082a8648ce3d030107")
    position = der.index(curve)
    der[position + len(curve) - 1] = 0x63  # a curve that nobody has
    with pytest.raises(AlertError) as caught:
        parse_chain([bytes(der)])
    assert caught.value.alert == AlertDescription.UNSUPPORTED_CERTIFICATE


def test_garbage_is_no_certificate(pki: Any) -> None:
    der = pki.root.issue("", pki.keys["p256"]).public_bytes(Encoding.DER)
    for bad in (b"", der[:-1], der + b"\0", random.Random(1).randbytes(400)):
        with pytest.raises(AlertError) as caught:
            parse_chain([der, bad])
        assert caught.value.alert == AlertDescription.BAD_CERTIFICATE
