"""Worked examples of STREAM runs: sizes, where runs are cut, what is refused."""

import pytest

from endpoint.batch import TAG_LENGTH, Layout, PacketBuffer
from endpoint.wire.stream_run import StreamRun, read_stream_runs, stream_run_chunk, write_stream_run

DCID = b"\xd0\xd1\xd2\xd3\xd4\xd5\xd6\xd7"
SIZE = 100
PN_LENGTH = 2
# 1 + 8 + 2 bytes of header, type, stream ID and 4 bytes of offset, and the tag.
CHUNK = SIZE - 11 - 6 - 16


def written(n: int, offset: int = 1 << 20, *, fin: bool = False, stream_id: int = 4) -> Layout:
    layout = PacketBuffer(64 * SIZE).layout(SIZE, 1 + len(DCID), PN_LENGTH)
    block = bytes(i & 0xFF for i in range(n * CHUNK))
    write(layout, n, offset, block, fin=fin, stream_id=stream_id)
    return layout


def write(
    layout: Layout,
    n: int,
    offset: int,
    block: bytes,
    *,
    first_pn: int = 700,
    fin: bool = False,
    stream_id: int = 4,
) -> None:
    write_stream_run(
        layout,
        n,
        first_byte=0x41,
        dcid=DCID,
        first_pn=first_pn,
        stream_id=stream_id,
        offset=offset,
        block=block,
        fin=fin,
    )


def summary(runs: list[StreamRun]) -> list[tuple[int, int, int]]:
    return [(run.first, run.count, run.offset) for run in runs]


def test_chunk_is_what_headers_and_tag_leave() -> None:
    assert stream_run_chunk(1252, 8, 2, 0, 1 << 29) == 1252 - 11 - (1 + 1 + 4) - 16
    assert stream_run_chunk(1252, 0, 4, 64, 1 << 30) == 1252 - 5 - (1 + 2 + 8) - 16
    assert stream_run_chunk(1252, 8, 1, 0, 63) == 1252 - 10 - (1 + 1 + 1) - 16
    assert stream_run_chunk(30, 8, 2, 0, 63) == 0
    assert stream_run_chunk(28, 8, 2, 0, 63) == -2


def test_bytes_of_a_written_run() -> None:
    layout = written(3, fin=True)
    third = bytes(layout.data[2 * SIZE : 3 * SIZE - TAG_LENGTH])
    assert third[:9] == b"\x41" + DCID
    assert third[9:11] == (702).to_bytes(2, "big")
    # STREAM with OFF and FIN, stream 4, offset 2^20 + 2 * 67 in four bytes.
    assert third[11:17] == bytes.fromhex("0d04") + (0x8000_0000 | (1 << 20) + 2 * CHUNK).to_bytes(4, "big")
    assert third[17:] == bytes(i & 0xFF for i in range(2 * CHUNK, 3 * CHUNK))
    assert layout.data[11] == layout.data[SIZE + 11] == 0x0C


@pytest.mark.parametrize(
    ("pn_length", "first_pn"), [(1, 0x1FE), (2, 0x3FFFE), (3, 0xFFFFFE), (4, 0x1FFFFFFFE)]
)
def test_packet_numbers_wrap_inside_a_run(pn_length: int, first_pn: int) -> None:
    layout = PacketBuffer(64 * SIZE).layout(SIZE, 1 + len(DCID), pn_length)
    block = bytes(4 * stream_run_chunk(SIZE, len(DCID), pn_length, 0, 5000))
    write_stream_run(
        layout,
        4,
        first_byte=0x40 | pn_length - 1,
        dcid=DCID,
        first_pn=first_pn,
        stream_id=0,
        offset=3000,
        block=block,
    )
    numbers = [bytes(layout.headers[i][-pn_length:]) for i in range(4)]
    assert numbers == [(first_pn + i).to_bytes(8, "big")[-pn_length:] for i in range(4)]


def test_data_that_does_not_fill_the_packets_is_refused() -> None:
    layout = PacketBuffer(64 * SIZE).layout(SIZE, 1 + len(DCID), PN_LENGTH)
    for block_length, offset in [
        (3 * CHUNK - 1, 1 << 20),  # not the same in each packet
        (3 * (CHUNK + 1), 1 << 20),  # leaves three bytes for the offset
        (3 * (CHUNK + 2), (1 << 14) - 1),  # leaves two bytes, but the last offset needs four
        (3 * (CHUNK + 20), 0),
    ]:
        with pytest.raises(ValueError, match="don't fill"):
            write(layout, 3, offset, bytes(block_length))
    with pytest.raises(ValueError, match="don't fill"):
        write_stream_run(
            layout, 1, first_byte=0x41, dcid=b"", first_pn=0, stream_id=4, offset=1 << 20, block=bytes(CHUNK)
        )
    with pytest.raises(ValueError, match="don't fill"):
        write_stream_run(
            layout, 1, first_byte=0x42, dcid=DCID, first_pn=0, stream_id=4, offset=1 << 20, block=bytes(CHUNK)
        )


