"""Streams: limits, states, sizes and windows that a peer exceeds (RFC 9000 §2 to §4, §19)."""

from collections.abc import Callable

import pytest
from conformance.expect import closes_with, is_healthy

from endpoint.config import Config
from endpoint.errors import TransportErrorCode as Code
from endpoint.level import Level
from endpoint.testing.packets import RawSession
from endpoint.transport.recv_stream import MAX_SMALL_FRAGMENTS
from endpoint.wire.frames import (
    Frame,
    FrameType,
    MaxStreamData,
    MaxStreams,
    ResetStream,
    StopSending,
    Stream,
    StreamDataBlocked,
)

SessionMaker = Callable[..., RawSession]

ONE_RTT = Level.ONE_RTT
# Small limits, so that they are soon reached.
CONFIG = Config(
    initial_max_data=2000,
    initial_max_stream_data=1000,
    initial_max_streams_bidi=4,
    initial_max_streams_uni=2,
)
# The low bits of stream ids (RFC 9000 §2.1), by the role of the endpoint under test.
PEER_BIT = {"server": 0, "client": 1}
OWN_BIT = {"server": 1, "client": 0}
UNI = 2


@pytest.fixture
def small(role: str, session_at: SessionMaker) -> RawSession:
    return session_at(role, ONE_RTT, config=CONFIG)


def peer_stream(role: str, index: int, *, unidirectional: bool = False) -> int:
    return index << 2 | (UNI if unidirectional else 0) | PEER_BIT[role]


def own_stream(role: str, index: int, *, unidirectional: bool = False) -> int:
    return index << 2 | (UNI if unidirectional else 0) | OWN_BIT[role]


def opening_frames(stream_id: int, *, sendable: bool) -> list[Frame]:
    """Every frame that opens a stream of the peer; the last two are about the part that it receives on."""
    frames: list[Frame] = [
        Stream(stream_id, 0, b"x", False),
        ResetStream(stream_id, 0, 0),
        StreamDataBlocked(stream_id, 0),
    ]
    return frames + ([MaxStreamData(stream_id, 1), StopSending(stream_id, 0)] if sendable else [])


@pytest.mark.parametrize("index", range(5))
def test_stream_limit_bidirectional(small: RawSession, role: str, index: int) -> None:
    inside = opening_frames(peer_stream(role, 3), sendable=True)[index]
    small.send(ONE_RTT, inside)
    is_healthy(small)
    small.send(ONE_RTT, opening_frames(peer_stream(role, 4), sendable=True)[index])
    closes_with(small, Code.STREAM_LIMIT_ERROR)


@pytest.mark.parametrize("index", range(3))
def test_stream_limit_unidirectional(small: RawSession, role: str, index: int) -> None:
    small.send(ONE_RTT, opening_frames(peer_stream(role, 1, unidirectional=True), sendable=False)[index])
    is_healthy(small)
    small.send(ONE_RTT, opening_frames(peer_stream(role, 9, unidirectional=True), sendable=False)[index])
    closes_with(small, Code.STREAM_LIMIT_ERROR)


def test_limit_rises_as_streams_finish(small: RawSession, role: str) -> None:
    """And only then, however many the peer has opened."""
    for index in range(40):
        stream_id = peer_stream(role, index, unidirectional=True)
        small.send(ONE_RTT, Stream(stream_id, 0, b"x", True))
        assert small.connection.read(stream_id) == (b"x", True)
        small.collect()
    assert MaxStreams(42, True) in small.raw.frames(ONE_RTT)
    is_healthy(small)


@pytest.mark.parametrize("index", range(5))
def test_streams_we_never_opened(small: RawSession, role: str, index: int) -> None:
    """RFC 9000 §19.4, §19.5, §19.8, §19.10, §19.13."""
    small.send(ONE_RTT, opening_frames(own_stream(role, 0), sendable=True)[index])
    closes_with(small, Code.STREAM_STATE_ERROR)


@pytest.mark.parametrize("index", range(3))
def test_data_on_a_stream_only_we_send_on(small: RawSession, role: str, index: int) -> None:
    stream_id = small.connection.open_stream(unidirectional=True)
    assert stream_id == own_stream(role, 0, unidirectional=True)
    small.connection.write(stream_id, b"data")
    small.collect()
    small.send(ONE_RTT, opening_frames(stream_id, sendable=False)[index])
    closes_with(small, Code.STREAM_STATE_ERROR)


@pytest.mark.parametrize("kind", [MaxStreamData, StopSending])
def test_credit_for_a_stream_only_the_peer_sends_on(
    small: RawSession, role: str, kind: type[MaxStreamData] | type[StopSending]
) -> None:
    stream_id = peer_stream(role, 0, unidirectional=True)
    small.send(ONE_RTT, Stream(stream_id, 0, b"x", False))
    small.send(ONE_RTT, kind(stream_id, 5))
    closes_with(small, Code.STREAM_STATE_ERROR)


