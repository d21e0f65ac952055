"""Group P, second part: which packet may be sent when, and what may be in it."""

import math
from typing import ClassVar

from qlog.checks.base import Check
from qlog.checks.scene import SETTLED_SURELY, Scene
from qlog.model import Event, JsonObject
from qlog.packets import Packet, datagram_lengths, whole

_HANDSHAKE_FRAMES = frozenset({"padding", "ping", "ack", "crypto", "connection_close"})
_NOT_EARLY = frozenset(
    {"ack", "crypto", "new_token", "path_response", "retire_connection_id", "handshake_done"}
)
# RFC 9000 §14
_LEAST = 1200
_UNKNOWN_TYPES = frozenset({"unknown", None})


class FramesOfPacketTypes(Check):
    """Initial and Handshake packets carry the handshake and little else, 0-RTT packets no answers."""

    id = "P07"
    title = "frames stand in packets that may carry them"
    reference = "RFC 9000 §12.4, §12.5"

    def on_packet(self, packet: Packet) -> None:
        if packet.type == "1RTT":
            return
        for index, frame in enumerate(packet.frames):
            frame_type = frame.get("frame_type")
            if packet.type in {"initial", "handshake"}:
                wrong = frame_type not in _HANDSHAKE_FRAMES and frame_type not in _UNKNOWN_TYPES
                if frame_type == "connection_close" and frame.get("error_space") == "application":
                    frame_type, wrong = "application's connection_close", True
            else:
                wrong = packet.type == "0RTT" and frame_type in _NOT_EARLY
            if wrong:
                message = f"{packet.type} packets carry no {frame_type}"
                self.report(packet.event, message, f"/data/frames/{index}/frame_type")


class FramesOfServers(Check):
    """Only servers send HANDSHAKE_DONE and NEW_TOKEN."""

    id = "P08"
    title = "HANDSHAKE_DONE and NEW_TOKEN come from servers"
    reference = "RFC 9000 §19.7, §19.20"
    frames = ("handshake_done", "new_token")

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        if self.scene.sender(packet) == "client":
            message = f"a client must not send {frame['frame_type']}"
            self.report(packet.event, message, f"/data/frames/{index}/frame_type")


class InitialDatagrams(Check):
    """A client pads every datagram with an Initial, a server those with one that must be acknowledged.

    The packets of one datagram are added up, as far as its checksum or the time tells. If that is too little,
    the datagrams that are told next have the last word, where a trace tells of any.
    """

    id = "P09"
    title = "datagrams with an Initial have at least 1200 bytes"
    reference = "RFC 9000 §14.1"
    events = ("quic:udp_datagrams_sent",)
    sent = True

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._near: list[Packet] = []
        self._initial = -math.inf
        self._datagrams: list[tuple[float, int]] = []
        # What is reported unless a datagram of the next event is large enough.
        self._short: list[tuple[Event, str]] = []
        self._told = 0
        self._rows = scene.trace.era.has_rows

    def on_event(self, event: Event) -> None:
        self._datagrams = self._datagrams[-20:]
        lengths = datagram_lengths(event)
        self._datagrams += [(event.time, length) for length in lengths]
        self._told = event.index
        self._decide(max(lengths, default=0))

    def on_end(self) -> None:
        self._decide(0)

    def _decide(self, largest: int) -> None:
        for event, message in self._short:
            if largest < _LEAST:
                self.report(event, message, "/data/raw/length")
        self._short.clear()

    def on_packet(self, packet: Packet) -> None:
        # Sizes in draft-00 and draft-01 lack the AEAD's tag, of some stacks.
        if self._rows or not self.scene.role:
            return
        if packet.type == "initial":
            self._initial = packet.time
        elif packet.time - self._initial > SETTLED_SURELY:
            if self._near:
                self._near = []
            return
        self._near = [other for other in self._near if packet.time - other.time <= SETTLED_SURELY][-50:]
        self._near.append(packet)
        if packet.type == "initial" and packet.frames and packet.length is not None:
            if self.scene.role == "server" and not packet.ack_eliciting:
                return
            near = self._near
            self.scene.settle(packet.event, lambda: self._check(packet, near))

    def _check(self, packet: Packet, before: list[Packet]) -> None:
        packets = {
            id(other): other
            for other in before + self._near
            if abs(other.time - packet.time) <= SETTLED_SURELY
        }
        datagram = _datagram(packet)
        together = [
            other for other in packets.values() if datagram is None or _datagram(other) in {None, datagram}
        ]
        size = sum(other.length or 1200 for other in together)
        sizes = [length for time, length in self._datagrams if abs(time - packet.time) <= self.scene.slack]
        if max([size, *sizes]) < _LEAST:
            self._short.append((packet.event, f"the datagram has {size} bytes"))
            if not self._datagrams or self._told > packet.event.index:
                self._decide(0)


class EarlyData(Check):
    """0-RTT is for clients, and only until they have the keys of 1-RTT."""

    id = "P10"
    title = "no 0-RTT after 1-RTT, and none from servers"
    reference = "RFC 9001 §5.6"
    packet_types = frozenset({"0RTT", "1RTT"})

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._since: float | None = None

    def on_packet(self, packet: Packet) -> None:
        if packet.type == "1RTT" and packet.sent:
            self._since = packet.time if self._since is None else self._since
        if packet.type != "0RTT":
            return
        pointer = "/data/header/packet_type"
        if self.scene.sender(packet) == "server":
            self.report(packet.event, "a server sends no 0-RTT", pointer)
        elif packet.sent and self._since is not None and packet.time - self._since > self.scene.slack:
            self.report(packet.event, "0-RTT after 1-RTT", pointer)


