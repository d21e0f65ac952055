"""The HTTP/3 server over loopback sockets, in one event loop with a client: its life, 0-RTT, its end."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from unit.http.fake_h3 import FakeSession

from endpoint.errors import ConnectionClosedError, StreamError
from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.events import HeadersReceived
from endpoint.http.asgi import AsgiServer
from endpoint.http.client import Http3Client, connect
from endpoint.http.lifespan import AsgiApp, Receive, Scope, Send
from endpoint.http.requests import RequestError
from endpoint.http.server import H3Server, Session
from endpoint.http.static_server import StaticServer
from endpoint.io.files import Directory
from endpoint.io.server import open_server
from endpoint.io.sessions import SessionStore
from endpoint.keyring import KeyRing
from endpoint.testing.certificates import Chain
from endpoint.tls.config import TlsConfig

BLOCK = bytes(range(256)) * 256


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20):
            await test()

    asyncio.run(limited())


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(chain: Chain, h3: H3Server, **options: Any) -> AsyncIterator[int]:
    """The port of a server."""
    tls = TlsConfig(
        alpn_protocols=("h3",), certificate_chain=chain.certificates, private_key=chain.private_key
    )
    async with open_server("127.0.0.1", 0, application=h3, tls=tls, **options) as driver:
        h3.start(driver)
        yield driver.udp.address[1]


@asynccontextmanager
async def client_of(chain: Chain, port: int, **options: Any) -> AsyncIterator[Http3Client]:
    tls = TlsConfig(alpn_protocols=("h3",), trusted_roots=(chain.root,))
    async with connect("127.0.0.1", port, server_name="localhost", tls=tls, **options) as client:
        yield client


async def respond(send: Send, content: bytes, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": content})


async def tells_method(scope: Scope, _receive: Receive, send: Send) -> None:
    early = dict(scope["headers"]).get(b"early-data", b"0")
    await respond(send, f"{scope['method']} {early.decode()}".encode())


class Slow:
    """Answers with blocks, as many as it is allowed."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.allowed = asyncio.Event()

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": BLOCK, "more_body": True})
        self.started.set()
        await self.allowed.wait()
        for _ in range(50):
            await send({"type": "http.response.body", "body": BLOCK, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def server_of(app: AsgiApp) -> H3Server:
    return H3Server(AsgiServer(app).answer)


def test_files_in_parallel(chain: Chain, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(BLOCK * 50)
    for number in range(150):
        (tmp_path / str(number)).write_bytes(b"%d" % number)
    h3 = H3Server(StaticServer(Directory(tmp_path)).answer)

    async def test() -> None:
        async with serving(chain, h3) as port, client_of(chain, port) as client:

            async def get(path: str) -> tuple[int, bytes]:
                response = await client.request("GET", path)
                return response.status, await response.read()

            answers = await asyncio.gather(
                get("/large"), get("/missing"), *(get(f"/{number}") for number in range(150))
            )
            assert answers[0] == (200, BLOCK * 50)
            assert answers[1][0] == 404
            assert answers[2:] == [(200, b"%d" % number) for number in range(150)]
        await until(lambda: not h3.open_requests)

    run(test)


def test_a_drain_lets_requests_end(chain: Chain) -> None:
    async def test() -> None:
        slow = Slow()
        h3 = server_of(slow)
        async with (
            serving(chain, h3) as port,
            client_of(chain, port) as client,
            client_of(chain, port) as idle,
        ):
            response = await client.request("GET", "/")
            await slow.started.wait()
            drain = asyncio.create_task(h3.drain(10))
            await until(lambda: not idle.is_usable)
            with pytest.raises((RequestError, ConnectionClosedError)):
                await idle.request("GET", "/late")
            assert not drain.done()
            slow.allowed.set()
            assert len(await response.read()) == 51 * len(BLOCK)
            await drain

    run(test)


def test_a_drain_is_over_at_once_without_requests(chain: Chain) -> None:
    async def test() -> None:
        h3 = server_of(tells_method)
        async with serving(chain, h3) as port, client_of(chain, port) as client:
            assert await (await client.request("GET", "/")).read() == b"GET 0"
            await until(lambda: not h3.open_requests)
            started = time.monotonic()
            await h3.drain(10)
            assert time.monotonic() - started < 0.5
            # A client knows that what it sends from now on is not processed.
            await until(lambda: client.going_away)

    run(test)


def test_a_drain_has_an_end(chain: Chain) -> None:
    async def test() -> None:
        slow = Slow()
        asgi = AsgiServer(slow)
        h3 = H3Server(asgi.answer)
        async with serving(chain, h3) as port, client_of(chain, port) as client:
            response = await client.request("GET", "/")
            await slow.started.wait()
            await h3.drain(0.1)
            assert h3.open_requests == 1
            await asgi.end_tasks()
            assert h3.open_requests == 0
            with pytest.raises(RequestError) as raised:
                await response.read()
            assert raised.value.error_code == H3ErrorCode.H3_REQUEST_CANCELLED

    run(test)


def test_early_requests(chain: Chain, tmp_path: Path) -> None:
    """A safe one is answered, and told that it came early; after the handshake all are."""

    async def test() -> None:
        keys = KeyRing.generate(os.urandom, time.time())
        h3 = server_of(tells_method)
        store = SessionStore(tmp_path / "sessions")
        async with serving(chain, h3, ticket_keys=keys, early_data=True) as port:
            async with client_of(chain, port, store=store) as client:
                assert await (await client.request("GET", "/")).read() == b"GET 0"
                await client.wait_session()
            async with client_of(chain, port, store=store, early_data=True) as client:
                assert client.early
                response = await client.request("GET", "/")
                assert (response.early, await response.read()) == (True, b"GET 1")
                await client.wait_handshake()
                assert await (await client.request("POST", "/", body=b"x")).read() == b"POST 0"

    run(test)


def test_a_connection_that_ends_is_a_disconnect(chain: Chain) -> None:
    async def test() -> None:
        seen: asyncio.Queue[str] = asyncio.Queue()

        async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
            await receive()
            await seen.put("request")
            await seen.put((await receive())["type"])

        h3 = server_of(app)
        async with serving(chain, h3) as port:
            async with client_of(chain, port) as client:
                request = asyncio.create_task(client.request("GET", "/"))
                assert await seen.get() == "request"
            with pytest.raises((RequestError, ConnectionClosedError)):
                await request
            assert await seen.get() == "http.disconnect"
            assert h3.open_requests == 0

    run(test)


def test_an_answer_from_memory() -> None:
    """As much of it as the stream takes; none where the client has gone meanwhile, and that is no error."""
    taken: list[int] = []

    def answer(session: Session, request: HeadersReceived) -> None:
        taken.append(session.respond(request.stream_id, [(b":status", b"200")], b"content"))

    session = FakeSession(answer)
    session.request()
    assert (session.fake.status, session.fake.body, session.fake.ended) == (200, b"content", True)
    session.fake.ended, session.fake.room = False, 3
    session.request()
    session.fake.raises = ConnectionClosedError("the connection is closed")
    session.request()
    assert taken == [7, 3, 0]


def test_a_client_that_takes_no_fields_gets_no_answer() -> None:
    """SETTINGS_MAX_FIELD_SECTION_SIZE may be next to nothing: nobody waits for such a client."""

    def answer(session: Session, request: HeadersReceived) -> None:
        session.send_status(request.stream_id, b"404")

    session = FakeSession(answer)
    session.fake.raises = StreamError("200 bytes of fields; the peer takes 100")
    session.request()
    assert session.fake.cancelled is H3ErrorCode.H3_INTERNAL_ERROR
    assert not session.unfinished
