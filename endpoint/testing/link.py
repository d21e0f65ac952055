"""A network in virtual time: two one-way links between a client and a server, and a NAT before the client.

Nothing here waits. A link is given datagrams and the time they were sent, and later asked for those that
have arrived. Everything random comes from one seed, so a run can be repeated exactly.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from endpoint.batch import ECN_CE, ECN_ECT_0, ECN_ECT_1, ECN_NOT_ECT, Address

CLIENT_ADDRESS: Address = ("192.0.2.1", 50000)
SERVER_ADDRESS: Address = ("198.51.100.1", 443)

# What the interop runner's damaging link touches: one byte among these of the UDP payload.
CORRUPTED_PREFIX = 51


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP payload on its way. `ecn` is the ECN field of its IP header."""

    data: bytes
    source: Address
    destination: Address
    ecn: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkProfile:
    """How one direction behaves. Times are seconds, probabilities 0..1, sizes bytes of UDP payload.

    The queue comes first, then the delay, and the errors act at the far end, in the order of arrival.
    """

    delay: float = 0.015
    # Evenly distributed extra delay; datagrams overtake each other.
    jitter: float = 0.0
    # Probability that a datagram is held back by `reordering_delay`.
    reordering: float = 0.0
    reordering_delay: float = 0.01
    loss: float = 0.0
    # The interop runner never drops more than 3 in a row; None: no such mercy.
    max_losses_in_a_row: int | None = None
    duplication: float = 0.0
    corruption: float = 0.0
    # Larger datagrams vanish.
    mtu: int = 65507
    # Bit/s; None: no serialisation time and no queue.
    bandwidth: float | None = None
    # How many datagrams may wait besides the one being sent; None: any number.
    queue: int | None = None
    # With what ECN field each of the four leaves; None: such datagrams vanish.
    ecn: tuple[int | None, int | None, int | None, int | None] = (ECN_NOT_ECT, ECN_ECT_1, ECN_ECT_0, ECN_CE)
    # The queue marks what is ECN-capable, instead of what it would do later, while so many wait.
    marking_queue: int | None = None
    # What a datagram costs of the bandwidth besides its payload: IPv4, UDP and 2 bytes of link header.
    overhead: int = 30
    # Periods (from, to) in which everything that arrives is lost.
    outages: tuple[tuple[float, float], ...] = ()
    # The first to arrive is number 1.
    dropped_numbers: frozenset[int] = frozenset()

    def clean(self) -> "LinkProfile":
        """The same link without random errors."""
        return replace(self, jitter=0.0, reordering=0.0, loss=0.0, duplication=0.0, corruption=0.0)


# The base network of the interop runner. Its queue holds 25 and its device one more.
RUNNER = LinkProfile(delay=0.015, bandwidth=10e6, queue=26, mtu=1472)


@dataclass(slots=True)
class LinkStatistics:
    """Datagrams by fate, and the bytes of UDP payload that were delivered."""

    sent: int = 0
    delivered: int = 0
    delivered_bytes: int = 0
    too_large: int = 0
    overflowed: int = 0
    lost: int = 0
    duplicated: int = 0
    corrupted: int = 0
    # Datagrams that the queue marked, and how many were sent with each ECN field.
    marked: int = 0
    ecn: list[int] = field(default_factory=lambda: [0] * 4)


class Link:
    """One direction."""

    __slots__ = ("_arrivals", "_arrived", "_busy_until", "_departures", "_losses_in_a_row", "_order",
                 "_random", "profile", "statistics")  # fmt: skip

    def __init__(self, profile: LinkProfile, rng: random.Random) -> None:
        self.profile = profile
        self.statistics = LinkStatistics()
        self._random = rng
        self._arrivals: list[tuple[float, int, Datagram]] = []
        self._order = 0
        self._departures: deque[float] = deque()
        self._busy_until = 0.0
        self._arrived = 0
        self._losses_in_a_row = 0

    def send(self, datagram: Datagram, now: float) -> None:
        """Put a datagram on the link."""
        profile, statistics = self.profile, self.statistics
        statistics.sent += 1
        statistics.ecn[datagram.ecn] += 1
        ecn = profile.ecn[datagram.ecn]
        if ecn is None:
            statistics.lost += 1
            return
        if ecn != datagram.ecn:
            datagram = replace(datagram, ecn=ecn)
        if len(datagram.data) > profile.mtu:
            statistics.too_large += 1
            return
        departure = now
        if profile.bandwidth is not None:
            departures = self._departures
            while departures and departures[0] <= now:
                departures.popleft()
            if profile.queue is not None and len(departures) > profile.queue:
                statistics.overflowed += 1
                return
            marking = profile.marking_queue is not None and len(departures) > profile.marking_queue
            if marking and datagram.ecn != ECN_NOT_ECT:
                statistics.marked += 1
                datagram = replace(datagram, ecn=ECN_CE)
            bits = 8 * (len(datagram.data) + profile.overhead)
            departure = max(now, self._busy_until) + bits / profile.bandwidth
            self._busy_until = departure
            departures.append(departure)
        arrival = departure + profile.delay
        if profile.jitter:
            arrival += self._random.uniform(0.0, profile.jitter)
        if self._chance(profile.reordering):
            arrival += profile.reordering_delay
        self._push(arrival, datagram)

    def next_arrival(self) -> float | None:
        """When the next datagram reaches the far end; it may still fall to an error there."""
        return self._arrivals[0][0] if self._arrivals else None

    def take(self, now: float) -> list[Datagram]:
        """What has arrived by now and survived, in order."""
        survivors: list[Datagram] = []
        while self._arrivals and self._arrivals[0][0] <= now:
            time, _, datagram = heapq.heappop(self._arrivals)
            self._arrived += 1
            if self._is_lost(time):
                self.statistics.lost += 1
                continue
            if self._chance(self.profile.corruption):
                datagram = self._corrupt(datagram)
            survivors.append(datagram)
            if self._chance(self.profile.duplication):
                self.statistics.duplicated += 1
                survivors.append(datagram)
        self.statistics.delivered += len(survivors)
        self.statistics.delivered_bytes += sum(len(datagram.data) for datagram in survivors)
        return survivors

    def _push(self, arrival: float, datagram: Datagram) -> None:
        self._order += 1
        heapq.heappush(self._arrivals, (arrival, self._order, datagram))

    def _chance(self, probability: float) -> bool:
        return probability > 0.0 and self._random.random() < probability

    def _is_lost(self, time: float) -> bool:
        profile = self.profile
        if self._arrived in profile.dropped_numbers:
            return True
        if any(start <= time < end for start, end in profile.outages):
            return True
        if self._losses_in_a_row != profile.max_losses_in_a_row and self._chance(profile.loss):
            self._losses_in_a_row += 1
            return True
        self._losses_in_a_row = 0
        return False

    def _corrupt(self, datagram: Datagram) -> Datagram:
        if datagram.data[1:5] == bytes(4):  # Version Negotiation; it has no protection at all
            return datagram
        self.statistics.corrupted += 1
        data = bytearray(datagram.data)
        position = self._random.randrange(min(len(data), CORRUPTED_PREFIX))
        data[position] ^= self._random.randrange(1, 256)
        return replace(datagram, data=bytes(data))


