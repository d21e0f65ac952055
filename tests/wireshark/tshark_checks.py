"""The interop runner's checks by Wireshark's fields, as the runner does them: what ours are held against."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from wireshark.tshark import (
    COMPLAINTS,
    FROM_CLIENT,
    FROM_SERVER,
    LONG_HEADER,
    Capture,
    Datagram,
    Packet,
    PacketType,
)

VERSION_1: Final = 0x1
VERSION_2: Final = 0x6B3343CF

# The dissector tries to decrypt what has a version that nobody knows.
_KNOWN_VERSION: Final = f"(quic.header_form==0 || quic.version in {{0, {VERSION_1}, {VERSION_2}}})"

_CLIENT_HELLO: Final = "1"
_CERTIFICATE: Final = "11"
_TLS_CHACHA20_POLY1305_SHA256: Final = "0x1303"
_ECT: Final = (1, 2)
_CE: Final = 3

_STREAM_LIMIT: Final = 1000
# Half of what 40 requests with names of 250 letters take.
_MAX_1_RTT: Final = 5000
# How far the server has to get with its certificates for the limit to have been in its way.
_MIN_CRYPTO: Final = 7500


@dataclass(frozen=True, slots=True)
class Run:
    """The captures of a test case: `left` at the client, `right` at the server."""

    left: Capture
    right: Capture


Check: TypeAlias = Callable[[Run], list[str]]


# -- shared by most cases


def handshakes(count: int) -> Check:
    """The server's Initials, right, have this many different Source Connection IDs."""

    def check(run: Run) -> list[str]:
        packets = run.right.long_packets(PacketType.INITIAL, FROM_SERVER)
        ids = {packet.first("quic.scid") for packet in packets}
        return [] if len(ids) == count else [f"{len(ids)} handshakes instead of {count}"]

    return check


def version(run: Run) -> list[str]:
    """The server's Initials, right, have exactly one version, which is 1."""
    packets = run.right.long_packets(PacketType.INITIAL, FROM_SERVER)
    versions = {packet.version for packet in packets}
    return [] if versions == {VERSION_1} else [f"versions of the server's Initials: {versions}"]


def dissected(run: Run) -> list[str]:
    """The dissector decrypts everything and complains of nothing. (The runner does not look.)"""
    found = []
    for side, capture in (("left", run.left), ("right", run.right)):
        rows = capture.rows(f"{COMPLAINTS} && {_KNOWN_VERSION}", "frame.number", "_ws.expert.message")
        found += [f"{side}: datagram {number}: {message or 'not decrypted'}" for number, message in rows[:5]]
    return found


# -- single cases


def no_retry(run: Run) -> list[str]:
    """handshake, ecn: left, no Retry."""
    return ["Retry"] if run.left.long_packets(PacketType.RETRY, FROM_SERVER) else []


def repeated_client_hello(run: Run) -> list[str]:
    """longrtt: left, at least two Initials of the client that repeat or are a ClientHello."""
    count = 0
    for packet in run.left.long_packets(PacketType.INITIAL, FROM_CLIENT):
        count += packet.first("tls.handshake.type") == _CLIENT_HELLO
        count += bool(packet.values("quic.retransmission") or packet.values("quic.overlap"))
    return [] if count >= 2 else [f"{count} ClientHellos: the first was not sent again in time"]


def only_chacha20(run: Run) -> list[str]:
    """chacha20: left, the first cipher suite of every ClientHello."""
    suites = [
        packet.first("tls.handshake.ciphersuite")
        for packet in run.left.long_packets(PacketType.INITIAL, FROM_CLIENT)
        if packet.first("tls.handshake.type") == _CLIENT_HELLO
    ]
    if not suites:
        return ["no ClientHello"]
    return [] if set(suites) == {_TLS_CHACHA20_POLY1305_SHA256} else [f"first cipher suites: {suites}"]


def stream_limit(run: Run) -> list[str]:
    """multiplexing: left, initial_max_streams_bidi in the server's Handshake packets."""
    limits = [
        int(limit)
        for packet in run.left.long_packets(PacketType.HANDSHAKE, FROM_SERVER)
        for limit in packet.values("tls.quic.parameter.initial_max_streams_bidi")
    ]
    if not limits:
        return ["no initial_max_streams_bidi of the server"]
    return [f"initial_max_streams_bidi is {limit}" for limit in limits if limit > _STREAM_LIMIT]


