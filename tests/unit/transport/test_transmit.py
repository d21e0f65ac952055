"""Datagrams as they leave: coalesced, padded, in runs, never too large."""

import datetime as dt
from collections.abc import Callable

import pytest

from endpoint.config import Config
from endpoint.level import Level
from endpoint.testing.certificates import Chain
from endpoint.testing.packets import MIN_INITIAL_DATAGRAM, RawSession, raw_client_session, raw_server_session
from endpoint.wire.frames import Ack, Crypto, HandshakeDone, Padding, Ping, Stream

Make = Callable[..., RawSession]
INITIAL, HANDSHAKE, ONE_RTT = Level.INITIAL, Level.HANDSHAKE, Level.ONE_RTT
# A size that does not change by itself.
FIXED = Config(pmtud=False)


@pytest.fixture
def make(chain: Chain, valid_from: dt.datetime) -> Make:
    makers = {"client": raw_server_session, "server": raw_client_session}
    return lambda role, config=FIXED: makers[role](chain, valid_from.timestamp() + 3600, config=config)


def datagram_levels(session: RawSession) -> list[list[Level]]:
    """The levels of the packets in each datagram that the endpoint has sent."""
    levels: list[list[Level]] = [[] for _ in session.sent]
    for packet in session.raw.packets:
        levels[packet.datagram].append(packet.level)
    return levels


def test_servers_first_flight_is_coalesced(make: Make) -> None:
    session = make("server")
    session.deliver(*session.raw.flight())
    assert datagram_levels(session)[0][:2] == [INITIAL, HANDSHAKE]
    assert len(session.sent[0]) >= MIN_INITIAL_DATAGRAM


def test_clients_second_flight_is_coalesced(make: Make) -> None:
    session = make("client")
    session.collect()
    session.deliver(*session.raw.flight())
    levels = [level for datagram in datagram_levels(session)[1:] for level in datagram]
    assert levels[-1] is ONE_RTT or HANDSHAKE in levels
    for datagram, packets in zip(session.sent, datagram_levels(session), strict=True):
        if INITIAL in packets:
            assert len(datagram) >= MIN_INITIAL_DATAGRAM


def test_ack_of_an_initial_alone_is_small(make: Make) -> None:
    """RFC 9000 §14.1: a server pads only what is ack-eliciting."""
    session = make("server")
    [datagram] = session.send(INITIAL, Ping())
    assert len(datagram) < 100
    assert isinstance(session.raw.packets[-1].frames[0], Ack)


def test_nothing_is_sent_for_packets_that_ask_for_nothing(make: Make) -> None:
    session = make("server")
    session.handshake()
    session.advance(1.0)
    for _ in range(5):
        assert session.send(ONE_RTT, session.raw.ack(ONE_RTT), Padding(10)) == []
    session.advance(1.0)
    assert session.closed is None


def test_bulk_data_is_full_packets(make: Make) -> None:
    """In order, without gaps, and the last one ends the stream."""
    session = make("server")
    session.handshake()
    session.send(ONE_RTT, Stream(0, 0, b"get", True))
    content = bytes(range(256)) * 40
    assert session.connection.write(0, content, fin=True) == len(content)
    start = len(session.sent)
    session.collect()
    sizes = [len(datagram) for datagram in session.sent[start:]]
    assert set(sizes[:-1]) == {FIXED.max_udp_payload_size}
    frames = [frame for frame in session.raw.frames(ONE_RTT) if isinstance(frame, Stream)]
    assert b"".join(frame.data for frame in frames) == content
    assert [frame.fin for frame in frames] == [False] * (len(frames) - 1) + [True]


def test_congestion_window_is_kept(make: Make) -> None:
    session = make("server")
    session.handshake()
    session.send(ONE_RTT, Stream(0, 0, b"get", True))
    session.connection.write(0, bytes(1 << 20), fin=True)
    window = session.connection.congestion_window
    start = len(session.sent)
    session.collect()
    assert window - 2 * FIXED.max_udp_payload_size < sum(map(len, session.sent[start:])) <= window


def test_what_a_lost_packet_carried_fits_in_one_again(make: Make) -> None:
    """RFC 9000 §19.8: the last frame of a packet needs no length. Runs have none either."""
    session = make("server")
    session.handshake()
    session.send(ONE_RTT, Stream(0, 0, b"get", True))
    content = bytes(range(256)) * 4096
    assert session.connection.write(0, content, fin=False) == len(content)
    session.collect()
    packets = session.raw.packets
    lost = [packet for packet in packets if any(isinstance(frame, Stream) for frame in packet.frames)][3]
    packets.remove(lost)
    before = len(packets)
    session.send(ONE_RTT, session.raw.ack(ONE_RTT))
    assert [packet.frames for packet in packets[before:] if lost.frames[0] in packet.frames] == [lost.frames]
    assert len(packets) - before > 3


def test_lost_handshake_data_is_sent_again(make: Make) -> None:
    """By probes, each of which doubles the time to the next."""
    session = make("client")
    session.deaf = True
    session.collect()
    times = []
    for _ in range(3):
        due = session.connection.next_timeout()
        assert due is not None
        times.append(due - session.now)
        session.advance(due - session.now)
    assert times[1] == pytest.approx(2 * times[0])
    assert times[2] == pytest.approx(2 * times[1])
    for datagram in session.sent:
        session.raw.receive(datagram)
    hellos = [
        frame for frame in session.raw.frames(INITIAL) if isinstance(frame, Crypto) and not frame.offset
    ]
    assert len(hellos) >= 3


def test_handshake_done_is_repeated_until_acknowledged(make: Make) -> None:
    session = make("server")
    session.deliver(*session.raw.flight())
    session.deaf = True
    session.deliver(*session.raw.flight())
    session.deaf = False
    session.advance(5.0)
    assert HandshakeDone() in session.raw.frames(ONE_RTT)
