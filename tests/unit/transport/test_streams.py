"""The map of streams: opening, limits, reading and writing, resets, priorities, forgetting."""

import pytest
from stream_side import client, expect, limits, server

from endpoint.config import Config
from endpoint.errors import StreamError, TransportErrorCode
from endpoint.events import (
    StreamFinished,
    StreamOpened,
    StreamReadable,
    StreamReset,
    StreamsAvailable,
    StreamStopped,
    StreamWritable,
)
from endpoint.wire.frames import (
    MaxData,
    MaxStreamData,
    MaxStreams,
    ResetStream,
    StopSending,
    StreamDataBlocked,
)

CODE = TransportErrorCode


def test_stream_ids_per_role_and_type() -> None:
    one, other = client().streams, server().streams
    assert [one.open(), one.open(), one.open(unidirectional=True), one.open()] == [0, 4, 2, 8]
    assert [other.open(), other.open(unidirectional=True), other.open(unidirectional=True)] == [1, 3, 7]


def test_nothing_can_be_opened_beyond_the_peers_limit() -> None:
    side = client(peer=limits(bidi=1, uni=0))
    assert side.streams.can_open()
    assert not side.streams.can_open(unidirectional=True)
    side.streams.open()
    with pytest.raises(StreamError, match="limit of 1"):
        side.streams.open()
    side.streams.on_max_streams(MaxStreams(1, unidirectional=False))
    side.streams.on_max_streams(MaxStreams(3, unidirectional=True))
    assert side.take_events() == [StreamsAvailable(unidirectional=True)]
    assert not side.streams.can_open()
    side.streams.on_max_streams(MaxStreams(2, unidirectional=False))
    assert side.streams.open() == 4


def test_first_limits_are_chosen_by_type_and_opener() -> None:
    peer = limits()
    peer.initial_max_stream_data_bidi_local = 100
    peer.initial_max_stream_data_bidi_remote = 200
    peer.initial_max_stream_data_uni = 300
    side = server(peer=peer)
    side.streams.on_stream_data(0, 0, b"", fin=False)  # opened there: `local` there
    own_bidi, own_uni = side.streams.open(), side.streams.open(unidirectional=True)
    for stream_id in (0, own_bidi, own_uni):
        side.streams.write(stream_id, b"x" * 1000)
    sent: dict[int, int] = {}
    for content in side.send():
        sent[content.stream.stream_id] = sent.get(content.stream.stream_id, 0) + content.length
    assert sent == {0: 100, own_bidi: 200, own_uni: 300}


def test_lower_streams_are_opened_too_and_in_order() -> None:
    side = server()
    side.streams.on_stream_data(8, 0, b"x", fin=False)
    assert side.take_events() == [StreamOpened(0), StreamOpened(4), StreamOpened(8), StreamReadable(8)]
    side.streams.on_stream_data(4, 0, b"x", fin=False)
    assert side.take_events() == [StreamReadable(4)]


def test_every_frame_about_a_stream_of_the_peer_opens_it() -> None:
    side = server()
    side.streams.on_reset_stream(ResetStream(0, 1, 0))
    side.streams.on_stop_sending(StopSending(4, 1))
    side.streams.on_max_stream_data(MaxStreamData(8, 1))
    side.streams.on_stream_data_blocked(StreamDataBlocked(12, 1))
    opened = [event.stream_id for event in side.take_events() if isinstance(event, StreamOpened)]
    assert opened == [0, 4, 8, 12]


def test_the_peer_cannot_open_beyond_our_limit() -> None:
    side = server(Config(initial_max_streams_bidi=2, initial_max_streams_uni=1))
    side.streams.on_stream_data(4, 0, b"x", fin=False)
    expect(CODE.STREAM_LIMIT_ERROR, lambda: side.streams.on_stream_data(8, 0, b"x", fin=False))
    expect(CODE.STREAM_LIMIT_ERROR, lambda: side.streams.on_max_stream_data(MaxStreamData(8, 1)))
    expect(CODE.STREAM_LIMIT_ERROR, lambda: side.streams.on_reset_stream(ResetStream(6, 1, 1)))


