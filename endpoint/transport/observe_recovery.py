"""Recovery as a tracer is told: parameters, metrics, congestion and ECN state, path MTU, timers."""

from math import isfinite

from endpoint.level import Level
from endpoint.recovery.congestion.base import initial_window
from endpoint.recovery.loss import (
    INITIAL_PACKET_THRESHOLD,
    PERSISTENT_CONGESTION_THRESHOLD,
    LossDetector,
)
from endpoint.recovery.rtt import GRANULARITY, TIME_THRESHOLD
from endpoint.trace import Tracer
from endpoint.transport.parts import Parts
from endpoint.transport.timers import Timer

_SPACE_NAMES = {Level.INITIAL: "initial", Level.HANDSHAKE: "handshake", Level.ONE_RTT: "application_data"}
_SPACES = tuple(_SPACE_NAMES)


def recovery_metrics(recovery: LossDetector) -> dict[str, float]:
    """The metrics of the present path, as far as they have a value, in qlog's units."""
    rtt, congestion = recovery.rtt, recovery.congestion
    metrics: dict[str, float] = {
        "smoothed_rtt": _ms(rtt.smoothed_rtt),
        "rtt_variance": _ms(rtt.rttvar),
        "pto_count": recovery.pto_count,
        "congestion_window": congestion.congestion_window,
        "bytes_in_flight": congestion.bytes_in_flight,
        "packets_in_flight": sum(recovery.sent_packets[level].ack_eliciting_in_flight for level in _SPACES),
        "pacing_rate": int(8 * recovery.pacer.rate),
    }
    if rtt.has_sample:
        metrics["min_rtt"] = _ms(rtt.min_rtt)
        metrics["latest_rtt"] = _ms(rtt.latest_rtt)
    if isfinite(congestion.ssthresh):
        metrics["ssthresh"] = int(congestion.ssthresh)
    return metrics


class RecoveryObserver:
    """Compares what is known with what was told."""

    __slots__ = ("_congestion", "_ecn", "_mtu", "_parts", "_timers", "_tracer")

    def __init__(self, parts: Parts, tracer: Tracer, now: float) -> None:
        self._parts = parts
        self._tracer = tracer
        self._congestion = ""
        self._ecn = ""
        self._mtu = parts.recovery.max_datagram_size
        # By timer and space, "" for none: when it fires.
        self._timers: dict[tuple[str, str], float] = {}
        self._tell_parameters(now)

    def update(self, now: float) -> None:
        """Tell what is new."""
        recovery, tracer = self._parts.recovery, self._tracer
        state = _congestion_state(recovery)
        if state != self._congestion:
            tracer.event(now, "congestion_state_updated", _change(self._congestion, state))
            self._congestion = state
        ecn = recovery.ecn.state.value
        if ecn != self._ecn:
            tracer.event(now, "ecn_state_updated", _change(self._ecn, ecn))
            self._ecn = ecn
        size = recovery.max_datagram_size
        if size != self._mtu:
            tracer.event(now, "mtu_updated", {"old": self._mtu, "new": size})
            self._mtu = size
            self._tell_parameters(now)
        self._update_timers(now)

    def _tell_parameters(self, now: float) -> None:
        """Some of them depend on the size of datagrams."""
        parts, size = self._parts, self._mtu
        congestion = parts.recovery.congestion
        self._tracer.event(
            now,
            "recovery_parameters_set",
            {
                "reordering_threshold": INITIAL_PACKET_THRESHOLD,
                "time_threshold": TIME_THRESHOLD,
                "timer_granularity": round(GRANULARITY * 1000),
                "initial_rtt": parts.config.initial_rtt * 1000,
                "max_datagram_size": size,
                "initial_congestion_window": initial_window(size),
                "minimum_congestion_window": congestion.minimum_window,
                "loss_reduction_factor": congestion.loss_reduction_factor,
                "persistent_congestion_threshold": PERSISTENT_CONGESTION_THRESHOLD,
            },
        )

    def _update_timers(self, now: float) -> None:
        parts = self._parts
        timers: dict[tuple[str, str], float | None] = {
            ("idle_timeout", ""): parts.timers.get(Timer.IDLE),
            ("handshake_timeout", ""): parts.timers.get(Timer.HANDSHAKE),
            ("loss_timeout", ""): parts.recovery.next_timeout() if parts.closer is None else None,
            ("path_validation", ""): parts.paths.next_timeout(),
        }
        for level in _SPACES:
            timers["ack", _SPACE_NAMES[level]] = parts.spaces[level].acks.deadline
        told = self._timers
        for key, at in timers.items():
            before = told.get(key)
            if at == before:
                continue
            timer_type, space = key
            data: dict[str, object] = {"timer_type": timer_type}
            if space:
                data["packet_number_space"] = space
            if at is not None:
                told[key] = at
                data |= {"event_type": "set", "delta": _ms(max(0.0, at - now))}
            else:
                del told[key]
                assert before is not None, "it differs from None"
                data["event_type"] = "expired" if before <= now else "cancelled"
            self._tracer.event(now, "timer_updated", data)


def _congestion_state(recovery: LossDetector) -> str:
    """RFC 9002 §7.3, Figure 1."""
    if recovery.in_recovery_period:
        return "recovery"
    return "slow_start" if recovery.congestion.in_slow_start else "congestion_avoidance"


def _change(old: str, new: str) -> dict[str, str]:
    return {"old": old, "new": new} if old else {"new": new}


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
