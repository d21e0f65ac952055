"""HTTP/3 for httpx: `httpx.AsyncClient(transport=Http3Transport())`. Needs the extra "httpx"."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal

try:
    import httpx
except ImportError as error:
    raise ImportError("Http3Transport needs httpx: pip install 'interquic[httpx]'") from error

from endpoint.config import Config
from endpoint.errors import ConnectionClosedError
from endpoint.h3.headers import MessageError
from endpoint.http.alt_svc import AltSvcCache, Origin, Unreachable
from endpoint.http.client import Http3Client, connect
from endpoint.http.pool import DEFAULT_IDLE_TIMEOUT, ConnectionPool, Server
from endpoint.http.requests import ALPN, DEFAULT_PORT, InvalidRequestError, RequestError, authority
from endpoint.http.response import (
    Body,
    QueueTimeoutError,
    ReadTimeoutError,
    Response,
    Timeouts,
    WriteTimeoutError,
)
from endpoint.io.sessions import SessionStore
from endpoint.tls.certificates import load_certificates
from endpoint.tls.config import TlsConfig

# With something to fall back to, silence is an answer: most networks that drop UDP do so without a word.
DEFAULT_PATIENCE = 2.0
# Bodies up to this size are handed over in one piece; larger ones wait for the server piece by piece.
_SMALL_BODY = 64 * 1024
# How often a request that a server did not process is sent again, on another connection.
_RETRIES = 2

# A response that is older is as good as one of this age: longer than any lifetime of alternatives.
_AGE_DIGITS = 12
# Not by this server, which is an alternative of it (RFC 7838 §6).
_MISDIRECTED = 421

# How long to wait for each thing, in seconds, as httpx names them; None: for ever.
_Timeouts = dict[str, float | None]


class Http3Transport(httpx.AsyncBaseTransport):
    """Speaks HTTP/3 where a server can be reached by QUIC, and what `fallback` speaks everywhere else.

    Connections are kept and shared by all requests to a server. Servers that could not be reached by QUIC
    are left alone for a while, and what servers say about alternative services (Alt-Svc, RFC 7838) is
    followed. Every response is passed on, 421 (Misdirected Request, RFC 9110 §15.5.20) too; an alternative
    that gives it is not asked again. For asyncio only.
    """

    def __init__(
        self,
        *,
        verify: bool | str | Path = True,
        prefer: Literal["always", "alt-svc"] = "always",
        fallback: httpx.AsyncBaseTransport | bool = True,
        patience: float = DEFAULT_PATIENCE,
        idle_timeout: float = DEFAULT_IDLE_TIMEOUT,
        tls: TlsConfig | None = None,
        config: Config | None = None,
        store: SessionStore | None = None,
        early_data: bool = False,
    ) -> None:
        """Raises OSError or ValueError for a file of `verify` that can't be read or has no certificates.

        ValueError also for `prefer="alt-svc"` with nothing that could hear of alternatives.

        Args:
            verify: False accepts any certificate; a path names a PEM file of roots to trust.
            prefer: "always" tries HTTP/3 first; "alt-svc" only with servers that said that they speak it.
            fallback: True is HTTP/2 and HTTP/1.1 of httpx; False: there is none, a failure is one.
            patience: seconds for QUIC to connect where there is a fallback.
            idle_timeout: seconds after which a connection without requests is closed.
            tls: instead of what `verify` means, for HTTP/3 only.
            config: transport settings of QUIC.
            store: where sessions are kept; by default in memory, as long as the transport lives.
            early_data: send safe requests as 0-RTT data where a session allows it.
        """
        if prefer == "alt-svc" and fallback is False:
            raise ValueError('prefer="alt-svc" needs a fallback, which hears of alternatives first')
        self._tls = tls or _make_tls(verify)
        self._config = config
        self._store = SessionStore(None) if store is None else store
        self._early_data = early_data
        self._prefer = prefer
        self._patience = patience
        self._fallback: httpx.AsyncBaseTransport | None = None
        if isinstance(fallback, httpx.AsyncBaseTransport):
            self._fallback = fallback
        elif fallback:
            context = verify if isinstance(verify, bool) else ssl.create_default_context(cafile=verify)
            self._fallback = httpx.AsyncHTTPTransport(verify=context, http2=True)
        self._pool = ConnectionPool(self._connector, idle_timeout=idle_timeout)
        self._alternatives = AltSvcCache()
        self._unreachable = Unreachable()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; for httpx."""
        timeouts: _Timeouts = request.extensions.get("timeout", {})
        unreachable: _UnreachableByQuicError | None = None
        for server in self._servers(request.url):
            try:
                return await self._send(server, request, timeouts)
            except _UnreachableByQuicError as error:
                # Nothing was sent that it may have acted on, so another can have it (RFC 7838 §2.4).
                unreachable = error
        if self._fallback is None:
            if unreachable is not None:
                raise unreachable.told from unreachable
            raise httpx.UnsupportedProtocol("only https URLs can be had over HTTP/3", request=request)
        response = await self._fallback.handle_async_request(request)
        self._learn(request.url, response.headers)
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()
        if self._fallback is not None:
            await self._fallback.aclose()

    # -- where to go

    def _servers(self, url: httpx.URL) -> list[Server]:
        """Where HTTP/3 is to be tried, in this order."""
        if url.scheme != "https":
            return []
        now = asyncio.get_running_loop().time()
        _, host, port = origin = _origin(url)
        known = self._alternatives.alternatives(origin, now, ALPN)
        servers = [Server(each.host, each.port, host) for each in known]
        own = Server(host, port, host)
        if self._prefer == "always" and own not in servers:
            servers.append(own)
        fresh = [each for each in servers if not self._unreachable.is_paused(each.host, each.port, now)]
        return fresh if fresh or self._fallback is not None else servers

    def _learn(self, url: httpx.URL, headers: httpx.Headers) -> None:
        """RFC 7838 §3: what the server says about where else it is counts for its origin."""
        value = headers.get("alt-svc")
        if value is not None and url.scheme == "https":
            age = headers.get("age", "")
            self._alternatives.learn(
                _origin(url),
                value,
                asyncio.get_running_loop().time(),
                # Cut off where it is longer than any lifetime.
                age=int(age[:_AGE_DIGITS]) if age.isascii() and age.isdigit() else 0,
            )

    # -- connections

    def _connector(self, server: Server) -> AbstractAsyncContextManager[Http3Client]:
        return connect(
            server.host,
            server.port,
            server_name=server.server_name,
            tls=self._tls,
            config=self._config,
            store=self._store,
            early_data=self._early_data,
        )

    async def _acquire(self, server: Server, timeouts: _Timeouts) -> Http3Client:
        """Raises as `_reaching`."""
        async with self._reaching(server, timeouts):
            client = await self._pool.acquire(server)
        if not client.early:
            self._unreachable.worked(server.host, server.port)
        return client

    @asynccontextmanager
    async def _reaching(self, server: Server, timeouts: _Timeouts) -> AsyncIterator[None]:
        """Within this the server has to answer. Raises _UnreachableByQuicError."""
        limit = timeouts.get("connect")
        if self._fallback is not None:
            limit = self._patience if limit is None else min(limit, self._patience)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(limit):
                yield
        except TimeoutError as error:
            told: httpx.TransportError = httpx.ConnectTimeout("the server does not answer")
            cause: Exception = error
        except socket.gaierror as error:
            told = httpx.ConnectError(f"can't resolve {server.host}: {error.strerror}")
            cause = error
        except ConnectionClosedError as error:
            told, cause = httpx.ConnectError(str(error)), error
        else:
            return
        # Without a name server nothing is known of the origin. But an alternative is no better than its name.
        if not isinstance(cause, socket.gaierror) or server.host != server.server_name:
            self._unreachable.failed(server.host, server.port, loop.time())
        raise _UnreachableByQuicError(told) from cause

    # -- requests

    async def _send(self, server: Server, request: httpx.Request, timeouts: _Timeouts) -> httpx.Response:
        body = await _body_of(request)
        fields = list(request.headers.raw)
        origin = _origin(request.url)
        if (server.host, server.port) != origin[1:]:
            fields.append((b"alt-used", authority(server.host, server.port).encode()))  # RFC 7838 §5
        waits = Timeouts(queue=timeouts.get("pool"), write=timeouts.get("write"), read=timeouts.get("read"))
        for attempt in range(_RETRIES + 1):
            client = await self._acquire(server, timeouts)
            sending = client.request(
                request.method, request.url.raw_path.decode("ascii"), fields, body, timeouts=waits
            )
            try:
                with _mapped():
                    if client.early:
                        response = await self._early(client, server, sending, timeouts)
                    else:
                        response = await sending
            except httpx.ConnectError as error:
                # The server has not processed it (RFC 9114 §5.2). A body can be sent again if it is here.
                if not isinstance(request.stream, httpx.ByteStream):
                    raise
                if attempt == _RETRIES:
                    raise _UnreachableByQuicError(error) from error
            else:
                break
        headers = httpx.Headers(list(response.headers))
        if response.status == _MISDIRECTED:
            # RFC 7838 §6, where Alt-Svc in such a response is to be ignored, too.
            self._alternatives.forget(origin, server.host, server.port)
        else:
            self._learn(request.url, headers)
        return httpx.Response(
            response.status,
            headers=headers,
            stream=_ResponseStream(response),
            extensions={"http_version": b"HTTP/3", "stream_id": response.stream_id},
        )

    async def _early(
        self,
        client: Http3Client,
        server: Server,
        sending: Coroutine[Any, Any, Response],
        timeouts: _Timeouts,
    ) -> Response:
        """With 0-RTT a request goes out before the server has answered, which then may not be there at all.

        Whatever went out is safe to be sent again, by other means too (RFC 8470 §4).
        """
        request = asyncio.create_task(sending)
        try:
            async with self._reaching(server, timeouts):
                await client.wait_handshake()
            self._unreachable.worked(server.host, server.port)
            return await request
        finally:
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)


