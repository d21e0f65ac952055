"""The simulated network between two hosts, without sockets and clock: what every carrier moves packets by.

The same seed and the same datagrams at the same times have the same fate, whoever carries them.
"""

import random
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from endpoint.testing.link import Datagram, Link
from interop.simnet import packets
from interop.simnet.cross_traffic import CrossTraffic
from interop.simnet.impairments import Nat, Scenario
from interop.simnet.pcap import PcapWriter

LEFT: Final = "trace_node_left.pcapng"
RIGHT: Final = "trace_node_right.pcapng"


class Delivery(NamedTuple):
    """What arrives, and the IP packet that it is."""

    datagram: Datagram
    packet: bytes


class Network:
    """Two links, the client's NAT and the captures; a context manager that makes these complete.

    `directory` gets the captures `LEFT`, at the client, and `RIGHT`, at the server. A client's packets are in
    the left one as sent and in the right one as they arrive; a server's the other way round. Times are
    seconds on the network's clock and never go back.
    """

    def __init__(self, scenario: Scenario, directory: Path, *, seed: int) -> None:
        source = random.Random(seed)  # noqa: S311 - a simulation has to be repeatable, not secret
        # The links must not share a generator: one packet more each way would change the other way's fate.
        up_random, down_random, nat_random = (random.Random(source.getrandbits(64)) for _ in range(3))  # noqa: S311
        self.up = Link(scenario.up, up_random)
        self.down = Link(scenario.down, down_random)
        self._nat = Nat(scenario, nat_random)
        self._cross = CrossTraffic(self.down, self.up) if scenario.cross_traffic else None
        self._left = PcapWriter(directory / LEFT, "left")
        self._right = PcapWriter(directory / RIGHT, "right")
        # Whether what comes for the server waits where it is, as before a link that is down.
        self.server_is_away = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._left.close()
        self._right.close()

    def client_sends(self, datagram: Datagram, now: float) -> None:
        """Take what the client has sent."""
        self._left.write(packets.encode(datagram), now)
        self.up.send(datagram, now)

    def server_sends(self, datagram: Datagram, now: float) -> None:
        """Take what the server has sent."""
        self._right.write(packets.encode(datagram), now)
        self.down.send(datagram, now)

    def next_event(self) -> float | None:
        """When `deliver` has something to do again; None: not before somebody sends."""
        times = [self.down.next_arrival()]
        if not self.server_is_away:
            times.append(self.up.next_arrival())
        if self._cross is not None:
            times.append(self._cross.next_event())
        return min((time for time in times if time is not None), default=None)

    def deliver(self, now: float) -> tuple[list[Delivery], list[Delivery]]:
        """What arrives by now: at the server, and at the client."""
        arrived_up = [] if self.server_is_away else self.up.take(now)
        arrived_down = self.down.take(now)
        if self._cross is not None:
            arrived_up, arrived_down = self._cross.sift(arrived_up, arrived_down, now)
        outside = [self._nat.outwards(datagram, now) for datagram in arrived_up]
        inside = [self._nat.inwards(datagram, now) for datagram in arrived_down]
        at_server = [Delivery(datagram, packets.encode(datagram)) for datagram in outside]
        at_client = [Delivery(datagram, packets.encode(datagram)) for datagram in inside if datagram]
        for delivery in at_server:
            self._right.write(delivery.packet, now)
        for delivery in at_client:
            self._left.write(delivery.packet, now)
        return at_server, at_client
