"""The sending part: buffer, order of sending, acknowledgement and loss."""

import pytest

from endpoint.errors import StreamError
from endpoint.transport.send_stream import COALESCE_BELOW, JOINED_PIECE, SendStream, StreamContent

PLENTY = 1 << 40


class Listener:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_send_ready(self, stream: SendStream) -> None:
        self.calls.append(f"ready {stream.stream_id}")

    def on_send_writable(self, stream: SendStream) -> None:
        self.calls.append(f"writable {stream.writable}")

    def on_send_finished(self, stream: SendStream) -> None:
        self.calls.append(f"finished {stream.stream_id}")


def make(buffer_size: int = 1 << 20, limit: int = PLENTY) -> tuple[SendStream, Listener]:
    listener = Listener()
    return SendStream(0, listener, buffer_size, limit), listener


def send_all(stream: SendStream, max_bytes: int = PLENTY) -> list[tuple[int, int, bool]]:
    sent = []
    while (found := stream.next_range(max_bytes, PLENTY)) is not None:
        stream.on_sent(*found)
        sent.append(found)
    return sent


def test_new_data_in_order_with_the_end() -> None:
    stream, _ = make()
    assert stream.next_range(100, PLENTY) is None
    assert stream.write(b"x" * 250, fin=True) == 250
    assert stream.state.name == "READY"
    assert send_all(stream, 100) == [(0, 100, False), (100, 100, False), (200, 50, True)]
    assert stream.state.name == "DATA_SENT"
    assert not stream.has_pending


def test_the_end_alone_needs_no_credit() -> None:
    stream, listener = make(limit=0)
    stream.write(b"", fin=True)
    assert stream.has_pending
    assert stream.next_range(100, 0) == (0, 0, True)
    stream.on_sent(0, 0, fin=True)
    assert stream.next_range(100, 0) is None
    stream.on_acked(0, 0, fin=True)
    assert stream.finished
    assert listener.calls == ["finished 0"]


def test_the_end_may_follow_after_all_data_was_sent_and_acknowledged() -> None:
    stream, _ = make()
    stream.write(b"abc")
    send_all(stream)
    stream.on_acked(0, 3, fin=False)
    stream.write(b"", fin=True)
    assert send_all(stream) == [(3, 0, True)]


def test_no_room_for_a_frame() -> None:
    stream, _ = make()
    stream.write(b"abc", fin=True)
    assert stream.next_range(0, PLENTY) is None


def test_every_limit_applies_to_new_data() -> None:
    stream, _ = make(limit=1000)
    stream.write(b"x" * 2000)
    assert stream.next_range(PLENTY, PLENTY) == (0, 1000, False)
    assert stream.next_range(PLENTY, 300) == (0, 300, False)
    assert stream.next_range(200, 300) == (0, 200, False)
    assert stream.next_range(200, 0) is None
    assert stream.has_pending  # this stream's own limit is not the obstacle
    stream.on_sent(0, 1000, fin=False)
    assert (stream.is_blocked, stream.has_pending) == (True, False)
    assert not stream.on_max_stream_data(1000)
    assert stream.on_max_stream_data(1500)
    assert stream.next_range(PLENTY, PLENTY) == (1000, 500, False)


def test_more_credit_is_news_only_for_a_blocked_stream() -> None:
    stream, _ = make(limit=1000)
    assert not stream.on_max_stream_data(2000)
    assert not stream.is_blocked


def test_lost_data_goes_first_and_needs_no_credit() -> None:
    stream, listener = make(limit=300)
    stream.write(b"x" * 400)
    send_all(stream, 100)
    stream.on_lost(100, 100, fin=False)
    assert listener.calls == ["ready 0"]
    assert stream.next_range(60, 0) == (100, 60, False)
    assert stream.on_sent(100, 60, fin=False) == 0
    assert stream.next_range(60, 0) == (160, 40, False)
    assert stream.on_sent(160, 40, fin=False) == 0
    assert not stream.has_lost
    assert stream.window.used == 300


def test_a_lost_end_is_sent_again_with_the_last_byte_or_alone() -> None:
    stream, _ = make()
    stream.write(b"x" * 150, fin=True)
    send_all(stream, 100)
    stream.on_lost(100, 50, fin=True)
    assert send_all(stream) == [(100, 50, True)]
    stream.on_acked(0, 150, fin=False)
    stream.on_lost(100, 50, fin=True)
    assert send_all(stream) == [(150, 0, True)]


