"""Handshakes over long, lossy and hostile links."""

from dataclasses import replace

import pytest

from endpoint.config import Config
from endpoint.events import ConnectionClosed, HandshakeCompleted, HandshakeConfirmed, StreamOpened
from endpoint.testing.apps import Download
from endpoint.testing.certificates import Chain
from endpoint.testing.link import RUNNER, LinkProfile
from endpoint.testing.pair import Pair
from endpoint.testing.scenario import Scenario
from endpoint.wire.varint import read_varint

FORM_AND_TYPE = 0xF0
INITIAL_FIRST_BYTE = 0xC0
HANDSHAKE_FIRST_BYTE = 0xE0


def confirmed(pair: Pair) -> bool:
    return bool(pair.servers) and all(
        end.connection.handshake_confirmed for end in (pair.client, pair.servers[0])
    )


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.015, 0.15, 0.75])
def test_round_trips(scenario: Scenario, delay: float) -> None:
    """One round trip until the client is done, one and a half for the server, two to confirm."""
    scenario.up = LinkProfile(delay=delay)
    pair = scenario.pair()
    assert pair.run(lambda: pair.client.connection.handshake_complete, deadline=20.0)
    assert pair.now == pytest.approx(2 * delay, abs=1e-6)
    assert pair.run(lambda: pair.server.connection.handshake_complete, deadline=20.0)
    assert pair.now == pytest.approx(3 * delay, abs=1e-6)
    assert pair.run(lambda: confirmed(pair), deadline=20.0)
    assert pair.now == pytest.approx(4 * delay, abs=1e-6)


def test_server_tells_of_the_handshake_before_streams(scenario: Scenario) -> None:
    """The client's request arrives with its Finished, and a driver knows a connection by its handshake."""
    pair, _ = scenario.download(Download(sizes=[100]), deadline=5.0)
    kinds = [type(event) for event in pair.server.events]
    assert kinds.index(HandshakeCompleted) < kinds.index(StreamOpened)


def test_both_sides_tell_once(scenario: Scenario) -> None:
    pair = scenario.pair()
    assert pair.run(lambda: confirmed(pair), deadline=5.0)
    pair.run(deadline=pair.now + 1.0)
    for end in (pair.client, pair.server):
        kinds = [type(event) for event in end.events]
        assert kinds.count(HandshakeCompleted) == 1
        assert kinds.count(HandshakeConfirmed) == 1
        assert end.connection.alpn == "hq-interop"
        assert ConnectionClosed not in kinds


def test_longrtt_repeats_the_client_hello(scenario: Scenario) -> None:
    """With a round trip of 1.5 s the ClientHello goes out again before any answer can be there."""
    scenario.up = replace(RUNNER, delay=0.75)
    pair, server = scenario.download(Download(sizes=[1024]), deadline=20.0)
    early = [c for c in pair.network.captured if c.from_client and c.time < 1.5]
    # A bare PING would do for loss recovery, but is not a ClientHello: those fill more than 200 bytes, and
    # all datagrams with Initials are padded, so what tells them is below: the server saw one connection.
    assert len(early) >= 2
    assert all(c.data[0] & FORM_AND_TYPE == INITIAL_FIRST_BYTE and len(c.data) >= 1200 for c in early)
    assert early[1].time < 1.5
    assert len(pair.servers) == 1
    assert server.requests == 1


def test_first_client_datagram_lost(scenario: Scenario) -> None:
    """A repeated Initial alone has to be enough for the server: it carries the ClientHello."""
    scenario.up = replace(RUNNER, dropped_numbers=frozenset({1}))
    scenario.down = RUNNER
    pair, _ = scenario.download(Download(sizes=[1024]), deadline=10.0)
    assert pair.now < 2.0


def test_first_server_flight_lost(scenario: Scenario) -> None:
    scenario.down = replace(RUNNER, dropped_numbers=frozenset({1, 2, 3}))
    pair, _ = scenario.download(Download(sizes=[1024]), deadline=10.0)
    assert pair.now < 4.0
    assert len(pair.servers) == 1


