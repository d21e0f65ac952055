"""Packets received in one packet number space: duplicates, what to acknowledge and when.

RFC 9000 §13.2. The policy for 1-RTT: everything that a socket has to give is processed first, then two
or more ack-eliciting packets are acknowledged at once, however many they are (§13.2.2 allows both). So
at low rates every second packet is acknowledged and at high rates every batch. A single packet waits
for company until max_ack_delay is over. The peer may ask for another policy (`set_policy`).
"""

from endpoint.batch import ECN_CE, ECN_ECT_0, ECN_ECT_1
from endpoint.recovery.range_set import RangeSet

# Gaps that are remembered although nothing below is reported any more: what comes late is no duplicate.
MAX_GAPS = 32
# How many ranges are remembered. At 64 an ACK frame still fits a packet together with other frames.
MAX_RANGES = 64
# Holding more ranges than this makes ACK frames costly on both sides; see `needs_ping`.
PING_RANGES = 6
# RFC 9000 §13.2.2: so many ack-eliciting packets go without an ACK, and no more.
DEFAULT_ACK_ELICITING_THRESHOLD = 1
# RFC 9000 §13.2.1: how far packets may be out of order before an ACK says so.
DEFAULT_REORDERING_THRESHOLD = 1
# Ranges that may pile up before an ACK tells of them, where the peer wants few: they have to fit in it.
MAX_UNREPORTED_RANGES = 16