def test_frames_for_streams_that_we_never_opened() -> None:
    side = client()
    side.streams.open()
    for action in (
        lambda: side.streams.on_stream_data(4, 0, b"x", fin=False),
        lambda: side.streams.on_reset_stream(ResetStream(4, 1, 1)),
        lambda: side.streams.on_stop_sending(StopSending(2, 1)),
        lambda: side.streams.on_max_stream_data(MaxStreamData(4, 1)),
        lambda: side.streams.on_stream_data_blocked(StreamDataBlocked(4, 1)),
    ):
        expect(CODE.STREAM_STATE_ERROR, action)


def test_frames_for_the_wrong_direction() -> None:
    side = client()
    own = side.streams.open(unidirectional=True)
    side.streams.on_stream_data(3, 0, b"x", fin=False)
    for action in (
        lambda: side.streams.on_stream_data(own, 0, b"x", fin=False),
        lambda: side.streams.on_reset_stream(ResetStream(own, 1, 1)),
        lambda: side.streams.on_stream_data_blocked(StreamDataBlocked(own, 1)),
        lambda: side.streams.on_stop_sending(StopSending(3, 1)),
        lambda: side.streams.on_max_stream_data(MaxStreamData(3, 1)),
        lambda: side.streams.on_stop_sending(StopSending(7, 1)),  # not opened yet either
    ):
        expect(CODE.STREAM_STATE_ERROR, action)


def test_an_application_cannot_use_what_is_not_there() -> None:
    side = client()
    own = side.streams.open(unidirectional=True)
    side.streams.on_stream_data(3, 0, b"x", fin=False)
    streams = side.streams
    for action in (
        lambda: streams.read(own),
        lambda: streams.stop_sending(own, 1),
        lambda: streams.write(3, b"x"),
        lambda: streams.writable(3),
        lambda: streams.reset(3, 1),
        lambda: streams.set_priority(3, 1, incremental=True),
        lambda: streams.read(100),
        lambda: streams.write(100, b""),
        lambda: streams.stop_sending(7, 1),
        lambda: streams.set_priority(own, 8, incremental=True),
    ):
        with pytest.raises(StreamError):
            action()


def test_readable_is_reported_once_until_read() -> None:
    side = server()
    side.streams.on_stream_data(0, 0, b"ab", fin=False)
    side.take_events()
    side.streams.on_stream_data(0, 2, b"cd", fin=False)
    assert side.take_events() == []
    assert side.streams.read(0, 3) == (b"abc", False)
    side.streams.on_stream_data(0, 4, b"", fin=True)
    assert side.take_events() == [StreamReadable(0)]
    assert side.streams.read(0) == (b"d", True)


def test_data_behind_a_gap_is_not_readable() -> None:
    side = server()
    side.streams.on_stream_data(0, 1, b"b", fin=False)
    assert side.take_events() == [StreamOpened(0)]
    side.streams.on_stream_data(0, 0, b"a", fin=False)
    assert side.take_events() == [StreamReadable(0)]


def test_the_connection_limit_counts_all_streams() -> None:
    side = server(Config(initial_max_data=1000))
    side.streams.on_stream_data(0, 0, b"x" * 600, fin=False)
    expect(CODE.FLOW_CONTROL_ERROR, lambda: side.streams.on_stream_data(4, 400, b"x", fin=False))


def test_resent_data_counts_once() -> None:
    side = server(Config(initial_max_data=1000))
    for _ in range(3):
        side.streams.on_stream_data(0, 0, b"x" * 1000, fin=False)
    assert side.streams.receive_window.received == 1000


def test_a_reset_counts_up_to_its_final_size() -> None:
    side = server(Config(initial_max_data=1000))
    side.streams.on_stream_data(0, 0, b"x" * 100, fin=False)
    expect(CODE.FLOW_CONTROL_ERROR, lambda: side.streams.on_reset_stream(ResetStream(0, 1, 1001)))


def test_write_send_acknowledge_finish() -> None:
    side = client()
    stream_id = side.streams.open(unidirectional=True)
    assert not side.streams.has_data
    assert side.streams.write(stream_id, b"x" * 2500, fin=True) == 2500
    contents = side.send()
    assert [(c.offset, c.length, c.fin) for c in contents] == [
        (0, 1000, False),
        (1000, 1000, False),
        (2000, 500, True),
    ]
    assert not side.streams.has_data
    contents[1].on_lost()
    (again,) = side.send()
    assert (again.offset, again.length) == (1000, 1000)
    assert side.streams.send_window.used == 2500
    for content in (contents[0], contents[2], again):
        content.on_acked()
    assert side.take_events() == [StreamFinished(stream_id)]
    assert len(side.streams) == 0


