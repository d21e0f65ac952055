"""Packets of many short streams: every byte goes once, in full packets, and what they carried is known."""

from collections import deque
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_side import limits

from endpoint.config import Config
from endpoint.events import Event, StreamFinished
from endpoint.level import Level
from endpoint.transport.contents import MixedContent, Span
from endpoint.transport.mixed_run import pack
from endpoint.transport.streams import Streams
from endpoint.wire.frame_parser import iter_frames
from endpoint.wire.frames import Padding, Stream

PLENTY = 10**6
# Stream, offset, length, FIN.
Piece = tuple[int, int, int, bool]


def make(sizes: list[int], *, incremental: bool = True) -> tuple[Streams, dict[int, bytes], deque[Event]]:
    """A client with a stream of each size, ended; what they hold; and its events."""
    events: deque[Event] = deque()
    streams = Streams(Config(), is_client=True, events=events)
    streams.apply_peer_limits(limits())
    content: dict[int, bytes] = {}
    for size in sizes:
        stream_id = streams.open()
        content[stream_id] = Random(size).randbytes(size)
        streams.set_priority(stream_id, 3, incremental=incremental)
        streams.write(stream_id, content[stream_id], fin=True)
    events.clear()
    return streams, content, events


def read(payload: bytearray) -> list[Stream]:
    """The STREAM frames of a packet, which has nothing else but padding behind them."""
    frames = list(iter_frames(memoryview(payload), 0, len(payload), Level.ONE_RTT))
    while isinstance(frames[-1], Padding):
        frames.pop()
    found = [frame for frame in frames if isinstance(frame, Stream)]
    assert len(found) == len(frames)
    return found


def pieces(frames: list[Stream]) -> list[Piece]:
    return [(frame.stream_id, frame.offset, len(frame.data), frame.fin) for frame in frames]


def joined(found: list[Piece]) -> list[Piece]:
    """The same with what is one behind the other in one."""
    result: list[Piece] = []
    for stream_id, offset, length, fin in found:
        before = result[-1] if result else None
        if before is not None and before[0] == stream_id and before[1] + before[2] == offset:
            result[-1] = stream_id, before[1], before[2] + length, fin
        else:
            result.append((stream_id, offset, length, fin))
    return result


def shown(spans: list[Span]) -> list[Piece]:
    return [(send.stream_id, offset, length, fin) for send, offset, length, fin in spans]


sizes_of_streams = st.lists(st.integers(0, 3000), min_size=1, max_size=30)


@given(sizes_of_streams, st.integers(60, 1500), st.integers(1, 20), st.booleans(), st.integers(0, 1 << 32))
def test_packets_and_their_content(
    sizes: list[int], room: int, most: int, incremental: bool, seed: int
) -> None:
    random = Random(seed)
    streams, content, _ = make(sizes, incremental=incremental)
    received = {stream_id: bytearray() for stream_id in content}
    ended: set[int] = set()
    while (packed := pack(streams, room, most, PLENTY)) is not None:
        payloads, carried = packed
        assert len(payloads) <= most
        assert {len(payload) for payload in payloads[:-1]} <= {room}
        packets = [read(payload) for payload in payloads]
        for frame in (frame for packet in packets for frame in packet):
            assert frame.offset == len(received[frame.stream_id])
            received[frame.stream_id] += frame.data
            if frame.fin:
                ended.add(frame.stream_id)
        # Cut at random, as ACKs and losses cut it: each part knows exactly what its packets carried.
        while len(packets) > 1:
            count = random.randrange(1, len(packets))
            rest = carried.split(count)
            assert isinstance(rest, MixedContent)
            kept = [piece for packet in packets[:count] for piece in pieces(packet)]
            assert shown(carried.spans) == joined(kept)
            packets, carried = packets[count:], rest
        assert shown(carried.spans) == joined([piece for packet in packets for piece in pieces(packet)])
    assert received == content
    assert ended == set(content)
    assert not streams.has_data


@given(sizes_of_streams, st.integers(0, 1 << 32))
def test_what_is_lost_goes_again_and_nothing_else(sizes: list[int], seed: int) -> None:
    random = Random(seed)
    streams, content, events = make(sizes)
    sent = lost = 0
    while (packed := pack(streams, 1000, 64, PLENTY)) is not None:
        payloads, carried = packed
        for left in range(len(payloads) - 1, -1, -1):
            rest = carried.split(1) if left else None
            size = sum(length for _, _, length, _ in carried.spans)
            sent += size
            if random.random() < 0.3:
                lost += size
                carried.on_lost()
            else:
                carried.on_acked()
            if isinstance(rest, MixedContent):
                carried = rest
    assert sent == lost + sum(sizes)
    finished = [event.stream_id for event in events if isinstance(event, StreamFinished)]
    assert sorted(finished) == sorted(content)


def test_ends_before_a_long_stream() -> None:
    streams, _, _ = make([100, 5000, 100])
    packed = pack(streams, 1000, 64, 3000)
    assert packed is not None
    assert shown(packed[1].spans) == [(0, 0, 100, True)]
    assert pack(streams, 1000, 64, 3000) is None
    assert streams.has_data


def test_nothing_to_send() -> None:
    streams, _, _ = make([])
    assert pack(streams, 1000, 64, PLENTY) is None


@pytest.mark.parametrize("left", range(1, 40))
def test_little_room_is_padded(left: int) -> None:
    """All packets of a batch have one size: what is too little for another frame is PADDING."""
    room = 1000
    header = 1 + 1 + 2  # type, stream, length
    streams, content, _ = make([room - header - left, 500])
    packed = pack(streams, room, 64, PLENTY)
    assert packed is not None
    payloads, _ = packed
    assert len(payloads[0]) == room
    assert b"".join(frame.data for payload in payloads for frame in read(payload)) == b"".join(
        content.values()
    )