@pytest.mark.parametrize("number", range(1, 8))
def test_any_one_datagram_lost(scenario: Scenario, number: int) -> None:
    """Whatever is lost, from either side, the handshake and a small transfer get through soon."""
    for up, down in ((frozenset({number}), frozenset[int]()), (frozenset[int](), frozenset({number}))):
        scenario.up = replace(RUNNER, dropped_numbers=up)
        scenario.down = replace(RUNNER, dropped_numbers=down)
        pair, _ = scenario.download(Download(sizes=[1024]), deadline=10.0)
        assert pair.now < 3.0


@pytest.mark.parametrize("repetition", range(10))
def test_thirty_percent_loss(scenario: Scenario, repetition: int) -> None:
    """The runner's `handshakeloss`: 30 % both ways, at most three in a row, one connection each."""
    scenario.seed += repetition
    scenario.up = replace(RUNNER, loss=0.3, max_losses_in_a_row=3)
    pair, _ = scenario.download(Download(sizes=[1024]), deadline=30.0)
    assert len(pair.servers) == 1


@pytest.mark.parametrize("repetition", range(10))
def test_thirty_percent_corruption(scenario: Scenario, repetition: int) -> None:
    """The runner's `handshakecorruption`: a damaged byte, possibly in the version field."""
    scenario.seed += repetition
    scenario.up = replace(RUNNER, corruption=0.3)
    scenario.download(Download(sizes=[1024]), deadline=30.0)


def test_lost_finished_behind_a_full_window(scenario: Scenario) -> None:
    """1-RTT data fills the client's congestion window, and has no PTO before the handshake is confirmed.

    Datagram 2 has the Finished, 12 is its first probe, and 13 is acknowledged: the Finished counts as lost,
    nothing of the Handshake space is in flight, and no timer would run if it had to wait for the window.
    """
    scenario.up = LinkProfile(delay=0.02, dropped_numbers=frozenset({2, 12}))
    scenario.down = LinkProfile(delay=0.02)
    scenario.download(Download(sizes=[1000], upload=40_000), deadline=10.0)


def test_every_datagram_twice(scenario: Scenario) -> None:
    scenario.up = replace(RUNNER, duplication=1.0)
    pair, server = scenario.download(Download(sizes=[1024]), deadline=5.0)
    assert len(pair.servers) == 1
    assert server.requests == 1


def test_overtaking(scenario: Scenario) -> None:
    """Handshake before Initial, 1-RTT before Handshake: all orders occur when the jitter is large."""
    for repetition in range(10):
        scenario.seed += repetition
        scenario.up = LinkProfile(delay=0.01, jitter=0.05)
        scenario.download(Download(sizes=[5000]), deadline=10.0)


def test_one_datagram_per_call(scenario: Scenario) -> None:
    """Without receive offload."""
    scenario.batch_limit = 1
    scenario.download(Download(sizes=[100_000]), deadline=5.0)


def test_client_datagrams_with_initials_are_padded(scenario: Scenario) -> None:
    """RFC 9000 §14.1, both for the first flight and for those that only acknowledge."""
    pair, _ = scenario.download(Download(sizes=[1024]), deadline=5.0)
    initials = [
        c.data
        for c in pair.network.captured
        if c.from_client and c.data[0] & FORM_AND_TYPE == INITIAL_FIRST_BYTE
    ]
    assert initials
    assert min(map(len, initials)) >= 1200