def test_writable_after_a_short_write() -> None:
    side = client(Config(send_buffer_size=4000))
    stream_id = side.streams.open()
    assert side.streams.writable(stream_id) == 4000
    assert side.streams.write(stream_id, b"x" * 5000) == 4000
    contents = side.send()
    contents[0].on_acked()
    assert side.take_events() == []
    contents[1].on_acked()
    assert side.take_events() == [StreamWritable(stream_id)]
    assert side.streams.writable(stream_id) == 2000


def test_streams_wait_for_the_connection_window_and_go_on() -> None:
    side = client(peer=limits(data=1500))
    first, second = side.streams.open(), side.streams.open()
    side.streams.write(first, b"x" * 1000, fin=True)
    side.streams.write(second, b"y" * 1000, fin=True)
    contents = side.send()
    assert [c.length for c in contents] == [1000, 500]
    assert not side.streams.has_data
    contents[0].on_lost()
    assert [(c.stream.stream_id, c.length) for c in side.send()] == [(first, 1000)]  # needs no credit
    side.streams.on_max_data(MaxData(1500))
    assert not side.streams.has_data
    side.streams.on_max_data(MaxData(1700))
    assert [(c.stream.stream_id, c.offset, c.length) for c in side.send()] == [(second, 500, 200)]


def test_a_stream_waits_for_its_own_window_and_goes_on() -> None:
    side = client(peer=limits(stream_data=600))
    stream_id = side.streams.open()
    side.streams.write(stream_id, b"x" * 1000)
    assert [c.length for c in side.send()] == [600]
    assert not side.streams.has_data
    side.streams.on_max_stream_data(MaxStreamData(stream_id, 800))
    assert [(c.offset, c.length) for c in side.send()] == [(600, 200)]


def test_no_room_leaves_the_order_alone() -> None:
    side = client()
    stream_id = side.streams.open()
    side.streams.write(stream_id, b"x")
    assert side.streams.next_range(0) is None
    assert side.streams.has_data


def test_asking_does_not_pass_the_turn() -> None:
    side = client()
    first, second = side.streams.open(), side.streams.open()
    side.streams.write(first, b"x")
    side.streams.write(second, b"y" * 5000)
    for _ in range(3):
        found = side.streams.next_range(1000)
        assert found is not None
        assert found[0].stream_id == first
    assert [c.stream.stream_id for c in side.send()][:2] == [first, second]


def test_priorities() -> None:
    side = client()
    ids = [side.streams.open() for _ in range(3)]
    for stream_id in ids:
        side.streams.write(stream_id, b"x" * 2000)
    side.streams.set_priority(ids[2], 1, incremental=False)
    assert [c.stream.stream_id for c in side.send()] == [8, 8, 0, 4, 0, 4]


def test_reset_by_the_peer() -> None:
    side = client()
    stream_id = side.streams.open()
    side.streams.on_stream_data(stream_id, 0, b"x" * 100, fin=False)
    side.take_events()
    side.streams.on_reset_stream(ResetStream(stream_id, 77, 300))
    side.streams.on_reset_stream(ResetStream(stream_id, 77, 300))
    assert side.take_events() == [StreamReset(stream_id, 77)]
    assert side.streams.read(stream_id) == (b"", False)
    side.streams.stop_sending(stream_id, 1)
    assert side.control() == []
    assert side.streams.receive_window.consumed == 300
    assert side.streams.write(stream_id, b"still open this way") > 0


def test_stop_sending_by_the_peer_resets_with_its_code() -> None:
    side = client()
    stream_id = side.streams.open(unidirectional=True)
    side.streams.write(stream_id, b"x" * 1000)
    side.send(600)
    side.streams.on_stop_sending(StopSending(stream_id, 55))
    side.streams.on_stop_sending(StopSending(stream_id, 56))
    assert side.take_events() == [StreamStopped(stream_id, 55)]
    assert side.control() == [ResetStream(stream_id, 55, 1000)]
    assert not side.streams.has_data
    assert side.streams.write(stream_id, b"x", fin=True) == 0
    side.streams.reset(stream_id, 57)
    assert side.control() == []
    side.streams.on_control_acked(ResetStream(stream_id, 55, 1000))
    assert len(side.streams) == 0
    assert side.take_events() == []