class InitialKeys(Check):
    """Initial keys go when a client sends its first Handshake packet, when a server processes one."""

    id = "P11"
    title = "no Initial is sent after its keys are gone"
    reference = "RFC 9001 §4.9.1"
    packet_types = frozenset({"initial", "handshake"})

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._gone: float | None = None

    def on_packet(self, packet: Packet) -> None:
        if packet.type == "handshake" and self._gone is None and self.scene.sender(packet) == "client":
            self._gone = packet.time
        if packet.type == "initial" and packet.sent and self._gone is not None:
            after = packet.time - self._gone
            if after > self.scene.slack:
                message = f"{after:.3f} ms after the keys had to be discarded"
                self.report(packet.event, message, "/data/header/packet_type")


class HandshakeKeys(Check):
    """Handshake keys go when the handshake is confirmed.

    The client confirms it by receiving HANDSHAKE_DONE, the server before it sends that.
    """

    id = "P12"
    title = "no Handshake packet is sent after confirmation"
    reference = "RFC 9001 §4.9.2"
    sent = True
    packet_types = frozenset({"handshake"})

    def on_packet(self, packet: Packet) -> None:
        if self.scene.confirmed_at is not None:
            after = packet.time - self.scene.confirmed_at
            if after > self.scene.slack:
                message = f"{after:.3f} ms after the handshake was confirmed"
                self.report(packet.event, message, "/data/header/packet_type")


class NotBeforeCompletion(Check):
    """The handshake completes with the peer's Handshake packets.

    Before, a client sends no 1-RTT packets, and a server sends but does not process them.
    """

    id = "P13"
    title = "1-RTT packets wait for the handshake"
    reference = "RFC 9001 §5.7"
    needs_history = True
    packet_types = frozenset({"1RTT"})

    def on_packet(self, packet: Packet) -> None:
        if len(self.scene.received["handshake"]) or not self.scene.role:
            return
        if packet.sent == (self.scene.role == "client"):
            event = packet.event
            self.scene.settle(event, lambda: self._check(event, sent=packet.sent))

    def _check(self, event: Event, *, sent: bool) -> None:
        if not len(self.scene.received["handshake"]):
            what = "sent" if sent else "processed"
            self.report(event, f"1-RTT {what} before any Handshake packet", "/data/header/packet_type")


class AfterClose(Check):
    """Closing endpoints send nothing but CONNECTION_CLOSE, draining ones at most one of these, at once."""

    id = "P17"
    title = "after CONNECTION_CLOSE only CONNECTION_CLOSE is sent"
    reference = "RFC 9000 §10.2"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._closed: float | None = None
        self._what = ""

    def on_packet(self, packet: Packet) -> None:
        closes = packet.has("connection_close")
        if packet.sent and self._closed is not None and packet.frames and not closes:
            # The packets of a flight that were made before the close may be logged after it.
            if packet.time - self._closed > self.scene.slack:
                self.report(packet.event, f"sent after CONNECTION_CLOSE was {self._what}", "/data/frames")
        elif closes and self._closed is None:
            self._closed = packet.time
            self._what = "sent" if packet.sent else "received"


class Retry(Check):
    """A client takes one Retry per attempt; its Initials then carry the token of it."""

    id = "P18"
    title = "one Retry at most, and later Initials carry its token"
    reference = "RFC 9000 §17.2.5"
    packet_types = frozenset({"retry", "version_negotiation", "initial"})

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._retried = False
        self._tokens = False

    def on_packet(self, packet: Packet) -> None:
        if self.scene.role != "client":
            return
        if packet.type == "retry" and not packet.sent:
            self._tokens = bool(packet.header.get("token"))
            if self._retried:
                self.report(packet.event, "a second Retry was processed", "/data/header/packet_type")
            self._retried = True
        elif packet.type == "version_negotiation":
            self._retried = self._tokens = False
        elif packet.type == "initial" and packet.sent and self._tokens and not packet.header.get("token"):
            self.report(packet.event, "an Initial after Retry has no token", "/data/header")


class VersionNegotiation(Check):
    """Version Negotiation is a server's first answer, never a client's."""

    id = "P19"
    title = "Version Negotiation comes from servers, before anything else"
    reference = "RFC 9000 §6"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._others = False

    def on_packet(self, packet: Packet) -> None:
        sender = self.scene.sender(packet)
        if packet.type == "version_negotiation":
            pointer = "/data/header/packet_type"
            if sender == "client":
                self.report(packet.event, "a client sends no Version Negotiation", pointer)
            elif sender == "server" and self._others:
                self.report(packet.event, "Version Negotiation after other packets of the server", pointer)
        elif sender == "server":
            self._others = True


class DatagramSize(Check):
    """max_udp_payload_size limits what the peer is willing to receive."""

    id = "P22"
    title = "datagrams are not larger than the peer's max_udp_payload_size"
    reference = "RFC 9000 §18.2"
    events = ("quic:udp_datagrams_sent",)
    _side: ClassVar[str] = "remote"

    def on_event(self, event: Event) -> None:
        limit = whole(self.scene.parameters[self._side].get("max_udp_payload_size"))
        for index, length in enumerate(datagram_lengths(event)):
            if limit is not None and length > limit >= 1200:
                self.report(event, f"{length} bytes, the peer takes {limit}", f"/data/raw/{index}/length")


def _datagram(packet: Packet) -> int | None:
    """What packets of one datagram have in common."""
    data = packet.event.data
    return whole(data.get("datagram_payload_checksum", data.get("datagram_id")))