class _UnreachableByQuicError(Exception):
    """There is no connection, and nothing of the request was sent. `told` is what httpx says of it."""

    def __init__(self, told: httpx.TransportError) -> None:
        super().__init__(str(told))
        self.told = told


class _ResponseStream(httpx.AsyncByteStream):
    """The body of a response, as httpx reads it."""

    def __init__(self, response: Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _mapped():
            async for piece in self._response:
                yield piece

    async def aclose(self) -> None:
        self._response.close()


def _origin(url: httpx.URL) -> Origin:
    """Of an https URL; the host in A-labels, as certificates have it (RFC 5890 §2.3.2.1)."""
    return "https", url.raw_host.decode("ascii"), DEFAULT_PORT if url.port is None else url.port


async def _body_of(request: httpx.Request) -> Body | None:
    """The body as the client takes it: in one piece where it is small and here already."""
    stream = request.stream
    assert isinstance(stream, httpx.AsyncByteStream), "httpx.AsyncClient gives asynchronous streams"
    if not isinstance(stream, httpx.ByteStream):
        return stream
    content = b"".join([piece async for piece in stream])
    if len(content) > _SMALL_BODY:
        return stream
    return content or None


@contextmanager
def _mapped() -> Iterator[None]:
    """Turns our exceptions into those of httpx."""
    try:
        yield
    except QueueTimeoutError as error:
        raise httpx.PoolTimeout(str(error)) from error
    except WriteTimeoutError as error:
        raise httpx.WriteTimeout(str(error)) from error
    except ReadTimeoutError as error:
        raise httpx.ReadTimeout(str(error)) from error
    except RequestError as error:
        kind = httpx.ConnectError if error.retryable else httpx.RemoteProtocolError
        raise kind(str(error)) from error
    except ConnectionClosedError as error:
        raise httpx.ReadError(str(error)) from error
    except (MessageError, InvalidRequestError) as error:
        raise httpx.LocalProtocolError(str(error)) from error


def _make_tls(verify: bool | str | Path) -> TlsConfig:
    if isinstance(verify, bool):
        return TlsConfig(alpn_protocols=(ALPN,), insecure=not verify)
    return TlsConfig(alpn_protocols=(ALPN,), trusted_roots=load_certificates(Path(verify).read_bytes()))
