"""Which stream sends next: RFC 9218 urgency and incremental, one run of packets per turn."""

from collections import OrderedDict
from heapq import heapify, heappop, heappush
from typing import Generic, Protocol, TypeVar

URGENCIES = 8
# RFC 9218 §4.1.
DEFAULT_URGENCY = 3
# How many ids of inactive streams may pile up behind one that sends for long.
MAX_STALE = 64


class Schedulable(Protocol):
    """What the scheduler has to know about a stream. Deactivate a stream before its priority changes."""

    @property
    def stream_id(self) -> int: ...
    @property
    def urgency(self) -> int: ...
    @property
    def incremental(self) -> bool: ...


S = TypeVar("S", bound=Schedulable)


class _UrgencyLevel(Generic[S]):
    """The active streams of one urgency.

    Incremental streams take turns. Of the others only the one with the lowest id is served, until it
    has nothing left (RFC 9218 §4.2 and §10). Where there are both kinds, turns alternate between the
    two, so that neither a long download nor a crowd of small ones shuts the other out.
    """

    __slots__ = ("_queued", "order", "ring", "sequential", "sequential_turn")

    def __init__(self) -> None:
        self.ring: OrderedDict[int, S] = OrderedDict()
        self.sequential: dict[int, S] = {}
        # A heap of stream ids. A stream that became inactive stays until it comes to the front.
        self.order: list[int] = []
        self._queued: set[int] = set()
        self.sequential_turn = True

    def __bool__(self) -> bool:
        return bool(self.ring or self.sequential)

    def add_sequential(self, stream: S) -> None:
        stream_id = stream.stream_id
        self.sequential[stream_id] = stream
        if stream_id not in self._queued:
            self._queued.add(stream_id)
            heappush(self.order, stream_id)

    def remove(self, stream_id: int) -> bool:
        if self.sequential.pop(stream_id, None) is None:
            return self.ring.pop(stream_id, None) is not None
        if self.order[0] == stream_id:
            heappop(self.order)
            self._queued.discard(stream_id)
        elif len(self.order) > 2 * len(self.sequential) + MAX_STALE:
            self.order = list(self.sequential)
            heapify(self.order)
            self._queued = set(self.order)
        return True

    def first_in_order(self) -> S:
        """The sequential stream to serve; there must be one."""
        while self.order[0] not in self.sequential:
            self._queued.discard(heappop(self.order))
        return self.sequential[self.order[0]]


class Scheduler(Generic[S]):
    """The streams that have something to send. Every operation is O(log n) or better.

    Bit u of `used` is set while there are active streams of urgency u.
    """

    __slots__ = ("_levels", "used")

    def __init__(self) -> None:
        # Made when first used: most connections have streams of one urgency only.
        self._levels: list[_UrgencyLevel[S] | None] = [None] * URGENCIES
        self.used = 0

    def __bool__(self) -> bool:
        return self.used != 0

    def activate(self, stream: S) -> None:
        """The stream has something to send. Nothing changes if it is active already."""
        urgency = stream.urgency
        level = self._levels[urgency]
        if level is None:
            level = self._levels[urgency] = _UrgencyLevel()
        if stream.incremental:
            level.ring.setdefault(stream.stream_id, stream)
        else:
            level.add_sequential(stream)
        self.used |= 1 << urgency

    def deactivate(self, stream: S) -> bool:
        """The stream has nothing to send; whether it was active."""
        urgency = stream.urgency
        level = self._levels[urgency]
        if level is None or not level.remove(stream.stream_id):
            return False
        if not level:
            self.used &= ~(1 << urgency)
        return True

    def next(self) -> S | None:
        """The stream whose turn it is, None if there is none; the same one until its turn ends."""
        used = self.used
        if not used:
            return None
        level = self._levels[(used & -used).bit_length() - 1]
        assert level is not None
        if level.sequential and (level.sequential_turn or not level.ring):
            stream = level.sequential.get(level.order[0])
            return level.first_in_order() if stream is None else stream
        return next(iter(level.ring.values()))

    def finish_turn(self, stream: S) -> None:
        """The stream has sent all that it had: its turn ends, and it is active no more."""
        urgency = stream.urgency
        level = self._levels[urgency]
        if level is None:
            return
        if level.sequential:
            level.sequential_turn = stream.stream_id not in level.sequential
            level.remove(stream.stream_id)
            if level.sequential:
                return
        else:
            level.sequential_turn = True
            level.ring.pop(stream.stream_id, None)
        if not level.ring:
            self.used &= ~(1 << urgency)

    def end_turn(self, stream: S) -> None:
        """The stream has sent something: next time it is another's turn, if there is another."""
        level = self._levels[stream.urgency]
        if level is not None:
            stream_id = stream.stream_id
            level.sequential_turn = stream_id not in level.sequential
            if stream_id in level.ring:
                level.ring.move_to_end(stream_id)
