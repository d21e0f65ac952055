"""ECN on paths that carry it, spoil it, or drop what is marked (RFC 9000 §13.4)."""

from dataclasses import replace

import pytest

from endpoint.config import Config, CongestionAlgorithm
from endpoint.recovery.ecn import EcnState
from endpoint.testing.apps import ContentServer, Download
from endpoint.testing.link import RUNNER, LinkProfile
from endpoint.testing.pair import Pair
from endpoint.testing.scenario import Scenario

MEBIBYTE = 1 << 20
ECT_0 = 2

# What a path makes of the four ECN fields: Not-ECT, ECT(1), ECT(0), CE.
CLEARS = (0, 0, 0, 0)
TURNS_TO_ECT_1 = (0, 1, 1, 3)
MARKS_EVERYTHING = (0, 3, 3, 3)
DROPS = (0, None, None, None)


def states(pair: Pair) -> tuple[EcnState, EcnState]:
    """Of client and server."""
    return pair.client.connection.ecn_state, pair.server.connection.ecn_state


def test_the_handshake_is_enough(scenario: Scenario) -> None:
    """Marks and counts from the first packets on, in every space: one missing count would be a failure."""
    pair = scenario.pair()
    assert pair.run(lambda: pair.client.connection.handshake_confirmed, deadline=5.0)
    pair.run(deadline=2.0)
    assert states(pair) == (EcnState.CAPABLE, EcnState.CAPABLE)
    for link in (pair.network.up, pair.network.down):
        assert link.statistics.ecn[ECT_0] == link.statistics.sent


def test_all_of_a_transfer_is_marked(scenario: Scenario) -> None:
    pair, _ = scenario.download(Download(sizes=[MEBIBYTE], upload=100_000), deadline=10.0)
    assert states(pair) == (EcnState.CAPABLE, EcnState.CAPABLE)
    for link in (pair.network.up, pair.network.down):
        # The first window may be sent before the first report; what closes is not marked.
        assert link.statistics.ecn[ECT_0] > 0.95 * link.statistics.sent


@pytest.mark.parametrize("batch_limit", [1, 64])
@pytest.mark.parametrize(
    "profile",
    [
        replace(RUNNER, loss=0.05),
        LinkProfile(delay=0.02, jitter=0.02, reordering=0.2, loss=0.02, duplication=0.1),
        LinkProfile(delay=0.01, loss=0.2),
        LinkProfile(delay=0.005, corruption=0.05, duplication=0.2),
    ],
    ids=["loss", "disorder", "heavy loss", "damage"],
)
def test_trouble_of_other_kinds_is_no_failure(
    scenario: Scenario, profile: LinkProfile, batch_limit: int
) -> None:
    scenario.up, scenario.batch_limit = profile, batch_limit
    pair, _ = scenario.download(Download(sizes=[300_000], upload=300_000), deadline=120.0)
    assert EcnState.FAILED not in states(pair)


def test_what_the_server_repeats_in_the_handshake_is_not_marked(scenario: Scenario) -> None:
    """RFC 9000 §8.1 leaves it too few packets to find out by their loss that marks are dropped."""
    scenario.up = replace(RUNNER, outages=((0.03, 1.5),))
    scenario.down = replace(RUNNER, ecn=DROPS)
    pair = scenario.pair()
    assert pair.run(lambda: pair.client.connection.handshake_complete, deadline=1.5)


@pytest.mark.parametrize("ecn", [CLEARS, TURNS_TO_ECT_1, MARKS_EVERYTHING])
def test_spoilt_on_the_way_down(
    scenario: Scenario, ecn: tuple[int | None, int | None, int | None, int | None]
) -> None:
    """The server finds out and stops; the client's direction is another matter."""
    scenario.down = replace(RUNNER, ecn=ecn)
    download = Download(sizes=[MEBIBYTE])
    pair, _ = scenario.download(download, deadline=10.0)
    assert states(pair) == (EcnState.CAPABLE, EcnState.FAILED)
    assert pair.network.down.statistics.ecn[ECT_0] < 30
    assert pair.network.up.statistics.ecn[ECT_0] > 0.9 * pair.network.up.statistics.sent
    assert 8 * MEBIBYTE / download.seconds > 0.85 * 10e6  # and takes no false alarm for congestion


def test_a_peer_that_does_not_report(scenario: Scenario) -> None:
    """To the sender it is the same as marks that are cleared."""
    scenario.up = replace(RUNNER, ecn=CLEARS)
    scenario.down = RUNNER
    pair, _ = scenario.download(Download(sizes=[1000], upload=300_000), deadline=10.0)
    assert states(pair) == (EcnState.FAILED, EcnState.CAPABLE)


