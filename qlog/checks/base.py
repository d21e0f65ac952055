"""What a semantic check is."""

import inspect
from typing import ClassVar

from qlog.checks.scene import Scene
from qlog.model import Event, Finding, JsonObject, Severity, Trace
from qlog.packets import Packet, StreamPart


class Check:
    """A rule, for one connection of one trace.

    The docstring of a class is its explanation. Only the hooks that a class overrides are called. All are
    called before the scene takes note of what they are told.
    """

    id: ClassVar[str]
    title: ClassVar[str]
    reference: ClassVar[str]
    severity: ClassVar[Severity] = "error"
    # Only for traces that show every packet from the first on.
    needs_history: ClassVar[bool] = False
    # Judges what is kept by path: not for connections that move in traces that don't tell paths apart.
    needs_paths: ClassVar[bool] = False
    # on_packet also gets the packets whose events break their schema.
    sees_refused: ClassVar[bool] = False
    # Names of the events for on_event, "*" for all; types of the frames for on_frame.
    events: ClassVar[tuple[str, ...]] = ()
    frames: ClassVar[tuple[str, ...]] = ()
    # Which packets on_packet, on_frame and on_part get: those sent, those received (False), or both (None);
    # on_packet only those of some types, if there are any.
    sent: ClassVar[bool | None] = None
    packet_types: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    @classmethod
    def explanation(cls) -> str:
        """What the rule is good for and what it tolerates."""
        return inspect.getdoc(cls) or ""

    def on_trace(self, trace: Trace) -> None:
        """The trace begins."""

    def on_event(self, event: Event) -> None:
        """One of the events in `events`."""

    def on_packet(self, packet: Packet) -> None:
        """A packet was sent or received."""

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        """Called for the frames of sent and received packets whose type is in `frames`, after on_packet."""

    def on_part(self, packet: Packet, index: int, part: StreamPart) -> None:
        """Called like on_frame for the frames that carry data of a stream or reset it."""

    def on_lost(self, packet: Packet) -> None:
        """A packet was declared lost."""

    def on_metrics(self, event: Event, changed: dict[str, float]) -> None:
        """Metrics of recovery changed; those of before are in the scene."""

    def on_end(self) -> None:
        """The connection has no more events."""

    def report(
        self,
        event: Event | None,
        message: str,
        pointer: str = "",
        *,
        fix: str = "",
        severity: Severity | None = None,
    ) -> None:
        """Tell of a breach. `pointer` goes into the event, or into the trace's header if that is None."""
        if self.needs_history and not self.scene.complete:
            return
        if self.needs_paths and self.scene.moved:
            return
        self.scene.found.add(
            Finding(
                self.id,
                severity or self.severity,
                self.scene.trace.index,
                None if event is None else event.index,
                pointer if event is not None else self.scene.trace.pointer + pointer,
                "" if event is None else event.original_name,
                message,
                self.reference,
                fix,
            )
        )
