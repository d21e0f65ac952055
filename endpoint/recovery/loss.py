"""Loss detection of a connection: what an ACK or a timer says about packets sent (RFC 9002 §6, §A).

Ties together the three packet number spaces and what they share: round trip, congestion window, pacing.
"""

from collections.abc import Sequence
from math import inf

from endpoint.config import CongestionAlgorithm
from endpoint.level import Level
from endpoint.recovery.congestion import CongestionController, create_controller
from endpoint.recovery.ecn import EcnCounts, EcnValidator
from endpoint.recovery.outcome import AckOutcome, LossTimeout
from endpoint.recovery.pacer import Pacer
from endpoint.recovery.path_recovery import PathRecovery
from endpoint.recovery.pmtud import BASE_SIZE, MAX_SIZE, Pmtud
from endpoint.recovery.rtt import RttEstimator
from endpoint.recovery.sent_packets import SentPackets, SentRun, bytes_in_flight_on

# RFC 9002 §6.1.1; raised when packets declared lost arrive late.
INITIAL_PACKET_THRESHOLD = 3
# More reordering than a batch is left to the time threshold.
MAX_PACKET_THRESHOLD = 64
# RFC 9002 §7.6.1.
PERSISTENT_CONGESTION_THRESHOLD = 3
# RFC 9002 §6.2.4: two, so that one lost probe does not cost another, doubled period.
PROBES_PER_PTO = 2
# The back-off of RFC 9002 §6.2.1 has no limit. RFC 6298 §2.5 allows one of no less than 60 s.
MAX_PTO = 60.0
# RFC 9000 §18.2: until the peer's transport parameters are known.
DEFAULT_MAX_ACK_DELAY = 0.025

# Members of enums by names of our own: to ask the class for one costs as much as a call (Python 3.11).
_ONE_RTT = Level.ONE_RTT
_HANDSHAKE_SPACES = (Level.INITIAL, Level.HANDSHAKE)
_SPACES = (*_HANDSHAKE_SPACES, _ONE_RTT)