def test_only_what_was_not_acknowledged_meanwhile_is_sent_again() -> None:
    stream, _ = make()
    stream.write(b"x" * 500)
    send_all(stream, 100)
    stream.on_acked(0, 100, fin=False)
    stream.on_acked(200, 100, fin=False)
    stream.on_lost(0, 500, fin=False)
    assert send_all(stream) == [(100, 100, False), (300, 200, False)]


def test_a_late_acknowledgement_cancels_what_was_to_be_sent_again() -> None:
    stream, listener = make()
    stream.write(b"x" * 100, fin=True)
    send_all(stream)
    stream.on_lost(0, 100, fin=True)
    stream.on_acked(0, 100, fin=True)
    assert not stream.has_pending
    assert stream.next_range(100, PLENTY) is None
    assert listener.calls == ["ready 0", "finished 0"]
    stream.on_acked(0, 100, fin=True)
    stream.on_lost(0, 100, fin=True)
    assert listener.calls == ["ready 0", "finished 0"]


def test_finished_needs_every_byte_and_the_end() -> None:
    stream, listener = make()
    stream.write(b"x" * 300, fin=True)
    send_all(stream, 100)
    stream.on_acked(200, 100, fin=True)
    stream.on_acked(0, 100, fin=False)
    assert listener.calls == []
    stream.on_acked(100, 100, fin=False)
    assert listener.calls == ["finished 0"]
    assert stream.state.name == "DATA_RECVD"
    assert not stream.stop(1)


def test_the_buffer_takes_no_more_than_its_size() -> None:
    stream, listener = make(buffer_size=10_000)
    assert stream.writable == 10_000
    assert stream.write(b"x" * 6000) == 6000
    assert stream.write(b"y" * 6000, fin=True) == 4000
    assert stream.writable == 0
    assert stream.write(b"z") == 0
    assert send_all(stream, 5000) == [(0, 5000, False), (5000, 5000, False)]  # the end was not taken
    stream.on_acked(0, 4999, fin=False)
    assert listener.calls == []
    stream.on_acked(4999, 1, fin=False)
    assert listener.calls == ["writable 5000"]
    stream.on_acked(5000, 5000, fin=False)
    assert listener.calls == ["writable 5000"]  # once per short write


def test_a_whole_write_ends_the_wait_for_room() -> None:
    stream, listener = make(buffer_size=10_000)
    stream.write(b"x" * 10_001)
    send_all(stream)
    stream.on_acked(0, 4000, fin=False)
    stream.write(b"y")
    stream.on_acked(4000, 6000, fin=False)
    assert listener.calls == []


def test_bytes_behind_a_gap_still_fill_the_buffer() -> None:
    stream, _ = make(buffer_size=1000)
    stream.write(b"x" * 1000)
    send_all(stream, 500)
    stream.on_acked(500, 500, fin=False)
    assert stream.writable == 0


def test_a_large_write_is_kept_and_not_copied() -> None:
    stream, _ = make()
    data = bytes(range(256)) * 64
    stream.write(data)
    assert stream.block(0, len(data)) is data
    assert stream.block(100, 5000) == data[100:5100]


def test_a_view_of_bytes_is_kept_and_of_a_bytearray_copied() -> None:
    stream, _ = make()
    fixed = bytes(range(256)) * 32
    changing = bytearray(fixed)
    stream.write(memoryview(fixed)[1:])
    stream.write(memoryview(changing))
    stream.write(changing)
    changing[:] = bytes(len(changing))
    changing.append(0)  # no export of it is left
    assert stream.block(0, 3 * len(fixed) - 1) == fixed[1:] + fixed + fixed


