"""Group R, first part: acknowledgments, losses, probes."""

import math
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from qlog.checks.base import Check
from qlog.checks.scene import SETTLED_EVENTS, Scene
from qlog.model import Event, JsonObject
from qlog.packets import Packet, ack_delay, acked_ranges, whole
from qlog.packets import number as number_of
from qlog.ranges import Ranges

# RFC 9002 §6.1.1, §6.1.2: the recommended thresholds.
_PACKET_THRESHOLD = 3
_TIME_THRESHOLD = 9 / 8

_PTO_PROBES = 2


class _Sample(NamedTuple):
    time: float
    event: int
    rtt: float


def _counting(metrics: Mapping[str, float]) -> float:
    """The RTT, in ms, that a loss by time goes by (RFC 9002 §6.1.2)."""
    return max(metrics["smoothed_rtt"], metrics.get("latest_rtt", 0.0))


class LostOnce(Check):
    """A packet is lost if it was sent, has no acknowledgment and was in flight, and is lost only once."""

    id = "R01"
    title = "lost packets were sent, not acknowledged, and in flight"
    reference = "RFC 9002 §6.1, §A.10"
    needs_history = True

    def on_lost(self, packet: Packet) -> None:
        if packet.number is None:
            return
        scene, space, number = self.scene, packet.space, packet.number
        pointer = "/data/header/packet_number"
        known = scene.unacked[space].get(number)
        if scene.lost[space].surely(number):
            self.report(packet.event, f"{space} packet {number} is lost a second time", pointer)
        elif scene.acked[space].surely(number):
            # An ACK in the same step may be logged before its losses, never long before.
            self.report(packet.event, f"{space} packet {number} was acknowledged before", pointer)
        elif known is not None and not known.in_flight:
            message = f"{space} packet {number} had only ACK frames"
            self.report(packet.event, message, pointer, severity="warning")
        elif number not in scene.sent[space]:
            event = packet.event
            scene.settle(event, lambda: self._check_sent(event, space, number))

    def _check_sent(self, event: Event, space: str, number: int) -> None:
        if number not in self.scene.sent[space]:
            message = f"{space} packet {number} was never sent"
            self.report(event, message, "/data/header/packet_number")


class LossTrigger(Check):
    """Reordering means that a packet sent later, by the threshold or more, was acknowledged.

    Time means that any later packet was, and that 9/8 of the RTT have passed since the sending.
    """

    id = "R02"
    title = "the trigger of a loss is true"
    reference = "RFC 9002 §6.1.1, §6.1.2"
    needs_history = True
    needs_paths = True

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        # The step of a loss may have ended with other metrics than those that are known when it is judged.
        self._rtts: deque[_Sample] = deque(maxlen=64)

    def on_metrics(self, event: Event, changed: dict[str, float]) -> None:
        if changed.keys() & {"smoothed_rtt", "latest_rtt"}:
            now = self.scene.metrics | changed
            if "smoothed_rtt" in now:
                self._rtts.append(_Sample(event.time, self.scene.events, _counting(now)))

    def on_lost(self, packet: Packet) -> None:
        trigger, number = packet.event.data.get("trigger"), packet.number
        if number is None or trigger not in ("reordering_threshold", "time_threshold"):
            return
        known = self.scene.unacked[packet.space].get(number)
        sent = None if known is None else known.time
        rtt = self._rtt()
        self.scene.settle(packet.event, lambda: self._check(packet, number, sent, rtt))

    def _rtt(self) -> float:
        """The smallest that may count: nothing says which path's does for packets sent on another."""
        paths = [metrics for metrics in self.scene.metrics_of_paths if "smoothed_rtt" in metrics]
        return min((_counting(one) for one in paths), default=0.0)

    def _check(self, packet: Packet, number: int, sent: float | None, rtt_before: float) -> None:
        acked = self.scene.acked[packet.space].largest
        if acked < 0:  # without frames, nobody knows
            return
        if packet.event.data["trigger"] == "reordering_threshold":
            threshold = whole(self.scene.recovery.get("reordering_threshold")) or _PACKET_THRESHOLD
            if acked < number + threshold:
                message = f"packet {number} is lost by reordering, the largest acknowledged is {acked}"
                self.report(packet.event, message, "/data/trigger")
            return
        if acked <= number:
            message = f"packet {number} is lost by time, but no later one was acknowledged"
            self.report(packet.event, message, "/data/trigger")
        elif sent is not None:
            factor = number_of(self.scene.recovery.get("time_threshold")) or _TIME_THRESHOLD
            since = (one.rtt for one in self._rtts if one.time >= packet.time)
            needed = factor * min(rtt_before, self._rtt(), *since)
            age = packet.time - sent
            if age < needed - self.scene.slack:
                message = f"packet {number} is lost by time after {age:.3f} ms, {needed:.3f} are needed"
                self.report(packet.event, message, "/data/trigger")


