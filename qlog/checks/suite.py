"""Shows a file's events to the checks, each connection of each trace having its own."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from qlog.checks.base import Check
from qlog.checks.scene import Scene
from qlog.findings import Findings
from qlog.model import Event, Finding, JsonObject, Trace
from qlog.packets import PACKET_EVENTS, STREAM_PARTS, Packet, StreamPart, metrics, stream_part

# Connections of which state is kept. Of more, those that began first are given up.
MOST_CONNECTIONS = 1000

_MOST_LISTENERS = 100

_OnPacket = Callable[[Packet], None]
_OnFrame = Callable[[Packet, int, JsonObject], None]
_OnPart = Callable[[Packet, int, StreamPart], None]


class Suite:
    """An observer (see `qlog.model.Observer`) that runs checks."""

    def __init__(self, checks: Sequence[type[Check]]) -> None:
        self._checks = checks
        self._casts: dict[tuple[int, str], _Cast] = {}
        self._next: dict[int, int] = {}
        self._found = Findings()

    def on_trace(self, trace: Trace) -> None:
        """A trace begins."""
        cast = self._cast(trace, "")
        for check in cast.of_trace:
            check.on_trace(trace)

    def on_event(self, event: Event) -> None:
        """The next valid event."""
        self._follow(event)
        cast = self._casts.get((event.trace.index, event.group_id)) or self._cast(event.trace, event.group_id)
        cast.show(event)

    def on_refused(self, event: Event) -> None:
        """An event that breaks its schema: what it would have told is missing."""
        self._follow(event)
        if event.name in PACKET_EVENTS:
            cast = self._cast(event.trace, event.group_id)
            cast.scene.complete = False
            cast.scene.packets += 1
            cast.show_refused(Packet(event))

    def findings(self) -> Iterable[Finding]:
        """All that was found."""
        for cast in self._casts.values():
            cast.end()
            self._found.extend(cast.scene.found.all())
        return self._found.all()

    def _follow(self, event: Event) -> None:
        """A gap in the numbers is an event that could not be read, of whatever connection."""
        trace = event.trace.index
        if event.index != self._next.get(trace, 0):
            for (index, _), cast in self._casts.items():
                if index == trace:
                    cast.scene.complete = False
                    cast.scene.packets += 1
        self._next[trace] = event.index + 1

    def _cast(self, trace: Trace, group_id: str) -> "_Cast":
        key = (trace.index, group_id)
        if key not in self._casts:
            if len(self._casts) >= MOST_CONNECTIONS:
                oldest = self._casts.pop(next(iter(self._casts)))
                oldest.end()
                self._found.extend(oldest.scene.found.all())
            self._casts[key] = _Cast(Scene(trace, group_id), self._checks)
        return self._casts[key]


class _Cast:
    """The checks of one connection, by what they want to see."""

    def __init__(self, scene: Scene, classes: Iterable[type[Check]]) -> None:
        self.scene = scene
        checks = [check(scene) for check in classes]
        self.of_trace = list(_with(checks, "on_trace"))
        self._of_end = list(_with(checks, "on_end"))
        self._of_every = [check.on_event for check in checks if "*" in check.events]
        self._of_event: dict[str, list[Callable[[Event], None]]] = defaultdict(list)
        self._checks = checks
        # By packet type and direction; by frame type.
        self._listeners: dict[tuple[str, bool], _Listeners] = {}
        for check in checks:
            for name in check.events:
                if name != "*":
                    self._of_event[name].append(check.on_event)
        self._of_refused = [check.on_packet for check in checks if check.sees_refused]
        self._of_lost = [check.on_lost for check in _with(checks, "on_lost")]
        self._of_metrics = [check.on_metrics for check in _with(checks, "on_metrics")]

    def show(self, event: Event) -> None:
        scene = self.scene
        scene.begin(event)
        for every in self._of_every:
            every(event)
        name = event.name
        if name in self._of_event:
            for handler in self._of_event[name]:
                handler(event)
        # A trace of the network has no side whose rules could be checked.
        if scene.trace.vantage_point.type == "network":
            return
        if name in PACKET_EVENTS:
            self._show_packet(Packet(event))
        elif name == "quic:packet_lost":
            packet = Packet(event)
            for on_lost in self._of_lost:
                on_lost(packet)
            scene.note_lost(packet)
        elif name == "quic:recovery_metrics_updated":
            changed = metrics(event)
            for on_metrics in self._of_metrics:
                on_metrics(event, changed)
            scene.metrics.update(changed)
        else:
            scene.note_event(event)

    def _show_packet(self, packet: Packet) -> None:
        self.scene.begin_packet(packet)
        key = (packet.type, packet.sent)
        listeners = self._listeners.get(key)
        if listeners is None:
            # Types are what the file says: a hostile one must not fill the memory.
            listeners = _Listeners(self._checks, *key)
            if len(self._listeners) < _MOST_LISTENERS:
                self._listeners[key] = listeners
        for on_packet in listeners.of_packet:
            on_packet(packet)
        of_frame, of_part = listeners.of_frame, listeners.of_part
        for index, frame in enumerate(packet.frames):
            frame_type = frame["frame_type"]
            if frame_type in STREAM_PARTS and (part := stream_part(frame)) is not None:
                for on_part in of_part:
                    on_part(packet, index, part)
            for on_frame in of_frame.get(frame_type, ()):
                on_frame(packet, index, frame)
        self.scene.note_packet(packet)

    def show_refused(self, packet: Packet) -> None:
        for on_packet in self._of_refused:
            on_packet(packet)

    def end(self) -> None:
        self.scene.end()
        for check in self._of_end:
            check.on_end()


class _Listeners:
    """Which checks want to see the packets of a type that were sent, or received, and their frames."""

    __slots__ = ("of_frame", "of_packet", "of_part")

    def __init__(self, checks: Iterable[Check], packet_type: str, sent: bool) -> None:
        checks = [check for check in checks if check.sent in {None, sent}]
        self.of_packet: list[_OnPacket] = [
            check.on_packet
            for check in _with(checks, "on_packet")
            if not check.packet_types or packet_type in check.packet_types
        ]
        self.of_part: list[_OnPart] = [check.on_part for check in _with(checks, "on_part")]
        self.of_frame: dict[str, list[_OnFrame]] = {}
        for check in checks:
            for frame_type in check.frames:
                self.of_frame.setdefault(frame_type, []).append(check.on_frame)


def _with(checks: Iterable[Check], hook: str) -> Iterator[Check]:
    """Those that override a hook."""
    return (check for check in checks if getattr(type(check), hook) is not getattr(Check, hook))