def test_stop_sending_for_what_is_finished_has_no_effect() -> None:
    side = client()
    stream_id = side.streams.open()
    side.streams.write(stream_id, b"x", fin=True)
    for content in side.send():
        content.on_acked()
    side.take_events()
    side.streams.on_stop_sending(StopSending(stream_id, 1))
    assert side.take_events() == []
    assert side.control() == []


def test_reset_by_the_application() -> None:
    side = client()
    stream_id = side.streams.open()
    side.streams.write(stream_id, b"x" * 1000)
    side.streams.reset(stream_id, 3)
    assert side.control() == [ResetStream(stream_id, 3, 0)]
    assert not side.streams.has_data
    with pytest.raises(StreamError):
        side.streams.reset(stream_id, 3)


def test_a_reset_stream_no_longer_waits_for_the_connection() -> None:
    side = client(peer=limits(data=0))
    stream_id = side.streams.open()
    side.streams.write(stream_id, b"x")
    assert side.send() == []
    side.streams.reset(stream_id, 3)
    side.streams.on_max_data(MaxData(100))
    assert side.send() == []


def test_stopped_by_the_application() -> None:
    side = client()
    stream_id = side.streams.open()
    side.streams.on_stream_data(stream_id, 0, b"x" * 100, fin=False)
    side.take_events()
    side.streams.stop_sending(stream_id, 9)
    assert side.control() == [StopSending(stream_id, 9)]
    side.streams.on_stream_data(stream_id, 100, b"x" * 100, fin=False)
    side.streams.on_reset_stream(ResetStream(stream_id, 9, 250))
    assert side.take_events() == []
    assert side.streams.receive_window.consumed == 250


def test_a_stopped_stream_is_forgotten_at_its_end() -> None:
    side = server()
    side.streams.on_stream_data(2, 0, b"x" * 10, fin=False)
    side.streams.stop_sending(2, 9)
    side.streams.on_stream_data(2, 50, b"x" * 10, fin=True)
    assert len(side.streams) == 0
    assert side.streams.receive_window.consumed == 60


def test_late_frames_for_a_finished_stream_are_ignored() -> None:
    side = server()
    side.streams.on_stream_data(2, 0, b"x", fin=True)
    assert side.streams.read(2) == (b"x", True)
    assert len(side.streams) == 0
    side.take_events()
    side.streams.on_stream_data(2, 0, b"x", fin=True)
    side.streams.on_reset_stream(ResetStream(2, 0, 1))
    side.streams.on_stream_data_blocked(StreamDataBlocked(2, 0))
    own = side.streams.open()
    side.streams.reset(own, 1)
    side.streams.stop_sending(own, 1)
    side.streams.on_stream_data(own, 0, b"", fin=True)
    side.streams.on_control_acked(ResetStream(own, 1, 0))
    side.streams.on_control_acked(ResetStream(own, 1, 0))
    side.streams.on_stop_sending(StopSending(own, 1))
    side.streams.on_max_stream_data(MaxStreamData(own, 1))
    assert len(side.streams) == 0
    assert side.take_events() == []


def test_commands_for_a_finished_stream_have_no_effect() -> None:
    side = server()
    side.streams.on_reset_stream(ResetStream(2, 0, 0))
    own = side.streams.open(unidirectional=True)
    side.streams.write(own, b"x", fin=True)
    for content in side.send():
        content.on_acked()
    assert len(side.streams) == 0
    assert side.streams.read(2) == (b"", False)
    side.streams.stop_sending(2, 1)
    assert side.streams.write(own, b"x") == 0
    assert side.streams.writable(own) == 0
    side.streams.set_priority(own, 0, incremental=False)
    side.streams.reset(own, 1)
    assert not side.streams.has_data
    assert side.control() == []


def test_a_bidirectional_stream_lives_until_both_parts_are_done() -> None:
    side = server()
    side.streams.on_stream_data(0, 0, b"GET", fin=True)
    assert side.streams.read(0) == (b"GET", True)
    side.streams.write(0, b"content", fin=True)
    (content,) = side.send()
    assert len(side.streams) == 1
    content.on_acked()
    assert len(side.streams) == 0
