"""The queue of datagrams, the limit on unread ones, and what a packet holds (RFC 9221)."""

from collections import deque

import pytest

from endpoint.errors import DatagramError, TransportError, TransportErrorCode
from endpoint.events import DatagramReceived, Event
from endpoint.level import Level
from endpoint.transport.datagrams import (
    FAIR_LEAD,
    MAX_QUEUED,
    MAX_QUEUED_BYTES,
    MAX_UNREAD,
    MAX_UNREAD_BYTES,
    Datagrams,
)
from endpoint.wire.frame_parser import iter_frames
from endpoint.wire.frames import Datagram, Padding

ROOM = 1200


def make(local: int = 65535, peer: int = 65535) -> tuple[Datagrams, deque[Event]]:
    events: deque[Event] = deque()
    datagrams = Datagrams(local, events)
    datagrams.max_frame_size = peer
    return datagrams, events


def sent(datagrams: Datagrams, capacity: int = ROOM) -> list[bytes]:
    """What goes in the next packet."""
    payload = bytearray()
    count = datagrams.append(payload, capacity, ROOM)
    assert len(payload) <= capacity
    if not payload:
        assert count == 0
        return []
    frames = list(iter_frames(payload, 0, len(payload), Level.ONE_RTT))
    assert all(isinstance(frame, Datagram | Padding) for frame in frames)
    found = [frame.data for frame in frames if isinstance(frame, Datagram)]
    assert len(found) == count
    return found


def test_several_in_one_packet_in_order() -> None:
    datagrams, _ = make()
    for data in (b"a", b"", b"ccc"):
        assert datagrams.send(data, ROOM)
    assert datagrams.has_data
    assert sent(datagrams) == [b"a", b"", b"ccc"]
    assert not datagrams.has_data
    assert sent(datagrams) == []


@pytest.mark.parametrize("size", [ROOM - 1, ROOM - 2, ROOM - 3])
def test_one_that_needs_the_whole_packet_fills_it(size: int) -> None:
    """Without a Length field, or with it; PADDING can't come after a frame without."""
    datagrams, _ = make()
    datagrams.send(bytes(size), ROOM)
    payload = bytearray()
    assert datagrams.append(payload, ROOM, ROOM) == 1
    assert len(payload) == ROOM
    assert list(iter_frames(payload, 0, ROOM, Level.ONE_RTT))[-1] == Datagram(bytes(size))


def test_one_that_does_not_fit_any_more_waits_for_the_next_packet() -> None:
    datagrams, _ = make()
    for size in (600, 700, 300):
        datagrams.send(bytes(size), ROOM)
    assert [len(data) for data in sent(datagrams)] == [600]
    assert [len(data) for data in sent(datagrams)] == [700, 300]


def test_too_large_for_the_path() -> None:
    datagrams, _ = make()
    assert datagrams.max_size(ROOM) == ROOM - 1
    with pytest.raises(DatagramError, match="1200 bytes are too many, 1199"):
        datagrams.send(bytes(ROOM), ROOM)
    assert not datagrams.has_data


@pytest.mark.parametrize(("peer", "longest"), [(100, 97), (64, 61), (63, 61), (3, 1), (2, 0)])
def test_the_limit_of_the_peer_counts_the_whole_frame(peer: int, longest: int) -> None:
    datagrams, _ = make(peer=peer)
    assert datagrams.max_size(ROOM) == longest
    with pytest.raises(DatagramError):
        datagrams.send(bytes(longest + 1), ROOM)
    datagrams.send(bytes(longest), ROOM)
    payload = bytearray()
    datagrams.append(payload, ROOM, ROOM)
    assert len(payload) <= peer


@pytest.mark.parametrize("peer", [0, 1])
def test_a_peer_that_takes_none(peer: int) -> None:
    datagrams, _ = make(peer=peer)
    assert datagrams.max_size(ROOM) == 0
    with pytest.raises(DatagramError, match="does not accept"):
        datagrams.send(b"", ROOM)