def retry(run: Run) -> list[str]:
    """retry: left, the client comes back with the token and goes on counting."""
    retries = run.left.long_packets(PacketType.RETRY, FROM_SERVER)
    tokens = [packet.first("quic.retry_token") for packet in retries]
    if not tokens or not all(tokens):
        return [f"tokens of Retry packets: {tokens}"]
    highest, token_used = -1, False
    for packet in run.left.long_packets(PacketType.INITIAL, FROM_CLIENT):
        number, token = int(packet.first("quic.packet_number") or -1), packet.first("quic.token")
        if not token:
            highest = max(highest, number)
        elif number <= highest:
            return [f"packet number {number} after the Retry, {highest} was in use before it"]
        token_used |= token in tokens
    return [] if token_used else ["no Initial has the token of a Retry"]


def resumption(run: Run) -> list[str]:
    """resumption: left, a Certificate in the server's first connection and none in the last one."""
    packets = run.left.long_packets(PacketType.HANDSHAKE, FROM_SERVER)
    if not packets:
        return ["no Handshake packet of the server"]
    first, last = packets[0].first("quic.scid"), packets[-1].first("quic.scid")
    ids = {packet.first("quic.scid") for packet in packets}
    if ids != {first, last}:
        return [f"{len(ids)} connection IDs of the server"]
    with_certificate = {
        packet.first("quic.scid") for packet in packets if _CERTIFICATE in packet.values("tls.handshake.type")
    }
    return (
        []
        if first != last and with_certificate == {first}
        else [f"Certificate in {with_certificate}, the first connection is {first}, the last one {last}"]
    )


def early_data(run: Run) -> list[str]:
    """zerortt: left, the client's 0-RTT and 1-RTT payloads in bytes."""
    early = run.left.long_packets(PacketType.ZERO_RTT, FROM_CLIENT)
    packets = run.left.packets(f"{FROM_CLIENT} && quic.header_form==0")
    late = sum(packet.payload_size for packet in packets if packet.is_short)
    found = [] if sum(packet.payload_size for packet in early) else ["no 0-RTT"]
    return found + ([] if late <= _MAX_1_RTT else [f"{late} bytes of 1-RTT, {_MAX_1_RTT} are allowed"])


def key_update(run: Run) -> list[str]:
    """keyupdate: key phase 1 from both, each where it is sent."""
    sides = (("client", run.left, FROM_CLIENT), ("server", run.right, FROM_SERVER))
    return [
        f"no packet of the {side} has key phase 1"
        for side, capture, direction in sides
        if not capture.rows(f"{direction} && quic.key_phase==1", "frame.number")
    ]


def ecn(run: Run) -> list[str]:
    """ecn: marks on IPv4 packets of both, and counts in the first packet of a datagram."""
    found = []
    for side, capture, direction in (("client", run.left, FROM_CLIENT), ("server", run.right, FROM_SERVER)):
        datagrams = [datagram for datagram in capture.datagrams(direction) if datagram.is_ipv4]
        marks = {datagram.ecn for datagram in datagrams}
        if marks.isdisjoint(_ECT):
            found.append(f"{side}: nothing is marked")
        if _CE in marks:
            found.append(f"{side}: CE")
        if not any(datagram.packets[0].values("quic.ack.ect0_count") for datagram in datagrams):
            found.append(f"{side}: no ACK with ECN counts first in a datagram")
    return found


def amplification(run: Run) -> list[str]:
    """amplificationlimit: right, a long flight that respects the limit until the client is validated."""
    ends = [
        int(packet.first("quic.crypto.offset") or 0) + int(packet.first("quic.crypto.length") or 0)
        for packet in run.right.long_packets(PacketType.HANDSHAKE, FROM_SERVER)
        if packet.values("quic.crypto.length")
    ]
    found = [] if max(ends, default=0) >= _MIN_CRYPTO else [f"CRYPTO frames end at {max(ends, default=0)}"]
    # Of a long transfer only the beginning matters.
    return found + amplification_limit(run.right.datagrams("frame.number<200"))


def amplification_limit(datagrams: list[Datagram]) -> list[str]:
    """The server keeps within the limit until a datagram of the client starts with a Handshake packet."""
    tolerated = 0
    for datagram in datagrams:
        kind = datagram.packets[0].long_type
        if datagram.packets[0].version == 0:
            return [f"datagram {datagram.number} is a Version Negotiation"]
        if datagram.source[1] == 443:
            if datagram.size >= tolerated:
                return [f"datagram {datagram.number}: {datagram.size} bytes where {tolerated} are tolerated"]
            tolerated -= datagram.size
        elif kind is PacketType.HANDSHAKE:
            return []
        elif kind is PacketType.INITIAL:
            tolerated += 4 * datagram.size
    return ["no datagram of the client starts with a Handshake packet"]


