"""RFC 9000 §16 with the examples of Appendix A.1."""

import pytest

from endpoint.errors import TransportError, TransportErrorCode
from endpoint.wire.varint import VARINT_MAX, append_varint, encode_varint, read_varint, varint_length

RFC_EXAMPLES = [
    ("c2197c5eff14e88c", 151_288_809_941_952_652),
    ("9d7f3e7d", 494_878_333),
    ("7bbd", 15_293),
    ("25", 37),
]

BOUNDARIES = [
    (0, 1),
    (63, 1),
    (64, 2),
    (16_383, 2),
    (16_384, 4),
    (1_073_741_823, 4),
    (1_073_741_824, 8),
    (VARINT_MAX, 8),
]


@pytest.mark.parametrize(("encoded", "value"), RFC_EXAMPLES)
def test_rfc_examples(encoded: str, value: int) -> None:
    data = bytes.fromhex(encoded)
    assert read_varint(data, 0, len(data)) == (value, len(data))
    assert encode_varint(value) == data


def test_longer_encoding_than_needed_is_read() -> None:
    assert read_varint(bytes.fromhex("4025"), 0, 2) == (37, 2)


@pytest.mark.parametrize(("value", "length"), BOUNDARIES)
def test_shortest_form_at_the_boundaries(value: int, length: int) -> None:
    assert varint_length(value) == length
    out = bytearray(b"x")
    append_varint(out, value)
    assert out[1:] == encode_varint(value)
    assert read_varint(memoryview(out), 1, len(out)) == (value, 1 + length)


@pytest.mark.parametrize(("encoded", "_value"), RFC_EXAMPLES)
def test_integer_beyond_end_is_refused_even_if_the_buffer_goes_on(encoded: str, _value: int) -> None:
    data = bytes.fromhex(encoded) + bytes(8)
    for end in range(len(encoded) // 2):
        with pytest.raises(TransportError) as caught:
            read_varint(data, 0, end)
        assert caught.value.code == TransportErrorCode.FRAME_ENCODING_ERROR


@pytest.mark.parametrize("value", [-1, VARINT_MAX + 1])
def test_values_that_have_no_encoding(value: int) -> None:
    with pytest.raises(ValueError, match="variable-length"):
        encode_varint(value)
    with pytest.raises(ValueError, match="variable-length"):
        append_varint(bytearray(), value)
