"""HTTP/3 end to end in virtual time, over links that lose and delay."""

from dataclasses import replace

import pytest

from endpoint.config import Config
from endpoint.h3.connection import H3Connection
from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.events import (
    BodyWritable,
    GoawayReceived,
    H3DatagramReceived,
    H3Event,
    Headers,
    HeadersReceived,
    InformationalReceived,
    PriorityUpdated,
    RequestFinished,
    RequestReset,
    RequestsAvailable,
    RequestStopped,
    SettingsReceived,
    TrailersReceived,
)
from endpoint.h3.priority import Priority
from endpoint.h3.settings import Settings
from endpoint.testing.apps import content
from endpoint.testing.h3 import H3End, connect
from endpoint.testing.link import RUNNER
from endpoint.testing.pair import Pair
from endpoint.testing.scenario import Scenario


def request(path: str, method: bytes = b"GET", *more: tuple[bytes, bytes]) -> Headers:
    return [
        (b":method", method),
        (b":scheme", b"https"),
        (b":authority", b"server4"),
        (b":path", path.encode()),
        (b"user-agent", b"interquic"),
        *more,
    ]


class FileServer:
    """Answers `/N` with N bytes; `announce` them with a content-length."""

    def __init__(self, *, announce: bool = True, trailers: bool = False) -> None:
        self._announce = announce
        self._trailers = trailers
        self._sending: dict[int, tuple[int, int]] = {}

    def answer(self, h3: H3Connection, event: H3Event) -> None:
        match event:
            case HeadersReceived(stream_id=stream_id):
                size = int(dict(event.headers)[b":path"][1:])
                length = [(b"content-length", b"%d" % size)] if self._announce else []
                h3.send_headers(stream_id, [(b":status", b"103"), (b"link", b"</x>")])
                h3.send_headers(stream_id, [(b":status", b"200"), *length])
                self._sending[stream_id] = (0, size)
                self._pump(h3, stream_id)
            case BodyWritable(stream_id=stream_id):
                self._pump(h3, stream_id)

    def _pump(self, h3: H3Connection, stream_id: int) -> None:
        sent, size = self._sending[stream_id]
        while True:
            piece = content(sent, min(10_000, size - sent))
            last = sent + len(piece) == size
            taken = h3.send_body(stream_id, piece, end=last and not self._trailers)
            sent += taken
            self._sending[stream_id] = (sent, size)
            if taken < len(piece):
                return
            if last:
                if self._trailers:
                    h3.send_headers(stream_id, [(b"checksum", b"%d" % size)], end=True)
                del self._sending[stream_id]
                return


def get_all(pair: Pair, client: H3End, sizes: list[int], *, deadline: float = 60.0) -> dict[int, int]:
    """Ask for all of them, as fast as the limit allows; returns the size by stream."""
    asked: dict[int, int] = {}
    left = list(sizes)

    def done() -> bool:
        while left and client.h3.can_send_request:
            size = left.pop(0)
            asked[client.h3.send_request(request(f"/{size}"), end=True)] = size
        return not left and all(
            stream_id in client.messages and client.messages[stream_id].complete for stream_id in asked
        )

    assert pair.run(done, deadline=deadline), f"{len(left)} of {len(sizes)} not asked, {client.closed}"
    for stream_id, size in asked.items():
        assert client.messages[stream_id].body == content(0, size)
        assert dict(client.messages[stream_id].headers)[b":status"] == b"200"
    return asked


@pytest.mark.parametrize("announce", [True, False])
@pytest.mark.parametrize("trailers", [False, True])
@pytest.mark.parametrize("loss", [0.0, 0.05])
def test_downloads(scenario: Scenario, announce: bool, trailers: bool, loss: float) -> None:
    scenario.up = replace(RUNNER, loss=loss)
    client = H3End(read_size=30_000)
    server = H3End(answer=FileServer(announce=announce, trailers=trailers).answer)
    pair = connect(scenario, client, server)
    asked = get_all(pair, client, [0, 1, 100, 16_384, 300_000, 1_000_000])
    assert len(client.of(InformationalReceived)) == len(asked)
    assert len(client.of(TrailersReceived)) == (len(asked) if trailers else 0)
    assert pair.run(lambda: len(server.of(RequestFinished)) == len(asked), deadline=60.0)
    assert client.h3.open_requests == server.h3.open_requests == 0
    assert client.closed is None
    assert len(client.of(SettingsReceived)) == len(server.of(SettingsReceived)) == 1


@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_more_requests_than_streams(scenario: Scenario, loss: float) -> None:
    """With loss, some field sections have to wait for the encoder stream."""
    scenario.up = replace(RUNNER, loss=loss)
    scenario.server_config = Config(initial_max_streams_bidi=10)
    client = H3End()
    pair = connect(scenario, client, H3End(answer=FileServer().answer))
    get_all(pair, client, list(range(100, 300)))
    assert client.of(RequestsAvailable)


def test_small_buffers_and_windows(scenario: Scenario) -> None:
    """Everything is taken in parts: content, and sometimes the header of a DATA frame."""
    small = Config(
        send_buffer_size=1500,
        initial_max_data=3000,
        initial_max_stream_data=1000,
        max_data_window=3000,
        max_stream_data_window=1000,
    )
    scenario.server_config = scenario.client_config = small
    for announce in (True, False):
        client = H3End(read_size=700)
        pair = connect(scenario, client, H3End(answer=FileServer(announce=announce, trailers=True).answer))
        get_all(pair, client, [20_000, 1, 5000, 1495, 1490])


