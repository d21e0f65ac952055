"""Checks of our own, stricter than the interop runner's: what the RFCs demand of every connection.

Each looks at a side's packets in the capture where they are as sent, with those of its peer as they arrive.
They don't decide the runner's verdict; `STRICT` has them all.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from itertools import islice
from typing import Final

from endpoint.batch import ECN_NOT_ECT, Address
from endpoint.level import Level
from endpoint.tls.messages import ClientHello, HandshakeType
from endpoint.wire.frames import (
    Ack,
    ConnectionClose,
    HandshakeDone,
    NewToken,
    Padding,
    PathChallenge,
    PathResponse,
)
from endpoint.wire.header import LONG_RESERVED_BITS, SHORT_RESERVED_BITS
from endpoint.wire.version import PacketType
from interop.capture import Capture, Complaint, Sighting
from interop.checks import Check, Run, senders
from interop.dissect.connection import Connection
from interop.dissect.model import Datagram, Packet, Side
from interop.limit_checks import limits
from qlog.ranges import Ranges

# RFC 9000 §14.1.
_MIN_DATAGRAM: Final = 1200
# RFC 9000 §8.1.
_AMPLIFICATION: Final = 3
# What a busy endpoint may take to notice a packet: in nanoseconds.
_REACTION: Final = 200_000_000
_MOST_COMPLAINTS: Final = 5

_Rule = Callable[[Capture, Side], Iterator[Complaint]]


def _of_each_side(rule: _Rule) -> Check:
    """A check of both sides."""

    @wraps(rule)
    def check(run: Run) -> list[Complaint]:
        return [
            complaint
            for side, capture in senders(run)
            for complaint in islice(rule(capture, side), _MOST_COMPLAINTS)
        ]

    return check


def _opened(capture: Capture) -> Iterator[tuple[Connection, Sighting]]:
    """The packets that were decrypted, in order."""
    for datagram in capture.datagrams:
        for packet in datagram.packets:
            if packet.connection is not None and packet.is_open:
                yield packet.connection, Sighting(datagram, packet)


def _is_ack_eliciting(packet: Packet) -> bool:
    passive = (Ack, Padding, ConnectionClose)
    return any(not isinstance(frame, passive) for frame in packet.frames)


def _space(packet: Packet) -> Level:
    """RFC 9000 §12.3."""
    assert packet.level is not None, "only opened packets come here"
    return Level.ONE_RTT if packet.level is Level.ZERO_RTT else packet.level


@_of_each_side
def datagram_sizes(capture: Capture, side: Side) -> Iterator[Complaint]:
    """RFC 9000 §14.1: datagrams with Initial packets have 1200 bytes, a server's if they elicit an ACK."""
    for datagram in capture.datagrams:
        for packet in datagram.packets:
            if packet.kind is not PacketType.INITIAL or packet.sender is not side or not packet.is_open:
                continue
            if datagram.size < _MIN_DATAGRAM and (side is Side.CLIENT or _is_ack_eliciting(packet)):
                text = f"an Initial in a datagram of {datagram.size} bytes"
                yield capture.complaint(text, datagram, packet, side)


@_of_each_side
def packet_numbers(capture: Capture, side: Side) -> Iterator[Complaint]:
    """RFC 9000 §12.3, §17.2.5.3: numbers go up from packet to packet, also after a Retry."""
    highest: dict[tuple[Connection, Level], int] = {}
    for connection, seen in _opened(capture):
        packet = seen.packet
        if packet.sender is not side or packet.number is None:
            continue
        key = (connection, _space(packet))
        before = highest.get(key, -1)
        if packet.number <= before:
            yield capture.complaint(f"packet number {before} was sent before", *seen, side)
        highest[key] = max(before, packet.number)


@_of_each_side
def acknowledgements(capture: Capture, side: Side) -> Iterator[Complaint]:
    """RFC 9000 §13.1: only packets that have arrived are acknowledged."""
    arrived: dict[tuple[Connection, Level], Ranges] = {}
    for connection, seen in _opened(capture):
        packet = seen.packet
        numbers = arrived.setdefault((connection, _space(packet)), Ranges())
        if packet.sender is not side and packet.number is not None:
            numbers.add(packet.number, packet.number)
            continue
        for ack in packet.find(Ack):
            wrong = next((each for each in ack.ranges if not numbers.covers(*each)), None)
            if wrong is not None:
                text = f"acknowledges {wrong[0]}-{wrong[1]}, which have not all arrived"
                yield capture.complaint(text, *seen, side)


