"""The simulated network: exact in virtual time, repeatable by seed, and captured."""

from dataclasses import replace
from pathlib import Path

import pytest

from endpoint.batch import ECN_CE, ECN_ECT_0, ECN_NOT_ECT
from endpoint.testing.link import RUNNER, Datagram
from interop.dissect.container import read_frames
from interop.simnet import impairments
from interop.simnet.impairments import Scenario, drop_rate
from interop.simnet.network import LEFT, RIGHT, Network

CLIENT = ("193.167.0.100", 40000)
SERVER = ("193.167.100.100", 443)


def request(size: int = 1222, ecn: int = ECN_NOT_ECT, number: int = 0) -> Datagram:
    """On the link, with the headers of IP and UDP and 2 bytes more, 1250 bytes: a millisecond."""
    return Datagram(number.to_bytes(4) + bytes(size - 4), CLIENT, SERVER, ecn)


def play(network: Network, until: float) -> list[tuple[float, Datagram]]:
    """What arrives at the server, and when; every event at its exact time."""
    arrived = []
    while (now := network.next_event()) is not None and now <= until:
        at_server, _ = network.deliver(now)
        arrived += [(now, delivery.datagram) for delivery in at_server]
    return arrived


def test_delay_and_bandwidth_are_exact(tmp_path: Path) -> None:
    with Network(impairments.SIMPLE, tmp_path, seed=1) as network:
        for number in range(20):
            network.client_sends(request(1220, number=number), 0.0)
        times = [time for time, _ in play(network, 1.0)]
    assert times == pytest.approx([0.015 + (number + 1) * 1e-3 for number in range(20)], abs=1e-9)


def test_the_queue_drops_its_tail(tmp_path: Path) -> None:
    with Network(impairments.SIMPLE, tmp_path, seed=1) as network:
        for number in range(40):
            network.client_sends(request(number=number), 0.0)
        arrived = [int.from_bytes(datagram.data[:4]) for _, datagram in play(network, 1.0)]
        assert arrived == list(range(27))
        assert network.up.statistics.overflowed == 13


def test_what_comes_for_a_server_that_is_away_waits(tmp_path: Path) -> None:
    with Network(impairments.SIMPLE, tmp_path, seed=1) as network:
        network.client_sends(request(number=1), 0.0)
        network.server_is_away = True
        assert network.next_event() is None
        assert network.deliver(1.0) == ([], [])
        network.server_is_away = False
        assert [delivery.datagram for delivery in network.deliver(2.0)[0]] == [request(number=1)]
    ((arrival, _),) = ((frame.time, frame) for frame in read_frames(tmp_path / RIGHT))
    assert arrival == 2_000_000_000


@pytest.mark.parametrize(
    "scenario",
    [drop_rate(0.3), impairments.SHUFFLED, impairments.ROUGH, impairments.corrupt_rate(0.3)],
    ids=["loss", "shuffled", "rough", "corruption"],
)
def test_the_same_seed_means_the_same_fate(tmp_path: Path, scenario: Scenario) -> None:
    def run(seed: int) -> list[tuple[float, Datagram]]:
        with Network(scenario, tmp_path, seed=seed) as network:
            for number in range(500):
                network.client_sends(request(number=number), number * 0.002)
            return play(network, 10.0)

    first = run(7)
    assert first == run(7)
    assert first != run(8)


def test_traffic_one_way_does_not_change_the_other(tmp_path: Path) -> None:
    def run(answers: int) -> list[tuple[float, Datagram]]:
        with Network(drop_rate(0.3), tmp_path, seed=3) as network:
            for number in range(answers):
                network.server_sends(Datagram(b"answer", SERVER, CLIENT), number * 0.002)
            for number in range(200):
                network.client_sends(request(number=number), number * 0.002)
            return play(network, 10.0)

    assert [datagram for _, datagram in run(0)] == [datagram for _, datagram in run(150)]


def test_marks(tmp_path: Path) -> None:
    def mark(scenario: Scenario, sent: int) -> int:
        with Network(scenario, tmp_path, seed=1) as network:
            network.client_sends(request(ecn=sent), 0.0)
            ((_, datagram),) = play(network, 1.0)
            return datagram.ecn

    assert mark(impairments.SIMPLE, ECN_ECT_0) == ECN_ECT_0
    assert mark(impairments.ECN_BLEACHED, ECN_ECT_0) == ECN_NOT_ECT
    assert mark(impairments.CE_STORM, ECN_ECT_0) == ECN_CE
    assert mark(impairments.CE_STORM, ECN_NOT_ECT) == ECN_NOT_ECT


def test_what_is_too_large_vanishes(tmp_path: Path) -> None:
    with Network(impairments.MTU_BLACKHOLE, tmp_path, seed=1) as network:
        for size in (1252, 1253, 1200):
            network.client_sends(request(size), 0.0)
        assert [len(datagram.data) for _, datagram in play(network, 1.0)] == [1252, 1200]


def test_a_rebinding_in_the_handshake(tmp_path: Path) -> None:
    with Network(impairments.REBIND_HANDSHAKE, tmp_path, seed=1) as network:
        for time in (0.5, 0.55):
            network.client_sends(request(), time)
        (_, before), (_, after) = play(network, 1.0)
        assert before.source == CLIENT
        assert after.source != CLIENT
        network.server_sends(Datagram(b"late", SERVER, CLIENT), 0.6)
        network.server_sends(Datagram(b"answer", SERVER, after.source), 0.6)
        _, at_client = network.deliver(0.7)
        assert [delivery.datagram for delivery in at_client] == [Datagram(b"answer", SERVER, CLIENT)]


def test_captures_show_what_each_side_sees(tmp_path: Path) -> None:
    scenario = Scenario(up=replace(RUNNER, dropped_numbers=frozenset({1})))
    with Network(scenario, tmp_path, seed=1) as network:
        for number in range(2):
            network.client_sends(request(number=number), 0.25)
        play(network, 1.0)
    left, right = (list(read_frames(tmp_path / name)) for name in (LEFT, RIGHT))
    assert (len(left), len(right)) == (2, 1)
    assert [frame.time for frame in left] == [250_000_000] * 2
    assert right[0].time == pytest.approx(250_000_000 + 15_000_000 + 2 * 1_001_600, abs=2)


def test_cross_traffic_takes_what_is_free_and_shares(tmp_path: Path) -> None:
    """Alone it fills the link; beside a stream of 5 Mbit/s it leaves that most of what it asks for."""
    with Network(impairments.CROSS_TRAFFIC, tmp_path, seed=1) as network:
        play(network, 10.0)
        alone = network.down.statistics.delivered_bytes
    assert 8 * alone / 10 / 10e6 == pytest.approx(0.95, abs=0.05)
    with Network(impairments.CROSS_TRAFFIC, tmp_path, seed=1) as network:
        arrived = 0
        for number in range(5000):
            network.server_sends(Datagram(bytes(1222), SERVER, CLIENT), number * 0.002)
            while (event := network.next_event()) is not None and event <= number * 0.002:
                arrived += len(network.deliver(event)[1])
        assert network.down.statistics.overflowed > 0
    assert arrived > 0.8 * 5000
