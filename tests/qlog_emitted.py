"""Connections of our endpoint that write traces: one function for each kind, named for what it is about."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from endpoint.admission import always_retry
from endpoint.config import Config
from endpoint.testing.apps import ContentServer, Download
from endpoint.testing.link import RUNNER, SERVER_ADDRESS, LinkProfile
from endpoint.testing.pair import Pair
from endpoint.testing.scenario import Scenario
from endpoint.tls.session import Session
from endpoint.tracing import QlogFolder
from endpoint.tracing.qlog import QlogLevel
from endpoint.wire.version import QUIC_V1, QUIC_V2

KIBIBYTE = 1024
WIFI = ("203.0.113.9", 6000)


@dataclass
class Traced:
    """A scenario whose ends write traces into `folder`."""

    scenario: Scenario
    folder: Path

    def trace(self, level: QlogLevel = "extra") -> None:
        """Both ends, in whatever the scenario's settings are now."""
        self.folder.mkdir(exist_ok=True)
        tracer = QlogFolder(self.folder, level)
        self.scenario.client_config = replace(self.scenario.client_config, tracer=tracer)
        self.scenario.server_config = replace(self.scenario.server_config, tracer=tracer)

    def records(self, role: str) -> list[dict[str, Any]]:
        """All events of the one trace of that role."""
        [path] = self.folder.glob(f"*_{role}.sqlog")
        texts = path.read_text().split("\x1e")[1:]
        return [json.loads(text) for text in texts][1:]

    def of(self, role: str, name: str) -> list[dict[str, Any]]:
        """The data of the events of that name."""
        return [record["data"] for record in self.records(role) if record["name"] == f"quic:{name}"]


def finish(pair: Pair) -> None:
    """Close from the client, and wait until both have forgotten the connection."""
    pair.client.connection.close(now=pair.now)
    pair.run(deadline=pair.now + 60.0)
    assert pair.client.connection.is_closed


def download(traced: Traced, size: int = 200 * KIBIBYTE) -> None:
    traced.trace()
    pair, _ = traced.scenario.download(Download(sizes=[size, 100], upload=100), deadline=120.0)
    finish(pair)


def handshake_alone(traced: Traced) -> None:
    traced.trace()
    pair = traced.scenario.pair()
    pair.run(deadline=1.0)
    finish(pair)


def loss(traced: Traced) -> None:
    traced.scenario.up = LinkProfile(delay=0.02, jitter=0.01, reordering=0.1, loss=0.05, duplication=0.02)
    download(traced)


def retry(traced: Traced) -> None:
    traced.scenario.admission = always_retry
    download(traced)


def change_of_version(traced: Traced) -> None:
    traced.scenario.server_config = Config(versions=(QUIC_V2, QUIC_V1))
    download(traced)


def version_negotiation(traced: Traced) -> None:
    traced.scenario.client_config = Config(versions=(QUIC_V1, QUIC_V2), initial_version=0x1A2A3A4A)
    traced.trace()
    traced.scenario.pair().run(deadline=1.0)


def early_data(traced: Traced) -> None:
    scenario = traced.scenario
    scenario.make_resumable()
    pair, _ = scenario.download(Download(sizes=[100]), deadline=5.0)
    pair.run(deadline=3.0)
    sessions = [event.session for event in pair.client.events if hasattr(event, "session")]
    scenario.session = Session.from_bytes(sessions[0])
    scenario.wall_time += 10.0
    traced.trace()
    pair = scenario.pair()
    client = pair.client.connection
    assert client.sends_early_data
    stream_id = client.open_stream()
    client.write(stream_id, b"x" * 3000, fin=True)
    pair.run(deadline=1.0)
    finish(pair)


def key_updates(traced: Traced) -> None:
    traced.scenario.client_config = Config(key_update_after=40)
    download(traced)


def migration(traced: Traced) -> None:
    traced.scenario.up = replace(RUNNER, delay=0.005)
    traced.trace()
    transfer = Download(sizes=[500 * KIBIBYTE])
    pair = traced.scenario.pair(transfer, ContentServer)
    pair.run(lambda: transfer.received_bytes > 100 * KIBIBYTE, deadline=5.0)
    pair.client.connection.migrate(WIFI, pair.now)
    assert pair.run(lambda: transfer.done, deadline=30.0)
    finish(pair)


def close_in_the_middle(traced: Traced) -> None:
    traced.trace()
    transfer = Download(sizes=[2000 * KIBIBYTE])
    pair = traced.scenario.pair(transfer, ContentServer)
    pair.run(lambda: transfer.received_bytes > 50 * KIBIBYTE, deadline=5.0)
    pair.server.connection.close(0x1234, "enough", now=pair.now)
    pair.run(deadline=60.0)


