"""Frames where they must not be, or with contents they must not have (RFC 9000 §12.4, §19)."""

from collections.abc import Callable

import pytest
from conformance.expect import closes_with, is_healthy

from endpoint.errors import TransportErrorCode as Code
from endpoint.level import Level
from endpoint.testing.packets import Content, RawSession, build_packet
from endpoint.wire.frames import (
    FRAME_TYPES,
    PERMITTED_FRAME_TYPES,
    Ack,
    AckFrequency,
    ConnectionClose,
    DataBlocked,
    Datagram,
    Frame,
    FrameType,
    HandshakeDone,
    ImmediateAck,
    MaxData,
    MaxStreamData,
    MaxStreams,
    NewConnectionId,
    NewToken,
    PathChallenge,
    PathResponse,
    ResetStream,
    RetireConnectionId,
    StopSending,
    Stream,
    StreamDataBlocked,
    StreamsBlocked,
)

SessionMaker = Callable[..., RawSession]

SAMPLES: dict[FrameType, Frame] = {
    FrameType.RESET_STREAM: ResetStream(0, 0, 0),
    FrameType.STOP_SENDING: StopSending(0, 0),
    FrameType.NEW_TOKEN: NewToken(b"token"),
    FrameType.STREAM: Stream(0, 0, b"data", False),
    FrameType.MAX_DATA: MaxData(1 << 20),
    FrameType.MAX_STREAM_DATA: MaxStreamData(0, 1 << 20),
    FrameType.MAX_STREAMS_BIDI: MaxStreams(10, False),
    FrameType.MAX_STREAMS_UNI: MaxStreams(10, True),
    FrameType.DATA_BLOCKED: DataBlocked(0),
    FrameType.STREAM_DATA_BLOCKED: StreamDataBlocked(0, 0),
    FrameType.STREAMS_BLOCKED_BIDI: StreamsBlocked(0, False),
    FrameType.STREAMS_BLOCKED_UNI: StreamsBlocked(0, True),
    FrameType.NEW_CONNECTION_ID: NewConnectionId(1, 0, bytes(8), bytes(16)),
    FrameType.RETIRE_CONNECTION_ID: RetireConnectionId(0),
    FrameType.PATH_CHALLENGE: PathChallenge(bytes(8)),
    FrameType.PATH_RESPONSE: PathResponse(bytes(8)),
    FrameType.APPLICATION_CLOSE: ConnectionClose(0, None, ""),
    FrameType.HANDSHAKE_DONE: HandshakeDone(),
    FrameType.DATAGRAM_LEN: Datagram(b"data"),
    FrameType.IMMEDIATE_ACK: ImmediateAck(),
    FrameType.ACK_FREQUENCY: AckFrequency(0, 1, 25_000, 1),
}
MISPLACED = [
    (level, frame_type)
    for level in (Level.INITIAL, Level.HANDSHAKE)
    for frame_type in SAMPLES
    if frame_type not in PERMITTED_FRAME_TYPES[level]
]


def test_samples_cover_every_restricted_type() -> None:
    restricted = {
        frame_type for frame_type, rules in FRAME_TYPES.items() if Level.INITIAL not in rules.levels
    }
    stream_variants = {FrameType.STREAM | flags for flags in range(1, 8)}
    assert restricted - stream_variants - {FrameType.DATAGRAM} == set(SAMPLES)


@pytest.mark.parametrize(("level", "frame_type"), MISPLACED)
def test_frame_not_permitted_at_level(
    session_at: SessionMaker, role: str, level: Level, frame_type: FrameType
) -> None:
    session = session_at(role, level)
    session.send(level, SAMPLES[frame_type])
    # The writer sets STREAM's flags.
    expected = frame_type if frame_type != FrameType.STREAM else FrameType.STREAM | 2
    closes_with(session, Code.PROTOCOL_VIOLATION, expected)


@pytest.mark.parametrize("level", [Level.INITIAL, Level.HANDSHAKE, Level.ONE_RTT])
@pytest.mark.parametrize("frame_type", [b"\x20", b"\x40\x42", b"\xaf\x00\x00\x00", b"\x2f"])
def test_unknown_frame_type(session_at: SessionMaker, role: str, level: Level, frame_type: bytes) -> None:
    session = session_at(role, level)
    session.send(level, frame_type)
    closes_with(session, Code.FRAME_ENCODING_ERROR)


