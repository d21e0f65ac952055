"""What an HTTP/3 endpoint says to a peer that breaks a rule of messages and QPACK (RFC 9114, 9204, 9297).

`role` is that of the endpoint under test.
"""

import datetime as dt
from collections.abc import Callable

import pytest
from conformance.h3_peer import (
    REQUEST,
    RESPONSE,
    closes_with,
    control,
    ends_stream_with,
    frame,
    headers_frame,
    is_healthy,
    message,
    on_message_stream,
)

from endpoint.config import Config
from endpoint.h3.datagrams import encode_datagram
from endpoint.h3.errors import H3ErrorCode as Code
from endpoint.h3.events import Headers, RequestReset
from endpoint.h3.frames import FrameType
from endpoint.h3.settings import Settings
from endpoint.h3.streams import StreamType
from endpoint.testing.certificates import Chain
from endpoint.testing.h3 import H3End, H3Session
from endpoint.testing.scenario import Scenario

H3Maker = Callable[[str], H3Session]

# Requests that a server of ours allows at first.
LIMIT = Config().initial_max_streams_bidi


# Messages.


def changed(*more: tuple[bytes, bytes], without: bytes = b"") -> Headers:
    return [field for field in REQUEST if field[0] != without] + list(more)


@pytest.mark.parametrize(
    "headers",
    [
        changed((b":path", b"/")),
        changed(without=b":method"),
        changed(without=b":scheme"),
        changed(without=b":path"),
        changed(without=b":authority"),
        changed((b":unknown", b"x")),
        changed((b":status", b"200")),
        changed((b"accept", b"*/*"), (b":protocol", b"x")),
        [(b"accept", b"*/*"), *REQUEST],
        changed((b"Upper", b"x")),
        changed((b"connection", b"close")),
        changed((b"te", b"gzip")),
        changed((b"x", b"a\nb")),
        [],
    ],
)
def test_malformed_request(h3_at: H3Maker, headers: Headers) -> None:
    """RFC 9114 §4.2, §4.3."""
    session = h3_at("server")
    stream_id = on_message_stream(session, headers_frame(headers), fin=True)
    ends_stream_with(session, stream_id, Code.H3_MESSAGE_ERROR)
    assert stream_id not in session.h3.messages


@pytest.mark.parametrize(
    "headers",
    [
        [(b":status", b"200"), (b":status", b"200")],
        [(b"server", b"x")],
        [(b":status", b"200"), (b":unknown", b"x")],
        [(b":status", b"200"), (b":path", b"/")],
        [(b"server", b"x"), (b":status", b"200")],
        [(b":status", b"20")],
        [(b":status", b"101")],
        [(b":status", b"200"), (b"Upper", b"x")],
        [(b":status", b"200"), (b"transfer-encoding", b"chunked")],
        [],
    ],
)
def test_malformed_response(h3_at: H3Maker, headers: Headers) -> None:
    session = h3_at("client")
    # The server has not read the request: it sees our STOP_SENDING, since our request is complete.
    stream_id = on_message_stream(session, headers_frame(headers))
    ends_stream_with(session, stream_id, Code.H3_MESSAGE_ERROR)
    assert session.h3.of(RequestReset) == [RequestReset(stream_id, Code.H3_MESSAGE_ERROR)]


@pytest.mark.parametrize("trailers", [[(b":path", b"/")], [(b":status", b"200")], [(b"Upper", b"x")]])
def test_malformed_trailers(h3: H3Session, trailers: Headers) -> None:
    stream_id = on_message_stream(h3, message(h3) + frame(FrameType.DATA, b"x") + headers_frame(trailers))
    ends_stream_with(h3, stream_id, Code.H3_MESSAGE_ERROR)


@pytest.mark.parametrize("data", [b"", b"1234", b"123456"])
def test_content_length(h3: H3Session, role: str, data: bytes) -> None:
    """RFC 9114 §4.1.2: 5 bytes were announced."""
    head = headers_frame([*(REQUEST if role == "server" else RESPONSE), (b"content-length", b"5")])
    stream_id = on_message_stream(
        h3, head + frame(FrameType.DATA, data), fin=role == "server" or len(data) < 6
    )
    assert h3.h3.of(RequestReset) == [RequestReset(stream_id, Code.H3_MESSAGE_ERROR)]
    assert h3.h3.closed is None


