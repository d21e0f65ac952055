"""Each strict check is content with a connection by the rules, and complains of one that breaks its own."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from unit.interop.recorded import CLIENT, SERVER, datagram, from_server, long, run, short

from endpoint.batch import ECN_ECT_0
from endpoint.tls.messages import ClientHello, EncryptedExtensions, HandshakeType
from endpoint.wire.frames import (
    Ack,
    ConnectionClose,
    Crypto,
    Frame,
    HandshakeDone,
    MaxData,
    MaxStreams,
    PathChallenge,
    PathResponse,
    Ping,
    ResetStream,
    Stream,
)
from endpoint.wire.transport_params import TransportParameters
from endpoint.wire.version import PacketType
from interop import strict_checks
from interop.checks import Check
from interop.dissect.connection import Connection
from interop.dissect.dissector import Dissector
from interop.dissect.keylog import KeyLog
from interop.dissect.model import Datagram, Message, Packet, Side
from interop.limit_checks import limits

INITIAL, HANDSHAKE = PacketType.INITIAL, PacketType.HANDSHAKE
CONNECTION = Connection(b"original", KeyLog(), Dissector(KeyLog()))
NEW_PORT = (CLIENT[0], 700)
CHALLENGE, RESPONSE = PathChallenge(bytes(8)), PathResponse(bytes(8))
CLOSE = ConnectionClose(0, None, "")
FINISHED = Message(HandshakeType.FINISHED, b"")
DATA = Stream(0, 0, bytes(1000), fin=False)
LIMITS = TransportParameters(
    initial_max_data=1500,
    initial_max_streams_bidi=2,
    initial_max_stream_data_bidi_local=1000,
    initial_max_stream_data_bidi_remote=1000,
    initial_max_stream_data_uni=10,
)


def client(
    packet: Packet,
    *,
    size: int = 1200,
    source: tuple[str, int] = CLIENT,
    destination: tuple[str, int] = SERVER,
) -> Datagram:
    return _of(Side.CLIENT, datagram(packet, size=size, source=source, destination=destination))


def server(
    packet: Packet, *, size: int = 1200, ecn: int = 0, destination: tuple[str, int] = CLIENT
) -> Datagram:
    return _of(Side.SERVER, from_server(packet, size=size, ecn=ecn, destination=destination))


def _of(side: Side, made: Datagram) -> Datagram:
    for packet in made.packets:
        packet.connection, packet.sender = CONNECTION, side
    return made


def ack(low: int, high: int, ecn: tuple[int, int, int] | None = None) -> Ack:
    return Ack(high, 0, [(low, high)], ecn)


def updated(number: int, generation: int = 1, *frames: Frame) -> Packet:
    packet = short(Ping(), *frames, number=number, key_phase=generation & 1)
    packet.key_generation = generation
    return packet


def with_first_byte(packet: Packet, first_byte: int) -> Packet:
    return replace(packet, first_byte=first_byte)


def limits_told() -> Datagram:
    message = Message(HandshakeType.ENCRYPTED_EXTENSIONS, b"", EncryptedExtensions({}), LIMITS)
    return server(long(HANDSHAKE, messages=[message]))


def sending(*frames: Frame) -> list[Datagram]:
    return [limits_told(), client(short(*frames))]


def later(made: Datagram, seconds: float) -> Datagram:
    return replace(made, time=int(seconds * 1e9))


def hello(random: bytes) -> Datagram:
    message = Message(HandshakeType.CLIENT_HELLO, b"", ClientHello(random, (0x1301,), {}))
    return client(long(INITIAL, messages=[message]))


CONTENT: list[tuple[Check, list[Datagram]]] = [
    (strict_checks.same_client_hello, [hello(bytes(32)), hello(bytes(32))]),
    (strict_checks.datagram_sizes, [client(long(INITIAL)), server(long(INITIAL, ack(0, 0)), size=60)]),
    (strict_checks.packet_numbers, [client(short(number=1)), client(short(number=5))]),
    (strict_checks.packet_numbers, [client(long(INITIAL, number=1)), client(short(number=1))]),
    (
        strict_checks.acknowledgements,
        [server(short(number=1)), server(short(number=2)), client(short(ack(1, 2)))],
    ),
    (
        strict_checks.ecn_counts,
        [
            server(short(), ecn=ECN_ECT_0),
            server(short(number=1), ecn=ECN_ECT_0),
            client(short(ack(0, 0, (1, 0, 0)))),
            client(short(ack(0, 1, (2, 0, 0)))),
        ],
    ),
    (
        strict_checks.key_phases,
        [client(short(number=0)), server(short(HandshakeDone(), ack(0, 0))), client(updated(1))],
    ),
    (
        strict_checks.key_phases,
        # The client follows, twice. Of its own packets none is acknowledged.
        [
            client(long(HANDSHAKE, messages=[FINISHED])),
            server(short(HandshakeDone(), number=1)),
            client(short(ack(1, 1), number=1)),
            server(updated(2)),
            client(updated(2, 1, ack(1, 2))),
            server(updated(3, 2)),
            client(updated(3, 2)),
        ],
    ),
    (strict_checks.frames, [client(short(Ping())), server(short(HandshakeDone()))]),
    (strict_checks.path_validation, [server(short(CHALLENGE), size=60), client(short(RESPONSE))]),
    (
        strict_checks.connection_ids,
        [client(short(dcid=b"a")), client(short(dcid=b"b"), source=NEW_PORT), client(short(dcid=b"a"))],
    ),
    (strict_checks.closing, [client(short(Ping())), client(short(CLOSE)), client(short(CLOSE))]),
    (strict_checks.closing, [server(short(CLOSE)), later(client(short(Ping())), 0.1)]),
    (limits, sending(DATA, Stream(4, 0, bytes(500), fin=True))),
    (
        limits,
        [*sending(DATA), server(short(MaxData(2000))), client(short(Stream(4, 0, bytes(900), fin=True)))],
    ),
    (
        strict_checks.amplification,
        [
            client(long(INITIAL)),
            *[server(long(INITIAL))] * 3,
            client(long(HANDSHAKE), size=60),
            *[server(short())] * 9,
        ],
    ),
    (
        strict_checks.amplification,
        [
            client(short(), source=NEW_PORT, size=100),
            server(short(CHALLENGE), destination=NEW_PORT, size=300),
            client(short(RESPONSE), source=NEW_PORT, size=50),
            server(short(), destination=NEW_PORT),
        ],
    ),
]

COMPLAINING: list[tuple[Check, list[Datagram], str]] = [
    (strict_checks.same_client_hello, [hello(bytes(32)), hello(b"x" * 32)], "client: another ClientHello"),
    (strict_checks.datagram_sizes, [client(long(INITIAL), size=1199)], "client: an Initial"),
    (strict_checks.datagram_sizes, [server(long(INITIAL, Crypto(0, b"a")), size=600)], "server: an Initial"),
    (strict_checks.packet_numbers, [client(short(number=1)), client(short(number=1))], "number 1 was sent"),
    (
        strict_checks.packet_numbers,
        [client(long(INITIAL, number=2)), client(long(INITIAL, number=0))],
        "number 2",
    ),
    (strict_checks.acknowledgements, [server(short(number=1)), client(short(ack(0, 1)))], "acknowledges 0-1"),
    (strict_checks.acknowledgements, [client(short(ack(0, 0))), server(short(number=0))], "acknowledges 0-0"),
    (
        strict_checks.ecn_counts,
        [
            server(short(), ecn=ECN_ECT_0),
            client(short(ack(0, 0, (1, 0, 0)))),
            client(short(ack(0, 0, (0, 0, 0)))),
        ],
        "client: ECN counts shrink",
    ),
    (
        strict_checks.ecn_counts,
        [server(short()), client(short(ack(0, 0, (1, 0, 0))))],
        "client: counts 1 marks",
    ),
    (strict_checks.key_phases, [client(short()), client(updated(1))], "before the handshake is confirmed"),
    (
        strict_checks.key_phases,
        [client(short()), server(short(HandshakeDone())), client(updated(1))],
        "before the keys in use were acknowledged",
    ),
    (
        strict_checks.key_phases,
        [
            client(short(number=0)),
            server(short(HandshakeDone(), ack(0, 0))),
            client(updated(1)),
            server(short(ack(0, 0), number=1)),
            client(updated(2, 2)),
        ],
        "before the keys in use were acknowledged",
    ),
    (
        strict_checks.key_phases,
        [
            client(short()),
            server(short(HandshakeDone(), ack(0, 0))),
            client(updated(1)),
            client(short(number=2)),
        ],
        "goes back to old keys",
    ),
    (strict_checks.frames, [client(short(HandshakeDone()))], "a frame of servers only"),
    (strict_checks.frames, [client(replace(short(), malformed="odd"))], "client: odd"),
    (strict_checks.frames, [server(with_first_byte(short(), 0x58))], "server: reserved bits"),
    (strict_checks.frames, [client(with_first_byte(long(INITIAL), 0xC4))], "client: reserved bits"),
    (strict_checks.path_validation, [client(short(RESPONSE))], "answers no challenge"),
    (
        strict_checks.path_validation,
        [server(short(CHALLENGE)), client(short(RESPONSE), source=NEW_PORT)],
        "answers no challenge of its path",
    ),
    (strict_checks.path_validation, [client(short(CHALLENGE), size=60)], "probed with 60 bytes"),
    (
        strict_checks.connection_ids,
        [client(short(dcid=b"a")), client(short(dcid=b"a"), destination=(SERVER[0], 444))],
        "connection ID 61",
    ),
    (
        strict_checks.connection_ids,
        [
            server(short(dcid=b"a")),
            _of(Side.SERVER, datagram(short(dcid=b"a"), source=(SERVER[0], 444), destination=CLIENT)),
        ],
        "server: connection ID 61",
    ),
    (strict_checks.closing, [client(short(CLOSE)), client(short(Ping()))], "client: goes on after CONN"),
    (
        strict_checks.closing,
        [server(short(CLOSE)), later(client(short(Ping())), 1.0)],
        "client: goes on after its",
    ),
    (limits, sending(DATA, Stream(4, 0, bytes(501), fin=True)), "1501 bytes of stream data"),
    (limits, sending(Stream(0, 1, bytes(1000), fin=False)), "stream 0 goes to 1001"),
    (limits, sending(ResetStream(0, 0, 1001)), "stream 0 goes to 1001"),
    (limits, sending(Stream(8, 0, b"a", fin=False)), "stream 8 is opened where 2 streams"),
    (limits, sending(Stream(2, 0, b"", fin=False)), "stream 2 is opened where 0 streams"),
    (
        strict_checks.amplification,
        [client(long(INITIAL)), *[server(long(INITIAL))] * 4],
        "server: 4800 bytes",
    ),
    (
        strict_checks.amplification,
        [
            client(long(INITIAL)),
            client(long(HANDSHAKE), size=60),
            client(short(), source=NEW_PORT, size=100),
            server(short(), destination=NEW_PORT, size=301),
        ],
        "server: 301 bytes",
    ),
]


@pytest.mark.parametrize(("check", "datagrams"), CONTENT)
def test_content(check: Check, datagrams: list[Datagram]) -> None:
    assert check(run(datagrams, datagrams)) == []


@pytest.mark.parametrize(("check", "datagrams", "text"), COMPLAINING)
def test_complains(check: Check, datagrams: list[Datagram], text: str) -> None:
    assert text in " / ".join(check(run(datagrams, datagrams)))


def test_every_check_is_tested() -> None:
    tested: Sequence[Callable[..., object]] = [check for check, *_ in COMPLAINING]
    assert set(tested) == set(strict_checks.STRICT) == {check for check, _ in CONTENT}


def test_limits_may_grow_with_streams() -> None:
    more = [
        *sending(DATA),
        server(short(MaxStreams(3, unidirectional=False))),
        client(short(Stream(8, 0, b"a", fin=False))),
    ]
    assert limits(run(more)) == []