class AckDelays(Check):
    """After the handshake a receiver delays its ACKs by up to max_ack_delay. A busy one may take longer.

    So may one that may not send, since it is still finding out who is at the end of a path (RFC 9000 §8).
    Only the first ACK for a packet that elicits one counts; in later ones the delay goes on growing. A trace
    does not tell a late ACK from a machine that stood still, so it is no more than a note.
    """

    id = "R11"
    title = "ack_delay is within the peer's max_ack_delay"
    reference = "RFC 9000 §13.2.1"
    severity = "info"
    events = ("quic:migration_state_updated",)
    frames = ("ack",)
    # What an operating system's scheduler may add, in ms.
    _tolerance = 25.0

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        # By the ACK's direction: the largest packet acknowledged, and when its sender last tested a path.
        self._largest = {True: -1, False: -1}
        self._validated = {True: -math.inf, False: -math.inf}
        self._silent = {True: Ranges(), False: Ranges()}

    def on_event(self, event: Event) -> None:
        if str(event.data.get("new")).startswith("probing_"):
            self._validated[True] = event.time

    def on_packet(self, packet: Packet) -> None:
        if packet.has("path_challenge"):
            self._validated[packet.sent] = packet.time
        if packet.has("path_response"):
            self._validated[not packet.sent] = packet.time
        if packet.number is not None and packet.space == "application_data" and not packet.ack_eliciting:
            self._silent[not packet.sent].add(packet.number, packet.number)

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        delay = ack_delay(frame, packet.event)
        if delay is None:
            return
        pointer = f"/data/frames/{index}/ack_delay"
        if delay < 0:
            self.report(packet.event, f"ack_delay is {delay}", pointer, severity="error")
            return
        largest = max((high for _, high in acked_ranges(frame)), default=-1)
        if packet.type != "1RTT" or largest <= self._largest[packet.sent]:
            return
        self._largest[packet.sent] = largest
        silent = self._silent[packet.sent]
        was_silent = largest in silent
        silent.forget(largest)
        if was_silent or packet.time - delay <= self._validated[packet.sent]:
            return
        confirmed = self.scene.confirmed_at
        # The first packets may have waited for keys (RFC 9002 §5.3).
        if confirmed is None or packet.time - confirmed < 1000:
            return
        sender = self.scene.parameters["local" if packet.sent else "remote"]
        told = whole(sender.get("max_ack_delay"))
        limit = 25 if told is None else told
        if delay > limit + self._tolerance:
            message = f"ack_delay is {delay:.3f} ms, max_ack_delay {limit} ms"
            self.report(packet.event, message, pointer)


class ProbeTimeout(Check):
    """The probe timer runs from the last packet that must be acknowledged.

    It takes smoothed_rtt + max(4 * rtt_variance, 1 ms), in the application's space max_ack_delay more, and
    twice that for every expiry.
    """

    id = "R12"
    title = "the probe timeout is computed from the metrics"
    reference = "RFC 9002 §6.2.1"
    severity = "warning"
    needs_history = True
    events = ("quic:timer_updated",)
    sent = True

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._last: dict[str, float] = {}

    def on_packet(self, packet: Packet) -> None:
        if packet.ack_eliciting:
            self._last[packet.space] = packet.time

    def on_event(self, event: Event) -> None:
        data, space = event.data, str(event.data.get("packet_number_space", ""))
        delta = data.get("delta")
        is_set = data.get("timer_type") == "pto" and data.get("event_type") == "set"
        if is_set and isinstance(delta, int | float) and space in self._last:
            deadline, before = event.time + delta, self._expected(space)
            self.scene.settle(event, lambda: self._check(event, deadline, space, before))

    def _expected(self, space: str) -> float | None:
        metrics = self.scene.metrics
        if "smoothed_rtt" not in metrics or "rtt_variance" not in metrics:
            return None
        timeout = metrics["smoothed_rtt"] + max(4 * metrics["rtt_variance"], 1.0)
        if space == "application_data":
            told = whole(self.scene.parameters["remote"].get("max_ack_delay"))
            timeout += 25 if told is None else told
        return self._last[space] + timeout * 2 ** min(metrics.get("pto_count", 0), 60)

    def _check(self, event: Event, deadline: float, space: str, before: float | None) -> None:
        after = self._expected(space)
        if before is None or after is None:
            return
        low, high = sorted((before, after))
        tolerance = 2 * self.scene.slack + 0.1 * (high - self._last[space])
        if not low - tolerance <= deadline <= high + tolerance:
            message = f"the timer ends {deadline - after:+.3f} ms from where the metrics put it"
            self.report(event, message, "/data/delta")


