"""The Capsule Protocol (RFC 9297 §3)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endpoint.h3.capsules import Capsule, CapsuleReader, CapsuleType, encode_capsule
from endpoint.h3.headers import MessageError

capsules_to_send = st.lists(st.tuples(st.integers(0, 1 << 30), st.binary(max_size=80)), max_size=6)


def test_the_format() -> None:
    assert encode_capsule(CapsuleType.DATAGRAM, b"abc") == b"\x00\x03abc"
    assert encode_capsule(0x2843, bytes(64)) == b"\x68\x43\x40\x40" + bytes(64)


@settings(deadline=None)
@given(capsules_to_send, st.lists(st.integers(1, 20), min_size=1))
def test_capsules_come_out_whatever_the_pieces(sent: list[tuple[int, bytes]], sizes: list[int]) -> None:
    stream = b"".join(encode_capsule(kind, value) for kind, value in sent)
    reader = CapsuleReader()
    got: list[Capsule] = []
    position = turn = 0
    while position < len(stream):
        size = sizes[turn % len(sizes)]
        got += reader.feed(stream[position : position + size])
        position += size
        turn += 1
    reader.finish()
    assert got == sent


@settings(deadline=None)
@given(capsules_to_send, st.integers(1, 20))
def test_unknown_types_are_skipped(sent: list[tuple[int, bytes]], size: int) -> None:
    sent = [(kind % 3, value) for kind, value in sent]
    stream = b"".join(encode_capsule(kind, value) for kind, value in sent)
    reader = CapsuleReader(wanted=frozenset((1,)), max_value=80)
    got = [c for at in range(0, len(stream), size) for c in reader.feed(stream[at : at + size])]
    reader.finish()
    assert got == [(kind, value) for kind, value in sent if kind == 1]


def test_an_endless_unknown_capsule_is_not_kept() -> None:
    """Its length is more than any memory."""
    reader = CapsuleReader(wanted=frozenset((0,)))
    assert reader.feed(b"\x17" + b"\xff" * 8 + bytes(1000)) == []
    for _ in range(100):
        assert reader.feed(bytes(1000)) == []
    with pytest.raises(MessageError, match="within a capsule"):
        reader.finish()


def test_a_datagram_that_is_too_long_is_dropped_and_others_are_errors() -> None:
    reader = CapsuleReader(max_value=4)
    stream = encode_capsule(0, b"12345") + encode_capsule(0, b"1234")
    assert [reader.feed(stream[:3]), reader.feed(stream[3:])] == [[], [(0, b"1234")]]
    with pytest.raises(MessageError, match="0x17 with 5 bytes"):
        reader.feed(encode_capsule(0x17, b"12345")[:2])


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_stream_that_ends_within_a_capsule_is_an_error(cut: int) -> None:
    stream = encode_capsule(0x40, b"ab")
    reader = CapsuleReader()
    reader.feed(stream[:cut])
    if cut == len(stream):
        reader.finish()
    else:
        with pytest.raises(MessageError, match="within a capsule"):
            reader.finish()
