"""Each check is content with what it should be, and complains of what it should."""

from dataclasses import replace

import pytest
from unit.interop.recorded import datagram, from_server, long, run, short

from interop import checks
from interop.capture import Datagram, Packet, PacketType
from interop.checks import Check, Run

INITIAL, ZERO_RTT, HANDSHAKE, RETRY = PacketType
V2 = "0x6b3343cf"


def initial(scid: str = "aa", version: str = "0x00000001") -> Datagram:
    return from_server(long(INITIAL, {"quic.scid": scid, "quic.version": version}))


def client_initial(number: int, token: str = "") -> Datagram:
    return datagram(long(INITIAL, {"quic.packet_number": str(number), "quic.token": token}))


def client_hello(suites: str = "0x1301") -> Datagram:
    return datagram(long(INITIAL, {"tls.handshake.type": "1", "tls.handshake.ciphersuite": suites}))


def handshake(scid: str, types: str) -> Datagram:
    return from_server(long(HANDSHAKE, {"quic.scid": scid, "tls.handshake.type": types}))


def payload(size: int) -> dict[str, str]:
    return {"quic.payload": "00:" * (size - 1) + "00"}


A_RETRY = from_server(long(RETRY, {"quic.retry_token": "70"}))
LIMIT = "tls.quic.parameter.initial_max_streams_bidi"
MARKED = {"quic.ack.ect0_count": "1"}


def in_version_2(kind: PacketType) -> Packet:
    """Without the field of version 1, as the dissector has it."""
    fields = {"quic.header_form": ["1"], "quic.version": [V2]}
    return Packet(0, fields | {"quic.long.packet_type_v2": [str((kind + 1) % 4)]})


CONTENT: list[tuple[Check, Run]] = [
    (checks.handshakes(2), run(right=[initial("aa"), initial("bb"), initial("aa")])),
    (checks.version, run(right=[initial()])),
    (checks.no_retry, run(left=[initial()])),
    (checks.repeated_client_hello, run(left=[client_hello(), client_hello()])),
    (
        checks.repeated_client_hello,
        run(left=[client_hello(), datagram(long(INITIAL, {"quic.retransmission": ""}))]),
    ),
    (checks.only_chacha20, run(left=[client_hello("0x1303"), client_hello("0x1303;0x1301")])),
    (checks.stream_limit, run(left=[from_server(long(HANDSHAKE, {LIMIT: "1000"}))])),
    (checks.retry, run(left=[client_initial(0), A_RETRY, client_initial(1, "70"), client_initial(2, "70")])),
    (checks.resumption, run(left=[handshake("aa", "8;11;15;20"), handshake("bb", "8;20")])),
    (
        checks.early_data,
        run(left=[datagram(long(ZERO_RTT, payload(100))), datagram(short(payload(5000)))]),
    ),
    (
        checks.key_update,
        run(
            left=[datagram(short({"quic.key_phase": "1"}))],
            right=[from_server(short({"quic.key_phase": "1"}))],
        ),
    ),
    (
        checks.ecn,
        run(
            left=[replace(datagram(short(MARKED)), ecn=2)],
            right=[replace(from_server(short(MARKED)), ecn=1), from_server(short())],
        ),
    ),
    (checks.only_ipv6, run(right=[datagram(short())])),
    (
        checks.version_2,
        run(
            left=[client_hello(), datagram(in_version_2(HANDSHAKE))],
            right=[from_server(in_version_2(INITIAL), in_version_2(HANDSHAKE))],
        ),
    ),
    (
        checks.version_negotiation,
        run(
            left=[
                datagram(
                    Packet(
                        0, {"quic.header_form": ["1"], "quic.version": ["0x1a2a3a4a"], "quic.dcid": ["dd"]}
                    )
                ),
                from_server(
                    Packet(
                        0, {"quic.header_form": ["1"], "quic.version": ["0x00000000"], "quic.scid": ["dd"]}
                    )
                ),
            ]
        ),
    ),
]

