"""The constants of RFC 9000, 9001 and 9369, checked against how the RFCs say they are derived."""

import hashlib

import pytest

from endpoint.hkdf import hkdf_expand_label
from endpoint.wire.version import QUIC_V1, QUIC_V2, VERSIONS, PacketType, is_reserved_version


def test_version_2_number_and_salt_are_hashes() -> None:
    assert hashlib.sha256(b"QUICv2 version number").digest()[:4] == QUIC_V2.to_bytes(4, "big")
    assert hashlib.sha256(b"QUICv2 salt").digest()[:20] == VERSIONS[QUIC_V2].initial_salt


@pytest.mark.parametrize(
    ("version", "secret"),
    [
        (QUIC_V1, "d9c9943e6101fd200021506bcc02814c73030f25c79d71ce876eca876e6fca8e"),
        (QUIC_V2, "c4dd2484d681aefa4ff4d69c2c20299984a765a5d3c31982f38fc74162155e9f"),
    ],
)
def test_retry_key_and_nonce_come_from_the_secret_under_the_labels(version: int, secret: str) -> None:
    params = VERSIONS[version]
    material = bytes.fromhex(secret)
    assert hkdf_expand_label("sha256", material, params.key_label, b"", 16) == params.retry_key
    assert hkdf_expand_label("sha256", material, params.iv_label, b"", 12) == params.retry_nonce


@pytest.mark.parametrize(
    ("version", "bits"),
    [
        (QUIC_V1, {"INITIAL": 0, "ZERO_RTT": 1, "HANDSHAKE": 2, "RETRY": 3}),
        (QUIC_V2, {"INITIAL": 1, "ZERO_RTT": 2, "HANDSHAKE": 3, "RETRY": 0}),
    ],
)
def test_type_bits(version: int, bits: dict[str, int]) -> None:
    params = VERSIONS[version]
    assert params.version == version
    for name, value in bits.items():
        assert params.long_packet_types[value] is PacketType[name]
        assert params.first_bytes[PacketType[name]] == 0xC0 + 0x10 * value


@pytest.mark.parametrize("version", [0x0A0A0A0A, 0x1A2A3A4A, 0xFAFAFAFA])
def test_reserved(version: int) -> None:
    assert is_reserved_version(version)


@pytest.mark.parametrize("version", [0, QUIC_V1, QUIC_V2, 0x0A0A0A0B, 0xA0A0A0A0, 0x57414954])
def test_not_reserved(version: int) -> None:
    assert not is_reserved_version(version)
