"""What an application may ask of an H3Connection, and what it is told then."""

import datetime as dt
from collections.abc import Callable

import pylsqpack
import pytest

from endpoint.config import Config
from endpoint.errors import ConnectionClosedError, StreamError
from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.events import Headers, RequestReset, RequestStopped, ResponseReceived
from endpoint.h3.frames import FrameType, encode_frame
from endpoint.h3.outgoing_message import SMALL_CONTENT
from endpoint.h3.priority import Priority
from endpoint.h3.settings import Settings
from endpoint.testing.certificates import Chain
from endpoint.testing.h3 import WIRE, H3End, connect
from endpoint.testing.pair import Pair
from endpoint.testing.scenario import Scenario

GET: Headers = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a"), (b":path", b"/")]
POST: Headers = [(b":method", b"POST"), *GET[1:]]
EXTENDED: Headers = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:]]
OK: Headers = [(b":status", b"200")]


class Both:
    """A client and a server, with nothing between them."""

    def __init__(self, scenario: Scenario, client: H3End, server: H3End) -> None:
        scenario.up = WIRE
        self.client, self.server = client, server
        self.pair: Pair = connect(scenario, client, server)
        self.run()

    def run(self) -> None:
        self.pair.run(deadline=self.pair.now + 0.5)

    def request(self, headers: Headers = GET, *, end: bool = True) -> int:
        stream_id = self.client.h3.send_request(headers, end=end)
        self.run()
        return stream_id


@pytest.fixture
def make(chain: Chain, valid_from: dt.datetime) -> Callable[..., Both]:
    def make(
        server: Settings | None = None,
        config: Config | None = None,
        client: H3End | None = None,
        client_config: Config | None = None,
    ) -> Both:
        scenario = Scenario(chain=chain, wall_time=valid_from.timestamp() + 3600, seed=1)
        scenario.server_config = config or Config()
        scenario.client_config = client_config or Config()
        return Both(scenario, client or H3End(), H3End(server))

    return make


@pytest.fixture
def both(make: Callable[..., Both]) -> Both:
    return make()


def test_malformed_messages_of_ours(both: Both) -> None:
    with pytest.raises(ValueError, match="path"):
        both.client.h3.send_request(GET[:-1])
    stream_id = both.request()
    with pytest.raises(ValueError, match="status"):
        both.server.h3.send_headers(stream_id, [(b"server", b"x")])
    both.server.h3.send_headers(stream_id, OK)
    with pytest.raises(ValueError, match="status"):
        both.server.h3.send_headers(stream_id, OK, end=True)
    both.run()
    assert both.client.closed is None
    assert both.client.h3.open_requests == both.server.h3.open_requests == 1


def test_content_length_of_ours(both: Both) -> None:
    h3 = both.server.h3
    stream_id = both.request()
    with pytest.raises(StreamError, match="promises 5 bytes"):
        h3.send_headers(stream_id, [*OK, (b"content-length", b"5")], end=True)
    h3.send_headers(stream_id, [*OK, (b"content-length", b"5")])
    with pytest.raises(StreamError, match="only 5"):
        h3.send_body(stream_id, b"123456")
    with pytest.raises(StreamError, match="2 bytes"):
        h3.send_body(stream_id, b"123", end=True)
    with pytest.raises(StreamError, match="5 bytes"):
        h3.send_headers(stream_id, [(b"checksum", b"x")], end=True)
    assert h3.send_body(stream_id, b"12345", end=True) == 5
    both.run()
    assert both.client.messages[stream_id].body == b"12345"
    assert both.client.messages[stream_id].complete


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("size", [0, 1, SMALL_CONTENT - 1, SMALL_CONTENT])
@pytest.mark.parametrize("buffer", [50, 200, 2000, 1 << 20])
def test_a_response_with_its_content(
    make: Callable[..., Both], size: int, announced: bool, buffer: int
) -> None:
    """However much of it the stream takes at once."""
    both = make(config=Config(send_buffer_size=buffer))
    h3, stream_id, content = both.server.h3, both.request(), bytes(range(256)) * 16
    content = content[:size]
    headers = [*OK, (b"content-length", b"%d" % size)] if announced else OK
    taken = h3.send_response(stream_id, headers, content, end=True)
    assert taken == size or buffer < size + 100
    while taken < size:
        both.run()
        taken += h3.send_body(stream_id, content[taken:], end=True)
    both.run()
    assert both.client.messages[stream_id].body == content
    assert both.client.messages[stream_id].complete
    assert h3.open_requests == both.client.h3.open_requests == 0


