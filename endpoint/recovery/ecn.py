"""Whether a path carries ECN marks, and what the peer reports of them (RFC 9000 §13.4.2, §A.4)."""

from enum import StrEnum

from endpoint.batch import ECN_ECT_0, ECN_NOT_ECT
from endpoint.level import Level

# RFC 9000 §13.4.2 proposes so many, or three times the PTO. Two PTOs in a row are three periods. The packets
# are ack-eliciting ones: others see no PTO.
TESTING_PACKETS = 10
TESTING_PTO_COUNT = 2


class EcnState(StrEnum):
    """RFC 9000 §A.4. Packets are marked while a path is tested and when it is capable."""

    TESTING = "testing"
    UNKNOWN = "unknown"
    FAILED = "failed"
    CAPABLE = "capable"


# Names of our own: to ask the class for a member costs as much as a call (Python 3.11).
_TESTING, _FAILED, _CAPABLE = EcnState.TESTING, EcnState.FAILED, EcnState.CAPABLE


class _SpaceCounts:
    """Of one packet number space: marked packets sent, and the counts of the last ACK that was judged."""

    __slots__ = ("ce", "ect0", "ect1", "sent")

    def __init__(self) -> None:
        self.sent = 0
        self.ect0 = 0
        self.ect1 = 0
        self.ce = 0


class EcnCounts:
    """What is counted for the connection, whatever the path: the peer counts per space (§13.4.1)."""

    __slots__ = ("spaces",)

    def __init__(self) -> None:
        application = _SpaceCounts()
        self.spaces = (_SpaceCounts(), application, _SpaceCounts(), application)


class EcnValidator:
    """ECN on one path. Packets of other paths are none of its business, except that ACKs count them too.

    The sums are compared, not the increases from ACK to ACK as §13.4.2.1 describes it: whatever was
    acknowledged has been counted, and an ACK that left out its oldest ranges had counted those as well.
    """

    __slots__ = (
        "_acked",
        "_baseline",
        "_counts",
        "_ect0_seen",
        "_lost",
        "_retest",
        "_sent",
        "_since",
        "_suspect",
        "state",
    )

    def __init__(self, counts: EcnCounts, *, enabled: bool = True) -> None:
        self._counts = counts
        self._retest = False
        # Whether the test ended because nothing that was marked arrived: then no other follows on this path.
        self._suspect = False
        self.state = EcnState.TESTING if enabled else EcnState.FAILED
        self._begin(0.0)

    @property
    def codepoint(self) -> int:
        """The ECN field for what is sent next: ECT(0) or nothing."""
        return ECN_ECT_0 if self.state is _CAPABLE or self.state is _TESTING else ECN_NOT_ECT

    def on_sent(self, level: Level, packets: int) -> None:
        """That many marked packets were sent on this path."""
        self._counts.spaces[level].sent += packets
        self._sent += packets
        if self.state is _TESTING and self._sent >= TESTING_PACKETS:
            self.state = EcnState.UNKNOWN

    def on_acked(
        self, level: Level, packets: int, reported: tuple[int, int, int] | None, *, newest: bool, now: float
    ) -> bool:
        """An ACK acknowledged that many marked packets of this path for the first time.

        `reported` are its counts of ECT(0), ECT(1) and CE. `newest` tells whether it raises the largest
        acknowledged packet number; older ones must not be judged (§13.4.2.1). Returns whether the peer
        saw congestion: more CE marks, on a path whose marks can be trusted.
        """
        self._acked[level] += packets
        if not newest:
            return False
        congested = False
        if reported is None:
            # §13.4.2.1: a peer that doesn't report, or a network that clears the marks.
            plausible = not packets
        else:
            plausible = self._is_plausible(level, *reported)
            space = self._counts.spaces[level]
            congested = reported[2] > space.ce
            self._ect0_seen |= reported[0] > space.ect0
            space.ect0, space.ect1, space.ce = reported
        if self.state is _FAILED:
            return False
        if not plausible:
            self.state = _FAILED
        elif self.state is not _CAPABLE:
            self._conclude(packets, now)
        return congested and self.state is _CAPABLE

    def on_lost(self, packets: int, sent_time: float) -> None:
        """That many marked packets of this path, sent at `sent_time`, were declared lost."""
        if sent_time < self._since:
            return
        self._lost += packets
        if self._lost < self._sent or any(self._acked):
            return
        if self.state is _TESTING:
            # Others have arrived, or these would not be lost. Who sends little must not wait for ten of them.
            self.state = EcnState.UNKNOWN
            self._suspect = True
        elif self.state is EcnState.UNKNOWN:
            self.state = _FAILED

    def on_pto(self, pto_count: int) -> None:
        """The PTO expired for the `pto_count`th time in a row: it may be the marks that keep packets back."""
        if pto_count < TESTING_PTO_COUNT or self.codepoint == ECN_NOT_ECT:
            return
        # Nothing was wrong with the marks before, so they get another chance when the path is back.
        self._retest = self.state is EcnState.CAPABLE
        self._suspect = not self._retest
        self.state = EcnState.UNKNOWN

    def resume(self) -> None:
        """The connection returns to this path, or goes on under another name for it."""
        if self.state is EcnState.UNKNOWN and not self._suspect:
            # Marks may be what went wrong before: first an ACK has to show that anything arrives.
            self._retest = True
        self._begin(self._since)

    def _begin(self, now: float) -> None:
        """Begin to count (§A.4: from what was reported before)."""
        self._since = now
        self._sent = 0
        self._lost = 0
        self._acked = [0] * len(Level)
        self._baseline = [space.ect0 + space.ce for space in self._counts.spaces]
        self._ect0_seen = False

    def _is_plausible(self, level: Level, ect0: int, ect1: int, ce: int) -> bool:
        """Whether these counts may follow the last ones, after all that was sent and acknowledged."""
        space = self._counts.spaces[level]
        if ect0 < space.ect0 or ce < space.ce or ect1 != space.ect1:
            return False  # we never send ECT(1): somebody on the path does, or the peer miscounts
        marks = ect0 + ce
        return self._acked[level] <= marks - self._baseline[level] and marks <= space.sent

    def _conclude(self, packets: int, now: float) -> None:
        """What a good ACK means while nothing is known."""
        acked = sum(self._acked)
        if self._ect0_seen and acked and (packets or not self._retest):
            self._retest = False
            self.state = EcnState.CAPABLE
        elif acked >= TESTING_PACKETS and not self._ect0_seen:
            # §A.4: when everything is marked CE the marks tell nothing.
            self.state = EcnState.FAILED
        elif self._retest:
            self._retest = False
            self.state = EcnState.TESTING
            self._begin(now)