class PtoCount(Check):
    """Every expiry of the probe timer adds one, and an acknowledgment brings it back to 0.

    Where the time since the last metrics was enough for several expiries, nobody knows how often it rose: a
    busy program logs late, and not every expiry sends a packet.
    """

    id = "R13"
    title = "pto_count rises by one and falls to 0"
    reference = "RFC 9002 §6.2.1"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._told_at = 0.0

    def on_metrics(self, event: Event, changed: dict[str, float]) -> None:
        passed, self._told_at = event.time - self._told_at, event.time
        if "pto_count" not in changed:
            return
        known = self.scene.metrics
        before, after = known.get("pto_count", 0), changed["pto_count"]
        # Traces may start late, so the first value can be any.
        if "pto_count" in known and after > before + 1:
            timeout = known.get("smoothed_rtt", 333.0) + max(4 * known.get("rtt_variance", 0.0), 1.0)
            # The first expiry may have been just after the last metrics, and each takes twice as long.
            needed = timeout * (2 ** min(after, 60) - 2 ** min(before + 1, 60)) - self.scene.slack
            if max(passed, event.time - self._armed()) >= needed:
                return
            self.report(event, f"pto_count rises from {before:.0f} to {after:.0f}", "/data/pto_count")
        elif 0 < after < before:
            self.report(event, f"pto_count falls from {before:.0f} to {after:.0f}", "/data/pto_count")

    def _armed(self) -> float:
        """From when the timer of 1-RTT packets runs: it is not looked at until the handshake is confirmed."""
        scene = self.scene
        confirmed = math.inf if scene.confirmed_at is None else scene.confirmed_at
        packets = reversed(scene.unacked["application_data"].values())
        last = next((packet.time for packet in packets if packet.in_flight), math.inf)
        return last if last <= confirmed else scene.time


class Probes(Check):
    """When the probe timer expires, one or two packets are sent in each space."""

    id = "R14"
    title = "at most two probes per expiry"
    reference = "RFC 9002 §6.2.4"
    sent = True

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._probes: dict[str, list[float]] = {}

    def on_packet(self, packet: Packet) -> None:
        if packet.event.data.get("trigger") != "pto_probe":
            return
        slack = self.scene.slack
        probes = [time for time in self._probes.get(packet.space, []) if packet.time - time < slack]
        self._probes[packet.space] = probes = [*probes, packet.time]
        # Timers of ms can't expire twice in a step.
        if len(probes) == _PTO_PROBES + 1:
            self.report(packet.event, f"{len(probes)} probes of {packet.space} at once", "/data/trigger")


class PacketsAcked(Check):
    """packets_acked tells of packets that were sent, when they are acknowledged for the first time."""

    id = "R15"
    title = "packets_acked names sent packets, once"
    reference = "draft-ietf-quic-qlog-quic-events, packets_acked"
    needs_history = True
    events = ("quic:packets_acked",)

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._told: dict[str, Ranges] = {}

    def on_event(self, event: Event) -> None:
        space = str(event.data.get("packet_number_space", "application_data"))
        written = event.data.get("packet_numbers")
        if space not in self.scene.sent or not isinstance(written, list):
            return
        told, sent = self._told.setdefault(space, Ranges()), self.scene.sent[space]
        for index, number in enumerate(whole(item) for item in written):
            if number is None:
                continue
            pointer = f"/data/packet_numbers/{index}"
            if number not in sent:
                self.report(event, f"{space} packet {number} was never sent", pointer)
            elif told.surely(number):
                self.report(event, f"{space} packet {number} was acknowledged before", pointer)
            told.add(number, number)


