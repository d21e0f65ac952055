"""Events that were taken before a request was given up, and are handed on after it."""

import datetime as dt
from collections.abc import Sequence

from endpoint.events import Event, StreamReceived
from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.events import Headers
from endpoint.testing.certificates import Chain
from endpoint.testing.h3 import WIRE, BatchH3End, H3End, connect
from endpoint.testing.scenario import Scenario
from endpoint.transport.connection import Connection

POST: Headers = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"a"), (b":path", b"/")]
# Its last field gets into the table of the server's encoder.
ANSWER: Headers = [(b":status", b"200"), (b"x", b"y" * 30)]


class Slow(BatchH3End):
    """Keeps back events once it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.keeps = False
        self.kept: list[Event] = []

    def on_events(self, connection: Connection, events: Sequence[Event], now: float) -> None:
        if self.keeps:
            self.kept += events
        else:
            super().on_events(connection, events, now)


def test_a_response_that_was_stopped_is_not_told(chain: Chain, valid_from: dt.datetime) -> None:
    """RFC 9204 §4.4.1: nor acknowledged after its stream was cancelled, which would end the connection."""
    scenario = Scenario(chain=chain, wall_time=valid_from.timestamp() + 3600, seed=1)
    scenario.up = WIRE
    client, server = Slow(), H3End()
    pair = connect(scenario, client, server)
    pair.run(deadline=pair.now + 0.5)
    for keeps in (False, False, True):
        client.keeps = keeps
        stream_id = client.h3.send_request(POST)
        pair.run(deadline=pair.now + 0.5)
        server.h3.send_response(stream_id, ANSWER, b"content", end=True)
        pair.run(deadline=pair.now + 0.5)
    assert any(isinstance(event, StreamReceived) for event in client.kept)
    client.h3.stop(stream_id, H3ErrorCode.H3_REQUEST_CANCELLED)
    told = client.h3.handle_all(client.kept, pair.now)
    client.keeps = False
    pair.run(deadline=pair.now + 0.5)
    assert server.closed is None
    assert list(told) == []
