"""Retry, address tokens and admission (RFC 9000 §8.1)."""

from dataclasses import replace

import pytest

from endpoint.admission import Decision, Incoming, always_retry, retry_above
from endpoint.config import Config
from endpoint.errors import TransportErrorCode
from endpoint.events import ConnectionClosed, NewTokenReceived
from endpoint.keyring import KeyRing
from endpoint.testing.apps import Download
from endpoint.testing.link import CLIENT_ADDRESS, RUNNER, LinkProfile
from endpoint.testing.pair import Pair, seeded_bytes
from endpoint.testing.scenario import Scenario
from endpoint.wire.header import PacketType, parse_long_header
from endpoint.wire.version import QUIC_V1, QUIC_V2


def long_headers(pair: Pair, *, from_client: bool) -> list[tuple[PacketType, bytes, bytes]]:
    """Type, DCID and token of the first packet of each datagram with a long header."""
    found = []
    for captured in pair.network.captured:
        if captured.from_client is from_client and captured.data[0] & 0x80:
            header = parse_long_header(captured.data, 0, len(captured.data))
            assert header.type is not None
            found.append((header.type, header.dcid, header.token))
    return found


@pytest.mark.parametrize("version", [QUIC_V1, QUIC_V2])
def test_retry(scenario: Scenario, version: int) -> None:
    scenario.admission = always_retry
    scenario.client_config = Config(versions=(version,), initial_version=version)
    scenario.server_config = Config(versions=(version,))
    pair, _ = scenario.download(Download(sizes=[10_000]), deadline=5.0)
    assert len(pair.servers) == 1
    from_server = long_headers(pair, from_client=False)
    assert from_server[0][0] is PacketType.RETRY
    token = from_server[0][2]
    initials = [item for item in long_headers(pair, from_client=True) if item[0] is PacketType.INITIAL]
    assert initials[0][2] == b""
    assert {item[2] for item in initials[1:]} == {token}


@pytest.mark.parametrize("length", [1, 4, 20])
def test_retry_by_a_server_with_connection_ids_of_any_length(scenario: Scenario, length: int) -> None:
    """Its short IDs are for short headers: RFC 9000 §7.2 asks for 8 bytes in a client's first Initial."""
    scenario.admission = always_retry
    scenario.server_config = Config(connection_id_length=length)
    pair, _ = scenario.download(Download(sizes=[10_000]), deadline=5.0)
    assert len(pair.servers) == 1


@pytest.mark.parametrize("repetition", range(10))
def test_retry_on_a_bad_link(scenario: Scenario, repetition: int) -> None:
    """First Initials and Retry packets are repeated, and still there is one connection."""
    scenario.seed += repetition
    scenario.admission = always_retry
    scenario.up = replace(RUNNER, loss=0.25, duplication=0.2, jitter=0.02)
    pair, _ = scenario.download(Download(sizes=[5_000]), deadline=60.0)
    assert len(pair.servers) == 1


def test_rebinding_while_the_retry_is_on_its_way(scenario: Scenario) -> None:
    """The one case where no PATH_CHALLENGE can be in the first datagram to a new address: a Retry has no
    frames, and before it there is no connection. The client begins anew from there.
    """
    moved = (CLIENT_ADDRESS[0], 777)
    scenario.admission = always_retry
    scenario.up = RUNNER
    scenario.rebindings = [(0.01, moved)]
    pair, _ = scenario.download(Download(sizes=[5_000]), deadline=5.0)
    assert len(pair.servers) == 1
    first = next(captured for captured in pair.network.captured if captured.destination == moved)
    assert parse_long_header(first.data, 0, len(first.data)).type is PacketType.RETRY


def test_only_in_a_crowd(scenario: Scenario) -> None:
    decide = retry_above(1)
    for half_open, decision in ((0, Decision.ACCEPT), (1, Decision.ACCEPT), (2, Decision.RETRY)):
        assert decide(Incoming(("x", 1), QUIC_V1, False, half_open)) is decision
    scenario.admission = decide
    pair, _ = scenario.download(Download(sizes=[1_000]), deadline=5.0)
    assert all(kind is not PacketType.RETRY for kind, _, _ in long_headers(pair, from_client=False))


def test_refused(scenario: Scenario) -> None:
    scenario.admission = lambda _: Decision.REFUSE
    pair = scenario.pair()
    assert pair.run(lambda: pair.client.connection.is_closing, deadline=5.0)
    (closed,) = pair.client.events
    assert isinstance(closed, ConnectionClosed)
    assert closed.error_code == TransportErrorCode.CONNECTION_REFUSED
    assert not pair.servers


def test_ignored(scenario: Scenario) -> None:
    scenario.admission = lambda _: Decision.IGNORE
    scenario.client_config = Config(handshake_timeout=3.0)
    pair = scenario.pair()
    assert pair.run(lambda: pair.client.connection.is_closed, deadline=10.0)
    assert all(captured.from_client for captured in pair.network.captured)


class TestNewToken:
    """The token of one connection opens the next without a Retry, once."""

    @pytest.fixture
    def token(self, scenario: Scenario) -> bytes:
        scenario.token_keys = KeyRing.generate(seeded_bytes(1), scenario.wall_time)
        scenario.admission = always_retry
        pair, _ = scenario.download(Download(sizes=[100]), deadline=5.0)
        (token,) = [event.token for event in pair.client.events if isinstance(event, NewTokenReceived)]
        return token

    def test_saves_the_retry(self, scenario: Scenario, token: bytes) -> None:
        scenario.client_token = token
        pair, _ = scenario.download(Download(sizes=[100]), deadline=5.0)
        assert all(kind is not PacketType.RETRY for kind, _, _ in long_headers(pair, from_client=False))

    def test_lifts_the_three_times_limit(self, scenario: Scenario, token: bytes) -> None:
        scenario.client_token = token
        scenario.up = LinkProfile(delay=0.02)
        pair = scenario.pair()
        pair.run(lambda: bool(pair.servers), deadline=1.0)
        assert pair.server.connection.is_peer_validated

    def test_another_server_key(self, scenario: Scenario, token: bytes) -> None:
        scenario.client_token = token
        scenario.token_keys = KeyRing.generate(seeded_bytes(2), scenario.wall_time)
        pair, _ = scenario.download(Download(sizes=[100]), deadline=5.0)
        assert long_headers(pair, from_client=False)[0][0] is PacketType.RETRY

    def test_too_old(self, scenario: Scenario, token: bytes) -> None:
        scenario.client_token = token
        scenario.wall_time += 2 * 24 * 3600
        pair, _ = scenario.download(Download(sizes=[100]), deadline=5.0)
        assert long_headers(pair, from_client=False)[0][0] is PacketType.RETRY

    def test_another_version(self, scenario: Scenario, token: bytes) -> None:
        """RFC 9369 §5."""
        scenario.client_token = token
        scenario.client_config = Config(versions=(QUIC_V2,), initial_version=QUIC_V2)
        pair, _ = scenario.download(Download(sizes=[100]), deadline=5.0)
        assert long_headers(pair, from_client=False)[0][0] is PacketType.RETRY