@pytest.mark.parametrize("offset", [0, 500, 999])
def test_stream_flow_control(small: RawSession, role: str, offset: int) -> None:
    stream_id = peer_stream(role, 0)
    small.send(ONE_RTT, Stream(stream_id, offset, bytes(1000 - offset), False))
    is_healthy(small)
    small.send(ONE_RTT, Stream(stream_id, 1000, b"x", False))
    closes_with(small, Code.FLOW_CONTROL_ERROR)


def test_connection_flow_control(small: RawSession, role: str) -> None:
    for index in range(2):
        small.send(ONE_RTT, Stream(peer_stream(role, index), 0, bytes(1000), False))
    is_healthy(small)
    small.send(ONE_RTT, Stream(peer_stream(role, 2), 0, b"x", False))
    closes_with(small, Code.FLOW_CONTROL_ERROR)


def test_connection_flow_control_counts_gaps_and_resets(small: RawSession, role: str) -> None:
    """RFC 9000 §4.1, §4.5: the highest offset counts, arrived or not."""
    small.send(ONE_RTT, Stream(peer_stream(role, 0), 999, b"x", False))
    small.send(ONE_RTT, Stream(peer_stream(role, 1), 999, b"x", False))
    is_healthy(small)
    small.send(ONE_RTT, ResetStream(peer_stream(role, 2), 0, 1))
    closes_with(small, Code.FLOW_CONTROL_ERROR)


@pytest.mark.parametrize("count", [1, 4])
def test_flow_control_in_a_run(small: RawSession, role: str, count: int) -> None:
    """Equal packets are read by column; the limits hold there too."""
    stream_id = peer_stream(role, 0)
    packets = [
        small.raw.packet(ONE_RTT, Stream(stream_id, 100 + 400 * index, bytes(400), False))
        for index in range(count)
    ]
    small.deliver(*packets, batch=True)
    if 100 + 400 * count <= 1000:
        is_healthy(small)
    else:
        closes_with(small, Code.FLOW_CONTROL_ERROR)


def test_credit_follows_what_is_read(small: RawSession, role: str) -> None:
    """Nothing is granted to a peer whose data nobody reads."""
    stream_id = peer_stream(role, 0)
    small.send(ONE_RTT, Stream(stream_id, 0, bytes(1000), False))
    grants = [frame for frame in small.raw.frames(ONE_RTT) if isinstance(frame, MaxStreamData)]
    assert grants == []
    small.connection.read(stream_id)
    small.collect()
    grants = [frame for frame in small.raw.frames(ONE_RTT) if isinstance(frame, MaxStreamData)]
    assert grants == [MaxStreamData(stream_id, 2000)]


@pytest.mark.parametrize(
    "frame",
    [
        Stream(0, 10, b"", True),
        Stream(0, 5, b"x", True),
        Stream(0, 20, b"x", False),
        Stream(0, 21, b"", True),
        ResetStream(0, 0, 19),
        ResetStream(0, 0, 21),
    ],
)
def test_final_size(server: RawSession, frame: Frame) -> None:
    """RFC 9000 §4.5: it is 20, by a FIN that has come."""
    server.send(ONE_RTT, Stream(0, 10, bytes(10), True))
    assert server.closed is None
    server.send(ONE_RTT, frame)
    closes_with(server, Code.FINAL_SIZE_ERROR)


@pytest.mark.parametrize("frame", [Stream(0, 10, b"", True), ResetStream(0, 0, 19)])
def test_final_size_below_what_came(server: RawSession, frame: Frame) -> None:
    server.send(ONE_RTT, Stream(0, 0, bytes(20), False))
    server.send(ONE_RTT, frame)
    closes_with(server, Code.FINAL_SIZE_ERROR)


def test_same_final_size_again(server: RawSession) -> None:
    server.send(ONE_RTT, Stream(0, 10, bytes(10), True))
    server.send(ONE_RTT, Stream(0, 10, bytes(10), True), Stream(0, 20, b"", True), ResetStream(0, 0, 20))
    is_healthy(server)


def test_frames_for_a_finished_stream(server: RawSession) -> None:
    """Late copies are ignored (RFC 9000 §3)."""
    server.send(ONE_RTT, Stream(2, 0, b"all", True))
    assert server.connection.read(2) == (b"all", True)
    server.send(ONE_RTT, Stream(2, 0, b"all", True), ResetStream(2, 0, 3), StreamDataBlocked(2, 3))
    is_healthy(server)


def test_stop_sending_is_answered_with_a_reset(server: RawSession) -> None:
    """RFC 9000 §3.5."""
    server.send(ONE_RTT, Stream(0, 0, b"request", True))
    server.connection.write(0, b"x" * 100)
    server.collect()
    server.send(ONE_RTT, StopSending(0, 77))
    assert ResetStream(0, 77, 100) in server.raw.frames(ONE_RTT)


def test_data_out_of_order_in_too_many_pieces(server: RawSession) -> None:
    """RFC 9000 §2.2: single bytes with gaps between cost more to keep than flow control counts."""
    count = 2 * MAX_SMALL_FRAGMENTS
    for start in range(0, count, 100):
        server.send(ONE_RTT, *(Stream(0, 1 + 2 * index, b"x", False) for index in range(start, start + 100)))
    closes_with(server, Code.INTERNAL_ERROR, FrameType.STREAM | 6)
