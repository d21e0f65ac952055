"""The end of a connection: at which levels it is said, and what follows (RFC 9000 §10)."""

from collections.abc import Callable

import pytest
from conformance.expect import closes_with, is_healthy

from endpoint.config import Config
from endpoint.crypto.initial import initial_keys
from endpoint.crypto.packet_protection import open_payload, unprotect_header
from endpoint.errors import AlertDescription
from endpoint.errors import TransportErrorCode as Code
from endpoint.level import Level
from endpoint.testing.packets import MIN_INITIAL_DATAGRAM, RawSession
from endpoint.transport.close import ConnectionState
from endpoint.wire.frame_parser import iter_frames
from endpoint.wire.frames import (
    ConnectionClose,
    Crypto,
    Frame,
    HandshakeDone,
    MaxData,
    Ping,
    StopSending,
    Stream,
)
from endpoint.wire.header import parse_long_header
from endpoint.wire.transport_params import TransportParameters, encode_transport_parameters
from endpoint.wire.version import QUIC_V1, VERSIONS

SessionMaker = Callable[..., RawSession]

INITIAL, HANDSHAKE, ONE_RTT = Level.INITIAL, Level.HANDSHAKE, Level.ONE_RTT
CODE = 0x1234

# How far the handshake gets, and at which levels a close is said then (RFC 9000 §10.2.3).
LEVELS = {
    ("client", "start"): {INITIAL},
    ("client", "flight"): {INITIAL, HANDSHAKE},
    ("client", "complete"): {HANDSHAKE, ONE_RTT},
    ("client", "confirmed"): {ONE_RTT},
    ("server", "start"): {INITIAL},
    ("server", "flight"): {INITIAL, HANDSHAKE, ONE_RTT},
    ("server", "handshake packet"): {HANDSHAKE, ONE_RTT},
    ("server", "confirmed"): {ONE_RTT},
}


def at_stage(make: SessionMaker, role: str, stage: str) -> RawSession:
    session = make(role)
    session.collect()
    match stage:
        case "start":
            if role == "server":
                # A first packet that is valid and says nothing yet.
                session.send(INITIAL, Ping())
        case "flight":
            session.deliver(session.raw.flight()[0])
        case "handshake packet":
            session.deliver(*session.raw.flight())
            session.send(HANDSHAKE, Ping())
        case _:
            session.handshake()
            if stage == "confirmed" and role == "client":
                session.send(ONE_RTT, HandshakeDone())
    return session


def readable_levels(session: RawSession) -> set[Level]:
    """The levels of the closes that came; the raw peer may lack the keys of 1-RTT."""
    levels = {level for level, _ in session.raw.closes}
    if any(not packet[0] & 0x80 for packet in session.raw.unopened):
        levels.add(ONE_RTT)
    return levels


@pytest.mark.parametrize(("role", "stage"), LEVELS)
def test_levels_of_an_error(new_session: SessionMaker, role: str, stage: str) -> None:
    session = at_stage(new_session, role, stage)
    level = {"start": INITIAL, "flight": INITIAL, "handshake packet": HANDSHAKE}.get(stage, ONE_RTT)
    sent = session.send(level, b"\x2f")
    closes_with(session, Code.FRAME_ENCODING_ERROR)
    assert readable_levels(session) == LEVELS[role, stage]
    assert len(sent) == 1


@pytest.mark.parametrize(("role", "stage"), LEVELS)
def test_levels_of_an_applications_close(new_session: SessionMaker, role: str, stage: str) -> None:
    """Below 1-RTT the code and the reason of an application stay secret."""
    session = at_stage(new_session, role, stage)
    session.connection.close(CODE, "a secret", now=session.now)
    session.collect()
    assert readable_levels(session) == LEVELS[role, stage]
    for level, frame in session.raw.closes:
        if level is ONE_RTT:
            assert frame == ConnectionClose(CODE, None, "a secret")
        else:
            assert frame == ConnectionClose(Code.APPLICATION_ERROR, 0, "")
    assert session.closed is not None
    assert (session.closed.error_code, session.closed.application) == (CODE, True)


def test_client_pads_a_close_in_an_initial(new_session: SessionMaker) -> None:
    session = at_stage(new_session, "client", "start")
    session.connection.close(CODE, "", now=session.now)
    [datagram] = session.collect()
    assert len(datagram) >= MIN_INITIAL_DATAGRAM