def test_a_request_that_the_stream_takes_in_parts(make: Callable[..., Both]) -> None:
    both = make(client_config=Config(send_buffer_size=50))
    headers = [*GET, (b"x", b"~" * 200)]
    stream_id = both.request(headers)
    assert list(both.server.messages[stream_id].headers) == headers
    assert both.server.messages[stream_id].complete
    assert both.server.h3.send_response(stream_id, OK, b"content", end=True) == 7
    both.run()
    assert both.client.messages[stream_id].body == b"content"
    assert both.client.h3.open_requests == both.server.h3.open_requests == 0


def test_an_end_after_what_the_stream_took_in_parts(make: Callable[..., Both]) -> None:
    """Nothing is left to be given again, so the end goes with the rest of the header section."""
    both = make(client_config=Config(send_buffer_size=50))
    stream_id = both.client.h3.send_request([*POST, (b"x", b"~" * 200)])
    assert both.client.h3.send_body(stream_id, b"", end=True) == 0
    both.run()
    assert both.server.messages[stream_id].complete


def test_no_use_for_the_rest(make: Callable[..., Both]) -> None:
    """Of an exchange whose messages are one piece each, at every point of it."""
    both = make(client=H3End(read_size=0))
    asked, answered = both.request(), both.request()
    assert both.server.h3.send_response(answered, OK, b"content", end=True) == 7
    both.run()
    assert both.client.h3.open_requests == 2
    for stream_id in (asked, answered):
        both.client.h3.cancel(stream_id, H3ErrorCode.H3_REQUEST_CANCELLED)
        assert both.client.h3.read_body(stream_id) == (b"", False)
    assert both.client.h3.open_requests == 0
    both.run()
    assert [event.stream_id for event in both.server.of(RequestStopped)] == [asked]
    assert both.server.h3.send_response(asked, OK, b"content", end=True) == 0
    assert both.server.h3.open_requests == 0
    both.server.h3.close(now=both.pair.now)
    with pytest.raises(ConnectionClosedError):
        both.server.h3.send_response(asked, OK, b"", end=True)


def test_a_response_with_the_beginning_of_its_content(both: Both) -> None:
    h3, stream_id = both.server.h3, both.request()
    with pytest.raises(StreamError, match="promises 5 bytes, not 6"):
        h3.send_response(stream_id, [*OK, (b"content-length", b"5")], b"123456", end=False)
    with pytest.raises(StreamError, match="no content"):
        h3.send_response(stream_id, [(b":status", b"103")], b"1", end=False)
    h3.send_headers(stream_id, [(b":status", b"103")])
    assert h3.send_response(stream_id, [*OK, (b"content-length", b"5")], b"12", end=False) == 2
    both.run()
    assert both.client.messages[stream_id].body == b"12"
    assert h3.send_body(stream_id, b"345", end=True) == 3
    both.run()
    assert both.client.messages[stream_id].body == b"12345"
    assert both.client.messages[stream_id].complete


@pytest.mark.parametrize("content", [b"", b"content", bytes(SMALL_CONTENT)])
def test_a_whole_response_is_one_event(make: Callable[..., Both], content: bytes) -> None:
    both = make(client=H3End(whole_responses=True))
    stream_id = both.request()
    before = len(both.client.events)
    both.server.h3.send_response(stream_id, OK, content, end=True)
    both.run()
    assert both.client.events[before:] == [ResponseReceived(stream_id, OK, content)]
    assert both.client.h3.open_requests == 0


def test_what_comes_in_parts_or_is_wrong_is_no_whole_response(make: Callable[..., Both]) -> None:
    both = make(client=H3End(whole_responses=True))
    stream_id = both.request()
    both.server.h3.send_headers(stream_id, [(b":status", b"103")])
    both.server.h3.send_headers(stream_id, OK)
    both.run()
    both.server.h3.send_body(stream_id, b"content", end=True)
    both.run()
    assert not both.client.of(ResponseReceived)
    assert both.client.messages[stream_id].body == b"content"
    # The server's mistake (RFC 9114 §4.1.2), which its own H3Connection would not let pass.
    stream_id = both.request()
    _, section = pylsqpack.Encoder().encode(stream_id, [*OK, (b"content-length", b"3")])
    message = encode_frame(FrameType.HEADERS, section) + encode_frame(FrameType.DATA, b"four")
    both.server.h3.quic.write(stream_id, message, fin=True)
    both.run()
    assert not both.client.of(ResponseReceived)
    assert [event.error_code for event in both.client.of(RequestReset)] == [H3ErrorCode.H3_MESSAGE_ERROR]


