"""httpx over HTTP/3 on loopback: reuse, streaming, exceptions, the way back to HTTP/1.1, Alt-Svc."""

import asyncio
import contextlib
import gc
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from unit.http.site import Site, running, until

from endpoint.config import Config
from endpoint.http.httpx_transport import Http3Transport
from endpoint.http.pool import ConnectionPool, Server
from endpoint.io.sessions import Origin, SessionStore
from endpoint.testing.link import LinkProfile
from endpoint.testing.relay import Relay
from endpoint.tls.certificates import load_certificates, load_private_key, make_self_signed
from endpoint.tls.config import TlsConfig
from endpoint.wire.version import QUIC_V1

Act = Callable[[httpx.AsyncClient, Site], Awaitable[None]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With `cert.pem` and `key.pem` of localhost."""
    folder = tmp_path_factory.mktemp("certificates")
    certificate, key = make_self_signed(["localhost", "127.0.0.1"], time.time())
    (folder / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    return folder


@pytest.fixture(scope="module")
def server_tls(folder: Path) -> TlsConfig:
    return TlsConfig(
        alpn_protocols=("h3",),
        certificate_chain=load_certificates((folder / "cert.pem").read_bytes()),
        private_key=load_private_key((folder / "key.pem").read_bytes()),
    )


@pytest.fixture
def on_site(server_tls: TlsConfig, folder: Path) -> Callable[..., None]:
    """Runs a test with an httpx client and a site. Without fallback, so that all is HTTP/3."""

    def go(act: Act, *, server: Config | None = None, timeout: float = 5.0, **options: Any) -> None:
        async def main() -> None:
            transport = Http3Transport(verify=folder / "cert.pem", **{"fallback": False, **options})
            async with running(server_tls, config=server) as site:
                base = f"https://localhost:{site.port}"
                async with httpx.AsyncClient(transport=transport, base_url=base, timeout=timeout) as client:
                    await act(client, site)

        asyncio.run(asyncio.wait_for(main(), 20))

    return go


def test_requests_share_a_connection(on_site: Any) -> None:
    async def act(client: httpx.AsyncClient, site: Site) -> None:
        response = await client.get("/hello", params={"a": "b c"}, headers={"X-One": "1"})
        assert (response.status_code, response.http_version, response.text) == (200, "HTTP/3", "the answer")
        assert response.headers["server"] == "site"
        header = dict(site.requests[0])
        assert header[b":path"] == b"/hello?a=b+c"
        assert header[b":authority"] == f"localhost:{site.port}".encode()
        assert header[b"x-one"] == b"1"
        assert b"connection" not in header
        answers = await asyncio.gather(*(client.post("/echo", content=b"%d" % i) for i in range(200)))
        assert [answer.content for answer in answers] == [b"POST %d" % i for i in range(200)]
        assert (await client.get("/status/421")).status_code == 421, "which is for the caller to see"
        assert len(site.requests) == 202
        assert len(site.sessions) == 1
        assert (await client.head("/hello")).content == b""

    on_site(act)


def test_streams_both_ways(on_site: Any) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield bytes(100_000)

    async def act(client: httpx.AsyncClient, _site: Site) -> None:
        assert (await client.put("/echo", content=pieces())).headers["x-size"] == "3000000"
        assert (await client.put("/echo", content=bytes(3_000_000))).headers["x-size"] == "3000000"
        async with client.stream("GET", "/bytes/10000000") as response:
            assert sum([len(piece) async for piece in response.aiter_raw()]) == 10_000_000
        # What is left unread is given up.
        async with client.stream("GET", "/bytes/10000000") as response:
            await anext(response.aiter_raw())

    on_site(act)


def test_exceptions_are_those_of_httpx(on_site: Any) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1_000_000)

    async def act(client: httpx.AsyncClient, site: Site) -> None:
        with pytest.raises(httpx.RemoteProtocolError, match="H3_INTERNAL_ERROR"):
            await client.get("/break")
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/silence", timeout=0.05)
        with pytest.raises(httpx.WriteTimeout):
            await client.put("/silence", content=endless(), timeout=0.05)
        await until(lambda: len(site.abandoned) == 2)
        # It is sent again, and rejected each time.
        before = len(site.requests)
        with pytest.raises(httpx.ConnectError, match="H3_REQUEST_REJECTED"):
            await client.get("/reject")
        assert len(site.requests) - before == 3
        with pytest.raises(httpx.ConnectError, match="H3_REQUEST_REJECTED"):
            await client.post("/reject", content=bytes(100_000))
        assert len(site.requests) - before == 6
        with pytest.raises(httpx.UnsupportedProtocol):
            await client.get("http://localhost/")
        with pytest.raises(httpx.ConnectError):
            await client.get("https://localhost:1/")
        with pytest.raises(httpx.ConnectError, match=r"can't resolve name\.invalid"):
            await client.get("https://name.invalid/")
        with pytest.raises(httpx.ConnectError, match="can't resolve"):
            await client.get(f"https://{'a' * 64}.invalid/")

    on_site(act)


def test_a_full_connection_is_a_pool_timeout(on_site: Any) -> None:
    async def act(client: httpx.AsyncClient, site: Site) -> None:
        first = asyncio.create_task(client.get("/silence", timeout=10))
        await until(lambda: bool(site.requests))
        with pytest.raises(httpx.PoolTimeout):
            await client.get("/hello", timeout=httpx.Timeout(5, pool=0.05))
        first.cancel()

    on_site(act, server=Config(initial_max_streams_bidi=1))


def test_a_server_that_goes_away_gets_a_new_connection(on_site: Any) -> None:
    async def act(client: httpx.AsyncClient, site: Site) -> None:
        assert (await client.get("/goaway")).text == "the answer"
        assert (await client.get("/hello")).text == "the answer"
        assert len(site.sessions) == 2
        site.sessions[1].h3.close(now=asyncio.get_running_loop().time())
        site.sessions[1].touch()
        await asyncio.sleep(0.05)
        assert (await client.get("/hello")).text == "the answer"
        assert len(site.sessions) == 3

    on_site(act)


def test_what_a_body_raises_is_its_own(on_site: Any) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise ValueError("mine")

    async def short() -> AsyncIterator[bytes]:
        yield b"x"

    async def act(client: httpx.AsyncClient, _site: Site) -> None:
        with pytest.raises(ValueError, match="mine") as raised:
            await client.put("/echo", content=broken())
        assert raised.type is ValueError
        with pytest.raises(httpx.LocalProtocolError, match="content are missing"):
            await client.put("/echo", content=short(), headers={"content-length": "2"})
        with pytest.raises(httpx.LocalProtocolError, match="characters"):
            await client.get("/hello", headers={"bad name": "x"})
        assert (await client.get("/hello")).text == "the answer"

    on_site(act)


NOWHERE = LinkProfile(delay=0.0, outages=((0.0, float("inf")),))


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_connection_that_leads_nowhere_gets_one_request_at_most(
    on_site: Any, *, is_cancelled: bool, seed: int
) -> None:
    """As of a server that was started anew, or in another network than before."""

    async def act(client: httpx.AsyncClient, site: Site) -> None:
        async with Relay(("127.0.0.1", site.port), LinkProfile(delay=0.0), seed=seed) as relay:
            url = f"https://localhost:{relay.port}/hello"
            assert (await client.get(url)).text == "the answer"
            for link in (relay.flows[0].up, relay.flows[0].down):
                link.profile = NOWHERE
            if is_cancelled:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(client.get(url, timeout=10), 1.0)
            else:
                with pytest.raises(httpx.ReadTimeout):
                    await client.get(url, timeout=1.0)
            for _ in range(2):
                assert (await client.get(url)).text == "the answer"
            assert len(relay.flows) == 2

    on_site(act)


def test_a_server_that_is_slow_but_there_keeps_its_connection(on_site: Any) -> None:
    async def act(client: httpx.AsyncClient, site: Site) -> None:
        for _ in range(2):
            with pytest.raises(httpx.ReadTimeout):
                await client.get("/silence", timeout=0.5)
        assert (await client.get("/hello")).text == "the answer"
        assert len(site.sessions) == 1

    on_site(act)


def test_idle_connections_are_closed(on_site: Any) -> None:
    async def act(client: httpx.AsyncClient, site: Site) -> None:
        await client.get("/hello")
        await until(lambda: site.sessions[0].quic.is_closing)
        await client.get("/hello")
        assert len(site.sessions) == 2

    on_site(act, idle_timeout=0.02)


def test_a_connection_is_not_idle_before_who_waits_has_it(on_site: Any) -> None:
    async def act(client: httpx.AsyncClient, _site: Site) -> None:
        for _ in range(3):
            assert (await client.get("/hello")).text == "the answer"

    on_site(act, idle_timeout=0.0)


def test_attempts_to_connect_are_shared_and_failures_are_not_kept() -> None:
    attempts = 0

    @asynccontextmanager
    async def connector(_server: Server) -> AsyncIterator[Any]:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(0)
        raise OSError("no way")
        yield

    async def main() -> None:
        pool = ConnectionPool(connector)
        server = Server("h", 1, "h")
        for count in (1, 2):
            outcomes = await asyncio.gather(*(pool.acquire(server) for _ in range(3)), return_exceptions=True)
            assert [str(outcome) for outcome in outcomes] == ["no way"] * 3
            assert attempts == count
        await pool.aclose()
        assert len(pool) == 0

    asyncio.run(main())


def test_an_attempt_that_nobody_waits_for_is_not_kept_when_it_fails() -> None:
    fail = asyncio.Event()
    reported: list[Any] = []

    @asynccontextmanager
    async def connector(_server: Server) -> AsyncIterator[Any]:
        await fail.wait()
        raise OSError("no way")
        yield

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
        pool = ConnectionPool(connector)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pool.acquire(Server("h", 1, "h")), 0.01)
        assert len(pool) == 1
        fail.set()
        await until(lambda: not len(pool))
        await pool.aclose()
        gc.collect()
        assert not reported, "an exception that nobody took"

    asyncio.run(asyncio.wait_for(main(), 5))


class OldServer:
    """Speaks HTTP/1.1 on a TCP port of loopback, and sends Alt-Svc if it has some."""

    def __init__(self) -> None:
        self.requests = 0
        self.port = 0
        self.alt_svc = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                alt_svc = f"alt-svc: {self.alt_svc}\r\n" if self.alt_svc else ""
                writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n{alt_svc}\r\nold".encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@asynccontextmanager
async def old_server(folder: Path) -> AsyncIterator[OldServer]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    old = OldServer()
    async with await asyncio.start_server(old.handle, "127.0.0.1", 0, ssl=context) as server:
        old.port = server.sockets[0].getsockname()[1]
        yield old


def test_fallback_where_udp_is_refused_or_dropped(folder: Path) -> None:
    async def main() -> None:
        async with old_server(folder) as old:
            transport = Http3Transport(verify=folder / "cert.pem", patience=0.3)
            async with httpx.AsyncClient(transport=transport) as client:
                response = await client.get(f"https://127.0.0.1:{old.port}/")
                assert (response.text, response.http_version) == ("old", "HTTP/1.1")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            async with old_server(folder) as old:
                silent.bind(("127.0.0.1", old.port))
                transport = Http3Transport(verify=folder / "cert.pem", patience=0.3)
                async with httpx.AsyncClient(transport=transport) as client:
                    started = time.monotonic()
                    assert (await client.get(f"https://127.0.0.1:{old.port}/")).text == "old"
                    assert 0.25 < time.monotonic() - started < 3
                    # It is not tried again for a while.
                    started = time.monotonic()
                    assert (await client.get(f"https://127.0.0.1:{old.port}/")).text == "old"
                    assert time.monotonic() - started < 0.25

    asyncio.run(asyncio.wait_for(main(), 20))


def test_fallback_for_a_request_that_is_rejected(folder: Path, server_tls: TlsConfig) -> None:
    """By a server that ends, for one: it has not processed it, so another may."""

    async def main() -> None:
        async with old_server(folder) as old, running(server_tls, port=old.port) as site:
            transport = Http3Transport(verify=folder / "cert.pem")
            async with httpx.AsyncClient(transport=transport) as client:
                url = f"https://localhost:{old.port}"
                assert (await client.post(f"{url}/reject", content=b"x")).text == "old"
                assert (await client.get(f"{url}/hello")).text == "the answer"
                assert len(site.requests) == 4, "it is reached by QUIC"

    asyncio.run(asyncio.wait_for(main(), 20))


def test_fallback_where_0_rtt_is_not_answered(folder: Path, server_tls: TlsConfig) -> None:
    async def main() -> None:
        store = SessionStore(None)
        options: Any = {"verify": folder / "cert.pem", "store": store, "early_data": True, "patience": 0.5}
        async with old_server(folder) as old:
            url = f"https://localhost:{old.port}/hello"
            origin = Origin("localhost", old.port, "localhost")
            async with (
                running(server_tls, early_data=True, port=old.port),
                httpx.AsyncClient(transport=Http3Transport(**options)) as client,
            ):
                assert (await client.get(url)).text == "the answer"
                await until(lambda: store.session_alpn(origin, ["h3"], QUIC_V1) is not None)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
                silent.bind(("127.0.0.1", old.port))
                async with httpx.AsyncClient(transport=Http3Transport(**options), timeout=5) as client:
                    assert (await client.get(url)).text == "old"
                    assert (await client.post(url, content=b"x")).text == "old"

    asyncio.run(asyncio.wait_for(main(), 20))


def test_alternative_services_are_followed(folder: Path, server_tls: TlsConfig) -> None:
    async def main() -> None:
        async with old_server(folder) as old, running(server_tls) as site:
            transport = Http3Transport(verify=folder / "cert.pem", prefer="alt-svc")
            url = f"https://localhost:{old.port}/hello"
            async with httpx.AsyncClient(transport=transport) as client:
                assert (await client.get(url)).text == "old"
                old.alt_svc = f'h3=":{site.port}"; ma=100'
                assert (await client.get(url)).text == "old"
                response = await client.get(url)
                assert (response.text, response.http_version) == ("the answer", "HTTP/3")
                # RFC 7838 §2: the origin stays what it is.
                request = dict(site.requests[0])
                assert request[b":authority"] == f"localhost:{old.port}".encode()
                assert request[b"alt-used"] == f"localhost:{site.port}".encode()
                assert old.requests == 2
                # RFC 7838 §6: an alternative that is misdirected is one no more.
                old.alt_svc = ""
                assert (await client.get(f"https://localhost:{old.port}/status/421")).status_code == 421
                assert (await client.get(url)).text == "old"

    asyncio.run(asyncio.wait_for(main(), 20))


def test_alternatives_that_are_not_there(on_site: Any) -> None:
    """RFC 7838 §2.4: the origin is, and a dead alternative does not delay each request."""

    async def act(client: httpx.AsyncClient, site: Site) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            places = ("name.invalid:443", "localhost:1", f"127.0.0.1:{silent.getsockname()[1]}")
            site.fields = [(b"alt-svc", ", ".join(f'h3="{place}"' for place in places).encode())]
            assert (await client.get("/hello")).text == "the answer"
            for _ in range(5):
                answer = await client.get("/hello", timeout=httpx.Timeout(5, connect=0.3))
                assert answer.text == "the answer"
            silent.setblocking(False)
            asked = set()
            with contextlib.suppress(BlockingIOError):
                while True:
                    asked.add(silent.recvfrom(2000)[1])
            assert len(asked) == 1, "by more than one attempt"

    on_site(act)


def test_an_age_that_is_no_time(on_site: Any) -> None:
    async def act(client: httpx.AsyncClient, site: Site) -> None:
        site.fields = [(b"alt-svc", b'h3="localhost:1"'), (b"age", b"9" * 5000)]
        for _ in range(2):
            assert (await client.get("/hello")).text == "the answer"

    on_site(act)


def test_a_name_in_another_script(on_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 5891: certificates, name servers and HTTP know it by its A-labels."""
    resolve = socket.getaddrinfo

    def at_home(host: str, *args: Any, **options: Any) -> Any:
        return resolve("127.0.0.1" if host == "xn--bcher-kva.example" else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", at_home)

    async def act(client: httpx.AsyncClient, site: Site) -> None:
        assert (await client.get(f"https://bücher.example:{site.port}/hello")).text == "the answer"
        assert dict(site.requests[0])[b":authority"] == f"xn--bcher-kva.example:{site.port}".encode()

    on_site(act, tls=TlsConfig(alpn_protocols=("h3",), insecure=True))


def test_no_alternative_at_all() -> None:
    with pytest.raises(ValueError, match="fallback"):
        Http3Transport(prefer="alt-svc", fallback=False)


def test_a_certificate_that_is_not_trusted(on_site: Any) -> None:
    async def act(client: httpx.AsyncClient, _site: Site) -> None:
        with pytest.raises(httpx.ConnectError, match="unknown_ca"):
            await client.get("/hello")

    on_site(act, tls=TlsConfig(alpn_protocols=("h3",)))
