"""CUBIC (RFC 9438), with windows in bytes and times in seconds."""

from endpoint.recovery.congestion.base import CongestionController
from endpoint.recovery.rtt import RttEstimator

# RFC 9438 §4.6 and §5.1: the decrease factor, and the aggressiveness in segments per second cubed.
BETA_CUBIC = 0.7
C = 0.4
# RFC 9438 §4.3: with this increase and that decrease the average window is about that of Reno.
ALPHA_CUBIC = 3 * (1 - BETA_CUBIC) / (1 + BETA_CUBIC)


def cubic_k(w_max: float, cwnd_epoch: float, max_datagram_size: int) -> float:
    """How many seconds the curve takes from `cwnd_epoch` up to `w_max` >= `cwnd_epoch` (RFC 9438 §4.2)."""
    return float(((w_max - cwnd_epoch) / max_datagram_size / C) ** (1 / 3))


def w_cubic(t: float, k: float, w_max: float, max_datagram_size: int) -> float:
    """The window `t` seconds into a stage of congestion avoidance (RFC 9438 §4.2)."""
    return C * (t - k) ** 3 * max_datagram_size + w_max


class Cubic(CongestionController):
    """The window is a function of the time since the last loss rather than of the round trip.

    On short or thin paths the estimate of what Reno would do is the larger one and rules: growth then
    comes from acknowledged bytes, and does not depend on the resolution of the clock.
    """

    loss_reduction_factor = BETA_CUBIC

    __slots__ = (
        "_cwnd_prior",
        "_epoch",
        "_fraction",
        "_k",
        "_last_update",
        "_undo_curve",
        "_w_est",
        "_w_max",
    )

    def __init__(self, max_datagram_size: int) -> None:
        super().__init__(max_datagram_size)
        # 0: unknown, as after a slow start that ended without a loss (RFC 9438 §4.10).
        self._w_max = 0.0
        self._cwnd_prior = 0.0
        self._w_est = 0.0
        self._k = 0.0
        # When this stage of congestion avoidance began, None until its first ACK.
        self._epoch: float | None = None
        self._last_update = 0.0
        # The part of a byte that the window has grown by so far: near the plateau it is all there is.
        self._fraction = 0.0
        self._undo_curve: tuple[float, float, float, float, float | None] = (0.0, 0.0, 0.0, 0.0, None)

    def _avoid_congestion(self, size: int, now: float, rtt: RttEstimator) -> None:
        if self._epoch is None:
            self._epoch = now
            self._start_epoch()
        self._last_update = now
        cwnd = self.congestion_window
        datagram = self.max_datagram_size
        t = now - self._epoch
        # RFC 9438 §4.3: once the old window is reached again, as fast as Reno.
        alpha = 1.0 if self._w_est >= self._cwnd_prior else ALPHA_CUBIC
        self._w_est += alpha * datagram * size / cwnd
        if w_cubic(t, self._k, self._w_max, datagram) < self._w_est:
            self.congestion_window = max(cwnd, int(self._w_est))
            return
        # RFC 9438 §4.4, §4.5. The bounds are those of `target` in §4.2.
        target = w_cubic(t + rtt.smoothed_rtt, self._k, self._w_max, datagram)
        growth = min(max(target - cwnd, 0.0), 0.5 * cwnd) * size / cwnd + self._fraction
        whole = int(growth)
        self._fraction = growth - whole
        self.congestion_window = cwnd + whole

    def _start_epoch(self) -> None:
        """Place the curve so that it begins at the present window."""
        cwnd = float(self.congestion_window)
        self._w_est = cwnd
        if cwnd < self._w_max:
            self._k = cubic_k(self._w_max, cwnd, self.max_datagram_size)
        else:
            # RFC 9438 §4.8, §4.10: no higher window is known to return to.
            self._w_max = cwnd
            self._k = 0.0

    def _reduce(self) -> int:
        self._undo_curve = (self._w_max, self._cwnd_prior, self._w_est, self._k, self._epoch)
        cwnd = self.congestion_window
        # RFC 9438 §4.7, fast convergence: the bandwidth has shrunk, leave room for who took it.
        self._w_max = cwnd * (1 + BETA_CUBIC) / 2 if cwnd < self._w_max else float(cwnd)
        self._cwnd_prior = float(cwnd)
        self._epoch = None
        return int(cwnd * BETA_CUBIC)

    def _undo_reduction(self) -> None:
        self._w_max, self._cwnd_prior, self._w_est, self._k, self._epoch = self._undo_curve

    def _on_restart(self) -> None:
        self._w_max = 0.0
        self._epoch = None

    def _pause_growth(self, now: float) -> None:
        """RFC 9438 §4.2: the curve stands still while the window isn't used up."""
        if self._epoch is not None:
            self._epoch += now - self._last_update
            self._last_update = now
