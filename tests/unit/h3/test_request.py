"""Reading a request whose field section has to wait for the encoder stream (RFC 9204 §2.1.2)."""

import datetime as dt

import pytest

from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.events import BodyReadable, Headers, HeadersReceived, RequestReset, TrailersReceived
from endpoint.h3.frames import FrameType, encode_frame
from endpoint.h3.streams import StreamType
from endpoint.testing.certificates import Chain
from endpoint.testing.h3 import H3End, H3Session
from endpoint.testing.scenario import Scenario

# The last line of both is the first entry of the dynamic table.
REQUEST = encode_frame(FrameType.HEADERS, b"\x02\0\xd1\xd7\xc1\x50\x01a\x80")
TRAILERS = encode_frame(FrameType.HEADERS, b"\x02\0\x80")
PLAIN_REQUEST = encode_frame(FrameType.HEADERS, b"\0\0\xd1\xd7\xc1\x50\x01a")
CONTENT = encode_frame(FrameType.DATA, b"content")
# Set the capacity, insert "name: value".
INSTRUCTIONS = b"\x3f\xe1\x1f" + b"\x44name\x05value"
HEADERS: Headers = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":path", b"/"),
    (b":authority", b"a"),
    (b"name", b"value"),
]


@pytest.fixture
def scenario(chain: Chain, valid_from: dt.datetime) -> Scenario:
    return Scenario(chain=chain, wall_time=valid_from.timestamp() + 3600, seed=1)


@pytest.fixture
def session(scenario: Scenario) -> H3Session:
    return H3Session(scenario, "server")


def insert(session: H3Session) -> None:
    session.open(bytes((StreamType.QPACK_ENCODER,)) + INSTRUCTIONS, unidirectional=True)


def decoder_stream(session: H3Session) -> bytes:
    kind = bytes((StreamType.QPACK_DECODER,))
    return next(bytes(data[1:]) for data in session.raw.received.values() if data.startswith(kind))


@pytest.mark.parametrize("size", [None, 1])
def test_order_is_kept(session: H3Session, size: int | None) -> None:
    stream_id = session.open()
    session.write(stream_id, REQUEST + CONTENT + TRAILERS, fin=True, size=size)
    other = session.open(PLAIN_REQUEST, fin=True)  # does not wait for the one before
    assert [event.stream_id for event in session.h3.of(HeadersReceived)] == [other]
    insert(session)
    told = [event for event in session.h3.events if getattr(event, "stream_id", None) == stream_id]
    assert told[:2] == [HeadersReceived(stream_id, HEADERS, False), BodyReadable(stream_id)]
    assert TrailersReceived(stream_id, [(b"name", b"value")]) in told[2:]
    message = session.h3.messages[stream_id]
    assert (bytes(message.body), message.trailers, message.complete) == (
        b"content",
        [(b"name", b"value")],
        True,
    )
    # Two Section Acknowledgments (RFC 9204 §4.4.1).
    assert decoder_stream(session) == bytes((0x80 | stream_id,)) * 2


def test_trailers_wait(session: H3Session) -> None:
    stream_id = session.open(PLAIN_REQUEST + CONTENT + TRAILERS, fin=True)
    message = session.h3.messages[stream_id]
    assert (bytes(message.body), message.complete) == (b"content", False)
    insert(session)
    assert (message.trailers, message.complete) == ([(b"name", b"value")], True)


def test_reset_while_it_waits(session: H3Session) -> None:
    """RFC 9204 §2.2.2.2: the peer's encoder has to know; RFC 9114 §4.1.1: nothing was processed."""
    stream_id = session.open(REQUEST)
    session.raw.connection.reset_stream(stream_id, H3ErrorCode.H3_REQUEST_CANCELLED)
    session.run()
    assert decoder_stream(session) == bytes((0x40 | stream_id,))
    assert session.raw.resets == {stream_id: H3ErrorCode.H3_REQUEST_REJECTED}
    insert(session)
    assert session.h3.of(HeadersReceived) == []
    assert session.h3.of(RequestReset) == []
    assert session.h3.h3.open_requests == 0


def test_malformed_after_the_wait(session: H3Session) -> None:
    """A stream error is one there as well."""
    bad = encode_frame(FrameType.HEADERS, b"\x02\0\x80\xd1\xd7\xc1")
    stream_id = session.open(bad)
    insert(session)
    assert session.raw.resets == {stream_id: H3ErrorCode.H3_MESSAGE_ERROR}
    assert session.h3.closed is None
    # RFC 9204 §4.4: a cancellation before the acknowledgment would make that one an error.
    assert decoder_stream(session) == bytes((0x80 | stream_id, 0x40 | stream_id))


@pytest.mark.parametrize("read_size", [None, 3])
@pytest.mark.parametrize("content", [b"", b"content"])
@pytest.mark.parametrize("head", [REQUEST, PLAIN_REQUEST])
def test_a_message_that_comes_at_once(
    scenario: Scenario, head: bytes, content: bytes, read_size: int
) -> None:
    session = H3Session(scenario, "server", H3End(read_size=read_size))
    frame = encode_frame(FrameType.DATA, content) if content else b""
    stream_id = session.open(head + frame, fin=True)
    if head is REQUEST:
        assert session.h3.h3.read_body(stream_id) == (b"", False)
        insert(session)
    [request] = session.h3.of(HeadersReceived)
    message = session.h3.messages[stream_id]
    assert (request.ended, bytes(message.body), message.complete) == (not content, content, True)
    assert session.h3.h3.read_body(stream_id) == (b"", True)


@pytest.mark.parametrize(
    "content", [b"", encode_frame(FrameType.DATA, b"12"), encode_frame(FrameType.DATA, b"1234")]
)
def test_a_message_that_comes_at_once_with_another_length(session: H3Session, content: bytes) -> None:
    """RFC 9114 §4.1.2; the literal line is content-length with the value 3."""
    head = encode_frame(FrameType.HEADERS, b"\0\0\xd4\xd7\xc1\x50\x01a" + b"\x54\x013")
    stream_id = session.open(head + content, fin=True)
    assert session.raw.resets == {stream_id: H3ErrorCode.H3_MESSAGE_ERROR}
    assert session.h3.of(RequestReset) == [RequestReset(stream_id, H3ErrorCode.H3_MESSAGE_ERROR)]
    assert not session.h3.messages[stream_id].complete
