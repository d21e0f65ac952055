"""Many masks at once are the masks of each sample."""

import pytest

from endpoint.crypto.aead import CIPHER_SUITES
from endpoint.crypto.header_protection import MASK_LENGTH, make_header_protection


@pytest.mark.parametrize("number", list(CIPHER_SUITES))
def test_masks_of_a_batch(number: int) -> None:
    suite = CIPHER_SUITES[number]
    protection = make_header_protection(suite, bytes(range(suite.key_length)))
    samples = [memoryview(bytes((7 * i + k) % 256 for k in range(16))) for i in range(20)]
    masks = protection.masks(samples)
    assert len(masks) == 20 * MASK_LENGTH
    singly = [make_header_protection(suite, bytes(range(suite.key_length))).mask(s)[:5] for s in samples]
    assert [masks[i * MASK_LENGTH : i * MASK_LENGTH + 5] for i in range(20)] == singly
    assert len(set(singly)) == 20
    assert protection.mask(samples[3])[:5] == singly[3]
