"""WebSockets of ASGI applications on an HTTP/3 connection that the test plays; the client is wsproto."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from unit.http.fake_h3 import FakeSession
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.events import BodyReadable, BodyWritable, RequestReset
from endpoint.http.asgi import AsgiServer
from endpoint.http.asgi_stream import ClientDisconnectedError
from endpoint.http.lifespan import AsgiApp, Message, Receive, Scope, Send
from endpoint.http.websocket import MAX_MESSAGE


class Client:
    """The client of one WebSocket."""

    def __init__(self, session: FakeSession) -> None:
        self.session = session
        self.h3 = session.fake
        self._wire = Connection(ConnectionType.CLIENT)
        self._seen = 0

    async def connect(self, *fields: tuple[bytes, bytes], protocol: str = "websocket") -> None:
        version = (b"sec-websocket-version", b"13")
        pseudo = {"method": "CONNECT", "protocol": protocol, "path": "/chat?x"}
        self.session.request(version, *fields, ended=False, **pseudo)
        await settle()

    async def send(self, *events: Event, ended: bool = False) -> None:
        await self.send_raw(b"".join(map(self._wire.send, events)), ended=ended)

    async def send_raw(self, data: bytes, *, ended: bool = False) -> None:
        self.h3.arrived.append((data, ended))
        self.session.arrive(BodyReadable(0))
        await settle()

    def received(self) -> list[Event]:
        """What came since the last call."""
        self._wire.receive_data(self.h3.body[self._seen :])
        self._seen = len(self.h3.body)
        return list(self._wire.events())


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def run(app: AsgiApp, act: Callable[[Client], Awaitable[None]]) -> None:
    async def go() -> None:
        asgi = AsgiServer(app)
        await act(Client(FakeSession(asgi.answer)))
        await settle()
        await asgi.end_tasks()

    asyncio.run(asyncio.wait_for(go(), 5))


class Echo:
    """Accepts, and sends back what comes."""

    def __init__(self) -> None:
        self.scope: Scope = {}
        self.last: Message = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        assert await receive() == {"type": "websocket.connect"}
        await send({"type": "websocket.accept", "subprotocol": "b", "headers": [(b"X-A", b"1")]})
        while (message := await receive())["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})
        self.last = message


def test_messages_both_ways() -> None:
    echo = Echo()

    async def act(client: Client) -> None:
        await client.connect((b"sec-websocket-protocol", b"a, b"))
        assert client.h3.heads == [[(b":status", b"200"), (b"x-a", b"1"), (b"sec-websocket-protocol", b"b")]]
        await client.send(
            TextMessage("he", message_finished=False), TextMessage("llo"), BytesMessage(b"\0\1"), Ping(b"p")
        )
        events = client.received()
        assert [type(event) for event in events] == [Pong, TextMessage, BytesMessage]
        assert [getattr(event, "data", None) for event in events[1:]] == ["hello", b"\0\1"]
        await client.send(CloseConnection(1001, "away"))
        (closed,) = client.received()
        assert isinstance(closed, CloseConnection)
        assert closed.code == 1001
        assert client.h3.ended

    run(echo, act)
    assert echo.scope["type"] == "websocket"
    assert (echo.scope["scheme"], echo.scope["path"], echo.scope["query_string"]) == ("wss", "/chat", b"x")
    assert (echo.scope["subprotocols"], "method" in echo.scope) == (["a", "b"], False)
    assert echo.last == {"type": "websocket.disconnect", "code": 1001, "reason": "away"}


def test_frames_in_pieces() -> None:
    echo = Echo()

    async def act(client: Client) -> None:
        await client.connect()
        for byte in Connection(ConnectionType.CLIENT).send(TextMessage("piece by piece")):
            await client.send_raw(bytes([byte]))
        (event,) = client.received()
        assert isinstance(event, TextMessage)
        assert event.data == "piece by piece"

    run(echo, act)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x83\x80\0\0\0\0", 1002),  # a reserved opcode
        (b"\x81\x01a", 1002),  # not masked
        (b"\x81\x81\0\0\0\0\xff", 1007),  # not UTF-8
    ],
)
def test_a_client_that_breaks_the_rules(data: bytes, code: int) -> None:
    echo = Echo()

    async def act(client: Client) -> None:
        await client.connect()
        await client.send_raw(data)
        (closed,) = client.received()
        assert isinstance(closed, CloseConnection)
        assert closed.code == code
        assert client.h3.ended

    run(echo, act)
    assert echo.last["code"] == code


def test_a_message_that_is_too_long() -> None:
    echo = Echo()

    async def act(client: Client) -> None:
        await client.connect()
        part = BytesMessage(bytes(MAX_MESSAGE // 4), message_finished=False)
        for _ in range(5):
            await client.send(part)
        (closed,) = client.received()
        assert isinstance(closed, CloseConnection)
        assert closed.code == 1009

    run(echo, act)
    assert echo.last["code"] == 1009


def test_a_ping_within_a_message_of_ours() -> None:
    """Its answer waits until the message, of which the stream took a part, is out; so do other messages."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        texts = ("one" * 1000, "two" * 1000)
        sending = [asyncio.ensure_future(send({"type": "websocket.send", "text": text})) for text in texts]
        assert (await receive())["type"] == "websocket.disconnect"
        await asyncio.gather(*sending)

    async def act(client: Client) -> None:
        client.h3.room = 1000
        await client.connect()
        client.h3.room = 400  # which is told later, when it is worth it
        await client.send(Ping(b"p"))
        for _ in range(20):
            client.h3.room = 400
            client.session.arrive(BodyWritable(0))
            await settle()
        events = client.received()
        assert [type(event) for event in events] == [TextMessage, TextMessage, Pong]
        assert [getattr(event, "data", None) for event in events[:2]] == ["one" * 1000, "two" * 1000]
        await client.send(CloseConnection(1000))

    run(app, act)


