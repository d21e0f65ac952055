"""The deadlines of a connection that belong to no part of it: idle, handshake, keep-alive, close.

Loss detection, delayed ACKs and pacing compute theirs themselves; `Connection.next_timeout` takes
the earliest.
"""

from enum import IntEnum
from math import inf


class Timer(IntEnum):
    """One value per deadline."""

    IDLE = 0  # RFC 9000 §10.1
    HANDSHAKE = 1  # RFC 9000 has none; without one a half-open connection would live on probes
    KEEP_ALIVE = 2  # RFC 9000 §10.1.2
    CLOSE = 3  # RFC 9000 §10.2: the end of closing or draining
    SILENCE = 4  # a peer that was sending has stopped: see `Lifetime.on_heard`


class Timers:
    """A table of deadlines, seconds on the caller's clock; None is not armed."""

    __slots__ = ("_at",)

    def __init__(self) -> None:
        # Infinite while not armed, so that the earliest is simply the least.
        self._at = [inf] * len(Timer)

    def set(self, timer: Timer, at: float | None) -> None:
        """Arm `timer`, or stop it with None."""
        self._at[timer] = inf if at is None else at

    def get(self, timer: Timer) -> float | None:
        """The deadline of `timer`."""
        at = self._at[timer]
        return None if at == inf else at

    def clear(self) -> None:
        """Stop them all."""
        self._at = [inf] * len(Timer)

    def next(self) -> float | None:
        """The earliest deadline."""
        at = min(self._at)
        return None if at == inf else at

    def expired(self, now: float) -> list[Timer]:
        """Those that are due; each is stopped by this call."""
        due = [timer for timer in Timer if self._at[timer] <= now]
        for timer in due:
            self._at[timer] = inf
        return due
