"""The format of HTTP/3 Datagrams (RFC 9297 §2.1)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endpoint.h3.datagrams import encode_datagram, parse_datagram
from endpoint.h3.errors import H3ConnectionError, H3ErrorCode


def test_the_stream_id_is_divided_by_four() -> None:
    assert encode_datagram(0, b"") == b"\x00"
    assert encode_datagram(4 * 63, b"abc") == b"\x3fabc"
    assert encode_datagram(4 * 64, memoryview(b"abc")) == b"\x40\x40abc"


@settings(deadline=None)
@given(st.integers(0, (1 << 60) - 1), st.binary())
def test_what_is_encoded_is_parsed(quarter: int, payload: bytes) -> None:
    assert parse_datagram(encode_datagram(4 * quarter, payload)) == (4 * quarter, payload)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x40", b"\xd0" + bytes(7), b"\xff" * 8],
    ids=["empty", "cut short", "the first that is too large", "the largest"],
)
def test_no_quarter_stream_id(data: bytes) -> None:
    with pytest.raises(H3ConnectionError) as caught:
        parse_datagram(data)
    assert caught.value.code is H3ErrorCode.H3_DATAGRAM_ERROR


@pytest.mark.parametrize("stream_id", [1, 2, 3, -1])
def test_only_request_streams_have_datagrams(stream_id: int) -> None:
    with pytest.raises(ValueError, match="no request"):
        encode_datagram(stream_id, b"")