@pytest.mark.parametrize("cancelled", [False, True])
def test_an_application_that_ends_within_a_message(cancelled: bool) -> None:
    """Nothing can follow half a frame."""
    go_on = asyncio.Event()

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        sending = asyncio.ensure_future(send({"type": "websocket.send", "text": "one" * 1000}))
        await go_on.wait()
        if cancelled:
            sending.cancel()
            await asyncio.sleep(0)
            with pytest.raises(ClientDisconnectedError):
                await send({"type": "websocket.send", "text": "two"})

    async def act(client: Client) -> None:
        client.h3.room = 1000
        await client.connect()
        client.h3.room = 1000
        go_on.set()
        await settle()
        assert (client.h3.cancelled, len(client.h3.body)) == (H3ErrorCode.H3_REQUEST_CANCELLED, 1000)

    run(app, act)


def test_who_waits_hears_of_our_close() -> None:
    heard: list[Message] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        receiving = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await send({"type": "websocket.close"})
        heard.append(await receiving)

    async def act(client: Client) -> None:
        await client.connect()

    run(app, act)
    assert heard == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


@pytest.mark.parametrize("how", ["reset", "end"])
def test_a_client_that_goes_without_a_word(how: str) -> None:
    echo = Echo()

    async def act(client: Client) -> None:
        await client.connect()
        if how == "reset":
            client.session.arrive(RequestReset(0, 0x10C))
        else:
            await client.send(ended=True)
        await settle()

    run(echo, act)
    assert echo.last == {"type": "websocket.disconnect", "code": 1006, "reason": ""}


def test_an_application_that_refuses() -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close"})

    async def act(client: Client) -> None:
        await client.connect()
        assert (client.h3.status, client.h3.ended) == (403, True)

    run(app, act)


def test_an_application_that_closes() -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4000, "reason": "enough"})
        with pytest.raises(RuntimeError):
            await send({"type": "websocket.send", "text": "more"})

    async def act(client: Client) -> None:
        await client.connect()
        (closed,) = client.received()
        assert isinstance(closed, CloseConnection)
        assert (closed.code, closed.reason, client.h3.ended) == (4000, "enough", True)

    run(app, act)


def test_applications_that_fail(caplog: pytest.LogCaptureFixture) -> None:
    async def early(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ValueError("early")

    async def late(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        raise ValueError("late")

    async def act_early(client: Client) -> None:
        await client.connect()
        assert client.h3.status == 500

    async def act_late(client: Client) -> None:
        await client.connect()
        (closed,) = client.received()
        assert isinstance(closed, CloseConnection)
        assert (closed.code, client.h3.ended) == (1011, True)

    run(early, act_early)
    run(late, act_late)
    assert [record.message for record in caplog.records] == ["WebSocket /chat: the application failed"] * 2


@pytest.mark.parametrize(
    ("fields", "protocol", "status"),
    [
        ([(b"sec-websocket-version", b"12")], "websocket", 400),
        ([(b"sec-websocket-version", b"13")], "connect-udp", 501),
    ],
)
def test_what_is_not_taken(fields: Any, protocol: str, status: int) -> None:
    async def act(client: Client) -> None:
        client.session.request(*fields, ended=False, method="CONNECT", protocol=protocol)
        await settle()
        assert (client.h3.status, client.h3.stopped) == (status, H3ErrorCode.H3_NO_ERROR)

    run(Echo(), act)