def test_the_oldest_are_dropped_when_there_are_too_many() -> None:
    datagrams, _ = make()
    for number in range(MAX_QUEUED):
        assert datagrams.send(b"%d" % number, ROOM)
    assert not datagrams.send(b"last", ROOM)
    assert datagrams.dropped_sending == 1
    left = sent(datagrams, 10_000)
    assert (left[0], left[-1], len(left)) == (b"1", b"last", MAX_QUEUED)


def test_the_oldest_are_dropped_when_they_are_too_long() -> None:
    datagrams, _ = make()
    size, room = 60_000, 65_000
    assert all(datagrams.send(bytes(size), room) for _ in range(MAX_QUEUED_BYTES // size))
    assert not datagrams.send(b"x" * size, room)
    assert datagrams.dropped_sending == 1
    assert datagrams.append(bytearray(), 1 << 20, room) == MAX_QUEUED_BYTES // size


@pytest.mark.parametrize("peer", [65535, 100, 0])
def test_what_has_become_too_large_is_dropped(peer: int) -> None:
    """The path shrank, or the server has rejected 0-RTT and takes less than before."""
    datagrams, _ = make()
    datagrams.send(bytes(1000), ROOM)
    datagrams.send(b"small", ROOM)
    datagrams.max_frame_size = peer
    payload = bytearray()
    assert datagrams.append(payload, 500, 500) == (1 if peer else 0)
    assert (b"small" in payload) == bool(peer)
    assert not datagrams.has_data
    assert datagrams.dropped_sending == (1 if peer else 2)


def test_turns_of_datagrams_and_streams() -> None:
    datagrams, _ = make()
    assert not datagrams.go_first
    for _ in range(2 * FAIR_LEAD // 1000):
        datagrams.send(bytes(1000), ROOM)
    packets = 0
    while datagrams.go_first:
        packets += len(sent(datagrams))
    assert packets == -(-FAIR_LEAD // 1000)
    datagrams.on_streams_sent(100)
    assert not datagrams.go_first
    datagrams.on_streams_sent(1000)
    assert datagrams.go_first
    sent(datagrams)
    assert not datagrams.go_first
    datagrams.on_streams_sent(0, waiting=False)
    assert datagrams.go_first


def test_received() -> None:
    datagrams, events = make()
    datagrams.on_frame(b"one", 5)
    datagrams.on_frame(b"", 1)
    assert list(events) == [DatagramReceived(b"one"), DatagramReceived(b"")]


@pytest.mark.parametrize(("local", "size", "reason"), [(0, 1, "not negotiated"), (10, 11, "limit is 10")])
def test_what_we_do_not_take_is_a_violation(local: int, size: int, reason: str) -> None:
    datagrams, events = make(local=local)
    if local:
        datagrams.on_frame(b"", local)
    with pytest.raises(TransportError, match=reason) as caught:
        datagrams.on_frame(b"", size)
    assert caught.value.code == TransportErrorCode.PROTOCOL_VIOLATION
    assert len(events) == (1 if local else 0)


def test_unread_ones_are_limited_in_number() -> None:
    datagrams, events = make()
    for _ in range(MAX_UNREAD + 2):
        datagrams.on_frame(b"x", 3)
    assert (len(events), datagrams.dropped_receiving) == (MAX_UNREAD, 2)
    datagrams.on_taken(events.popleft())
    datagrams.on_frame(b"x", 3)
    assert (len(events), datagrams.dropped_receiving) == (MAX_UNREAD, 2)


def test_unread_ones_are_limited_in_bytes() -> None:
    datagrams, events = make()
    for _ in range(MAX_UNREAD_BYTES // 50_000 + 1):
        datagrams.on_frame(bytes(50_000), 50_003)
    assert (len(events), datagrams.dropped_receiving) == (MAX_UNREAD_BYTES // 50_000, 1)
