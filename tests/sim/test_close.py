"""How connections end: by either side, in every state, by silence."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from endpoint.config import Config
from endpoint.events import ConnectionClosed
from endpoint.testing.apps import ContentServer, Download
from endpoint.testing.link import RUNNER, LinkProfile
from endpoint.testing.pair import End, Pair
from endpoint.testing.scenario import Scenario

APPLICATION_CODE = 0x1234

# Moments of a handshake, each as a condition on the pair.
STATES: dict[str, Callable[[Pair], bool]] = {
    "the ClientHello has arrived": lambda pair: bool(pair.servers),
    "the client has completed": lambda pair: pair.client.connection.handshake_complete,
    "the server has completed": lambda pair: bool(pair.servers) and pair.server.connection.handshake_complete,
    "the client has confirmed": lambda pair: pair.client.connection.handshake_confirmed,
}


def the_close(end: End) -> ConnectionClosed:
    """The one and only close event of an end, which is also its last event."""
    closes = [event for event in end.events if isinstance(event, ConnectionClosed)]
    assert len(closes) == 1
    assert end.events[-1] is closes[0]
    return closes[0]


def reach(pair: Pair, state: str) -> None:
    assert pair.run(lambda: STATES[state](pair), deadline=5.0), state


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("closer", ["client", "server"])
def test_close_from_every_state(scenario: Scenario, closer: str, state: str) -> None:
    """The other side learns of it in a round trip, and both forget the connection."""
    pair = scenario.pair()
    reach(pair, state)
    mine, other = (pair.client, pair.server) if closer == "client" else (pair.server, pair.client)
    started = pair.now
    mine.connection.close(APPLICATION_CODE, "enough", application=True, now=pair.now)
    assert pair.run(lambda: other.connection.is_closing, deadline=started + 1.0)
    assert pair.now <= started + 0.1
    assert pair.run(lambda: mine.connection.is_closed and other.connection.is_closed, deadline=started + 10.0)
    local, remote = the_close(mine), the_close(other)
    assert not local.remote
    assert remote.remote
    assert (local.error_code, local.reason) == (APPLICATION_CODE, "enough")
    if remote.application:
        assert (remote.error_code, remote.reason) == (APPLICATION_CODE, "enough")
    else:
        # RFC 9000 §10.2.3: below 1-RTT the application's code and reason stay secret.
        assert (remote.error_code, remote.reason) == (0x0C, "")
        assert state != "the client has confirmed"


def test_client_closes_before_sending_anything(scenario: Scenario) -> None:
    pair = scenario.pair()
    pair.client.connection.close(0, "", now=0.0)
    pair.run(lambda: pair.client.connection.is_closed, deadline=10.0)
    assert pair.client.connection.is_closed


@pytest.mark.parametrize("closer", ["client", "server"])
def test_both_close_at_once(scenario: Scenario, closer: str) -> None:
    pair = scenario.pair()
    reach(pair, "the client has confirmed")
    pair.client.connection.close(1, "", now=pair.now)
    pair.server.connection.close(2, "", now=pair.now)
    ends = {"client": pair.client, "server": pair.server}
    pair.run(lambda: all(end.connection.is_closed for end in ends.values()), deadline=20.0)
    assert not the_close(ends[closer]).remote


def test_lost_close_is_repeated(scenario: Scenario) -> None:
    """RFC 9000 §10.2.1: a closing endpoint answers packets that still arrive."""
    size = 1 << 20
    download = Download(sizes=[size])
    pair = scenario.pair(download, ContentServer)
    assert pair.run(lambda: download.received_bytes > 100_000, deadline=5.0)
    sent = pair.network.up.statistics.sent
    # The next two client datagrams are lost, and the first of them is the close.
    pair.network.up.profile = replace(
        pair.network.up.profile, dropped_numbers=frozenset({sent + 1, sent + 2})
    )
    pair.client.connection.close(APPLICATION_CODE, "", now=pair.now)
    assert pair.run(lambda: pair.server.connection.is_closing, deadline=pair.now + 2.0)
    assert the_close(pair.server).error_code == APPLICATION_CODE


def test_closing_endpoint_does_not_answer_everything(scenario: Scenario) -> None:
    """RFC 9000 §10.2.1: the rate of repeated closes is limited."""
    download = Download(sizes=[1 << 20])
    pair = scenario.pair(download, ContentServer)
    assert pair.run(lambda: download.received_bytes > 100_000, deadline=5.0)
    pair.network.up.profile = replace(pair.network.up.profile, loss=1.0)
    sent, arrived = pair.network.up.statistics.sent, pair.network.down.statistics.delivered
    pair.client.connection.close(0, "", now=pair.now)
    pair.run(lambda: pair.client.connection.is_closed, deadline=pair.now + 10.0)
    answers = pair.network.up.statistics.sent - sent
    packets = pair.network.down.statistics.delivered - arrived
    assert 1 <= answers <= 1 + packets / 2


def test_idle_timeout_on_both_sides(scenario: Scenario) -> None:
    """The smaller of the two values counts, and nothing is sent when it ends."""
    scenario.client_config = Config(max_idle_timeout=3.0)
    scenario.server_config = Config(max_idle_timeout=20.0)
    pair = scenario.pair()
    reach(pair, "the client has confirmed")
    pair.run(deadline=pair.now + 1.0)
    quiet_since = max(captured.time for captured in pair.network.captured)
    pair.run(lambda: pair.client.connection.is_closed and pair.server.connection.is_closed, deadline=30.0)
    assert [the_close(end).kind for end in (pair.client, pair.server)] == ["idle_timeout"] * 2
    assert quiet_since + 2.9 < pair.now < quiet_since + 3.5
    assert max(captured.time for captured in pair.network.captured) == quiet_since


def test_keep_alive_prevents_it(scenario: Scenario) -> None:
    scenario.client_config = Config(max_idle_timeout=2.0, keep_alive=0.7)
    pair = scenario.pair()
    reach(pair, "the client has confirmed")
    pair.run(deadline=pair.now + 15.0)
    assert not pair.client.connection.is_closing
    assert not pair.server.connection.is_closing


def test_server_that_vanishes(scenario: Scenario) -> None:
    """In the middle of a transfer: probes go on until the idle timeout, then it ends without a word."""
    scenario.client_config = Config(max_idle_timeout=4.0)
    download = Download(sizes=[1 << 20], upload=1 << 20)
    pair = scenario.pair(download, ContentServer)
    assert pair.run(lambda: download.started_at is not None, deadline=5.0)
    pair.network.up.profile = LinkProfile(loss=1.0)
    pair.network.down.profile = LinkProfile(loss=1.0)
    pair.run(lambda: pair.client.connection.is_closed, deadline=30.0)
    assert the_close(pair.client).kind == "idle_timeout"
    assert pair.now < 10.0


@pytest.mark.parametrize("same_key", [True, False])
def test_server_that_is_killed_and_started_again(scenario: Scenario, same_key: bool) -> None:
    """RFC 9000 §10.3: with its key it can tell the client that the connection is lost; else it takes long."""
    scenario.reset_key = bytes(32)
    pair = scenario.pair()
    reach(pair, "the client has confirmed")
    scenario.reset_key = bytes(32) if same_key else bytes(range(32))
    pair.restart(scenario.listener())
    pair.client.connection.ping()
    started = pair.now
    assert pair.run(lambda: bool(pair.client.connection.is_closing), deadline=60.0)
    assert the_close(pair.client).kind == ("stateless_reset" if same_key else "idle_timeout")
    assert (pair.now < started + 0.5) is same_key


def test_listener_forgets_closed_connections(scenario: Scenario) -> None:
    scenario.up = RUNNER
    pair = scenario.pair()
    reach(pair, "the client has confirmed")
    assert len(pair.listener.connections) == 1
    pair.client.connection.close(0, "", now=pair.now)
    pair.run(deadline=pair.now + 10.0)
    assert len(pair.listener.connections) == 0
