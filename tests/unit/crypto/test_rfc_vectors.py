"""RFC 9001 appendix A and RFC 9369 appendix A, every value of them, both ways."""

import json
from pathlib import Path
from typing import Any

import pytest

from endpoint.batch import TAG_LENGTH
from endpoint.crypto import aead
from endpoint.crypto.aead import CHACHA20_POLY1305_SHA256
from endpoint.crypto.initial import initial_keys
from endpoint.crypto.keys import PacketKeys
from endpoint.crypto.packet_protection import open_payload, seal, unprotect_header
from endpoint.crypto.retry import retry_integrity_tag, retry_tag_is_valid
from endpoint.hkdf import hkdf_expand_label, hkdf_extract
from endpoint.wire.version import QUIC_V1, QUIC_V2, VERSIONS, VersionParameters

HERE = Path(__file__).parent
VECTORS = {
    QUIC_V1: json.loads((HERE / "rfc9001_appendix_a.json").read_text()),
    QUIC_V2: json.loads((HERE / "rfc9369_appendix_a.json").read_text()),
}
# The payload of the client's Initial is padded to this length (A.2).
CLIENT_PAYLOAD_LENGTH = 1162

both_versions = pytest.mark.parametrize("number", [QUIC_V1, QUIC_V2])
both_sides = pytest.mark.parametrize("side", ["client", "server"])


def keys_of(number: int, side: str) -> PacketKeys:
    dcid = bytes.fromhex(VECTORS[number]["dcid"])
    send, _ = initial_keys(VERSIONS[number], dcid, is_client=side == "client")
    return send


def packet_of(vector: dict[str, Any], payload_length: int = 0) -> tuple[memoryview, int, int, int]:
    """The clear packet with room for a tag; packet number offset and length; end of the payload."""
    header, payload = bytes.fromhex(vector["header"]), bytes.fromhex(vector["payload"])
    payload = payload.ljust(payload_length, b"\0")
    pn_length = (header[0] & 0x03) + 1
    data = memoryview(bytearray(header + payload + bytes(TAG_LENGTH)))
    return data, len(header) - pn_length, pn_length, len(header) + len(payload)


@both_versions
@both_sides
def test_a1_secrets(number: int, side: str) -> None:
    version, vector = VERSIONS[number], VECTORS[number]
    initial_secret = hkdf_extract("sha256", version.initial_salt, bytes.fromhex(vector["dcid"]))
    assert initial_secret.hex() == vector["initial_secret"]
    secret = hkdf_expand_label("sha256", initial_secret, f"{side} in", b"", 32)
    assert secret.hex() == vector[side]["secret"]
    for label, name in ((version.key_label, "key"), (version.iv_label, "iv"), (version.hp_label, "hp")):
        length = len(vector[side][name]) // 2
        assert hkdf_expand_label("sha256", secret, label, b"", length).hex() == vector[side][name]
    assert keys_of(number, side).iv == int(vector[side]["iv"], 16)


@both_versions
@both_sides
def test_a2_a3_header_protection_mask(number: int, side: str) -> None:
    vector = VECTORS[number][side]
    mask = keys_of(number, side).header_protection.mask(bytes.fromhex(vector["sample"]))
    assert mask[:5].hex() == vector["mask"]


@both_versions
@both_sides
def test_a2_a3_seal_an_initial(number: int, side: str) -> None:
    vector = VECTORS[number][side]
    padded = CLIENT_PAYLOAD_LENGTH if side == "client" else 0
    data, pn_offset, pn_length, end = packet_of(vector, padded)
    keys = keys_of(number, side)
    seal(keys, data, 0, pn_offset, pn_length, end, vector["pn"])
    assert data.hex() == vector["packet"]
    assert keys.sealed == 1


