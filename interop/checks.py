"""The interop runner's verdicts: what each test case demands of the captures, the files and the key log.

A check gets a finished `Run` and returns complaints, none if it is content. The checks are the runner's
own, as strict and as lenient; what goes beyond them says so.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from endpoint.batch import ECN_CE, ECN_ECT_0, ECN_ECT_1
from endpoint.crypto.aead import CHACHA20_POLY1305_SHA256
from endpoint.tls.messages import ClientHello, EncryptedExtensions, HandshakeType
from endpoint.wire.version import QUIC_V1, QUIC_V2, VERSION_NEGOTIATION, PacketType
from interop.capture import MOST_DATAGRAMS, Capture, Complaint, Sighting
from interop.dissect.dissector import QUIC_PORT
from interop.dissect.handshake import parameter_ids
from interop.dissect.model import Side

_KNOWN_VERSIONS: Final = (None, VERSION_NEGOTIATION, QUIC_V1, QUIC_V2)

_STREAM_LIMIT: Final = 1000
# RFC 9000 §18.2.
_INITIAL_MAX_STREAMS_BIDI: Final = 0x08
# Half of what 40 requests with names of 250 letters take.
_MAX_1_RTT: Final = 5000
# How far the server has to get with its certificates for the limit to have been in its way.
_MIN_CRYPTO: Final = 7500
# Of one capture, so that the first are not lost among thousands.
_MOST_COMPLAINTS: Final = 5


@dataclass(frozen=True, slots=True)
class Run:
    """What is left of a test case. `left` was captured at the client, `right` at the server.

    `client_end` is when the client's process ended, in seconds on the captures' clock; None if nobody knows.
    """

    left: Capture
    right: Capture
    expected: dict[str, bytes]
    downloaded: dict[str, bytes]
    key_logs: tuple[str, str]
    client_end: float | None = None


Check: TypeAlias = Callable[[Run], list[Complaint]]


# -- shared by most cases


def handshakes(count: int, *, damaged: bool = False) -> Check:
    """The server's Initials, right, have this many different Source Connection IDs.

    `damaged`: the link damages packets, which the runner's own has come to drop instead. A server may open a
    connection for a damaged Initial, and end it with an Initial that nobody can read: not a handshake.
    """

    def check(run: Run) -> list[Complaint]:
        first: dict[bytes | None, Sighting] = {}
        for seen in run.right.packets_of(PacketType.INITIAL, Side.SERVER):
            if seen.packet.is_open or not damaged:
                first.setdefault(seen.packet.scid, seen)
        text = f"{len(first)} handshakes instead of {count}"
        if len(first) > count:
            return [run.right.complaint(f"{text}: one begins here", *list(first.values())[count])]
        return [] if len(first) == count else [Complaint(text)]

    return check


def version(run: Run) -> list[Complaint]:
    """The server's Initials, right, have exactly one version, which is 1."""
    packets = run.right.packets_of(PacketType.INITIAL, Side.SERVER)
    if not packets:
        return [Complaint("no Initial of the server")]
    wrong = [seen for seen in packets if seen.packet.version != QUIC_V1]
    return [
        run.right.complaint(f"an Initial in version {seen.packet.version:#x}", *seen, Side.SERVER)
        for seen in wrong[:_MOST_COMPLAINTS]
    ]


def files(run: Run) -> list[Complaint]:
    """The client has exactly the files that it asked for, byte for byte."""
    found = [f"{name} is missing" for name in run.expected.keys() - run.downloaded.keys()]
    # What a peer calls its files may be anything, and reports have no room for anything.
    others = (name if name.isprintable() else ascii(name) for name in run.downloaded)
    found += [f"{name} was not asked for" for name in others if name not in run.expected]
    common = run.expected.keys() & run.downloaded.keys()
    found += [f"{name} differs" for name in common if run.expected[name] != run.downloaded[name]]
    return [Complaint(text) for text in sorted(found)]