class TestAmplification:
    """RFC 9000 §8.1, with the nine certificates (about 10 kB) of the interop runner."""

    @pytest.fixture
    def big(self, scenario: Scenario, long_chain: Chain) -> Scenario:
        scenario.chain = long_chain
        assert sum(map(len, long_chain.chain_der)) > 7500
        return scenario

    def test_handshake_completes(self, big: Scenario) -> None:
        pair, _ = big.download(Download(sizes=[5000]), deadline=10.0)
        check_three_times_limit(pair)

    def test_datagrams_2_to_7_lost(self, big: Scenario) -> None:
        """The server runs out of allowance in silence: the client has to go on probing."""
        big.up = replace(RUNNER, dropped_numbers=frozenset(range(2, 8)))
        big.down = RUNNER
        pair, _ = big.download(Download(sizes=[5000]), deadline=60.0)
        check_three_times_limit(pair, lost=range(2, 8))

    @pytest.mark.parametrize("repetition", range(5))
    def test_loss(self, big: Scenario, repetition: int) -> None:
        big.seed += repetition
        big.up = replace(RUNNER, loss=0.2)
        big.download(Download(sizes=[5000]), deadline=60.0)

    @pytest.mark.parametrize("seed", [37, 57, 60])
    def test_lost_server_hello_behind_a_full_window(self, big: Scenario, seed: int) -> None:
        """Handshake packets fill the congestion window; the lost ServerHello must get out all the same."""
        big.seed = seed
        big.up = replace(RUNNER, loss=0.3)
        big.download(Download(sizes=[1024]), deadline=30.0)


def packet_types(datagram: bytes) -> list[int]:
    """Form and type bits of the long-header packets of a datagram (RFC 9000 §17.2)."""
    types = []
    start = 0
    while start < len(datagram) and datagram[start] & 0x80:
        types.append(datagram[start] & FORM_AND_TYPE)
        end = start + 5
        end += 1 + datagram[end]
        end += 1 + datagram[end]
        if types[-1] == INITIAL_FIRST_BYTE:
            length, end = read_varint(datagram, end, len(datagram))
            end += length
        length, end = read_varint(datagram, end, len(datagram))
        start = end + length
    return types


def check_three_times_limit(pair: Pair, lost: range = range(0)) -> None:
    """Until the client's address is validated, the server sends at most three times what came.

    Only for runs where nothing is lost but the given client datagrams.
    """
    delay = RUNNER.delay
    from_client = [c for c in pair.network.captured if c.from_client]
    arrived = [c for number, c in enumerate(from_client, start=1) if number not in lost]
    validated = min(c.time for c in arrived if HANDSHAKE_FIRST_BYTE in packet_types(c.data)) + delay
    total = 0
    for sent in pair.network.captured:
        if not sent.from_client and sent.time < validated:
            total += len(sent.data)
            allowed = 3 * sum(len(c.data) for c in arrived if c.time + delay <= sent.time)
            assert total <= allowed, f"{total} bytes sent by {sent.time:.3f} s, {allowed} allowed"
    assert total > 2000


def test_gives_up_when_nobody_answers(scenario: Scenario) -> None:
    scenario.up = LinkProfile(loss=1.0)
    scenario.client_config = Config(handshake_timeout=10.0, max_idle_timeout=30.0)
    pair = scenario.pair()
    pair.run(lambda: pair.client.connection.is_closed, deadline=60.0)
    closes = [event for event in pair.client.events if isinstance(event, ConnectionClosed)]
    assert [close.kind for close in closes] == ["handshake_timeout"]
    assert pair.now == pytest.approx(10.0, abs=0.1)
    # Probes back off: 1 s, 2 s, 4 s after the first one.
    assert 3 <= len(pair.network.captured) <= 10


def test_wrong_server_name_is_refused_with_an_alert(scenario: Scenario) -> None:
    """A client that doesn't trust the certificate says so, and the server hears it."""
    scenario.server_name = "example.org"
    pair = scenario.pair()
    assert pair.run(lambda: bool(pair.servers) and pair.server.connection.is_closing, deadline=5.0)
    close = next(event for event in pair.server.events if isinstance(event, ConnectionClosed))
    assert close.remote
    assert 0x0100 <= close.error_code <= 0x01FF
    assert not any(isinstance(event, HandshakeCompleted) for event in pair.client.events)
