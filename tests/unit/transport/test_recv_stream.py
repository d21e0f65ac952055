"""The receiving part: reassembly, final size (RFC 9000 §4.5), reading, reset and stop."""

from collections.abc import Callable

import pytest

from endpoint.errors import StreamError, TransportError, TransportErrorCode
from endpoint.transport.flow_control import ReceiveWindow
from endpoint.transport.recv_stream import MAX_SMALL_FRAGMENTS, SMALL_PIECE, RecvStream


def make(window: int = 1 << 20) -> RecvStream:
    return RecvStream(0, ReceiveWindow(window, window))


def expect(code: TransportErrorCode, action: Callable[[], object]) -> None:
    with pytest.raises(TransportError) as caught:
        action()
    assert caught.value.code == code


def test_data_in_order_is_handed_out_as_it_came() -> None:
    stream = make()
    first, second = b"a" * 5000, b"b" * 5000
    assert stream.on_data(0, first, fin=False) == 5000
    assert stream.on_data(5000, second, fin=False) == 5000
    assert stream.read(5000) is first
    assert stream.read() is second
    assert stream.read() == b""
    assert not stream.readable


def test_reads_cut_and_join_pieces() -> None:
    stream = make()
    stream.on_data(0, b"a" * 300, fin=False)
    stream.on_data(300, b"b" * 300, fin=False)
    assert stream.read(100) == b"a" * 100
    assert stream.read(300) == b"a" * 200 + b"b" * 100
    assert stream.read(0) == b""
    assert stream.read() == b"b" * 200


def test_a_gap_is_waited_for() -> None:
    stream = make()
    assert stream.on_data(200, b"c" * 100, fin=False) == 300
    assert not stream.readable
    assert stream.on_data(100, b"b" * 100, fin=False) == 0
    assert stream.read() == b""
    assert stream.on_data(0, b"a" * 100, fin=False) == 0
    assert stream.read() == b"a" * 100 + b"b" * 100 + b"c" * 100


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 100), (50, 100), (150, 100), (199, 2), (250, 100), (0, 400), (90, 250), (120, 10)],
)
def test_overlaps_are_trimmed(offset: int, length: int) -> None:
    content = bytes(index % 251 for index in range(400))
    stream = make()
    stream.on_data(100, content[100:200], fin=False)
    stream.on_data(250, content[250:300], fin=False)
    stream.on_data(offset, content[offset : offset + length], fin=False)
    stream.on_data(200, content[200:400], fin=False)
    stream.on_data(0, content[:110], fin=False)
    assert stream.read() == content


def test_small_pieces_are_joined_in_memory() -> None:
    stream = make()
    for offset in range(10_000):
        stream.on_data(offset, bytes([offset % 256]), fin=False)
        if offset == 4999:
            assert stream.read(3000) == bytes(index % 256 for index in range(3000))
    assert stream.read() == bytes(index % 256 for index in range(3000, 10_000))


def test_crumbs_behind_gaps_end_the_connection() -> None:
    stream = make()
    for index in range(MAX_SMALL_FRAGMENTS):
        stream.on_data(2 * index + 1, b"x", fin=False)

    def send_more() -> None:
        for index in range(MAX_SMALL_FRAGMENTS, MAX_SMALL_FRAGMENTS + 20):
            stream.on_data(2 * index + 1, b"x", fin=False)

    expect(TransportErrorCode.INTERNAL_ERROR, send_more)


def test_fragments_of_a_useful_size_are_limited_by_the_window_only() -> None:
    stream = make(1 << 22)
    step = 2 * SMALL_PIECE
    count = 4 * MAX_SMALL_FRAGMENTS
    for index in range(count):
        stream.on_data(step * index + SMALL_PIECE, b"x" * SMALL_PIECE, fin=False)
    for index in range(count):
        stream.on_data(step * index, b"y" * SMALL_PIECE, fin=False)
    assert stream.read() == (b"y" * SMALL_PIECE + b"x" * SMALL_PIECE) * count


def test_crumbs_in_order_behind_one_gap_are_joined() -> None:
    stream = make()
    for offset in range(1, 5 * MAX_SMALL_FRAGMENTS):
        stream.on_data(offset, b"x", fin=False)
    stream.on_data(0, b"x", fin=False)
    assert len(stream.read()) == 5 * MAX_SMALL_FRAGMENTS


def test_the_stream_limit_holds_for_data_and_reset() -> None:
    stream = make(1000)
    expect(TransportErrorCode.FLOW_CONTROL_ERROR, lambda: stream.on_data(1000, b"x", fin=False))
    expect(TransportErrorCode.FLOW_CONTROL_ERROR, lambda: stream.on_reset(0, 1001))
    assert stream.on_data(999, b"x", fin=False) == 1000


def test_an_empty_frame_counts_its_offset() -> None:
    stream = make()
    assert stream.on_data(10, b"", fin=False) == 10
    stream.on_data(0, b"x" * 10, fin=False)
    assert stream.read() == b"x" * 10