def no_flood(run: Run) -> list[Complaint]:
    """No end sends without pause. (The runner has no limit but that of time.)"""
    found = []
    for capture in (run.left, run.right):
        if len(capture.datagrams) < MOST_DATAGRAMS:
            continue
        sent = {side: sum(1 for _ in capture.sent_by(side)) for side in Side}
        side = max(Side, key=sent.__getitem__)
        text = f"{sent[side]:,} datagrams of {len(capture.datagrams):,}; what comes after is not looked at"
        found.append(capture.complaint(text, capture.datagrams[-1], side=side))
    return found


def key_log(run: Run) -> list[Complaint]:
    """Both sides log what decrypts the captures. (The runner is content with one.)"""
    label = "SERVER_HANDSHAKE_TRAFFIC_SECRET "
    return [
        Complaint(f"no {label.strip()} in the key log", side=side)
        for side, text in zip(Side, run.key_logs, strict=True)
        if not any(line.startswith(label) for line in text.splitlines())
    ]


def dissected(run: Run) -> list[Complaint]:
    """The dissector decrypts everything and complains of nothing. (The runner does not look.)"""
    found = []
    for capture in (run.left, run.right):
        odd = [
            capture.complaint(packet.problem or packet.malformed or "", datagram, packet)
            for datagram in capture.datagrams
            for packet in datagram.packets
            if (packet.problem or packet.malformed) and packet.version in _KNOWN_VERSIONS
        ]
        found += odd[:_MOST_COMPLAINTS]
    return found


# -- single cases


def no_retry(run: Run) -> list[Complaint]:
    """handshake, ecn: left, no Retry."""
    retries = run.left.packets_of(PacketType.RETRY, Side.SERVER)
    return [run.left.complaint("Retry", *retries[0], Side.SERVER)] if retries else []


def repeated_client_hello(run: Run) -> list[Complaint]:
    """longrtt: left, at least two Initials of the client that repeat or are a ClientHello."""
    count = 0
    for _, packet in run.left.packets_of(PacketType.INITIAL, Side.CLIENT):
        is_hello = any(message.type == HandshakeType.CLIENT_HELLO for message in packet.messages)
        count += is_hello or packet.repeats_crypto
    if count >= 2:
        return []
    return [Complaint(f"{count} ClientHellos: the first was not sent again in time", side=Side.CLIENT)]


def only_chacha20(run: Run) -> list[Complaint]:
    """chacha20: left, the first cipher suite of every ClientHello."""
    hellos = [
        (seen, message.content)
        for seen in run.left.packets_of(PacketType.INITIAL, Side.CLIENT)
        for message in seen.packet.messages
        if isinstance(message.content, ClientHello)
    ]
    if not hellos:
        return [Complaint("no ClientHello")]
    return [
        run.left.complaint(f"the first cipher suite is {hello.cipher_suites[0]:#06x}", *seen, Side.CLIENT)
        for seen, hello in hellos
        if hello.cipher_suites[0] != CHACHA20_POLY1305_SHA256.number
    ]


def stream_limit(run: Run) -> list[Complaint]:
    """multiplexing: left, initial_max_streams_bidi in the server's Handshake packets."""
    limits = [
        (seen, message.parameters.initial_max_streams_bidi)
        for seen in run.left.packets_of(PacketType.HANDSHAKE, Side.SERVER)
        for message in seen.packet.messages
        if isinstance(message.content, EncryptedExtensions) and message.parameters is not None
        # A limit of 0, for MAX_STREAMS to raise, is fine; left out it is the same, but nothing to look at.
        if _INITIAL_MAX_STREAMS_BIDI in parameter_ids(message.content.extensions)
    ]
    if not limits:
        return [Complaint("no initial_max_streams_bidi of the server")]
    return [
        run.left.complaint(f"initial_max_streams_bidi is {limit}", *seen, Side.SERVER)
        for seen, limit in limits
        if limit > _STREAM_LIMIT
    ]


