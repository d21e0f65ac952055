"""Tells a tracer what has changed since it was last asked: state by state, once per batch.

Packets are told where they are made and opened. Everything else is compared here with what was told before,
so that the parts need not know that anybody watches. There is no observer where there is no tracer.
"""

from collections.abc import Mapping

from endpoint.batch import RecvBatch, SendBatch
from endpoint.events import ConnectionClosed
from endpoint.trace import Tracer
from endpoint.transport.close import ConnectionState
from endpoint.transport.observe_handshake import HandshakeObserver
from endpoint.transport.observe_paths import PathObserver
from endpoint.transport.observe_recovery import RecoveryObserver, recovery_metrics
from endpoint.transport.observe_streams import TracedStreams
from endpoint.transport.parts import Parts

_ENDS: Mapping[ConnectionState, str] = {
    ConnectionState.CLOSING: "closing",
    ConnectionState.DRAINING: "draining",
    ConnectionState.CLOSED: "closed",
}


class Observer:
    """Watches one connection for its tracer."""

    __slots__ = ("_closed_told", "_handshake", "_parts", "_paths", "_recovery", "_state", "_tracer")

    def __init__(self, parts: Parts, tracer: Tracer, now: float) -> None:
        self._parts = parts
        self._tracer = tracer
        self._state = ""
        self._closed_told = False
        path = parts.path
        tracer.event(
            now,
            "connection_started",
            {
                "local": {"address": path.local, "connection_ids": [parts.local_cids.initial]},
                "remote": {"address": path.peer, "connection_ids": [parts.peer_cids.current]},
            },
        )
        self._handshake = HandshakeObserver(parts, tracer, now)
        self._recovery = RecoveryObserver(parts, tracer, now)
        self._paths = PathObserver(parts, tracer)
        self._tell_state(now)

    def on_receive(self, batch: RecvBatch, now: float, *, ignored: bool) -> None:
        """Datagrams came; they are `ignored` once the connection is closing, else processed next."""
        if ignored:
            for start, end in batch.bounds():
                self._tracer.event(now, "udp_datagram_dropped", {"raw": {"length": end - start}})
            self._tracer.flush()
            return
        self._tracer.datagrams(now, sent=False, length=batch.length, size=batch.segment_size, ecn=batch.ecn)

    def on_transmitted(self, batch: SendBatch | None, now: float) -> None:
        """These datagrams go out; None: there was nothing to send."""
        if batch is not None:
            size = batch.segment_size
            self._tracer.datagrams(now, sent=True, length=batch.length, size=size, ecn=batch.ecn)
        self.update(now)

    def update(self, now: float) -> None:
        """A batch, a timer or a command is done: tell what is different now."""
        self._handshake.update(now)
        self._recovery.update(now)
        self._paths.update(now)
        if isinstance(self._parts.streams, TracedStreams):
            self._parts.streams.tell(now)
        self._tracer.metrics_updated(now, recovery_metrics(self._parts.recovery), self._parts.path.id)
        self._tell_state(now)
        self._tracer.flush()
        if self._state == "closed":
            self._tracer.close()

    def _tell_state(self, now: float) -> None:
        state = self._state_now()
        if state == self._state:
            return
        if self._parts.state in _ENDS and not self._closed_told:
            closed = next((e for e in reversed(self._parts.events) if isinstance(e, ConnectionClosed)), None)
            if closed is not None:
                self._closed_told = True
                self._tracer.connection_closed(now, closed)
        data = {"old": self._state, "new": state} if self._state else {"new": state}
        self._tracer.event(now, "connection_state_updated", data)
        self._state = state

    def _state_now(self) -> str:
        """Qlog's name of the state of the connection."""
        parts = self._parts
        ended = _ENDS.get(parts.state)
        if ended is not None:
            return ended
        handshake = parts.handshake
        if handshake.confirmed:
            return "handshake_confirmed"
        if handshake.complete:
            return "handshake_complete"
        return "handshake_started" if parts.recovery.has_handshake_keys else "attempted"
