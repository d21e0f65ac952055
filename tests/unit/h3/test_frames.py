"""Cutting streams into frames."""

import pytest

from endpoint.h3.errors import H3ConnectionError, H3ErrorCode, H3StreamError, h3_error_name
from endpoint.h3.frames import (
    FROM_CLIENT_ON_CONTROL,
    FROM_SERVER_ON_CONTROL,
    HTTP2_FRAMES,
    FrameSplitter,
    FrameType,
    encode_frame,
    frame_header,
    grease_value,
    parse_integer,
)
from endpoint.wire.varint import encode_varint, read_varint

SIZES = [0, 1, 63, 64, 16383, 16384, 100_000]


@pytest.mark.parametrize("length", SIZES)
@pytest.mark.parametrize("frame_type", [*FrameType, 0x21, 0x1234])
def test_header(frame_type: int, length: int) -> None:
    assert frame_header(frame_type, length) == encode_varint(frame_type) + encode_varint(length)


@pytest.mark.parametrize("step", [1, 2, 3, 5, 1000])
def test_pieces(step: int) -> None:
    data = (
        encode_frame(0x21, bytes(100))
        + encode_frame(FrameType.HEADERS, b"h" * 300)
        + encode_frame(FrameType.DATA, b"d" * 70)
        + encode_frame(FrameType.DATA, b"")
        + encode_frame(FrameType.HEADERS, b"t")
    )
    ignored: list[tuple[int, int]] = []
    frames = FrameSplitter(max_headers=300, on_ignored=lambda *told: ignored.append(told))
    found: list[tuple[int, bytes]] = []
    content = b""
    for at in range(0, len(data), step):
        frames.feed(data[at : at + step])
        while True:
            if frames.data_left:
                content += (part := frames.take_data(17))
                if not part:
                    break
            elif (frame := frames.next_frame()) is None:
                break
            else:
                found.append(frame)
    assert found == [(1, b"h" * 300), (0, b""), (0, b""), (1, b"t")]
    assert content == b"d" * 70
    assert ignored == [(0x21, 100)]
    assert frames.at_boundary


def test_not_at_a_boundary() -> None:
    for data in (b"\x01", b"\x21\x05abc", b"\x00\x05", b"\x00\x05abcde"):
        frames = FrameSplitter(max_headers=10)
        frames.feed(data)
        frames.next_frame()
        assert not frames.at_boundary


def test_longest_field_section() -> None:
    for length in (10, 11):
        frames = FrameSplitter(max_headers=10)
        frames.feed(frame_header(FrameType.HEADERS, length))
        if length == 10:
            assert frames.next_frame() is None
        else:
            with pytest.raises(H3StreamError) as raised:
                frames.next_frame()
            assert raised.value.code is H3ErrorCode.H3_EXCESSIVE_LOAD


@pytest.mark.parametrize("frame_type", [*FrameType, *HTTP2_FRAMES])
def test_who_may_send_what_where(frame_type: int) -> None:
    """RFC 9114 §7, table 1."""
    for permitted in (FROM_CLIENT_ON_CONTROL, FROM_SERVER_ON_CONTROL):
        frames = FrameSplitter(permitted)
        frames.feed(encode_frame(FrameType.SETTINGS, b"") + encode_frame(frame_type, b"\0"))
        assert frames.next_frame() == (FrameType.SETTINGS, b"")
        if frame_type in permitted:
            assert frames.next_frame() == (frame_type, b"\0")
        else:
            with pytest.raises(H3ConnectionError) as raised:
                frames.next_frame()
            assert raised.value.code is H3ErrorCode.H3_FRAME_UNEXPECTED


@pytest.mark.parametrize("value", [0, 63, 64, (1 << 62) - 1])
def test_integer(value: int) -> None:
    assert parse_integer(encode_varint(value)) == value


@pytest.mark.parametrize("seed", [0, 1, 0xFFFF, 0x1_0000, (1 << 64) - 1])
def test_grease(seed: int) -> None:
    value = grease_value(seed)
    assert (value - 0x21) % 0x1F == 0
    assert read_varint(encode_varint(value), 0, 8)[0] == value


def test_names_of_codes() -> None:
    assert h3_error_name(0x106) == "H3_FRAME_ERROR"
    assert h3_error_name(0x202) == "QPACK_DECODER_STREAM_ERROR"
    assert h3_error_name(0x4242) == "0x4242"