class LossDetector:
    """Levels stand for packet number spaces: 0-RTT and 1-RTT share one. All times are seconds.

    The transport keeps these up to date: `has_handshake_keys`, `handshake_confirmed` (RFC 9001 §4.1.2),
    `amplification_limited` (a server that may not send a datagram now, RFC 9000 §8.1), `max_ack_delay`
    (the peer's transport parameter). It may read `rtt`, `congestion`, `pacer`, `pto_count`,
    `packet_threshold` and, by level, `sent_packets`. Only runs of `path` count; see `reset_path`.
    `max_datagram_size`, `ecn` and `pmtud` are those of this path: how long datagrams may be now, how
    they are marked, and the search for a larger size.
    """

    __slots__ = (
        "_algorithm",
        "_ecn_counts",
        "_ecn_enabled",
        "_event_lost",
        "_event_time",
        "_first_rtt_sample",
        "_handshake_acked",
        "_initial_rtt",
        "_is_client",
        "_largest_acked_time",
        "_last_event",
        "_loss_times",
        "_max_udp_payload",
        "_window_limited_time",
        "amplification_limited",
        "congestion",
        "ecn",
        "handshake_confirmed",
        "has_handshake_keys",
        "max_ack_delay",
        "max_datagram_size",
        "pacer",
        "packet_threshold",
        "path",
        "pmtud",
        "pto_count",
        "rtt",
        "sent_packets",
    )

    def __init__(
        self,
        *,
        is_client: bool,
        initial_rtt: float,
        max_datagram_size: int,
        congestion: CongestionAlgorithm,
        ecn: bool = True,
        mtu_probe_limit: int | None = None,
    ) -> None:
        """`mtu_probe_limit` is up to where the search for larger datagrams goes; None: there is none."""
        self._is_client = is_client
        self._initial_rtt = initial_rtt
        self._ecn_enabled = ecn
        self._ecn_counts = EcnCounts()
        self.pmtud = Pmtud(max_datagram_size, mtu_probe_limit)
        # What the peer takes, also on paths that are returned to later.
        self._max_udp_payload = MAX_SIZE
        self._algorithm = congestion
        self.has_handshake_keys = False
        self.handshake_confirmed = False
        self.amplification_limited = False
        self.max_ack_delay = DEFAULT_MAX_ACK_DELAY
        self.path = 0
        application = SentPackets()
        self.sent_packets = (SentPackets(), application, SentPackets(), application)
        # By level: send time of the oldest packet that a timer will declare lost, and when.
        self._loss_times: list[tuple[float, float] | None] = [None] * len(Level)
        self._handshake_acked = False
        # When an ack-eliciting packet was sent, an ACK came or a PTO expired, whichever was last.
        self._last_event: float | None = None
        self.packet_threshold = INITIAL_PACKET_THRESHOLD
        self._start_path()

    def _start_path(self) -> None:
        """What belongs to the path, as it is at first."""
        self.rtt = RttEstimator(self._initial_rtt)
        self.ecn = EcnValidator(self._ecn_counts, enabled=self._ecn_enabled)
        self.pmtud = self.pmtud.for_new_path()
        size = self.max_datagram_size = self.pmtud.size
        self.congestion: CongestionController = create_controller(self._algorithm, size)
        self.pacer = Pacer(size, self.congestion.congestion_window, self._initial_rtt)
        self.pto_count = 0
        self._first_rtt_sample = inf
        # Send time of the newest packet acknowledged so far, in any space.
        self._largest_acked_time = -inf
        # When the congestion window last was too full for another datagram.
        self._window_limited_time = -inf
        # The last reduction of the window, and how many packets lost for it did not arrive so far.
        self._event_time = inf
        self._event_lost = 0

    @property
    def available_window(self) -> int:
        """How many bytes the congestion window lets go now."""
        return self.congestion.available

    @property
    def in_recovery_period(self) -> bool:
        """Whether nothing sent since the last reduction of the window was acknowledged (RFC 9002 §7.3.2)."""
        return self.congestion.recovery_start >= self._largest_acked_time > -inf

    @property
    def peer_completed_address_validation(self) -> bool:
        """Whether the peer is known not to be held back by the 3x limit any more (RFC 9002 §A.8)."""
        return not self._is_client or self._handshake_acked or self.handshake_confirmed

    def on_packet_sent(self, level: Level, run: SentRun, now: float) -> None:
        """A run was handed to the socket, all its packets at once; `run.time` is `now`."""
        self.sent_packets[level].add(run)
        if run.ack_eliciting:
            self._last_event = now
        if run.path != self.path:
            return
        packets = run.last - run.first + 1
        if run.ecn:
            self.ecn.on_sent(level, packets)
        if run.in_flight:
            size = run.size * packets
            congestion = self.congestion
            congestion.on_sent(size, now)
            self.pacer.on_sent(size, now)
            if not congestion.can_send(self.max_datagram_size):
                self._window_limited_time = now

    def on_ack_received(
        self,
        level: Level,
        ranges: Sequence[tuple[int, int]],
        ack_delay: float,
        now: float,
        next_pn: int,
        ecn_counts: tuple[int, int, int] | None = None,
    ) -> AckOutcome:
        """Process an ACK frame: inclusive (smallest, largest) ranges, descending.

        `ack_delay` is decoded to seconds; `next_pn` is the lowest packet number not used so far in the
        space; `ecn_counts` are the frame's counts of ECT(0), ECT(1) and CE, if it has any.
        Raises PROTOCOL_VIOLATION for an ACK of what was never sent.
        """
        sent = self.sent_packets[level]
        largest_before = sent.largest_acked
        acked = sent.on_ack(ranges, next_pn)
        outcome = AckOutcome(acked, sent.take_spurious(ranges))
        if outcome.spurious:
            self._on_spurious(outcome.spurious, largest_before)
        if not acked:
            return outcome
        newest = acked[-1]
        size, marked = self._count_acked(acked)
        outcome.newly_acked_bytes = size
        # RFC 9002 §5.1, and RFC 9000 §9.4 for packets sent on another path.
        if (
            newest.last == ranges[0][1]
            and newest.path == self.path
            and (newest.ack_eliciting or any(run.ack_eliciting for run in acked))
        ):
            outcome.rtt_updated = True
            self._update_rtt(level, now - newest.time, ack_delay, now)
        congestion = self.congestion
        newer = sent.largest_acked > largest_before
        if self.ecn.on_acked(level, marked, ecn_counts, newest=newer, now=now):
            congestion.on_ecn_ce(newest.time, now)
        loss_delay = self.rtt.loss_delay
        lost, oldest_left = sent.detect_lost(now - loss_delay, self.packet_threshold, now)
        self._loss_times[level] = None if oldest_left is None else (oldest_left, oldest_left + loss_delay)
        if lost:
            outcome.lost = lost
            outcome.persistent_congestion = self._on_lost(lost, acked, now)
        if newest.time > self._largest_acked_time:
            self._largest_acked_time = newest.time
        if size:
            congestion.on_acked(size, newest.time, now, self.rtt, self._is_app_limited(newest.time))
        self._last_event = now
        if level == Level.HANDSHAKE:
            self._handshake_acked = True
        if self.peer_completed_address_validation:
            # RFC 9002 §6.2.1: a client's probes must not become frequent again before that.
            self.pto_count = 0
        self._follow_pmtud()
        self._update_pacer()
        return outcome

    def next_timeout(self) -> float | None:
        """When `on_timeout` has to be called, None for never. May be past: then call it now."""
        loss = self._earliest_loss()
        if loss is not None:
            return loss[0]
        # RFC 9002 §6.2.2.1: no timer while nothing may be sent.
        pto = None if self.amplification_limited else self._pto()
        return None if pto is None else pto[0]

    def on_timeout(self, now: float) -> LossTimeout | None:
        """Do what is due at `now`; None if nothing is."""
        loss = self._earliest_loss()
        if loss is not None:
            time, level, oldest = loss
            return self._on_loss_time(level, oldest, now) if now >= time else None
        pto = None if self.amplification_limited else self._pto()
        if pto is None or now < pto[0]:
            return None
        level = pto[1]
        self.pto_count += 1
        self._last_event = now
        self.ecn.on_pto(self.pto_count)
        self.pmtud.on_pto(self.pto_count)
        self._follow_pmtud()
        in_flight = self.sent_packets[level].ack_eliciting_in_flight
        return LossTimeout(level, [], PROBES_PER_PTO if in_flight else 1)

    def discard_space(self, level: Level) -> None:
        """The keys of the level were discarded: forget what was sent with them (RFC 9002 §6.4)."""
        self._clear(level)
        # RFC 9002 §6.2.2: progress was made.
        self.pto_count = 0

    def on_zero_rtt_rejected(self) -> list[SentRun]:
        """The server rejected 0-RTT: forget those packets and return them, to be sent anew in 1-RTT."""
        return self._clear(Level.ZERO_RTT)

    def on_retry(self) -> list[SentRun]:
        """The connection restarts after Retry: forget all packets and return them (RFC 9002 §6.3)."""
        runs = [run for level in _SPACES for run in self._clear(level)]
        self._start_path()
        return runs

    def reset_path(self, path: int) -> None:
        """The connection moves to another path: round trip and window begin anew (RFC 9000 §9.4).

        Packets of the old path are still acknowledged or declared lost but count for neither.
        """
        self.path = path
        self._start_path()
        # Probes have gone there before.
        self.congestion.bytes_in_flight = bytes_in_flight_on(self.sent_packets[:3], path)

    def keep_path(self) -> PathRecovery:
        """What is known of the present path, for `return_to_path`."""
        return PathRecovery(
            self.rtt, self.congestion, self.pacer, self.ecn, self.pmtud, self._first_rtt_sample
        )

    def return_to_path(self, path: int, kept: PathRecovery) -> None:
        """Like `reset_path`, but round trip and window are those of `kept`.

        That is for a path known from before, and for one that differs from the present in nothing but
        the peer's port (RFC 9000 §9.4). Of what is outstanding, only packets sent on `path` count.
        """
        self.reset_path(path)
        self.rtt, self.congestion, self.pacer = kept.rtt, kept.congestion, kept.pacer
        self.ecn, self.pmtud = kept.ecn, kept.pmtud
        self.pmtud.set_peer_limit(self._max_udp_payload)
        self.ecn.resume()
        self.pmtud.resume()
        self._first_rtt_sample = kept.first_rtt_sample
        self.congestion.bytes_in_flight = bytes_in_flight_on(self.sent_packets[:3], path)
        self.set_max_datagram_size(self.pmtud.size)

    def set_max_datagram_size(self, max_datagram_size: int) -> None:
        """The path carries datagrams of another size from now on."""
        self.max_datagram_size = max_datagram_size
        self.congestion.set_max_datagram_size(max_datagram_size)
        self.pacer.set_max_datagram_size(max_datagram_size)
        self._update_pacer()

    def set_peer_max_udp_payload(self, size: int) -> None:
        """The peer takes no larger datagrams (RFC 9000 §18.2), on any path."""
        self._max_udp_payload = size
        self.pmtud.set_peer_limit(size)
        self._follow_pmtud()

    def _count_acked(self, acked: list[SentRun]) -> tuple[int, int]:
        """Of what arrived on the present path: bytes that were in flight, and packets with an ECN mark."""
        size = marked = 0
        for run in acked:
            if run.path != self.path:
                continue
            packets = run.last - run.first + 1
            if run.in_flight:
                size += run.size * packets
            if run.ecn:
                marked += packets
            if run.mtu_probe:
                self.pmtud.on_probe_acked(run.size)
            elif run.size >= BASE_SIZE:
                self.pmtud.on_large_acked(run.size, packets)
        return size, marked

    def _follow_pmtud(self) -> None:
        if self.pmtud.size != self.max_datagram_size:
            self.set_max_datagram_size(self.pmtud.size)

    def _update_rtt(self, level: Level, latest_rtt: float, ack_delay: float, now: float) -> None:
        if not self.rtt.has_sample:
            self._first_rtt_sample = now
        self.rtt.update(
            latest_rtt,
            # RFC 9002 §5.3: Initial packets are acknowledged without delay.
            0.0 if level == Level.INITIAL else ack_delay,
            handshake_confirmed=self.handshake_confirmed,
            max_ack_delay=self.max_ack_delay,
        )

    def _is_app_limited(self, sent_time: float) -> bool:
        """Whether the window was not used up when the packet was sent, nor since (RFC 9002 §7.8).

        Waiting for the pacer counts as using it up.
        """
        return sent_time > self._window_limited_time and sent_time > self.pacer.limited_time

    def _update_pacer(self) -> None:
        congestion = self.congestion
        self.pacer.set_rate(
            congestion.congestion_window, self.rtt.smoothed_rtt, slow_start=congestion.in_slow_start
        )

    def _on_loss_time(self, level: Level, oldest: float, now: float) -> LossTimeout:
        """The time threshold of the packets sent at `oldest` has passed."""
        loss_delay = self.rtt.loss_delay
        # Not just the difference: rounding must not leave the packet that the timer was set for.
        lost_send_time = max(now - loss_delay, oldest)
        lost, left = self.sent_packets[level].detect_lost(lost_send_time, self.packet_threshold, now)
        self._loss_times[level] = None if left is None else (left, left + loss_delay)
        if lost:
            self._on_lost(lost, [], now)
            self._update_pacer()
        return LossTimeout(level, lost, 0)

    def _on_lost(self, lost: list[SentRun], acked: list[SentRun], now: float) -> bool:
        """Tell the congestion controller; returns whether persistent congestion was established."""
        size = count = 0
        last_time = -inf
        smallest = MAX_SIZE
        for run in lost:
            if run.path != self.path:
                continue
            packets = run.last - run.first + 1
            if run.ecn:
                self.ecn.on_lost(packets, run.time)
            if run.in_flight:
                size += run.size * packets
            if run.mtu_probe:
                self.pmtud.on_probe_lost(run.size)
            elif run.in_flight:
                count += packets
                last_time = run.time
                if run.size > BASE_SIZE:
                    smallest = min(smallest, run.size)
        congestion = self.congestion
        congestion.on_packets_discarded(size)
        if smallest < MAX_SIZE:
            self.pmtud.on_large_lost(smallest)
        if not count:
            return False
        if congestion.on_congestion_event(last_time, now):
            self._event_time = now
            self._event_lost = 0
        self._event_lost += count
        if not self._in_persistent_congestion(lost, acked):
            return False
        congestion.on_persistent_congestion()
        self.rtt.forget_min_rtt()
        return True

    def _in_persistent_congestion(self, lost: list[SentRun], acked: list[SentRun]) -> bool:
        """RFC 9002 §7.6.2: two packets far apart were lost, and nothing between them arrived.

        `acked` are the runs that the same ACK acknowledged in the same space. Of other ACKs it is enough
        to know the newest packet they acknowledged: only what was sent after that is considered, which
        leaves out no more than the few packets that were not lost already when that packet arrived.
        """
        duration = self.rtt.pto(self.max_ack_delay) * PERSISTENT_CONGESTION_THRESHOLD
        begin = max(self._first_rtt_sample, self._largest_acked_time)
        if lost[-1].time - max(begin, lost[0].time) <= duration:
            return False
        period_start: float | None = None
        position = 0
        for run in lost:
            if not run.ack_eliciting or run.time <= begin or run.path != self.path or run.mtu_probe:
                continue
            while position < len(acked) and acked[position].first < run.first:
                position += 1
                period_start = None
            if period_start is None:
                period_start = run.time
            elif run.time - period_start > duration:
                return True
        return False

    def _on_spurious(self, spurious: list[SentRun], largest_acked: int) -> None:
        """Packets declared lost have arrived: tolerate so much reordering, take the reduction back."""
        for run in spurious:
            if run.mtu_probe and run.path == self.path:
                self.pmtud.on_probe_acked(run.size)
            elif run.size >= BASE_SIZE and run.path == self.path:
                # Late, but not too large for the path.
                self.pmtud.on_large_acked(run.size, run.count)
            # RFC 9002 §6.1.1. Up to `largest_acked` had overtaken it, at least.
            distance = min(largest_acked - run.first + 1, MAX_PACKET_THRESHOLD)
            self.packet_threshold = max(self.packet_threshold, distance)
            counted = run.in_flight and not run.mtu_probe and run.path == self.path
            if counted and run.lost_at is not None and run.lost_at >= self._event_time:
                self._event_lost -= run.last - run.first + 1
        if not self._event_lost and self._event_time < inf:
            self.congestion.on_spurious_loss()
            self._event_time = inf

    def _earliest_loss(self) -> tuple[float, Level, float] | None:
        """The first time threshold that will pass: when, of which space, send time of the packet."""
        if not any(self._loss_times):
            return None
        earliest: tuple[float, Level, float] | None = None
        for level in _SPACES:
            loss = self._loss_times[level]
            if loss is not None and (earliest is None or loss[1] < earliest[0]):
                earliest = loss[1], level, loss[0]
        return earliest

    def _pto(self) -> tuple[float, Level] | None:
        """When the next probe timeout expires, and in which space (RFC 9002 §6.2.1)."""
        backoff = 1 << min(self.pto_count, 16)
        earliest: tuple[float, Level] | None = None
        application = self.sent_packets[_ONE_RTT]
        # Before confirmation the peer may not have the keys yet.
        if self.handshake_confirmed and application.ack_eliciting_in_flight:
            period = min(self.rtt.pto(self.max_ack_delay) * backoff, MAX_PTO)
            earliest = application.last_ack_eliciting_time + period, _ONE_RTT
        for level in _HANDSHAKE_SPACES:
            sent = self.sent_packets[level]
            if sent.ack_eliciting_in_flight:
                time = sent.last_ack_eliciting_time + min(self.rtt.pto(0.0) * backoff, MAX_PTO)
                if earliest is None or time < earliest[0]:
                    earliest = time, level
        if earliest is None and self._last_event is not None and not self.peer_completed_address_validation:
            # RFC 9002 §6.2.2.1: the server may be waiting for bytes that allow it to send.
            level = Level.HANDSHAKE if self.has_handshake_keys else Level.INITIAL
            earliest = self._last_event + min(self.rtt.pto(0.0) * backoff, MAX_PTO), level
        return earliest

    def _clear(self, level: Level) -> list[SentRun]:
        runs = self.sent_packets[level].clear()
        self._loss_times[Level.ONE_RTT if level == Level.ZERO_RTT else level] = None
        size = sum(run.bytes for run in runs if run.in_flight and run.path == self.path)
        self.congestion.on_packets_discarded(size)
        return runs
