"""The search for the path's MTU, and black holes for what is larger (RFC 9000 §14, RFC 8899)."""

from dataclasses import replace

import pytest

from endpoint.config import Config
from endpoint.recovery.pmtud import BASE_SIZE, ETHERNET_IPV6, MAX_PROBES, MIN_GAIN
from endpoint.testing.apps import ContentServer, Download
from endpoint.testing.link import RUNNER, LinkProfile
from endpoint.testing.pair import Pair
from endpoint.testing.scenario import Scenario

MEBIBYTE = 1 << 20
START = Config().max_udp_payload_size
LIMIT = ETHERNET_IPV6


def sizes(pair: Pair) -> tuple[int, int]:
    """Of client and server."""
    return pair.client.connection.max_udp_payload, pair.server.connection.max_udp_payload


def longest(pair: Pair, *, from_client: bool, since: float = 0.0) -> int:
    """The longest datagram that one side sent."""
    return max(
        len(datagram.data)
        for datagram in pair.network.captured
        if datagram.from_client is from_client and datagram.time >= since
    )


def test_grows_where_there_is_much_to_send(scenario: Scenario) -> None:
    pair, _ = scenario.download(Download(sizes=[MEBIBYTE]), deadline=10.0)
    assert sizes(pair) == (START, LIMIT)
    assert longest(pair, from_client=False) == LIMIT
    pair, _ = scenario.download(Download(sizes=[100], upload=MEBIBYTE), deadline=10.0)
    assert sizes(pair) == (LIMIT, START)


def test_a_probe_is_alone(scenario: Scenario) -> None:
    """The first datagram of the new size is not in one batch with others, which have the old one."""
    pair, _ = scenario.download(Download(sizes=[300_000]), deadline=10.0)
    sent = [datagram for datagram in pair.network.captured if not datagram.from_client]
    first = next(i for i, datagram in enumerate(sent) if len(datagram.data) == LIMIT)
    second = next(i for i, datagram in enumerate(sent) if len(datagram.data) == LIMIT and i > first)
    assert sent[second].time > sent[first].time + 0.03  # not before it was acknowledged
    assert all(len(datagram.data) <= START for datagram in sent[:first] + sent[first + 1 : second])


@pytest.mark.parametrize("mtu", [1252, 1280, 1300, 1392, 1400, 1440, 1451])
def test_finds_what_the_path_carries(scenario: Scenario, mtu: int) -> None:
    scenario.up = LinkProfile(delay=0.005, bandwidth=20e6, queue=40, mtu=mtu)
    pair, _ = scenario.download(Download(sizes=[2 * MEBIBYTE]), deadline=10.0)
    size = sizes(pair)[1]
    assert mtu - MIN_GAIN < size <= mtu
    assert pair.network.down.statistics.too_large <= 5 * MAX_PROBES


def test_lost_probes_are_no_congestion(scenario: Scenario) -> None:
    """A link on which nothing but the probes is lost: the window has to grow as if there were none."""
    windows = []
    for pmtud in (False, True):
        scenario.up = LinkProfile(delay=0.015, mtu=1260)
        scenario.server_config = Config(pmtud=pmtud)
        pair, _ = scenario.download(Download(sizes=[MEBIBYTE]), deadline=10.0)
        windows.append(pair.server.connection.congestion_window)
    assert windows[1] > 0.9 * windows[0]


@pytest.mark.parametrize("percent", [2, 10])
def test_search_with_losses(scenario: Scenario, percent: int) -> None:
    scenario.up = replace(RUNNER, loss=percent / 100, mtu=1400)
    pair, _ = scenario.download(Download(sizes=[500_000]), deadline=60.0)
    assert BASE_SIZE <= sizes(pair)[1] <= 1400


def test_search_with_reordering(scenario: Scenario) -> None:
    scenario.up = LinkProfile(delay=0.01, reordering=0.3, reordering_delay=0.02)
    pair, _ = scenario.download(Download(sizes=[2 * MEBIBYTE]), deadline=20.0)
    assert sizes(pair)[1] == LIMIT


def test_no_probes_for_a_short_exchange(scenario: Scenario) -> None:
    """The runner's `zerortt` counts bytes, and a few packets have no use for larger ones."""
    pair, _ = scenario.download(Download(sizes=[3000] * 3), deadline=5.0)
    pair.run(deadline=pair.now + 5.0)
    assert longest(pair, from_client=False) <= START
    assert longest(pair, from_client=True) <= START


