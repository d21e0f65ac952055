"""Group P, third part: connection IDs, paths, amplification, idleness."""

from collections import OrderedDict, deque
from typing import ClassVar

from qlog.checks.base import Check
from qlog.checks.scene import Scene
from qlog.model import Event, JsonObject
from qlog.packets import Packet, hexadecimal, initiator, whole
from qlog.ranges import Ranges

# RFC 9369 §3: version 2 differs from version 1 in constants only.
_VERSIONS = {"", "1", "00000001", "6b3343cf"}

# Connection IDs and challenges that are kept of a side: the latest.
_MOST_ISSUED = 1000
_MOST_CHALLENGES = 1000


class ConnectionIdLengths(Check):
    """Connection IDs have up to 20 bytes in versions 1 and 2, and scil and dcil count their bytes."""

    id = "P20"
    title = "connection IDs have at most 20 bytes, as many as scil and dcil say"
    reference = "RFC 9000 §17.2"

    def on_packet(self, packet: Packet) -> None:
        header = packet.header
        if ("scid" not in header and "dcid" not in header) or str(header.get("version", "")) not in _VERSIONS:
            return
        for name, length_name in (("scid", "scil"), ("dcid", "dcil")):
            cid = hexadecimal(header.get(name))
            if cid is None:
                continue
            if len(cid) > 40:
                self.report(packet.event, f"{name} has {len(cid) // 2} bytes", f"/data/header/{name}")
            length = whole(header.get(length_name))
            if length is not None and 2 * length != len(cid):
                message = f"{length_name} is {length}, {name} has {len(cid) // 2} bytes"
                self.report(packet.event, message, f"/data/header/{length_name}")


class AuthenticatedIds(Check):
    """The connection IDs of the first packets come back in the transport parameters.

    This is what tells a client that nobody has tampered with the first packets.
    """

    id = "P21"
    title = "connection IDs in the parameters are those of the first packets"
    reference = "RFC 9000 §7.3"
    needs_history = True
    events = ("quic:parameters_set",)
    packet_types = frozenset({"version_negotiation", "initial", "retry"})
    # Parameters that are kept; there are two, in up to two parts.
    _most: ClassVar[int] = 8

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._first: dict[tuple[str, str], str] = {}
        self._parameters: list[Event] = []

    def on_event(self, event: Event) -> None:
        if len(self._parameters) < self._most:
            self._parameters.append(event)

    def on_packet(self, packet: Packet) -> None:
        if packet.type == "version_negotiation":
            self._first.clear()
            return
        kind = "retry" if packet.type == "retry" else "local" if packet.sent else "remote"
        for name in ("scid", "dcid"):
            cid = hexadecimal(packet.header.get(name))
            if cid is not None:
                self._first.setdefault((kind, name), cid)

    def on_end(self) -> None:
        for event in self._parameters:
            side = initiator(event.data)
            expected = {"initial_source_connection_id": self._first.get((side, "scid"))}
            if self.scene.role == "client" and side == "remote":
                expected["original_destination_connection_id"] = self._first.get(("local", "dcid"))
                expected["retry_source_connection_id"] = self._first.get(("retry", "scid"))
            for name, cid in expected.items():
                told = hexadecimal(event.data.get(name))
                if told is not None and cid is not None and told != cid:
                    self.report(event, f"{name} is {told!r}, the packets had {cid!r}", f"/data/{name}")


class Amplification(Check):
    """Until the client's address is validated, a server sends at most three times what it has received.

    A Handshake packet or a token from the client validates it. Every received Initial is taken as 1200 bytes.
    """

    id = "P23"
    title = "a server keeps within three times the bytes received"
    reference = "RFC 9000 §8.1"
    needs_history = True
    events = ("quic:packet_dropped", "quic:packet_buffered")

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._received = 0
        self._sent = 0
        self._validated = False

    def on_event(self, event: Event) -> None:
        raw = event.data.get("raw")
        self._received += (whole(raw.get("length")) if isinstance(raw, dict) else None) or 1500

    def on_packet(self, packet: Packet) -> None:
        if self._validated or self.scene.role != "server":
            return
        if packet.sent:
            self._sent += packet.length or 0
            sent = self._sent
            self.scene.settle(packet.event, lambda: self._check(packet, sent))
        else:
            self._validated = packet.type in {"handshake", "1RTT"} or bool(packet.header.get("token"))
            length = packet.length or 1500
            self._received += max(length, 1200) if packet.type == "initial" else length

    def _check(self, packet: Packet, sent: int) -> None:
        if not self._validated and sent > 3 * self._received:
            message = f"{sent} bytes sent, {self._received} received"
            self.report(packet.event, message, "/data/raw/length")


