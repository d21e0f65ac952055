"""Datagrams across networks, next to streams and without (RFC 9221)."""

from dataclasses import dataclass, field, replace

import pytest

from endpoint.batch import PacketBuffer
from endpoint.config import Config
from endpoint.errors import DatagramError
from endpoint.events import DatagramReceived, Event, HandshakeCompleted
from endpoint.testing.apps import ContentServer, Download
from endpoint.testing.link import RUNNER, LinkProfile
from endpoint.testing.pair import End, Idle, Pair
from endpoint.testing.scenario import Scenario
from endpoint.transport.connection import Connection

MEBIBYTE = 1 << 20
TAKES_ALL = Config(max_datagram_frame_size=65535)


@dataclass(slots=True, kw_only=True)
class Source(Idle):
    """Sends numbered datagrams of `size` bytes: `burst` of them every `interval` seconds, `count` in all."""

    count: int
    size: int = 100
    burst: int = 10
    interval: float = 0.01
    sent: int = 0
    dropped: int = 0
    _next: float | None = field(default=None)

    def on_event(self, connection: Connection, event: Event, now: float) -> None:
        if isinstance(event, HandshakeCompleted):
            self.on_timeout(connection, now)

    def next_timeout(self) -> float | None:
        return self._next

    def on_timeout(self, connection: Connection, now: float) -> None:
        if connection.is_closing:
            self._next = None
            return
        for _ in range(min(self.burst, self.count - self.sent)):
            data = self.sent.to_bytes(4, "big")
            self.dropped += not connection.send_datagram(data * (self.size // 4))
            self.sent += 1
        self._next = now + self.interval if self.sent < self.count else None


@dataclass(slots=True)
class ServerAndSource(ContentServer):
    """Answers requests and floods the client with datagrams."""

    source: Source = field(default_factory=lambda: Source(count=100_000, size=1000, burst=40))

    def on_event(self, connection: Connection, event: Event, now: float) -> None:
        ContentServer.on_event(self, connection, event, now)
        self.source.on_event(connection, event, now)

    def next_timeout(self) -> float | None:
        return self.source.next_timeout()

    def on_timeout(self, connection: Connection, now: float) -> None:
        self.source.on_timeout(connection, now)


def received(end: End) -> list[int]:
    """The numbers of the datagrams that came, each of which has to be whole."""
    numbers = []
    for event in end.events:
        if isinstance(event, DatagramReceived):
            number = event.data[:4]
            assert event.data == number * (len(event.data) // 4)
            numbers.append(int.from_bytes(number, "big"))
    return numbers


@pytest.fixture
def both(scenario: Scenario) -> Scenario:
    """Both ends take datagrams."""
    scenario.client_config = scenario.server_config = TAKES_ALL
    return scenario


def settle(pair: Pair, sources: list[Source]) -> None:
    assert pair.run(lambda: all(source.sent == source.count for source in sources), deadline=30.0)
    pair.run(deadline=pair.now + 1.0)


def test_both_ways(both: Scenario) -> None:
    client, server = Source(count=500), Source(count=300)
    pair = both.pair(client, lambda: server)
    settle(pair, [client, server])
    assert received(pair.server) == list(range(500))
    assert received(pair.client) == list(range(300))


def test_several_share_a_packet(both: Scenario) -> None:
    source = Source(count=1000, size=100, burst=100, interval=0.1)
    pair = both.pair(source)
    settle(pair, [source])
    assert received(pair.server) == list(range(1000))
    assert pair.client.connection.packets_sent < 1000 // 8


@pytest.mark.parametrize("size", [700, 1000, 1200])
def test_packets_of_one_size_go_as_one_batch(both: Scenario, size: int) -> None:
    """A segment of each, and none is padded to the size of a full packet."""
    pair = both.pair()
    pair.run(lambda: pair.client.connection.handshake_confirmed, deadline=5.0)
    pair.run(deadline=pair.now + 1.0)
    client = pair.client.connection
    for number in range(9):
        assert client.send_datagram(bytes([number]) * (size - (number == 8)))
    buffer = PacketBuffer()
    batch = client.transmit(buffer, pair.now)
    assert batch is not None
    assert size < batch.segment_size < size + 40
    sent = [end - start for start, end in batch.bounds()]
    assert sent == [batch.segment_size] * 8 + [batch.segment_size - 1]


@pytest.mark.parametrize(
    "profile",
    [
        replace(RUNNER, loss=0.1),
        LinkProfile(delay=0.02, jitter=0.01, reordering=0.2, loss=0.05, duplication=0.1, corruption=0.05),
    ],
    ids=["loss", "disorder"],
)
def test_what_is_lost_stays_lost(both: Scenario, profile: LinkProfile) -> None:
    both.up = profile
    source = Source(count=1000, size=400, burst=3)
    pair = both.pair(source)
    settle(pair, [source])
    numbers = received(pair.server)
    assert len(numbers) == len(set(numbers)), "delivered twice"
    assert 400 < len(numbers) < 1000
    assert not pair.client.connection.is_closing


def test_a_flood_drops_the_oldest_and_keeps_within_the_window(both: Scenario) -> None:
    """32 Mbit/s on a link of 10: what arrives is the newest of its time, and the link is not flooded."""
    source = Source(count=8_000, size=1000, burst=40)
    pair = both.pair(source)
    settle(pair, [source])
    numbers = received(pair.server)
    assert source.dropped > 0
    assert numbers[-1] == 7_999, "the newest survive"
    assert numbers == sorted(numbers)
    assert 1500 < len(numbers) < 4000
    overflowed = pair.network.up.statistics.overflowed
    assert overflowed < len(numbers) // 10


def test_streams_and_a_flood_share_the_path(both: Scenario) -> None:
    """Neither starves the other: each gets a third of it at least."""
    download = Download(sizes=[2 * MEBIBYTE])
    server = ServerAndSource()
    pair = both.pair(download, lambda: server)
    assert pair.run(lambda: download.done, deadline=30.0)
    datagrams = 1000 * len(received(pair.client))
    assert datagrams > 2 * MEBIBYTE / 2
    assert datagrams < 2 * MEBIBYTE * 2


def test_few_datagrams_do_not_wait_for_streams(both: Scenario) -> None:
    """They come with a queue in front of them, but not behind what the stream could send."""
    download = Download(sizes=[2 * MEBIBYTE])
    server = ServerAndSource()
    server.source = Source(count=50, size=100, burst=1, interval=0.02)
    pair = both.pair(download, lambda: server)
    assert pair.run(lambda: download.done, deadline=30.0)
    assert len(received(pair.client)) >= 45


def test_not_negotiated(scenario: Scenario) -> None:
    scenario.client_config = TAKES_ALL
    pair = scenario.pair()
    with pytest.raises(DatagramError):
        pair.client.connection.send_datagram(b"early")
    pair.run(lambda: bool(pair.servers) and pair.client.connection.handshake_confirmed, deadline=5.0)
    assert pair.client.connection.datagram_limit == 0
    with pytest.raises(DatagramError):
        pair.client.connection.send_datagram(b"x")
    # One direction is enough for the other.
    assert pair.server.connection.send_datagram(b"0000" * 4)
    pair.run(deadline=pair.now + 1.0)
    assert len(received(pair.client)) == 1


def test_the_largest_that_fits(both: Scenario) -> None:
    pair = both.pair()
    pair.run(lambda: pair.client.connection.handshake_confirmed, deadline=5.0)
    client = pair.client.connection
    limit = client.datagram_limit
    assert 1200 < limit < Config().max_udp_payload_size
    client.send_datagram(bytes(limit))
    with pytest.raises(DatagramError):
        client.send_datagram(bytes(limit + 1))
    pair.run(deadline=pair.now + 1.0)
    assert [len(event.data) for event in pair.server.events if isinstance(event, DatagramReceived)] == [limit]


def test_across_a_rebinding(both: Scenario) -> None:
    both.rebindings = [(0.3, ("192.0.2.1", 50_001)), (0.6, ("192.0.2.9", 1023))]
    client, server = Source(count=600, burst=5), Source(count=600, burst=5)
    pair = both.pair(client, lambda: server)
    settle(pair, [client, server])
    assert received(pair.server) == list(range(600))
    # What the server had sent to the old address is lost.
    assert len(received(pair.client)) > 500
