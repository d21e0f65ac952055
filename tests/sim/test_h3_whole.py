"""Messages of one piece, which HTTP/3 takes in one pass, over links that lose, damage, copy and disorder.

Without a tracer, which would have each of them go step by step, and with all events of a batch at once, as on
sockets. Every byte is compared.
"""

import random
from dataclasses import dataclass, field, replace

import pytest

from endpoint.config import Config
from endpoint.events import StreamReceived
from endpoint.h3.connection import H3Connection
from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.events import (
    BodyReadable,
    BodyWritable,
    H3Event,
    Headers,
    HeadersReceived,
    RequestReset,
    ResponseReceived,
)
from endpoint.h3.priority import Priority
from endpoint.testing.apps import content
from endpoint.testing.h3 import BatchH3End, connect
from endpoint.testing.link import RUNNER, LinkProfile
from endpoint.testing.pair import Pair
from endpoint.testing.scenario import Scenario

ROUGH = LinkProfile(
    delay=0.01, jitter=0.005, loss=0.08, reordering=0.2, duplication=0.1, corruption=0.03, bandwidth=20e6
)
# Around what one packet, the read-ahead and a whole stream hold, and where content is no longer little.
SIZES = (0, 1, 60, 63, 64, 1100, 1200, 4000, 4095, 4096, 9000, 16_300, 16_384, 20_000)
REQUESTS = 120


def request(path: str, method: bytes, more: list[tuple[bytes, bytes]]) -> Headers:
    head = [(b":method", method), (b":scheme", b"https"), (b":authority", b"a"), (b":path", path.encode())]
    return head + more


@dataclass
class Echo:
    """Answers `/N` with N bytes, and after the body of a request, if it has one."""

    end: BatchH3End = field(init=False)
    bodies: dict[int, bytes] = field(default_factory=dict)
    left: dict[int, bytes] = field(default_factory=dict)

    def answer(self, h3: H3Connection, event: H3Event) -> None:
        match event:
            case HeadersReceived(stream_id=stream_id, ended=True):
                self.respond(h3, stream_id)
            case BodyReadable(stream_id=stream_id) if self.end.messages[stream_id].complete:
                self.bodies[stream_id] = bytes(self.end.messages[stream_id].body)
                self.respond(h3, stream_id)
            case BodyWritable(stream_id=stream_id) if stream_id in self.left:
                data = self.left[stream_id]
                self.left[stream_id] = data[h3.send_body(stream_id, data, end=True) :]

    def respond(self, h3: H3Connection, stream_id: int) -> None:
        fields = dict(self.end.messages[stream_id].headers)
        data = content(stream_id, int(fields[b":path"][1:]))
        # Some that repeat themselves, and some that come once.
        head = [(b":status", b"200"), (b"server", b"interquic"), (b"x-stream", b"%d" % (stream_id % 28))]
        taken = h3.send_response(stream_id, head, data, end=True)
        if taken < len(data):
            self.left[stream_id] = data[taken:]


@dataclass
class Asker:
    """Sends requests as the limit allows, and keeps what has to come."""

    rng: random.Random
    left: int = REQUESTS
    cancels: bool = False
    asked: dict[int, int] = field(default_factory=dict)
    sent: dict[int, bytes] = field(default_factory=dict)
    writing: dict[int, bytes] = field(default_factory=dict)
    cancelled: set[int] = field(default_factory=set)

    def go_on(self, h3: H3Connection) -> None:
        while self.left and h3.can_send_request:
            self.left -= 1
            rng, size = self.rng, self.rng.choice(SIZES)
            more = [(b"x-once", b"%d" % self.left)] if rng.random() < 0.3 else []
            priority = Priority(rng.randrange(8), rng.random() < 0.5) if rng.random() < 0.2 else None
            method, body = b"GET", b""
            if rng.random() < 0.3:
                method, body = b"POST", content(7, rng.choice(SIZES))
            stream_id = h3.send_request(request(f"/{size}", method, more), end=not body, priority=priority)
            self.asked[stream_id] = size
            if self.cancels and rng.random() < 0.15:
                h3.cancel(stream_id, H3ErrorCode.H3_REQUEST_CANCELLED)
                self.cancelled.add(stream_id)
            elif body:
                self.sent[stream_id] = self.writing[stream_id] = body
                self.write(h3, stream_id)

    def write(self, h3: H3Connection, stream_id: int) -> None:
        data = self.writing[stream_id]
        self.writing[stream_id] = data[h3.send_body(stream_id, data, end=True) :]

    def hear(self, h3: H3Connection, event: H3Event) -> None:
        if isinstance(event, BodyWritable) and event.stream_id in self.writing:
            self.write(h3, event.stream_id)
        self.go_on(h3)