class SpuriousLoss(Check):
    """An acknowledgment after the loss shows that the packet was only late."""

    id = "R17"
    title = "lost packets are not acknowledged later"
    reference = "RFC 9002 §6.1.1"
    severity = "info"
    sent = False
    frames = ("ack",)

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        if not packet.space:
            return
        lost, acked = self.scene.lost[packet.space], self.scene.acked[packet.space]
        for low, high in acked_ranges(frame):
            if not lost.overlaps(low, high):
                continue
            for first, last in acked.missing(low, high):
                if first > lost.blurred and lost.overlaps(first, last):
                    message = f"packet {first} or one up to {last} was lost and is acknowledged now"
                    if first == last:
                        message = f"packet {first} was lost and is acknowledged now"
                    self.report(packet.event, message, f"/data/frames/{index}/acked_ranges")
                    return


class EcnCounts(Check):
    """The peer counts the marks of the packets it got: counts never fall and don't exceed what was sent."""

    id = "R19"
    title = "ECN counts never fall and are within the packets sent"
    reference = "RFC 9000 §13.4.2.1"
    needs_history = True
    frames = ("ack",)
    _names = ("ect0", "ect1", "ce")

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._last: dict[tuple[str, bool], tuple[int, list[int]]] = {}
        self._sent: dict[str, int] = {}

    def on_packet(self, packet: Packet) -> None:
        if packet.sent and packet.space:
            self._sent[packet.space] = self._sent.get(packet.space, 0) + 1

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        if not any(name in frame for name in self._names):
            return
        ranges = acked_ranges(frame)
        counts = [whole(frame.get(name, 0)) or 0 for name in self._names]
        largest = max((high for _, high in ranges), default=-1)
        key, pointer = (packet.space, packet.sent), f"/data/frames/{index}"
        before, last = self._last.get(key, (-1, [0, 0, 0]))
        if largest <= before:  # overtaken by a later ACK
            return
        for name, count, known in zip(self._names, counts, last, strict=True):
            if count < known:
                self.report(packet.event, f"{name} falls from {known} to {count}", f"{pointer}/{name}")
        sent = self._sent.get(packet.space, 0)
        if not packet.sent and sum(counts) > sent:
            self.report(packet.event, f"{sum(counts)} packets were counted, {sent} were sent", pointer)
        self._last[key] = (largest, counts)


class LatestRtt(Check):
    """A sample is the time from the sending of the largest newly acknowledged packet to its ACK.

    Clocks are read a little before or after the event is logged: small differences are not reported.
    """

    id = "R09"
    title = "latest_rtt is the time until the ACK of the largest newly acknowledged packet"
    reference = "RFC 9002 §5.1"
    severity = "warning"
    needs_history = True
    sent = False
    frames = ("ack",)
    # ms, and the share of the RTT, that a busy program may lose between its clock and its log.
    _tolerance = (10.0, 0.25)

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._samples: deque[_Sample] = deque(maxlen=64)

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        del index
        if not packet.space:
            return
        largest = max((high for _, high in acked_ranges(frame)), default=-1)
        known = self.scene.unacked[packet.space].get(largest)
        if known is not None:
            self._samples.append(_Sample(packet.time, self.scene.events, packet.time - known.time))

    def on_metrics(self, event: Event, changed: dict[str, float]) -> None:
        latest = changed.get("latest_rtt")
        known = self.scene.metrics.get("latest_rtt")
        # RFC 9000 §9.4: if only the port has changed, the new path may start with what is known.
        if latest and latest != known and (known is not None or not self.scene.network_tuple):
            at = self.scene.events
            self.scene.settle(event, lambda: self._check(event, at, latest))

    def _check(self, event: Event, at: int, latest: float) -> None:
        # A program that is interrupted tells later what the ACK did, but in the same place.
        near = [
            one.rtt
            for one in self._samples
            if abs(one.time - event.time) <= self._tolerance[0] or abs(one.event - at) <= SETTLED_EVENTS
        ]
        if not near:
            return
        nearest = min(near, key=lambda rtt: abs(rtt - latest))
        if abs(nearest - latest) > self._tolerance[0] + self._tolerance[1] * max(nearest, latest):
            message = f"latest_rtt is {latest:.3f} ms, the packets tell {nearest:.3f} ms"
            self.report(event, message, "/data/latest_rtt")