def test_head_has_no_content(both: Both) -> None:
    """RFC 9110 §9.3.2: though a content-length says how much there would be."""
    stream_id = both.request([(b":method", b"HEAD"), *GET[1:]])
    both.server.h3.send_headers(stream_id, [*OK, (b"content-length", b"5")])
    with pytest.raises(StreamError, match="only 0"):
        both.server.h3.send_body(stream_id, b"x")
    both.server.h3.send_body(stream_id, b"", end=True)
    both.run()
    assert both.client.messages[stream_id].complete


def test_order_of_what_we_send(both: Both) -> None:
    h3 = both.server.h3
    stream_id = both.request()
    with pytest.raises(StreamError):
        h3.send_body(stream_id, b"x")
    with pytest.raises(StreamError, match="not the end"):
        h3.send_headers(stream_id, [(b":status", b"103")], end=True)
    h3.send_headers(stream_id, OK)
    with pytest.raises(StreamError, match="the end of a message"):
        h3.send_headers(stream_id, [(b"checksum", b"x")])
    h3.send_headers(stream_id, [(b"checksum", b"x")], end=True)
    assert h3.send_body(stream_id, b"x") == 0  # it is over, and forgotten


def test_extended_connect_needs_the_setting(make: Callable[..., Both]) -> None:
    """RFC 9220 §3."""
    without = make(Settings(enable_connect_protocol=False))
    with pytest.raises(ValueError, match="ENABLE_CONNECT_PROTOCOL"):
        without.request(EXTENDED)
    both = make()
    stream_id = both.request(EXTENDED, end=False)
    both.server.h3.send_headers(stream_id, OK)
    assert both.server.h3.send_body(stream_id, b"one") == 3
    both.client.h3.send_body(stream_id, b"two", end=True)
    both.run()
    assert both.client.messages[stream_id].body == b"one"
    assert both.server.messages[stream_id].body == b"two"
    assert both.server.messages[stream_id].complete


def test_field_section_beyond_the_limit_of_the_peer(make: Callable[..., Both]) -> None:
    """RFC 9114 §4.2.2."""
    both = make(Settings(max_field_section_size=200))
    with pytest.raises(StreamError, match="the peer takes 200"):
        both.request([*GET, (b"x", bytes(b"x" * 100))])
    assert both.request() in both.server.messages


def test_datagrams_need_the_setting(both: Both) -> None:
    stream_id = both.request(end=False)
    with pytest.raises(StreamError, match="not negotiated"):
        both.client.h3.send_datagram(stream_id, b"x")


def test_stream_limit(make: Callable[..., Both]) -> None:
    both = make(config=Config(initial_max_streams_bidi=1))
    both.request()
    assert not both.client.h3.can_send_request
    with pytest.raises(StreamError, match="limit"):
        both.request()


def test_early_response(both: Both) -> None:
    """RFC 9114 §4.1: the rest of the request is of no use; the response is complete all the same."""
    stream_id = both.request(POST, end=False)
    h3 = both.server.h3
    h3.send_headers(stream_id, OK, end=True)
    h3.stop(stream_id, H3ErrorCode.H3_NO_ERROR)
    both.run()
    assert both.client.messages[stream_id].complete
    assert both.client.h3.send_body(stream_id, b"more") == 0
    assert both.client.h3.open_requests == h3.open_requests == 0


def test_update_before_the_request(make: Callable[..., Both]) -> None:
    """RFC 9218 §7.1: far more of them than are kept are no error."""
    both = make(config=Config(initial_max_streams_bidi=1000))
    for stream_id in range(0, 4000, 4):
        both.client.h3.send_priority_update(stream_id, Priority(7))
    both.run()
    both.client.h3.send_request(GET, end=True, priority=Priority(1))
    both.run()
    assert both.server.closed is None
    with pytest.raises(StreamError):
        both.server.h3.send_priority_update(0, Priority())


def test_commands_after_the_close(both: Both) -> None:
    stream_id = both.request()
    both.server.h3.close(reason="done", now=both.pair.now)
    with pytest.raises(ConnectionClosedError):
        both.server.h3.send_headers(stream_id, OK)
    both.run()
    closed = both.client.closed
    assert closed is not None
    assert (closed.error_code, closed.reason) == (H3ErrorCode.H3_NO_ERROR, "done")
    assert not both.client.h3.can_send_request


def test_content_is_read_after_the_close(make: Callable[..., Both]) -> None:
    """Whoever reads late gets what came all the same."""
    both = make(client=H3End(read_size=0))
    stream_id = both.request()
    both.server.h3.send_headers(stream_id, OK)
    both.server.h3.send_body(stream_id, b"content", end=True)
    both.run()
    both.server.h3.close(now=both.pair.now)
    both.run()
    assert both.client.closed is not None
    assert both.client.h3.read_body(stream_id) == (b"content", True)
    assert both.client.h3.read_body(stream_id) == (b"", False)
