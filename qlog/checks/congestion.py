"""Group R, second part: round-trip times, bytes in flight, the congestion window."""

from collections import defaultdict, deque
from dataclasses import dataclass, field

from qlog.checks.base import Check
from qlog.checks.scene import SETTLED_EVENTS, Scene
from qlog.model import Event, JsonObject
from qlog.packets import SPACES, Packet, acked_ranges, whole

# Of a datagram: what RFC 9000 §14 requires, and what Ethernet carries.
_SMALLEST, _LARGEST = 1200, 1500

# RFC 9002 §7.2
_INITIAL_WINDOW_PACKETS, _INITIAL_WINDOW_BYTES = 10, 14_720

# No clock of RTTs shows more (ms): stacks write the largest integer while there is no sample.
_ABSURD = 1e7


class BytesInFlight(Check):
    """Bytes in flight are those of sent packets that are neither acknowledged nor lost nor given up.

    Every path has its own (RFC 9000 §9.4). Within the step of an event any value that occurs is accepted,
    and what the next packet makes of it, if that is logged late. What leaves with its keys may leave last.
    Traces that show neither losses nor sizes, and 0-RTT, leave it open what is in flight.
    """

    id = "R03"
    title = "bytes_in_flight is the sum of what is in flight"
    reference = "RFC 9002 §2, §B.2"
    severity = "warning"
    needs_history = True
    needs_paths = True
    events = ("quic:key_discarded",)
    frames = ("ack",)
    # Of a space that is finished, the bytes leave with the keys.
    _most = 100_000

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        # By space and number: the size of a packet and its network tuple.
        self._sizes: dict[str, dict[int, tuple[int, str]]] = {space: {} for space in SPACES.values()}
        self._flights: dict[str, _Flight] = defaultdict(_Flight)
        # Values that may be those with the next packet, and what is reported of them if they are not.
        self._open: list[tuple[Event, int, str]] = []
        self._known = True

    def on_event(self, event: Event) -> None:
        key_type = str(event.data.get("key_type"))
        for space in ("initial", "handshake"):
            if space in key_type:
                self._drop(space, event.time)

    def on_packet(self, packet: Packet) -> None:
        if packet.has("connection_close"):
            self._known = False  # RFC 9000 §10.2.1: closing endpoints forget all
        if packet.sent and packet.number is not None and packet.in_flight:
            sizes = self._sizes[packet.space]
            if packet.length is None or packet.type == "0RTT" or len(sizes) > self._most:
                self._known = False
            sizes[packet.number] = packet.length or 0, packet.event.network_tuple
            self._change(packet.time, *sizes[packet.number])
        if self._open:
            self._decide()
        if packet.type in {"retry", "version_negotiation"}:
            self._drop("initial", packet.time, with_keys=False)
        if packet.type == "handshake" and self.scene.sender(packet) == "client":
            self._drop("initial", packet.time)  # RFC 9001 §4.9.1
        # RFC 9001 §4.9.2, and §5.7: servers process no 1-RTT packet before.
        over = packet.has("handshake_done") or (self.scene.role == "server" and not packet.sent)
        if over and packet.type == "1RTT" and self._sizes["handshake"]:
            self._drop("handshake", packet.time)

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        del index
        if packet.sent or not packet.space:
            return
        for low, high in acked_ranges(frame):
            for number in self.scene.newly_acked(packet.space, low, high):
                self._forget(packet.time, packet.space, number)

    def on_lost(self, packet: Packet) -> None:
        if packet.number is not None:
            self._forget(packet.time, packet.space, packet.number)

    def on_metrics(self, event: Event, changed: dict[str, float]) -> None:
        told = changed.get("bytes_in_flight")
        if told is not None and self._known:
            at = self.scene.events
            self.scene.settle(event, lambda: self._check(event, at, told))

    def _check(self, event: Event, at: int, told: float) -> None:
        values = self._around(event, at)
        if self._known and not min(values) <= told <= max(values) and not self._undecided():
            near = min(values, key=lambda value: abs(value - told))
            message = f"bytes_in_flight is {told:.0f}, the packets add up to {near}"
            self._open.append((event, int(told), message))
            if len(self._open) > SETTLED_EVENTS:
                self._decide()

    def _decide(self) -> None:
        for event, told, message in self._open:
            if self._flights[event.network_tuple].total != told:
                self.report(event, message, "/data/bytes_in_flight")
        self._open.clear()

    def on_end(self) -> None:
        self._decide()

    def _around(self, event: Event, at: int) -> set[int]:
        """What was in flight about a time: within the step, and just before it."""
        window = 2 * self.scene.slack
        flight = self._flights[event.network_tuple]
        values = {flight.total}
        left = 0
        for change in reversed(flight.recent):
            near = abs(change.time - event.time) <= window or change.first - SETTLED_EVENTS <= at <= (
                change.last + SETTLED_EVENTS
            )
            if near:
                values |= {change.low, change.high}
                left += change.left
            elif change.last < at:
                values.add(change.total)
                break
        else:
            values.add(0)
        return values if not left else values | {max(values) + left}

    def _undecided(self) -> bool:
        """Packets long overtaken and not declared lost: of traces that show no losses."""
        for space, sizes in self._sizes.items():
            first = next(iter(sizes), None)
            if first is not None and first < self.scene.acked[space].largest - 3:
                return True
        return False

    def _drop(self, space: str, time: float, *, with_keys: bool = True) -> None:
        for number in list(self._sizes[space]):
            size, network_tuple = self._sizes[space][number]
            self._forget(time, space, number)
            if size and with_keys:
                self._flights[network_tuple].recent[-1].left += size

    def _forget(self, time: float, space: str, number: int) -> None:
        size, network_tuple = self._sizes[space].pop(number, (0, ""))
        self._change(time, -size, network_tuple)

    def _change(self, time: float, size: int, network_tuple: str) -> None:
        if size:
            flight = self._flights[network_tuple]
            flight.change(time, self.scene.events, size)
            horizon = time - 20 * self.scene.slack
            passed = self.scene.events - 3 * SETTLED_EVENTS
            recent = flight.recent
            while len(recent) > 1 and recent[1].time < horizon and recent[1].last < passed:
                recent.popleft()


