"""Flow control windows of streams and of the connection (RFC 9000 §4). All sizes are bytes."""

from endpoint.errors import TransportError, TransportErrorCode

# Below this round trip a sender's pacing no longer spreads a window over time: it arrives as one burst,
# and what the socket cannot buffer of it is lost. Above it a window may outgrow the socket's buffer.
SHORT_PATH_RTT = 0.005


class ReceiveWindow:
    """What the peer may send on one stream, or on all of them together.

    The limit follows what the application has consumed, not what has arrived: an application that does
    not read stops its peer after one window. A larger limit is advertised once half of the window is
    consumed: often enough that the update arrives before the rest is used up on any path for which the
    window is twice the bandwidth-delay product, and rarely enough to cost one frame per half window.

    The window doubles when that half was consumed within two round trips, since then the window is less
    than four bandwidth-delay products and may be what holds the peer back.
    """

    __slots__ = ("_last_update", "burst_size", "consumed", "limit", "maximum", "received", "window")

    def __init__(self, window: int, maximum: int, burst_size: int | None = None) -> None:
        """`window`: the first limit. `maximum`: how far it may grow (a larger first window stays).

        `burst_size`: what the socket can buffer, None when unknown; see SHORT_PATH_RTT.
        """
        self.window = window
        self.maximum = max(window, maximum)
        self.burst_size = burst_size
        self.limit = window  # as advertised
        self.received = 0  # highest offset of a stream, or their sum
        self.consumed = 0
        self._last_update: float | None = None

    def check(self, increase: int) -> None:
        """Raise FLOW_CONTROL_ERROR if `increase` more bytes are more than was advertised."""
        if self.received + increase > self.limit:
            raise TransportError(
                TransportErrorCode.FLOW_CONTROL_ERROR,
                f"{self.received + increase} bytes received, {self.limit} allowed",
            )

    def on_received(self, increase: int) -> None:
        """Count `increase` bytes above the highest offset so far. Raises FLOW_CONTROL_ERROR."""
        if self.received + increase > self.limit:
            self.check(increase)
        self.received += increase

    def on_consumed(self, count: int) -> bool:
        """Count bytes that the application took or that nobody will read; True when an update is due."""
        self.consumed += count
        return 2 * (self.limit - self.consumed) <= self.window  # `update_due`, once per read

    @property
    def update_due(self) -> bool:
        """Whether half of the window, or more, is consumed since the last update."""
        return 2 * (self.limit - self.consumed) <= self.window

    def update(self, now: float, rtt: float) -> int:
        """Move the limit for a frame that is sent at `now`, and return it; `rtt` in seconds.

        Safe to call when no update is due (a lost frame is sent again): the limit then only follows
        what has been consumed since.
        """
        if self.update_due:
            quick = self._last_update is not None and now - self._last_update < 2 * rtt
            if quick and self._may_outgrow_socket(rtt):
                self.window = min(2 * self.window, self.maximum)
            self._last_update = now
        self.limit = max(self.limit, self.consumed + self.window)
        return self.limit

    def ensure_window(self, minimum: int) -> bool:
        """Grow the window to `minimum` (at most the maximum); True when that makes an update due."""
        self.window = max(self.window, min(minimum, self.maximum))
        return self.update_due

    def _may_outgrow_socket(self, rtt: float) -> bool:
        return self.burst_size is None or rtt >= SHORT_PATH_RTT or 2 * self.window <= self.burst_size


class SendWindow:
    """What we may send on all streams together, by the peer's MAX_DATA."""

    __slots__ = ("_blocked_at", "limit", "used")

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self.used = 0
        self._blocked_at = -1  # the limit that DATA_BLOCKED was last due for

    @property
    def available(self) -> int:
        """Bytes of new data that may still be sent."""
        return self.limit - self.used

    def use(self, count: int) -> None:
        """Count `count` bytes of new data as sent; resent data does not count again."""
        used = self.used + count
        assert used <= self.limit, "sent more than the peer allows"
        self.used = used

    def restart(self, limit: int) -> None:
        """As if nothing had been sent, under a limit that may be lower than before."""
        self.limit = limit
        self.used = 0
        self._blocked_at = -1

    def raise_limit(self, limit: int) -> bool:
        """Take a limit from the peer; False if it is no increase (RFC 9000 §4.1: ignored)."""
        if limit <= self.limit:
            return False
        self.limit = limit
        return True

    def note_blocked(self) -> bool:
        """Data is waiting for this window; True the first time for each limit: tell the peer."""
        if self._blocked_at == self.limit:
            return False
        self._blocked_at = self.limit
        return True