def test_the_end_with_the_last_data() -> None:
    stream = make()
    stream.on_data(0, b"abc", fin=True)
    assert stream.state.name == "DATA_RECVD"
    assert stream.readable
    assert stream.read(2) == b"ab"
    assert stream.state.name == "DATA_RECVD"
    assert stream.read(2) == b"c"
    assert stream.fin_reached
    assert stream.finished


def test_the_end_before_the_data() -> None:
    stream = make()
    assert stream.on_data(3, b"", fin=True) == 3
    assert stream.state.name == "SIZE_KNOWN"
    assert not stream.readable
    assert stream.on_data(0, b"abc", fin=False) == 0
    assert stream.state.name == "DATA_RECVD"
    assert stream.read() == b"abc"
    assert stream.fin_reached


def test_the_end_alone_is_readable_once() -> None:
    stream = make()
    stream.on_data(0, b"", fin=True)
    assert stream.readable
    assert stream.read() == b""
    assert stream.fin_reached
    assert not stream.readable


def test_repeated_frames_after_the_end_have_no_effect() -> None:
    stream = make()
    stream.on_data(0, b"abc", fin=True)
    stream.read()
    assert stream.on_data(0, b"abc", fin=True) == 0
    assert stream.on_data(1, b"b", fin=False) == 0
    assert stream.on_reset(1, 3) == 0
    assert stream.state.name == "DATA_READ"


def with_known_size() -> RecvStream:
    stream = make()
    stream.on_data(90, b"x" * 10, fin=True)
    return stream


def after_reset() -> RecvStream:
    stream = make()
    stream.on_reset(1, 100)
    stream.acknowledge_reset()
    return stream


@pytest.mark.parametrize("prepare", [with_known_size, after_reset])
def test_the_final_size_cannot_change(prepare: Callable[[], RecvStream]) -> None:
    code = TransportErrorCode.FINAL_SIZE_ERROR
    expect(code, lambda: prepare().on_data(99, b"xx", fin=False))
    expect(code, lambda: prepare().on_data(99, b"xx", fin=True))
    expect(code, lambda: prepare().on_data(98, b"x", fin=True))
    expect(code, lambda: prepare().on_reset(0, 99))
    expect(code, lambda: prepare().on_reset(0, 101))
    assert prepare().on_data(99, b"x", fin=True) == 0
    assert prepare().on_reset(0, 100) == 0


def test_the_end_cannot_be_before_what_was_received() -> None:
    stream = make()
    stream.on_data(50, b"x" * 50, fin=False)
    expect(TransportErrorCode.FINAL_SIZE_ERROR, lambda: stream.on_data(98, b"x", fin=True))
    expect(TransportErrorCode.FINAL_SIZE_ERROR, lambda: stream.on_reset(0, 99))
    assert stream.on_data(100, b"", fin=True) == 0


def test_reset_discards_and_credits_everything() -> None:
    stream = make()
    stream.on_data(0, b"a" * 100, fin=False)
    stream.read(40)
    assert stream.take_credit() == 40
    stream.on_data(200, b"c" * 100, fin=False)
    assert stream.on_reset(9, 1000) == 700
    assert stream.state.name == "RESET_RECVD"
    assert not stream.readable
    assert stream.take_credit() == 960
    assert stream.take_credit() == 0
    assert stream.error_code == 9
    assert stream.read() == b""
    stream.acknowledge_reset()
    assert stream.finished
    assert stream.on_data(0, b"a" * 100, fin=False) == 0
    assert not stream.readable


def test_a_reset_after_all_the_data_is_not_reported() -> None:
    stream = make()
    stream.on_data(0, b"abc", fin=True)
    assert stream.on_reset(9, 3) == 0
    assert stream.read() == b"abc"
    with pytest.raises(StreamError):
        stream.acknowledge_reset()


def test_stopping_discards_but_counts() -> None:
    stream = make(1000)
    stream.on_data(0, b"a" * 100, fin=False)
    assert stream.stop_sending(5)
    assert not stream.readable
    assert stream.take_credit() == 100
    assert stream.on_data(150, b"b" * 50, fin=False) == 100
    assert stream.take_credit() == 100
    assert not stream.readable
    expect(TransportErrorCode.FLOW_CONTROL_ERROR, lambda: stream.on_data(1000, b"b", fin=False))
    with pytest.raises(StreamError, match="no longer read"):
        stream.read()
    with pytest.raises(StreamError, match="before"):
        stream.stop_sending(6)
    assert stream.on_data(400, b"", fin=True) == 200  # what is missing need not arrive
    assert stream.finished
    assert not stream.wants_stop_sending
    assert stream.take_credit() == 200


def test_stopping_when_the_size_is_known_asks_the_peer_all_the_same() -> None:
    stream = make()
    stream.on_data(90, b"x" * 10, fin=True)
    assert stream.stop_sending(5)
    assert stream.wants_stop_sending


def test_stopping_when_everything_is_there_needs_no_frame() -> None:
    stream = make()
    stream.on_data(0, b"abc", fin=True)
    assert not stream.stop_sending(5)
    assert stream.finished
    assert stream.take_credit() == 3


def test_a_reset_ends_the_wish_to_stop() -> None:
    stream = make()
    stream.stop_sending(5)
    stream.on_reset(5, 0)
    assert not stream.wants_stop_sending
