"""Address validation: three times what came, to the byte, and nobody waits for ever (RFC 9000 §8)."""

import datetime as dt
from collections.abc import Callable

from endpoint.level import Level
from endpoint.testing.certificates import Chain
from endpoint.testing.packets import MIN_INITIAL_DATAGRAM, RawSession, raw_client_session
from endpoint.wire.frames import Ack, Crypto, HandshakeDone, PathChallenge, PathResponse, Ping

SessionMaker = Callable[..., RawSession]

INITIAL, HANDSHAKE, ONE_RTT = Level.INITIAL, Level.HANDSHAKE, Level.ONE_RTT
SIZE = 1252


def total(datagrams: list[bytes]) -> int:
    return sum(map(len, datagrams))


def test_limit_to_the_byte(long_chain: Chain, valid_from: dt.datetime) -> None:
    """A flight of 10 kB: after each datagram, also a damaged or repeated one, three times its size."""
    session = raw_client_session(long_chain, valid_from.timestamp() + 3600)
    session.deaf = True
    [hello] = session.raw.flight()
    garbage = bytearray(session.raw.datagram(INITIAL, Ping()))
    garbage[-1] ^= 1
    received = 0
    for datagram in (hello, hello, bytes(garbage), hello[:-1] + b"x"):
        received += len(datagram)
        session.deliver(datagram)
        assert total(session.sent) <= 3 * received
        if datagram is hello:
            assert total(session.sent) > 3 * received - SIZE
    for _ in range(10):
        session.advance(1.0)
        assert total(session.sent) <= 3 * received


def test_timers_send_nothing_beyond_the_limit(long_chain: Chain, valid_from: dt.datetime) -> None:
    """RFC 9002 §6.2.2.1: without more from the client there is nothing to do, and no timer to do it."""
    session = raw_client_session(long_chain, valid_from.timestamp() + 3600)
    session.deaf = True
    session.deliver(*session.raw.flight())
    sent = total(session.sent)
    assert 3 * MIN_INITIAL_DATAGRAM - SIZE < sent <= 3 * MIN_INITIAL_DATAGRAM
    assert session.advance(20.0) == []


def test_limit_ends_with_a_handshake_packet(long_chain: Chain, valid_from: dt.datetime) -> None:
    session = raw_client_session(long_chain, valid_from.timestamp() + 3600)
    [hello] = session.raw.flight()
    session.deliver(hello)
    session.deliver(session.raw.datagram(INITIAL, session.raw.ack(INITIAL)))
    received = 2 * MIN_INITIAL_DATAGRAM
    assert total(session.sent) <= 3 * received
    probe = session.raw.datagram(HANDSHAKE, session.raw.ack(HANDSHAKE))
    session.deliver(probe)
    assert total(session.sent) > 3 * (received + len(probe))
    session.handshake()
    assert session.connection.handshake_complete


def test_close_respects_the_limit(new_session: SessionMaker) -> None:
    """A closing server answers a flood no more than three times, either."""
    session = new_session("server")
    received = 0
    for _ in range(40):
        datagram = session.raw.datagram(INITIAL, b"\x2f")
        received += len(datagram)
        session.deliver(datagram)
        assert total(session.sent) <= 3 * received
    assert session.raw.closes


def test_client_probes_a_server_that_may_not_send(new_session: SessionMaker) -> None:
    """RFC 9002 §6.2.2.1: everything is acknowledged, nothing came; the server may need bytes."""
    session = new_session("client")
    session.collect()
    session.deliver(session.raw.packet(INITIAL, session.raw.ack(INITIAL)))
    probes = session.advance(3.0)
    assert probes
    assert all(len(probe) >= MIN_INITIAL_DATAGRAM for probe in probes)
    assert session.raw.packets[-1].level is INITIAL
    assert any(isinstance(frame, Ping | Crypto) for frame in session.raw.packets[-1].frames)


def test_client_probes_with_what_it_has_acknowledged(new_session: SessionMaker) -> None:
    """Its ACK may be lost, and without it a server may never find out what of its flight was."""
    session = new_session("client")
    session.collect()
    session.deliver(session.raw.packet(INITIAL, Ping()))
    answers = len(session.raw.packets)
    assert any(isinstance(frame, Ack) for frame in session.raw.packets[-1].frames)
    session.advance(1.1)
    probes = session.raw.packets[answers:]
    assert any(isinstance(frame, Ack) for packet in probes for frame in packet.frames)


def test_client_probes_with_handshake_keys(session_at: SessionMaker) -> None:
    """With Handshake keys the probe is a Handshake packet, which validates the address."""
    session = session_at("client", INITIAL)
    session.deliver(session.raw.packet(INITIAL, session.raw.ack(INITIAL)))
    assert not any(packet.level is HANDSHAKE for packet in session.raw.packets)
    session.advance(3.0)
    probe = session.raw.packets[-1]
    assert probe.level is HANDSHAKE
    assert any(isinstance(frame, Ping) for frame in probe.frames)


def test_client_stops_probing_when_confirmed(client: RawSession) -> None:
    client.send(ONE_RTT, HandshakeDone())
    client.settle()
    client.advance(1.0)
    assert client.advance(10.0) == []


def test_path_challenge_is_answered_in_a_full_datagram(session: RawSession) -> None:
    """RFC 9000 §8.2.2."""
    sent = session.send(ONE_RTT, PathChallenge(b"12345678"))
    [size] = [len(datagram) for datagram in sent]
    assert size >= MIN_INITIAL_DATAGRAM
    assert PathResponse(b"12345678") in session.raw.packets[-1].frames


def test_path_challenges_are_bounded(session: RawSession) -> None:
    """Many questions in one packet: the oldest are lost, and each question is answered at most once."""
    questions = [number.to_bytes(8, "big") for number in range(50)]
    session.send(ONE_RTT, *map(PathChallenge, questions))
    answers = [frame.data for frame in session.raw.frames(ONE_RTT) if isinstance(frame, PathResponse)]
    assert answers == questions[-8:]


def test_path_responses_wait_for_the_congestion_window(server: RawSession) -> None:
    """A small question has a large answer: it may not get round congestion control (RFC 9002 §7)."""
    server.send(ONE_RTT, Ping())
    window = server.connection.congestion_window
    sent = 0
    for number in range(100):
        # Nothing of what comes is acknowledged.
        sent += total(server.send(ONE_RTT, PathChallenge(number.to_bytes(8, "big"))))
    acks = sum(
        packet.size for packet in server.raw.packets if all(isinstance(frame, Ack) for frame in packet.frames)
    )
    assert sent - acks <= window
