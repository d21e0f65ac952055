"""Version Negotiation in both directions (RFC 9000 §6, §17.2.1; RFC 8999 §6)."""

from collections.abc import Callable

import pytest
from conformance.expect import is_healthy

from endpoint.batch import PacketBuffer, RecvBatch
from endpoint.errors import TransportErrorCode as Code
from endpoint.level import Level
from endpoint.listener import Listener
from endpoint.testing.certificates import Chain
from endpoint.testing.link import CLIENT_ADDRESS, SERVER_ADDRESS
from endpoint.testing.packets import RawSession, make_listener
from endpoint.wire.frames import Ping
from endpoint.wire.header import PacketType, encode_version_negotiation, parse_long_header
from endpoint.wire.version import QUIC_V1

SessionMaker = Callable[..., RawSession]

UNKNOWN = 0x1A2A3A4A
PROBE_VERSION = 0x57414954  # of the interop simulator's probe


@pytest.fixture
def listener(chain: Chain, wall_time: float) -> Listener:
    return make_listener(chain, wall_time)


def answers(listener: Listener, datagram: bytes) -> list[bytes]:
    listener.receive(RecvBatch.of([datagram], CLIENT_ADDRESS, SERVER_ADDRESS), 0.0)
    assert listener.accept() is None
    buffer = PacketBuffer()
    sent = []
    while (batch := listener.transmit(buffer, 0.0)) is not None:
        assert (batch.peer, batch.local) == (CLIENT_ADDRESS, SERVER_ADDRESS)
        sent.append(bytes(buffer.view[: batch.length]))
    return sent


def long_packet(version: int, dcid: bytes, scid: bytes, size: int, first_byte: int = 0xC0) -> bytes:
    head = bytes([first_byte]) + version.to_bytes(4, "big")
    head += bytes([len(dcid)]) + dcid + bytes([len(scid)]) + scid
    return head + bytes(size - len(head))


def test_the_simulators_probe(listener: Listener) -> None:
    """1,207 bytes, both connection IDs empty, 1,200 zero bytes."""
    probe = bytes([0xC0]) + PROBE_VERSION.to_bytes(4, "big") + bytes(2) + bytes(1200)
    assert len(probe) == 1207
    [answer] = answers(listener, probe)
    assert answer[0] & 0x80
    assert answer[1:5] == bytes(4)
    header = parse_long_header(answer, 0, len(answer))
    assert (header.dcid, header.scid) == (b"", b"")
    assert QUIC_V1 in header.supported_versions
    assert PROBE_VERSION not in header.supported_versions


@pytest.mark.parametrize(("dcid", "scid"), [(b"d" * 8, b"s" * 5), (b"d" * 255, b"s" * 255), (b"", b"s")])
def test_connection_ids_change_places(listener: Listener, dcid: bytes, scid: bytes) -> None:
    """Of any length that another version may have (RFC 8999 §5.1)."""
    [answer] = answers(listener, long_packet(UNKNOWN, dcid, scid, 1200))
    header = parse_long_header(answer, 0, len(answer))
    assert header.type is PacketType.VERSION_NEGOTIATION
    assert (header.dcid, header.scid) == (scid, dcid)
    assert len(answer) < 1200


@pytest.mark.parametrize("first_byte", [0x80, 0xBF, 0xD0, 0xFF])
def test_other_versions_use_the_first_byte_as_they_like(listener: Listener, first_byte: int) -> None:
    assert len(answers(listener, long_packet(UNKNOWN, bytes(8), bytes(8), 1200, first_byte))) == 1


def test_never_in_answer_to_version_negotiation(listener: Listener) -> None:
    """RFC 9000 §6.1. Else two servers could be made to answer each other for ever."""
    packet = encode_version_negotiation(b"d" * 8, b"s" * 8, [UNKNOWN] * 300, 0)
    assert len(packet) >= 1200
    assert answers(listener, packet) == []


