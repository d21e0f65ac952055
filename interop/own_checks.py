"""Verdicts on the cases that are ours; see `interop.checks`."""

from typing import Final

from endpoint.batch import ECN_NOT_ECT
from endpoint.errors import TransportErrorCode
from endpoint.wire.frames import Ack, ConnectionClose
from endpoint.wire.version import PacketType
from interop.capture import Complaint, Sighting
from interop.checks import Check, Run, senders
from interop.dissect.connection import Connection
from interop.dissect.model import Packet, Side
from qlog.ranges import Ranges

# RFC 9000 §13.4.2.2: validation fails at the first acknowledgement without counts, and §A.4 has ten packets
# tested. What is on its way until then is a window, which is far less than this.
_MARKED_AT_MOST: Final = 400
# What even a busy end may take to act upon a packet, and a client to end: in nanoseconds. Idle timeouts are
# many times that.
_REACTION: Final = 1_000_000_000
_END: Final = 5_000_000_000
# Of keys in one transfer, for it to be a storm: one every three PTOs is as many as there should be.
_UPDATES: Final = 5
_KEY_UPDATE_ERROR: Final = TransportErrorCode.KEY_UPDATE_ERROR


def gave_up_marking(run: Run) -> list[Complaint]:
    """ecn-bleaching: who marks packets, and hears of no mark, stops it."""
    found = []
    for side, capture in ((Side.CLIENT, run.left), (Side.SERVER, run.right)):
        marked = sum(datagram.ecn != ECN_NOT_ECT for datagram in capture.sent_by(side))
        if marked > _MARKED_AT_MOST:
            text = f"{marked} datagrams are marked though no mark ever arrives"
            found.append(Complaint(text, side=side))
    return found


def followed_keys(leader: Side) -> Check:
    """keyupdate-storm: a side updates its keys again and again, and the other keeps up (RFC 9001 §6)."""

    def check(run: Run) -> list[Complaint]:
        newest = dict.fromkeys(Side, 0)
        for side, capture in senders(run):
            for datagram, packet in capture.packets(side):
                newest[side] = max(newest[side], packet.key_generation)
                if any(_is_error(close, _KEY_UPDATE_ERROR) for close in packet.find(ConnectionClose)):
                    # The other side may have given it every reason.
                    text = f"the {side} closes with KEY_UPDATE_ERROR"
                    return [capture.complaint(text, datagram, packet)]
        if newest[leader] < _UPDATES:
            return [Complaint(f"{newest[leader]} key updates, not {_UPDATES} or more", side=leader)]
        # The last update may come with the last packet.
        behind = newest[leader] - newest[leader.peer]
        if behind <= 1:
            return []
        return [Complaint(f"is {behind} key updates behind", side=leader.peer)]

    return check


def caught_inventing_acks(run: Run) -> list[Complaint]:
    """optimistic-ack: right, who acknowledges a number that the server left out is done with at once.

    RFC 9000 §21.4 has a server leave out packet numbers for that; §13.1 makes it a PROTOCOL_VIOLATION.
    """
    sent = Ranges()
    first: int | None = None
    invented: Sighting | None = None
    for datagram in run.right.datagrams:
        for packet in datagram.packets:
            if packet.kind is not PacketType.ONE_RTT or packet.number is None:
                continue
            if packet.sender is Side.CLIENT:
                if invented is None and first is not None and _invents(packet, sent, first):
                    invented = Sighting(datagram, packet)
                continue
            first = packet.number if first is None else first
            sent.add(packet.number, packet.number)
            if invented is None:
                continue
            closes = packet.find(ConnectionClose)
            if closes:
                return _wrong_close(run, closes[0], Sighting(datagram, packet))
            if datagram.time - invented.datagram.time > _REACTION:
                text = "goes on after an ACK of what it never sent"
                return [run.right.complaint(text, datagram, packet, Side.SERVER)]
    if invented is not None:
        text = "no CONNECTION_CLOSE follows this ACK of what was never sent"
        return [run.right.complaint(text, *invented, Side.SERVER)]
    if len(sent) > 1:
        return [Complaint("acknowledges nothing but what was sent", side=Side.CLIENT)]
    return [Complaint("leaves out no packet number, so it can't tell invented ACKs", side=Side.SERVER)]


