"""0-RTT requests: what a client may do by settings that it remembers (RFC 9114 §7.2.4.2)."""

from dataclasses import replace

import pytest

from endpoint.events import EarlyDataRejected, SessionReceived
from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.events import Headers, HeadersReceived
from endpoint.h3.settings import Settings
from endpoint.testing.h3 import H3End, connect
from endpoint.testing.pair import Pair
from endpoint.testing.scenario import Scenario
from endpoint.tls.session import Session

REQUEST: Headers = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"server4"),
    (b":path", b"/"),
    (b"x-name", b"value"),
]


def resume(scenario: Scenario, remembered: Settings, second: Settings) -> tuple[Pair, H3End, H3End, int]:
    """A request in 0-RTT to a server with the `second` settings."""
    scenario.make_resumable()
    pair = connect(scenario, H3End(), H3End())
    pair.run(deadline=pair.now + 1.0)
    sessions = [event.session for event in pair.client.events if isinstance(event, SessionReceived)]
    scenario.session = Session.from_bytes(sessions[0])
    client, server = H3End(peer_settings=remembered), H3End(second)
    pair = scenario.pair(client, lambda: server)
    connection = pair.client.connection
    assert connection.sends_early_data
    h3 = client.attach(connection)
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
