"""Packets that are wrong, for somebody else, early, late or repeated (RFC 9000 §5.2, §12, §14, §17)."""

from collections.abc import Callable

import pytest
from conformance.expect import closes_with, is_healthy

from endpoint.config import Config
from endpoint.errors import TransportErrorCode as Code
from endpoint.events import HandshakeCompleted, StreamOpened
from endpoint.level import Level
from endpoint.testing.packets import MIN_INITIAL_DATAGRAM, RawSession, build_packet
from endpoint.transport.early_packets import MAX_EARLY_BYTES, MAX_EARLY_PACKETS
from endpoint.wire.frames import Ack, ConnectionClose, Crypto, HandshakeDone, Padding, Ping, Stream
from endpoint.wire.header import FIXED_BIT, LONG_RESERVED_BITS, SHORT_RESERVED_BITS

SessionMaker = Callable[..., RawSession]

INITIAL, HANDSHAKE, ONE_RTT = Level.INITIAL, Level.HANDSHAKE, Level.ONE_RTT
LEVELS = [INITIAL, HANDSHAKE, ONE_RTT]
BAD = b"\x2f"  # a frame that closes the connection if it is ever read


def acked(session: RawSession, level: Level) -> set[int]:
    """The packet numbers that the endpoint has acknowledged at a level."""
    numbers: set[int] = set()
    for frame in session.raw.frames(level):
        if isinstance(frame, Ack):
            for first, last in frame.ranges:
                numbers |= set(range(first, last + 1))
    return numbers


@pytest.mark.parametrize("bits", [0x04, 0x08, 0x0C])
@pytest.mark.parametrize("level", [INITIAL, HANDSHAKE])
def test_reserved_bits_of_a_long_header(session_at: SessionMaker, role: str, level: Level, bits: int) -> None:
    assert bits & ~LONG_RESERVED_BITS == 0
    session = session_at(role, level)
    fill = MIN_INITIAL_DATAGRAM if level is INITIAL else 0
    session.deliver(session.raw.packet(level, Ping(), flip=bits, fill_to=fill))
    closes_with(session, Code.PROTOCOL_VIOLATION)