def ended_by_reset(run: Run) -> list[Complaint]:
    """server-restart: right, a stateless reset; left, the connection is over when it comes (RFC 9000 §10.3).

    The client ends then, or connects again, and does not wait for its idle timeout.
    """
    if not any(packet.is_stateless_reset for _, packet in run.right.packets(Side.SERVER)):
        return [Complaint("no stateless reset with a token of the connection", side=Side.SERVER)]
    reset = next((seen for seen in run.left.packets(Side.SERVER) if seen.packet.is_stateless_reset), None)
    if reset is None:
        return [Complaint("the stateless reset was lost")]
    arrived = reset.datagram.time
    end = None if run.client_end is None else run.client_end * 1e9
    for datagram, packet in run.left.packets(Side.CLIENT):
        if datagram.time <= arrived or packet.connection is None:
            continue
        if packet.connection is not reset.packet.connection:
            end = datagram.time
            break
        if datagram.time - arrived > _REACTION:
            text = "goes on after a stateless reset"
            return [run.left.complaint(text, datagram, packet, Side.CLIENT)]
    if end is not None and end - arrived > _END:
        text = f"takes {(end - arrived) / 1e9:.1f} s to notice this stateless reset"
        return [run.left.complaint(text, *reset, Side.CLIENT)]
    return []


def early_data_after_retry(run: Run) -> list[Complaint]:
    """zerortt-retry: left, a Retry answers 0-RTT packets, which come again to its ID; their numbers go on.

    RFC 9000 §17.2.3 wants them sent again, §17.2.5.3 forbids to begin with the numbers anew.
    """
    # The highest number of each connection's 0-RTT packets, and the IDs that Retry packets gave after some:
    # each Initial of a first flight gets one, and the client goes by any of them.
    highest: dict[Connection, int] = {}
    retried: dict[Connection, set[bytes | None]] = {}
    is_repeated = False
    for datagram in run.left.datagrams:
        for packet in datagram.packets:
            connection = packet.connection
            if connection is None:
                continue
            if packet.kind is PacketType.RETRY and connection in highest:
                retried.setdefault(connection, set()).add(packet.scid)
            if packet.kind is not PacketType.ZERO_RTT:
                continue
            before = highest.get(connection, -1)
            if packet.number is None:
                text = "a 0-RTT packet is undecryptable, its packet number unknown"
                # With keys that open others, the client has taken new ones, for a new ClientHello.
                side = Side.CLIENT if before >= 0 else None
                return [run.left.complaint(text, datagram, packet, side)]
            if packet.number <= before:
                text = f"0-RTT packet number {packet.number}, {before} was in use before it"
                return [run.left.complaint(text, datagram, packet, Side.CLIENT)]
            highest[connection] = packet.number
            is_repeated |= packet.dcid in retried.get(connection, ())
    if not highest:
        return [Complaint("no 0-RTT packet")]
    if not retried:
        return [Complaint("no Retry answers 0-RTT packets", side=Side.SERVER)]
    return [] if is_repeated else [Complaint("no 0-RTT packet after the Retry, to its ID", side=Side.CLIENT)]


def _invents(packet: Packet, sent: Ranges, first: int) -> bool:
    """Whether it acknowledges a number above the first that is none of those sent."""
    ranges = (each for ack in packet.find(Ack) for each in ack.ranges)
    return any(high >= first and not sent.covers(max(low, first), high) for low, high in ranges)


def _wrong_close(run: Run, close: ConnectionClose, seen: Sighting) -> list[Complaint]:
    """Nothing to say of a PROTOCOL_VIOLATION."""
    if _is_error(close, TransportErrorCode.PROTOCOL_VIOLATION):
        return []
    return [run.right.complaint(f"closes with error {close.error_code:#x}", *seen, Side.SERVER)]


def _is_error(close: ConnectionClose, code: TransportErrorCode) -> bool:
    """Whether the transport, not an application, closes with this code."""
    return close.frame_type is not None and close.error_code == code