COMPLAINING: list[tuple[Check, Run, str]] = [
    (checks.handshakes(1), run(right=[initial("aa"), initial("bb")]), "2 handshakes instead of 1"),
    (checks.handshakes(1), run(right=[datagram(long(INITIAL))]), "0 handshakes"),
    (checks.version, run(right=[initial(), initial(version=V2)]), "versions"),
    (checks.version, run(), "versions"),
    (checks.no_retry, run(left=[A_RETRY]), "Retry"),
    (checks.repeated_client_hello, run(left=[client_hello()]), "1 ClientHellos"),
    (checks.only_chacha20, run(left=[client_hello("0x1303"), client_hello("0x1301;0x1303")]), "0x1301"),
    (checks.only_chacha20, run(), "no ClientHello"),
    (checks.stream_limit, run(left=[from_server(long(HANDSHAKE, {LIMIT: "1001"}))]), "is 1001"),
    (checks.stream_limit, run(left=[from_server(long(HANDSHAKE))]), "no initial_max_streams_bidi"),
    (checks.retry, run(left=[client_initial(0), client_initial(1, "70")]), "tokens of Retry"),
    (checks.retry, run(left=[client_initial(0), A_RETRY, client_initial(0, "70")]), "packet number 0"),
    (checks.retry, run(left=[client_initial(0), A_RETRY, client_initial(1, "71")]), "no Initial has"),
    (checks.resumption, run(left=[handshake("aa", "11"), handshake("bb", "8;11")]), "Certificate in"),
    (checks.resumption, run(left=[handshake("aa", "8"), handshake("bb", "8")]), "Certificate in"),
    (checks.resumption, run(left=[handshake("aa", "11"), handshake("aa", "8")]), "Certificate in"),
    (checks.resumption, run(left=[handshake(scid, "8") for scid in ("a", "b", "c")]), "3 connection IDs"),
    (checks.resumption, run(), "no Handshake packet"),
    (checks.early_data, run(left=[datagram(short(payload(10)))]), "no 0-RTT"),
    (
        checks.early_data,
        run(
            left=[datagram(long(ZERO_RTT, payload(1)), short(payload(2500))), datagram(short(payload(2501)))]
        ),
        "5001 bytes",
    ),
    (checks.key_update, run(left=[datagram(short({"quic.key_phase": "1"}))]), "of the server"),
    (checks.key_update, run(right=[from_server(short({"quic.key_phase": "1"}))]), "of the client"),
    (checks.only_ipv6, run(right=[initial()]), "over IPv4"),
    (checks.version_negotiation, run(left=[client_hello(), from_server(long(INITIAL))]), "does not begin"),
]


@pytest.mark.parametrize(("check", "finished"), CONTENT)
def test_content(check: Check, finished: Run) -> None:
    assert check(finished) == []


@pytest.mark.parametrize(("check", "finished", "text"), COMPLAINING)
def test_complains(check: Check, finished: Run, text: str) -> None:
    assert text in " / ".join(check(finished))


def test_files() -> None:
    finished = replace(run(), expected={"a": b"1", "b": b"2", "c": b"3"})
    assert checks.files(replace(finished, downloaded=dict(finished.expected))) == []
    found = checks.files(replace(finished, downloaded={"a": b"1", "b": b"3", "ticket": b""}))
    assert found == ["c is missing", "ticket was not asked for", "b differs"]


def test_key_log() -> None:
    line = "SERVER_HANDSHAKE_TRAFFIC_SECRET 00 00\n"
    assert checks.key_log(replace(run(), key_logs=("CLIENT_RANDOM\n" + line, line))) == []
    assert checks.key_log(replace(run(), key_logs=(line, "# " + line)))[0].startswith("server")


def test_ecn_complaints() -> None:
    left = [replace(datagram(short()), ecn=0)]
    right = [replace(from_server(long(INITIAL), short(MARKED)), ecn=3)]
    assert checks.ecn(run(left, right)) == [
        "client: nothing is marked",
        "client: no ACK with ECN counts first in a datagram",
        "server: nothing is marked",
        "server: CE",
        "server: no ACK with ECN counts first in a datagram",
    ]


def test_version_2_complaints() -> None:
    left = [datagram(in_version_2(INITIAL)), datagram(long(HANDSHAKE))]
    right = [initial(), from_server(in_version_2(HANDSHAKE), long(HANDSHAKE))]
    assert len(checks.version_2(run(left, right))) == 4


def sent(size: int, kind: PacketType = HANDSHAKE, end: int = 7500) -> Datagram:
    crypto = {"quic.crypto.offset": str(end - 100), "quic.crypto.length": "100"}
    return from_server(long(kind, crypto), size=size)


def received(size: int, kind: PacketType = INITIAL) -> Datagram:
    return datagram(long(kind), size=size)


def test_amplification() -> None:
    """1200 bytes allow 3600 to be sent; padding and coalesced packets count, a Handshake packet validates."""
    flight = [received(1200), sent(1200), sent(1200), sent(1200)]
    beyond = [received(100, HANDSHAKE), sent(1200), sent(1200), sent(1200)]
    assert checks.amplification(run(right=flight + beyond)) == []
    probes = [received(1200), sent(1200), sent(1200)]
    assert checks.amplification(run(right=flight + probes + beyond)) == []


@pytest.mark.parametrize(
    ("datagrams", "text"),
    [
        ([received(1200), *[sent(1200)] * 3, sent(1)], "1 bytes where 0 are allowed"),
        ([received(1200), *[sent(1200)] * 3, sent(1200)], "1200 bytes where 1200 are tolerated"),
        ([received(1200), received(1200, ZERO_RTT), *[sent(1200)] * 4], "1200 are tolerated"),
        ([received(1200), sent(1200)], "no datagram of the client starts with a Handshake"),
        ([received(1200), sent(1200, end=7499), received(40, HANDSHAKE)], "CRYPTO frames end at 7499"),
        ([received(1200), from_server(long(INITIAL, {"quic.version": "0x00000000"}))], "Version Negotiation"),
    ],
)
def test_amplification_complaints(datagrams: list[Datagram], text: str) -> None:
    assert text in " / ".join(checks.amplification(run(right=datagrams)))
