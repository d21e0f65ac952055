"""RFC 5869 appendix A, and the labels of RFC 9001 appendix A.1."""

import hashlib
import hmac

import pytest

from endpoint.hkdf import hash_length, hkdf_expand, hkdf_expand_label, hkdf_extract


def test_rfc5869_case_1_basic() -> None:
    prk = hkdf_extract("sha256", bytes(range(13)), b"\x0b" * 22)
    assert prk.hex() == "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"
    okm = hkdf_expand("sha256", prk, bytes(range(0xF0, 0xFA)), 42)
    assert okm.hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )


def test_rfc5869_case_3_empty_salt_and_info() -> None:
    prk = hkdf_extract("sha256", b"", b"\x0b" * 22)
    assert prk.hex() == "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04"
    assert prk == hkdf_extract("sha256", bytes(32), b"\x0b" * 22)
    okm = hkdf_expand("sha256", prk, b"", 42)
    assert okm.hex() == (
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )


def test_expansion_chains_its_blocks() -> None:
    secret = b"k" * 48
    first = hmac.digest(secret, b"info\x01", "sha384")
    second = hmac.digest(secret, first + b"info\x02", "sha384")
    third = hmac.digest(secret, second + b"info\x03", "sha384")
    assert hkdf_expand("sha384", secret, b"info", 100) == (first + second + third)[:100]


def test_expand_label_rfc9001_a1_client_initial_secret() -> None:
    initial = bytes.fromhex("7db5df06e7a69e432496adedb00851923595221596ae2ae9fb8115c1e9ed0a44")
    secret = hkdf_expand_label("sha256", initial, "client in", b"", 32)
    assert secret.hex() == "c00cf151ca5be075ed0ebfb5c80323c42d6b7db67881289af4008f1f6c357aea"


def test_expand_label_context_is_part_of_the_info() -> None:
    secret = bytes(32)
    context = hashlib.sha256(b"transcript").digest()
    info = b"\x00\x20" + b"\x0dtls13 derived" + b"\x20" + context
    expected = hmac.digest(secret, info + b"\x01", "sha256")
    assert hkdf_expand_label("sha256", secret, "derived", context, 32) == expected


def test_limits_of_the_encoding() -> None:
    with pytest.raises(ValueError, match="expand"):
        hkdf_expand("sha256", bytes(32), b"", 255 * 32 + 1)
    assert len(hkdf_expand("sha256", bytes(32), b"", 255 * 32)) == 255 * 32
    with pytest.raises(ValueError, match="bytes must be in range"):
        hkdf_expand_label("sha256", bytes(32), "x", bytes(256), 32)


def test_hash_length() -> None:
    assert (hash_length("sha256"), hash_length("sha384")) == (32, 48)
