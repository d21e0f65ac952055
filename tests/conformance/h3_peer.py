"""A peer of HTTP/3 that writes bytes on QUIC streams, and what the tests ask of the endpoint opposite."""

import pylsqpack

from endpoint.h3.errors import H3ErrorCode as Code
from endpoint.h3.events import Headers, HeadersReceived
from endpoint.h3.frames import FrameType, encode_frame
from endpoint.h3.streams import StreamType
from endpoint.testing.h3 import H3Session

REQUEST: Headers = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"server4"),
    (b":path", b"/"),
]
RESPONSE: Headers = [(b":status", b"200")]
SETTINGS = encode_frame(FrameType.SETTINGS, b"")


def frame(frame_type: int, payload: bytes = b"") -> bytes:
    return encode_frame(frame_type, payload)


def headers_frame(headers: Headers) -> bytes:
    return frame(FrameType.HEADERS, pylsqpack.Encoder().encode(0, list(headers))[1])


def closes_with(session: H3Session, code: Code) -> None:
    """The endpoint has closed the connection with this code, and its peer was told so."""
    for closed in (session.h3.closed, session.raw.closed):
        assert closed is not None, "the connection is still open"
        assert closed.application
        assert Code(closed.error_code) is code, closed
    assert session.h3.closed is not None
    assert not session.h3.closed.remote


def ends_stream_with(session: H3Session, stream_id: int, code: Code) -> None:
    """The endpoint has ended that stream, both ways, and nothing else: the next request works."""
    assert session.h3.closed is None
    assert session.raw.resets.get(stream_id, code) == code
    assert session.raw.stops.get(stream_id, code) == code
    assert stream_id in session.raw.resets or stream_id in session.raw.stops
    is_healthy(session)


def is_healthy(session: H3Session) -> None:
    """A message comes through."""
    stream_id = message_stream(session)
    session.write(stream_id, message(session), fin=True)
    assert session.h3.closed is None
    assert stream_id in {event.stream_id for event in session.h3.of(HeadersReceived)}


def message(session: H3Session) -> bytes:
    return headers_frame(REQUEST if session.role == "server" else RESPONSE)


def message_stream(session: H3Session) -> int:
    """A stream on which the peer may send a message: a new one, or that of a request to it."""
    if session.role == "server":
        return session.raw.connection.open_stream()
    stream_id = session.h3.h3.send_request(REQUEST, end=True)
    session.run()
    return stream_id


def control(session: H3Session, data: bytes = SETTINGS) -> int:
    return session.open(bytes((StreamType.CONTROL,)) + data, unidirectional=True)


def on_message_stream(session: H3Session, data: bytes, *, fin: bool = False) -> int:
    stream_id = message_stream(session)
    session.write(stream_id, data, fin=fin)
    return stream_id
