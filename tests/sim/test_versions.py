"""Version negotiation between two of ours (RFC 9368, RFC 9369)."""

from dataclasses import replace

import pytest

from endpoint.config import Config
from endpoint.errors import TransportErrorCode
from endpoint.events import ConnectionClosed, VersionsOffered
from endpoint.testing.apps import Download
from endpoint.testing.link import RUNNER
from endpoint.testing.pair import Pair
from endpoint.testing.scenario import Scenario
from endpoint.wire.header import PacketType, parse_long_header
from endpoint.wire.version import QUIC_V1, QUIC_V2

BOTH = (QUIC_V2, QUIC_V1)


def versions_sent(pair: Pair, packet_type: PacketType, *, from_client: bool) -> set[int]:
    """The versions of the first packets of the datagrams of this type."""
    found = set()
    for captured in pair.network.captured:
        if captured.from_client is from_client and captured.data[0] & 0x80:
            header = parse_long_header(captured.data, 0, len(captured.data))
            if header.type is packet_type:
                found.add(header.version)
    return found


@pytest.mark.parametrize(
    ("client", "server", "initial", "result"),
    [
        ((QUIC_V1, QUIC_V2), (QUIC_V1, QUIC_V2), QUIC_V1, QUIC_V1),
        ((QUIC_V1, QUIC_V2), BOTH, QUIC_V1, QUIC_V2),
        (BOTH, BOTH, QUIC_V1, QUIC_V2),
        (BOTH, BOTH, QUIC_V2, QUIC_V2),
        (BOTH, (QUIC_V1, QUIC_V2), QUIC_V2, QUIC_V1),
        ((QUIC_V1,), BOTH, QUIC_V1, QUIC_V1),
        (BOTH, (QUIC_V2,), QUIC_V2, QUIC_V2),
    ],
)
def test_server_chooses(
    scenario: Scenario, client: tuple[int, ...], server: tuple[int, ...], initial: int, result: int
) -> None:
    scenario.client_config = Config(versions=client, initial_version=initial)
    scenario.server_config = Config(versions=server)
    pair, _ = scenario.download(Download(sizes=[20_000]), deadline=5.0)
    assert pair.client.connection.version == pair.server.connection.version == result
    # As the runner's case `v2` looks at it: only Initial packets may show two versions.
    assert versions_sent(pair, PacketType.INITIAL, from_client=True) <= {initial, result}
    assert versions_sent(pair, PacketType.INITIAL, from_client=False) == {result}
    for from_client in (True, False):
        assert versions_sent(pair, PacketType.HANDSHAKE, from_client=from_client) <= {result}


def test_change_after_an_answer_in_the_original_version(scenario: Scenario) -> None:
    """The server acknowledges the first half of a ClientHello before it can choose (RFC 9369 §4.1)."""
    scenario.client_config = scenario.server_config = Config(versions=BOTH)
    scenario.client_token = bytes(980)  # of no use, but it takes room
    scenario.up = replace(RUNNER, dropped_numbers=frozenset({2}))
    pair, _ = scenario.download(Download(sizes=[1000]), deadline=5.0)
    assert versions_sent(pair, PacketType.INITIAL, from_client=False) == {QUIC_V1, QUIC_V2}
    assert pair.client.connection.version == QUIC_V2


@pytest.mark.parametrize("repetition", range(10))
def test_change_on_a_bad_link(scenario: Scenario, repetition: int) -> None:
    """Initials of both versions are lost, overtaken and repeated."""
    scenario.seed += repetition
    scenario.up = replace(RUNNER, loss=0.25, jitter=0.02, duplication=0.1)
    scenario.client_config = scenario.server_config = Config(versions=BOTH)
    pair, _ = scenario.download(Download(sizes=[5_000]), deadline=60.0)
    assert pair.client.connection.version == QUIC_V2


def test_no_common_version(scenario: Scenario) -> None:
    """The client hears what the server speaks, and an application can try again with that."""
    scenario.client_config = Config(versions=(QUIC_V2, QUIC_V1), initial_version=QUIC_V2)
    scenario.server_config = Config(versions=(QUIC_V1,))
    pair = scenario.pair()
    assert pair.run(lambda: pair.client.connection.is_closed, deadline=5.0)
    offered, closed = pair.client.events
    assert isinstance(offered, VersionsOffered)
    assert QUIC_V1 in offered.versions
    assert isinstance(closed, ConnectionClosed)
    assert closed.kind == "version_negotiation"
    assert closed.error_code == TransportErrorCode.VERSION_NEGOTIATION_ERROR
    assert not pair.servers


def test_begin_in_a_reserved_version(scenario: Scenario) -> None:
    """RFC 9000 §15: nobody speaks it, so the server says what it speaks."""
    reserved = 0x1A2A3A4A
    scenario.client_config = Config(initial_version=reserved)
    pair = scenario.pair()
    assert pair.run(lambda: pair.client.connection.is_closed, deadline=5.0)
    offered = pair.client.events[0]
    assert isinstance(offered, VersionsOffered)
    assert {QUIC_V1, QUIC_V2} <= set(offered.versions)
    assert not pair.servers
    assert versions_sent(pair, PacketType.VERSION_NEGOTIATION, from_client=False) == {0}


def test_a_version_that_is_neither_known_nor_reserved(scenario: Scenario) -> None:
    scenario.client_config = Config(initial_version=0xFF00001D)
    with pytest.raises(ValueError, match="initial_version"):
        scenario.pair()