def retry(run: Run) -> list[Complaint]:
    """retry: left, the client comes back with the token and goes on counting."""
    retries = run.left.packets_of(PacketType.RETRY, Side.SERVER)
    if not retries:
        return [Complaint("no Retry", side=Side.SERVER)]
    tokens = {seen.packet.token for seen in retries}
    highest, token_used = -1, False
    for seen in run.left.packets_of(PacketType.INITIAL, Side.CLIENT):
        number, token = seen.packet.number, seen.packet.token
        if not token:
            highest = max(highest, -1 if number is None else number)
        elif number is None:
            text = "an Initial with a token is undecryptable, its packet number unknown"
            return [run.left.complaint(text, *seen, Side.CLIENT)]
        elif number <= highest:
            text = f"packet number {number} after the Retry, {highest} was in use before it"
            return [run.left.complaint(text, *seen, Side.CLIENT)]
        token_used |= token in tokens
    return [] if token_used else [Complaint("no Initial has the token of a Retry", side=Side.CLIENT)]


def resumption(run: Run) -> list[Complaint]:
    """resumption: left, a Certificate in the server's first connection and none in the last one."""
    packets = run.left.packets_of(PacketType.HANDSHAKE, Side.SERVER)
    if not packets:
        return [Complaint("no Handshake packet of the server")]
    first, last = packets[0].packet.scid, packets[-1].packet.scid
    if first == last:
        return [Complaint("one connection only", side=Side.CLIENT)]
    has_certificate = False
    for seen in packets:
        certificate = any(message.type == HandshakeType.CERTIFICATE for message in seen.packet.messages)
        if seen.packet.scid not in (first, last):
            return [run.left.complaint("the server has a third connection ID", *seen)]
        if certificate and seen.packet.scid == last:
            return [run.left.complaint("a Certificate in the second connection", *seen)]
        has_certificate |= certificate
    return [] if has_certificate else [Complaint("no Certificate in the first connection")]


def early_data(run: Run) -> list[Complaint]:
    """zerortt: left, the client's 0-RTT and 1-RTT payloads in bytes."""
    early = sum(seen.packet.protected_size for seen in run.left.packets_of(PacketType.ZERO_RTT, Side.CLIENT))
    found = [] if early else [Complaint("no 0-RTT")]
    late = 0
    for seen in run.left.packets_of(PacketType.ONE_RTT, Side.CLIENT):
        late += seen.packet.protected_size
        if late > _MAX_1_RTT:
            text = f"more than {_MAX_1_RTT} bytes of 1-RTT, which are allowed"
            return [*found, run.left.complaint(text, *seen)]
    return found


def key_update(run: Run) -> list[Complaint]:
    """keyupdate: key phase 1 from both, each where it is sent. (The client is the one that is to begin.)"""
    lacking = [
        side
        for side, capture in senders(run)
        if not any(seen.packet.key_phase == 1 for seen in capture.packets(side))
    ]
    return [Complaint(f"no packet of the {side} has key phase 1", side=lacking[0]) for side in lacking]


def ecn(run: Run) -> list[Complaint]:
    """ecn: marks on IPv4 packets of both, and counts in the first packet of a datagram."""
    found = []
    for side, capture in senders(run):
        datagrams = [datagram for datagram in capture.sent_by(side) if datagram.is_ipv4]
        if not any(datagram.ecn in (ECN_ECT_0, ECN_ECT_1) for datagram in datagrams):
            found.append(Complaint("nothing is marked", side=side))
        marked = [datagram for datagram in datagrams if datagram.ecn == ECN_CE]
        found += [capture.complaint("CE", datagram, side=side) for datagram in marked[:1]]
        if not any(datagram.packets[0].ecn_counts for datagram in datagrams):
            found.append(Complaint("no ACK with ECN counts first in a datagram", side=side))
    return found


