"""Each check is content with what it should be, and complains of what it should."""

from dataclasses import replace

import pytest
from unit.interop.recorded import client_hello, datagram, encrypted_extensions, from_server, long, run, short

from endpoint.batch import ECN_CE, ECN_ECT_0, ECN_ECT_1
from endpoint.tls.messages import HandshakeType
from endpoint.wire.frames import Ack, Crypto
from endpoint.wire.version import QUIC_V1, QUIC_V2, VERSION_NEGOTIATION, PacketType
from interop import checks
from interop.capture import MOST_DATAGRAMS
from interop.checks import Check, Run
from interop.dissect.model import Datagram, Message, Packet, Side
from interop.testcases import ALL_CASES

INITIAL, ZERO_RTT, HANDSHAKE, RETRY = list(PacketType)[:4]
AES, CHACHA20 = 0x1301, 0x1303


def initial(scid: bytes = b"a", version: int = QUIC_V1) -> Datagram:
    return from_server(long(INITIAL, scid=scid, version=version))


def client_initial(number: int | None, token: bytes = b"") -> Datagram:
    return datagram(long(INITIAL, number=number, token=token))


def hello(*suites: int) -> Datagram:
    return datagram(long(INITIAL, messages=[client_hello(*(suites or (AES,)))]))


def handshake(scid: bytes, *types: HandshakeType) -> Datagram:
    return from_server(long(HANDSHAKE, scid=scid, messages=[Message(each, b"") for each in types]))


def limit(streams: int | None) -> Datagram:
    return from_server(long(HANDSHAKE, messages=[encrypted_extensions(streams)]))


def updated() -> Packet:
    return short(key_phase=1)


SECOND = "right 2 (0.000 s, packet number 0)"
CLOSED = datagram(Packet(50, INITIAL, b"", problem="closed"))
UNREADABLE = from_server(replace(long(INITIAL, scid=b"b", number=None), payload=None))
ODD = datagram(Packet(50, INITIAL, b"", malformed="odd"))

A_RETRY = from_server(long(RETRY, token=b"p", number=None))
CERTIFICATE, EXTENSIONS = HandshakeType.CERTIFICATE, HandshakeType.ENCRYPTED_EXTENSIONS
COUNTS = Ack(0, 0, [(0, 0)], (1, 0, 0))
IN_V2 = {kind: long(kind, version=QUIC_V2) for kind in (INITIAL, HANDSHAKE)}
UNKNOWN_VERSION = datagram(long(None, version=0x1A2A3A4A, dcid=b"d", number=None))


def negotiation(scid: bytes) -> Datagram:
    packet = long(PacketType.VERSION_NEGOTIATION, version=VERSION_NEGOTIATION, scid=scid, number=None)
    return from_server(packet)


CONTENT: list[tuple[Check, Run]] = [
    (checks.handshakes(2), run(right=[initial(b"a"), initial(b"b"), initial(b"a")])),
    # The second belongs to no connection of the capture: it answers an Initial with a damaged ID.
    (checks.handshakes(1, damaged=True), run(right=[initial(b"a"), UNREADABLE])),
    (checks.no_flood, run(left=[hello()] * (MOST_DATAGRAMS - 1))),
    (checks.version, run(right=[initial()])),
    (checks.no_retry, run(left=[initial()])),
    (checks.repeated_client_hello, run(left=[hello(), hello()])),
    (checks.repeated_client_hello, run(left=[hello(), datagram(long(INITIAL, repeats=True))])),
    (checks.only_chacha20, run(left=[hello(CHACHA20), hello(CHACHA20, AES)])),
    (checks.stream_limit, run(left=[limit(1000)])),
    (checks.stream_limit, run(left=[limit(0)])),
    (
        checks.retry,
        run(left=[client_initial(0), A_RETRY, client_initial(1, b"p"), client_initial(2, b"p")]),
    ),
    (
        checks.resumption,
        run(left=[handshake(b"a", EXTENSIONS, CERTIFICATE), handshake(b"b", EXTENSIONS)]),
    ),
    (
        checks.early_data,
        run(left=[datagram(long(ZERO_RTT, size=100)), datagram(short(size=5000))]),
    ),
    (checks.key_update, run(left=[datagram(updated())], right=[from_server(updated())])),
    (
        checks.ecn,
        run(
            left=[datagram(short(COUNTS), ecn=ECN_ECT_0)],
            right=[from_server(short(COUNTS), ecn=ECN_ECT_1), from_server(short())],
        ),
    ),
    (checks.only_ipv6, run(right=[datagram(short())])),
    (
        checks.version_2,
        run(
            left=[hello(), datagram(IN_V2[HANDSHAKE])],
            right=[from_server(IN_V2[INITIAL], IN_V2[HANDSHAKE])],
        ),
    ),
    (checks.version_negotiation, run(left=[UNKNOWN_VERSION, negotiation(b"d")])),
    (checks.dissected, run(left=[UNKNOWN_VERSION, hello()], right=[from_server(short())])),
]


