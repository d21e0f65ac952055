"""What an HTTP/3 endpoint says to a peer that breaks a rule of streams and frames (RFC 9114, RFC 9218).

`role` is that of the endpoint under test.
"""

from collections.abc import Callable

import pytest
from conformance.h3_peer import (
    SETTINGS,
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
from endpoint.h3.errors import H3ErrorCode as Code
from endpoint.h3.events import GoawayReceived, SettingsReceived
from endpoint.h3.frames import MAX_IGNORED_FRAMES, FrameType, grease_value
from endpoint.h3.settings import Settings
from endpoint.h3.streams import StreamType
from endpoint.testing.h3 import H3Session
from endpoint.wire.varint import encode_varint

H3Maker = Callable[[str], H3Session]

GREASE = grease_value(7)
# Requests that a server of ours allows at first.
LIMIT = Config().initial_max_streams_bidi


# Control streams and SETTINGS.


def test_settings_are_sent_first(h3: H3Session) -> None:
    """RFC 9114 §6.2.1, and streams for QPACK (RFC 9204 §4.2)."""
    streams = {data[0]: bytes(data[1:]) for data in h3.raw.received.values() if data}
    assert streams.keys() >= {StreamType.CONTROL, StreamType.QPACK_ENCODER, StreamType.QPACK_DECODER}
    assert streams[StreamType.CONTROL][0] == FrameType.SETTINGS
    length = streams[StreamType.CONTROL][1]
    parsed = Settings.parse(streams[StreamType.CONTROL][2 : 2 + length])
    assert parsed.qpack_max_table_capacity == 4096
    assert len(parsed.extra) == 1


@pytest.mark.parametrize(
    "first",
    [
        frame(FrameType.GOAWAY, b"\0"),
        frame(FrameType.DATA, b"x"),
        frame(FrameType.MAX_PUSH_ID, b"\0"),
        frame(GREASE),
        frame(0x02),
    ],
)
def test_missing_settings(h3: H3Session, first: bytes) -> None:
    control(h3, first)
    closes_with(h3, Code.H3_MISSING_SETTINGS)


def test_second_settings(h3: H3Session) -> None:
    control(h3, SETTINGS + SETTINGS)
    closes_with(h3, Code.H3_FRAME_UNEXPECTED)


@pytest.mark.parametrize("identifier", [0x00, 0x02, 0x03, 0x04, 0x05])
def test_settings_of_http2(h3: H3Session, identifier: int) -> None:
    """RFC 9114 §7.2.4.1."""
    control(h3, frame(FrameType.SETTINGS, bytes((identifier, 1))))
    closes_with(h3, Code.H3_SETTINGS_ERROR)


@pytest.mark.parametrize("payload", [b"\x06\x10\x06\x10", b"\x08\x02", b"\x33\x02"])
def test_invalid_settings(h3: H3Session, payload: bytes) -> None:
    """RFC 9114 §7.2.4, RFC 9220 §3, RFC 9297 §2.1.1: twice, and neither 0 nor 1."""
    control(h3, frame(FrameType.SETTINGS, payload))
    closes_with(h3, Code.H3_SETTINGS_ERROR)


@pytest.mark.parametrize("payload", [b"\x06", b"\x06\x40"])
def test_truncated_settings(h3: H3Session, payload: bytes) -> None:
    control(h3, frame(FrameType.SETTINGS, payload))
    closes_with(h3, Code.H3_FRAME_ERROR)


def test_unknown_settings_and_frames_are_ignored(h3: H3Session) -> None:
    """RFC 9114 §7.2.4.1, §9."""
    unknown = encode_varint(GREASE) + encode_varint(5)
    control(h3, frame(FrameType.SETTINGS, unknown) + frame(GREASE, b"xyz") + frame(0x1234, bytes(5000)))
    assert h3.h3.of(SettingsReceived)
    on_message_stream(h3, frame(GREASE, bytes(3000)) + message(h3) + frame(GREASE), fin=True)
    is_healthy(h3)


def test_too_many_ignored_frames(h3: H3Session) -> None:
    """RFC 9114 §10.5."""
    control(h3, SETTINGS + frame(GREASE) * (MAX_IGNORED_FRAMES + 1))
    closes_with(h3, Code.H3_EXCESSIVE_LOAD)


@pytest.mark.parametrize("kind", [StreamType.CONTROL, StreamType.QPACK_ENCODER, StreamType.QPACK_DECODER])
def test_second_critical_stream(h3: H3Session, kind: StreamType) -> None:
    """RFC 9114 §6.2.1, RFC 9204 §4.2."""
    for _ in range(2):
        h3.open(bytes((kind,)), unidirectional=True)
    closes_with(h3, Code.H3_STREAM_CREATION_ERROR)


@pytest.mark.parametrize("kind", [StreamType.CONTROL, StreamType.QPACK_ENCODER, StreamType.QPACK_DECODER])
@pytest.mark.parametrize("how", ["fin", "reset", "stop"])
def test_closed_critical_stream(h3: H3Session, kind: StreamType, how: str) -> None:
    head = bytes((kind,)) + (SETTINGS if kind is StreamType.CONTROL else b"")
    stream_id = h3.open(head, unidirectional=True, fin=how == "fin")
    if how == "reset":
        h3.raw.connection.reset_stream(stream_id, Code.H3_NO_ERROR)
    elif how == "stop":
        ours = next(each for each, data in h3.raw.received.items() if data[0] == kind)
        h3.raw.connection.stop_sending(ours, Code.H3_NO_ERROR)
    h3.run()
    closes_with(h3, Code.H3_CLOSED_CRITICAL_STREAM)


@pytest.mark.parametrize("data", [b"", b"\x40", b"\xc0\0\0"])
def test_unidirectional_stream_ends_before_its_type(h3: H3Session, data: bytes) -> None:
    """RFC 9114 §6.2: nobody's fault."""
    h3.open(data, unidirectional=True, fin=True)
    reset = h3.open(data + b"", unidirectional=True)
    h3.raw.connection.reset_stream(reset, Code.H3_NO_ERROR)
    h3.run()
    is_healthy(h3)


def test_unknown_stream_type(h3: H3Session) -> None:
    """RFC 9114 §6.2.3: not read any further."""
    stream_id = h3.open(encode_varint(GREASE) + b"data", unidirectional=True)
    assert h3.raw.stops == {stream_id: Code.H3_STREAM_CREATION_ERROR}
    is_healthy(h3)


# Frames where they must not be.


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b"", FrameType.DATA),
        (b"\0\0", FrameType.HEADERS),
        (b"\0\0\0", FrameType.PUSH_PROMISE),
        (b"", 0x02),
        (b"", 0x06),
        (b"", 0x08),
        (b"", 0x09),
    ],
)
def test_frame_on_the_control_stream(h3: H3Session, kind: int, payload: bytes) -> None:
    control(h3, SETTINGS + frame(kind, payload))
    closes_with(h3, Code.H3_FRAME_UNEXPECTED)


