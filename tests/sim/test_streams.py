"""Many streams, stream limits, flow control and slow readers."""

from dataclasses import replace

import pytest

from endpoint.config import Config
from endpoint.events import StreamsAvailable
from endpoint.testing.apps import Download
from endpoint.testing.link import RUNNER, LinkProfile
from endpoint.testing.scenario import Scenario


def test_1999_streams_over_a_limit_of_100(scenario: Scenario) -> None:
    """The runner's `multiplexing`: the limit has to rise as streams finish."""
    scenario.server_config = Config(initial_max_streams_bidi=100)
    download = Download(sizes=[32] * 1999)
    pair, server = scenario.download(download, deadline=20.0)
    assert server.requests == 1999
    assert any(isinstance(event, StreamsAvailable) for event in pair.client.events)
    assert download.seconds < 4.0


def test_many_streams_with_loss(scenario: Scenario) -> None:
    """Lost MAX_STREAMS, lost FINs, lost requests: none may stall the rest."""
    scenario.up = replace(RUNNER, loss=0.1)
    scenario.server_config = Config(initial_max_streams_bidi=10)
    scenario.download(Download(sizes=[1000] * 100), deadline=60.0)


def test_one_stream_at_a_time(scenario: Scenario) -> None:
    scenario.server_config = Config(initial_max_streams_bidi=1)
    scenario.download(Download(sizes=[100] * 20), deadline=10.0)


def test_empty_answers(scenario: Scenario) -> None:
    scenario.download(Download(sizes=[0] * 50), deadline=5.0)


@pytest.mark.parametrize("window", [1, 1000, 4096])
def test_small_windows(scenario: Scenario, window: int) -> None:
    """Windows that stay small: every byte waits for MAX_DATA and MAX_STREAM_DATA, and nothing stalls."""
    scenario.up = LinkProfile(delay=0.001)
    scenario.client_config = Config(
        initial_max_data=window,
        initial_max_stream_data=window,
        max_data_window=window,
        max_stream_data_window=window,
    )
    scenario.download(Download(sizes=[40 * window, 17 * window]), deadline=60.0)


def test_small_connection_window_many_streams(scenario: Scenario) -> None:
    scenario.client_config = Config(initial_max_data=5000, max_data_window=5000)
    scenario.download(Download(sizes=[3000] * 30), deadline=30.0)


def test_small_send_buffer(scenario: Scenario) -> None:
    """`write` takes little at a time; StreamWritable has to come every time."""
    scenario.server_config = Config(send_buffer_size=3000)
    scenario.download(Download(sizes=[100_000, 100_000]), deadline=30.0)


def test_slow_reader_holds_the_sender_back(scenario: Scenario) -> None:
    """An application that reads 20 kB every 50 ms gets just that, and the sender is not allowed more."""
    window = 50_000
    scenario.client_config = Config(
        initial_max_data=window,
        initial_max_stream_data=window,
        max_data_window=window,
        max_stream_data_window=window,
    )
    download = Download(sizes=[400_000], read_interval=0.05, read_size=20_000)
    pair = scenario.download(download, deadline=30.0)[0]
    assert download.seconds == pytest.approx(400_000 / 20_000 * 0.05, rel=0.3)
    # No more than that was ever sent, apart from headers and repairs.
    assert pair.network.down.statistics.delivered_bytes < 400_000 * 1.15


def test_slow_reader_with_loss(scenario: Scenario) -> None:
    """A lost MAX_STREAM_DATA must be sent again, or both wait for ever."""
    window = 20_000
    scenario.up = replace(RUNNER, loss=0.1)
    scenario.client_config = Config(
        initial_max_data=window,
        initial_max_stream_data=window,
        max_data_window=window,
        max_stream_data_window=window,
    )
    scenario.download(Download(sizes=[200_000], read_interval=0.02, read_size=10_000), deadline=60.0)
