"""What ls-qpack does not do: counting the lines of a field section, and knowing one that comes again."""

from typing import Any, cast

import pylsqpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoint.h3.events import Headers
from endpoint.h3.qpack import Qpack, count_field_lines, section_acknowledgment
from endpoint.h3.settings import Settings

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


class Written:
    """Takes what is to go out on the QPACK streams."""

    def __init__(self) -> None:
        self.acknowledgments: list[bytes] = []
        self.acknowledge = self.acknowledgments.append


def test_a_section_that_comes_again() -> None:
    """It says the same until the encoder changes the table, and is acknowledged each time."""
    encoder, written = pylsqpack.Encoder(), Written()
    qpack = Qpack(Settings(), cast("Any", written))
    twin = pylsqpack.Decoder(4096, 16)
    changes = encoder.apply_settings(4096, 16)
    stream_id = acknowledged = 0
    for generation in range(40):  # of which each evicts more of the table
        fields: Headers = [(b":path", b"/"), (b"x-%d" % generation, b"v" * 200)]
        for _ in range(6):
            instructions, section = encoder.encode(stream_id, list(fields))
            changes += instructions
            if changes:
                qpack.on_encoder_stream(changes)
                twin.feed_encoder(changes)
                changes = b""
            acknowledgment, headers = twin.feed_header(stream_id, section)
            written.acknowledgments.clear()
            assert qpack.decode(stream_id, section) == headers == fields
            assert b"".join(written.acknowledgments) == acknowledgment
            if acknowledgment:
                acknowledged += 1
                encoder.feed_decoder(acknowledgment)
                assert section_acknowledgment(stream_id) == acknowledgment
            stream_id += 4 if stream_id < 400 else 400_004
    assert acknowledged > 100, "sections refer to the table"


def test_many_sections_that_come_again() -> None:
    """More of them, and longer ones, than are remembered."""
    encoder, qpack = pylsqpack.Encoder(), Qpack(Settings(), cast("Any", Written()))
    for number in range(300):
        fields = [(b":path", b"/%d" % number), (b"x", b"y" * (number * 20))]
        _, section = encoder.encode(0, fields)
        for _ in range(3):
            assert qpack.decode(0, section) == fields


def test_what_is_done_with_fields_is_not_remembered() -> None:
    _, section = pylsqpack.Encoder().encode(0, [(b":path", b"/")])
    qpack = Qpack(Settings(), cast("Any", Written()))
    for _ in range(4):
        headers = qpack.decode(0, section)
        assert headers == [(b":path", b"/")]
        headers.clear()
