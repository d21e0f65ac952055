"""Group P, first part: packet numbers, acknowledgments, key phases."""

from typing import Any

from qlog.checks.base import Check
from qlog.checks.scene import Scene
from qlog.model import Event, JsonObject
from qlog.packets import Packet, acked_ranges, datagram_lengths, whole

_LARGEST = (1 << 62) - 1


class NumbersRise(Check):
    """A sender never uses a packet number twice and never goes back. 0-RTT and 1-RTT share a space.

    Numbers may start anywhere and skip values.
    """

    id = "P01"
    title = "sent packet numbers rise in each space"
    reference = "RFC 9000 §12.3"
    sent = True

    def on_packet(self, packet: Packet) -> None:
        if packet.number is not None:
            largest = self.scene.sent[packet.space].largest
            if packet.number <= largest:
                what = "was sent before" if packet.number in self.scene.sent[packet.space] else "comes after"
                message = f"{packet.space} packet {packet.number} {what}; the largest is {largest}"
                self.report(packet.event, message, "/data/header/packet_number")


class NoDuplicates(Check):
    """A receiver discards a packet whose number it has already processed."""

    id = "P02"
    title = "no packet is processed twice"
    reference = "RFC 9000 §12.3"
    sent = False

    def on_packet(self, packet: Packet) -> None:
        if packet.number is not None and self.scene.received[packet.space].surely(packet.number):
            message = f"{packet.space} packet {packet.number} was received before"
            self.report(packet.event, message, "/data/header/packet_number")


class NumberRange(Check):
    """Packet numbers are below 2^62."""

    id = "P03"
    title = "packet numbers are at most 2^62 - 1"
    reference = "RFC 9000 §12.3"

    def on_packet(self, packet: Packet) -> None:
        if packet.number is not None and not 0 <= packet.number <= _LARGEST:
            self.report(packet.event, f"{packet.number} is no packet number", "/data/header/packet_number")


class _AcksKnown(Check):
    """What an ACK may cover."""

    needs_history = True
    frames = ("ack",)
    _of_sent: bool
    _words: str

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        if packet.sent != self._of_sent or not packet.space:
            return
        known = (self.scene.received if packet.sent else self.scene.sent)[packet.space]
        for low, high in acked_ranges(frame):
            if low <= high and not known.covers(low, high):
                first, last = next(known.missing(low, high))
                which = f"packet {first}" if first == last else f"packets {first} to {last}"
                message = f"acknowledges {packet.space} {which}, {self._words}"
                self.report(packet.event, message, f"/data/frames/{index}/acked_ranges")
                return


class ReceivedAcks(_AcksKnown):
    """An ACK of a packet that was never sent is a PROTOCOL_VIOLATION of the peer, or a packet not logged."""

    id = "P04"
    title = "received ACK frames cover only packets that were sent"
    reference = "RFC 9000 §13.1"
    _of_sent = False
    _words = "which the trace does not show as sent"


class SentAcks(_AcksKnown):
    """Only packets that were processed may be acknowledged. Also found where not every packet was logged."""

    id = "P05"
    title = "sent ACK frames cover only packets that were received"
    reference = "RFC 9000 §13.2.3"
    _of_sent = True
    _words = "which the trace does not show as received"


class AckRanges(Check):
    """Ranges are in ascending bounds and don't overlap; they may be listed in any order."""

    id = "P06"
    title = "ACK ranges are ordered and disjoint"
    reference = "RFC 9000 §19.3.1"
    frames = ("ack",)

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        last = -1
        for low, high in sorted(acked_ranges(frame)):
            pointer = f"/data/frames/{index}/acked_ranges"
            if low > high:
                self.report(packet.event, f"a range from {low} to {high}", pointer)
                return
            if low <= last:
                self.report(packet.event, f"{low} is in two ranges", pointer)
                return
            last = high


class KeyPhase(Check):
    """Keys are updated once the handshake is confirmed and a packet of the current keys was acknowledged.

    Following an update of the peer needs no acknowledgment.
    """

    id = "P14"
    title = "a key update waits for confirmation and for an acknowledgment"
    reference = "RFC 9001 §6.1"
    needs_history = True
    packet_types = frozenset({"1RTT"})

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._phase: Any = None
        self._peer: Any = None
        self._peer_largest = -1
        self._first = 0

    def on_packet(self, packet: Packet) -> None:
        phase = _phase(packet)
        if phase is None or packet.number is None:
            return
        if not packet.sent:
            # A late packet of the phase before takes nothing back (§6.5).
            if packet.number > self._peer_largest:
                self._peer, self._peer_largest = phase, packet.number
            return
        before, self._phase = self._phase, phase
        if before is None:
            self._first = packet.number
        elif phase != before:
            if self.scene.confirmed_at is None:
                self.report(packet.event, "the handshake is not confirmed", "/data/header")
            elif self._peer != phase and not self.scene.acked[packet.space].overlaps(
                self._first, packet.number - 1
            ):
                message = f"no packet of key phase {before} was acknowledged"
                self.report(packet.event, message, "/data/header")
            self._first = packet.number


class KeyPhaseCounts(Check):
    """Every update adds one to the phase, of both directions together. Late packets may be one behind."""

    id = "P15"
    title = "key phases count up by one"
    reference = "RFC 9001 §6"
    needs_history = True
    packet_types = frozenset({"1RTT"})

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._last = 0

    def on_packet(self, packet: Packet) -> None:
        phase = whole(packet.header.get("key_phase"))
        if phase is None:
            return
        if not self._last - 1 <= phase <= self._last + 1:
            message = f"key phase {phase}, after {self._last}"
            self.report(packet.event, message, "/data/header/key_phase")
        else:
            self._last = max(self._last, phase)


class NotEmpty(Check):
    """Every packet has a frame, if only PADDING. An empty list means that frames were not logged."""

    id = "P16"
    title = "a packet has at least one frame"
    reference = "RFC 9000 §12.4"
    sees_refused = True

    def on_packet(self, packet: Packet) -> None:
        if packet.space and packet.event.data.get("frames") == []:
            message = f"the {packet.type} packet has no frames"
            self.report(packet.event, message, "/data/frames", fix="leave frames out if they are not known")


class ReceivedLogged(Check):
    """Every datagram brings a packet, which is received, dropped or buffered. Else some were not logged."""

    id = "P28"
    title = "the packets of received datagrams are logged"
    reference = "draft-ietf-quic-qlog-quic-events, packet_received"
    severity = "warning"
    sees_refused = True
    events = ("quic:udp_datagrams_received", "quic:packet_dropped", "quic:packet_buffered")
    sent = False
    # Datagrams that are no QUIC at all.
    _tolerance = 0.1

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._datagrams = 0
        self._packets = 0
        self._last: Event | None = None

    def on_packet(self, packet: Packet) -> None:
        self._packets += not packet.sent

    def on_event(self, event: Event) -> None:
        if event.name == "quic:udp_datagrams_received":
            self._datagrams += max(whole(event.data.get("count")) or 0, len(datagram_lengths(event)), 1)
            self._last = event
        else:
            self._packets += 1

    def on_end(self) -> None:
        if self._packets and self._datagrams > 2 + (1 + self._tolerance) * self._packets:
            message = f"{self._datagrams} datagrams were received, but {self._packets} packets are logged"
            self.report(self._last, message, "/name")


def _phase(packet: Packet) -> Any:
    phase = whole(packet.header.get("key_phase"))
    return packet.header.get("key_phase_bit") if phase is None else phase
