"""Frames reach their part, and errors name the frame at fault (RFC 9000 §19.19)."""

import datetime as dt

import pytest

from endpoint.errors import TransportErrorCode
from endpoint.events import StreamOpened, StreamReadable, StreamReset, StreamsAvailable, StreamStopped
from endpoint.level import Level
from endpoint.testing.certificates import Chain
from endpoint.testing.packets import Content, RawSession, raw_client_session
from endpoint.wire.frames import (
    Ack,
    Frame,
    MaxStreams,
    Padding,
    PathChallenge,
    PathResponse,
    Ping,
    ResetStream,
    StopSending,
    Stream,
)

ONE_RTT = Level.ONE_RTT


@pytest.fixture
def session(chain: Chain, valid_from: dt.datetime) -> RawSession:
    """A server after the handshake."""
    session = raw_client_session(chain, valid_from.timestamp() + 3600)
    session.handshake()
    session.events.clear()
    return session


def test_all_frames_of_a_packet_count(session: RawSession) -> None:
    """In their order, with padding between."""
    frames: list[Frame] = [
        Stream(0, 0, b"a", False),
        Padding(10),
        MaxStreams(500, True),
        StopSending(0, 7),
        PathChallenge(b"12345678"),
        Padding(3),
        ResetStream(0, 9, 1),
        Ping(),
    ]
    session.send(ONE_RTT, *frames)
    assert session.events == [
        StreamOpened(0),
        StreamReadable(0),
        StreamsAvailable(True),
        StreamStopped(0, 7),
        StreamReset(0, 9),
    ]
    answers = session.raw.frames(ONE_RTT)
    assert PathResponse(b"12345678") in answers
    assert ResetStream(0, 7, 0) in answers


@pytest.mark.parametrize(
    ("content", "frame_type", "code"),
    [
        (b"\x08\x05", 0x08, TransportErrorCode.STREAM_STATE_ERROR),
        (b"\x0a\x04\x01", 0x0A, TransportErrorCode.FRAME_ENCODING_ERROR),
        (b"\x04\x00\x00\x7f", 0x04, TransportErrorCode.FRAME_ENCODING_ERROR),
        (b"\x04\x00\x00\xbf\xff\xff\xff", 0x04, TransportErrorCode.FLOW_CONTROL_ERROR),
        (b"\x02\x80\x10\x00\x00\x00\x00\x00", 0x02, TransportErrorCode.PROTOCOL_VIOLATION),
        (b"\x06\x00\x04\xff\x00\x00\x00", 0x06, 0x10A),
    ],
)
def test_close_names_the_frame(session: RawSession, content: bytes, frame_type: int, code: int) -> None:
    session.send(ONE_RTT, Ping(), content)
    assert session.closed is not None
    assert (session.closed.error_code, session.closed.frame_type) == (code, frame_type)


@pytest.mark.parametrize(
    ("contents", "eliciting"),
    [
        ([Padding(30)], False),
        ([Padding(30), Ping()], True),
        ([b"\x14\x00"], True),
        ([PathResponse(bytes(8))], True),
        ([Stream(0, 0, b"", False)], True),
    ],
)
def test_what_asks_for_an_ack(session: RawSession, contents: list[Content], eliciting: bool) -> None:
    """RFC 9000 §13.2.1."""
    session.advance(1.0)
    number = session.raw.next_pn[ONE_RTT]
    session.send(ONE_RTT, *contents)
    session.advance(0.1)
    acks = [frame for frame in session.raw.frames(ONE_RTT) if isinstance(frame, Ack)]
    assert any(frame.largest_acknowledged >= number for frame in acks) == eliciting