@dataclass(frozen=True, slots=True)
class Captured:
    """A datagram as its sender handed it over, but with the client's address as the server sees it."""

    time: float
    from_client: bool
    data: bytes
    source: Address
    destination: Address


@dataclass(slots=True)
class Network:
    """Two links and the NAT. Build it with `make_network`.

    `rebindings` are (time, address): from then on the server sees the client at that address, and what is
    sent to an earlier one is lost, also what is on its way. The client can't notice. Of other addresses
    that the client sends from the NAT knows nothing: they are routed as they are.

    `meddle_up` and `meddle_down` are somebody on the way: they get each datagram behind the NAT and say
    what goes on the link in its place.
    """

    up: Link
    down: Link
    rebindings: Sequence[tuple[float, Address]] = ()
    captured: list[Captured] = field(default_factory=list)
    meddle_up: Callable[[Datagram], list[Datagram]] = lambda datagram: [datagram]
    meddle_down: Callable[[Datagram], list[Datagram]] = lambda datagram: [datagram]
    _routed: set[Address] = field(default_factory=set)

    def client_sends(self, datagram: Datagram, now: float) -> None:
        """Take a datagram from the client's socket, or from another one that it has."""
        if datagram.source == CLIENT_ADDRESS:
            datagram = replace(datagram, source=self.public_address(now))
        else:
            self._routed.add(datagram.source)
        self.captured.append(Captured(now, True, datagram.data, datagram.source, datagram.destination))
        for sent in self.meddle_up(datagram):
            self.up.send(sent, now)

    def server_sends(self, datagram: Datagram, now: float) -> None:
        """Take a datagram from the server's socket."""
        self.captured.append(Captured(now, False, datagram.data, datagram.source, datagram.destination))
        for sent in self.meddle_down(datagram):
            self.down.send(sent, now)

    def at_server(self, now: float) -> list[Datagram]:
        """What the server's socket has to give by now."""
        return self.up.take(now)

    def at_client(self, now: float) -> list[Datagram]:
        """What the client's socket has to give by now."""
        public = self.public_address(now)
        arrived: list[Datagram] = []
        for datagram in self.down.take(now):
            if datagram.destination == public:
                arrived.append(replace(datagram, destination=CLIENT_ADDRESS))
            elif datagram.destination in self._routed:
                arrived.append(datagram)
        return arrived

    def next_arrival(self) -> float | None:
        """When anything happens next on either link."""
        times = [time for time in (self.up.next_arrival(), self.down.next_arrival()) if time is not None]
        return min(times, default=None)

    def public_address(self, now: float) -> Address:
        """Where the server sees the client now."""
        address = CLIENT_ADDRESS
        for time, new in self.rebindings:
            if time <= now:
                address = new
        return address


def make_network(
    up: LinkProfile,
    down: LinkProfile | None = None,
    *,
    seed: int,
    rebindings: Sequence[tuple[float, Address]] = (),
) -> Network:
    """A network of two links, `down` like `up` unless told, each with its own stream of random numbers."""
    source = random.Random(seed)  # noqa: S311 - a simulation has to be repeatable, not secret
    # The links must not share a generator: then a datagram more one way would change the other way's fate.
    links = [Link(profile, random.Random(source.getrandbits(64))) for profile in (up, down or up)]  # noqa: S311
    return Network(links[0], links[1], tuple(rebindings))