@pytest.mark.parametrize("level", [Level.INITIAL, Level.HANDSHAKE, Level.ONE_RTT])
def test_packet_without_frames(session_at: SessionMaker, role: str, level: Level) -> None:
    session = session_at(role, level)
    # Without a payload a packet number of four bytes is what leaves enough to sample.
    raw = session.raw
    packet = build_packet(
        level, raw.write_keys[level], [], dcid=raw.peer_cid, scid=raw.cid, pn=raw.next_pn[level], pn_length=4
    )
    if level is Level.INITIAL and role == "server":
        # The datagram is filled with a second packet that is never looked at.
        packet += raw.packet(Level.HANDSHAKE, b"\x01", fill_to=1200 - len(packet))
    session.deliver(packet)
    closes_with(session, Code.PROTOCOL_VIOLATION)


def test_frame_type_in_a_long_form(session: RawSession) -> None:
    """RFC 9000 §12.4: a frame type takes the shortest encoding; here PING in two bytes."""
    session.send(Level.ONE_RTT, b"\x40\x01")
    closes_with(session, Code.PROTOCOL_VIOLATION)


@pytest.mark.parametrize(
    "content",
    [
        b"\x02\x05\x00\x00\x06",  # first ACK range reaches below 0
        b"\x06\x00\x44",  # CRYPTO that is longer than the packet
        b"\x0a\x00\x3f",  # STREAM that is longer than the packet
        b"\x12\xd0\x00\x00\x00\x00\x00\x00\x01",  # MAX_STREAMS above 2^60
        b"\x16\xd0\x00\x00\x00\x00\x00\x00\x01",  # STREAMS_BLOCKED above 2^60
        b"\x18\x01\x00\x00" + bytes(16),  # NEW_CONNECTION_ID of length 0
        b"\x18\x01\x00\x15" + bytes(37),  # NEW_CONNECTION_ID of length 21
        b"\x18\x01\x02\x08" + bytes(24),  # Retire Prior To above the sequence number
        b"\x1a\x00\x00",  # PATH_CHALLENGE cut short
        b"\x1c\x00",  # CONNECTION_CLOSE cut short
        b"\x0e\x00\xff\xff\xff\xff\xff\xff\xff\xff\x01a",  # STREAM beyond 2^62-1
        b"\x06\xff\xff\xff\xff\xff\xff\xff\xff\x01a",  # CRYPTO beyond 2^62-1
    ],
)
def test_malformed_frame(session: RawSession, content: bytes) -> None:
    session.send(Level.ONE_RTT, content)
    closes_with(session, Code.FRAME_ENCODING_ERROR, content[0])


def test_empty_new_token(client: RawSession) -> None:
    client.send(Level.ONE_RTT, b"\x07\x00")
    closes_with(client, Code.FRAME_ENCODING_ERROR, FrameType.NEW_TOKEN)


@pytest.mark.parametrize("frame", [HandshakeDone(), NewToken(b"token")])
def test_frames_only_a_server_sends(server: RawSession, client: RawSession, frame: Frame) -> None:
    client.send(Level.ONE_RTT, frame)
    is_healthy(client)
    server.send(Level.ONE_RTT, frame)
    closes_with(server, Code.PROTOCOL_VIOLATION)


@pytest.mark.parametrize("level", [Level.INITIAL, Level.HANDSHAKE, Level.ONE_RTT])
def test_ack_of_a_packet_never_sent(session_at: SessionMaker, role: str, level: Level) -> None:
    session = session_at(role, level)
    session.send(level, Ack(1000, 0, [(1000, 1000)], None))
    closes_with(session, Code.PROTOCOL_VIOLATION, FrameType.ACK)


def test_ack_of_the_next_packet(session: RawSession) -> None:
    """One past the last: the edge of what was sent."""
    largest = max(packet.pn for packet in session.raw.packets if packet.level is Level.ONE_RTT)
    session.send(Level.ONE_RTT, Ack(largest, 0, [(largest, largest)], None))
    assert session.closed is None
    # Nothing was sent since: an ACK alone is not answered.
    session.send(Level.ONE_RTT, Ack(largest + 1, 0, [(largest + 1, largest + 1)], None))
    closes_with(session, Code.PROTOCOL_VIOLATION, FrameType.ACK)


@pytest.mark.parametrize("content", [b"\x14\x00", b"\x16\x00", b"\x1b" + bytes(8), b"\x01", bytes(30)])
def test_frames_that_ask_for_nothing(session: RawSession, content: Content) -> None:
    session.send(Level.ONE_RTT, content)
    is_healthy(session)


def test_datagram_that_was_not_negotiated(session: RawSession) -> None:
    """RFC 9221 §3: without max_datagram_frame_size a DATAGRAM frame is a violation."""
    session.send(Level.ONE_RTT, Datagram(b"data"))
    closes_with(session, Code.PROTOCOL_VIOLATION)