def senders(run: Run) -> tuple[tuple[Side, Capture], tuple[Side, Capture]]:
    """Each side with the capture that has its packets as sent."""
    return (Side.CLIENT, run.left), (Side.SERVER, run.right)


def amplification(run: Run) -> list[Complaint]:
    """amplificationlimit: right, a long flight that respects the limit until the client is validated.

    The runner tolerates four times what was received, and so does this check; the strict one of that name
    holds the server to three times.
    """
    packets = run.right.packets_of(PacketType.HANDSHAKE, Side.SERVER)
    end = max((seen.packet.crypto_end or 0 for seen in packets), default=0)
    found = [] if end >= _MIN_CRYPTO else [Complaint(f"CRYPTO frames end at {end}")]
    return found + amplification_limit(run.right)


def amplification_limit(capture: Capture) -> list[Complaint]:
    """The server sends less than four times what it got, until a client's datagram starts with Handshake."""
    tolerated = 0
    for datagram in capture.datagrams:
        kind, size = datagram.packets[0].kind, datagram.size
        if kind is PacketType.VERSION_NEGOTIATION:
            return [capture.complaint("Version Negotiation", datagram, side=Side.SERVER)]
        if datagram.source[1] == QUIC_PORT:
            if size >= tolerated:
                text = f"{size} bytes where {tolerated} are tolerated"
                return [capture.complaint(text, datagram, side=Side.SERVER)]
            tolerated -= size
        elif kind is PacketType.HANDSHAKE:
            return []
        elif kind is PacketType.INITIAL:
            tolerated += 4 * size
    return [Complaint("no datagram of the client starts with a Handshake packet")]


def only_ipv6(run: Run) -> list[Complaint]:
    """ipv6: right, no QUIC of the server over IPv4."""
    datagrams = [datagram for datagram in run.right.sent_by(Side.SERVER) if datagram.is_ipv4]
    if not datagrams:
        return []
    return [run.right.complaint(f"{len(datagrams)} datagrams of the server over IPv4", datagrams[0])]


def version_2(run: Run) -> list[Complaint]:
    """v2: begins in version 1, goes on in version 2."""
    found = []
    wanted = (QUIC_V1, QUIC_V2)
    for (side, capture), initial_version in zip(senders(run), wanted, strict=True):
        packets = capture.packets_of(PacketType.INITIAL, side)
        if not any(seen.packet.version == initial_version for seen in packets):
            found.append(Complaint(f"no Initial in version {initial_version:#x}", side=side))
        packets = capture.packets_of(PacketType.HANDSHAKE, side)
        if not packets:
            found.append(Complaint("no Handshake packet", side=side))
        found += _other_versions(capture, packets, side)
    return found


def _other_versions(capture: Capture, packets: Iterable[Sighting], side: Side) -> list[Complaint]:
    wrong = [seen for seen in packets if seen.packet.version != QUIC_V2]
    return [
        capture.complaint(f"a Handshake packet in version {seen.packet.version:#x}", *seen, side)
        for seen in wrong[:_MOST_COMPLAINTS]
    ]


def version_negotiation(run: Run) -> list[Complaint]:
    """versionnegotiation: left, the server rejects the client's first version and echoes its ID."""
    first = next(run.left.packets(Side.CLIENT), None)
    if first is None or first.packet.version in (None, QUIC_V1, QUIC_V2):
        return [Complaint("does not begin in an unknown version", side=Side.CLIENT)]
    answers = run.left.packets_of(PacketType.VERSION_NEGOTIATION, Side.SERVER)
    if not answers:
        return [Complaint("no Version Negotiation packet", side=Side.SERVER)]
    wanted = first.packet.dcid
    if not any(seen.packet.scid == wanted for seen in answers):
        text = f"the Version Negotiation has not the Source Connection ID {wanted.hex()}"
        return [run.left.complaint(text, *answers[0], Side.SERVER)]
    return []
