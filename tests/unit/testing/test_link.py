"""The simulated network does to datagrams what its profile says, and the same again for the same seed."""

import itertools

import pytest

from endpoint.testing.link import (
    CLIENT_ADDRESS,
    RUNNER,
    SERVER_ADDRESS,
    Datagram,
    LinkProfile,
    Network,
    make_network,
)


def datagram(data: bytes) -> Datagram:
    return Datagram(data, CLIENT_ADDRESS, SERVER_ADDRESS)


def arrivals(network: Network, until: float = 1e9) -> list[tuple[float, bytes]]:
    """Everything that reaches the server by `until`, with its time."""
    result = []
    while (time := network.next_arrival()) is not None and time <= until:
        result += [(time, arrived.data) for arrived in network.at_server(time)]
    return result


def send_numbered(profile: LinkProfile, count: int, *, interval: float, seed: int = 1) -> Network:
    network = make_network(profile, seed=seed)
    for number in range(count):
        network.client_sends(datagram(number.to_bytes(4) + bytes([7] * 96)), number * interval)
    return network


def test_delay() -> None:
    network = send_numbered(LinkProfile(delay=0.25), 2, interval=1.0)
    assert [time for time, _ in arrivals(network)] == [0.25, 1.25]


def test_nothing_arrives_early() -> None:
    network = send_numbered(LinkProfile(delay=0.25), 1, interval=1.0)
    assert network.at_server(0.2499) == []
    assert len(network.at_server(0.25)) == 1


def test_bandwidth_is_serialisation_time() -> None:
    # 100 bytes + 30 of headers at 1040 bit/s: one second each, one behind the other.
    network = send_numbered(LinkProfile(delay=0.0, bandwidth=1040.0), 3, interval=0.0)
    assert [time for time, _ in arrivals(network)] == pytest.approx([1.0, 2.0, 3.0])


def test_burst_of_28_overflows_the_runners_queue() -> None:
    network = send_numbered(RUNNER, 30, interval=0.0)
    assert len(arrivals(network)) == 27
    assert network.up.statistics.overflowed == 3


def test_queue_drains() -> None:
    profile = LinkProfile(delay=0.0, bandwidth=1040.0, queue=0)
    network = send_numbered(profile, 4, interval=0.5)  # sent at 0, 0.5, 1, 1.5; the link is busy 0-1, 1-2
    assert [data[3] for _, data in arrivals(network)] == [0, 2]


def test_mtu() -> None:
    network = make_network(LinkProfile(mtu=1200), seed=1)
    network.client_sends(datagram(bytes([1]) * 1201), 0.0)
    network.client_sends(datagram(bytes([2]) * 1200), 0.0)
    assert [data[0] for _, data in arrivals(network)] == [2]
    assert network.up.statistics.too_large == 1


def test_loss_rate() -> None:
    network = send_numbered(LinkProfile(loss=0.3), 10_000, interval=0.001)
    # Standard deviation 46.
    assert 2770 < network.up.statistics.sent - len(arrivals(network)) < 3230


def test_losses_in_a_row_are_bounded() -> None:
    network = send_numbered(LinkProfile(loss=0.9, max_losses_in_a_row=3), 1000, interval=0.001)
    numbers = [int.from_bytes(data[:4]) for _, data in arrivals(network)]
    gaps = {after - before - 1 for before, after in itertools.pairwise(numbers)}
    assert max(gaps) == 3


def test_corruption_changes_one_byte_of_the_first_51() -> None:
    network = send_numbered(LinkProfile(corruption=1.0), 200, interval=0.0)
    for number, (_, data) in enumerate(arrivals(network)):
        original = number.to_bytes(4) + bytes([7] * 96)
        changed = [index for index in range(100) if data[index] != original[index]]
        assert len(changed) == 1
        assert changed[0] <= 50


def test_corruption_spares_version_negotiation() -> None:
    network = make_network(LinkProfile(corruption=1.0), seed=1)
    version_negotiation = bytes([0x80, 0, 0, 0, 0]) + bytes(range(30))
    network.client_sends(datagram(version_negotiation), 0.0)
    assert [data for _, data in arrivals(network)] == [version_negotiation]


def test_duplication() -> None:
    network = send_numbered(LinkProfile(duplication=1.0), 2, interval=1.0)
    assert [data[3] for _, data in arrivals(network)] == [0, 0, 1, 1]


def test_reordering_holds_back() -> None:
    network = send_numbered(LinkProfile(reordering=0.5, reordering_delay=0.1), 100, interval=0.001)
    numbers = [int.from_bytes(data[:4]) for _, data in arrivals(network)]
    assert sorted(numbers) == list(range(100))
    assert numbers != list(range(100))


def test_outage_loses_what_arrives_in_it() -> None:
    network = send_numbered(LinkProfile(delay=0.5, outages=((1.5, 3.5),)), 5, interval=1.0)
    assert [data[3] for _, data in arrivals(network)] == [0, 3, 4]


def test_dropped_numbers_count_from_one() -> None:
    network = send_numbered(LinkProfile(dropped_numbers=frozenset({2, 3})), 5, interval=1.0)
    assert [data[3] for _, data in arrivals(network)] == [0, 3, 4]


def test_rebinding_translates_and_drops() -> None:
    new = ("192.0.2.9", 61000)
    network = make_network(LinkProfile(delay=1.0), seed=1, rebindings=[(5.0, new)])
    network.client_sends(datagram(b"before"), 0.0)
    network.client_sends(datagram(b"after"), 5.0)
    assert [arrived.source for arrived in network.at_server(6.0)] == [CLIENT_ADDRESS, new]
    # Sent before the change, arriving after it: lost. The second one is sent to the new address.
    network.server_sends(Datagram(b"old", SERVER_ADDRESS, CLIENT_ADDRESS), 4.5)
    network.server_sends(Datagram(b"new", SERVER_ADDRESS, new), 5.0)
    assert [(d.data, d.destination) for d in network.at_client(6.0)] == [(b"new", CLIENT_ADDRESS)]


def test_same_seed_same_fate() -> None:
    profile = LinkProfile(loss=0.2, jitter=0.01, duplication=0.1, corruption=0.1, reordering=0.1)
    runs = [arrivals(send_numbered(profile, 300, interval=0.001, seed=seed)) for seed in (5, 5, 6)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_capture_has_what_was_sent() -> None:
    network = send_numbered(LinkProfile(loss=1.0), 2, interval=1.0)
    assert [(captured.time, captured.from_client) for captured in network.captured] == [
        (0.0, True),
        (1.0, True),
    ]
