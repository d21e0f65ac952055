"""Resumption and 0-RTT between two of ours (RFC 9001 §4.6)."""

from dataclasses import replace

import pytest

from endpoint.admission import always_retry
from endpoint.cli.testcases import find_case
from endpoint.config import Config
from endpoint.events import (
    EarlyDataAccepted,
    EarlyDataRejected,
    Event,
    HandshakeCompleted,
    SessionReceived,
    StreamOpened,
)
from endpoint.keyring import KeyRing
from endpoint.testing.apps import ContentServer, Download
from endpoint.testing.link import RUNNER, LinkProfile
from endpoint.testing.pair import End, Pair, seeded_bytes
from endpoint.testing.scenario import Scenario
from endpoint.tls.session import Session
from endpoint.transport.connection import Connection
from endpoint.wire.header import PacketType, parse_long_header
from endpoint.wire.version import QUIC_V1, QUIC_V2


class EarlyDownload(Download):
    """Requests at once what it can, and not once more when the handshake is complete."""

    def on_event(self, connection: Connection, event: Event, now: float) -> None:
        if not isinstance(event, HandshakeCompleted) or self.started_at is None:
            Download.on_event(self, connection, event, now)


def sessions_of(end: End) -> list[Session]:
    return [Session.from_bytes(event.session) for event in end.events if isinstance(event, SessionReceived)]


def completed(end: End) -> HandshakeCompleted:
    (event,) = [event for event in end.events if isinstance(event, HandshakeCompleted)]
    return event


@pytest.fixture
def resumable(scenario: Scenario) -> Scenario:
    """After a first connection, with a session of it."""
    scenario.make_resumable()
    pair, _ = scenario.download(Download(sizes=[100]), deadline=5.0)
    pair.run(lambda: len(sessions_of(pair.client)) == 2, deadline=10.0)
    scenario.session = sessions_of(pair.client)[0]
    scenario.wall_time += 10.0
    return scenario


def download_early(scenario: Scenario, sizes: list[int], *, upload: int = 0) -> Pair:
    """The requests are written before anything is sent."""
    download = EarlyDownload(sizes=sizes, upload=upload)
    pair = scenario.pair(download, ContentServer)
    assert pair.client.connection.sends_early_data
    download.on_event(pair.client.connection, HandshakeCompleted("", 0, ()), 0.0)
    assert pair.run(lambda: download.done and completed_all(pair), deadline=60.0), download
    return pair


def completed_all(pair: Pair) -> bool:
    return all(end.connection.handshake_confirmed for end in (pair.client, *pair.servers))


def zero_rtt_packets(pair: Pair) -> int:
    """Datagrams from the client that begin with, or consist of, a 0-RTT packet."""
    count = 0
    for captured in pair.network.captured:
        start = 0
        while captured.from_client and start < len(captured.data) and captured.data[start] & 0x80:
            header = parse_long_header(captured.data, start, len(captured.data))
            count += header.type is PacketType.ZERO_RTT
            start = header.packet_end
    return count


def test_resumption_without_early_data(resumable: Scenario) -> None:
    assert resumable.session is not None
    resumable.session = replace(resumable.session, early_data=False)
    pair, _ = resumable.download(Download(sizes=[1000]), deadline=5.0)
    assert completed(pair.client).resumed
    assert completed(pair.server).resumed
    assert zero_rtt_packets(pair) == 0


def test_early_data(resumable: Scenario) -> None:
    pair = download_early(resumable, [100] * 39)
    assert completed(pair.client).early_data
    assert EarlyDataAccepted() in pair.client.events
    # The server hears first that what follows came early.
    events = pair.server.events
    assert events.index(EarlyDataAccepted()) < events.index(StreamOpened(0))
    assert zero_rtt_packets(pair) > 0


def test_answers_come_a_round_trip_earlier(resumable: Scenario) -> None:
    resumable.up = LinkProfile(delay=0.1)
    early = download_early(resumable, [100]).now
    resumable.session = None
    late = resumable.pair()
    late.run(lambda: late.client.connection.handshake_complete, deadline=5.0)
    assert early <= late.now + 0.21


@pytest.mark.parametrize("repetition", range(10))
def test_on_a_bad_link(resumable: Scenario, repetition: int) -> None:
    """0-RTT packets are lost, come before the Initial, and twice."""
    resumable.seed += repetition
    resumable.up = replace(RUNNER, loss=0.2, jitter=0.03, duplication=0.1)
    download_early(resumable, [2000] * 20)


def test_large_upload(resumable: Scenario) -> None:
    """More than the first window: goes on as 1-RTT data."""
    download_early(resumable, [1000], upload=300_000)


def test_a_window_full_of_lost_early_data(resumable: Scenario) -> None:
    """The client's Finished must not wait for it: no PTO is armed for 0-RTT packets (RFC 9002 §6.2.1)."""
    resumable.up = replace(RUNNER, dropped_numbers=frozenset(range(2, 16)))
    resumable.down = replace(RUNNER, dropped_numbers=frozenset({2}))
    pair = download_early(resumable, [1000], upload=300_000)
    assert pair.now < 10.0


def test_rejected(resumable: Scenario) -> None:
    """Keys the server does not know: a full handshake, and all is sent again."""
    resumable.ticket_keys = KeyRing.generate(seeded_bytes(99), resumable.wall_time)
    pair = download_early(resumable, [1000] * 10, upload=5000)
    assert EarlyDataRejected() in pair.client.events
    assert not completed(pair.client).resumed


