"""Short streams that are told by one event, and what comes after them."""

import pytest
from stream_side import client, expect, server

from endpoint.config import Config
from endpoint.errors import TransportErrorCode
from endpoint.events import StreamFinished, StreamOpened, StreamReadable, StreamReceived
from endpoint.transport.streams import MAX_WHOLE
from endpoint.wire.frames import MaxData, MaxStreams, ResetStream

CODE = TransportErrorCode


def test_a_stream_in_one_frame_is_one_event_and_is_answered_and_forgotten() -> None:
    side = server()
    side.streams.deliver_whole()
    side.streams.on_stream_data(0, 0, b"request", fin=True)
    assert side.take_events() == [StreamReceived(0, b"request")]
    assert side.streams.read(0) == (b"", False)
    side.streams.stop_sending(0, 1)  # nothing is left to stop
    side.streams.write(0, b"answer", fin=True)
    (content,) = side.send()
    content.on_acked()
    assert len(side.streams) == 0
    side.streams.on_stream_data(0, 0, b"request", fin=True)
    assert len(side.streams) == 0


def test_what_is_not_the_next_stream_whole_is_told_by_parts() -> None:
    side = server()
    side.streams.deliver_whole()
    side.streams.on_stream_data(4, 0, b"x", fin=True)
    assert side.take_events() == [StreamOpened(0), StreamOpened(4), StreamReadable(4)]
    side.streams.on_stream_data(0, 0, b"x", fin=True)
    side.streams.on_stream_data(2, 0, b"x", fin=True)
    side.streams.on_stream_data(8, 0, b"x", fin=False)
    side.streams.on_stream_data(12, 0, bytes(MAX_WHOLE), fin=True)
    told = side.take_events()
    assert not any(isinstance(event, StreamReceived) for event in told)
    assert [event.stream_id for event in told if isinstance(event, StreamReadable)] == [0, 2, 8, 12]


def test_the_size_of_a_whole_stream_is_final() -> None:
    side = server()
    side.streams.deliver_whole()
    side.streams.on_stream_data(0, 0, b"12345", fin=True)
    side.streams.on_stream_data(0, 1, b"234", fin=False)
    side.streams.on_reset_stream(ResetStream(0, 1, 5))
    assert side.take_events() == [StreamReceived(0, b"12345")]
    expect(CODE.FINAL_SIZE_ERROR, lambda: side.streams.on_stream_data(0, 4, b"56", fin=False))
    expect(CODE.FINAL_SIZE_ERROR, lambda: side.streams.on_stream_data(0, 0, b"1234", fin=True))
    expect(CODE.FINAL_SIZE_ERROR, lambda: side.streams.on_reset_stream(ResetStream(0, 1, 4)))


def test_whole_streams_obey_the_limits_and_raise_them() -> None:
    side = server(Config(initial_max_data=100, initial_max_streams_bidi=4))
    side.streams.deliver_whole()
    for index in range(4):
        side.streams.on_stream_data(4 * index, 0, bytes(20), fin=True)
        side.streams.write(4 * index, b"", fin=True)
    assert MaxData(180) in side.control()
    expect(CODE.STREAM_LIMIT_ERROR, lambda: side.streams.on_stream_data(16, 0, b"", fin=True))
    for content in side.send():
        content.on_acked()
    assert MaxStreams(8, unidirectional=False) in side.control()
    expect(CODE.FLOW_CONTROL_ERROR, lambda: side.streams.on_stream_data(16, 0, bytes(101), fin=True))


@pytest.mark.parametrize("frames", [[(0, b"answer", True)], [(3, b"wer", True), (0, b"ans", False)]])
def test_an_answer_that_is_all_there_is_read_at_once(frames: list[tuple[int, bytes, bool]]) -> None:
    side = client()
    side.streams.deliver_whole()
    stream_id = side.streams.open()
    for offset, data, fin in frames:
        assert side.streams.take_whole(stream_id) is None
        side.streams.on_stream_data(stream_id, offset, data, fin)
    assert side.streams.take_whole(stream_id) == b"answer"
    assert side.streams.take_whole(stream_id) is None


def test_an_answer_of_which_something_was_read_is_not_whole() -> None:
    side = client()
    side.streams.deliver_whole()
    stream_id = side.streams.open()
    side.streams.on_stream_data(stream_id, 0, b"ans", fin=False)
    assert side.streams.read(stream_id) == (b"ans", False)
    side.streams.on_stream_data(stream_id, 3, b"wer", fin=True)
    assert side.streams.take_whole(stream_id) is None
    assert side.streams.read(stream_id) == (b"wer", True)


def test_a_default_priority_orders_streams_like_one_that_was_set() -> None:
    side = client()
    side.streams.set_default_priority(3, incremental=False)
    first, second = side.streams.open(), side.streams.open()
    for stream_id in (second, first):
        side.streams.write(stream_id, bytes(100))
    assert [content.stream.stream_id for content in side.send(10)] == [first] * 10 + [second] * 10


def test_streams_left() -> None:
    side = client()
    left = side.streams.left()
    side.streams.open()
    assert side.streams.left() == left - 1
    assert side.streams.can_open()


def test_streams_that_end_are_counted_until_the_peer_has_all() -> None:
    side = server()
    side.streams.deliver_whole(finished=False)
    for stream_id in (0, 4, 8):
        side.streams.on_stream_data(stream_id, 0, b"request", fin=True)
        side.streams.write(stream_id, b"answer", fin=stream_id < 8)
    assert side.streams.ending == 2
    side.streams.reset(0, 1)
    assert side.streams.ending == 1
    for content in side.send():
        content.on_acked()
    assert side.streams.ending == 0
    assert not any(isinstance(event, StreamFinished) for event in side.take_events())