def test_odd_views_are_flattened() -> None:
    stream, _ = make()
    data = bytes(range(256)) * 64
    wide = memoryview(data).cast("I")
    assert stream.write(wide) == len(data)
    assert stream.write(memoryview(data)[::2]) == len(data) // 2
    assert stream.block(0, len(data) * 3 // 2) == data + data[::2]


def test_small_writes_are_joined_and_blocks_cross_writes() -> None:
    stream, _ = make()
    expected = b""
    for index in range(100):
        small = bytes([index]) * (index + 1)
        large = bytes([255 - index]) * (COALESCE_BELOW + index)
        for part in (small, small, large):
            assert stream.write(part) == len(part)
            expected += part
    for offset in range(0, len(expected) - 9000, 777):
        assert stream.block(offset, 9000) == expected[offset : offset + 9000]
    assert stream.block(0, len(expected)) == expected


def test_joined_pieces_have_an_end() -> None:
    stream, _ = make()
    step = b"s" * 1000
    for _ in range(3 * JOINED_PIECE // 1000):
        stream.write(step)
    send_all(stream)
    stream.on_acked(0, 2 * JOINED_PIECE, fin=False)
    assert stream.block(2 * JOINED_PIECE, 10) == b"s" * 10


def test_data_stays_until_acknowledged_in_order() -> None:
    stream, _ = make()
    data = [bytes([index]) * 5000 for index in range(4)]
    for part in data:
        stream.write(part)
    send_all(stream, 5000)
    stream.on_acked(10_000, 5000, fin=False)
    stream.on_acked(0, 7000, fin=False)
    assert stream.block(7000, 13_000) == b"".join(data)[7000:]
    stream.on_acked(7000, 3000, fin=False)  # now everything below 15,000
    assert stream.writable == (1 << 20) - 5000
    assert stream.block(15_000, 5000) is data[3]


def test_nothing_can_be_written_after_the_end() -> None:
    stream, _ = make()
    stream.write(b"", fin=True)
    assert stream.writable == 0
    with pytest.raises(StreamError, match="ended"):
        stream.write(b"x")


def test_reset_abandons_everything() -> None:
    stream, listener = make()
    stream.write(b"x" * 1000, fin=True)
    stream.on_sent(0, 400, fin=False)
    stream.reset(7)
    assert (stream.reset_code, stream.final_size) == (7, 400)
    assert stream.state.name == "RESET_SENT"
    assert not stream.has_pending
    assert not stream.is_blocked
    stream.on_lost(0, 400, fin=False)
    stream.on_acked(0, 400, fin=False)
    assert stream.next_range(100, PLENTY) is None
    assert listener.calls == []
    with pytest.raises(StreamError, match="reset"):
        stream.write(b"x")
    with pytest.raises(StreamError, match="Reset Sent"):
        stream.reset(8)
    stream.on_reset_acked()
    stream.on_reset_acked()
    assert stream.state.name == "RESET_RECVD"
    assert stream.finished


def test_stopped_by_the_peer() -> None:
    stream, _ = make()
    stream.write(b"x" * 100)
    send_all(stream)
    assert stream.stop(7)
    assert not stream.stop(8)
    assert (stream.reset_code, stream.final_size) == (7, 100)
    assert stream.write(b"not known yet", fin=True) == 0
    assert stream.writable == 0


def test_rewind_sends_everything_again_under_the_new_limit() -> None:
    stream, _ = make(limit=1000)
    stream.write(b"x" * 800, fin=True)
    send_all(stream, 300)
    stream.on_lost(300, 300, fin=False)
    stream.rewind(500)
    assert stream.state.name == "READY"
    assert send_all(stream, 300) == [(0, 300, False), (300, 200, False)]
    assert stream.is_blocked
    stream.on_max_stream_data(800)
    assert send_all(stream, 300) == [(500, 300, True)]


def test_content_splits_by_packets_and_the_end_stays_with_the_last() -> None:
    stream, _ = make()
    stream.write(b"x" * 5000)
    stream.on_sent(0, 5000, fin=False)
    content = StreamContent(stream, 1000, 1200, 3100, fin=True)  # 1200, 1200, 700
    rest = content.split(2)
    assert (content.offset, content.length, content.fin) == (1000, 2400, False)
    assert (rest.offset, rest.length, rest.chunk, rest.fin) == (3400, 700, 1200, True)
    last = content.split(1)
    assert (content.offset, content.length) == (1000, 1200)
    assert (last.offset, last.length) == (2200, 1200)


def test_content_reports_to_its_stream() -> None:
    stream, listener = make()
    stream.write(b"x" * 200, fin=True)
    stream.on_sent(0, 200, fin=True)
    content = StreamContent(stream, 0, 100, 200, fin=True)
    rest = content.split(1)
    rest.on_lost()
    content.on_acked()
    assert send_all(stream) == [(100, 100, True)]
    rest.on_acked()
    assert listener.calls == ["ready 0", "finished 0"]
