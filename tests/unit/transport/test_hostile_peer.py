"""A peer that plays with paths and connection IDs gets only so many answers, and costs so much memory."""

import datetime as dt

import pytest

from endpoint.events import ConnectionClosed
from endpoint.level import Level
from endpoint.testing.certificates import Chain
from endpoint.testing.packets import (
    MIN_INITIAL_DATAGRAM,
    OpenedPacket,
    RawSession,
    raw_client_session,
    raw_server_session,
)
from endpoint.transport.paths import MAX_PROBES_IN_FLIGHT
from endpoint.wire.frames import (
    ConnectionClose,
    HandshakeDone,
    NewConnectionId,
    Padding,
    PathChallenge,
    PathResponse,
    Ping,
    RetireConnectionId,
)

ONE_RTT = Level.ONE_RTT
ELSEWHERE = "203.0.113.7"


@pytest.fixture
def server(chain: Chain, valid_from: dt.datetime) -> RawSession:
    session = raw_client_session(chain, valid_from.timestamp() + 3600)
    session.handshake()
    return session


@pytest.fixture
def client(chain: Chain, valid_from: dt.datetime) -> RawSession:
    session = raw_server_session(chain, valid_from.timestamp() + 3600)
    session.handshake()
    session.send(ONE_RTT, HandshakeDone())
    return session


def issued(packet: OpenedPacket) -> int:
    """How many connection IDs it brings."""
    return sum(isinstance(frame, NewConnectionId) for frame in packet.frames)


def test_challenges_without_an_acknowledgement(server: RawSession) -> None:
    """Congestion control holds no answer back (RFC 9000 §8.2.2), so it does not end this either."""
    server.deaf = True
    answers = 0
    for index in range(3 * MAX_PROBES_IN_FLIGHT):
        server.now += 0.01
        datagram = server.raw.datagram(ONE_RTT, PathChallenge(index.to_bytes(8, "big")), Padding(1200))
        sent = server.deliver(datagram, client=(ELSEWHERE, 5000))
        answers += sum(len(datagram) >= MIN_INITIAL_DATAGRAM for datagram in sent)
    assert answers == MAX_PROBES_IN_FLIGHT
    # Whoever acknowledges gets answers again.
    server.deaf = False
    server.deliver(server.raw.datagram(ONE_RTT, PathChallenge(b"once and"), Padding(1200)))
    server.settle()
    server.raw.packets.clear()
    server.deliver(server.raw.datagram(ONE_RTT, PathChallenge(b"for all!"), Padding(1200)))
    assert any(PathResponse(b"for all!") in packet.frames for packet in server.raw.packets)


def test_connection_ids_that_are_lost_with_every_challenge(server: RawSession) -> None:
    """Copies that go along with challenges are not each sent again."""
    raw = server.raw
    server.deaf = True
    server.send(ONE_RTT, *map(RetireConnectionId, (1, 2, 3)))
    server.deaf = False
    raw.packets.clear()
    copies = []
    for index in range(12):
        server.now += 0.1
        datagram = raw.datagram(ONE_RTT, Ping(), Padding(1000))
        server.deliver(datagram, client=(ELSEWHERE, 2000 + index))
        with_ids = [packet for packet in raw.packets if issued(packet)]
        copies.append(sum(map(issued, with_ids)))
        # All that came is acknowledged but for these.
        raw.packets[:] = [packet for packet in raw.packets if packet not in with_ids]
        if raw.packets:
            server.deliver(raw.datagram(ONE_RTT, raw.ack(ONE_RTT)), client=(ELSEWHERE, 2000 + index))
    assert copies == 12 * [3]


def test_a_client_keeps_no_routes(client: RawSession) -> None:
    """Nobody asks for them, and a server can have it make ever more connection IDs."""
    client.send(ONE_RTT, client.raw.ack(ONE_RTT), RetireConnectionId(1), RetireConnectionId(2))
    assert len(client.connection.local_cids) == 4
    assert client.connection.take_routes() == []


def test_the_end_is_the_last_event_wherever_it_comes_from(server: RawSession) -> None:
    """CONNECTION_CLOSE on a new path is no reason to move there."""
    server.events.clear()
    server.deliver(server.raw.datagram(ONE_RTT, Ping()))
    server.deliver(server.raw.datagram(ONE_RTT, ConnectionClose(0, 0, "bye")), client=(ELSEWHERE, 5000))
    assert [type(event) for event in server.events] == [ConnectionClosed]
