"""What the tests of this folder ask of a session."""

from endpoint.level import Level
from endpoint.testing.packets import RawSession
from endpoint.wire.frames import Ping


def closes_with(session: RawSession, code: int, frame_type: int | None = None) -> None:
    """The endpoint has closed with this transport error, and its peer was told so."""
    closed = session.closed
    assert closed is not None, "the connection is still open"
    assert (closed.error_code, closed.remote, closed.application) == (code, False, False), closed
    assert {frame.error_code for _, frame in session.raw.closes} == {code}
    if frame_type is not None:
        assert closed.frame_type == frame_type
        assert {frame.frame_type for _, frame in session.raw.closes} == {frame_type}


def is_healthy(session: RawSession) -> None:
    """The connection is open, and answers a PING."""
    assert session.closed is None
    assert session.raw.closes == []
    number = session.raw.next_pn[Level.ONE_RTT]
    session.send(Level.ONE_RTT, Ping())
    session.send(Level.ONE_RTT, Ping())
    ranges = [
        acked
        for packet in session.raw.packets
        if packet.level is Level.ONE_RTT
        for frame in packet.frames
        if (acked := getattr(frame, "ranges", None))
    ]
    assert any(first <= number <= last for each in ranges for first, last in each)