def test_a_ticket_used_twice(resumable: Scenario) -> None:
    """The second time its 0-RTT data is refused, the session itself still resumes (RFC 9846 §8)."""
    download_early(resumable, [100])
    pair = download_early(resumable, [100])
    assert completed(pair.client).resumed
    assert not completed(pair.client).early_data


@pytest.mark.parametrize("repetition", range(5))
def test_with_retry(resumable: Scenario, repetition: int) -> None:
    """0-RTT data goes out again after the Retry."""
    resumable.seed += repetition
    resumable.admission = always_retry
    resumable.up = replace(RUNNER, loss=0.1 if repetition else 0.0)
    pair = download_early(resumable, [500] * 10)
    assert completed(pair.client).resumed


def test_limits_that_shrank(resumable: Scenario) -> None:
    """A server with lower limits than its ticket tells refuses the early data (RFC 9000 §7.4.1)."""
    resumable.server_config = Config(initial_max_streams_bidi=2)
    pair = download_early(resumable, [100] * 10)
    assert EarlyDataRejected() in pair.client.events


def test_change_to_version_2(resumable: Scenario) -> None:
    """0-RTT packets stay in the original version (RFC 9369 §4.1)."""
    resumable.client_config = resumable.server_config = Config(versions=(QUIC_V2, QUIC_V1))
    pair = download_early(resumable, [500] * 10)
    assert pair.client.connection.version == QUIC_V2
    assert completed(pair.client).early_data


def test_restarted_server_with_its_keys(resumable: Scenario) -> None:
    """Sessions outlive the server; its 0-RTT guard has forgotten what it saw and refuses."""
    keys = resumable.ticket_keys
    assert keys is not None
    resumable.ticket_keys = KeyRing.load(keys.dump(), seeded_bytes(5))
    pair, _ = resumable.download(Download(sizes=[100]), deadline=5.0)
    assert completed(pair.client).resumed


def test_overtakes_its_initial(resumable: Scenario) -> None:
    """The first datagram comes last: the server keeps what it can't read yet (RFC 9000 §5.2.2)."""
    resumable.up = LinkProfile(delay=0.02, dropped_numbers=frozenset({1}))
    resumable.down = LinkProfile(delay=0.02)
    pair = download_early(resumable, [100], upload=8_000)
    assert completed(pair.client).early_data
    sent = zero_rtt_packets(pair)
    # Nothing but the lost datagram had to be sent again.
    assert sent <= 9


def test_session_of_another_version(resumable: Scenario) -> None:
    """RFC 9369 §5: it is not even offered."""
    resumable.client_config = Config(versions=(QUIC_V2,), initial_version=QUIC_V2)
    pair, _ = resumable.download(Download(sizes=[100]), deadline=5.0)
    assert not pair.client.connection.sends_early_data
    assert not completed(pair.client).resumed


def test_session_after_a_change_is_of_the_new_version(resumable: Scenario) -> None:
    """RFC 9369 §5: by the version negotiated, on both sides."""
    resumable.session = None
    resumable.client_config = resumable.server_config = Config(versions=(QUIC_V2, QUIC_V1))
    pair, _ = resumable.download(Download(sizes=[100]), deadline=5.0)
    pair.run(lambda: len(sessions_of(pair.client)) == 2, deadline=10.0)
    resumable.session = sessions_of(pair.client)[0]
    resumable.wall_time += 10.0
    pair, _ = resumable.download(Download(sizes=[100]), deadline=5.0)
    assert not completed(pair.client).resumed
    resumable.client_config = Config(versions=(QUIC_V2,), initial_version=QUIC_V2)
    pair = download_early(resumable, [100])
    assert completed(pair.client).resumed
    assert completed(pair.client).early_data


def test_server_refuses_a_ticket_of_another_version(resumable: Scenario) -> None:
    """A client that forgot where it had its session from falls back to a full handshake."""
    assert resumable.session is not None
    state = QUIC_V2.to_bytes(4, "big") + resumable.session.application_state[4:]
    resumable.session = replace(resumable.session, application_state=state)
    resumable.client_config = Config(versions=(QUIC_V2,), initial_version=QUIC_V2)
    pair = download_early(resumable, [100])
    assert EarlyDataRejected() in pair.client.events
    assert not completed(pair.client).resumed


def one_rtt_bytes(pair: Pair) -> int:
    """What the client sent in packets with a short header."""
    total = 0
    for captured in pair.network.captured:
        start = 0
        while captured.from_client and start < len(captured.data) and captured.data[start] & 0x80:
            start = parse_long_header(captured.data, start, len(captured.data)).packet_end
        total += len(captured.data) - start if captured.from_client else 0
    return total


def test_the_runners_sum(scenario: Scenario) -> None:
    """Case `zerortt`: 40 requests of some 255 bytes, at most 5,000 bytes in 1-RTT packets in all."""
    scenario.make_resumable()
    case = find_case("zerortt", "client")
    assert case is not None
    scenario.client_config = scenario.server_config = case.config
    first, _ = scenario.download(Download(sizes=[32], upload=245), deadline=5.0)
    first.run(lambda: completed_all(first), deadline=10.0)
    scenario.session = sessions_of(first.client)[0]
    second = download_early(scenario, [32] * 39, upload=245)
    assert completed(second.client).early_data
    assert zero_rtt_packets(second) >= 8
    assert 0 < one_rtt_bytes(first) + one_rtt_bytes(second) <= 5000
