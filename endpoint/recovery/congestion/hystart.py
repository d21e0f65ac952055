"""HyStart++ (RFC 9406): leave slow start when the round trip grows, before the queue overflows."""

from math import inf

# RFC 9406 §4.3. The lower bound of the threshold keeps the noise of short paths from ending slow start.
MIN_RTT_THRESH = 0.004
MAX_RTT_THRESH = 0.016
MIN_RTT_DIVISOR = 8
N_RTT_SAMPLE = 8
CSS_GROWTH_DIVISOR = 4
CSS_ROUNDS = 5


def rtt_threshold(last_round_min_rtt: float) -> float:
    """By how many seconds the round trip has to grow over one round to be a sign of a queue."""
    return max(MIN_RTT_THRESH, min(last_round_min_rtt / MIN_RTT_DIVISOR, MAX_RTT_THRESH))


class HyStart:
    """Watches rounds during the first slow start, from one ACK to the next (times in seconds).

    After the round trip has grown, growth is slower for some rounds (conservative slow start, CSS): if
    it shrinks again, the growth was a passing one and slow start resumes, else slow start is `finished`.
    Growth per ACK is not limited (L of the RFC is infinite), since the sender is paced.
    """

    __slots__ = (
        "_css_baseline_min_rtt",
        "_css_rounds",
        "_current_round_min_rtt",
        "_last_round_min_rtt",
        "_round_start",
        "_rtt_sample_count",
        "finished",
        "growth_divisor",
    )

    def __init__(self) -> None:
        self._round_start = -inf
        self._last_round_min_rtt = inf
        self._current_round_min_rtt = inf
        self._rtt_sample_count = 0
        self._css_baseline_min_rtt = inf
        self._css_rounds = 0
        # The window grows by the acknowledged bytes divided by this.
        self.growth_divisor = 1
        self.finished = False

    def on_acked(self, sent_time: float, latest_rtt: float, now: float) -> None:
        """An ACK came whose largest packet was sent at `sent_time` and that gave the sample `latest_rtt`."""
        if sent_time >= self._round_start:
            self._start_round(now)
        if latest_rtt < self._current_round_min_rtt:
            self._current_round_min_rtt = latest_rtt
        self._rtt_sample_count += 1
        if self._rtt_sample_count < N_RTT_SAMPLE:
            return
        current = self._current_round_min_rtt
        if self.growth_divisor == 1:
            last = self._last_round_min_rtt
            if last < inf and current >= last + rtt_threshold(last):
                self._css_baseline_min_rtt = current
                self._css_rounds = 0
                self.growth_divisor = CSS_GROWTH_DIVISOR
        elif current < self._css_baseline_min_rtt:
            self._css_baseline_min_rtt = inf
            self.growth_divisor = 1

    def _start_round(self, now: float) -> None:
        """What was sent since the last round began is being acknowledged: the next begins."""
        self._round_start = now
        self._last_round_min_rtt = self._current_round_min_rtt
        self._current_round_min_rtt = inf
        self._rtt_sample_count = 0
        if self.growth_divisor != 1:
            # The round in which CSS began counts too, though only a part of it.
            self._css_rounds += 1
            self.finished = self._css_rounds >= CSS_ROUNDS