def test_request_that_is_none(h3_at: H3Maker) -> None:
    """RFC 9114 §4.1."""
    session = h3_at("server")
    stream_id = on_message_stream(session, b"", fin=True)
    ends_stream_with(session, stream_id, Code.H3_REQUEST_INCOMPLETE)


@pytest.mark.parametrize("data", [b"", headers_frame([(b":status", b"103")])])
def test_response_that_is_none(h3_at: H3Maker, data: bytes) -> None:
    session = h3_at("client")
    stream_id = on_message_stream(session, data, fin=True)
    assert session.h3.of(RequestReset) == [RequestReset(stream_id, Code.H3_MESSAGE_ERROR)]
    is_healthy(session)


# QPACK.


def test_invalid_static_index(h3: H3Session) -> None:
    """RFC 9204 §3.1: the static table ends at 98."""
    on_message_stream(h3, frame(FrameType.HEADERS, b"\0\0\xff\x24"))
    closes_with(h3, Code.QPACK_DECOMPRESSION_FAILED)


@pytest.mark.parametrize("section", [b"", b"\0", b"\0\0\x51\x05ab", b"\0\0\x80", b"\xff\xff"])
def test_invalid_field_section(h3: H3Session, section: bytes) -> None:
    on_message_stream(h3, frame(FrameType.HEADERS, section))
    closes_with(h3, Code.QPACK_DECOMPRESSION_FAILED)


def test_too_many_blocked_streams(h3: H3Session) -> None:
    """RFC 9204 §2.1.2: 16 may wait for the encoder stream."""
    for _ in range(17):
        assert h3.h3.closed is None
        on_message_stream(h3, frame(FrameType.HEADERS, b"\x02\0\x80"))
    closes_with(h3, Code.QPACK_DECOMPRESSION_FAILED)


@pytest.mark.parametrize("instruction", [b"\x3f\xe2\x1f", b"\x80\x05", b"\0"])
def test_encoder_stream(h3: H3Session, instruction: bytes) -> None:
    """RFC 9204 §4.3: a capacity above 4096, an entry that is not there."""
    h3.open(bytes((StreamType.QPACK_ENCODER,)) + instruction, unidirectional=True)
    closes_with(h3, Code.QPACK_ENCODER_STREAM_ERROR)


@pytest.mark.parametrize("settings_first", [False, True])
@pytest.mark.parametrize("instruction", [b"\0", b"\5", b"\x80"])
def test_decoder_stream(h3: H3Session, instruction: bytes, settings_first: bool) -> None:
    """RFC 9204 §4.4: an Insert Count Increment of 0 or of more than was inserted, a section never sent."""
    if settings_first:
        control(h3, frame(FrameType.SETTINGS, Settings().encode()))
    h3.open(bytes((StreamType.QPACK_DECODER,)) + instruction, unidirectional=True)
    closes_with(h3, Code.QPACK_DECODER_STREAM_ERROR)


@pytest.mark.parametrize(
    ("datagram", "code"),
    [(b"\xc0", Code.H3_DATAGRAM_ERROR), (encode_datagram(4 * LIMIT, b"x"), Code.H3_ID_ERROR)],
    ids=["no id", "beyond the limit"],
)
def test_datagram_without_stream(
    chain: Chain, valid_from: dt.datetime, role: str, datagram: bytes, code: Code
) -> None:
    """RFC 9297 §2.1. A client knows for itself what it has opened."""
    config = Config(max_datagram_frame_size=65535)
    scenario = Scenario(
        chain=chain,
        wall_time=valid_from.timestamp() + 3600,
        seed=1,
        client_config=config,
        server_config=config,
    )
    session = H3Session(scenario, role, H3End(Settings(h3_datagram=True)))
    session.raw.connection.send_datagram(datagram)
    session.run()
    if code is Code.H3_ID_ERROR and role == "client":
        is_healthy(session)
    else:
        closes_with(session, code)