def test_damaged_packets_are_damaged_in_every_case() -> None:
    """A server's answer to a damaged Initial is no handshake, however many the case has."""
    for case in (ALL_CASES["handshakecorruption"].shortened(), ALL_CASES["transfercorruption"]):
        count = 10 if case.client == "multiconnect" else 1
        opened = [initial(bytes([number])) for number in range(count)]
        assert [check(run(right=[*opened, UNREADABLE])) for check in case.checks] == [[], []]


COMPLAINING: list[tuple[Check, Run, str]] = [
    (
        checks.handshakes(1),
        run(right=[initial(b"a"), initial(b"b")]),
        f"{SECOND}: 2 handshakes",
    ),
    (
        checks.no_flood,
        run(left=[initial(), *[hello()] * (MOST_DATAGRAMS - 1)]),
        "left 200000 (0.000 s): client: 199,999 datagrams of 200,000",
    ),
    (
        checks.handshakes(1, damaged=True),
        run(right=[initial(b"a"), initial(b"b")]),
        f"{SECOND}: 2 handshakes",
    ),
    (checks.handshakes(1), run(right=[initial(b"a"), UNREADABLE]), "right 2 (0.000 s): 2 handshakes"),
    (checks.handshakes(1), run(right=[datagram(long(INITIAL))]), "0 handshakes"),
    (
        checks.version,
        run(right=[initial(), initial(version=QUIC_V2)]),
        f"{SECOND}: server: an Initial",
    ),
    (checks.version, run(), "no Initial"),
    (checks.no_retry, run(left=[A_RETRY]), "left 1 (0.000 s): server: Retry"),
    (checks.repeated_client_hello, run(left=[hello()]), "1 ClientHellos"),
    # One packet, though it has both.
    (
        checks.repeated_client_hello,
        run(left=[datagram(long(INITIAL, messages=[client_hello(AES)], repeats=True))]),
        "1 ClientHellos",
    ),
    (checks.only_chacha20, run(left=[hello(CHACHA20), hello(AES, CHACHA20)]), "left 2 (0.000 s"),
    (checks.only_chacha20, run(), "no ClientHello"),
    (checks.stream_limit, run(left=[limit(1001)]), "is 1001"),
    (checks.stream_limit, run(left=[limit(None)]), "no initial_max_streams_bidi"),
    (checks.stream_limit, run(left=[from_server(long(HANDSHAKE))]), "no initial_max_streams_bidi"),
    (checks.retry, run(left=[client_initial(0), client_initial(1, b"p")]), "no Retry"),
    (checks.retry, run(left=[client_initial(0), A_RETRY, client_initial(0, b"p")]), "left 3 (0.000 s"),
    (checks.retry, run(left=[client_initial(0), A_RETRY, client_initial(1, b"q")]), "no Initial has"),
    (
        checks.retry,
        run(left=[client_initial(0), A_RETRY, client_initial(None, b"p")]),
        "left 3 (0.000 s): client: an Initial with a token is undecryptable",
    ),
    (
        checks.resumption,
        run(left=[handshake(b"a", CERTIFICATE), handshake(b"b", EXTENSIONS, CERTIFICATE)]),
        "a Certificate in the second",
    ),
    (checks.resumption, run(left=[handshake(b"a"), handshake(b"b")]), "no Certificate in the first"),
    (checks.resumption, run(left=[handshake(b"a", CERTIFICATE), handshake(b"a")]), "one connection only"),
    (checks.resumption, run(left=[handshake(scid) for scid in (b"a", b"b", b"c")]), "third connection ID"),
    (checks.resumption, run(), "no Handshake packet"),
    (checks.early_data, run(left=[datagram(short(size=10))]), "no 0-RTT"),
    (
        checks.early_data,
        run(left=[datagram(long(ZERO_RTT, size=1), short(size=2500)), datagram(short(size=2501))]),
        "left 2 (0.000 s, packet number 0): more than 5000 bytes",
    ),
    (checks.key_update, run(left=[datagram(updated())]), "of the server"),
    (checks.key_update, run(right=[from_server(updated())]), "of the client"),
    (checks.only_ipv6, run(right=[initial()]), "over IPv4"),
    (checks.version_negotiation, run(left=[hello(), from_server(long(INITIAL))]), "does not begin"),
    (checks.version_negotiation, run(left=[UNKNOWN_VERSION]), "no Version Negotiation"),
    (checks.version_negotiation, run(left=[UNKNOWN_VERSION, negotiation(b"e")]), "has not the Source"),
    (
        checks.dissected,
        run(left=[CLOSED]),
        "left 1 (0.000 s): closed",
    ),
    (
        checks.dissected,
        run(right=[ODD]),
        "right 1 (0.000 s): odd",
    ),
]


@pytest.mark.parametrize(("check", "finished"), CONTENT)
def test_content(check: Check, finished: Run) -> None:
    assert check(finished) == []


@pytest.mark.parametrize(("check", "finished", "text"), COMPLAINING)
def test_complains(check: Check, finished: Run, text: str) -> None:
    assert text in " / ".join(check(finished))