@pytest.mark.parametrize("kind", [FrameType.MAX_PUSH_ID, FrameType.PRIORITY_UPDATE])
def test_frame_of_clients_only(h3_at: H3Maker, kind: FrameType) -> None:
    """RFC 9114 §7.2.7, RFC 9218 §7.2: from a server."""
    session = h3_at("client")
    control(session, SETTINGS + frame(kind, b"\0"))
    closes_with(session, Code.H3_FRAME_UNEXPECTED)


@pytest.mark.parametrize(
    "kind",
    [
        FrameType.CANCEL_PUSH,
        FrameType.SETTINGS,
        FrameType.GOAWAY,
        FrameType.MAX_PUSH_ID,
        FrameType.PRIORITY_UPDATE,
        FrameType.PRIORITY_UPDATE_PUSH,
        0x02,
        0x06,
        0x08,
        0x09,
    ],
)
@pytest.mark.parametrize("before", [False, True])
def test_frame_on_a_request_stream(h3: H3Session, kind: int, before: bool) -> None:
    on_message_stream(h3, (b"" if before else message(h3)) + frame(kind, b"\0"))
    closes_with(h3, Code.H3_FRAME_UNEXPECTED)


def test_push_promise(h3: H3Session, role: str) -> None:
    """RFC 9114 §7.2.5: a client never pushes, and a server may not without MAX_PUSH_ID."""
    on_message_stream(h3, frame(FrameType.PUSH_PROMISE, b"\0\0\0"))
    closes_with(h3, Code.H3_FRAME_UNEXPECTED if role == "server" else Code.H3_ID_ERROR)


