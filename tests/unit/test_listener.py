"""Routing, admission and forgetting."""

import datetime as dt
from collections.abc import Callable

import pytest

import endpoint.listener
from endpoint.batch import PacketBuffer, RecvBatch
from endpoint.config import Config
from endpoint.level import Level
from endpoint.listener import Listener
from endpoint.testing.certificates import Chain
from endpoint.testing.link import CLIENT_ADDRESS, SERVER_ADDRESS
from endpoint.testing.packets import RawSession, make_listener, raw_client_session
from endpoint.transport.close import ConnectionState
from endpoint.wire.frames import ConnectionClose, Ping, Stream
from endpoint.wire.header import PacketType, parse_long_header

INITIAL, HANDSHAKE, ONE_RTT = Level.INITIAL, Level.HANDSHAKE, Level.ONE_RTT

SessionMaker = Callable[[int], RawSession]


@pytest.fixture
def wall_time(valid_from: dt.datetime) -> float:
    return valid_from.timestamp() + 3600


@pytest.fixture
def listener(chain: Chain, wall_time: float) -> Listener:
    return make_listener(chain, wall_time)


@pytest.fixture
def client(chain: Chain, wall_time: float, listener: Listener) -> SessionMaker:
    """Make raw clients of the same listener, each from a seed of its own."""
    return lambda seed: raw_client_session(chain, wall_time, seed=seed, listener=listener)


def deliver(listener: Listener, *datagrams: bytes) -> int:
    """As one batch; returns how many connections it was for."""
    batch = RecvBatch.of(list(datagrams), CLIENT_ADDRESS, SERVER_ADDRESS)
    return len(listener.receive(batch, 0.0))


def answers(listener: Listener) -> int:
    buffer = PacketBuffer()
    count = 0
    while listener.transmit(buffer, 0.0) is not None:
        count += 1
    return count


def test_server_needs_connection_ids(chain: Chain, wall_time: float) -> None:
    with pytest.raises(ValueError, match="connection IDs"):
        make_listener(chain, wall_time, config=Config(connection_id_length=0))


def test_duplicate_initials_make_one_connection(listener: Listener, client: SessionMaker) -> None:
    """Whether together in a batch, one after the other, or later in the handshake."""
    session = client(1)
    [hello] = session.raw.flight()
    session.deliver(hello, hello, hello, batch=True)
    session.deliver(hello)
    session.handshake()
    session.deliver(hello)
    assert len(listener.connections) == 1
    assert session.connection.handshake_complete


def test_late_initial_of_a_closed_connection(listener: Listener, client: SessionMaker) -> None:
    """It must not open a second one, nor be answered."""
    session = client(1)
    [hello] = session.raw.flight()
    session.deliver(hello)
    session.handshake()
    session.send(ONE_RTT, ConnectionClose(0, None, ""))
    session.deliver(hello)
    session.advance(10.0)
    assert session.connection.is_closed
    listener.forget(session.connection)
    assert listener.connections == set()
    assert deliver(listener, hello) == 0
    assert listener.connections == set()
    assert answers(listener) == 0
    listener.forget(session.connection)  # harmless


def test_forgotten_ids_are_bounded(
    monkeypatch: pytest.MonkeyPatch, listener: Listener, client: SessionMaker
) -> None:
    monkeypatch.setattr(endpoint.listener, "MAX_REMEMBERED", 3)
    hellos = []
    for seed in range(1, 6):
        session = client(seed)
        [hello] = session.raw.flight()
        hellos.append(hello)
        session.deliver(hello)
        session.connection.close(0, "", now=0.0)
        session.advance(10.0)
        listener.forget(session.connection)
    assert [deliver(listener, hello) for hello in hellos] == [1, 1, 0, 0, 0]


def test_half_open_connections_are_bounded(monkeypatch: pytest.MonkeyPatch, client: SessionMaker) -> None:
    """A handshake that completes makes room for another one."""
    monkeypatch.setattr(endpoint.listener, "MAX_HALF_OPEN", 3)
    sessions = [client(seed) for seed in range(1, 6)]
    flights = [session.raw.flight() for session in sessions]
    for session, flight in zip(sessions, flights, strict=True):
        session.deliver(*flight)
    assert [session.accepted for session in sessions] == [True, True, True, False, False]
    sessions[0].handshake()
    assert sessions[0].connection.handshake_complete
    sessions[4].deliver(*flights[4])
    assert sessions[4].accepted
    sessions[3].deliver(*flights[3])
    assert not sessions[3].accepted


def test_a_crowd_is_asked_to_retry(
    monkeypatch: pytest.MonkeyPatch, listener: Listener, client: SessionMaker
) -> None:
    """Above a number of handshakes strangers get a Retry, so made-up addresses can't take all the room."""
    monkeypatch.setattr(endpoint.listener, "RETRY_ABOVE_HALF_OPEN", 2)
    sessions = [client(seed) for seed in range(1, 4)]
    for session in sessions:
        assert deliver(listener, *session.raw.flight()) == (session is not sessions[2])
    buffer = PacketBuffer()
    batch = listener.transmit(buffer, 0.0)
    assert batch is not None
    assert parse_long_header(buffer.view, 0, batch.length).type is PacketType.RETRY