@dataclass(slots=True)
class _Change:
    """How the sum changed at one time: between which values, by which events (their numbers), to what.

    `left` of it are bytes that left with their keys.
    """

    time: float
    first: int
    last: int
    low: int
    high: int
    total: int
    left: int = 0


@dataclass(slots=True)
class _Flight:
    """What is in flight on a path, and the last changes of it."""

    total: int = 0
    recent: deque[_Change] = field(default_factory=lambda: deque([_Change(0.0, 0, 0, 0, 0, 0)]))

    def change(self, time: float, event: int, size: int) -> None:
        """Add `size` bytes."""
        self.total = total = self.total + size
        latest = self.recent[-1]
        if latest.time != time:
            self.recent.append(_Change(time, event, event, total, total, total))
            return
        latest.last, latest.total = event, total
        if total < latest.low:
            latest.low = total
        elif total > latest.high:
            latest.high = total


class WithinWindow(Check):
    """Nothing but probes may be sent while the window is full; the last packet may stick out.

    After a reduction more can be in flight for a while, so the largest window of three RTTs counts.
    """

    id = "R04"
    title = "bytes in flight stay within the congestion window"
    reference = "RFC 9002 §7, §7.5"
    sent = True

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._windows: dict[str, deque[tuple[float, float]]] = defaultdict(deque)
        self._largest = _SMALLEST
        self._probes = False
        self._path = ""

    def on_packet(self, packet: Packet) -> None:
        length = packet.length or _LARGEST
        if length > self._largest:
            self._largest = length
        if packet.event.data.get("trigger") == "pto_probe":
            self._probes = True

    def on_metrics(self, event: Event, changed: dict[str, float]) -> None:
        known = self.scene.metrics | changed
        if "congestion_window" not in known or "bytes_in_flight" not in known:
            return
        windows = self._windows[self.scene.network_tuple]
        windows.append((event.time, known["congestion_window"]))
        horizon = event.time - max(3 * known.get("smoothed_rtt", 333.0), 10 * self.scene.slack)
        while len(windows) > 1 and windows[1][0] < horizon:
            windows.popleft()
        before = self.scene.metrics.get("bytes_in_flight", 0)
        told = changed.get("bytes_in_flight", 0)
        # Path validation waits for no window, so much can be in flight where a connection comes back to.
        has_moved, self._path = self.scene.network_tuple != self._path, self.scene.network_tuple
        if has_moved:
            return
        if told <= before or known.get("pto_count") or self._probes:
            self._probes = self._probes and told > before
            return
        limit = max(window for _, window in windows)
        if told >= limit + max(self._largest, _LARGEST):
            message = f"{told:.0f} bytes in flight, the congestion window was at most {limit:.0f}"
            self.report(event, message, "/data/bytes_in_flight")


class MinimumWindow(Check):
    """The window never gets smaller than its minimum, which is two datagrams."""

    id = "R05"
    title = "the congestion window is at least its minimum"
    reference = "RFC 9002 §7.2"

    def on_metrics(self, event: Event, changed: dict[str, float]) -> None:
        window = changed.get("congestion_window")
        minimum = _minimum(self.scene)
        if window is not None and window < minimum:
            message = f"the congestion window is {window:.0f}, its minimum {minimum}"
            self.report(event, message, "/data/congestion_window")


