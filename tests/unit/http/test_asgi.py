"""The ASGI adapter on an HTTP/3 connection that the test plays: scope, both directions, ends of all kinds."""

import asyncio
import logging
from typing import Any

import pytest
from unit.http.asgi_runs import START, body, get, run
from unit.http.fake_h3 import FakeSession

from endpoint.errors import ConnectionClosedError, StreamError
from endpoint.events import ConnectionClosed
from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.events import (
    BodyReadable,
    BodyWritable,
    ConnectionEnded,
    HeadersReceived,
    RequestReset,
    RequestStopped,
)
from endpoint.h3.headers import MessageError
from endpoint.http.asgi import MAX_TASKS
from endpoint.http.lifespan import AsgiApp, Message, Receive, Scope, Send

REQUEST = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a"), (b":path", b"/")]


def test_the_scope_of_a_request() -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        scopes.append(scope)
        scope["state"]["x"] = 1
        await send(START)
        await send(body(b""))

    state: dict[str, Any] = {"pool": "p"}
    fields = [(b"cookie", b"a=1"), (b"x-b", b"2"), (b"cookie", b"c=3")]
    run(app, get(*fields, path="/caf%C3%A9/a?x=%20&y"), state=state)
    assert scopes == [
        {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "3",
            "method": "GET",
            "scheme": "https",
            "path": "/café/a",
            "raw_path": b"/caf%C3%A9/a",
            "query_string": b"x=%20&y",
            "root_path": "",
            "headers": [(b"host", b"example.org"), (b"cookie", b"a=1; c=3"), (b"x-b", b"2")],
            "client": ("192.0.2.1", 50000),
            "server": ("2001:db8::1", 443),
            "extensions": {"http.response.trailers": {}, "http.response.early_hint": {}},
            "state": {"pool": "p", "x": 1},
        }
    ]
    assert state == {"pool": "p"}, "each request has a copy"


def test_a_response_in_one_piece() -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
        await send({**START, "headers": [(b"X-Upper", b"1"), (b"Connection", b"close"), (b"date", b"d")]})
        await send(body(b"hello"))
        assert await receive() == {"type": "http.disconnect"}

    h3 = run(app, get())
    assert h3.heads == [[(b":status", b"200"), (b"x-upper", b"1"), (b"date", b"d")]]
    assert (h3.body, h3.ended, h3.stopped) == (b"hello", True, None)


def test_an_empty_response_ends_with_its_head() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({**START, "status": 204})
        await send({"type": "http.response.body"})

    h3 = run(app, get())
    assert (len(h3.heads), h3.status, h3.body, h3.ended) == (1, 204, b"", True)
    assert b"date" in dict(h3.heads[0])


def test_head_has_no_content() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"content-length", b"5")]})
        await send(body(b"he", more=True))
        await send(body(b"llo"))

    h3 = run(app, get(method="HEAD"))
    assert (h3.body, h3.ended) == (b"", True)
    assert dict(h3.heads[0])[b"content-length"] == b"5"


def test_a_body_waits_for_room() -> None:
    progress: list[str] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(START)
        for part in (b"a" * 10, b"b" * 10):
            await send(body(part, more=True))
            progress.append(part[:1].decode())
        await send(body(b""))

    async def act(session: FakeSession) -> None:
        session.fake.room = 15
        session.request()
        for _ in range(5):
            await asyncio.sleep(0)
        assert progress == ["a"]
        session.fake.room = 100
        session.arrive(BodyWritable(0))

    h3 = run(app, act)
    assert (h3.body, h3.ended, progress) == (b"a" * 10 + b"b" * 10, True, ["a", "b"])


def test_a_request_is_read_when_the_application_asks() -> None:
    got: list[Message] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        more = True
        while more:
            message = await receive()
            got.append(message)
            more = message["more_body"]
        await send(START)
        await send(body(b""))

    async def act(session: FakeSession) -> None:
        session.request((b"expect", b"100-Continue"), method="POST", ended=False)  # RFC 9110 §10.1.1
        await asyncio.sleep(0)
        assert session.fake.status == 100
        for part in [(b"ab", False), (b"", False), (b"c", True)]:
            session.fake.arrived.append(part)
            session.arrive(BodyReadable(0))
            for _ in range(5):
                await asyncio.sleep(0)

    h3 = run(app, act)
    assert [(message["body"], message["more_body"]) for message in got] == [(b"ab", True), (b"c", False)]
    assert (len(h3.heads), h3.ended, h3.stopped) == (2, True, None)


def test_a_head_goes_out_before_there_is_content() -> None:
    """An application that says so, by an empty part, has its client see the head at once."""
    go_on = asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"", more=True))
        await go_on.wait()
        await send(body(b"late"))

    async def act(session: FakeSession) -> None:
        session.request()
        await asyncio.sleep(0)
        assert (session.fake.status, session.touches) == (200, 1)
        go_on.set()

    assert run(app, act).body == b"late"