def test_push_stream(h3: H3Session, role: str) -> None:
    """RFC 9114 §4.6, §6.2.2."""
    h3.open(bytes((StreamType.PUSH, 0)), unidirectional=True)
    closes_with(h3, Code.H3_STREAM_CREATION_ERROR if role == "server" else Code.H3_ID_ERROR)


def test_cancel_push(h3: H3Session) -> None:
    """RFC 9114 §7.2.3: nothing was promised."""
    control(h3, SETTINGS + frame(FrameType.CANCEL_PUSH, b"\0"))
    closes_with(h3, Code.H3_ID_ERROR)


@pytest.mark.parametrize("fin", [False, True])
def test_bidirectional_stream_of_the_server(h3_at: H3Maker, fin: bool) -> None:
    """RFC 9114 §6.1."""
    session = h3_at("client")
    session.open(b"x", fin=fin)
    closes_with(session, Code.H3_STREAM_CREATION_ERROR)


def test_data_before_headers(h3: H3Session) -> None:
    on_message_stream(h3, frame(FrameType.DATA, b"x"))
    closes_with(h3, Code.H3_FRAME_UNEXPECTED)


def test_data_after_an_interim_response(h3_at: H3Maker) -> None:
    session = h3_at("client")
    on_message_stream(session, headers_frame([(b":status", b"103")]) + frame(FrameType.DATA, b"x"))
    closes_with(session, Code.H3_FRAME_UNEXPECTED)


@pytest.mark.parametrize("kind", [FrameType.DATA, FrameType.HEADERS])
def test_frame_after_trailers(h3: H3Session, kind: FrameType) -> None:
    trailers = headers_frame([(b"checksum", b"1")])
    data = message(h3) + frame(FrameType.DATA, b"x") + trailers
    on_message_stream(h3, data + (trailers if kind is FrameType.HEADERS else frame(kind, b"x")))
    closes_with(h3, Code.H3_FRAME_UNEXPECTED)


def test_headers_after_connect(h3_at: H3Maker) -> None:
    """RFC 9114 §4.4."""
    session = h3_at("server")
    tunnel = headers_frame([(b":method", b"CONNECT"), (b":authority", b"example.org:443")])
    on_message_stream(session, tunnel + frame(FrameType.DATA, b"x") + headers_frame([(b"a", b"b")]))
    closes_with(session, Code.H3_FRAME_UNEXPECTED)


# Frames that are not whole, or too much.


@pytest.mark.parametrize(
    "data", [b"\x01", b"\x01\x05ab", b"\x00\x40", b"\x21", b"\x21\x03a", b"\x40"], ids=bytes.hex
)
def test_stream_ends_within_a_frame(h3: H3Session, data: bytes) -> None:
    """RFC 9114 §7.1."""
    on_message_stream(h3, message(h3) + data, fin=True)
    closes_with(h3, Code.H3_FRAME_ERROR)


@pytest.mark.parametrize("payload", [b"", b"\x40", b"\0\0", bytes(9)])
@pytest.mark.parametrize("kind", [FrameType.GOAWAY, FrameType.CANCEL_PUSH])
def test_payload_that_is_no_integer(h3: H3Session, kind: FrameType, payload: bytes) -> None:
    """RFC 9114 §7.1: fields left over, or missing."""
    control(h3, SETTINGS + frame(kind, payload))
    closes_with(h3, Code.H3_FRAME_ERROR)