class AckTracker:
    """`immediate` is true for Initial and Handshake (RFC 9000 §13.2.1). Times are seconds.

    `ack_now`: an ACK is due as soon as a packet can be sent. `deadline`: it is due at that time, None
    if nothing waits. `ack_eliciting_pending`: how many ack-eliciting packets came since the last ACK
    was sent; when it isn't 0 an ACK belongs in any packet that is sent. `largest_received` is -1 at first.
    """

    __slots__ = (
        "_ack_eliciting_threshold",
        "_ce",
        "_ce_before",
        "_ect0",
        "_ect1",
        "_floor",
        "_immediate",
        "_largest_ack_eliciting",
        "_largest_acked",
        "_max_ack_delay",
        "_missing",
        "_ping_time",
        "_ranges",
        "_ranges_reported",
        "_reordering_threshold",
        "ack_eliciting_pending",
        "ack_now",
        "deadline",
        "largest_received",
        "largest_received_time",
    )

    def __init__(self, *, immediate: bool, max_ack_delay: float) -> None:
        self._immediate = immediate
        self._max_ack_delay = max_ack_delay
        self._ack_eliciting_threshold = DEFAULT_ACK_ELICITING_THRESHOLD
        self._reordering_threshold = DEFAULT_REORDERING_THRESHOLD
        # The Largest Acknowledged of the last ACK, and how many ranges there were then.
        self._largest_acked = -1
        self._ranges_reported = 0
        self._ce_before = False
        self._ranges = RangeSet()
        # Everything below but `_missing` counts as received: its ranges are forgotten (RFC 9000 §13.2.3).
        self._floor = 0
        self._missing = RangeSet()
        self._largest_ack_eliciting = -1
        self._ping_time: float | None = None
        self._ect0 = 0
        self._ect1 = 0
        self._ce = 0
        self.largest_received = -1
        self.largest_received_time = 0.0
        self.ack_now = False
        self.deadline: float | None = None
        self.ack_eliciting_pending = 0

    def set_policy(
        self, ack_eliciting_threshold: int, max_ack_delay: float, reordering_threshold: int
    ) -> None:
        """What the peer asks for by ACK_FREQUENCY (draft-ietf-quic-ack-frequency §4, §6), in its terms.

        An ACK is sent for more than `ack_eliciting_threshold` packets, after `max_ack_delay` seconds, or
        when packets are out of order by `reordering_threshold` or more; 0: not for that reason.
        """
        self._ack_eliciting_threshold = ack_eliciting_threshold
        self._max_ack_delay = max_ack_delay
        self._reordering_threshold = reordering_threshold

    def is_duplicate(self, pn: int) -> bool:
        """Whether the packet was received before, or is too old to tell. Such a packet is dropped."""
        if pn > self.largest_received:
            return False
        return pn in self._ranges or (pn < self._floor and pn not in self._missing)

    def on_received(self, first: int, last: int, ack_eliciting: bool, now: float, ecn: int) -> None:
        """Packets `first`..`last` (inclusive, none a duplicate) were opened and processed.

        `ack_eliciting` and `ecn` (a codepoint of the IP header) hold for all of them.
        """
        count = last - first + 1
        ranges = self._ranges
        ranges.add(first, last + 1)
        if first < self._floor:
            self._missing.subtract(first, last + 1)
        expected = self.largest_received + 1
        if last >= expected:
            self.largest_received = last
            self.largest_received_time = now
        # What goes on where the last range ended makes no new one.
        if first != expected and len(ranges) > MAX_RANGES:
            self._ranges_reported -= len(ranges) - MAX_RANGES
            ranges.keep_last(MAX_RANGES)
            self._floor = max(self._floor, ranges.first()[0])
        # RFC 9000 §13.4.1: count codepoints of packets, not of datagrams.
        if ecn == ECN_ECT_0:
            self._ect0 += count
        elif ecn:
            self._count_ecn(ecn, count)
        marked = ecn == ECN_CE
        # Draft-ietf-quic-ack-frequency §6.3: who wants few ACKs is told of the first of several marks.
        urgent = marked and not (self._ce_before and self._ack_eliciting_threshold > 1)
        self._ce_before = marked
        if not ack_eliciting:
            # RFC 9000 §13.2.1: never answer what does not ask for it, not even after a gap.
            return
        self.ack_eliciting_pending += count
        if self.deadline is None:
            self.deadline = now + self._max_ack_delay
        previous = self._largest_ack_eliciting
        if last > previous:
            self._largest_ack_eliciting = last
        if self._reordering_threshold != DEFAULT_REORDERING_THRESHOLD:
            urgent |= self._is_overdue(first)
        elif first < previous:
            urgent = True
        elif first > previous + 1:
            # All from `previous` on is there if both lie in the same range, which is the last one;
            # what lies below the floor is not missed any more.
            urgent |= ranges.last()[0] > max(previous + 1, self._floor)
        if self._immediate or urgent:
            self.ack_now = True

    def _is_overdue(self, first: int) -> bool:
        """Whether the ack-eliciting packets from `first` on call for an ACK by their order.

        Draft-ietf-quic-ack-frequency §6.2: it shows a packet missing that the peer can declare lost by it,
        or that one has arrived which the last ACK has made lost.
        """
        if len(self._ranges) - self._ranges_reported > MAX_UNREPORTED_RANGES:
            return True
        threshold = self._reordering_threshold
        if not threshold:
            return False
        largest_reported_missing = self._largest_acked - threshold
        if first <= largest_reported_missing:
            return True
        largest = self._largest_ack_eliciting
        start = max(largest_reported_missing + 1, self._floor)
        gap = next(self._ranges.gaps(start, largest), None)
        return gap is not None and largest - gap[0] >= threshold

    def on_socket_drained(self) -> None:
        """Nothing more can be received right now: decide about what came."""
        if self.ack_eliciting_pending > self._ack_eliciting_threshold:
            self.ack_now = True

    def on_timeout(self, now: float) -> None:
        """Make the ACK due if its deadline has come."""
        if self.deadline is not None and now >= self.deadline:
            self.ack_now = True

    def on_pto(self) -> None:
        """Something of this space was not answered, our last ACK perhaps: it goes along with the probe.

        Not in 1-RTT: there the peer's own PTO is short, and our probe has it speak.
        """
        if self._immediate and self._largest_ack_eliciting >= 0:
            self.ack_now = True

    def ack_ranges(self, max_ranges: int) -> list[tuple[int, int]]:
        """The newest ranges for an ACK frame: inclusive (smallest, largest), descending."""
        return self._ranges.newest(max_ranges)

    def ack_delay(self, now: float) -> float:
        """Since when the largest packet has been waiting for its ACK (RFC 9000 §13.2.5)."""
        return max(0.0, now - self.largest_received_time)

    @property
    def ecn_counts(self) -> tuple[int, int, int] | None:
        """ECT(0), ECT(1) and CE in the order of the ACK frame, None while no packet carried any."""
        if self._ect0 or self._ce or self._ect1:
            return self._ect0, self._ect1, self._ce
        return None

    def on_ack_sent(self, now: float, *, ack_eliciting: bool) -> int:
        """An ACK of everything received so far was sent, in a packet that is `ack_eliciting` or not.

        Returns the largest packet number in it, to be given to `on_ack_acked` when that packet is
        acknowledged.
        """
        self.ack_now = False
        self.deadline = None
        self.ack_eliciting_pending = 0
        self._largest_acked = self.largest_received
        self._ranges_reported = len(self._ranges)
        if ack_eliciting:
            self._ping_time = now
        return self.largest_received

    def on_ack_acked(self, largest: int) -> None:
        """The peer has got an ACK whose largest number was `largest`: stop repeating what is below.

        RFC 9000 §13.2.4. `largest` itself stays, so that every ACK has the largest received packet.
        """
        if largest > self._floor:
            for start, stop in self._ranges.gaps(self._floor, largest):
                self._missing.add(start, stop)
            self._missing.keep_last(MAX_GAPS)
            self._floor = largest
            self._ranges.discard_below(largest)

    def needs_ping(self, now: float, rtt: float) -> bool:
        """Whether the next packet with an ACK should be made ack-eliciting, by a PING if need be.

        A pure receiver never learns that its ACKs arrived, and keeps repeating all ranges
        (RFC 9000 §13.2.4). Asking once per round trip is enough, and no more is allowed (§13.2.1).
        """
        if len(self._ranges) <= PING_RANGES:
            return False
        return self._ping_time is None or now - self._ping_time >= rtt

    def _count_ecn(self, ecn: int, count: int) -> None:
        """Codepoints that only a network sets, or a peer that is unlike us."""
        if ecn == ECN_CE:
            self._ce += count
        elif ecn == ECN_ECT_1:
            self._ect1 += count