class NewConnectionIds(Check):
    """A sequence number stands for one connection ID, and the peer says how many it stores."""

    id = "P24"
    title = "NEW_CONNECTION_ID is consistent and within active_connection_id_limit"
    reference = "RFC 9000 §5.1.1, §19.15"
    needs_history = True
    frames = ("new_connection_id", "retire_connection_id")

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._issued: dict[bool, OrderedDict[int, str]] = {True: OrderedDict(), False: OrderedDict()}
        self._active: dict[bool, set[int]] = {True: {0}, False: {0}}

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        sequence = whole(frame.get("sequence_number"))
        if sequence is None:
            return
        if frame["frame_type"] == "retire_connection_id":
            self._active[not packet.sent].discard(sequence)
            return
        pointer = f"/data/frames/{index}"
        retire_prior_to = whole(frame.get("retire_prior_to")) or 0
        if retire_prior_to > sequence:
            message = f"retire_prior_to is {retire_prior_to}, the sequence number {sequence}"
            self.report(packet.event, message, f"{pointer}/retire_prior_to")
            return
        issued, cid = self._issued[packet.sent], str(frame.get("connection_id"))
        known = issued.setdefault(sequence, cid)
        if known != cid:
            message = f"connection ID {sequence} is {cid} and was {known}"
            self.report(packet.event, message, f"{pointer}/connection_id")
        active = self._active[packet.sent]
        if known == cid and sequence not in active and next(reversed(issued)) == sequence:
            active.add(sequence)
            if len(issued) > _MOST_ISSUED:
                issued.popitem(last=False)
        self._active[packet.sent] = active = {one for one in active if one >= retire_prior_to}
        limit = whole(self.scene.receiver_parameters(packet).get("active_connection_id_limit"))
        if limit is not None and len(active) > max(limit, 2):
            message = f"{len(active)} active connection IDs, the limit is {limit}"
            self.report(packet.event, message, f"{pointer}/sequence_number")


class RetiredIds(Check):
    """Only a connection ID that was issued can be retired.

    Sequence number 1 may be that of the preferred address.
    """

    id = "P25"
    title = "RETIRE_CONNECTION_ID names an issued connection ID"
    reference = "RFC 9000 §19.16"
    needs_history = True
    frames = ("new_connection_id", "retire_connection_id")

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._issued = {True: Ranges(), False: Ranges()}
        for issued in self._issued.values():
            issued.add(0, 1)

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        sequence = whole(frame.get("sequence_number"))
        if sequence is None:
            return
        if frame["frame_type"] == "new_connection_id":
            self._issued[packet.sent].add(sequence, sequence)
        elif sequence not in self._issued[not packet.sent]:
            message = f"connection ID {sequence} was never issued"
            self.report(packet.event, message, f"/data/frames/{index}/sequence_number")


class PathResponses(Check):
    """A PATH_RESPONSE returns the data of a PATH_CHALLENGE."""

    id = "P26"
    title = "PATH_RESPONSE answers a PATH_CHALLENGE"
    reference = "RFC 9000 §8.2.2"
    needs_history = True
    frames = ("path_challenge", "path_response")

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        # What was in the latest challenges, by their direction.
        self._challenges: dict[bool, deque[str]] = {
            True: deque(maxlen=_MOST_CHALLENGES),
            False: deque(maxlen=_MOST_CHALLENGES),
        }

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        data = frame.get("data")
        if not isinstance(data, str):
            return
        if frame["frame_type"] == "path_challenge":
            self._challenges[packet.sent].append(data)
        elif data not in self._challenges[not packet.sent]:
            self.report(packet.event, f"no challenge had the data {data}", f"/data/frames/{index}/data")


class IdleTimeout(Check):
    """After the smaller max_idle_timeout of both sides, or three PTOs, a silent connection is gone."""

    id = "P27"
    title = "nothing is sent after the idle timeout"
    reference = "RFC 9000 §10.1"
    severity = "warning"
    needs_history = True

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._last: float | None = None

    def on_packet(self, packet: Packet) -> None:
        last, self._last = self._last, packet.time
        # RFC 9000 §18.2: whole ms, so the smallest timeout is 1.
        if last is None or not packet.sent or packet.time - last <= 1:
            return
        sides = self.scene.parameters
        written = [whole(sides[side].get("max_idle_timeout")) for side in ("local", "remote")]
        timeouts = [timeout for timeout in written if timeout]
        if None in written or not timeouts:
            return
        metrics = self.scene.metrics
        pto = metrics.get("smoothed_rtt", 333.0) + 4 * metrics.get("rtt_variance", 167.0) + 25
        limit = max(min(timeouts), 3 * pto * 2 ** min(metrics.get("pto_count", 0), 60))
        if packet.time - last > limit + self.scene.slack:
            message = f"{packet.time - last:.0f} ms after the packet before; the timeout is {limit:.0f} ms"
            self.report(packet.event, message, "/time")