@both_versions
@both_sides
def test_a2_a3_open_an_initial(number: int, side: str) -> None:
    vector = VECTORS[number][side]
    dcid = bytes.fromhex(VECTORS[number]["dcid"])
    _, receive = initial_keys(VERSIONS[number], dcid, is_client=side == "server")
    # Somewhere in a larger buffer, as a coalesced packet is.
    packet = bytes.fromhex(vector["packet"])
    data = memoryview(bytearray(b"before" + packet + b"after"))
    start, end = 6, 6 + len(packet)
    header = bytes.fromhex(vector["header"])
    pn_length = (header[0] & 0x03) + 1
    pn_offset = start + len(header) - pn_length
    unprotected = unprotect_header(receive, data, start, pn_offset, end, 0)
    assert unprotected == (header[0], vector["pn"], pn_length)
    assert open_payload(receive, data, start, pn_offset + pn_length, end, vector["pn"])
    payload = bytes.fromhex(vector["payload"])
    padding = bytes(end - TAG_LENGTH - (start + len(header)) - len(payload))
    assert data[start : end - TAG_LENGTH] == header + payload + padding
    assert bytes(data[:start]) + bytes(data[end:]) == b"beforeafter"


@both_versions
def test_a4_retry(number: int) -> None:
    version, vector = VERSIONS[number], VECTORS[number]
    dcid, packet = bytes.fromhex(vector["dcid"]), bytes.fromhex(vector["retry"])
    assert retry_integrity_tag(version, dcid, packet[:-TAG_LENGTH]) == packet[-TAG_LENGTH:]
    assert retry_tag_is_valid(version, dcid, packet)
    assert not retry_tag_is_valid(version, dcid[:-1], packet)
    assert not retry_tag_is_valid(version, dcid, packet[:-1] + bytes((packet[-1] ^ 1,)))
    assert not retry_tag_is_valid(version, dcid, b"\0" * 15)


@pytest.mark.parametrize("number", [QUIC_V1, QUIC_V2])
def test_retry_keys_follow_from_their_secret(number: int) -> None:
    # RFC 9001 §5.8 and RFC 9369 §3.3.3 tell where the two constants come from.
    secret = {
        QUIC_V1: "d9c9943e6101fd200021506bcc02814c73030f25c79d71ce876eca876e6fca8e",
        QUIC_V2: "c4dd2484d681aefa4ff4d69c2c20299984a765a5d3c31982f38fc74162155e9f",
    }[number]
    version = VERSIONS[number]
    key = hkdf_expand_label("sha256", bytes.fromhex(secret), version.key_label, b"", 16)
    nonce = hkdf_expand_label("sha256", bytes.fromhex(secret), version.iv_label, b"", 12)
    assert (version.retry_key, version.retry_nonce) == (key, nonce)


def chacha20_keys(version: VersionParameters, vector: dict[str, Any]) -> PacketKeys:
    return PacketKeys(CHACHA20_POLY1305_SHA256, bytes.fromhex(vector["secret"]), version)


@both_versions
def test_a5_chacha20_short_header(number: int) -> None:
    vector = VECTORS[number]["chacha20"]
    keys = chacha20_keys(VERSIONS[number], vector)
    assert keys.iv == int(vector["iv"], 16)
    assert aead.nonce(keys.iv, vector["pn"]).hex() == vector["nonce"]
    assert keys.header_protection.mask(bytes.fromhex(vector["sample"]))[:5].hex() == vector["mask"]

    data, pn_offset, pn_length, end = packet_of(vector)
    seal(keys, data, 0, pn_offset, pn_length, end, vector["pn"])
    assert data.hex() == vector["packet"]

    receive = chacha20_keys(VERSIONS[number], vector)
    assert unprotect_header(receive, data, 0, pn_offset, len(data), vector["pn"]) == (0x42, vector["pn"], 3)
    assert open_payload(receive, data, 0, pn_offset + pn_length, len(data), vector["pn"])
    assert data[:end].hex() == vector["header"] + vector["payload"]


@both_versions
def test_a5_key_update(number: int) -> None:
    version, vector = VERSIONS[number], VECTORS[number]["chacha20"]
    updated = chacha20_keys(version, vector).next_generation()
    # The same AEAD key and IV as keys made from the updated secret; the header protection is the old one.
    expected = PacketKeys(CHACHA20_POLY1305_SHA256, bytes.fromhex(vector["ku"]), version)
    assert updated.iv == expected.iv
    results = []
    for keys in (updated, expected):
        sealed = memoryview(bytearray(40))
        keys.encrypt_into(bytes(12), bytes(24), b"", sealed)
        results.append(sealed)
    assert results[0] == results[1]
    assert updated.header_protection.mask(bytes.fromhex(vector["sample"]))[:5].hex() == vector["mask"]
