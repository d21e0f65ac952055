"""The interop runner's networks as data, and its NAT. Times are seconds since the network's start."""

import random
from dataclasses import dataclass, replace
from typing import Final

from endpoint.batch import ECN_CE, ECN_NOT_ECT, Address
from endpoint.testing.link import RUNNER, Datagram, LinkProfile

# When the runner's NAT gives every flow a new source: at 1 s, 6 s, 11 s ...
REBIND_FIRST: Final = 1.0
REBIND_INTERVAL: Final = 5.0
# Hosts that it gives to clients: 193.167.0.1 to 193.167.0.254.
REBIND_PREFIX: Final = "193.167.0."

# The runner lets no more than three packets in a row fall.
_MERCY: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What happens to packets on their way; `up` leads to the server."""

    up: LinkProfile = RUNNER
    down: LinkProfile = RUNNER
    rebind_port: bool = False
    rebind_address: bool = False
    # When flows get a new source first, and how long they keep it.
    rebind_first: float = REBIND_FIRST
    rebind_interval: float = REBIND_INTERVAL
    # A TCP download takes its share of `down`.
    cross_traffic: bool = False

    @property
    def is_random(self) -> bool:
        """Packets are lost or damaged by chance, or arrive in another order than they were sent in."""
        return any(
            profile.loss or profile.corruption or profile.reordering or profile.duplication
            for profile in (self.up, self.down)
        )

    @property
    def damages(self) -> bool:
        """Packets are damaged by chance."""
        return bool(self.up.corruption or self.down.corruption)


def _both(profile: LinkProfile) -> Scenario:
    return Scenario(up=profile, down=profile)


SIMPLE: Final = Scenario()
LONG_RTT: Final = _both(replace(RUNNER, delay=0.75))
BLACKHOLE: Final = _both(replace(RUNNER, outages=((5.0, 7.0),)))
DROPLIST: Final = Scenario(up=replace(RUNNER, dropped_numbers=frozenset(range(2, 8))))
REBIND_PORT: Final = Scenario(rebind_port=True)
REBIND_ADDRESS: Final = Scenario(rebind_port=True, rebind_address=True)
CROSS_TRAFFIC: Final = Scenario(cross_traffic=True)
# From here on networks that the runner doesn't have. All marks are cleared; all that can be marked is marked.
ECN_BLEACHED: Final = _both(replace(RUNNER, ecn=(ECN_NOT_ECT,) * 4))
CE_STORM: Final = _both(replace(RUNNER, ecn=(ECN_NOT_ECT, ECN_CE, ECN_CE, ECN_CE)))
# RFC 9000 §14: IP packets of 1280 bytes are all that a path need carry. Nobody says when one is larger.
MTU_BLACKHOLE: Final = _both(replace(RUNNER, mtu=1252))
# The first datagram comes at 0.5 s; the server's first flight is on its way now.
REBIND_HANDSHAKE: Final = Scenario(rebind_port=True, rebind_first=0.525)
SHUFFLED: Final = _both(replace(RUNNER, duplication=0.05, reordering=0.1, reordering_delay=0.008))
ROUGH: Final = _both(replace(RUNNER, loss=0.01, reordering=0.05, reordering_delay=0.008))
LONG_QUEUE: Final = _both(replace(RUNNER, queue=833))


def drop_rate(probability: float) -> Scenario:
    """Each packet is lost with this probability, either way."""
    return _both(replace(RUNNER, loss=probability, max_losses_in_a_row=_MERCY))


def corrupt_rate(probability: float) -> Scenario:
    """Each packet has one of its first bytes damaged with this probability, either way, and arrives."""
    return _both(replace(RUNNER, corruption=probability))


class Nat:
    """Source addresses of clients behind a translator that forgets them every now and then.

    It acts where packets arrive: what is on its way when a flow is bound anew goes out under the new
    source, and what comes back for an old one is lost. Only IPv4 is translated.
    """

    def __init__(self, scenario: Scenario, rng: random.Random) -> None:
        self._active = scenario.rebind_port
        self._new_address = scenario.rebind_address
        self._first = scenario.rebind_first
        self._interval = scenario.rebind_interval
        self._random = rng
        self._period = 0
        self._outside: dict[Address, Address] = {}
        self._inside: dict[Address, Address] = {}

    def outwards(self, datagram: Datagram, now: float) -> Datagram:
        """What the server sees of a client's datagram."""
        if not self._translates(datagram):
            return datagram
        self._rebind(now)
        outside = self._outside.get(datagram.source)
        if outside is None:
            outside = self._bind(datagram.source)
        return replace(datagram, source=outside)

    def inwards(self, datagram: Datagram, now: float) -> Datagram | None:
        """What the client sees of a server's datagram; None if its destination is nobody's any more."""
        if not self._translates(datagram):
            return datagram
        self._rebind(now)
        inside = self._inside.get(datagram.destination)
        return None if inside is None else replace(datagram, destination=inside)

    def _translates(self, datagram: Datagram) -> bool:
        return self._active and ":" not in datagram.source[0]

    def _rebind(self, now: float) -> None:
        period = int((now - self._first) // self._interval) + 1
        if period <= self._period:
            return
        self._period = period
        self._inside.clear()
        for inside in self._outside:
            self._bind(inside)

    def _bind(self, inside: Address) -> Address:
        """A new flow keeps its source until the first rebinding that it lives to see."""
        outside = inside
        if inside in self._outside:
            host = f"{REBIND_PREFIX}{self._random.randint(1, 254)}" if self._new_address else inside[0]
            outside = (host, self._random.randint(1, 65535))
        self._outside[inside] = outside
        self._inside[outside] = inside
        return outside