@_of_each_side
def ecn_counts(capture: Capture, side: Side) -> Iterator[Complaint]:
    """RFC 9000 §13.4.1, §19.3.2: counts never shrink, and count no mark that has not arrived."""
    last: dict[tuple[Connection, Level], tuple[int, int, int]] = {}
    marked: dict[tuple[Connection, Level], int] = {}
    for connection, seen in _opened(capture):
        packet = seen.packet
        key = (connection, _space(packet))
        if packet.sender is not side:
            marked[key] = marked.get(key, 0) + (seen.datagram.ecn != ECN_NOT_ECT)
            continue
        counts = packet.ecn_counts
        if counts is None:
            continue
        before = last.get(key, (0, 0, 0))
        if any(now < then for now, then in zip(counts, before, strict=True)):
            yield capture.complaint(f"ECN counts shrink from {before} to {counts}", *seen, side)
        if sum(counts) > marked.get(key, 0):
            text = f"counts {sum(counts)} marks where {marked.get(key, 0)} have arrived"
            yield capture.complaint(text, *seen, side)
        last[key] = counts


@_of_each_side
def key_phases(capture: Capture, side: Side) -> Iterator[Complaint]:
    """RFC 9001 §6.1, §6.4: no update before the handshake is confirmed, or before one is acknowledged.

    Who follows an update of the peer need not wait for an acknowledgement (§6.2).
    """
    confirmed: set[Connection] = set()
    generation: dict[Connection, int] = {}
    # Packet numbers sent with the newest keys, and the newest keys of which one was acknowledged.
    first_number: dict[Connection, int] = {}
    acknowledged: dict[Connection, int] = {}
    # The newest keys that the peer is known to use.
    peers: dict[Connection, int] = {}
    for connection, seen in _opened(capture):
        packet = seen.packet
        if packet.sender is not side:
            peers[connection] = max(peers.get(connection, 0), packet.key_generation)
            if _confirms(packet, side):
                confirmed.add(connection)
            for ack in packet.find(Ack) if packet.level is Level.ONE_RTT else ():
                if ack.largest_acknowledged >= first_number.get(connection, 0):
                    acknowledged[connection] = generation.get(connection, 0)
            continue
        if packet.level is not Level.ONE_RTT or packet.number is None:
            continue
        now, before = packet.key_generation, generation.get(connection, 0)
        if now < before:
            yield capture.complaint("goes back to old keys", *seen, side)
        if now > before:
            if connection not in confirmed:
                yield capture.complaint("key update before the handshake is confirmed", *seen, side)
            elif peers.get(connection, 0) < now and acknowledged.get(connection, -1) < before:
                text = "key update before the keys in use were acknowledged"
                yield capture.complaint(text, *seen, side)
            generation[connection], first_number[connection] = now, packet.number


def _confirms(packet: Packet, side: Side) -> bool:
    """RFC 9001 §4.1.2: whether a packet of the peer confirms the handshake for `side`."""
    if side is Side.CLIENT:
        return bool(packet.find(HandshakeDone))
    return any(message.type == HandshakeType.FINISHED for message in packet.messages)


@_of_each_side
def frames(capture: Capture, side: Side) -> Iterator[Complaint]:
    """RFC 9000 §12.4, §17.2, §17.3.1: frames are well-formed and where they may be, reserved bits zero."""
    for _, seen in _opened(capture):
        packet = seen.packet
        if packet.sender is not side:
            continue
        if packet.malformed:
            yield capture.complaint(packet.malformed, *seen, side)
        reserved = SHORT_RESERVED_BITS if packet.kind is PacketType.ONE_RTT else LONG_RESERVED_BITS
        if packet.first_byte & reserved:
            yield capture.complaint("reserved bits are set", *seen, side)
        if side is Side.CLIENT and any(
            isinstance(frame, HandshakeDone | NewToken) for frame in packet.frames
        ):
            # RFC 9000 §19.20, §19.7: servers alone send these.
            yield capture.complaint("a frame of servers only", *seen, side)


@_of_each_side
def path_validation(capture: Capture, side: Side) -> Iterator[Complaint]:
    """RFC 9000 §8.2: a response echoes a challenge of its path; a client expands both to 1200 bytes."""
    challenges: dict[tuple[Connection, Address, Address], set[bytes]] = {}
    for connection, (datagram, packet) in _opened(capture):
        if packet.sender is not side:
            key = (connection, datagram.destination, datagram.source)
            challenges.setdefault(key, set()).update(each.data for each in packet.find(PathChallenge))
            continue
        come = challenges.get((connection, datagram.source, datagram.destination), set())
        for response in packet.find(PathResponse):
            if response.data not in come:
                text = f"PATH_RESPONSE {response.data.hex()} answers no challenge of its path"
                yield capture.complaint(text, datagram, packet, side)
        probes = any(isinstance(frame, PathChallenge | PathResponse) for frame in packet.frames)
        # A server has the anti-amplification limit to obey.
        if probes and side is Side.CLIENT and datagram.size < _MIN_DATAGRAM:
            yield capture.complaint(f"a path is probed with {datagram.size} bytes", datagram, packet, side)


