"""Slots, their views, and the value objects of a batch."""

import pytest

from endpoint.batch import (
    ECN_CE,
    MAX_SEGMENTS,
    Layout,
    PacketBuffer,
    RecvBatch,
    SendBatch,
)

PEER = ("192.0.2.1", 4433)


def numbered_buffer(size: int = 1000) -> PacketBuffer:
    buffer = PacketBuffer(size)
    buffer.data[:] = bytes(i % 251 for i in range(size))
    return buffer


def test_views_of_a_layout_cut_each_slot() -> None:
    buffer = numbered_buffer()
    layout = buffer.layout(100, 9, 2)
    assert layout.capacity == 10
    assert [len(views) for views in (layout.headers, layout.plain, layout.sealed, layout.samples)] == [10] * 4
    for i in range(10):
        slot = buffer.data[i * 100 : (i + 1) * 100]
        assert layout.headers[i] == slot[:11]
        assert layout.plain[i] == slot[11:84]
        assert layout.sealed[i] == slot[11:]
        assert layout.samples[i] == slot[13:29]


def test_views_are_windows_on_the_buffer() -> None:
    buffer = numbered_buffer()
    layout = buffer.layout(100, 9, 2, 3)
    layout.plain[2][0] = 0xAA
    assert buffer.data[211] == 0xAA
    buffer.view[213] = 0xBB
    assert layout.samples[2][0] == 0xBB


def test_layout_is_kept_and_grows_on_demand() -> None:
    buffer = numbered_buffer()
    layout = buffer.layout(100, 9, 2, 3)
    assert [len(layout.headers), len(layout.samples)] == [3, 3]
    first = layout.headers[0]
    assert buffer.layout(100, 9, 2, 7) is layout
    assert [len(layout.headers), len(layout.plain), len(layout.sealed), len(layout.samples)] == [7] * 4
    assert layout.headers[0] is first
    assert layout.headers[6] == buffer.data[600:611]
    assert layout.samples[6] == buffer.data[613:629]


def test_samples_are_shared_by_packet_number_lengths() -> None:
    buffer = numbered_buffer()
    samples = buffer.samples(100, 9, 4)
    assert len(samples) == 4
    short, long = buffer.layout(100, 9, 1, 2), buffer.layout(100, 9, 4, 6)
    assert short.samples is samples
    assert long.samples is samples
    assert len(samples) == 6


def test_number_of_slots_is_limited_by_segments_and_by_bytes() -> None:
    assert PacketBuffer().capacity(100) == MAX_SEGMENTS
    assert PacketBuffer().capacity(1252) == 52
    assert len(PacketBuffer().layout(100, 9, 2).headers) == MAX_SEGMENTS
    with pytest.raises(ValueError, match="11 slots of 100 bytes"):
        numbered_buffer().layout(100, 9, 2, 11)


def test_a_slot_needs_room_for_a_sample() -> None:
    buffer = numbered_buffer()
    assert buffer.layout(29, 9, 4, 1).sealed[0].nbytes == 16
    with pytest.raises(ValueError, match="no sample"):
        buffer.layout(28, 9, 1, 1)


def test_number_of_kept_layouts_is_bounded_and_the_used_ones_stay() -> None:
    buffer = numbered_buffer()
    used: Layout = buffer.layout(100, 9, 2, 1)
    unused = buffer.layout(99, 9, 2, 1)
    for size in range(30, 60):
        buffer.layout(size, 9, 2, 1)
        assert buffer.layout(100, 9, 2, 1) is used
    assert buffer.layout(99, 9, 2, 1) is not unused


def test_recv_batch_of_datagrams() -> None:
    batch = RecvBatch.of([b"a" * 30, b"b" * 30, b"c" * 7], PEER, ("192.0.2.9", 1), ECN_CE)
    assert (batch.length, batch.segment_size, batch.ecn) == (67, 30, ECN_CE)
    assert (batch.peer, batch.local) == (PEER, ("192.0.2.9", 1))
    assert [bytes(batch.buffer.data[a:b]) for a, b in batch.bounds()] == [b"a" * 30, b"b" * 30, b"c" * 7]


def test_recv_batch_into_a_given_buffer() -> None:
    buffer = numbered_buffer()
    batch = RecvBatch.of([b"only"], PEER, buffer=buffer)
    assert batch.buffer is buffer
    assert buffer.data[:5] == b"only\x04"
    assert list(batch.bounds()) == [(0, 4)]


@pytest.mark.parametrize("sizes", [[30, 29, 30], [30, 31], [30, 0]])
def test_datagrams_of_unequal_size_are_no_batch(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="not a batch"):
        RecvBatch.of([bytes(size) for size in sizes], PEER)


def test_bounds_of_a_send_batch() -> None:
    assert list(SendBatch(2400, 1200, PEER, None, 0).bounds()) == [(0, 1200), (1200, 2400)]
    assert list(SendBatch(1201, 1200, PEER, None, 0).bounds()) == [(0, 1200), (1200, 1201)]


def test_tails_of_payloads_are_kept() -> None:
    buffer = numbered_buffer()
    layout = buffer.layout(100, 9, 2, 5)
    tails = layout.tails(6, 3)
    assert [bytes(tail) for tail in tails] == [bytes(plain[6:]) for plain in layout.plain[:3]]
    assert layout.tails(6, 5) is tails
    assert [len(tail) for tail in tails] == [67] * 5
    for skip in range(7, 11):
        assert layout.tails(skip, 1)[0] == layout.plain[0][skip:]
    assert layout.tails(6, 5) is not tails  # only the last few are kept
