"""Streams under remembered limits, and what becomes of them when 0-RTT is rejected."""

from stream_side import client, limits

from endpoint.errors import TransportErrorCode
from endpoint.wire.frames import (
    MaxStreams,
    ResetStream,
    StopSending,
)

CODE = TransportErrorCode


def test_early_data_rejected_sends_all_again_within_the_new_limits() -> None:
    side = client(peer=limits(data=5000, stream_data=1000, bidi=4))
    ids = [side.streams.open() for _ in range(4)]
    for stream_id in ids:
        side.streams.write(stream_id, b"x" * 900, fin=True)
    side.streams.reset(ids[1], 8)
    side.streams.reset(ids[3], 9)
    side.streams.stop_sending(ids[0], 7)
    assert len(side.send()) == 2
    side.control()
    side.streams.on_early_data_rejected(limits(data=1500, stream_data=800, bidi=2))
    assert [(c.stream.stream_id, c.offset, c.length) for c in side.send()] == [(ids[0], 0, 800)]
    first = side.control()
    assert StopSending(ids[0], 7) in first
    assert ResetStream(ids[1], 8, 0) in first
    assert ResetStream(ids[3], 9, 0) not in first
    side.streams.on_max_streams(MaxStreams(3, unidirectional=False))
    assert [(c.stream.stream_id, c.length) for c in side.send()] == [(ids[2], 700)]
    side.streams.on_max_streams(MaxStreams(4, unidirectional=False))
    assert ResetStream(ids[3], 9, 0) in side.control()


def test_nothing_is_said_of_streams_beyond_a_limit_that_fell() -> None:
    """To the server they would be beyond its limit, which ends the connection (RFC 9000 §4.6)."""
    side = client(peer=limits(data=5000, stream_data=1000, bidi=3))
    ids = [side.streams.open() for _ in range(3)]
    for stream_id in ids:
        side.streams.write(stream_id, b"x")
    side.streams.stop_sending(ids[1], 7)
    side.send()
    side.control()
    side.streams.on_early_data_rejected(limits(data=5000, stream_data=1000, bidi=1))
    side.streams.stop_sending(ids[2], 8)
    assert side.control() == []
    side.streams.on_max_streams(MaxStreams(2, unidirectional=False))
    assert side.control() == [StopSending(ids[1], 7)]
    side.streams.on_max_streams(MaxStreams(3, unidirectional=False))
    assert side.control() == [StopSending(ids[2], 8)]


def test_remembered_limits_are_raised_by_the_real_ones() -> None:
    side = client(peer=limits(data=500, stream_data=300, bidi=1))
    stream_id = side.streams.open()
    side.streams.write(stream_id, b"x" * 1000)
    assert [c.length for c in side.send()] == [300]
    side.streams.apply_peer_limits(limits(data=2000, stream_data=900, bidi=2))
    assert [c.length for c in side.send()] == [600]
    assert side.streams.can_open()