@pytest.mark.parametrize("bits", [0x08, 0x10, 0x18])
@pytest.mark.parametrize("count", [1, 4])
def test_reserved_bits_of_a_short_header(session: RawSession, bits: int, count: int) -> None:
    """Also in the middle of a batch that otherwise would be opened as a run."""
    assert bits & ~SHORT_RESERVED_BITS == 0
    packets = [session.raw.packet(ONE_RTT, Ping(), fill_to=100) for _ in range(count - 1)]
    packets.insert(count // 2, session.raw.packet(ONE_RTT, Ping(), flip=bits, fill_to=100))
    session.deliver(*packets, batch=True)
    closes_with(session, Code.PROTOCOL_VIOLATION)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("count", [1, 4])
def test_reserved_bits_of_a_forged_packet(
    session_at: SessionMaker, role: str, level: Level, count: int
) -> None:
    """Judged only after the packet has proved authentic, so that nobody else can close a connection."""
    session = session_at(role, level)
    fill = MIN_INITIAL_DATAGRAM if level is INITIAL else 100
    bits = SHORT_RESERVED_BITS if level is ONE_RTT else LONG_RESERVED_BITS
    for _ in range(count):
        packet = bytearray(session.raw.packet(level, Ping(), flip=bits, fill_to=fill))
        packet[-1] ^= 1
        session.deliver(bytes(packet))
    assert session.closed is None
    assert session.raw.closes == []


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("count", [1, 4])
def test_packet_without_the_fixed_bit(session_at: SessionMaker, role: str, level: Level, count: int) -> None:
    """RFC 9000 §17.2, §17.3.1: it is discarded, however authentic, where we have not said otherwise."""
    session = session_at(role, level, config=Config(grease=False))
    fill = MIN_INITIAL_DATAGRAM if level is INITIAL else 100
    packets = [session.raw.packet(level, BAD, flip=FIXED_BIT, fill_to=fill) for _ in range(count)]
    session.deliver(*packets, batch=True)
    assert session.closed is None
    assert session.raw.closes == []


@pytest.mark.parametrize("size", [100, MIN_INITIAL_DATAGRAM - 1])
def test_initial_in_a_small_datagram(new_session: SessionMaker, size: int) -> None:
    """RFC 9000 §14.1: a server discards it; there is not even a connection."""
    session = new_session("server")
    session.deliver(session.raw.packet(INITIAL, Ping(), fill_to=size))
    assert not session.accepted
    assert session.sent == []
    session.deliver(session.raw.packet(INITIAL, Ping(), fill_to=MIN_INITIAL_DATAGRAM))
    assert session.accepted
    session.deliver(session.raw.packet(INITIAL, BAD, fill_to=size))
    assert session.closed is None


def test_client_takes_an_initial_of_any_size(new_session: SessionMaker) -> None:
    """Not all servers' Initials are ack-eliciting, so not all are padded."""
    session = new_session("client")
    session.collect()
    session.deliver(session.raw.packet(INITIAL, session.raw.ack(INITIAL)))
    session.send(INITIAL, BAD)
    closes_with(session, Code.FRAME_ENCODING_ERROR)


def test_token_in_a_servers_initial(new_session: SessionMaker) -> None:
    """RFC 9000 §17.2.2: a client discards it (or closes)."""
    session = new_session("client")
    session.collect()
    raw = session.raw
    session.deliver(
        build_packet(INITIAL, raw.write_keys[INITIAL], [BAD], dcid=raw.peer_cid, scid=raw.cid, token=b"token")
    )
    assert session.closed is None
    session.handshake()
    is_healthy(session)


@pytest.mark.parametrize("level", [INITIAL, HANDSHAKE])
def test_another_source_connection_id(session_at: SessionMaker, role: str, level: Level) -> None:
    """RFC 9000 §7.2: it never changes once it is known."""
    session = session_at(role, level)
    raw = session.raw
    packet = build_packet(
        level,
        raw.write_keys[level],
        [BAD],
        dcid=raw.peer_cid,
        scid=b"somebody",
        pn=50,
        fill_to=MIN_INITIAL_DATAGRAM,
    )
    session.deliver(packet)
    assert session.closed is None
    session.handshake()
    is_healthy(session)


@pytest.mark.parametrize("level", LEVELS)
def test_another_destination_connection_id(session_at: SessionMaker, role: str, level: Level) -> None:
    session = session_at(role, level)
    raw = session.raw
    packet = build_packet(
        level,
        raw.write_keys[level],
        [BAD],
        dcid=b"somebody",
        scid=raw.cid,
        pn=50,
        fill_to=MIN_INITIAL_DATAGRAM,
    )
    session.deliver(packet)
    assert session.closed is None
    session.handshake()
    is_healthy(session)


def test_coalesced_packets_for_another_connection(session_at: SessionMaker, role: str) -> None:
    """RFC 9000 §12.2: what differs from the first packet's Destination Connection ID is ignored.

    The third packet is compared with the first one too, not with the one before it.
    """
    session = session_at(role, INITIAL)
    raw = session.raw
    number = raw.next_pn[HANDSHAKE]
    first = raw.packet(HANDSHAKE, Ping())

    def stranger(pn: int) -> bytes:
        return build_packet(
            HANDSHAKE, raw.write_keys[HANDSHAKE], [BAD], dcid=b"somebody", scid=raw.cid, pn=pn
        )

    session.deliver(first + stranger(10) + stranger(11) + raw.packet(HANDSHAKE, Ping()))
    assert session.closed is None
    assert {number, number + 1} <= acked(session, HANDSHAKE)


def test_short_packet_for_another_connection_behind_a_long_one(client: RawSession) -> None:
    raw = client.raw
    # A second connection ID of the client, valid by itself.
    other = next(cid for cid in client.connection.local_cids if cid != raw.peer_cid)
    late = build_packet(ONE_RTT, raw.write_keys[ONE_RTT], [BAD], dcid=other, pn=20)
    client.deliver(raw.packet(HANDSHAKE, Ping()) + late)
    is_healthy(client)
    client.deliver(late)
    closes_with(client, Code.FRAME_ENCODING_ERROR)


@pytest.mark.parametrize("level", LEVELS)
def test_duplicate_packets(session_at: SessionMaker, role: str, level: Level) -> None:
    """RFC 9000 §12.3: a packet number is processed once."""
    session = session_at(role, level)
    datagram = session.raw.datagram(level, Ping())
    session.deliver(datagram)
    for _ in range(5):
        assert session.deliver(datagram) == []
    assert session.closed is None


def test_run_with_duplicates_gaps_and_forgeries(session: RawSession, role: str) -> None:
    """Everything that is authentic counts, each once, whatever stands between."""
    raw = session.raw
    stream_id = 0 if role == "server" else 1
    size, chunk = 300, 200
    base = raw.next_pn[ONE_RTT]

    def stream_packet(index: int) -> bytes:
        raw.next_pn[ONE_RTT] = base + index
        frame = Stream(stream_id, chunk * index, bytes([index]) * chunk, False)
        return raw.packet(ONE_RTT, frame, fill_to=size)

    packets = [stream_packet(index) for index in range(10)]
    forged = bytearray(packets[4])
    forged[-1] ^= 0x55
    # 6 is missing, 2 comes twice, 4 comes damaged first and then as it was sent.
    order = [*packets[:3], packets[2], packets[3], bytes(forged), packets[4], packets[5], *packets[7:]]
    session.deliver(*order, batch=True)
    assert session.closed is None
    data, _ = session.connection.read(stream_id)
    assert data == b"".join(bytes([index]) * chunk for index in range(6))
    got = acked(session, ONE_RTT)
    assert {base + index for index in range(10)} - got == {base + 6}
    session.deliver(packets[6])
    data, _ = session.connection.read(stream_id)
    assert data == b"".join(bytes([index]) * chunk for index in range(6, 10))
    is_healthy(session)


def test_batch_of_long_and_short_headers_and_garbage(server: RawSession) -> None:
    raw = server.raw
    size = 1200
    noise = [bytes([first]) + bytes(range(256)) * 5 for first in (0x00, 0x40, 0x7F, 0x80, 0xC0, 0xFF)]
    packets = [
        raw.packet(ONE_RTT, Stream(0, 0, b"a" * 100, False), fill_to=size),
        *(each[:size] for each in noise),
        raw.packet(HANDSHAKE, Ping(), fill_to=size),
        raw.packet(INITIAL, Ping(), fill_to=size),
        raw.packet(ONE_RTT, Stream(0, 100, b"b" * 100, True), fill_to=size),
        b"\x40",
    ]
    server.deliver(*packets, batch=True)
    assert server.connection.read(0) == (b"a" * 100 + b"b" * 100, True)
    is_healthy(server)


def test_reordered_flight_of_a_server(new_session: SessionMaker) -> None:
    """RFC 9001 §5.7: packets that come before their keys wait; the handshake loses no round trip.

    The peer's parameters are known when the application hears of the handshake.
    """
    session = new_session("client")
    session.collect()
    flight = session.raw.flight()
    early = session.raw.packet(ONE_RTT, Stream(1, 0, b"early", True))
    session.deliver(early, *reversed(flight))
    completed = [event for event in session.events if isinstance(event, HandshakeCompleted)]
    assert len(completed) == 1
    assert session.events.index(completed[0]) < session.events.index(StreamOpened(1))
    assert session.connection.can_open_stream()
    assert session.connection.read(1) == (b"early", True)


def test_one_rtt_packets_before_the_handshake_is_complete(new_session: SessionMaker) -> None:
    """A server waits for Finished before it looks at the data (RFC 9001 §5.7)."""
    session = new_session("server")
    session.deliver(*session.raw.flight())
    finished = session.raw.flight()
    session.deliver(session.raw.packet(ONE_RTT, Stream(0, 0, b"early", True)))
    assert not any(isinstance(event, StreamOpened) for event in session.events)
    session.deliver(*finished)
    assert session.connection.read(0) == (b"early", True)


@pytest.mark.parametrize(("size", "kept"), [(100, MAX_EARLY_PACKETS), (20_000, MAX_EARLY_BYTES // 20_000)])
def test_early_packets_are_bounded(new_session: SessionMaker, size: int, kept: int) -> None:
    """What is too much is dropped, in number and in bytes."""
    session = new_session("server")
    session.deliver(*session.raw.flight())
    finished = session.raw.flight()
    for index in range(3 * MAX_EARLY_PACKETS):
        session.deliver(session.raw.packet(ONE_RTT, Stream(4 * index, 0, b"x", False), fill_to=size))
    session.deliver(*finished)
    assert [event for event in session.events if isinstance(event, StreamOpened)] == [
        StreamOpened(4 * index) for index in range(kept)
    ]
    is_healthy(session)


def test_padding_outside_of_packets_does_not_wait_for_keys(new_session: SessionMaker) -> None:
    """Some peers fill datagrams up with zeros that belong to no packet."""
    session = new_session("client")
    session.collect()
    flight = session.raw.flight()
    padded = [session.raw.packet(INITIAL, Ping()) + bytes(1000) for _ in range(2 * MAX_EARLY_PACKETS)]
    early = session.raw.packet(ONE_RTT, Stream(1, 0, b"early", True))
    session.deliver(*padded, early, *flight)
    assert session.connection.read(1) == (b"early", True)


def test_handshake_data_in_pieces_and_backwards(new_session: SessionMaker) -> None:
    """CRYPTO frames of a few bytes in the wrong order, some of them twice."""
    session = new_session("server")
    [(level, hello)] = session.raw.tls.take_output()
    step = 50
    pieces = [Crypto(start, hello[start : start + step]) for start in range(0, len(hello), step)]
    for piece in [*reversed(pieces[1:]), pieces[2], pieces[0]]:
        session.send(level, piece)
    session.handshake()
    assert session.connection.handshake_complete
    is_healthy(session)


def test_server_discards_initial_keys(session_at: SessionMaker) -> None:
    """RFC 9001 §4.9.1: with the first Handshake packet that it processes."""
    session = session_at("server", INITIAL)
    session.send(INITIAL, Ping())
    assert acked(session, INITIAL)
    session.send(HANDSHAKE, Ping())
    before = len(session.sent)
    session.send(INITIAL, BAD)
    assert session.closed is None
    assert len(session.sent) == before


def test_client_discards_initial_keys(session_at: SessionMaker) -> None:
    """RFC 9001 §4.9.1: with the first Handshake packet that it sends."""
    session = session_at("client", INITIAL)
    session.handshake()
    session.send(INITIAL, BAD)
    assert session.closed is None


def test_handshake_keys_are_discarded_when_confirmed(session: RawSession, role: str) -> None:
    """RFC 9001 §4.9.2."""
    if role == "client":
        session.send(HANDSHAKE, Ping())
        assert acked(session, HANDSHAKE)
        session.send(ONE_RTT, HandshakeDone())
    session.send(HANDSHAKE, BAD)
    is_healthy(session)


def test_zero_rtt_packets_are_dropped(server: RawSession) -> None:
    raw = server.raw
    packet = build_packet(
        Level.ZERO_RTT, raw.write_keys[ONE_RTT], [BAD], dcid=raw.peer_cid, scid=raw.cid, pn=90
    )
    server.deliver(packet)
    is_healthy(server)


def test_retry_without_a_cause(session_at: SessionMaker, role: str) -> None:
    """A Retry after a packet of the server, or to a server, is discarded (RFC 9000 §17.2.5.2)."""
    session = session_at(role, INITIAL)
    raw = session.raw
    retry = b"\xf0\x00\x00\x00\x01" + bytes([len(raw.peer_cid)]) + raw.peer_cid
    retry += bytes([len(raw.cid)]) + raw.cid + b"token" + bytes(16)
    session.deliver(retry)
    session.handshake()
    is_healthy(session)


@pytest.mark.parametrize("length", range(1, 45))
def test_tiny_datagrams(server: RawSession, length: int) -> None:
    """Cut anywhere, also inside the connection ID, with leftovers of a good packet behind in the buffer."""
    packet = server.raw.packet(ONE_RTT, BAD)
    server.deliver(packet[: min(length, len(packet) - 1)])
    assert server.closed is None


@pytest.mark.parametrize("level", LEVELS)
def test_corruption_never_closes(session_at: SessionMaker, role: str, level: Level) -> None:
    """A bit flipped at any place of a packet: dropped, and the packet itself is still welcome."""
    session = session_at(role, level)
    datagram = session.raw.datagram(level, Ping(), Padding(20))
    step = 7 if level is INITIAL else 1
    for position in range(0, len(datagram), step):
        damaged = bytearray(datagram)
        damaged[position] ^= 1 << position % 8
        session.deliver(bytes(damaged))
    assert session.closed is None
    assert session.raw.closes == []
    before = acked(session, level)
    session.deliver(datagram)
    session.advance(0.03)
    assert acked(session, level) != before


def test_close_in_a_forged_initial_of_another_connection(session_at: SessionMaker, role: str) -> None:
    """Initial keys are no secret; but they are those of this connection's first ID only."""
    session = session_at(role, INITIAL)
    raw = session.raw
    packet = build_packet(
        INITIAL,
        raw.write_keys[HANDSHAKE],
        [ConnectionClose(0, 0, "")],
        dcid=raw.peer_cid,
        scid=raw.cid,
        pn=9,
        fill_to=MIN_INITIAL_DATAGRAM,
    )
    session.deliver(packet)
    assert session.closed is None
