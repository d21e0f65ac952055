"""Transfers over links of all kinds: all of it arrives, nothing is damaged, in due time."""

from dataclasses import replace

import pytest

from endpoint.config import Config, CongestionAlgorithm
from endpoint.testing.apps import Download
from endpoint.testing.link import RUNNER, LinkProfile
from endpoint.testing.scenario import Scenario

MEBIBYTE = 1 << 20
# A link without serialisation time, for tests where only errors matter.
WIDE = LinkProfile(delay=0.01)


def test_goodput_within_ten_percent_of_the_link(scenario: Scenario) -> None:
    """10 Mbit/s with a queue of 25 packets: the congestion controller has to keep it filled."""
    size = 5 * MEBIBYTE
    download = Download(sizes=[size])
    scenario.download(download, deadline=20.0)
    # Of 10 Mbit/s stream data can have what is not headers: 1219 of each 1282 bytes on the link.
    possible = 10e6 * 1219 / 1282
    assert 8 * size / download.seconds > 0.9 * possible


@pytest.mark.parametrize("congestion", list(CongestionAlgorithm))
def test_three_files_over_the_runners_link(scenario: Scenario, congestion: CongestionAlgorithm) -> None:
    """The runner's `transfer`, smaller: several files at once, windows that have to grow."""
    config = Config(congestion=congestion, initial_max_data=64 * 1024, initial_max_stream_data=32 * 1024)
    scenario.client_config = scenario.server_config = config
    download = Download(sizes=[300_000, 500_000, 700_000])
    scenario.download(download, deadline=10.0)
    assert download.seconds < 2.5  # 1.28 s on the wire


@pytest.mark.parametrize("percent", [1, 2, 5, 10, 20, 30])
def test_loss(scenario: Scenario, percent: int) -> None:
    scenario.up = replace(RUNNER, loss=percent / 100)
    scenario.download(Download(sizes=[200_000]), deadline=60.0)


def test_two_percent_loss_is_no_disaster(scenario: Scenario) -> None:
    """The runner's `transferloss` moves 2 MiB; pairs that work need 3-8 s."""
    scenario.up = replace(RUNNER, loss=0.02, max_losses_in_a_row=3)
    download = Download(sizes=[2 * MEBIBYTE])
    scenario.download(download, deadline=20.0)
    assert download.seconds < 10.0


def test_upload_with_loss(scenario: Scenario) -> None:
    scenario.up = replace(RUNNER, loss=0.05)
    scenario.download(Download(sizes=[100], upload=300_000), deadline=30.0)


def test_both_directions_at_once(scenario: Scenario) -> None:
    """Uploads and downloads of several streams share packets, ACKs and windows."""
    scenario.up = replace(RUNNER, loss=0.01)
    scenario.download(Download(sizes=[150_000] * 4, upload=150_000), deadline=30.0)


@pytest.mark.parametrize("reordering", [0.05, 0.5])
def test_reordering(scenario: Scenario, reordering: float) -> None:
    scenario.up = LinkProfile(delay=0.01, reordering=reordering, reordering_delay=0.005)
    scenario.download(Download(sizes=[MEBIBYTE]), deadline=30.0)


def test_jitter_larger_than_the_delay(scenario: Scenario) -> None:
    scenario.up = LinkProfile(delay=0.005, jitter=0.03)
    scenario.download(Download(sizes=[300_000]), deadline=60.0)


def test_duplication(scenario: Scenario) -> None:
    scenario.up = replace(WIDE, duplication=0.3)
    download = Download(sizes=[MEBIBYTE])
    scenario.download(download, deadline=10.0)
    assert download.seconds < 2.0  # a duplicate is not a loss


@pytest.mark.parametrize("percent", [2, 10])
def test_corruption(scenario: Scenario, percent: int) -> None:
    scenario.up = replace(RUNNER, corruption=percent / 100)
    scenario.download(Download(sizes=[300_000]), deadline=60.0)


def test_everything_at_once(scenario: Scenario) -> None:
    scenario.up = LinkProfile(
        delay=0.02, jitter=0.01, loss=0.05, duplication=0.05, corruption=0.05, reordering=0.1
    )
    scenario.download(Download(sizes=[200_000, 50_000], upload=20_000), deadline=60.0)


def test_mtu_1200(scenario: Scenario) -> None:
    """The smallest path QUIC works on, with an endpoint that knows it."""
    scenario.up = replace(RUNNER, mtu=1200)
    scenario.client_config = scenario.server_config = Config(max_udp_payload_size=1200, pmtud=False)
    pair, _ = scenario.download(Download(sizes=[300_000]), deadline=10.0)
    assert pair.network.up.statistics.too_large == pair.network.down.statistics.too_large == 0


def test_asymmetric_link(scenario: Scenario) -> None:
    """ACKs must not drown a slow return path."""
    scenario.up = LinkProfile(delay=0.02, bandwidth=200e3, queue=20)
    scenario.down = LinkProfile(delay=0.02, bandwidth=20e6, queue=60)
    download = Download(sizes=[MEBIBYTE])
    scenario.download(download, deadline=20.0)
    assert download.seconds < 3.0


def test_black_hole_of_two_seconds(scenario: Scenario) -> None:
    """The runner's `blackhole`: both directions dead for 2 s in the middle of a transfer."""
    dark = replace(RUNNER, outages=((1.0, 3.0),))
    scenario.up = dark
    download = Download(sizes=[3 * MEBIBYTE])
    pair, _ = scenario.download(download, deadline=30.0)
    # 2.6 s of transfer, 2 s of darkness, and the time until a probe notices the light and the window is back.
    assert pair.now < 8.0


def test_one_way_black_hole(scenario: Scenario) -> None:
    """Only the ACKs vanish: the sender has to go on probing."""
    scenario.up = replace(RUNNER, outages=((0.5, 1.5),))
    scenario.down = RUNNER
    scenario.download(Download(sizes=[MEBIBYTE]), deadline=20.0)


def test_long_fat_pipe(scenario: Scenario) -> None:
    """100 Mbit/s at 200 ms: windows have to grow far beyond their start for this to end in time."""
    scenario.up = LinkProfile(delay=0.1, bandwidth=100e6, queue=2000)
    download = Download(sizes=[8 * MEBIBYTE])
    scenario.download(download, deadline=20.0)
    assert download.seconds < 5.0


def test_same_seed_same_run(scenario: Scenario) -> None:
    """The whole simulation repeats exactly, apart from what the cryptography library draws."""
    scenario.up = replace(RUNNER, loss=0.05)
    first = Download(sizes=[200_000])
    second = Download(sizes=[200_000])
    one, _ = scenario.download(first, deadline=30.0)
    two, _ = scenario.download(second, deadline=30.0)
    assert len(one.network.captured) == len(two.network.captured)
    assert first.seconds == pytest.approx(second.seconds, rel=0.01)