@pytest.mark.parametrize(
    ("check", "finished", "sides"),
    [
        (checks.handshakes(1), run(), {None}),
        (checks.retry, run(), {Side.SERVER}),
        (checks.retry, run(left=[A_RETRY]), {Side.CLIENT}),
        # Nobody can follow a client that does not begin.
        (checks.key_update, run(), {Side.CLIENT}),
        (checks.key_update, run(left=[datagram(updated())]), {Side.SERVER}),
        (checks.ecn, run(), {Side.CLIENT, Side.SERVER}),
        (checks.version_negotiation, run(left=[UNKNOWN_VERSION]), {Side.SERVER}),
    ],
)
def test_whose_fault(check: Check, finished: Run, sides: set[Side | None]) -> None:
    assert {complaint.side for complaint in check(finished)} == sides


def test_files() -> None:
    finished = replace(run(), expected={"a": b"1", "b": b"2", "c": b"3"})
    assert checks.files(replace(finished, downloaded=dict(finished.expected))) == []
    found = checks.files(replace(finished, downloaded={"a": b"1", "b": b"3", "ticket": b""}))
    assert found == ["b differs", "c is missing", "ticket was not asked for"]
    # Names of a peer's making: neither a line of its own nor what no report can encode.
    (odd,) = checks.files(replace(run(), downloaded={"a\n::error::\udcff": b"1"}))
    assert odd == r"'a\n::error::\udcff' was not asked for"


def test_key_log() -> None:
    line = "SERVER_HANDSHAKE_TRAFFIC_SECRET 00 00\n"
    assert checks.key_log(replace(run(), key_logs=("CLIENT_RANDOM\n" + line, line))) == []
    assert checks.key_log(replace(run(), key_logs=(line, "# " + line)))[0].startswith("server")


def test_ecn_complaints() -> None:
    left = [datagram(short())]
    right = [from_server(long(INITIAL), short(COUNTS), ecn=ECN_CE)]
    assert checks.ecn(run(left, right)) == [
        "client: nothing is marked",
        "client: no ACK with ECN counts first in a datagram",
        "server: nothing is marked",
        "right 1 (0.000 s): server: CE",
        "server: no ACK with ECN counts first in a datagram",
    ]


def test_version_2_complaints() -> None:
    left = [datagram(IN_V2[INITIAL]), datagram(long(HANDSHAKE))]
    right = [initial(), from_server(IN_V2[HANDSHAKE], long(HANDSHAKE))]
    assert len(checks.version_2(run(left, right))) == 4
    assert checks.version_2(run()) == [
        "client: no Initial in version 0x1",
        "client: no Handshake packet",
        "server: no Initial in version 0x6b3343cf",
        "server: no Handshake packet",
    ]


def test_a_complaint_names_the_packet() -> None:
    late = replace(datagram(long(RETRY), source=("193.167.100.100", 443)), time=1_500_000_000)
    (complaint,) = checks.no_retry(run(left=[hello(), late]))
    assert complaint.packet == "left 2 (1.500 s, packet number 0)"
    assert complaint == f"{complaint.packet}: server: Retry"
    (complaint,) = checks.key_update(run(right=[from_server(updated())]))
    assert complaint.packet == ""


def sent(size: int, kind: PacketType = HANDSHAKE, end: int = 7500) -> Datagram:
    return from_server(long(kind, Crypto(end - 100, bytes(100))), size=size)


def received(size: int, kind: PacketType = INITIAL) -> Datagram:
    return datagram(long(kind), size=size)


def test_amplification() -> None:
    """1200 bytes allow 3600 to be sent; padding and coalesced packets count, a Handshake packet validates."""
    flight = [received(1200), sent(1200), sent(1200), sent(1200)]
    beyond = [received(100, HANDSHAKE), sent(1200), sent(1200), sent(1200)]
    assert checks.amplification(run(right=flight + beyond)) == []
    probes = [received(1200), sent(1200), sent(1200)]
    assert checks.amplification(run(right=flight + probes + beyond)) == []
    # The runner tolerates less than 4 bytes for one.
    assert checks.amplification(run(right=[*flight, sent(1199), *beyond])) == []


@pytest.mark.parametrize(
    ("datagrams", "text"),
    [
        ([received(1200), *[sent(1200)] * 3, sent(1200)], "1200 bytes where 1200 are tolerated"),
        ([received(1200), received(1200, ZERO_RTT), *[sent(1200)] * 4], "1200 are tolerated"),
        ([received(1200), sent(1200)], "no datagram of the client starts with a Handshake"),
        ([received(1200), sent(1200, end=7499), received(40, HANDSHAKE)], "CRYPTO frames end at 7499"),
        ([received(1200), negotiation(b"d")], "right 2 (0.000 s): server: Version Negotiation"),
    ],
)
def test_amplification_complaints(datagrams: list[Datagram], text: str) -> None:
    assert text in " / ".join(checks.amplification(run(right=datagrams)))
