"""Fewer ACKs on fast paths (draft-ietf-quic-ack-frequency)."""

from dataclasses import replace

import pytest

from endpoint.config import Config
from endpoint.errors import TransportErrorCode
from endpoint.events import ConnectionClosed
from endpoint.level import Level
from endpoint.testing.apps import Download
from endpoint.testing.link import LinkProfile
from endpoint.testing.packets import RawSession, raw_client_session
from endpoint.testing.pair import Pair
from endpoint.testing.scenario import Scenario
from endpoint.wire.frames import Ack, AckFrequency, ImmediateAck, Ping

MEBIBYTE = 1 << 20
# 100 Mbit/s and 10 ms: 100 packets on the way, and a queue for as many.
FAST = LinkProfile(delay=0.005, bandwidth=100e6, queue=100, mtu=1472)
OFF = Config(ack_frequency=False)


def acks_of(pair: Pair) -> int:
    """Datagrams that the client sent, which are nearly all ACKs."""
    return sum(sent.from_client for sent in pair.network.captured)


def test_a_fast_download_needs_fewer_acks(scenario: Scenario) -> None:
    """And takes no longer. The client can't receive more than one packet at once here."""
    scenario.up = FAST
    scenario.batch_limit = 1
    counts, seconds = [], []
    for config in (OFF, Config()):
        scenario.client_config = scenario.server_config = config
        download = Download(sizes=[3 * MEBIBYTE])
        pair, _ = scenario.download(download, deadline=20.0)
        counts.append(acks_of(pair))
        seconds.append(download.seconds)
    assert counts[1] < counts[0] / 2
    assert seconds[1] < seconds[0] * 1.1


@pytest.mark.parametrize(("client", "server"), [(OFF, Config()), (Config(), OFF)], ids=["client", "server"])
def test_one_side_does_not_know_it(scenario: Scenario, client: Config, server: Config) -> None:
    scenario.up = FAST
    scenario.client_config, scenario.server_config = client, server
    scenario.download(Download(sizes=[MEBIBYTE]), deadline=20.0)


@pytest.mark.parametrize(
    "profile",
    [
        replace(FAST, loss=0.01),
        replace(FAST, jitter=0.003, reordering=0.05),
        replace(FAST, loss=0.02, duplication=0.05, corruption=0.02, reordering=0.05),
    ],
    ids=["loss", "reordering", "all"],
)
def test_on_bad_paths(scenario: Scenario, profile: LinkProfile) -> None:
    scenario.up = profile
    scenario.download(Download(sizes=[MEBIBYTE], upload=MEBIBYTE // 2), deadline=60.0)


def test_across_a_rebinding(scenario: Scenario) -> None:
    scenario.up = FAST
    scenario.rebindings = [(0.1, ("192.0.2.1", 50_001)), (0.2, ("192.0.2.77", 50_000))]
    scenario.download(Download(sizes=[2 * MEBIBYTE]), deadline=20.0)


# Opposite a raw client.


@pytest.fixture
def session(scenario: Scenario) -> RawSession:
    """A server after the handshake, opposite a raw client."""
    session = raw_client_session(scenario.chain, scenario.wall_time)
    session.handshake()
    return session


def acked(session: RawSession) -> int:
    """The largest packet number that the server has acknowledged."""
    frames = session.raw.frames(Level.ONE_RTT)
    return max((frame.largest_acknowledged for frame in frames if isinstance(frame, Ack)), default=-1)


def test_obeys(session: RawSession) -> None:
    session.send(Level.ONE_RTT, AckFrequency(0, 5, 20_000, 1))
    session.advance(0.1)
    before = session.raw.next_pn[Level.ONE_RTT]
    for _ in range(5):
        session.send(Level.ONE_RTT, Ping())
    assert acked(session) == before - 1
    session.send(Level.ONE_RTT, Ping())
    assert acked(session) == before + 5
    session.send(Level.ONE_RTT, Ping())
    session.advance(0.019)
    assert acked(session) == before + 5
    session.advance(0.002)
    assert acked(session) == before + 6
    session.send(Level.ONE_RTT, ImmediateAck())
    assert acked(session) == before + 7


@pytest.mark.parametrize("delay", [999, 1 << 24])
def test_delay_outside_its_limits(session: RawSession, delay: int) -> None:
    session.send(Level.ONE_RTT, AckFrequency(0, 5, delay, 1))
    closed = session.closed
    assert isinstance(closed, ConnectionClosed)
    assert (closed.error_code, closed.frame_type) == (TransportErrorCode.PROTOCOL_VIOLATION, 0xAF)


@pytest.mark.parametrize("frame", [AckFrequency(0, 1, 25_000, 1), ImmediateAck()])
def test_not_announced(scenario: Scenario, frame: AckFrequency | ImmediateAck) -> None:
    session = raw_client_session(scenario.chain, scenario.wall_time, config=OFF)
    session.handshake()
    session.send(Level.ONE_RTT, frame)
    closed = session.closed
    assert closed is not None
    assert closed.error_code == TransportErrorCode.FRAME_ENCODING_ERROR