def test_huge_settings(h3: H3Session) -> None:
    """RFC 9114 §10.5: told by the length, nothing of it has to come."""
    control(h3, bytes((FrameType.SETTINGS,)) + encode_varint(1 << 30))
    closes_with(h3, Code.H3_EXCESSIVE_LOAD)


def test_huge_field_section(h3: H3Session) -> None:
    stream_id = on_message_stream(h3, bytes((FrameType.HEADERS,)) + encode_varint(1 << 30))
    ends_stream_with(h3, stream_id, Code.H3_EXCESSIVE_LOAD)


def test_field_section_that_is_huge_decoded(h3: H3Session) -> None:
    """One byte of it stands for a whole field."""
    section = b"\0\0" + b"\xd1" * 60_000
    stream_id = on_message_stream(h3, frame(FrameType.HEADERS, section))
    ends_stream_with(h3, stream_id, Code.H3_EXCESSIVE_LOAD)


# GOAWAY.


def test_goaway_that_rises(h3: H3Session) -> None:
    """RFC 9114 §5.2."""
    stream_id = control(h3, SETTINGS + frame(FrameType.GOAWAY, b"\4") + frame(FrameType.GOAWAY, b"\4"))
    assert h3.h3.of(GoawayReceived) == [GoawayReceived(4)] * 2
    h3.write(stream_id, frame(FrameType.GOAWAY, b"\x08"))
    closes_with(h3, Code.H3_ID_ERROR)


def test_request_after_the_last(h3_at: H3Maker) -> None:
    """RFC 9114 §5.2, and RFC 9204 §2.2.2.2: the client's encoder has to know."""
    session = h3_at("server")
    control(session)
    session.h3.h3.send_goaway(final=True)
    stream_id = on_message_stream(session, message(session), fin=True)
    assert session.raw.resets == {stream_id: Code.H3_REQUEST_REJECTED}
    assert bytes((StreamType.QPACK_DECODER, 0x40 | stream_id)) in session.raw.received.values()


def test_goaway_that_is_no_request(h3_at: H3Maker) -> None:
    """RFC 9114 §7.2.6."""
    session = h3_at("client")
    control(session, SETTINGS + frame(FrameType.GOAWAY, b"\3"))
    closes_with(session, Code.H3_ID_ERROR)


def test_max_push_id_that_falls(h3_at: H3Maker) -> None:
    """RFC 9114 §7.2.7."""
    session = h3_at("server")
    control(session, SETTINGS + frame(FrameType.MAX_PUSH_ID, b"\5") + frame(FrameType.MAX_PUSH_ID, b"\4"))
    closes_with(session, Code.H3_ID_ERROR)


@pytest.mark.parametrize(
    ("kind", "payload", "code"),
    [
        (FrameType.PRIORITY_UPDATE, b"\1u=1", Code.H3_ID_ERROR),
        (FrameType.PRIORITY_UPDATE, encode_varint(4 * LIMIT) + b"u=1", Code.H3_ID_ERROR),
        (FrameType.PRIORITY_UPDATE, b"", Code.H3_FRAME_ERROR),
        (FrameType.PRIORITY_UPDATE, bytes(2000), Code.H3_EXCESSIVE_LOAD),
        (FrameType.PRIORITY_UPDATE_PUSH, b"\0u=1", Code.H3_ID_ERROR),
    ],
)
def test_priority_update(h3_at: H3Maker, kind: FrameType, payload: bytes, code: Code) -> None:
    """RFC 9218 §7.2."""
    session = h3_at("server")
    control(session, SETTINGS + frame(kind, payload))
    closes_with(session, code)


def test_priority_update_within_the_limit_of_streams(h3_at: H3Maker) -> None:
    """RFC 9218 §7.1: it may come before its request, as far as there can be one."""
    session = h3_at("server")
    control(session, SETTINGS + frame(FrameType.PRIORITY_UPDATE, encode_varint(4 * (LIMIT - 1)) + b"u=1"))
    assert session.h3.closed is None
