"""The hook for qlog, statistics and tests. Nothing is built for it while no tracer is set."""

from typing import Any, Protocol


class Tracer(Protocol):
    """Receives runs of packets and changes of state, in the order they happen.

    Every argument is a plain value; a tracer expands a run to packets, if it wants packets, itself.
    `now` is the core's clock in seconds.
    """

    def packets_sent(
        self, now: float, level: int, first: int, last: int, size: int, frames: Any
    ) -> None:
        """Packets `first`..`last` of `size` bytes each were handed to the socket."""

    def packets_received(self, now: float, level: int, first: int, last: int, size: int) -> None:
        """Packets `first`..`last` were opened and processed."""

    def packets_lost(self, now: float, level: int, first: int, last: int, trigger: str) -> None:
        """Packets were declared lost by "packet_threshold", "time_threshold" or "pto"."""

    def packet_dropped(self, now: float, size: int, trigger: str) -> None:
        """A datagram or packet was discarded without effect."""

    def metrics_updated(self, now: float, metrics: dict[str, float]) -> None:
        """Recovery changed: rtt, cwnd, bytes_in_flight, ... (qlog's `recovery_metrics_updated`)."""

    def state_changed(self, now: float, what: str, old: str, new: str) -> None:
        """`what` is "connection", "congestion", "key" or "stream:<id>"."""

    def event(self, now: float, name: str, data: dict[str, Any]) -> None:
        """Anything rare: parameters, versions, ALPN, timers, path events."""
