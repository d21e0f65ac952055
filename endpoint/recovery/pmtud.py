"""The largest datagram that a path carries: DPLPMTUD (RFC 8899, RFC 9000 §14.3).

Sizes are bytes of UDP payload. The search begins at the top: most paths carry what their first link
carries. If that fails it halves the rest. Where nothing but small datagrams arrive any more it falls back
to the size that every path has to carry, and begins anew with the size that was in use.
"""

# What is left of the 1,500 bytes of an Ethernet frame after the headers of IPv6 and UDP.
ETHERNET_IPV6 = 1452
# RFC 9000 §14: BASE_PLPMTU and MIN_PLPMTU.
BASE_SIZE = 1200
# RFC 8899 §5.1.2: a size is given up after so many lost probes.
MAX_PROBES = 3
# What is not worth another round of probes, when at most this is left to gain.
MIN_GAIN = 20
# RFC 8899 §5.1.1: the path may have become better after this time. Seconds.
RAISE_INTERVAL = 600.0
# Full datagrams acknowledged before there are probes: connections with little to say have no use for them.
MIN_FULL_ACKED = 10
# RFC 8899 §4.3: losses of large datagrams one after the other, with none as large arriving in between.
BLACK_HOLE_LOSSES = 3
# More than any datagram has.
MAX_SIZE = 65536
# The same for a path that gives no answer at all any more.
BLACK_HOLE_PTO_COUNT = 2


class Pmtud:
    """The search on one path. `size` is the maximum datagram size now, without search it stays as it is.

    `start` is the size to begin with, `limit` the largest size to try; `limit` None: no search.
    """

    __slots__ = (
        "_full_acked",
        "_hint",
        "_large_losses",
        "_limit",
        "_probe",
        "_probe_losses",
        "_raise_at",
        "_searching",
        "_smallest_lost",
        "_start",
        "_too_large",
        "size",
    )

    def __init__(self, start: int, limit: int | None = None) -> None:
        self._searching = limit is not None
        self._start = start
        self._limit = start if limit is None else max(start, limit)
        self.size = start
        # The smallest size that is known not to arrive, or one more than the limit.
        self._too_large = self._limit + 1
        # The size that was in use before the path turned into a black hole.
        self._hint: int | None = None
        # The probe in flight.
        self._probe: int | None = None
        self._probe_losses = 0
        self._full_acked = 0
        # Losses in a row of what not every path carries, and the smallest that was lost.
        self._large_losses = 0
        self._smallest_lost = MAX_SIZE
        self._raise_at: float | None = None

    def for_new_path(self) -> "Pmtud":
        """The same settings, at the beginning of a search."""
        return Pmtud(self._start, self._limit if self._searching else None)

    def set_peer_limit(self, size: int) -> None:
        """The peer takes no larger datagrams (max_udp_payload_size, RFC 9000 §18.2)."""
        size = max(size, BASE_SIZE)
        self._start = min(self._start, size)
        self.size = min(self.size, size)
        self._limit = min(self._limit, size)
        self._too_large = min(self._too_large, self._limit + 1)

    def probe_size(self, now: float) -> int | None:
        """The size of the probe to send now; None if it is not time for one."""
        if self._probe is not None or self._full_acked < MIN_FULL_ACKED or not self._searching:
            return None
        candidate = self._candidate()
        if candidate is not None or self.size == self._limit:
            return candidate
        if self._raise_at is None:
            self._raise_at = now + RAISE_INTERVAL
        if now < self._raise_at:
            return None
        self._raise_at = None
        self._too_large = self._limit + 1
        return self._limit

    def on_probe_sent(self, size: int) -> None:
        """A probe of `size` bytes is on its way."""
        self._probe = size

    def on_probe_acked(self, size: int) -> None:
        """It arrived, so `size` is the datagram size from now on. Late is not too late."""
        self._end_probe(size)
        self._probe_losses = 0
        if self.size < size <= self._limit:
            self.size = size
            self._end_losses()
            self._too_large = max(self._too_large, size + 1)

    def on_probe_lost(self, size: int) -> None:
        """It was lost; the same size is tried again, for it may have been by chance."""
        self._end_probe(size)
        if size != self._candidate():
            return
        self._probe_losses += 1
        if self._probe_losses >= MAX_PROBES:
            self._probe_losses = 0
            self._too_large = size

    def on_large_acked(self, size: int, packets: int) -> None:
        """Packets of `size` bytes, BASE_SIZE or more, arrived."""
        if size == self.size:
            self._full_acked += packets
        if size >= self._smallest_lost:
            self._end_losses()

    def on_large_lost(self, size: int) -> None:
        """Larger ones were lost together, the smallest of `size` bytes, while packets sent later arrived."""
        self._large_losses += 1
        self._smallest_lost = min(self._smallest_lost, size)
        if self._large_losses >= BLACK_HOLE_LOSSES:
            self._fall_back()

    def on_pto(self, pto_count: int) -> None:
        """The PTO expired for the `pto_count`th time in a row: it may be the size that gets no answer."""
        if pto_count >= BLACK_HOLE_PTO_COUNT:
            self._fall_back()

    def resume(self) -> None:
        """The connection returns to this path, or goes on under another name for it."""
        self._probe = None

    def _candidate(self) -> int | None:
        """The size to try next, None when the search is complete."""
        hint, limit = self._hint, self._limit
        if hint is not None and self.size < hint < self._too_large:
            return hint
        if self.size < limit < self._too_large:
            return limit
        possible = self._too_large - 1 - self.size
        return self.size + (possible + 1) // 2 if possible >= MIN_GAIN else None

    def _end_probe(self, size: int) -> None:
        if self._probe == size:
            self._probe = None

    def _end_losses(self) -> None:
        self._large_losses = 0
        self._smallest_lost = MAX_SIZE

    def _fall_back(self) -> None:
        """RFC 8899 §5.2, black hole detected: the base size, and a search that tries the old one first."""
        if not self._searching or self.size <= BASE_SIZE:
            return
        self._hint = self.size
        self.size = BASE_SIZE
        self._full_acked = 0
        self._end_losses()
        self._probe_losses = 0
        self._raise_at = None
