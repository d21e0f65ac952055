"""What a close says at which level, and how often."""

import pytest

from endpoint.errors import TransportErrorCode
from endpoint.level import Level
from endpoint.transport.close import MAX_REASON_LENGTH, Closer, CloseReason, clip_reason
from endpoint.wire.frames import ConnectionClose


@pytest.mark.parametrize("level", [Level.INITIAL, Level.HANDSHAKE])
def test_application_close_is_hidden(level: Level) -> None:
    """RFC 9000 §10.2.3."""
    frame = CloseReason(77, None, "secret").frame_at(level)
    assert frame == ConnectionClose(TransportErrorCode.APPLICATION_ERROR, 0, "")


def test_application_close_in_one_rtt() -> None:
    assert CloseReason(77, None, "why").frame_at(Level.ONE_RTT) == ConnectionClose(77, None, "why")


@pytest.mark.parametrize("level", [Level.INITIAL, Level.HANDSHAKE, Level.ONE_RTT])
def test_transport_close_is_the_same_everywhere(level: Level) -> None:
    assert CloseReason(10, 6, "why").frame_at(level) == ConnectionClose(10, 6, "why")


def test_answers_cost_ever_more_datagrams() -> None:
    closer = Closer(CloseReason(0, 0, ""))
    answered = []
    closer.due = False
    for number in range(1, 64):
        closer.on_received(1)
        if closer.due:
            answered.append(number)
            closer.due = False
    assert answered == [1, 3, 7, 15, 31, 63]


def test_a_batch_is_answered_once() -> None:
    closer = Closer(CloseReason(0, 0, ""))
    closer.due = False
    closer.on_received(64)
    assert closer.due


@pytest.mark.parametrize("character", ["x", "é", "€", "😀"])
def test_reason_is_cut_between_characters(character: str) -> None:
    clipped = clip_reason("a" + character * 300)
    assert MAX_REASON_LENGTH - 4 < len(clipped.encode()) <= MAX_REASON_LENGTH
    assert set(clipped) == {"a", character}
    assert clip_reason(character) == character