@pytest.mark.parametrize("direction", ["up", "down", "both"])
def test_marked_packets_vanish(scenario: Scenario, direction: str) -> None:
    """Not even the handshake gets through until the marks are left off."""
    hostile = replace(RUNNER, ecn=DROPS)
    scenario.up = RUNNER if direction == "down" else hostile
    scenario.down = RUNNER if direction == "up" else hostile
    download = Download(sizes=[300_000])
    pair, _ = scenario.download(download, deadline=30.0)
    assert pair.now < 10.0
    client, server = states(pair)
    if direction != "down":
        assert client in (EcnState.UNKNOWN, EcnState.FAILED)
        assert pair.network.up.statistics.ecn[ECT_0] <= 10
    if direction != "up":
        assert server in (EcnState.UNKNOWN, EcnState.FAILED)
        assert pair.network.down.statistics.ecn[ECT_0] <= 12


@pytest.mark.parametrize("congestion", list(CongestionAlgorithm))
def test_marks_instead_of_losses(scenario: Scenario, congestion: CongestionAlgorithm) -> None:
    """A queue that marks from 15 datagrams on never gets full, and the link stays busy."""
    scenario.client_config = scenario.server_config = Config(congestion=congestion)
    scenario.down = replace(RUNNER, marking_queue=15, queue=80)
    scenario.up = RUNNER
    download = Download(sizes=[4 * MEBIBYTE])
    pair, _ = scenario.download(download, deadline=20.0)
    statistics = pair.network.down.statistics
    assert statistics.marked > 0
    assert statistics.overflowed == 0
    assert states(pair)[1] is EcnState.CAPABLE
    assert 8 * 4 * MEBIBYTE / download.seconds > 0.85 * 10e6


def test_a_path_that_begins_to_clear_marks(scenario: Scenario) -> None:
    download = Download(sizes=[2 * MEBIBYTE])
    pair = scenario.pair(download, ContentServer)
    pair.run(lambda: download.received_bytes > 500_000, deadline=10.0)
    assert states(pair)[1] is EcnState.CAPABLE
    pair.network.down.profile = replace(RUNNER, ecn=CLEARS)
    assert pair.run(lambda: download.done, deadline=20.0)
    assert states(pair)[1] is EcnState.FAILED


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_path_that_begins_to_drop_marked_packets(scenario: Scenario, direction: str) -> None:
    download = Download(sizes=[2 * MEBIBYTE])
    pair = scenario.pair(download, ContentServer)
    pair.run(lambda: download.received_bytes > 500_000, deadline=10.0)
    link = pair.network.up if direction == "up" else pair.network.down
    link.profile = replace(RUNNER, ecn=DROPS)
    if direction == "up":
        # The client only acknowledges, and nothing tells it that its ACKs are lost. Its PINGs would.
        pair.client.connection.ping()
    assert pair.run(lambda: download.done, deadline=25.0)


def test_an_outage_is_no_verdict(scenario: Scenario) -> None:
    scenario.up = replace(RUNNER, outages=((0.5, 2.5),))
    pair, _ = scenario.download(Download(sizes=[2 * MEBIBYTE]), deadline=20.0)
    assert states(pair)[1] is EcnState.CAPABLE


@pytest.mark.parametrize("address", [("192.0.2.1", 50001), ("192.0.2.77", 50000)], ids=["port", "address"])
def test_rebinding(scenario: Scenario, address: tuple[str, int]) -> None:
    scenario.rebindings = [(0.4, address)]
    pair, _ = scenario.download(Download(sizes=[MEBIBYTE]), deadline=20.0)
    assert states(pair) == (EcnState.CAPABLE, EcnState.CAPABLE)


def test_rebinding_to_a_path_that_clears_marks(scenario: Scenario) -> None:
    """And back to one that doesn't: every path has its own verdict."""
    scenario.rebindings = [(0.4, ("192.0.2.77", 50000)), (1.4, ("192.0.2.78", 50000))]
    download = Download(sizes=[3 * MEBIBYTE])
    pair = scenario.pair(download, ContentServer)
    pair.run(deadline=0.4)
    pair.network.down.profile = replace(RUNNER, ecn=CLEARS)
    pair.run(deadline=1.3)
    assert states(pair)[1] is EcnState.FAILED
    pair.network.down.profile = RUNNER
    assert pair.run(lambda: download.done, deadline=20.0)
    assert states(pair)[1] is EcnState.CAPABLE


def test_switched_off(scenario: Scenario) -> None:
    """Nothing is marked, and what the peer marks is reported all the same (§13.4.1)."""
    scenario.server_config = Config(ecn=False)
    pair, _ = scenario.download(Download(sizes=[100_000]), deadline=10.0)
    assert states(pair) == (EcnState.CAPABLE, EcnState.FAILED)
    assert pair.network.down.statistics.ecn[ECT_0] == 0
