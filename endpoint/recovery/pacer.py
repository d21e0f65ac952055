"""Spreads what the congestion window allows over the round trip (RFC 9002 §7.7)."""

from math import inf

# RFC 9002 §7.7: a little faster than the window, so that variation of the round trip leaves no hole.
PACING_GAIN = 1.25
# The window doubles per round trip in slow start, and what it will be must be sendable.
SLOW_START_GAIN = 2.0
# Timers of the event loop are this coarse, in seconds. What falls due before the next tick goes at once.
TIMER_GRAIN = 0.001
# RFC 9002 §7.7 limits a burst to the initial window, unless the path is known to take more: one that
# carries more within a tick of the timer does. 64 segments are one full batch.
MINIMUM_BURST_DATAGRAMS = 10
MAXIMUM_BURST_DATAGRAMS = 64


class Pacer:
    """A token bucket of bytes that fills at the pacing `rate` (bytes per second).

    The bucket holds one `burst`. It may be overdrawn by what comes in within a timer's grain, which keeps
    a fast path from running at the speed of the timer. Packets that only carry ACKs, and probes, are not
    held back (RFC 9002 §7.7, §6.2.4).

    `limited_time` is when there last were too few tokens for another datagram after one was sent.
    """

    __slots__ = ("_credit", "_last_time", "_max_datagram_size", "_tokens", "burst", "limited_time", "rate")

    def __init__(self, max_datagram_size: int, congestion_window: int, smoothed_rtt: float) -> None:
        self._max_datagram_size = max_datagram_size
        self._last_time: float | None = None
        self.limited_time = -inf
        self.set_rate(congestion_window, smoothed_rtt, slow_start=True)
        self._tokens = float(self.burst)

    def set_rate(self, congestion_window: int, smoothed_rtt: float, *, slow_start: bool) -> None:
        """Follow the congestion window (bytes) and the round trip (seconds)."""
        gain = SLOW_START_GAIN if slow_start else PACING_GAIN
        rate = gain * congestion_window / (max(1e-06, smoothed_rtt))
        self.rate = rate
        credit = rate * TIMER_GRAIN
        self._credit = credit
        datagram = self._max_datagram_size
        if credit <= MINIMUM_BURST_DATAGRAMS * datagram:
            self.burst = MINIMUM_BURST_DATAGRAMS * datagram
        else:
            self.burst = min(int(credit), MAXIMUM_BURST_DATAGRAMS * datagram)

    def set_max_datagram_size(self, max_datagram_size: int) -> None:
        """The path carries datagrams of another size from the next `set_rate` on."""
        self._max_datagram_size = max_datagram_size

    def budget(self, now: float) -> int:
        """How many bytes may go now."""
        budget = self._fill(now) + self._credit
        return int(budget) if budget > 0.0 else 0

    def on_sent(self, size: int, now: float) -> None:
        """Packets of `size` bytes in all were sent, whether the budget allowed them or not."""
        tokens = self._tokens if now == self._last_time else self._fill(now)
        tokens = self._tokens = tokens - size
        if tokens + self._credit < self._max_datagram_size:
            self.limited_time = now

    def next_time(self, size: int, now: float) -> float | None:
        """When `size` bytes may go, None if they may go now. For when sending stops for want of tokens.

        The caller has to keep the answer and wake up then, even if the time is already past when it sets
        its timer: a sender that asks again at that point, finds nothing to wait for and goes to sleep stalls.
        """
        missing = size - self._credit - self._fill(now)
        if missing <= 0:
            return None
        # A byte more: budgets are whole bytes, and rounding must not leave the sender one short then.
        return now + (missing + 1.0) / self.rate

    def _fill(self, now: float) -> float:
        """Add what came in since the last call; returns the tokens."""
        last = self._last_time
        if last is None:
            self._last_time = now
        elif now > last:
            self._last_time = now
            self._tokens = min(self._tokens + (now - last) * self.rate, float(self.burst))
        return self._tokens