def reset_streams(traced: Traced) -> None:
    traced.trace()
    transfer = Download(sizes=[2000 * KIBIBYTE])
    pair = traced.scenario.pair(transfer, ContentServer)
    pair.run(lambda: transfer.received_bytes > 50 * KIBIBYTE, deadline=5.0)
    pair.server.connection.reset_stream(0, 7)
    uni = pair.client.connection.open_stream(unidirectional=True)
    pair.client.connection.write(uni, b"begun")
    pair.run(deadline=pair.now + 0.2)
    pair.server.connection.stop_sending(uni, 9)
    pair.run(deadline=pair.now + 0.5)
    finish(pair)


def datagrams(traced: Traced) -> None:
    traced.scenario.client_config = traced.scenario.server_config = Config(max_datagram_frame_size=1000)
    traced.trace()
    pair = traced.scenario.pair()
    pair.run(deadline=1.0)
    for _ in range(5):
        pair.client.connection.send_datagram(b"hello")
    pair.run(deadline=2.0)
    finish(pair)


def silence(traced: Traced) -> None:
    """The server vanishes."""
    traced.trace()
    pair = traced.scenario.pair()
    pair.run(deadline=1.0)
    pair.network.meddle_up = pair.network.meddle_down = lambda _: []
    pair.client.connection.ping()
    pair.run(deadline=200.0)
    assert pair.client.connection.is_closed


def rebinding(traced: Traced) -> None:
    """The NAT before the client changes its port, then its address."""
    traced.scenario.rebindings = [(0.3, ("192.0.2.1", 50001)), (0.6, WIFI)]
    download(traced, size=1000 * KIBIBYTE)


def way_that_leads_nowhere(traced: Traced) -> None:
    """The client tries another of its addresses, and goes on where it was."""
    traced.trace()
    transfer = Download(sizes=[1000 * KIBIBYTE])
    pair = traced.scenario.pair(transfer, ContentServer)
    pair.run(lambda: transfer.received_bytes > 100 * KIBIBYTE, deadline=5.0)
    pair.network.meddle_up = lambda datagram: [] if datagram.source == WIFI else [datagram]
    pair.client.connection.migrate(WIFI, pair.now)
    assert pair.run(lambda: transfer.done, deadline=30.0)
    finish(pair)


def preferred_address(traced: Traced) -> None:
    preferred = (SERVER_ADDRESS[0], 8443)
    traced.scenario.server_config = Config(preferred_ipv4=preferred)
    download(traced, size=500 * KIBIBYTE)


def handshake_loss(traced: Traced) -> None:
    traced.scenario.up = LinkProfile(loss=0.3, max_losses_in_a_row=3)
    download(traced, size=10 * KIBIBYTE)


def corruption(traced: Traced) -> None:
    traced.scenario.up = LinkProfile(corruption=0.05)
    download(traced)


def long_rtt(traced: Traced) -> None:
    traced.scenario.up = replace(RUNNER, delay=0.75)
    download(traced)


def black_hole(traced: Traced) -> None:
    """Long enough for persistent congestion."""
    traced.scenario.up = replace(RUNNER, outages=((0.2, 3.2),))
    download(traced, size=1000 * KIBIBYTE)


def marks(traced: Traced) -> None:
    """A queue that marks datagrams instead of dropping them."""
    traced.scenario.up = replace(RUNNER, marking_queue=5)
    download(traced, size=500 * KIBIBYTE)


def disorder(traced: Traced) -> None:
    traced.scenario.up = LinkProfile(delay=0.02, reordering=0.3, reordering_delay=0.03)
    download(traced, size=500 * KIBIBYTE)


def many_streams(traced: Traced) -> None:
    """More than may be open at once."""
    traced.trace()
    pair, _ = traced.scenario.download(Download(sizes=[40] * 300, upload=20), deadline=60.0)
    finish(pair)


SCENARIOS: dict[str, Callable[[Traced], None]] = {
    scenario.__name__: scenario
    for scenario in (
        handshake_alone,
        download,
        loss,
        retry,
        change_of_version,
        version_negotiation,
        early_data,
        key_updates,
        migration,
        close_in_the_middle,
        reset_streams,
        datagrams,
        silence,
        rebinding,
        way_that_leads_nowhere,
        preferred_address,
        handshake_loss,
        corruption,
        long_rtt,
        black_hole,
        marks,
        disorder,
        many_streams,
    )
}