def test_the_very_first_client_hello_is_bad(new_session: SessionMaker) -> None:
    """The server says why, within three times what came (RFC 9000 §8.1)."""
    session = new_session("server")
    bad = b"\x01\x00\x00\x05hello"
    sent = session.send(INITIAL, Crypto(0, bad))
    closes_with(session, 0x100 + AlertDescription.DECODE_ERROR)
    assert [level for level, _ in session.raw.closes] == [INITIAL]
    assert sum(map(len, sent)) <= 3 * MIN_INITIAL_DATAGRAM


def test_the_first_message_is_no_client_hello(new_session: SessionMaker) -> None:
    session = new_session("server")
    session.send(INITIAL, Crypto(0, b"\x02\x00\x00\x05hello"))
    closes_with(session, 0x100 + AlertDescription.UNEXPECTED_MESSAGE)


def test_no_protocol_in_common(new_session: SessionMaker) -> None:
    """A client whose handshake fails reads why, although it has only Initial keys."""
    session = new_session("server")
    session.collect()
    [datagram] = session.raw.flight()[:1]
    session.raw.next_pn[INITIAL] = 0
    # The ClientHello with another name for the protocol, of the same length.
    hello = _crypto_of(session, datagram).replace(b"hq-interop", b"no-interop")
    session.send(INITIAL, Crypto(0, hello))
    closes_with(session, 0x100 + AlertDescription.NO_APPLICATION_PROTOCOL)


def _crypto_of(session: RawSession, datagram: bytes) -> bytes:
    """The handshake bytes in the raw client's own first datagram."""

    data = memoryview(bytearray(datagram))
    header = parse_long_header(data, 0, len(data))
    _, keys = initial_keys(VERSIONS[QUIC_V1], session.raw.original_dcid, is_client=False)
    opened = unprotect_header(keys, data, 0, header.pn_offset, len(data), 0)
    assert opened is not None
    payload = header.pn_offset + opened[2]
    assert open_payload(keys, data, 0, payload, len(data), opened[1])
    frames = iter_frames(data, payload, len(data) - 16, INITIAL)
    return b"".join(frame.data for frame in frames if isinstance(frame, Crypto))


def test_close_from_the_peer(session: RawSession) -> None:
    """Draining: nothing is sent, and nothing that comes later has an effect (RFC 9000 §10.2.2)."""
    count = len(session.sent)
    session.send(ONE_RTT, ConnectionClose(CODE, None, "bye"))
    closed = session.closed
    assert closed is not None
    assert (closed.error_code, closed.reason, closed.application, closed.remote) == (CODE, "bye", True, True)
    assert session.connection.state is ConnectionState.DRAINING
    session.send(ONE_RTT, Ping())
    session.send(ONE_RTT, b"\x2f")
    session.connection.close(1, "", now=session.now)
    session.advance(60.0)
    assert len(session.sent) == count
    assert session.connection.is_closed
    assert session.closed == closed


def test_nothing_is_told_after_a_close(session: RawSession, role: str) -> None:
    """Frames, packets and datagrams after a CONNECTION_CLOSE in one batch, an error among them."""
    raw = session.raw
    stream_id = 0 if role == "server" else 1
    first = raw.packet(ONE_RTT, ConnectionClose(0, 0, ""), Stream(stream_id, 0, b"x", True), fill_to=200)
    later = [
        raw.packet(ONE_RTT, Stream(stream_id, 0, b"x", True), fill_to=200),
        raw.packet(ONE_RTT, b"\x2f", fill_to=200),
        raw.packet(ONE_RTT, ConnectionClose(7, 0, ""), fill_to=200),
    ]
    session.deliver(first, *later, batch=True)
    closed = session.closed
    assert closed is not None
    assert closed.remote
    assert closed.error_code == 0
    assert [type(event).__name__ for event in session.events].count("StreamOpened") == 0
    assert session.raw.closes == []


@pytest.mark.parametrize("later", [b"\x2f", b"\x01"])
def test_datagrams_after_a_close(session: RawSession, later: bytes) -> None:
    """The same with datagrams of other sizes, which do not make a run."""
    raw = session.raw
    session.deliver(
        raw.packet(ONE_RTT, ConnectionClose(3, 0, ""), fill_to=200),
        raw.packet(ONE_RTT, later, fill_to=150),
        batch=True,
    )
    assert session.closed is not None
    assert session.closed.error_code == 3


