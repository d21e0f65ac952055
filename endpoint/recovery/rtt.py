"""Round-trip time of one path (RFC 9002 §5), and the periods derived from it. All times are seconds."""

# RFC 9002 §6.1.2: what timers can resolve; no period is shorter.
GRANULARITY = 0.001
# RFC 9002 §6.1.2: tolerance for reordering, as a multiple of the round trip.
TIME_THRESHOLD = 9 / 8


class RttEstimator:
    """`latest_rtt`, `smoothed_rtt`, `rttvar` and `min_rtt` under their RFC names.

    Until the first sample, smoothed_rtt and rttvar come from the initial RTT and the other two are 0.
    """

    __slots__ = ("has_sample", "latest_rtt", "min_rtt", "rttvar", "smoothed_rtt")

    def __init__(self, initial_rtt: float) -> None:
        self.latest_rtt = 0.0
        self.min_rtt = 0.0
        self.smoothed_rtt = initial_rtt
        self.rttvar = initial_rtt / 2
        self.has_sample = False

    def update(
        self, latest_rtt: float, ack_delay: float, *, handshake_confirmed: bool, max_ack_delay: float
    ) -> None:
        """Take a sample in. `ack_delay` is what the peer reported, `max_ack_delay` what it promised."""
        self.latest_rtt = latest_rtt
        if not self.has_sample:
            self.has_sample = True
            self.min_rtt = latest_rtt
            self.smoothed_rtt = latest_rtt
            self.rttvar = latest_rtt / 2
            return
        # RFC 9002 §5.2: min_rtt is what was observed, whatever delay the peer claims.
        self.min_rtt = min(self.min_rtt, latest_rtt)
        # RFC 9002 §5.3: a delay beyond the promise counts as delay of the path, but during the
        # handshake the peer may have had to wait for keys.
        if handshake_confirmed and ack_delay > max_ack_delay:
            ack_delay = max_ack_delay
        adjusted_rtt = latest_rtt
        if latest_rtt >= self.min_rtt + ack_delay:
            adjusted_rtt -= ack_delay
        # In the order of RFC 9002 §A.7: the deviation is that from the average before this sample.
        self.rttvar = 0.75 * self.rttvar + 0.25 * abs(self.smoothed_rtt - adjusted_rtt)
        self.smoothed_rtt = 0.875 * self.smoothed_rtt + 0.125 * adjusted_rtt

    def forget_min_rtt(self) -> None:
        """Restart min_rtt from the newest sample, after persistent congestion (RFC 9002 §5.2)."""
        self.min_rtt = self.latest_rtt

    def pto(self, max_ack_delay: float) -> float:
        """The probe timeout without back-off (RFC 9002 §6.2.1).

        `max_ack_delay` is the peer's, and 0 for Initial and Handshake packets.
        """
        return self.smoothed_rtt + max(4 * self.rttvar, GRANULARITY) + max_ack_delay

    @property
    def loss_delay(self) -> float:
        """How long after it was sent a packet that a later one overtook is lost (RFC 9002 §6.1.2)."""
        return max(TIME_THRESHOLD * max(self.smoothed_rtt, self.latest_rtt), GRANULARITY)
