"""The HTTP/3 client on loopback: bodies both ways, many requests, cancelling, GOAWAY, 0-RTT."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from unit.http.site import Site, running, until

from endpoint.config import Config
from endpoint.events import ConnectionClosed, Event, StreamStopped, StreamWritable
from endpoint.h3.frames import FrameType, encode_frame
from endpoint.http.client import Http3Client, connect
from endpoint.http.requests import RequestError
from endpoint.http.response import (
    MAX_INFORMATIONAL,
    QueueTimeoutError,
    ReadTimeoutError,
    Timeouts,
    WriteTimeoutError,
)
from endpoint.io.sessions import SessionStore
from endpoint.io.streams import ConnectionLostError
from endpoint.tls.certificates import make_self_signed
from endpoint.tls.config import TlsConfig

# The first unidirectional stream of a server (RFC 9000 §2.1).
SERVER_CONTROL = 3
Act = Callable[[Http3Client, Site], Awaitable[None]]


@pytest.fixture(scope="module")
def server_tls() -> TlsConfig:
    certificate, key = make_self_signed(["localhost", "127.0.0.1"], time.time())
    return TlsConfig(alpn_protocols=("h3",), certificate_chain=(certificate,), private_key=key)


@pytest.fixture(scope="module")
def client_tls(server_tls: TlsConfig) -> TlsConfig:
    return TlsConfig(alpn_protocols=("whatever",), trusted_roots=server_tls.certificate_chain)


@pytest.fixture
def on_site(server_tls: TlsConfig, client_tls: TlsConfig) -> Callable[..., None]:
    """Runs a test with a client that is connected to a site."""

    def go(act: Act, *, server: Config | None = None, **options: Any) -> None:
        async def main() -> None:
            async with (
                running(server_tls, config=server) as site,
                connect("127.0.0.1", site.port, tls=client_tls, **options) as client,
            ):
                await act(client, site)

        asyncio.run(asyncio.wait_for(main(), 20))

    return go


def test_a_get(on_site: Any) -> None:
    async def act(client: Http3Client, site: Site) -> None:
        response = await client.request("GET", "/hello?a=b", [("X-Thing", "one"), ("Connection", "close")])
        assert (response.status, response.header("server")) == (200, "site")
        assert response.headers == [(b"server", b"site")]
        assert await response.read() == b"the answer"
        assert await response.read() == b""
        assert site.requests == [
            [
                (b":method", b"GET"),
                (b":scheme", b"https"),
                (b":authority", f"127.0.0.1:{site.port}".encode()),
                (b":path", b"/hello?a=b"),
                (b"x-thing", b"one"),
            ]
        ]
        assert client.open_requests == 0
        assert client.handshake is not None
        assert client.handshake.alpn == "h3"
        assert client.peer_settings is not None

    on_site(act)


def test_head_has_no_body(on_site: Any) -> None:
    async def act(client: Http3Client, _site: Site) -> None:
        response = await client.request("HEAD", "/hello")
        assert (response.status, await response.read()) == (200, b"")
        assert client.open_requests == 0

    on_site(act)


@pytest.mark.parametrize("size", [0, 1, 1000, 3_000_000])
def test_bodies_of_bytes(on_site: Any, size: int) -> None:
    async def act(client: Http3Client, site: Site) -> None:
        response = await client.request("POST", "/echo", body=bytes(size))
        assert response.header("x-size") == str(size)
        assert await response.read() == b"POST " + bytes(min(size, 1000))
        assert (b"content-length", b"%d" % size) in site.requests[0]

    on_site(act)


def test_bodies_of_iterators_go_out_as_they_are_taken(on_site: Any) -> None:
    async def act(client: Http3Client, _site: Site) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for i in range(40):
                yield bytes([i]) * 100_000
                await asyncio.sleep(0)

        response = await client.request("PUT", "/echo", body=pieces())
        assert response.header("x-size") == "4000000"
        assert await response.read() == b"PUT " + bytes(1000)

    on_site(act)


def test_a_large_body_comes_in_pieces(on_site: Any) -> None:
    async def act(client: Http3Client, _site: Site) -> None:
        async with await client.request("GET", "/bytes/20000000") as response:
            sizes = [len(piece) async for piece in response]
        assert sum(sizes) == 20_000_000
        assert len(sizes) > 10

    on_site(act)


def test_what_is_not_read_holds_the_server_back(on_site: Any) -> None:
    async def act(client: Http3Client, _site: Site) -> None:
        limit = 1_000_000
        response = await client.request("GET", "/bytes/5000000")
        await asyncio.sleep(0.1)
        first = await response.read_some(10_000_000)
        assert len(first) <= limit
        # Others are not held back by it.
        other = await client.request("GET", "/hello")
        assert await other.read() == b"the answer"
        assert len(first) + len(await response.read()) == 5_000_000

    config = Config(
        initial_max_data=4_000_000, initial_max_stream_data=1_000_000, max_stream_data_window=1_000_000
    )
    on_site(act, config=config)


def test_trailers_and_informational_responses(on_site: Any) -> None:
    async def act(client: Http3Client, _site: Site) -> None:
        response = await client.request("POST", "/trailers", body=b"x")
        assert await response.read() == b"POST x"
        assert list(response.trailers) == [(b"x-after", b"all")]
        response = await client.request("GET", "/hints")
        [hint] = response.informational
        assert (hint.status, hint.headers) == (103, [(b"link", b"</a>; rel=preload")])
        assert await response.read() == b"the answer"

    on_site(act)


def test_hundreds_of_requests_wait_for_the_stream_limit(on_site: Any) -> None:
    async def act(client: Http3Client, _site: Site) -> None:
        async def ask(number: int) -> bytes:
            response = await client.request("POST", "/echo", body=b"%d" % number)
            return await response.read()

        assert await asyncio.gather(*map(ask, range(300))) == [b"POST %d" % i for i in range(300)]

    on_site(act, server=Config(initial_max_streams_bidi=10))


def test_cancelling_tells_the_server(on_site: Any) -> None:
    async def act(client: Http3Client, site: Site) -> None:
        waiting = asyncio.create_task(client.request("GET", "/silence"))
        await until(lambda: bool(site.requests))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until(lambda: bool(site.abandoned))
        assert client.open_requests == 0
        response = await client.request("GET", "/bytes/50000000")
        await response.read_some()
        response.close()
        response.close()
        with pytest.raises(RequestError, match="cancelled"):
            await response.read()
        assert await (await client.request("GET", "/hello")).read() == b"the answer"

    on_site(act)


def test_a_cancelled_request_leaves_the_queue(on_site: Any) -> None:
    async def act(client: Http3Client, site: Site) -> None:
        first = asyncio.create_task(client.request("GET", "/silence"))
        await until(lambda: bool(site.requests))
        with pytest.raises(QueueTimeoutError):
            await client.request("GET", "/never", timeouts=Timeouts(queue=0.01))
        second = asyncio.create_task(client.request("GET", "/never"))
        third = asyncio.create_task(client.request("GET", "/hello"))
        await asyncio.sleep(0)
        assert client.open_requests == 3
        second.cancel()
        first.cancel()
        response = await third
        assert await response.read() == b"the answer"
        paths = [dict(each)[b":path"] for each in site.requests]
        assert paths == [b"/silence", b"/hello"]

    on_site(act, server=Config(initial_max_streams_bidi=1))


def test_timeouts(on_site: Any) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1_000_000)

    async def act(client: Http3Client, site: Site) -> None:
        with pytest.raises(ReadTimeoutError):
            await client.request("GET", "/silence", timeouts=Timeouts(read=0.05))
        with pytest.raises(WriteTimeoutError):
            await client.request("PUT", "/silence", body=endless(), timeouts=Timeouts(write=0.05, read=0.1))
        await until(lambda: len(site.abandoned) == 2)
        assert client.open_requests == 0

    on_site(act)


def test_an_iterator_that_fails_ends_the_request(on_site: Any) -> None:
    async def act(client: Http3Client, site: Site) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield b"begin"
            await until(lambda: bool(site.requests))
            raise RuntimeError("no more")

        with pytest.raises(RuntimeError, match="no more"):
            await client.request("PUT", "/echo", body=broken())
        await until(lambda: bool(site.abandoned))

    on_site(act)


def test_a_response_counts_though_the_server_takes_no_more_of_the_request(on_site: Any) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(100_000)

    async def act(client: Http3Client, _site: Site) -> None:
        response = await client.request("PUT", "/stop", body=endless())
        assert await response.read() == b"the answer"
        await until(lambda: not client.open_requests)

    on_site(act)


@pytest.mark.parametrize("end", [StreamStopped(0, 0x10C), ConnectionClosed(0, 0, "", True, True)])
def test_room_for_more_and_no_use_for_it_are_told_in_one_batch(on_site: Any, end: Event) -> None:
    async def act(client: Http3Client, site: Site) -> None:  # noqa: ARG001 - of a server that only listens
        size = 2 * Config().send_buffer_size
        request = asyncio.create_task(client.request("POST", "/hang", body=bytes(size)))
        await until(lambda: client.open_requests == 1)
        core = client.core
        if isinstance(end, ConnectionClosed):
            core.close(now=0.0)
        client.on_events(core, [StreamWritable(0), end])
        request.cancel()

    on_site(act)


def test_resets_and_rejections(on_site: Any) -> None:
    async def act(client: Http3Client, _site: Site) -> None:
        with pytest.raises(RequestError, match="H3_INTERNAL_ERROR") as failed:
            await client.request("GET", "/break")
        assert (failed.value.error_code, failed.value.retryable) == (0x102, False)
        with pytest.raises(RequestError, match="H3_REQUEST_REJECTED") as failed:
            await client.request("GET", "/reject")
        assert failed.value.retryable
        with pytest.raises(ValueError, match="the value of x has characters"):
            await client.request("GET", "/hello", [("x", "bad\nX")])
        assert client.open_requests == 0

    on_site(act)


def test_goaway_ends_what_was_not_processed(on_site: Any) -> None:
    async def act(client: Http3Client, _site: Site) -> None:
        response = await client.request("GET", "/goaway")
        assert await response.read() == b"the answer"
        await until(lambda: not client.is_usable)
        with pytest.raises(RequestError) as failed:
            await client.request("GET", "/hello")
        assert failed.value.retryable
        assert client.going_away
        assert not client.is_closed

    on_site(act)


def test_goaway_cancels_what_the_server_will_not_process(on_site: Any) -> None:
    """RFC 9114 §5.2: so that nothing is kept for it on either side."""

    async def act(client: Http3Client, site: Site) -> None:
        request = asyncio.create_task(client.request("GET", "/silence"))
        await until(lambda: bool(site.requests))
        session = site.sessions[0]
        session.quic.write(SERVER_CONTROL, encode_frame(FrameType.GOAWAY, b"\0"))
        session.touch()
        with pytest.raises(RequestError) as failed:
            await request
        assert failed.value.retryable
        await until(lambda: bool(site.abandoned))

    on_site(act)


async def _five_bytes() -> AsyncIterator[bytes]:
    yield b"12345"


@pytest.mark.parametrize("length", ["3", "9"])
@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("queued", [True, False])
def test_a_body_that_is_not_as_long_as_it_should_be(
    on_site: Any, length: str, in_memory: bool, queued: bool
) -> None:
    async def act(client: Http3Client, site: Site) -> None:
        body = b"12345" if in_memory else _five_bytes()
        first = asyncio.create_task(client.request("GET", "/silence" if queued else "/hello"))
        await until(lambda: bool(site.requests))
        if not queued:
            await (await first).read()
        wrong = asyncio.create_task(client.request("PUT", "/echo", [("content-length", length)], body))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(ValueError, match=r"bytes of (announced )?content"):
            await wrong
        assert await (await client.request("GET", "/hello")).read() == b"the answer"
        await until(lambda: not client.open_requests)

    on_site(act, server=Config(initial_max_streams_bidi=1))


def test_fields_that_are_too_much_for_the_server(on_site: Any) -> None:
    async def act(client: Http3Client, _site: Site) -> None:
        await until(lambda: client.peer_settings is not None)
        first = asyncio.create_task(client.request("GET", "/silence"))
        await asyncio.sleep(0)
        second = asyncio.create_task(client.request("GET", "/hello", [("x", "y" * 70_000)]))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(ValueError, match="the peer takes 65536"):
            await second
        assert await (await client.request("GET", "/hello")).read() == b"the answer"

    on_site(act, server=Config(initial_max_streams_bidi=1))


def test_interim_responses_without_end_are_not_kept(on_site: Any) -> None:
    async def act(client: Http3Client, _site: Site) -> None:
        response = await client.request("GET", "/hints/1000")
        assert await response.read() == b"the answer"
        assert len(response.informational) == MAX_INFORMATIONAL

    on_site(act)


def test_a_connection_that_ends(on_site: Any) -> None:
    async def act(client: Http3Client, site: Site) -> None:
        first = asyncio.create_task(client.request("GET", "/silence"))
        await until(lambda: bool(site.requests))
        second = asyncio.create_task(client.request("GET", "/hello"))
        await asyncio.sleep(0)
        site.sessions[0].h3.close(now=asyncio.get_running_loop().time())
        site.sessions[0].touch()
        with pytest.raises(ConnectionLostError):
            await first
        with pytest.raises(RequestError, match="was not sent") as failed:
            await second
        assert failed.value.retryable
        with pytest.raises(ConnectionLostError):
            await client.request("GET", "/hello")

    on_site(act, server=Config(initial_max_streams_bidi=1))


def test_early_data_is_for_safe_requests(
    server_tls: TlsConfig, client_tls: TlsConfig, tmp_path: Path
) -> None:
    async def main() -> None:
        store = SessionStore(tmp_path / "sessions")
        async with running(server_tls, early_data=True) as site:
            how: dict[str, Any] = {"tls": client_tls, "store": store, "early_data": True}
            async with connect("127.0.0.1", site.port, **how) as client:
                await (await client.request("GET", "/first")).read()
                await client.wait_session()
            async with connect("127.0.0.1", site.port, **how) as client:
                assert client.early
                # What the server said last time holds before it says it again.
                assert client.peer_settings is not None
                unsafe = asyncio.create_task(client.request("POST", "/echo", body=b"x"))
                response = await client.request("GET", "/second")
                assert response.early
                assert await response.read() == b"the answer"
                assert await (await unsafe).read() == b"POST x"
                assert client.handshake is not None
                assert client.handshake.early_data
                assert not (await unsafe).early
        assert site.early == [False, True, False]

    asyncio.run(asyncio.wait_for(main(), 20))


def test_early_data_that_is_refused_is_sent_again(
    server_tls: TlsConfig, client_tls: TlsConfig, tmp_path: Path
) -> None:
    async def main() -> None:
        store = SessionStore(tmp_path / "sessions")
        how: dict[str, Any] = {"tls": client_tls, "store": store, "early_data": True}
        async with running(server_tls, early_data=True) as site:
            port = site.port
            async with connect("127.0.0.1", port, **how) as client:
                await (await client.request("GET", "/first")).read()
                await client.wait_session()
        # Another server, which has other ticket keys.
        async with (
            running(server_tls, early_data=True, port=port) as site,
            connect("127.0.0.1", port, **how) as client,
        ):
            assert client.early
            response = await client.request("GET", "/second")
            assert await response.read() == b"the answer"
            assert client.handshake is not None
            assert not client.handshake.early_data
        assert site.early == [False]

    asyncio.run(asyncio.wait_for(main(), 20))
