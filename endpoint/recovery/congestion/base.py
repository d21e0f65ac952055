"""What every congestion controller does (RFC 9002 §7); the algorithms differ in growth and reduction."""

from abc import ABC, abstractmethod
from math import inf
from typing import ClassVar

from endpoint.recovery.congestion.hystart import HyStart
from endpoint.recovery.rtt import RttEstimator

# RFC 9002 §7.2, in datagrams; the limit in bytes is for large datagrams.
INITIAL_WINDOW_DATAGRAMS = 10
INITIAL_WINDOW_LIMIT = 14_720
MINIMUM_WINDOW_DATAGRAMS = 2


def initial_window(max_datagram_size: int) -> int:
    """The congestion window of a new path in bytes (RFC 9002 §7.2)."""
    return min(INITIAL_WINDOW_DATAGRAMS * max_datagram_size, max(INITIAL_WINDOW_LIMIT, 2 * max_datagram_size))


class CongestionController(ABC):
    """Controls one path. Sizes are bytes, times seconds.

    `congestion_window`, `bytes_in_flight`, `ssthresh` and `max_datagram_size` are those of RFC 9002 §B.2;
    `ssthresh` is infinite until the first slow start is over. Told about bytes per ACK or loss, not packets.
    """

    # kLossReductionFactor of RFC 9002 §B.1.
    loss_reduction_factor: ClassVar[float]

    __slots__ = (
        "_hystart",
        "_recovery_start",
        "_undo",
        "bytes_in_flight",
        "congestion_window",
        "max_datagram_size",
        "ssthresh",
    )

    def __init__(self, max_datagram_size: int) -> None:
        self.max_datagram_size = max_datagram_size
        self.congestion_window = initial_window(max_datagram_size)
        self.bytes_in_flight = 0
        self.ssthresh = inf
        self._recovery_start = -inf
        # RFC 9406 §4.3: for the first slow start only.
        self._hystart: HyStart | None = HyStart()
        # congestion_window, ssthresh and _recovery_start as they were before the last reduction.
        self._undo: tuple[int, float, float] | None = None

    @property
    def minimum_window(self) -> int:
        """The congestion window is never smaller (RFC 9002 §7.2)."""
        return MINIMUM_WINDOW_DATAGRAMS * self.max_datagram_size

    @property
    def recovery_start(self) -> float:
        """When the last recovery period began (RFC 9002 §7.3.2); minus infinity if there was none."""
        return self._recovery_start

    @property
    def in_slow_start(self) -> bool:
        """Whether the window still grows exponentially."""
        return self.congestion_window < self.ssthresh

    @property
    def available(self) -> int:
        """How many bytes the window lets go now."""
        return max(0, self.congestion_window - self.bytes_in_flight)

    def can_send(self, size: int) -> bool:
        """Whether the window lets a packet of `size` bytes go now. Probes need not ask (RFC 9002 §7.5)."""
        return self.bytes_in_flight + size <= self.congestion_window

    def on_sent(self, size: int, now: float) -> None:
        """Packets of `size` bytes in all, that count in flight, were sent."""
        if not self.bytes_in_flight:
            self._pause_growth(now)
        self.bytes_in_flight += size

    def on_acked(
        self, size: int, largest_sent_time: float, now: float, rtt: RttEstimator, app_limited: bool
    ) -> None:
        """An ACK acknowledged `size` bytes in flight, the last of them sent at `largest_sent_time`.

        `rtt` has the ACK's sample already. `app_limited`: the window was not used up.
        """
        self.bytes_in_flight -= size
        if app_limited:
            # RFC 9002 §7.8: a window that was not tried must not grow.
            self._pause_growth(now)
            return
        if largest_sent_time <= self._recovery_start:
            return
        if self.congestion_window >= self.ssthresh:
            self._avoid_congestion(size, now, rtt)
            return
        hystart = self._hystart
        if hystart is None:
            self.congestion_window += size
            return
        hystart.on_acked(largest_sent_time, rtt.latest_rtt, now)
        self.congestion_window += size // hystart.growth_divisor
        if hystart.finished:
            self.ssthresh = self.congestion_window
            self._hystart = None

    def on_congestion_event(self, sent_time: float, now: float) -> bool:
        """Packets were lost, the last of them sent at `sent_time`; returns whether the window was reduced.

        RFC 9002 §7.3.2: it is reduced once per recovery period, so not for what was sent before that
        began. The lost bytes themselves are reported to `on_packets_discarded`.
        """
        if sent_time <= self._recovery_start:
            return False
        self._undo = (self.congestion_window, self.ssthresh, self._recovery_start)
        self._recovery_start = now
        self._hystart = None
        self.congestion_window = max(self._reduce(), self.minimum_window)
        self.ssthresh = self.congestion_window
        return True

    def on_ecn_ce(self, sent_time: float, now: float) -> bool:
        """The peer reported more CE marks in an ACK whose largest packet was sent at `sent_time`.

        The same as a loss (RFC 9002 §7.1), except that there is no taking it back.
        """
        reduced = self.on_congestion_event(sent_time, now)
        if reduced:
            self._undo = None
        return reduced

    def on_persistent_congestion(self) -> None:
        """Everything sent over a long time was lost: begin again with the minimum (RFC 9002 §7.6.2)."""
        self.congestion_window = self.minimum_window
        self._recovery_start = -inf
        self._undo = None
        self._on_restart()

    def on_spurious_loss(self) -> None:
        """All that caused the last reduction has arrived after all: take the reduction back.

        RFC 9438 §4.9.2. Not if the window has grown beyond its old size meanwhile.
        """
        if self._undo is None:
            return
        window, ssthresh, recovery_start = self._undo
        self._undo = None
        if self.congestion_window < window:
            self.congestion_window = window
            self.ssthresh = ssthresh
            self._recovery_start = recovery_start
            self._undo_reduction()

    def on_packets_discarded(self, size: int) -> None:
        """`size` bytes are no longer in flight without being acknowledged: lost, or their keys are gone."""
        self.bytes_in_flight -= size

    def set_max_datagram_size(self, max_datagram_size: int) -> None:
        """The path carries datagrams of another size now. A window not used so far is computed anew."""
        untouched = self.congestion_window == initial_window(self.max_datagram_size)
        self.max_datagram_size = max_datagram_size
        if untouched:
            self.congestion_window = initial_window(max_datagram_size)
        self.congestion_window = max(self.congestion_window, self.minimum_window)

    @abstractmethod
    def _avoid_congestion(self, size: int, now: float, rtt: RttEstimator) -> None:
        """Grow the window by what `size` acknowledged bytes are worth in congestion avoidance."""

    @abstractmethod
    def _reduce(self) -> int:
        """The window after a congestion event; the state for `_undo_reduction` is saved."""

    # What follows is for controllers with more state than the window: they override what they need.

    def _undo_reduction(self) -> None:  # noqa: B027
        """The window is again what it was before the last `_reduce`."""

    def _on_restart(self) -> None:  # noqa: B027
        """The window is the minimum after persistent congestion."""

    def _pause_growth(self, now: float) -> None:  # noqa: B027
        """The time since the last event was spent without using the window up."""