def test_failed_handshakes_count_until_they_are_forgotten(
    monkeypatch: pytest.MonkeyPatch, listener: Listener, client: SessionMaker
) -> None:
    """A closing connection still takes memory: a flood of bad ClientHellos is bounded too."""
    monkeypatch.setattr(endpoint.listener, "MAX_HALF_OPEN", 2)
    sessions = [client(seed) for seed in range(1, 4)]
    for session in sessions:
        session.send(INITIAL, b"\x2f")
    assert [session.accepted for session in sessions] == [True, True, False]
    assert sessions[0].connection.state is ConnectionState.CLOSING
    sessions[0].advance(10.0)
    listener.forget(sessions[0].connection)
    sessions[2].send(INITIAL, Ping())
    assert sessions[2].accepted


def test_initial_that_is_not_authentic(client: SessionMaker) -> None:
    """No connection for what anybody could have made up."""
    session = client(1)
    [hello] = session.raw.flight()
    damaged = bytearray(hello)
    damaged[700] ^= 1
    session.deliver(bytes(damaged))
    assert not session.accepted
    assert session.sent == []
    session.deliver(hello)
    assert session.accepted


def test_a_forged_initial_costs_no_handshake(
    monkeypatch: pytest.MonkeyPatch, listener: Listener, client: SessionMaker
) -> None:
    """It is opened before anything is made for it."""
    [hello] = client(1).raw.flight()
    forged = bytearray(hello)
    forged[700] ^= 1
    monkeypatch.setattr(endpoint.listener, "Connection", None)
    assert deliver(listener, bytes(forged)) == 0
    assert answers(listener) == 0


@pytest.mark.parametrize("length", [0, 1, 7])
def test_short_destination_connection_id(listener: Listener, length: int) -> None:
    """RFC 9000 §7.2: a client's first one has 8 bytes at least."""
    head = bytes([0xC0, 0, 0, 0, 1, length]) + bytes(length) + b"\x00\x00\x44\xa0"
    assert deliver(listener, head + bytes(1200 - len(head))) == 0
    assert answers(listener) == 0


@pytest.mark.parametrize("first_byte", [0xD0, 0xE0, 0xF0])
def test_other_long_packets_of_strangers(listener: Listener, first_byte: int) -> None:
    head = bytes([first_byte, 0, 0, 0, 1, 8]) + bytes(8) + b"\x00\x44\xa0"
    assert deliver(listener, head + bytes(1200 - len(head))) == 0
    assert answers(listener) == 0


def test_shutdown(listener: Listener, client: SessionMaker) -> None:
    """No new connections; those there are go on."""
    first, second = client(1), client(2)
    first.handshake()
    listener.shutdown()
    second.deliver(*second.raw.flight())
    assert not second.accepted
    first.send(ONE_RTT, Stream(0, 0, b"x", True))
    assert first.connection.read(0) == (b"x", True)


def test_batch_that_mixes_connections(listener: Listener, client: SessionMaker) -> None:
    """Receive offload joins what comes from one address, whoever it is for."""
    sessions = [client(seed) for seed in range(1, 4)]
    for session in sessions:
        session.handshake()
    size = 300

    def packets(session: RawSession, part: int) -> bytes:
        frame = Stream(0, 100 * part, bytes([part]) * 100, part == 4)
        return session.raw.packet(ONE_RTT, frame, fill_to=size)

    mixed: list[bytes] = []
    for part in range(5):
        mixed += [packets(session, part) for session in sessions[: 3 if part % 2 else 2]]
    mixed += [packets(sessions[2], part) for part in (0, 2, 4)]
    mixed.insert(4, b"\x40" + bytes(size - 1))
    mixed.insert(9, sessions[1].raw.packet(HANDSHAKE, Ping(), fill_to=size))
    assert deliver(listener, *mixed) == 3
    for session in sessions:
        data, fin = session.connection.read(0)
        assert data == b"".join(bytes([part]) * 100 for part in range(5))
        assert fin


def test_uniform_batch_with_a_shorter_last_datagram(listener: Listener, client: SessionMaker) -> None:
    """The tail may be for another connection, or too short to tell."""
    first, second = client(1), client(2)
    first.handshake()
    second.handshake()
    run = [first.raw.packet(ONE_RTT, Ping(), fill_to=200) for _ in range(3)]
    assert deliver(listener, *run, second.raw.packet(ONE_RTT, Ping(), fill_to=100)) == 2
    run = [first.raw.packet(ONE_RTT, Ping(), fill_to=200) for _ in range(3)]
    for length in (1, 5, 8, 9):
        assert deliver(listener, *run, b"\x40" * length) == 1
    assert first.closed is None


def test_leftovers_in_the_buffer_are_not_read(listener: Listener, client: SessionMaker) -> None:
    """A datagram of a few bytes, in a buffer that still holds a connection ID behind its end."""
    session = client(1)
    session.handshake()
    packet = session.raw.packet(ONE_RTT, Ping(), fill_to=100)
    buffer = PacketBuffer()
    buffer.view[: len(packet)] = packet
    for length in range(1, 9):
        batch = RecvBatch(buffer, length, length, CLIENT_ADDRESS, SERVER_ADDRESS, 0)
        assert listener.receive(batch, 0.0) == []


def test_routes_follow_connection_ids(listener: Listener, client: SessionMaker) -> None:
    """Every ID of a connection leads to it until it is retired or the connection forgotten."""
    session = client(1)
    session.handshake()
    connection = session.connection
    cids = connection.local_cids
    assert len(cids) == 4
    for cid in cids:
        session.raw.peer_cid = cid
        assert deliver(listener, session.raw.packet(ONE_RTT, Ping(), fill_to=60)) == 1
    session.connection.close(0, "", now=0.0)
    session.collect()
    session.advance(10.0)
    listener.forget(connection)
    for cid in cids:
        session.raw.peer_cid = cid
        assert deliver(listener, session.raw.packet(ONE_RTT, Ping(), fill_to=60)) == 0
