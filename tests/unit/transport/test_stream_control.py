"""Control frames of streams: when they are due, and when again after a loss (RFC 9000 §13.3)."""

from collections import deque

import pytest

from endpoint.config import Config
from endpoint.errors import StreamError
from endpoint.events import Event
from endpoint.transport.streams import Streams
from endpoint.wire.frames import (
    DataBlocked,
    MaxData,
    MaxStreamData,
    MaxStreams,
    ResetStream,
    StopSending,
    StreamDataBlocked,
    StreamsBlocked,
)
from endpoint.wire.transport_params import TransportParameters

RTT = 0.1


def make(
    *, is_client: bool = True, data: int = 1 << 30, stream_data: int = 1 << 30, streams: int = 100
) -> Streams:
    """Streams with small windows of their own: 4000 in all, 1000 for each stream, 8 streams."""
    config = Config(
        initial_max_data=4000,
        initial_max_stream_data=1000,
        max_data_window=16_000,
        max_stream_data_window=8000,
        initial_max_streams_bidi=8,
        initial_max_streams_uni=8,
    )
    made = Streams(config, is_client=is_client, events=deque[Event]())
    made.apply_peer_limits(
        TransportParameters(
            initial_max_data=data,
            initial_max_stream_data_bidi_local=stream_data,
            initial_max_stream_data_bidi_remote=stream_data,
            initial_max_stream_data_uni=stream_data,
            initial_max_streams_bidi=streams,
            initial_max_streams_uni=streams,
        )
    )
    return made


def take(streams: Streams, now: float = 0.0, max_bytes: int = 1000) -> list[object]:
    return list(streams.take_control_frames(now, RTT, max_bytes))


def send(streams: Streams) -> None:
    while (found := streams.next_range(1000)) is not None:
        stream, offset, length, fin = found
        streams.on_sent(stream, offset, length, fin)


def receive(streams: Streams, stream_id: int, offset: int, count: int) -> None:
    """Take in `count` bytes and read them."""
    streams.on_stream_data(stream_id, offset, bytes(count), fin=False)
    streams.read(stream_id)


def test_window_updates_follow_reading_and_not_arrival() -> None:
    streams = make()
    stream_id = streams.open()
    streams.on_stream_data(stream_id, 0, bytes(1000), fin=False)
    assert take(streams) == []
    streams.read(stream_id, 499)
    assert not streams.has_control_frames
    streams.read(stream_id, 101)
    assert take(streams) == [MaxStreamData(stream_id, 1600)]
    assert take(streams) == []


def test_the_connection_window_counts_all_streams() -> None:
    streams = make()
    ids = [streams.open() for _ in range(5)]
    for stream_id in ids:
        receive(streams, stream_id, 0, 400)
    assert take(streams) == [MaxData(6000)]


def test_a_growing_stream_takes_the_connection_along() -> None:
    streams = make()
    stream_id = streams.open()
    frames = []
    for step in range(20):
        receive(streams, stream_id, 500 * step, 500)
        frames += take(streams, now=step * 0.01)
    stream_limit = max(f.maximum_stream_data for f in frames if isinstance(f, MaxStreamData))
    data_limit = max(f.maximum_data for f in frames if isinstance(f, MaxData))
    assert stream_limit >= 10_000 + 8000 // 2
    assert data_limit >= stream_limit


def test_a_lost_update_is_sent_again_with_the_current_limit() -> None:
    streams = make()
    stream_id = streams.open()
    receive(streams, stream_id, 0, 600)
    (first,) = streams.take_control_frames(0.0, RTT, 1000)
    receive(streams, stream_id, 600, 100)
    streams.on_control_lost(first)
    assert take(streams, 1.0) == [MaxStreamData(stream_id, 1700)]
    streams.on_control_lost(first)  # no longer the latest
    assert take(streams, 1.0) == []


def test_a_lost_max_data_is_sent_again_with_the_current_limit() -> None:
    streams = make()
    ids = [streams.open() for _ in range(5)]
    for stream_id in ids:
        receive(streams, stream_id, 0, 450)
    (first,) = streams.take_control_frames(0.0, RTT, 1000)
    assert first == MaxData(6250)
    receive(streams, ids[0], 450, 10)
    streams.on_control_lost(first)
    assert take(streams) == [MaxData(6260)]
    streams.on_control_lost(first)
    assert take(streams) == []


def test_no_credit_for_a_stream_whose_size_is_known() -> None:
    streams = make()
    stream_id = streams.open()
    receive(streams, stream_id, 0, 600)
    (update,) = streams.take_control_frames(0.0, RTT, 1000)
    streams.on_stream_data(stream_id, 900, b"", fin=True)
    streams.on_control_lost(update)
    assert take(streams) == []


def test_an_update_that_waits_is_dropped_when_the_stream_is_stopped_or_done() -> None:
    streams = make()
    stopped, ended = streams.open(), streams.open()
    receive(streams, stopped, 0, 600)
    receive(streams, ended, 0, 600)
    streams.stop_sending(stopped, 1)
    streams.on_stream_data(ended, 600, b"", fin=True)
    assert take(streams) == [StopSending(stopped, 1)]


