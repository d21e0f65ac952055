"""0-RTT requests: what a client may do by settings that it remembers (RFC 9114 §7.2.4.2)."""

import asyncio
from dataclasses import replace

import pytest

from endpoint.events import EarlyDataRejected, Event, SessionReceived
from endpoint.h3.connection import H3Connection
from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.events import H3Event, Headers, HeadersReceived
from endpoint.h3.settings import Settings
from endpoint.http.downloads import H3Downloads
from endpoint.testing.h3 import H3End, connect
from endpoint.testing.pair import Idle, Pair
from endpoint.testing.scenario import Scenario
from endpoint.tls.session import Session
from endpoint.transport.connection import Connection

REQUEST: Headers = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"server4"),
    (b":path", b"/"),
    (b"x-name", b"value"),
]


def resumed(scenario: Scenario, client: Idle, server: H3End) -> Pair:
    """A pair whose client can begin with 0-RTT, since there was another before."""
    scenario.make_resumable()
    pair = connect(scenario, H3End(), H3End())
    pair.run(deadline=pair.now + 1.0)
    sessions = [event.session for event in pair.client.events if isinstance(event, SessionReceived)]
    scenario.session = Session.from_bytes(sessions[0])
    pair = scenario.pair(client, lambda: server)
    assert pair.client.connection.sends_early_data
    return pair


def resume(scenario: Scenario, remembered: Settings, second: Settings) -> tuple[Pair, H3End, H3End, int]:
    """A request in 0-RTT to a server with the `second` settings."""
    client, server = H3End(peer_settings=remembered), H3End(second)
    pair = resumed(scenario, client, server)
    h3 = client.attach(pair.client.connection)
    h3.start()
    stream_id = h3.send_request(REQUEST, end=True)
    pair.run(deadline=2.0)
    return pair, client, server, stream_id


def test_request_in_early_data(scenario: Scenario) -> None:
    _, client, server, stream_id = resume(scenario, Settings(), Settings(qpack_blocked_streams=20))
    told = server.of(HeadersReceived)
    assert told == [HeadersReceived(stream_id, REQUEST, True)]
    assert client.closed is None
    assert client.h3.peer_settings is not None
    assert client.h3.peer_settings.qpack_blocked_streams == 20


@pytest.mark.parametrize(
    "remembered", [replace(Settings(), max_field_section_size=None), Settings(h3_datagram=True)]
)
def test_settings_that_contradict(scenario: Scenario, remembered: Settings) -> None:
    _, client, _, _ = resume(scenario, remembered, Settings())
    assert client.closed is not None
    assert H3ErrorCode(client.closed.error_code) is H3ErrorCode.H3_SETTINGS_ERROR


def test_rejected_early_data(scenario: Scenario) -> None:
    """The request is sent again, and nothing that was remembered counts."""
    scenario.make_resumable()
    pair = connect(scenario, H3End(), H3End())
    pair.run(deadline=pair.now + 1.0)
    sessions = [event.session for event in pair.client.events if isinstance(event, SessionReceived)]
    scenario.seed += 10
    scenario.make_resumable()  # other keys for tickets
    scenario.session = Session.from_bytes(sessions[0])
    client, server = H3End(peer_settings=Settings(h3_datagram=True)), H3End()
    pair = scenario.pair(client, lambda: server)
    h3 = client.attach(pair.client.connection)
    h3.start()
    stream_id = h3.send_request(REQUEST, end=True)
    pair.run(deadline=2.0)
    assert any(isinstance(event, EarlyDataRejected) for event in pair.client.events)
    assert server.of(HeadersReceived) == [HeadersReceived(stream_id, REQUEST, True)]
    assert client.closed is None


class Downloading(Idle):
    """Passes events to downloads, and is where their contents go."""

    def __init__(self) -> None:
        self.downloads = H3Downloads("server4")
        self.outcomes: list[str] = []

    def on_event(self, connection: Connection, event: Event, now: float) -> None:  # noqa: ARG002 - Application
        self.downloads.on_event(connection, event)

    def write(self, data: bytes) -> None:
        """Only outcomes are looked at."""

    def finish(self) -> None:
        self.outcomes.append("complete")

    def abandon(self, reason: str) -> None:
        self.outcomes.append(reason)


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [([b"425", b"200"], "complete"), ([b"425", b"425"], "the server answered 425"), ([b"200"], "complete")],
)
def test_too_early(scenario: Scenario, answers: list[bytes], outcome: str) -> None:
    """RFC 8470 §5.2: asked again after the handshake, once."""

    def answer(h3: H3Connection, event: H3Event) -> None:
        if isinstance(event, HeadersReceived):
            status = answers[len(requests)]
            requests.append(h3.quic.handshake_complete)
            h3.send_response(event.stream_id, [(b":status", status)], b"content", end=True)

    async def act() -> list[str]:
        client = Downloading()
        pair = resumed(scenario, client, H3End(answer=answer))
        client.downloads.get("/", client)
        client.downloads.send(pair.client.connection)
        pair.run(deadline=2.0)
        return client.outcomes

    requests: list[bool] = []
    assert asyncio.run(act()) == [outcome]
    assert requests == [False, True][: len(answers)]
