"""HTTP/3 in the traces that our endpoint writes: valid, and the same on both sides."""

from typing import Any

import pytest
from qlog_emitted import Traced

from endpoint.config import Config
from endpoint.h3.connection import H3Connection
from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.events import H3Event, Headers, HeadersReceived
from endpoint.h3.priority import Priority
from endpoint.h3.settings import Settings
from endpoint.testing.h3 import H3End, connect
from endpoint.testing.link import LinkProfile
from endpoint.testing.pair import Pair
from qlog.checks import observers
from qlog.validate import validate_file

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
    h3.cancel(tunnel, H3ErrorCode.H3_REQUEST_CANCELLED)
    server.h3.send_goaway()
    pair.run(deadline=pair.now + 1.0)
    server.h3.send_goaway(final=True)
    pair.run(deadline=pair.now + 1.0)
    h3.close(now=pair.now)
    pair.run(deadline=pair.now + 60.0)
    return pair, client, server


def frames(traced: Traced, role: str, name: str) -> list[tuple[int, dict[str, Any]]]:
    """HTTP/3 frames by stream, without their headers' length, which is only known of one's own."""
    found = []
    for record in traced.records(role):
        if record["name"] == f"http3:frame_{name}":
            frame = dict(record["data"]["frame"])
            frame["raw"] = frame["raw"]["payload_length"]
            found.append((record["data"]["stream_id"], frame))
    return sorted(found, key=lambda one: one[0])


@pytest.mark.parametrize("grease", [True, False])
@pytest.mark.parametrize("up", [LinkProfile(), LinkProfile(loss=0.05), LinkProfile(reordering=0.3)])
def test_strictly_valid(traced: Traced, up: LinkProfile, grease: bool) -> None:
    traced.scenario.up = up
    converse(traced, grease=grease)
    for path in sorted(traced.folder.iterdir()):
        report = validate_file(path, observers(), strict=True)
        # A network that changes the order makes packets look lost that are not.
        assert [one for one in report.findings if one.rule != "R17"] == []


def test_both_sides_tell_the_same_frames(traced: Traced) -> None:
    converse(traced, grease=False)
    for sender, receiver in (("client", "server"), ("server", "client")):
        assert frames(traced, sender, "created") == frames(traced, receiver, "parsed")
    created = [one for role in ("client", "server") for _, one in frames(traced, role, "created")]
    kinds = {frame["frame_type"] for frame in created}
    assert kinds == {"settings", "headers", "data", "priority_update", "goaway"}
    [headers, _] = [frame for stream_id, frame in frames(traced, "client", "created") if stream_id == 4]
    assert {"name": "cookie"} in headers["headers"]
    assert {"name": ":method", "value": "POST"} in headers["headers"]


def test_streams_and_settings(traced: Traced) -> None:
    converse(traced)
    for role in ("client", "server"):
        told = [record for record in traced.records(role) if record["name"].startswith("http3:")]
        sides = [one["data"]["initiator"] for one in told if one["name"] == "http3:parameters_set"]
        assert sorted(sides) == ["local", "remote"]
        types = {
            (one["data"]["initiator"], one["data"]["stream_type"])
            for one in told
            if one["name"] == "http3:stream_type_set"
        }
        critical = {"control", "qpack_encode", "qpack_decode"}
        assert types >= {(side, kind) for side in ("local", "remote") for kind in critical}
        assert ("local" if role == "client" else "remote", "request") in types
        datagrams = {one["name"] for one in told if "datagram" in one["name"]}
        assert datagrams == {"http3:datagram_created" if role == "client" else "http3:datagram_parsed"}
    updated = [r["data"] for r in traced.records("server") if r["name"] == "http3:priority_updated"]
    assert [(data["stream_id"], data["new"]) for data in updated] == [(0, "u=1, i"), (4, ""), (8, "u=5")]


def test_errors_have_their_names(traced: Traced) -> None:
    converse(traced)
    resets = [
        frame
        for data in traced.of("server", "packet_received")
        for frame in data["frames"]
        if frame["frame_type"] in {"reset_stream", "stop_sending"}
    ]
    assert {frame["error"] for frame in resets} == {"http_request_cancelled"}
    for role in ("client", "server"):
        [closed] = traced.of(role, "connection_closed")
        assert closed["application_error"] == "http_no_error"