@_of_each_side
def connection_ids(capture: Capture, side: Side) -> Iterator[Complaint]:
    """RFC 9000 §9.5: no Destination Connection ID is used from two local addresses, or by a client to two."""
    used: dict[tuple[Connection, bytes], tuple[Address, Address]] = {}
    for connection, seen in _opened(capture):
        datagram, packet = seen
        if packet.sender is not side or not packet.dcid:
            continue
        path = (datagram.source, datagram.destination)
        before = used.setdefault((connection, packet.dcid), path)
        if before[0] != path[0] or (side is Side.CLIENT and before != path):
            text = f"connection ID {packet.dcid.hex()} is taken to another path"
            yield capture.complaint(text, *seen, side)


@_of_each_side
def closing(capture: Capture, side: Side) -> Iterator[Complaint]:
    """RFC 9000 §10.2: who has closed sends nothing but CONNECTION_CLOSE; who was told, at most one."""
    closed: set[Connection] = set()
    told: dict[Connection, int] = {}
    for connection, seen in _opened(capture):
        datagram, packet = seen
        is_close = bool(packet.find(ConnectionClose))
        if packet.sender is not side:
            if is_close:
                told.setdefault(connection, datagram.time)
            continue
        if connection in closed and not is_close:
            yield capture.complaint("goes on after CONNECTION_CLOSE", *seen, side)
        # Packets may cross, and a process may be busy.
        elif connection in told and datagram.time - told[connection] > _REACTION and not is_close:
            yield capture.complaint("goes on after its peer's CONNECTION_CLOSE", *seen, side)
        if is_close:
            closed.add(connection)


def same_client_hello(run: Run) -> list[Complaint]:
    """RFC 9000 §17.2.5.3: a client answers a Retry with the handshake message that it had sent before."""
    randoms: dict[Connection, bytes] = {}
    found = []
    for connection, seen in _opened(run.left):
        for message in seen.packet.messages:
            if isinstance(message.content, ClientHello):
                before = randoms.setdefault(connection, message.content.random)
                if message.content.random != before:
                    found.append(run.left.complaint("another ClientHello", *seen, Side.CLIENT))
    return found


class _Path:
    """What a server has had from and sent to an address, and whether that address is validated."""

    def __init__(self) -> None:
        self.received = 0
        self.sent = 0
        self.is_valid = False
        self.challenges: set[bytes] = set()


def amplification(run: Run) -> list[Complaint]:
    """RFC 9000 §8.1, §9.3: at every moment, on every path, a server sends 3 bytes for one at most."""
    paths: dict[tuple[Connection, Address], _Path] = {}
    found = []
    for datagram in run.right.datagrams:
        packet = next((each for each in datagram.packets if each.connection is not None), None)
        if packet is None or packet.connection is None:
            continue
        if packet.sender is Side.CLIENT:
            path = paths.setdefault((packet.connection, datagram.source), _Path())
            path.received += datagram.size
            path.is_valid |= _validates(datagram, path)
            continue
        path = paths.setdefault((packet.connection, datagram.destination), _Path())
        path.sent += datagram.size
        path.challenges |= {each.data for one in datagram.packets for each in one.find(PathChallenge)}
        if not path.is_valid and path.sent > _AMPLIFICATION * path.received:
            text = f"{path.sent} bytes sent to an address not validated, {path.received} came from it"
            found.append(run.right.complaint(text, datagram, packet, Side.SERVER))
    return found[:_MOST_COMPLAINTS]


def _validates(datagram: Datagram, path: _Path) -> bool:
    for packet in datagram.packets:
        if packet.kind is PacketType.HANDSHAKE and packet.is_open:
            return True
        # A token shows the address only if the server finds it valid; what it sends tells later.
        if packet.kind is PacketType.INITIAL and packet.is_open and packet.token:
            return True
        if any(response.data in path.challenges for response in packet.find(PathResponse)):
            return True
    return False


STRICT: Final = (
    datagram_sizes,
    same_client_hello,
    packet_numbers,
    acknowledgements,
    ecn_counts,
    key_phases,
    frames,
    path_validation,
    connection_ids,
    closing,
    amplification,
    limits,
)