class InitialWindow(Check):
    """The recommended initial window is ten datagrams, not more than the larger of 14720 and two of them."""

    id = "R06"
    title = "the initial congestion window is as recommended"
    reference = "RFC 9002 §7.2"
    severity = "warning"
    events = ("quic:recovery_parameters_set",)

    def on_event(self, event: Event) -> None:
        self._check(event, whole(event.data.get("initial_congestion_window")), "initial_congestion_window")

    def on_metrics(self, event: Event, changed: dict[str, float]) -> None:
        acked = any(len(ranges) for ranges in self.scene.acked.values())
        is_first = "congestion_window" not in self.scene.metrics and self.scene.complete and not acked
        if is_first and "initial_congestion_window" not in self.scene.recovery:
            self._check(event, whole(changed.get("congestion_window")), "congestion_window")

    def _check(self, event: Event, window: int | None, name: str) -> None:
        size = whole(event.data.get("max_datagram_size", self.scene.recovery.get("max_datagram_size")))
        size = size or _LARGEST
        limit = min(_INITIAL_WINDOW_PACKETS * size, max(2 * size, _INITIAL_WINDOW_BYTES))
        if window is not None and window > limit:
            message = f"the initial window is {window}, {limit} are recommended"
            self.report(event, message, f"/data/{name}")


class OneReduction(Check):
    """Losses of one round trip are one congestion event. Falling to the minimum is another matter (R16).

    Only for windows that are cut; what is paced by a model of the path is not judged. A cut that was undone,
    since nothing had been lost (RFC 9438 §4.9), is none.
    """

    id = "R07"
    title = "the congestion window is cut once per round trip"
    reference = "RFC 9002 §7.3.2"
    severity = "warning"
    needs_paths = True
    # NewReno cuts to a half, CUBIC to 0.7.
    _cut = 0.85

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        # By network tuple: when the window was cut, and what it was before.
        self._cuts: dict[str, tuple[float, float]] = {}

    def on_metrics(self, event: Event, changed: dict[str, float]) -> None:
        known, window = self.scene.metrics, changed.get("congestion_window")
        before, path = known.get("congestion_window"), self.scene.network_tuple
        if window is None or before is None:
            return
        cut = self._cuts.get(path)
        if cut is not None and window >= cut[1]:
            del self._cuts[path]
        if window > self._cut * before:
            return
        rtt = min(known.get("min_rtt", 0.0), known.get("latest_rtt", 0.0))
        floor = max(_minimum(self.scene), 2 * _LARGEST)
        if cut is not None and event.time - cut[0] < 0.5 * rtt and window > floor:
            after = event.time - cut[0]
            message = f"cut again to {window:.0f} after {after:.3f} ms, the RTT is {rtt:.3f} ms"
            self.report(event, message, "/data/congestion_window")
        self._cuts[path] = event.time, before


class SmoothedRtt(Check):
    """smoothed_rtt is a mean of its old value and the sample, which may be reduced by the ack_delay.

    So it lies between both. Of the very first sample it is a copy.
    """

    id = "R08"
    title = "smoothed_rtt follows from the samples"
    reference = "RFC 9002 §5.3"
    severity = "warning"
    needs_paths = True

    def on_metrics(self, event: Event, changed: dict[str, float]) -> None:
        smoothed, latest = changed.get("smoothed_rtt"), changed.get("latest_rtt")
        if smoothed is None or latest is None:
            return
        known = self.scene.metrics.get("smoothed_rtt")
        before = known or latest
        # Until there is a sample, stacks show 0 beside the initial RTT. RFC 9000 §9.4: if only the port has
        # changed, the new path may start with what is known.
        if smoothed == before or not latest or (known is None and self.scene.network_tuple):
            return
        told = whole(self.scene.parameters["remote"].get("max_ack_delay"))
        delay = 25 if told is None else told
        tolerance = self.scene.slack + 0.01 * max(before, latest)
        low, high = min(before, latest - delay) - tolerance, max(before, latest) + tolerance
        if not low <= smoothed <= high:
            sources = f"{before:.3f} ms and a sample of {latest:.3f} ms"
            message = f"smoothed_rtt is {smoothed:.3f} ms, after {sources}"
            self.report(event, message, "/data/smoothed_rtt")


