"""The table of suites and the nonces of a batch."""

import pytest

from endpoint.batch import MAX_SEGMENTS
from endpoint.crypto.aead import CIPHER_SUITES, nonce, nonces

IV = int.from_bytes(b"\xff\xee\xdd\xcc\xbb\xaa\x99\x88\x77\x66\x55\x44", "big")
LARGEST_PN = (1 << 62) - 1


@pytest.mark.parametrize(
    ("number", "hash_name", "key_length", "confidentiality", "integrity"),
    [
        (0x1301, "sha256", 16, 2**23, 2**52),
        (0x1302, "sha384", 32, 2**23, 2**52),
        (0x1303, "sha256", 32, 2**62, 2**36),
    ],
)
def test_suites_and_their_limits(
    number: int, hash_name: str, key_length: int, confidentiality: int, integrity: int
) -> None:
    suite = CIPHER_SUITES[number]
    assert suite.number == number
    assert (suite.hash_name, suite.key_length) == (hash_name, key_length)
    assert (suite.confidentiality_limit, suite.integrity_limit) == (confidentiality, integrity)
    suite.aead(bytes(key_length))  # accepts a key of this length


def test_nonce_is_iv_xor_packet_number() -> None:
    # RFC 9001 §5.3: the packet number is padded to the left.
    assert nonce(IV, 0) == IV.to_bytes(12, "big")
    assert nonce(IV, 0x0102).hex() == "ffeeddccbbaa998877665446"
    assert nonce(IV, LARGEST_PN).hex() == "ffeeddcc" + f"{0xBBAA998877665544 ^ LARGEST_PN:016x}"


@pytest.mark.parametrize("n", [1, 2, 3, 52, MAX_SEGMENTS])
@pytest.mark.parametrize("first", [0, 250, 2**32 - 5, LARGEST_PN - MAX_SEGMENTS])
def test_nonces_of_consecutive_packets(first: int, n: int) -> None:
    assert nonces(IV, range(first, first + n)) == tuple(nonce(IV, first + i) for i in range(n))


def test_nonces_of_any_packets() -> None:
    numbers = [7, LARGEST_PN, 0, 2**32, 7]
    assert nonces(IV, numbers) == tuple(nonce(IV, pn) for pn in numbers)
    assert nonces(IV, range(3, 9, 2)) == tuple(nonce(IV, pn) for pn in (3, 5, 7))
