"""The runner's networks and its NAT."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from endpoint.testing.link import Datagram, Link
from interop.simnet.impairments import (
    BLACKHOLE,
    DROPLIST,
    REBIND_ADDRESS,
    REBIND_PORT,
    SIMPLE,
    Nat,
    Scenario,
    corrupt_rate,
    drop_rate,
)

CLIENT = ("193.167.0.100", 40000)
SERVER = ("193.167.100.100", 443)
REQUEST = Datagram(b"request", CLIENT, SERVER)


def answer(request: Datagram) -> Datagram:
    return Datagram(b"answer", request.destination, request.source)


def arrivals(scenario: Scenario, count: int, interval: float) -> list[int]:
    """Which of that many datagrams to the server arrive."""
    link = Link(scenario.up, random.Random(1))
    arrived = []
    for index in range(count):
        link.send(replace(REQUEST, data=index.to_bytes(8)), index * interval)
        arrived += link.take(index * interval)
    arrived += link.take(count * interval + 10)
    return [int.from_bytes(datagram.data) for datagram in arrived]


def test_a_burst_of_27_fits_into_the_queue() -> None:
    assert arrivals(SIMPLE, 40, 0.0) == list(range(27))


def test_blackhole() -> None:
    """What would arrive from 5 s to 7 s is lost; the way takes a little more than 15 ms."""
    lost = set(range(100)) - set(arrivals(BLACKHOLE, 100, 0.1))
    assert lost == set(range(50, 70))


def test_droplist() -> None:
    assert arrivals(DROPLIST, 10, 0.1) == [0, 7, 8, 9]
    assert DROPLIST.down == SIMPLE.down


def test_drop_rate() -> None:
    """Never more than three in a row, which makes 29.4 % of 30 %."""
    arrived = arrivals(drop_rate(0.3), 20000, 0.01)
    assert len(arrived) == pytest.approx(20000 * (1 - 0.294), rel=0.02)
    assert max(second - first for first, second in pairwise(arrived)) == 4


@pytest.mark.parametrize(
    ("scenario", "random"),
    [(SIMPLE, False), (BLACKHOLE, False), (drop_rate(0.02), True), (corrupt_rate(0.02), True)],
)
def test_is_random(scenario: Scenario, random: bool) -> None:
    assert scenario.is_random is random


def test_no_translation_without_rebinding() -> None:
    nat = Nat(SIMPLE, random.Random(1))
    assert nat.outwards(REQUEST, 7.0) is REQUEST
    reply = answer(REQUEST)
    assert nat.inwards(reply, 7.0) is reply


def test_rebinding_of_ports() -> None:
    nat = Nat(REBIND_PORT, random.Random(1))
    seen = [nat.outwards(REQUEST, now) for now in (0.0, 0.999, 1.0, 5.9, 6.0, 11.0)]
    assert seen[0] == seen[1] == REQUEST
    assert seen[2] == seen[3]
    assert len({datagram.source for datagram in seen}) == 4
    assert {datagram.source[0] for datagram in seen} == {CLIENT[0]}
    assert {datagram.destination for datagram in seen} == {SERVER}


def test_rebinding_of_addresses() -> None:
    nat = Nat(REBIND_ADDRESS, random.Random(1))
    seen = [nat.outwards(REQUEST, now) for now in (0.0, 1.0, 6.0)]
    hosts = [datagram.source[0] for datagram in seen]
    assert hosts[0] == CLIENT[0]
    assert len(set(hosts)) == 3
    assert all(host.startswith("193.167.0.") for host in hosts)


def test_answers_to_the_old_port_are_lost_at_once() -> None:
    nat = Nat(REBIND_PORT, random.Random(1))
    old = nat.outwards(REQUEST, 0.9)
    inside = nat.inwards(answer(old), 0.99)
    assert inside is not None
    assert inside.destination == CLIENT
    # Nothing of the client has come since: the clock alone rebinds.
    assert nat.inwards(answer(old), 1.0) is None
    new = nat.outwards(REQUEST, 1.01)
    inside = nat.inwards(answer(new), 1.02)
    assert inside is not None
    assert inside.destination == CLIENT
    assert nat.inwards(answer(old), 1.03) is None


def test_flows_are_apart() -> None:
    nat = Nat(REBIND_PORT, random.Random(1))
    other = replace(REQUEST, source=(CLIENT[0], 40001))
    for request in (REQUEST, other):
        nat.outwards(request, 0.5)
    seen = {request.source: nat.outwards(request, 1.5) for request in (REQUEST, other)}
    for inside, request in seen.items():
        back = nat.inwards(answer(request), 1.6)
        assert back is not None
        assert back.destination == inside


def test_ipv6_is_not_translated() -> None:
    nat = Nat(REBIND_ADDRESS, random.Random(1))
    request = Datagram(b"request", ("fd00:cafe:cafe::100", 1), ("fd00:cafe:cafe:100::100", 443))
    assert nat.outwards(request, 1.5) is request