def test_a_reset_is_repeated_until_acknowledged_and_never_changes() -> None:
    streams = make()
    stream_id = streams.open()
    streams.write(stream_id, bytes(300))
    send(streams)
    streams.reset(stream_id, 5)
    frame = ResetStream(stream_id, 5, 300)
    assert take(streams) == [frame]
    streams.on_control_lost(frame)
    streams.on_control_lost(frame)
    assert take(streams) == [frame]
    streams.on_control_lost(frame)
    streams.on_control_acked(frame)  # late
    assert take(streams) == []


def test_stop_sending_is_repeated_while_the_peer_may_send() -> None:
    streams = make()
    stream_id = streams.open()
    streams.stop_sending(stream_id, 5)
    frame = StopSending(stream_id, 5)
    assert take(streams) == [frame]
    streams.on_control_lost(frame)
    assert take(streams) == [frame]
    streams.on_reset_stream(ResetStream(stream_id, 5, 0))
    streams.on_control_lost(frame)
    assert take(streams) == []


def test_data_blocked_once_per_limit_and_again_when_lost_and_still_blocked() -> None:
    streams = make(data=500)
    stream_id = streams.open()
    streams.write(stream_id, bytes(2000))
    send(streams)
    assert take(streams) == [DataBlocked(500)]
    send(streams)
    assert take(streams) == []
    streams.on_control_lost(DataBlocked(500))
    assert take(streams) == [DataBlocked(500)]
    streams.on_control_lost(DataBlocked(500))
    streams.on_max_data(MaxData(700))
    assert take(streams) == []
    send(streams)
    assert take(streams) == [DataBlocked(700)]
    streams.on_control_lost(DataBlocked(500))
    assert take(streams) == []


def test_stream_data_blocked_once_per_limit_and_again_when_lost_and_still_blocked() -> None:
    streams = make(stream_data=500)
    stream_id = streams.open()
    streams.write(stream_id, bytes(2000))
    send(streams)
    frame = StreamDataBlocked(stream_id, 500)
    assert take(streams) == [frame]
    streams.write(stream_id, b"x")
    assert take(streams) == []
    streams.on_control_lost(frame)
    assert take(streams) == [frame]
    streams.on_control_lost(frame)
    streams.on_max_stream_data(MaxStreamData(stream_id, 600))
    assert take(streams) == []
    send(streams)
    assert take(streams) == [StreamDataBlocked(stream_id, 600)]


def test_a_stream_may_be_blocked_from_the_start() -> None:
    streams = make(stream_data=0)
    stream_id = streams.open()
    streams.write(stream_id, b"x")
    assert not streams.has_data
    assert take(streams) == [StreamDataBlocked(stream_id, 0)]


def try_to_open(streams: Streams) -> None:
    with pytest.raises(StreamError):
        streams.open()


def test_streams_blocked_once_per_limit_and_again_when_lost_and_still_blocked() -> None:
    streams = make(streams=0)
    try_to_open(streams)
    try_to_open(streams)
    frame = StreamsBlocked(0, unidirectional=False)
    assert take(streams) == [frame]
    streams.on_control_lost(frame)
    assert take(streams) == [frame]
    streams.on_control_lost(frame)
    streams.on_max_streams(MaxStreams(1, unidirectional=False))
    assert take(streams) == []


def finish(streams: Streams, stream_id: int) -> None:
    """A unidirectional stream of the peer, from its only frame to the last read."""
    streams.on_stream_data(stream_id, 0, b"x", fin=True)
    streams.read(stream_id)


def test_max_streams_rises_as_streams_of_the_peer_finish() -> None:
    streams = make(is_client=False)
    finish(streams, 2)  # an eighth of eight
    frame = MaxStreams(9, unidirectional=True)
    assert take(streams) == [frame]
    streams.on_control_lost(frame)
    finish(streams, 6)
    assert take(streams) == [MaxStreams(10, unidirectional=True)]
    streams.on_control_lost(frame)
    assert take(streams) == []


def test_own_streams_do_not_raise_the_peers_limit() -> None:
    streams = make()
    for _ in range(8):
        stream_id = streams.open()
        streams.reset(stream_id, 0)
        streams.stop_sending(stream_id, 0)
        streams.on_stream_data(stream_id, 0, b"", fin=True)
        streams.on_control_acked(ResetStream(stream_id, 0, 0))
    assert len(streams) == 0
    assert take(streams) == []


def test_only_what_fits_is_taken_and_in_order() -> None:
    streams = make()
    ids = [streams.open() for _ in range(3)]
    for stream_id in ids:
        streams.reset(stream_id, 1)
    assert take(streams, max_bytes=24) == []
    assert take(streams, max_bytes=50) == [ResetStream(ids[0], 1, 0), ResetStream(ids[1], 1, 0)]
    assert take(streams, max_bytes=25) == [ResetStream(ids[2], 1, 0)]


def test_what_has_become_pointless_takes_no_room() -> None:
    streams = make()
    first, second = streams.open(), streams.open()
    streams.stop_sending(first, 1)
    streams.stop_sending(second, 2)
    streams.on_reset_stream(ResetStream(first, 1, 0))
    assert take(streams, max_bytes=17) == [StopSending(second, 2)]
