"""Packets in flight of one packet number space, kept as runs.

A run is consecutive packets of one size sent at one time: what one batch carried. An ACK that covers
the oldest runs costs work per run, not per packet; a run is split only where an ACK or a loss cuts it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from endpoint.errors import TransportError, TransportErrorCode

# How many runs declared lost are remembered, in case an ACK shows that they were only late.
# Enough for several batches cut to pieces, small enough to scan.
MAX_LOST_REMEMBERED = 64


class Content(Protocol):
    """What a run carried. Recovery only cuts it; the transport calls the two handlers."""

    def split(self, count: int) -> "Content":
        """Keep the share of the first `count` packets and return that of the rest."""

    def on_acked(self) -> None:
        """The peer has received every packet of this content."""

    def on_lost(self) -> None:
        """No packet of this content is expected to arrive any more."""


class SentRun:
    """Packets `first`..`last` (inclusive) of `size` bytes each, all sent at `time` (seconds).

    `in_flight` runs count for the congestion controller (RFC 9002 §2). `ecn` is the codepoint they
    were sent with, `path` whatever the transport calls a path by. An `mtu_probe` is larger than other
    datagrams, so its loss says nothing of congestion (RFC 9000 §14.4). `lost_at` is the time at which
    the run was declared lost, None while it is outstanding.
    A run is `repeated` once a PTO has had its content sent again while it was outstanding.
    """

    __slots__ = (
        "ack_eliciting",
        "content",
        "ecn",
        "first",
        "in_flight",
        "last",
        "lost_at",
        "mtu_probe",
        "path",
        "repeated",
        "size",
        "time",
    )

    def __init__(
        self,
        first: int,
        last: int,
        time: float,
        size: int,
        *,
        ack_eliciting: bool = True,
        in_flight: bool = True,
        content: Content | None = None,
        ecn: int = 0,
        path: int = 0,
        mtu_probe: bool = False,
    ) -> None:
        self.first = first
        self.last = last
        self.time = time
        self.size = size
        self.ack_eliciting = ack_eliciting
        self.in_flight = in_flight
        self.content = content
        self.ecn = ecn
        self.path = path
        self.mtu_probe = mtu_probe
        self.lost_at: float | None = None
        self.repeated = False

    @property
    def count(self) -> int:
        """The number of packets."""
        return self.last - self.first + 1

    @property
    def bytes(self) -> int:
        """The bytes of all packets together."""
        return self.size * (self.last - self.first + 1)

    def split(self, count: int) -> "SentRun":
        """Keep the first `count` packets (0 < count < self.count) and return a run of the rest."""
        middle = self.first + count
        rest = SentRun(
            middle,
            self.last,
            self.time,
            self.size,
            ack_eliciting=self.ack_eliciting,
            in_flight=self.in_flight,
            content=None if self.content is None else self.content.split(count),
            ecn=self.ecn,
            path=self.path,
        )
        rest.lost_at = self.lost_at
        rest.repeated = self.repeated
        self.last = middle - 1
        return rest

    def __repr__(self) -> str:
        return f"SentRun({self.first}-{self.last}, {self.size} bytes, {self.time})"


class SentPackets:
    """The outstanding runs of one packet number space, ascending.

    `largest_acked` is -1 until something is acknowledged. `bytes_in_flight` and `ack_eliciting_in_flight`
    (packets) count what is outstanding. `last_ack_eliciting_time` is when the PTO starts (RFC 9002 §6.2.1).
    """

    __slots__ = (
        "_lost",
        "_runs",
        "ack_eliciting_in_flight",
        "bytes_in_flight",
        "largest_acked",
        "last_ack_eliciting_time",
    )

    def __init__(self) -> None:
        self._runs: list[SentRun] = []
        self._lost: list[SentRun] = []
        self.largest_acked = -1
        self.bytes_in_flight = 0
        self.ack_eliciting_in_flight = 0
        self.last_ack_eliciting_time = 0.0

    def __iter__(self) -> Iterator[SentRun]:
        """The outstanding runs, oldest first. Nothing must be added or acknowledged meanwhile."""
        return iter(self._runs)

    def __len__(self) -> int:
        """The number of outstanding runs."""
        return len(self._runs)

    @property
    def oldest(self) -> int | None:
        """The lowest packet number that is outstanding, None if there is none."""
        return self._runs[0].first if self._runs else None

    def add(self, run: SentRun) -> None:
        """Remember a run that was just sent; its packet numbers are above all before.

        Of packets that only carry ACKs, sent one after the other, only the newest is remembered: the
        peer need not acknowledge them (RFC 9000 §13.2.1), so nothing else would bound their number,
        and the newest ACK says all that the older ones said.
        """
        if run.in_flight:
            self.bytes_in_flight += run.size * (run.last - run.first + 1)
        elif not run.ack_eliciting and self._runs:
            previous = self._runs[-1]
            if not (previous.ack_eliciting or previous.in_flight):
                self._runs.pop()
        if run.ack_eliciting:
            self.ack_eliciting_in_flight += run.last - run.first + 1
            self.last_ack_eliciting_time = run.time
        self._runs.append(run)

    def on_ack(self, ranges: Sequence[tuple[int, int]], next_pn: int) -> list[SentRun]:
        """Take out and return the runs that the ACK newly acknowledges, ascending, split as needed.

        `ranges` are those of the ACK frame: inclusive (smallest, largest), descending, at least one.
        Raises PROTOCOL_VIOLATION when one is at or above `next_pn`, the lowest number not yet used.
        """
        largest = ranges[0][1]
        if largest >= next_pn:
            # RFC 9000 §13.1: acknowledging what was never sent is an error.
            raise TransportError(
                TransportErrorCode.PROTOCOL_VIOLATION, f"ACK of packet {largest}, never sent"
            )
        if largest > self.largest_acked:
            self.largest_acked = largest
        runs = self._runs
        if not runs or largest < runs[0].first:
            return []
        # Ranges below the oldest outstanding packet tell nothing new.
        oldest = runs[0].first
        relevant = 1
        while relevant < len(ranges) and ranges[relevant][1] >= oldest:
            relevant += 1
        acked: list[SentRun] = []
        kept: list[SentRun] = []
        index = 0
        for position in range(relevant - 1, -1, -1):
            index = self._take(index, ranges[position], acked, kept)
        runs[:index] = kept
        for run in acked:
            self._remove(run)
        return acked

    def _take(
        self, index: int, acked_range: tuple[int, int], acked: list[SentRun], kept: list[SentRun]
    ) -> int:
        """Sort the runs from `index` up to the end of the range in `acked` and `kept`.

        Returns the index of the first run beyond. A run that reaches beyond stays in its place, with
        the packets that the range covers split off it.
        """
        smallest, largest = acked_range
        runs = self._runs
        while index < len(runs):
            run = runs[index]
            if run.first > largest:
                break
            if run.last < smallest:
                kept.append(run)
                index += 1
                continue
            if run.first < smallest:
                rest = run.split(smallest - run.first)
                kept.append(run)
                run = rest
            if run.last > largest:
                runs[index] = run.split(largest - run.first + 1)
                acked.append(run)
                break
            acked.append(run)
            index += 1
        return index

    def take_spurious(self, ranges: Sequence[tuple[int, int]]) -> list[SentRun]:
        """Forget and return remembered lost runs that the ACK shows to have arrived, ascending."""
        lost = self._lost
        if not lost or ranges[0][1] < lost[0].first:
            return []
        spurious: list[SentRun] = []
        kept: list[SentRun] = []
        index = len(lost)
        # Both descend: ranges far below the newest losses are common, and end the walk early.
        for smallest, largest in ranges:
            while index and lost[index - 1].first > largest:
                index -= 1
                kept.append(lost[index])
            while index and lost[index - 1].last >= smallest:
                index -= 1
                run = lost[index]
                if run.last > largest:
                    kept.append(run.split(largest - run.first + 1))
                if run.first < smallest:
                    lost[index] = run
                    index += 1
                    run = run.split(smallest - run.first)
                    spurious.append(run)
                    break
                spurious.append(run)
            if not index:
                break
        if spurious:
            lost[index:] = reversed(kept)
            spurious.reverse()
        return spurious

    def detect_lost(
        self, lost_send_time: float, packet_threshold: int, now: float
    ) -> tuple[list[SentRun], float | None]:
        """Take out the runs that are lost by RFC 9002 §6.1; they are remembered for `take_spurious`.

        Lost is what precedes the largest acknowledged packet by `packet_threshold` or more, or was sent
        at or before `lost_send_time`. Returns those runs, ascending, and the time at which the oldest
        of the other runs before the largest acknowledged was sent, None where there is none.
        """
        runs = self._runs
        largest_acked = self.largest_acked
        if not runs or runs[0].first > largest_acked:
            return [], None
        # Send times and numbers ascend together, so what is lost is a prefix of the outstanding.
        threshold_last = largest_acked - packet_threshold
        index = 0
        lost: list[SentRun] = []
        oldest_left: float | None = None
        while index < len(runs):
            run = runs[index]
            if run.first > largest_acked:
                break
            if run.time > lost_send_time and run.last > threshold_last:
                oldest_left = run.time
                if run.first <= threshold_last:
                    runs[index] = run.split(threshold_last - run.first + 1)
                    lost.append(run)
                break
            lost.append(run)
            index += 1
        del runs[:index]
        if lost:
            for run in lost:
                run.lost_at = now
                self._remove(run)
            self._lost += lost
            del self._lost[:-MAX_LOST_REMEMBERED]
        return lost, oldest_left

    def clear(self) -> list[SentRun]:
        """Forget everything outstanding and lost, and return what was outstanding (RFC 9002 §6.4)."""
        runs = self._runs
        self._runs = []
        self._lost = []
        self.bytes_in_flight = 0
        self.ack_eliciting_in_flight = 0
        self.last_ack_eliciting_time = 0.0
        return runs

    def _remove(self, run: SentRun) -> None:
        """Take a run that leaves `_runs` out of the counters."""
        if run.in_flight:
            self.bytes_in_flight -= run.size * (run.last - run.first + 1)
        if run.ack_eliciting:
            self.ack_eliciting_in_flight -= run.last - run.first + 1


def bytes_in_flight_on(spaces: Iterable[SentPackets], path: int) -> int:
    """The bytes in flight of all these packet number spaces that were sent on `path`."""
    return sum(run.bytes for sent in spaces for run in sent if run.in_flight and run.path == path)
