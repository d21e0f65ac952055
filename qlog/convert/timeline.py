"""Sides of connections: who is who, which belong together, and how their clocks differ."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from qlog.convert.container import start_of
from qlog.model import Trace

# Packets of each side that are enough to tell how its clock differs from the other's.
_ALIGN = 5000

# Which file, which of its traces, which group of events.
Key = tuple[int, int, str]


@dataclass(slots=True, eq=False)
class Timeline:
    """One side of one connection: what tells its role and its clock.

    `sent_at` and `received_at` hold times of the first packets by type and number.
    """

    trace: Trace
    group_id: str
    file: str
    sent_at: dict[tuple[str, int], float] = field(default_factory=dict)
    received_at: dict[tuple[str, int], float] = field(default_factory=dict)
    first_rtt: float | None = None
    first_time: float | None = None
    guess: str = "unknown"

    @property
    def role(self) -> str:
        """client, server, network or unknown; guessed by who sent the first Initial if it is not told."""
        told = self.trace.vantage_point.type
        return self.guess if told == "unknown" else told

    @property
    def start(self) -> float | None:
        """The wall clock at time 0, ms since 1970."""
        return start_of(self.trace)

    def see(self, time: float, packet_type: str, number: int | None, *, sent: bool) -> None:
        """A packet was sent or received."""
        if packet_type == "initial" and self.guess == "unknown":
            self.guess = "client" if sent else "server"
        times = self.sent_at if sent else self.received_at
        if number is not None and len(times) < _ALIGN:
            times.setdefault((packet_type, number), time)


AnySide = TypeVar("AnySide", bound=Timeline)


def paired(sides: Iterable[AnySide]) -> list[tuple[AnySide, ...]]:
    """Clients with their servers: by connection, and the last two left because they are alone."""
    pairs: list[tuple[AnySide, ...]] = []
    left = list(sides)

    def match(fits: Callable[[AnySide, AnySide], bool]) -> None:
        for client in [side for side in left if side.role == "client"]:
            for server in [side for side in left if side.role == "server"]:
                if fits(client, server):
                    pairs.append((client, server))
                    left.remove(client)
                    left.remove(server)
                    break

    match(lambda client, server: client.group_id != "" and client.group_id == server.group_id)
    if Counter(side.role for side in left) == {"client": 1, "server": 1}:
        match(lambda _client, _server: True)
    return pairs + [(side,) for side in left]


def clock_shift(client: Timeline, server: Timeline) -> float:
    """What to add to the server's times to have them on the client's clock, in ms.

    The shortest ways in both directions are taken as equal. Without packets that both logged, by the wall
    clocks; without those, so that both begin together.
    """
    there = _shortest(client.sent_at, server.received_at)
    back = _shortest(server.sent_at, client.received_at)
    if there is not None and back is not None:
        return (back - there) / 2
    if client.start is not None and server.start is not None:
        return server.start - client.start
    return (client.first_time or 0.0) - (server.first_time or 0.0)


def _shortest(sent: dict[tuple[str, int], float], received: dict[tuple[str, int], float]) -> float | None:
    """The least that any packet seems to have taken."""
    return min((received[key] - time for key, time in sent.items() if key in received), default=None)