def run(scenario: Scenario, *, whole_responses: bool, cancels: bool = False) -> tuple[Pair, BatchH3End]:
    echo = Echo()
    asker = Asker(random.Random(scenario.seed), cancels=cancels)
    server = echo.end = BatchH3End(answer=echo.answer)
    client = BatchH3End(answer=asker.hear, whole_responses=whole_responses)
    pair = connect(scenario, client, server)

    def done() -> bool:
        return not asker.left and all(
            stream_id in asker.cancelled
            or (stream_id in client.messages and client.messages[stream_id].complete)
            for stream_id in asker.asked
        )

    assert pair.run(done, deadline=120.0), f"{asker.left} left at {pair.now:.3f} s, {client.closed}"
    pair.run(deadline=pair.now + 10.0)
    assert client.closed is None
    assert server.closed is None
    told = [
        event.stream_id for event in client.events if isinstance(event, HeadersReceived | ResponseReceived)
    ]
    assert sorted(told) == sorted(asker.asked.keys() - asker.cancelled)
    for stream_id in told:
        message = client.messages[stream_id]
        assert message.body == content(stream_id, asker.asked[stream_id])
        assert (b"x-stream", b"%d" % (stream_id % 28)) in message.headers
    # Nothing is lost, comes twice, or is kept.
    assert {stream_id: body for stream_id, body in echo.bodies.items() if body} == asker.sent
    assert client.of(RequestReset) == []
    requests = [event.stream_id for event in server.of(HeadersReceived)]
    assert len(requests) == len(set(requests))
    assert set(told) <= set(requests)
    assert client.h3.open_requests == server.h3.open_requests == 0
    return pair, client


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("whole_responses", [False, True])
@pytest.mark.parametrize("profile", [replace(RUNNER, loss=0.1), ROUGH], ids=["loss", "rough"])
def test_all_bytes_arrive(
    scenario: Scenario, profile: LinkProfile, whole_responses: bool, number: int
) -> None:
    scenario.seed += number
    scenario.up = profile
    pair, client = run(scenario, whole_responses=whole_responses)
    assert bool(client.of(ResponseReceived)) is whole_responses
    for end in (pair.client, pair.server):
        assert sum(isinstance(event, StreamReceived) for event in end.events) > 10


@pytest.mark.parametrize("number", range(4))
def test_small_windows_and_few_streams(scenario: Scenario, number: int) -> None:
    """Most of it comes in parts, at the limits of streams and flow control."""
    scenario.seed += number
    scenario.up = ROUGH
    small = Config(
        initial_max_data=6000,
        max_data_window=6000,
        initial_max_stream_data=2000,
        max_stream_data_window=2000,
        initial_max_streams_bidi=3 + number,
        send_buffer_size=3000,
    )
    scenario.client_config = scenario.server_config = small
    run(scenario, whole_responses=number % 2 == 1)


@pytest.mark.parametrize("number", range(6))
def test_some_are_cancelled_at_once(scenario: Scenario, number: int) -> None:
    scenario.seed += number
    scenario.up = ROUGH
    run(scenario, whole_responses=number % 2 == 1, cancels=True)
