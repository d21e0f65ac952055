"""The facade: what it tells, when it wants to be called, what it refuses."""

import datetime as dt
from collections.abc import Callable

import pytest

from endpoint.config import Config
from endpoint.errors import ConnectionClosedError, StreamError
from endpoint.level import Level
from endpoint.testing.certificates import Chain
from endpoint.testing.packets import MIN_INITIAL_DATAGRAM, RawSession, raw_client_session, raw_server_session
from endpoint.transport.close import ConnectionState
from endpoint.transport.connection import Connection
from endpoint.wire.frames import Ack, HandshakeDone, Ping, Stream

Make = Callable[[str], RawSession]
ONE_RTT = Level.ONE_RTT


@pytest.fixture
def make(chain: Chain, valid_from: dt.datetime) -> Make:
    """Make a session whose endpoint under test is a client's or a server's."""
    makers = {"client": raw_server_session, "server": raw_client_session}
    return lambda role: makers[role](chain, valid_from.timestamp() + 3600)


@pytest.fixture(params=["client", "server"])
def session(request: pytest.FixtureRequest, make: Make) -> RawSession:
    session = make(request.param)
    session.handshake()
    return session


def test_first_flight_of_a_client(make: Make) -> None:
    session = make("client")
    connection = session.connection
    assert connection.state is ConnectionState.HANDSHAKE
    assert connection.is_client
    assert not connection.handshake_complete
    assert (connection.alpn, connection.peer_certificates) == (None, ())
    [datagram] = session.collect()
    assert len(datagram) >= MIN_INITIAL_DATAGRAM
    assert datagram[6:14] == connection.original_destination_cid
    assert session.collect() == []


def test_what_is_known_after_the_handshake(make: Make, chain: Chain) -> None:
    client, server = make("client"), make("server")
    for session in (client, server):
        session.handshake()
        connection = session.connection
        assert connection.state is ConnectionState.ESTABLISHED
        assert connection.handshake_complete
        assert connection.alpn == "hq-interop"
        assert not connection.is_closing
    assert client.connection.peer_certificates == chain.chain_der
    assert not client.connection.handshake_confirmed
    assert server.connection.handshake_confirmed
    client.send(ONE_RTT, HandshakeDone())
    assert client.connection.handshake_confirmed


def test_acks_wait_for_company(session: RawSession) -> None:
    """RFC 9000 §13.2: one packet is acknowledged after max_ack_delay, two at once."""
    if session.connection.is_client:
        session.send(ONE_RTT, HandshakeDone())
    session.settle()
    session.advance(1.0)
    assert session.send(ONE_RTT, Ping()) == []
    due = session.connection.next_timeout()
    assert due == pytest.approx(session.now + Config().max_ack_delay)
    assert len(session.advance(Config().max_ack_delay)) == 1
    session.send(ONE_RTT, Ping())
    assert len(session.send(ONE_RTT, Ping())) == 1
    assert any(isinstance(frame, Ack) for frame in session.raw.packets[-1].frames)


def test_early_timeout_is_harmless(session: RawSession) -> None:
    for _ in range(10):
        session.connection.on_timeout(session.now)
    assert session.collect() == []
    assert session.closed is None


def test_write_and_read(session: RawSession) -> None:
    connection = session.connection
    stream_id = connection.open_stream()
    assert connection.writable(stream_id) > 1000
    assert connection.write(stream_id, b"hello", fin=True) == 5
    session.collect()
    assert Stream(stream_id, 0, b"hello", True) in session.raw.frames(ONE_RTT)
    session.send(ONE_RTT, Stream(stream_id, 0, b"answer", True))
    assert connection.read(stream_id, 3) == (b"ans", False)
    assert connection.read(stream_id) == (b"wer", True)
    with pytest.raises(StreamError):
        connection.read(stream_id + 400)


def test_ping(session: RawSession) -> None:
    session.connection.ping()
    session.collect()
    assert any(isinstance(frame, Ping) for frame in session.raw.packets[-1].frames)


COMMANDS: dict[str, Callable[[Connection], object]] = {
    "open_stream": lambda connection: connection.open_stream(),
    "write": lambda connection: connection.write(0, b"x"),
    "writable": lambda connection: connection.writable(0),
    "reset_stream": lambda connection: connection.reset_stream(0, 1),
    "stop_sending": lambda connection: connection.stop_sending(0, 1),
    "set_priority": lambda connection: connection.set_priority(0, 1, incremental=False),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_after_the_end(session: RawSession, command: str) -> None:
    session.connection.close(0, "", now=session.now)
    assert session.connection.is_closing
    with pytest.raises(ConnectionClosedError):
        COMMANDS[command](session.connection)


def test_data_that_came_before_the_end_can_be_read(make: Make) -> None:
    session = make("server")
    session.handshake()
    session.send(ONE_RTT, Stream(0, 0, b"last words", True))
    session.connection.close(0, "", now=session.now)
    assert session.connection.read(0) == (b"last words", True)


def test_second_close_does_nothing(session: RawSession) -> None:
    session.connection.close(1, "first", now=session.now)
    session.connection.close(2, "second", now=session.now)
    session.collect()
    assert session.closed is not None
    assert session.closed.error_code == 1


def test_counters(session: RawSession) -> None:
    before = session.connection.packets_sent
    assert before == len(session.raw.packets)
    session.connection.ping()
    session.collect()
    assert session.connection.packets_sent == before + 1
    assert session.connection.congestion_window >= 10 * MIN_INITIAL_DATAGRAM
    assert session.connection.rtt.smoothed_rtt >= 0.0