def test_the_rest_of_a_request_is_not_wanted_after_the_response() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"no"))

    async def act(session: FakeSession) -> None:
        session.request(method="POST", ended=False)

    assert run(app, act).stopped is H3ErrorCode.H3_NO_ERROR


def test_trailers_and_hints() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
        await send({**START, "trailers": True})
        await send(body(b"x"))
        await send({"type": "http.response.trailers", "headers": [(b"X-Sum", b"7")]})

    h3 = run(app, get())
    assert h3.heads[0] == [(b":status", b"103"), (b"link", b"</a.css>; rel=preload")]
    assert h3.heads[2] == [(b"x-sum", b"7")]
    assert (h3.body, h3.ended) == (b"x", True)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204)])
def test_trailers_of_a_response_without_content_are_dropped(method: str, status: int) -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({**START, "status": status, "trailers": True})
        await send(body(b"x"))
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"7")]})

    h3 = run(app, get(method=method))
    assert (len(h3.heads), h3.status, h3.body, h3.ended) == (1, status, b"", True)


async def fails(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise ValueError("a fault of the application")


async def forgets(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Returns without an answer."""


async def only_starts(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send(START)


async def begins_with_a_body(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send(body(b"x"))


async def starts_twice(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send(START)
    await send(START)


async def exits(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise SystemExit(2)


async def cancels_itself(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise asyncio.CancelledError


NO_RESPONSE = [fails, forgets, only_starts, begins_with_a_body, starts_twice, exits, cancels_itself]


@pytest.mark.parametrize("app", NO_RESPONSE)
def test_a_failure_before_the_response_is_a_500(app: AsgiApp, caplog: pytest.LogCaptureFixture) -> None:
    h3 = run(app, get(path="/x"))
    assert (h3.status, h3.ended, h3.cancelled) == (500, True, None)
    assert [record.message.startswith("GET /x: the application ") for record in caplog.records] == [True]


async def fails_late(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send(START)
    await send(body(b"x", more=True))
    raise ValueError("late")


async def stops_in_the_middle(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send(START)
    await send(body(b"x", more=True))


async def sends_too_much(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({**START, "headers": [(b"content-length", b"3")]})
    await send(body(b"ab", more=True))
    await send(body(b"cd"))


async def sends_too_little(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({**START, "headers": [(b"content-length", b"3")]})
    await send(body(b"ab", more=True))
    await send(body(b""))


@pytest.mark.parametrize("app", [fails_late, stops_in_the_middle, sends_too_much, sends_too_little])
def test_a_failure_after_the_head_resets_the_stream(app: AsgiApp, caplog: pytest.LogCaptureFixture) -> None:
    h3 = run(app, get())
    assert (h3.status, h3.ended, h3.cancelled) == (200, False, H3ErrorCode.H3_INTERNAL_ERROR)
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "event",
    [
        RequestReset(0, 0x10C),
        RequestStopped(0, 0x10C),
        ConnectionEnded(ConnectionClosed(0, 0, "", application=True, remote=True)),
    ],
)
def test_a_client_that_goes_is_a_disconnect(event: Any, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"x", more=True))
        seen.append((await receive())["type"])
        with pytest.raises(OSError, match="the client has gone"):
            await send(body(b"y"))
        seen.append((await receive())["type"])
        await send(body(b"z"))

    async def act(session: FakeSession) -> None:
        session.request(method="POST", ended=False)
        await asyncio.sleep(0)
        session.arrive(event)

    run(app, act)
    assert seen == ["http.disconnect", "http.disconnect"]
    assert caplog.records == [], "that is no fault of the application"


def test_a_send_that_waits_learns_of_the_end() -> None:
    failures: list[OSError] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(START)
        try:
            await send(body(b"x" * 100))
        except OSError as error:
            failures.append(error)

    async def act(session: FakeSession) -> None:
        session.fake.room = 10
        session.request()
        await asyncio.sleep(0)
        session.arrive(RequestStopped(0, 0x10C))

    run(app, act)
    assert len(failures) == 1


def test_a_command_that_comes_too_late_is_a_disconnect(caplog: pytest.LogCaptureFixture) -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"x"))

    async def act(session: FakeSession) -> None:
        session.fake.raises = ConnectionClosedError("closed")
        session.request()

    run(app, act)
    assert caplog.records == []


def test_requests_that_outlast_the_server_are_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"x", more=True))
        await asyncio.Event().wait()

    h3 = run(app, get())
    assert h3.cancelled is H3ErrorCode.H3_REQUEST_CANCELLED
    assert caplog.records == []


async def answers(scope: Scope, _receive: Receive, send: Send) -> None:
    logging.getLogger("app").info("%s", scope["headers"])
    await send({**START, "headers": [field for field in scope["headers"] if field[0] == b"early-data"]})
    await send(body(b""))


@pytest.mark.parametrize(
    ("method", "complete", "field", "status", "told"),
    [
        ("GET", True, None, 200, None),
        ("GET", False, None, 200, b"1"),
        ("HEAD", False, None, 200, b"1"),
        ("POST", True, None, 200, None),
        ("POST", False, None, 425, None),
        ("DELETE", False, None, 425, None),
        # From a gateway that got it as 0-RTT data.
        ("GET", True, b"1", 200, b"1"),
        ("POST", True, b"1", 425, None),
        ("CONNECT", True, None, 501, None),
    ],
)
def test_early_data(
    method: str, complete: bool, field: bytes | None, status: int, told: bytes | None
) -> None:
    async def act(session: FakeSession) -> None:
        session.fake_quic.handshake_complete = complete
        session.request(*([] if field is None else [(b"early-data", field)]), method=method)

    h3 = run(answers, act)
    assert h3.status == status
    assert dict(h3.heads[-1]).get(b"early-data") == told


def test_a_head_that_is_not_valid_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    sessions: list[FakeSession] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        fake = sessions[0].fake
        fake.raises = MessageError("the field name x y has characters that no name has")
        await send({**START, "headers": [(b"x y", b"1")]})
        try:
            await send(body(b"x"))
        finally:
            fake.raises = None

    async def act(session: FakeSession) -> None:
        sessions.append(session)
        session.request()

    h3 = run(app, act)
    assert (h3.status, h3.ended, h3.cancelled) == (500, True, None)
    assert len(caplog.records) == 1


def test_fields_that_the_client_does_not_take_are_told_to_the_application() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(START)
        with pytest.raises(RuntimeError, match="the peer takes 200"):
            await send(body(b"x"))
        seen.append(True)

    seen: list[bool] = []

    async def act(session: FakeSession) -> None:
        session.fake.raises = StreamError("500 bytes of fields; the peer takes 200")
        session.request()

    run(app, act)
    assert seen == [True]


def test_trailers_in_several_messages_are_one_section() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({**START, "trailers": True})
        await send(body(b"x"))
        kind = "http.response.trailers"
        await send({"type": kind, "headers": [(b"X-One", b"1")], "more_trailers": True})
        await send({"type": kind, "headers": [(b"x-two", b"2")]})

    h3 = run(app, get())
    assert h3.heads[1:] == [[(b"x-one", b"1"), (b"x-two", b"2")]]
    assert h3.ended


def test_no_line_of_a_log_is_made_by_a_client(caplog: pytest.LogCaptureFixture) -> None:
    run(fails, get(path="/x%0aERROR%20all%20is%20lost%1b[2J"))
    assert caplog.messages == ["GET /x%0aERROR%20all%20is%20lost%1b[2J: the application failed"]


def test_a_path_that_is_not_ascii_is_utf8() -> None:
    paths: list[str] = []

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        paths.append(scope["path"])
        await send(START)
        await send(body(b""))

    run(app, get(path="/caf\u00e9"))
    run(app, get(path="/caf\u00e9%20%C3%A9"))
    assert paths == ["/caf\u00e9", "/caf\u00e9 \u00e9"]


def test_cancelled_requests_do_not_pile_up_in_the_application() -> None:
    """As an attack of resets right after requests would have it: the stream limit is never reached."""
    running: list[Scope] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        running.append(scope)
        await asyncio.Event().wait()

    async def act(session: FakeSession) -> None:
        for stream_id in range(0, 4 * MAX_TASKS, 4):
            session.arrive(HeadersReceived(stream_id, REQUEST, False))
            session.arrive(RequestReset(stream_id, 0x10C))
        session.fake.cancelled = None
        session.arrive(HeadersReceived(4 * MAX_TASKS, REQUEST, False))
        await asyncio.sleep(0)

    h3 = run(app, act)
    assert len(running) == MAX_TASKS
    assert h3.cancelled is H3ErrorCode.H3_REQUEST_REJECTED


def test_a_group_of_disconnects_is_a_disconnect(caplog: pytest.LogCaptureFixture) -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        async def stream() -> None:
            await receive()
            await send(body(b"x"))

        await send(START)
        async with asyncio.TaskGroup() as group:
            group.create_task(stream())
            group.create_task(stream())

    async def act(session: FakeSession) -> None:
        session.request(ended=False)
        await asyncio.sleep(0)
        session.arrive(RequestReset(0, 0x10C))

    run(app, act)
    assert caplog.records == []