def test_read_a_whole_batch_as_one_run() -> None:
    runs, others = read_stream_runs(written(20), 20)
    assert others == []
    assert summary(runs) == [(0, 20, 1 << 20)]
    assert (runs[0].stream_id, runs[0].chunk) == (4, CHUNK)
    assert b"".join(runs[0].views) == bytes(i & 0xFF for i in range(20 * CHUNK))


def test_end_of_stream_is_left_to_the_row_parser() -> None:
    runs, others = read_stream_runs(written(5, fin=True), 5)
    assert summary(runs) == [(0, 4, 1 << 20)]
    assert others == [4]


def test_odd_packet_splits_a_batch() -> None:
    layout = written(12)
    layout.plain[5][0] = 0x01  # a PING; what follows no longer matters
    runs, others = read_stream_runs(layout, 12)
    assert summary(runs) == [(0, 5, 1 << 20), (6, 6, (1 << 20) + 6 * CHUNK)]
    assert others == [5]


def test_skipped_slots_are_in_neither_result() -> None:
    runs, others = read_stream_runs(written(12), 12, [0, 5, 9])
    assert summary(runs) == [(1, 4, (1 << 20) + CHUNK), (6, 3, (1 << 20) + 6 * CHUNK)]
    assert others == [10, 11]


def test_lost_packet_splits_a_run() -> None:
    layout = written(10)
    later = written(6, (1 << 20) + 11 * CHUNK)
    layout.data[4 * SIZE : 10 * SIZE] = later.data[: 6 * SIZE]
    runs, others = read_stream_runs(layout, 10)
    assert summary(runs) == [(0, 4, 1 << 20), (4, 6, (1 << 20) + 11 * CHUNK)]
    assert others == []


def test_other_stream_splits_a_run() -> None:
    layout = written(10)
    other = written(6, (1 << 20) + 4 * CHUNK, stream_id=8)
    layout.data[4 * SIZE : 10 * SIZE] = other.data[: 6 * SIZE]
    runs, others = read_stream_runs(layout, 10)
    assert [(run.first, run.count, run.stream_id) for run in runs] == [(0, 4, 4), (4, 6, 8)]
    assert others == []


def test_runs_of_less_than_three_are_not_worth_it() -> None:
    assert read_stream_runs(written(2), 2) == ([], [0, 1])
    assert len(read_stream_runs(written(3), 3)[0]) == 1


def test_length_field_must_fill_the_packet() -> None:
    layout = PacketBuffer(8 * SIZE).layout(SIZE, 1 + len(DCID), PN_LENGTH)
    plain_size = len(layout.plain[0])
    data_length = plain_size - 1 - 1 - 4 - 2
    for i in range(8):
        # In slot 4 the frame is a byte short: a PADDING frame follows.
        length = data_length - (i == 4)
        head = b"\x0e\x04" + (0x8000_0000 | 5000 + i * data_length).to_bytes(4, "big")
        layout.plain[i][:] = (head + (0x4000 | length).to_bytes(2, "big")).ljust(plain_size, b"\0")
    runs, others = read_stream_runs(layout, 8)
    assert summary(runs) == [(0, 4, 5000), (5, 3, 5000 + 5 * data_length)]
    assert runs[0].chunk == data_length
    assert others == [4]


def test_data_beyond_the_largest_offset_is_left_to_the_row_parser() -> None:
    layout = PacketBuffer(8 * SIZE).layout(SIZE, 1 + len(DCID), PN_LENGTH)
    chunk = CHUNK - 4
    # RFC 9000 §19.8: the last byte that may be sent is at 2^62 - 2.
    write(layout, 6, (1 << 62) - 1 - 5 * chunk, bytes(6 * chunk))
    runs, others = read_stream_runs(layout, 6)
    assert summary(runs) == [(0, 5, (1 << 62) - 1 - 5 * chunk)]
    assert others == [5]


def test_offset_field_that_overflows_into_its_length_bits() -> None:
    layout = PacketBuffer(8 * SIZE).layout(SIZE, 1 + len(DCID), PN_LENGTH)
    plain_size = len(layout.plain[0])
    chunk = plain_size - 4
    first = 0x4000 - 4 * chunk
    for i in range(8):
        # As two bytes these go on counting, but from slot 4 on the varint has four bytes.
        head = b"\x0c\x04" + (0x4000 + first + i * chunk).to_bytes(2, "big")
        layout.plain[i][:] = head + bytes(chunk)
    runs, _ = read_stream_runs(layout, 8)
    assert summary(runs) == [(0, 3, first)]
