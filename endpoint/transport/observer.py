"""Tells a tracer what has changed since it was last asked: state by state, once per batch.

Packets are told where they are made and opened. Everything else is compared here with what was told before,
so that the parts need not know that anybody watches. There is no observer where there is no tracer.
"""

from collections.abc import Mapping

from endpoint.batch import PacketBuffer, RecvBatch, SendBatch
from endpoint.events import ConnectionClosed
from endpoint.level import Level
from endpoint.recovery.loss import LossDetector
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

    __slots__ = (
        "_blocked",
        "_closed_told",
        "_handshake",
        "_parts",
        "_paths",
        "_recovery",
        "_state",
        "_tracer",
    )

    def __init__(self, parts: Parts, tracer: Tracer, now: float) -> None:
        self._parts = parts
        self._tracer = tracer
        self._state = ""
        self._closed_told = False
        # Why data waited when last there was nothing more to send: "" if none did. By whose data it is.
        self._blocked = {"connection": "", "datagram": ""}
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
        payload = batch.buffer.view[: batch.length]
        self._tracer.datagrams(now, payload, sent=False, size=batch.segment_size, ecn=batch.ecn)

    def on_transmitted(self, batch: SendBatch | None, buffer: PacketBuffer, now: float) -> None:
        """These datagrams go out, their bytes are in `buffer`; None: there was nothing to send."""
        if batch is not None:
            payload = buffer.view[: batch.length]
            self._tracer.datagrams(now, payload, sent=True, size=batch.segment_size, ecn=batch.ecn)
        else:
            self._update_blocked(now)
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

    def _update_blocked(self, now: float) -> None:
        """Whatever may go has gone: tell whether data stays, and why."""
        parts = self._parts
        ready = parts.closer is None and parts.usable_space(Level.ONE_RTT) is not None
        queued = ready and parts.extensions.datagrams.has_data
        reason = _limit(parts.recovery) if ready and (queued or parts.streams.has_data) else ""
        self._tell_blocked("datagram", reason if queued else "", now)
        if not reason and ready and isinstance(parts.streams, TracedStreams):
            reason = "connection_flow_control" if parts.streams.waits_for_max_data else ""
        self._tell_blocked("connection", reason, now)

    def _tell_blocked(self, whose: str, reason: str, now: float) -> None:
        before = self._blocked[whose]
        if reason == before:
            return
        self._blocked[whose] = reason
        data = {"old": _blocked(before), "new": _blocked(reason)}
        if reason:
            data["reason"] = reason
        self._tracer.event(now, f"{whose}_data_blocked_updated", data)

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


def _blocked(reason: str) -> str:
    return "blocked" if reason else "unblocked"


def _limit(recovery: LossDetector) -> str:
    """What keeps data here that streams and datagrams would let go."""
    if recovery.amplification_limited:
        return "amplification_protection"
    full = recovery.available_window < recovery.max_datagram_size
    return "congestion_control" if full else "pacing"
