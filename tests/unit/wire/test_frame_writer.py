"""What the property tests can't say about the writers: sizes, limits, and the bytes of one example."""

import pytest

from endpoint.level import Level
from endpoint.wire.frame_parser import iter_frames
from endpoint.wire.frame_writer import (
    append_ack,
    append_connection_close,
    append_crypto,
    append_datagram,
    append_frame,
    begin_stream,
    crypto_overhead,
)
from endpoint.wire.frames import STREAM_LEN, Ack, ConnectionClose, Frame, Padding, Ping, Stream

RANGES = [(100, 100), (94, 97), (76, 76)]


def frames_of(data: bytes | bytearray) -> list[Frame]:
    return list(iter_frames(data, 0, len(data), Level.ONE_RTT))


def test_ack_bytes() -> None:
    out = bytearray(b"x")
    assert append_ack(out, RANGES, 0, None, 100) == 3
    assert out == b"x" + bytes.fromhex("02 4064 00 02 00 01 03 10 00")
    out = bytearray()
    assert append_ack(out, [(0, 0)], 9, (1, 2, 3), 100) == 1
    assert out == bytes.fromhex("03 00 09 00 00 01 02 03")


@pytest.mark.parametrize(("max_bytes", "count"), [(5, 0), (6, 1), (7, 1), (8, 2), (9, 2), (10, 3), (11, 3)])
def test_ack_leaves_out_the_oldest_ranges(max_bytes: int, count: int) -> None:
    out = bytearray()
    assert append_ack(out, RANGES, 0, None, max_bytes) == count
    assert len(out) <= max_bytes
    if count:
        assert frames_of(out) == [Ack(100, 0, RANGES[:count], None)]
    else:
        assert not out


def test_ack_with_a_range_count_of_two_bytes() -> None:
    ranges = [(300 - 3 * index, 301 - 3 * index) for index in range(100)]
    # 1 type, 2 largest, 1 delay, 1 first range; 63 more ranges fit one byte of count, 64 need two.
    for max_bytes, count in ((5 + 1 + 126, 64), (5 + 2 + 127, 64), (5 + 2 + 128, 65)):
        out = bytearray()
        assert append_ack(out, ranges, 0, None, max_bytes) == count
        assert len(out) <= max_bytes
        assert frames_of(out) == [Ack(301, 0, ranges[:count], None)]


@pytest.mark.parametrize("offset", [0, 1, 64, 1 << 14, 1 << 30])
@pytest.mark.parametrize("stream_id", [0, 63, 64, 1 << 14, 1 << 30])
@pytest.mark.parametrize("room", [32, 63, 64, 66, 1200, 20_000])
def test_begin_stream_takes_what_fits(stream_id: int, offset: int, room: int) -> None:
    for length in (0, 1, *range(room - 22, room + 2), 30_000):
        out = bytearray(b"before")
        count, fin = begin_stream(out, stream_id, offset, length, room, True)
        assert fin == (count == length)
        size = len(out) - 6 + count
        assert size <= room
        assert size >= room - 2 or fin
        # Where the packet goes on, a Length field says where the data ends.
        assert size == room or out[6] & STREAM_LEN
        frames = frames_of(out[6:] + bytes(count) + bytes(room - size))
        assert frames[0] == Stream(stream_id, offset, bytes(count), fin)


@pytest.mark.parametrize("offset", [0, 63, 64, 1 << 14, 1 << 30])
@pytest.mark.parametrize("length", [0, 1, 63, 64, 16_384])
def test_crypto_overhead(offset: int, length: int) -> None:
    out = bytearray()
    append_crypto(out, offset, memoryview(bytes(length)))
    assert len(out) == crypto_overhead(offset, length) + length


def test_close_cuts_its_reason_at_a_character() -> None:
    for max_bytes in range(18, 40):
        for frame_type in (None, 0x08):
            out = bytearray()
            append_connection_close(out, 10, frame_type, "grün " * 5, max_bytes)
            assert len(out) <= max_bytes
            (frame,) = frames_of(out)
            assert isinstance(frame, ConnectionClose)
            assert (frame.error_code, frame.frame_type) == (10, frame_type)
            assert ("grün " * 5).startswith(frame.reason)
            assert len(out) >= min(max_bytes - 1, 28)


def test_close_of_the_largest_codes_fits_18_bytes() -> None:
    out = bytearray()
    append_connection_close(out, (1 << 62) - 1, (1 << 62) - 1, "any", 18)
    assert len(out) == 18
    assert frames_of(out) == [ConnectionClose((1 << 62) - 1, (1 << 62) - 1, "")]


def test_close_with_an_unencodable_reason() -> None:
    out = bytearray()
    append_connection_close(out, 0, None, "a\ud800b", 100)
    assert frames_of(out) == [ConnectionClose(0, None, "a?b")]


def test_datagram_without_length() -> None:
    out = bytearray()
    append_datagram(out, b"abc", with_length=False)
    assert out == b"\x30abc"


def test_append_frame_appends() -> None:
    out = bytearray()
    for frame in (Padding(2), Ping(), Padding(1)):
        append_frame(out, frame)
    assert out == b"\x00\x00\x01\x00"