@pytest.mark.parametrize("size", [7, 23, 1199])
def test_not_in_answer_to_a_small_datagram(listener: Listener, size: int) -> None:
    """RFC 9000 §6.1: too small to be the first flight of any version; and no amplification."""
    assert answers(listener, long_packet(UNKNOWN, b"", b"", size)) == []


def test_answers_that_wait_are_bounded(listener: Listener) -> None:
    buffer = PacketBuffer()
    for number in range(1000):
        packet = long_packet(UNKNOWN, number.to_bytes(8, "big"), b"", 1200)
        listener.receive(RecvBatch.of([packet], CLIENT_ADDRESS, SERVER_ADDRESS), 0.0)
    count = 0
    while listener.transmit(buffer, 0.0) is not None:
        count += 1
    assert 0 < count <= 256


def negotiation(session: RawSession, versions: list[int]) -> bytes:
    raw = session.raw
    return encode_version_negotiation(raw.peer_cid, raw.original_dcid, versions, 0x2A)


@pytest.fixture
def fresh(new_session: SessionMaker) -> RawSession:
    """A client that has sent its first flight."""
    session = new_session("client")
    session.collect()
    return session


def test_client_gives_up(fresh: RawSession) -> None:
    """RFC 9000 §6.2: it abandons the attempt, without a word."""
    assert fresh.deliver(negotiation(fresh, [UNKNOWN, 0x2A3A4A5A])) == []
    closed = fresh.closed
    assert closed is not None
    assert (closed.kind, closed.error_code) == ("version_negotiation", Code.VERSION_NEGOTIATION_ERROR)
    assert "0x1a2a3a4a" in closed.reason
    assert fresh.connection.is_closed
    assert fresh.connection.next_timeout() is None
    assert fresh.advance(120.0) == []
    assert fresh.closed == closed


def test_client_gives_up_once(fresh: RawSession) -> None:
    packet = negotiation(fresh, [UNKNOWN])
    fresh.deliver(packet, packet, packet, batch=True)
    assert fresh.closed is not None


def test_client_ignores_a_list_with_its_version(fresh: RawSession) -> None:
    """RFC 9000 §6.2: then nobody who received its packet has sent it."""
    fresh.deliver(negotiation(fresh, [UNKNOWN, QUIC_V1]))
    assert fresh.closed is None
    fresh.handshake()
    is_healthy(fresh)


@pytest.mark.parametrize("which", ["dcid", "scid"])
def test_client_ignores_wrong_connection_ids(fresh: RawSession, which: str) -> None:
    """RFC 9000 §17.2.1: they are those of its own packet, swapped: proof that somebody saw it."""
    raw = fresh.raw
    dcid = b"somebody" if which == "dcid" else raw.peer_cid
    scid = b"somebody" if which == "scid" else raw.original_dcid
    fresh.deliver(encode_version_negotiation(dcid, scid, [UNKNOWN], 0))
    fresh.handshake()
    is_healthy(fresh)


def test_client_ignores_it_after_any_packet_of_the_server(fresh: RawSession) -> None:
    """RFC 9000 §6.2."""
    packet = negotiation(fresh, [UNKNOWN])
    fresh.send(Level.INITIAL, Ping())
    fresh.deliver(packet)
    fresh.handshake()
    is_healthy(fresh)


@pytest.mark.parametrize("tail", [b"", b"\x01", b"\x1a\x2a\x3a\x4a\x00"])
def test_client_ignores_a_bad_list(fresh: RawSession, tail: bytes) -> None:
    fresh.deliver(negotiation(fresh, []) + tail)
    assert fresh.closed is None


def test_server_ignores_it(server: RawSession) -> None:
    raw = server.raw
    server.deliver(encode_version_negotiation(raw.peer_cid, raw.cid, [UNKNOWN], 0))
    server.deliver(encode_version_negotiation(raw.original_dcid, raw.cid, [UNKNOWN], 0))
    is_healthy(server)


def test_other_version_for_a_known_connection(session: RawSession) -> None:
    raw = session.raw
    session.deliver(long_packet(UNKNOWN, raw.peer_cid, raw.cid, 1200))
    is_healthy(session)