def test_switched_off(scenario: Scenario) -> None:
    scenario.server_config = Config(pmtud=False)
    pair, _ = scenario.download(Download(sizes=[MEBIBYTE]), deadline=10.0)
    assert longest(pair, from_client=False) == START


@pytest.mark.parametrize("limit", [1200, 1220, 1300, 1452])
def test_the_peers_limit(scenario: Scenario, limit: int) -> None:
    """Its transport parameter comes with its first packets: nothing larger after that (RFC 9000 §18.2)."""
    scenario.client_config = Config(max_receive_udp_payload_size=limit)
    pair, _ = scenario.download(Download(sizes=[MEBIBYTE]), deadline=10.0)
    assert longest(pair, from_client=False) == sizes(pair)[1] == limit


def test_the_servers_limit(scenario: Scenario) -> None:
    scenario.server_config = Config(max_receive_udp_payload_size=1210)
    pair, _ = scenario.download(Download(sizes=[100], upload=500_000), deadline=10.0)
    assert sizes(pair)[0] == longest(pair, from_client=True) == 1210


@pytest.mark.parametrize("mtu", [1200, 1239, 1251])
def test_a_path_smaller_than_the_start(scenario: Scenario, mtu: int) -> None:
    """RFC 9000 §14 promises 1,200 and no more. Full datagrams of the handshake vanish as well."""
    scenario.up = replace(RUNNER, mtu=mtu)
    pair, _ = scenario.download(Download(sizes=[300_000], upload=100_000), deadline=30.0)
    assert pair.now < 8.0
    assert all(BASE_SIZE <= size <= mtu for size in sizes(pair))


@pytest.mark.parametrize("mtu", [1200, 1300, 1400])
def test_the_path_becomes_smaller(scenario: Scenario, mtu: int) -> None:
    download = Download(sizes=[4 * MEBIBYTE])
    pair = scenario.pair(download, ContentServer)
    pair.run(lambda: download.received_bytes > MEBIBYTE, deadline=10.0)
    assert sizes(pair)[1] == LIMIT
    changed = pair.now
    pair.network.down.profile = replace(RUNNER, mtu=mtu)
    assert pair.run(lambda: download.done, deadline=30.0)
    assert mtu - MIN_GAIN < sizes(pair)[1] <= mtu
    assert pair.now - changed < 3 * MEBIBYTE * 8 / 10e6 + 2.0


def test_the_path_becomes_smaller_while_small_packets_flow(scenario: Scenario) -> None:
    """The peer's answers keep the PTO from expiring: only the pattern of losses tells."""
    download = Download(sizes=[2 * MEBIBYTE], upload=2 * MEBIBYTE)
    pair = scenario.pair(download, ContentServer)
    pair.run(lambda: pair.client.connection.max_udp_payload == LIMIT, deadline=10.0)
    pair.network.up.profile = replace(RUNNER, mtu=1300)
    assert pair.run(lambda: download.done, deadline=40.0)
    assert sizes(pair)[0] <= 1300


def test_an_outage_costs_the_size_only_for_a_moment(scenario: Scenario) -> None:
    scenario.up = replace(RUNNER, outages=((0.5, 2.5),))
    pair, _ = scenario.download(Download(sizes=[2 * MEBIBYTE]), deadline=20.0)
    assert sizes(pair)[1] == LIMIT


@pytest.mark.parametrize("address", [("192.0.2.1", 50001), ("192.0.2.77", 50000)], ids=["port", "address"])
@pytest.mark.parametrize("at", [0.11, 0.13, 0.5])
def test_rebinding(scenario: Scenario, address: tuple[str, int], at: float) -> None:
    """During the search and after it: a new path is searched anew, another port is no other path."""
    scenario.rebindings = [(at, address)]
    pair, _ = scenario.download(Download(sizes=[2 * MEBIBYTE]), deadline=20.0)
    assert sizes(pair)[1] == LIMIT


def test_migration_to_a_smaller_path(scenario: Scenario) -> None:
    scenario.rebindings = [(0.5, ("192.0.2.77", 50000))]
    download = Download(sizes=[2 * MEBIBYTE])
    pair = scenario.pair(download, ContentServer)
    pair.run(deadline=0.5)
    assert sizes(pair)[1] == LIMIT
    pair.network.down.profile = replace(RUNNER, mtu=1260)
    assert pair.run(lambda: download.done, deadline=20.0)
    assert BASE_SIZE <= sizes(pair)[1] <= 1260
