"""A conversation in HTTP/3 between our client and server that write traces."""

from qlog_emitted import Traced

from endpoint.config import Config
from endpoint.h3.connection import H3Connection
from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.events import H3Event, Headers, HeadersReceived
from endpoint.h3.priority import Priority
from endpoint.h3.settings import Settings
from endpoint.testing.h3 import H3End, connect
from endpoint.testing.pair import Pair

GET: Headers = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a"), (b":path", b"/")]
POST: Headers = [(b":method", b"POST"), *GET[1:], (b"content-length", b"20000"), (b"cookie", b"key=1")]
CONNECT: Headers = [(b":method", b"CONNECT"), (b":protocol", b"x"), *GET[1:]]
BODY = bytes(30_000)


def answer(h3: H3Connection, event: H3Event) -> None:
    """A server's: an interim response, headers, content with its length, trailers."""
    if isinstance(event, HeadersReceived):
        stream_id = event.stream_id
        if event.headers[0][1] == b"CONNECT":
            h3.send_headers(stream_id, [(b":status", b"200")])
            return
        h3.send_headers(stream_id, [(b":status", b"103")])
        h3.send_headers(stream_id, [(b":status", b"200"), (b"content-length", b"30000")])
        h3.send_body(stream_id, BODY)
        h3.send_headers(stream_id, [(b"checksum", b"0")], end=True)


def converse(traced: Traced, *, grease: bool = True) -> tuple[Pair, H3End, H3End]:
    """Requests of several kinds, up to a graceful end."""
    config = Config(max_datagram_frame_size=1200)
    traced.scenario.client_config = traced.scenario.server_config = config
    traced.trace()
    settings = Settings(h3_datagram=True)
    client, server = H3End(settings, grease=grease), H3End(settings, grease=grease, answer=answer)
    pair = connect(traced.scenario, client, server)
    pair.run(lambda: server.closed is not None or client.h3.peer_settings is not None, deadline=10.0)
    h3 = client.h3
    h3.send_request(GET, end=True, priority=Priority(urgency=1, incremental=True))
    posted = h3.send_request(POST)
    assert h3.send_body(posted, bytes(20_000), end=True) == 20_000
    pair.run(deadline=pair.now + 3.0)
    assert client.messages[posted].complete
    tunnel = h3.send_request(CONNECT)
    h3.send_priority_update(tunnel, Priority(urgency=5))
    h3.send_datagram(tunnel, b"hello")
    pair.run(deadline=pair.now + 3.0)
    h3.send_priority_update(tunnel, Priority(urgency=2))
    pair.run(deadline=pair.now + 1.0)
    h3.cancel(tunnel, H3ErrorCode.H3_REQUEST_CANCELLED)
    server.h3.send_goaway()
    pair.run(deadline=pair.now + 1.0)
    server.h3.send_goaway(final=True)
    pair.run(deadline=pair.now + 1.0)
    h3.close(now=pair.now)
    pair.run(deadline=pair.now + 60.0)
    return pair, client, server