class MinimumRtt(Check):
    """min_rtt is the smallest sample, so neither the latest one nor their mean is smaller.

    Where it starts anew, as after persistent congestion, the mean keeps what was before.
    """

    id = "R10"
    title = "min_rtt is at most latest_rtt and smoothed_rtt"
    reference = "RFC 9002 §5.2, §5.3"
    needs_paths = True

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        # Network tuples whose min_rtt has risen above the mean.
        self._anew: set[str] = set()

    def on_metrics(self, event: Event, changed: dict[str, float]) -> None:
        known = self.scene.metrics | changed
        minimum = known.get("min_rtt", 0.0)
        if not 0 < minimum < _ABSURD:
            return
        tolerance = 1.0 if self.scene.whole_times else 0.01
        path = self.scene.network_tuple
        if 0 < self.scene.metrics.get("min_rtt", 0.0) < minimum:
            self._anew.add(path)
        if known.get("smoothed_rtt", 0.0) >= minimum:
            self._anew.discard(path)
        for name in ("latest_rtt",) if path in self._anew else ("latest_rtt", "smoothed_rtt"):
            if name in changed or "min_rtt" in changed:
                value = known.get(name, 0.0)
                if 0 < value < minimum - tolerance:
                    message = f"min_rtt is {minimum:.3f} ms, {name} {value:.3f} ms"
                    self.report(event, message, f"/data/{name if name in changed else 'min_rtt'}")
                    return


class PersistentCongestion(Check):
    """Persistent congestion brings the window down to its minimum."""

    id = "R16"
    title = "persistent congestion leaves the minimum window"
    reference = "RFC 9002 §7.6.2"
    events = ("quic:congestion_state_updated",)

    def on_event(self, event: Event) -> None:
        if "persistent_congestion" in (event.data.get("new"), event.data.get("trigger")):
            self.scene.settle(event, lambda: self._check(event, self.scene.metrics.get("congestion_window")))

    def _check(self, event: Event, window: float | None) -> None:
        minimum = max(_minimum(self.scene), 2 * _LARGEST)
        if window is not None and window > minimum:
            message = f"persistent congestion, and the window is {window:.0f}"
            self.report(event, message, "/data")


class IdleGrowth(Check):
    """A sender that has nothing to send learns nothing about the path, so its window stays."""

    id = "R18"
    title = "the window does not grow while the application limits"
    reference = "RFC 9002 §7.8"
    severity = "info"
    events = ("quic:congestion_state_updated",)

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._since: float | None = None

    def on_event(self, event: Event) -> None:
        self._since = event.time if event.data.get("new") == "application_limited" else None

    def on_metrics(self, event: Event, changed: dict[str, float]) -> None:
        before, window = self.scene.metrics.get("congestion_window"), changed.get("congestion_window")
        if before is None or window is None or self._since is None:
            return
        if window > before and event.time - self._since > self.scene.slack:
            message = f"from {before:.0f} to {window:.0f} while application_limited"
            self.report(event, message, "/data/congestion_window")


class ProbeLoss(Check):
    """A probe of the path MTU is expected to get lost: that says nothing about congestion."""

    id = "R20"
    title = "the loss of an MTU probe does not reduce the window"
    reference = "RFC 9000 §14.4"
    severity = "warning"
    frames = ("ack",)

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._others: float | None = None

    def on_lost(self, packet: Packet) -> None:
        if packet.event.data.get("is_mtu_probe_packet") is not True:
            self._others = packet.time
            return
        before = self.scene.metrics.get("congestion_window")
        if before is not None:
            self.scene.settle(packet.event, lambda: self._check(packet, before))

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        del index
        if frame.get("ce"):
            self._others = packet.time

    def _check(self, packet: Packet, before: float) -> None:
        window = self.scene.metrics.get("congestion_window", before)
        # Until the step was settled, too, something else may have been lost.
        others = self._others is not None and self._others >= packet.time - 2 * self.scene.slack
        if window < before and not others:
            message = f"the window falls from {before:.0f} to {window:.0f} with the loss of an MTU probe"
            self.report(packet.event, message, "/data/is_mtu_probe_packet")


class ParametersAndMetrics(Check):
    """Recovery starts with the window that recovery_parameters_set tells."""

    id = "R21"
    title = "the first congestion window is the one of recovery_parameters_set"
    reference = "draft-ietf-quic-qlog-quic-events, recovery_parameters_set"
    severity = "warning"
    needs_history = True

    def on_metrics(self, event: Event, changed: dict[str, float]) -> None:
        window, told = changed.get("congestion_window"), self.scene.recovery.get("initial_congestion_window")
        acked = any(len(ranges) for ranges in self.scene.acked.values())
        if window is None or told is None or acked or "congestion_window" in self.scene.metrics:
            return
        if window != told:
            message = f"the window is {window:.0f}, initial_congestion_window {told}"
            self.report(event, message, "/data/congestion_window")


def _minimum(scene: Scene) -> int:
    """The smallest congestion window that the trace tells, else that of the smallest datagrams."""
    told = scene.recovery.get("minimum_congestion_window")
    size = whole(scene.recovery.get("max_datagram_size")) or _SMALLEST
    return told if isinstance(told, int) else 2 * size