def test_close_at_two_levels(new_session: SessionMaker) -> None:
    """The one in the Handshake packet hides the application's code, the one in 1-RTT tells it."""
    session = at_stage(new_session, "client", "complete")
    raw = session.raw
    datagram = raw.packet(HANDSHAKE, ConnectionClose(Code.APPLICATION_ERROR, 0, ""))
    datagram += raw.packet(ONE_RTT, ConnectionClose(CODE, None, "why"))
    session.deliver(datagram)
    assert session.closed is not None
    assert (session.closed.error_code, session.closed.reason) == (CODE, "why")


def test_closing_endpoint_answers_ever_less(session: RawSession) -> None:
    """RFC 9000 §10.2.1. After 1, 2, 4, 8, ... datagrams."""
    session.send(ONE_RTT, b"\x2f")
    before = len(session.sent)
    for _ in range(63):
        session.send(ONE_RTT, Ping())
    assert len(session.sent) - before == 6
    assert session.connection.state is ConnectionState.CLOSING
    closes_with(session, Code.FRAME_ENCODING_ERROR)


def test_closing_ends_after_three_ptos(session: RawSession) -> None:
    session.connection.close(0, "", now=session.now)
    session.collect()
    pto = session.connection.rtt.pto(0.025)
    session.advance(2.9 * pto)
    assert not session.connection.is_closed
    session.advance(0.2 * pto)
    assert session.connection.is_closed
    assert session.connection.next_timeout() is None
    assert session.send(ONE_RTT, Ping()) == []


def test_idle_timeout_is_the_smaller_of_both(new_session: SessionMaker, role: str) -> None:
    """The raw peer says 30 s."""
    session = new_session(role, config=Config(max_idle_timeout=7.0))
    session.handshake()
    if role == "client":
        session.send(ONE_RTT, HandshakeDone())
        session.settle()
    session.advance(6.9)
    assert session.closed is None
    session.deaf = True
    session.advance(3.0)
    assert session.closed is not None
    assert session.closed.kind == "idle_timeout"
    assert session.raw.closes == []
    assert session.connection.is_closed


def test_no_idle_timeout(new_session: SessionMaker, role: str) -> None:
    """RFC 9000 §18.2: zero, or left out, means none."""

    def encode_without(params: TransportParameters) -> bytes:
        params.max_idle_timeout = 0
        return encode_transport_parameters(params)

    session = new_session(role, config=Config(max_idle_timeout=0.0), encode=encode_without)
    session.handshake()
    if role == "client":
        session.send(ONE_RTT, HandshakeDone())
    session.settle()
    session.advance(3600.0)
    is_healthy(session)


def test_idle_timer_is_restarted_by_packets(session: RawSession) -> None:
    for _ in range(4):
        session.advance(20.0)
        session.send(ONE_RTT, Ping())
    session.settle()
    is_healthy(session)


def test_keep_alive(new_session: SessionMaker) -> None:
    session = new_session("server", config=Config(keep_alive=10.0))
    session.handshake()
    for _ in range(6):
        session.advance(10.0)
        assert Ping() in session.raw.packets[-1].frames
        session.settle()
    is_healthy(session)


def test_late_timers_end_a_connection_once(new_session: SessionMaker) -> None:
    """A machine that slept: idle, handshake and keep-alive are all due in one call."""
    session = new_session("server", config=Config(keep_alive=5.0, handshake_timeout=20.0))
    session.deliver(session.raw.flight()[0])
    session.now += 1000.0
    session.connection.on_timeout(session.now)
    session.collect()
    assert session.closed is not None
    assert session.connection.next_timeout() is None


def test_handshake_timeout(new_session: SessionMaker) -> None:
    """A peer that keeps a handshake open by PINGs gets no more than the time for it."""
    session = new_session("server", config=Config(handshake_timeout=20.0))
    session.deliver(session.raw.flight()[0])
    for _ in range(9):
        session.advance(2.0)
        session.send(INITIAL, Ping())
    assert session.closed is None
    session.advance(2.5)
    assert session.closed is not None
    assert session.closed.kind == "handshake_timeout"


@pytest.mark.parametrize("frame", [MaxData(1 << 30), StopSending(0, 1), HandshakeDone()])
def test_frames_before_a_close_still_count(client: RawSession, frame: Frame) -> None:
    stream_id = client.connection.open_stream()
    assert stream_id == 0
    client.connection.write(0, b"request")
    client.collect()
    client.send(ONE_RTT, frame, ConnectionClose(0, 0, ""))
    assert client.closed is not None
    names = [type(event).__name__ for event in client.events]
    assert names[-1] == "ConnectionClosed"
    expected = {"StopSending": "StreamStopped", "HandshakeDone": "HandshakeConfirmed"}.get(
        type(frame).__name__
    )
    assert expected is None or expected in names