def test_upload_with_trailers(scenario: Scenario) -> None:
    server = H3End()
    client = H3End()
    pair = connect(scenario, client, server)
    stream_id = client.h3.send_request(request("/", b"POST"))
    data = content(0, 50_000)
    assert client.h3.send_body(stream_id, memoryview(data)) == len(data)
    client.h3.send_headers(stream_id, [(b"digest", b"x")], end=True)
    assert pair.run(
        lambda: stream_id in server.messages and server.messages[stream_id].complete, deadline=10.0
    )
    assert server.messages[stream_id].body == data
    assert server.messages[stream_id].trailers == [(b"digest", b"x")]


def test_cancelled_by_the_client(scenario: Scenario) -> None:
    server = H3End()
    client = H3End()
    pair = connect(scenario, client, server)
    stream_id = client.h3.send_request(request("/", b"POST"))
    assert pair.run(lambda: bool(server.of(HeadersReceived)), deadline=5.0)
    client.h3.cancel(stream_id, H3ErrorCode.H3_REQUEST_CANCELLED)
    assert client.h3.open_requests == 0
    assert pair.run(lambda: len(server.events) >= 4, deadline=5.0)
    assert server.of(RequestReset) == [RequestReset(stream_id, H3ErrorCode.H3_REQUEST_CANCELLED)]
    assert server.of(RequestStopped) == [RequestStopped(stream_id, H3ErrorCode.H3_REQUEST_CANCELLED)]
    assert server.h3.open_requests == 0
    # Whoever has not seen the events yet may go on for a while; nothing happens.
    assert server.h3.send_body(stream_id, b"late") == 0
    assert server.h3.read_body(stream_id) == (b"", False)


def test_graceful_shutdown(scenario: Scenario) -> None:
    """RFC 9114 §5.2: first the highest identifier, then the real one; later requests are rejected."""
    server = H3End(answer=FileServer().answer)
    client = H3End()
    pair = connect(scenario, client, server)
    get_all(pair, client, [100])
    server.h3.send_goaway()
    early = client.h3.send_request(request("/10"), end=True)  # crosses the GOAWAY
    assert pair.run(lambda: client.messages.get(early) is not None, deadline=5.0)
    server.h3.send_goaway(final=True)
    assert pair.run(lambda: len(client.of(GoawayReceived)) == 2, deadline=5.0)
    assert client.of(GoawayReceived) == [GoawayReceived((1 << 62) - 4), GoawayReceived(8)]
    assert client.messages[early].body == content(0, 10)
    assert not client.h3.can_send_request
    client.h3.send_goaway()
    assert pair.run(lambda: bool(server.of(GoawayReceived)), deadline=5.0)
    assert server.of(GoawayReceived) == [GoawayReceived(0)]


def test_request_after_the_last(scenario: Scenario) -> None:
    server = H3End(answer=FileServer().answer)
    client = H3End()
    pair = connect(scenario, client, server)
    pair.run(deadline=pair.now + 1.0)
    server.h3.send_goaway(final=True)
    stream_id = client.h3.send_request(request("/10"), end=True)
    assert pair.run(lambda: bool(client.of(RequestReset)), deadline=5.0)
    assert client.of(RequestReset) == [RequestReset(stream_id, H3ErrorCode.H3_REQUEST_REJECTED)]
    assert server.of(HeadersReceived) == []


def test_urgent_first(scenario: Scenario) -> None:
    """RFC 9218: by the Priority field, and by an update while the response is on its way."""
    server = H3End(answer=FileServer().answer)
    client = H3End()
    pair = connect(scenario, client, server)
    order: list[int] = []
    sizes = {}
    for urgency in (5, 3, 1):
        priority = Priority(urgency)
        sizes[client.h3.send_request(request("/400000"), end=True, priority=priority)] = urgency
    last = client.h3.send_request(request("/400000"), end=True, priority=Priority(6))
    pair.run(deadline=pair.now + 0.1)
    client.h3.send_priority_update(last, Priority(0))

    def done() -> bool:
        order.extend(
            stream_id
            for stream_id, message in client.messages.items()
            if message.complete and stream_id not in order
        )
        return len(order) == 4

    assert pair.run(done, deadline=20.0)
    assert order == [12, 8, 4, 0]
    assert server.of(PriorityUpdated) == [PriorityUpdated(last, Priority(0))]


def test_one_after_the_other(scenario: Scenario) -> None:
    """RFC 9218 §4.2, §10: what is of use only when it is complete comes in the order of the requests."""
    server = H3End(answer=FileServer().answer)
    client = H3End()
    pair = connect(scenario, client, server)
    first, second = [client.h3.send_request(request("/300000"), end=True) for _ in range(2)]
    assert pair.run(lambda: first in client.messages and client.messages[first].complete, deadline=20.0)
    assert second not in client.messages or len(client.messages[second].body) < 100_000


def test_datagrams(scenario: Scenario) -> None:
    scenario.client_config = scenario.server_config = Config(max_datagram_frame_size=65535)
    settings = Settings(h3_datagram=True)
    server, client = H3End(settings), H3End(settings)
    pair = connect(scenario, client, server)
    assert pair.run(
        lambda: bool(client.of(SettingsReceived)) and bool(server.of(SettingsReceived)), deadline=5.0
    )
    connect_udp = [
        (b":method", b"CONNECT"),
        (b":protocol", b"connect-udp"),
        (b":scheme", b"https"),
        (b":authority", b"server4"),
        (b":path", b"/"),
    ]
    stream_id = client.h3.send_request(connect_udp)
    assert pair.run(lambda: bool(server.of(HeadersReceived)), deadline=5.0)
    server.h3.send_headers(stream_id, [(b":status", b"200")])
    assert client.h3.send_datagram(stream_id, b"ping")
    assert pair.run(lambda: bool(server.of(H3DatagramReceived)), deadline=5.0)
    assert server.of(H3DatagramReceived) == [H3DatagramReceived(stream_id, b"ping")]
