"""Key exchange: both sides agree, and bad shares are refused."""

import random

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from endpoint.errors import AlertDescription, AlertError
from endpoint.tls.groups import (
    GROUPS,
    SECP256R1,
    SECP384R1,
    X25519,
    X25519MLKEM768,
    answer_key_share,
    generate_key_share,
)

# group: bytes of the client's share, the server's share, the secret
SIZES = {
    X25519: (32, 32, 32),
    SECP256R1: (65, 65, 32),
    SECP384R1: (97, 97, 48),
    X25519MLKEM768: (1184 + 32, 1088 + 32, 64),
}


@pytest.mark.parametrize("group", GROUPS)
def test_both_sides_agree(group: int) -> None:
    draw = random.Random(group).randbytes
    for _ in range(5):
        share = generate_key_share(group, draw)
        answer, secret = answer_key_share(group, share.public, draw)
        assert share.group == group
        assert (len(share.public), len(answer), len(secret)) == SIZES[group]
        assert share.shared_secret(answer) == secret


@pytest.mark.parametrize("group", GROUPS)
def test_shares_depend_on_the_random_function_alone(group: int) -> None:
    first, second, other = (
        generate_key_share(group, random.Random(seed).randbytes).public for seed in (1, 1, 2)
    )
    assert first == second
    assert first != other


@pytest.mark.parametrize("group", GROUPS)
def test_shares_of_a_wrong_length(group: int) -> None:
    draw = random.Random(1).randbytes
    share = generate_key_share(group, draw)
    answer, _ = answer_key_share(group, share.public, draw)
    for bad in (b"", answer[:-1], answer + b"\0"):
        with pytest.raises(AlertError) as caught:
            share.shared_secret(bad)
        assert caught.value.alert == AlertDescription.ILLEGAL_PARAMETER
    for bad in (b"", share.public[:-1], share.public + b"\0"):
        with pytest.raises(AlertError) as caught:
            answer_key_share(group, bad, draw)
        assert caught.value.alert == AlertDescription.ILLEGAL_PARAMETER


@pytest.mark.parametrize(
    ("group", "bad"),
    [
        (X25519, bytes(32)),
        (X25519, b"\1" + bytes(31)),
        (SECP256R1, b"\4" + bytes(64)),
        (SECP256R1, b"\4" + b"\xff" * 64),
        (SECP384R1, b"\4" + bytes(95) + b"\1"),
        # An encapsulation key whose coefficients are not below the modulus.
        (X25519MLKEM768, b"\xff" * 1184 + b"\x09" + bytes(31)),
    ],
)
def test_invalid_points_and_keys(group: int, bad: bytes) -> None:
    with pytest.raises(AlertError) as caught:
        answer_key_share(group, bad, random.Random(1).randbytes)
    assert caught.value.alert == AlertDescription.ILLEGAL_PARAMETER


def test_zero_x25519_beside_a_good_mlkem_key() -> None:
    share = generate_key_share(X25519MLKEM768, random.Random(1).randbytes)
    with pytest.raises(AlertError) as caught:
        answer_key_share(X25519MLKEM768, share.public[:1184] + bytes(32), random.Random(1).randbytes)
    assert caught.value.alert == AlertDescription.ILLEGAL_PARAMETER


def test_compressed_point_is_refused() -> None:
    point = ec.derive_private_key(7, ec.SECP256R1()).public_key()
    compressed = point.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    hybrid = b"\6" + point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
    share = generate_key_share(SECP256R1, random.Random(1).randbytes)
    for bad in (compressed, hybrid):
        with pytest.raises(AlertError):
            share.shared_secret(bad)


def test_order_of_the_hybrid() -> None:
    """ML-KEM comes first in both shares and in the secret, and its key is made from the first 64 bytes."""
    stream = random.Random(3).randbytes(96)
    position = 0

    def draw(length: int) -> bytes:
        nonlocal position
        position += length
        return stream[position - length : position]

    share = generate_key_share(X25519MLKEM768, draw)
    mlkem = MLKEM768PrivateKey.from_seed_bytes(stream[:64])
    x25519 = X25519PrivateKey.from_private_bytes(stream[64:])
    assert share.public == mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
    answer, secret = answer_key_share(X25519MLKEM768, share.public, random.Random(4).randbytes)
    assert secret[:32] == mlkem.decapsulate(answer[:1088])
    assert secret[32:] == x25519.exchange(X25519PublicKey.from_public_bytes(answer[1088:]))


@pytest.mark.parametrize("fill", [b"\x00", b"\xff"])
def test_extreme_draws_still_give_a_valid_scalar(fill: bytes) -> None:
    for group in (SECP256R1, SECP384R1):
        share = generate_key_share(group, lambda length: fill * length)
        assert len(share.public) == SIZES[group][0]