def only_ipv6(run: Run) -> list[str]:
    """ipv6: right, no QUIC of the server over IPv4."""
    rows = run.right.rows(f"{FROM_SERVER} && ip", "frame.number")
    return [f"{len(rows)} packets of the server over IPv4"] if rows else []


def version_2(run: Run) -> list[str]:
    """v2: begins in version 1, goes on in version 2."""
    found = []
    client = run.left.packets(f"{FROM_CLIENT} && {LONG_HEADER}")
    server = run.right.packets(f"{FROM_SERVER} && {LONG_HEADER}")
    for side, packets, wanted in (("client", client, VERSION_1), ("server", server, VERSION_2)):
        if wanted not in _versions(packets, PacketType.INITIAL):
            found.append(f"{side}: no Initial in version {wanted:#x}")
        if _versions(packets, PacketType.HANDSHAKE) != {VERSION_2}:
            found.append(f"{side}: versions of Handshake packets: {_versions(packets, PacketType.HANDSHAKE)}")
    return found


def _versions(packets: list[Packet], kind: PacketType) -> set[int | None]:
    return {packet.version for packet in packets if packet.long_type is kind}


def version_negotiation(run: Run) -> list[str]:
    """versionnegotiation: left, the server rejects the client's first version and echoes its ID."""
    client = run.left.packets(f"{FROM_CLIENT} && {LONG_HEADER}")
    answers = [
        packet for packet in run.left.packets(f"{FROM_SERVER} && {LONG_HEADER}") if packet.version == 0
    ]
    if not client or client[0].version in {VERSION_1, VERSION_2}:
        return ["the client does not begin in an unknown version"]
    first = client[0].first("quic.dcid")
    if not any(packet.first("quic.scid") == first for packet in answers):
        return [f"{len(answers)} Version Negotiation packets, none with the Source Connection ID {first}"]
    return []


# -- rebinding and migration

_ADDRESSES: Final = (
    "frame.number",
    "ip.src",
    "ipv6.src",
    "udp.srcport",
    "ip.dst",
    "ipv6.dst",
    "udp.dstport",
)


def challenged_paths(run: Run) -> list[str]:
    """rebind-port: the server's first datagram to a new address has a PATH_CHALLENGE, which is answered."""
    first = first_on_paths(run.right, FROM_SERVER)
    if len(first) < 2:
        return ["the server sent on one path only"]
    found = []
    challenges = set()
    for datagram in first[1:]:
        challenge = datagram.packets[0].first("quic.path_challenge.data")
        if challenge is None:
            found.append(
                f"right: datagram {datagram.number}, the first from {datagram.source} to "
                f"{datagram.destination}, has no PATH_CHALLENGE in its first packet"
            )
        else:
            challenges.add(challenge)
    answers = run.left.datagrams(f"{FROM_CLIENT} && quic.path_response.data")
    responses = {datagram.packets[0].first("quic.path_response.data") for datagram in answers}
    return found + [f"PATH_CHALLENGE {challenge} is not answered" for challenge in challenges - responses]


def changed_address(run: Run) -> list[str]:
    """rebind-addr: the server saw more than one IP address of the client."""
    hosts = {datagram.destination[0] for datagram in first_on_paths(run.right, FROM_SERVER)}
    return [] if len(hosts) > 1 else [f"the server saw the client only at {hosts}"]


def fresh_connection_ids(run: Run) -> list[str]:
    """connectionmigration: left, the client's first packet to a new address has a new Destination ID.

    It differs from that of the very first Initial or, later, of the migration before.
    """
    found = []
    used: str | None = None
    for datagram in first_on_paths(run.left, FROM_CLIENT):
        connection_id = datagram.packets[0].first("quic.dcid")
        if connection_id == used:
            found.append(f"left: datagram {datagram.number} to {datagram.destination} has an old ID, {used}")
        used = connection_id
    return found


def first_on_paths(capture: Capture, direction: str) -> list[Datagram]:
    """The first datagram of one side on each path, in order."""
    numbers = _first_numbers(capture.rows(direction, *_ADDRESSES))
    if not numbers:
        return []
    return capture.datagrams(" || ".join(f"frame.number=={number}" for number in numbers))


def _first_numbers(rows: Iterable[tuple[str, ...]]) -> list[str]:
    paths: dict[tuple[str, ...], str] = {}
    for number, *path in rows:
        paths.setdefault(tuple(path), number)
    return list(paths.values())
