"""Counting the lines of an encoded field section, which ls-qpack does not do."""

import pylsqpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoint.h3.qpack import count_field_lines

NAMES = st.one_of(
    st.sampled_from([b":method", b":path", b"accept", b"content-length"]),
    st.binary(min_size=1, max_size=200),
)
FIELDS = st.lists(st.tuples(NAMES, st.binary(max_size=300)), max_size=20)


@given(FIELDS)
def test_of_static_and_literal_lines(fields: list[tuple[bytes, bytes]]) -> None:
    _, section = pylsqpack.Encoder().encode(0, fields)
    assert count_field_lines(section) == len(fields)


def test_of_lines_of_the_dynamic_table() -> None:
    encoder = pylsqpack.Encoder()
    encoder.apply_settings(4096, 16)
    fields = [(b"name-%d" % index, b"value") for index in range(9)]
    for stream_id in range(0, 40, 4):
        # Inserted as the encoder sees them again, and so post-base at first.
        _, section = encoder.encode(stream_id, fields)
        assert count_field_lines(section) == len(fields)


@pytest.mark.parametrize("section", [b"", b"\0", b"\0\0\x51", b"\0\0\xff\xff", b"\0\0\x27"])
def test_of_what_is_cut_off(section: bytes) -> None:
    assert count_field_lines(section) in (0, 1)
