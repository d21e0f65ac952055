"""`interquic client URL`: one request, with the options and the habits of curl."""

import argparse
import asyncio
import sys
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from io import FileIO
from urllib.parse import urljoin

from endpoint.cli.curl_request import CurlRequest, upload_url
from endpoint.cli.download import SESSION_WAIT, Url, explained
from endpoint.cli.errors import CommandError, explain_close, explain_disk
from endpoint.cli.options import KeyLog
from endpoint.config import Config
from endpoint.h3.events import Headers
from endpoint.http.client import Http3Client, connect
from endpoint.http.requests import RequestError, request_headers
from endpoint.http.requests import authority as authority_of
from endpoint.http.response import Response
from endpoint.io.sessions import SessionStore
from endpoint.io.streams import ConnectionLostError
from endpoint.tls.config import TlsConfig
from endpoint.tls.suites import CIPHER_SUITES
from endpoint.wire.version import QUIC_V1, QUIC_V2

# What curl ends with for a status of 400 and above, if asked to fail.
HTTP_FAILED = 22
MAX_REDIRECTS = 50

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_VERSIONS = {QUIC_V1: "v1", QUIC_V2: "v2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Connecting:
    """How connections are made; see `endpoint.http.client.connect`."""

    tls: TlsConfig
    config: Config
    keylog: KeyLog | None
    store: SessionStore | None
    early_data: bool
    gso: bool
    gro: bool


class Output:
    """Where an answer goes: a file, or standard output."""

    def __init__(self, path: str | None) -> None:
        """`path` None: standard output, unless it is a terminal and the answer none to be read; "-": it."""
        self._path = path
        self._file: FileIO | None = None

    async def write(self, data: bytes) -> None:
        """Raises CommandError where it can't be written."""
        if self._path is None and b"\0" in data and sys.stdout.isatty():
            raise CommandError("the answer is no text: say -o FILE, or -o - to have it on the terminal")
        try:
            # Whoever reads a pipe may be slow, and neither the connection nor a signal must wait for that.
            await asyncio.to_thread(self._write, data)
        except BrokenPipeError as error:
            raise CommandError("nobody reads the output any more") from error
        except OSError as error:
            raise explain_disk(error) from error

    def close(self, *, complete: bool) -> None:
        """An answer without content still makes a file, if it is `complete`. Raises CommandError."""
        try:
            if complete and self._path is not None and self._path != "-":
                self._open(self._path)
            if self._file is not None:
                self._file.close()
        except OSError as error:
            raise explain_disk(error) from error

    def _write(self, data: bytes) -> None:
        if self._path is None or self._path == "-":
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            file, left = self._open(self._path), memoryview(data)
            while left:
                left = left[file.write(left) :]

    def _open(self, path: str) -> FileIO:
        if self._file is None:
            # Without a buffer, which close() would have to wait for while a pipe is full.
            self._file = open(path, "wb", buffering=0)  # noqa: SIM115 - closed by close()
        return self._file


async def run(args: argparse.Namespace, url: str, connecting: Connecting) -> int:
    """Make the request that the options ask for, and show the answer; the exit status."""
    request = await asyncio.to_thread(CurlRequest.read, args)  # the data may be typed, or come by a pipe
    url = upload_url(url, args.upload_file)
    request = request.with_credentials(url)
    output = Output(args.output)
    curl = _Curl(args, connecting, output)
    complete = False
    try:
        status = await curl.run(url, request)
        complete = status == 0
    finally:
        output.close(complete=complete)
    return status


class _Curl:
    """One run: a request, and those that redirections ask for."""

    def __init__(self, args: argparse.Namespace, connecting: Connecting, output: Output) -> None:
        self._args = args
        self._connecting = connecting
        self._output = output
        self._clients: dict[tuple[str, int], Http3Client] = {}
        self._started: dict[tuple[str, int], float] = {}

    async def run(self, text: str, request: CurlRequest) -> int:
        async with AsyncExitStack() as stack:
            for _ in range(MAX_REDIRECTS + 1):
                url = Url.anywhere(text)
                client = await self._client(stack, url)
                try:
                    target = await self._exchange(client, url, text, request)
                except (RequestError, ValueError) as error:
                    raise CommandError(f"{url.authority}: {error}") from error
                except ConnectionLostError as error:
                    handshake = client.handshake is None
                    raise explain_close(url.authority, error.closed, handshake=handshake) from error
                if isinstance(target, int):
                    await self._keep_session(client)
                    return target
                text, request = target
            raise CommandError(f"more than {MAX_REDIRECTS} redirections")

    async def _client(self, stack: AsyncExitStack, url: Url) -> Http3Client:
        origin = url.host, url.port
        known = self._clients.get(origin)
        if known is not None and known.is_usable:
            return known
        how = self._connecting
        started = asyncio.get_running_loop().time()
        with explained(url.host, url.authority):
            client = await stack.enter_async_context(
                connect(
                    url.host,
                    url.port,
                    tls=how.tls,
                    config=how.config,
                    keylog=how.keylog,
                    store=how.store,
                    early_data=how.early_data,
                    gso=how.gso,
                    gro=how.gro,
                )
            )
        self._clients[origin] = client
        self._started[origin] = started
        return client

    async def _exchange(
        self, client: Http3Client, url: Url, text: str, request: CurlRequest
    ) -> "int | tuple[str, CurlRequest]":
        """The exit status, or where to go on and with what."""
        verbose = self._args.verbose
        # Nothing else is waited for before the request: the handshake would complete, and 0-RTT be lost.
        body = await request.open_body()
        early = client.early
        if verbose and not early:
            self._show_connection(client, url)
        if verbose:
            shown = request_headers(
                request.method, authority_of(url.host, url.port), url.path, request.fields
            )
            _say(">", f"{request.method} {url.path} HTTP/3", shown)
        asked = asyncio.get_running_loop().time()
        async with await client.request(request.method, url.path, request.fields, body) as response:
            if verbose:
                if early:
                    await client.wait_handshake()
                    self._show_connection(client, url)
                for informational in response.informational:
                    _say("<", f"HTTP/3 {informational.status}", informational.headers)
                _say("<", f"HTTP/3 {response.status}", response.headers)
            next_hop = self._follow(response, text, request)
            await self._show(response, request, with_body=next_hop is None)
            if verbose:
                self._show_times(client, url, response, asked)
        if next_hop is not None:
            return next_hop
        if self._args.fail and response.status >= 400:
            print(f"interquic: {url.authority}: the server answered {response.status}", file=sys.stderr)
            return HTTP_FAILED
        return 0

    def _follow(
        self, response: Response, text: str, request: CurlRequest
    ) -> "tuple[str, CurlRequest] | None":
        location = response.header("location")
        if not self._args.location or response.status not in _REDIRECTS or location is None:
            return None
        target = urljoin(text, location)
        if not target.startswith("https://"):
            raise CommandError(f"{text}: redirected to {target}, which is no https URL")
        before, after = Url.anywhere(text), Url.anywhere(target)
        same_origin = (before.host, before.port) == (after.host, after.port)
        return target, request.redirected(response.status, same_origin=same_origin)

    async def _show(self, response: Response, request: CurlRequest, *, with_body: bool) -> None:
        if self._args.include or self._args.head:
            await self._output.write(_format_head(response.status, response.headers))
        if not with_body or (self._args.fail and response.status >= 400):
            return
        async for piece in response:
            await self._output.write(piece)
        if self._args.include and response.trailers and request.method != "HEAD":
            await self._output.write(b"\r\n" + _format_fields(response.trailers))

    async def _keep_session(self, client: Http3Client) -> None:
        if self._connecting.store is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(SESSION_WAIT):
                    await client.wait_session()

    def _show_connection(self, client: Http3Client, url: Url) -> None:
        core, handshake = client.core, client.handshake
        assert handshake is not None, "shown after the handshake"
        resumption = ""
        if handshake.resumed:
            resumption = ", session resumed" + (", 0-RTT accepted" if handshake.early_data else "")
        _say("*", f"connected to {url.host} ({core.peer[0]}) port {core.peer[1]}")
        _say(
            "*",
            f"QUIC {_VERSIONS.get(core.version, hex(core.version))},"
            f" {CIPHER_SUITES[handshake.cipher_suite].name}, ALPN {handshake.alpn}{resumption}",
        )

    def _show_times(self, client: Http3Client, url: Url, response: Response, asked: float) -> None:
        started = self._started.pop((url.host, url.port), None)
        times = []
        if started is not None and client.handshake_duration is not None:
            times.append(f"handshake {_milliseconds(client.handshake_duration)}")
        since = asked if started is None else started
        times.append(f"first byte {_milliseconds(response.head_time - since)}")
        times.append(f"total {_milliseconds(asyncio.get_running_loop().time() - since)}")
        accepted = client.handshake is not None and client.handshake.early_data
        times.append("0-RTT used" if response.early and accepted else "0-RTT not used")
        _say("*", ", ".join(times))


def _say(mark: str, line: str, headers: Headers = ()) -> None:
    """Lines on standard error, each with its mark; an empty one follows the fields of a message."""
    shown = [line, *(f"{name.decode()}: {value.decode('latin-1')}" for name, value in headers)]
    if mark != "*":
        shown.append("")
    for each in shown:
        print(f"{mark} {each}".rstrip(), file=sys.stderr)


def _format_head(status: int, headers: Headers) -> bytes:
    return b"HTTP/3 %d\r\n%s\r\n" % (status, _format_fields(headers))


def _format_fields(headers: Headers) -> bytes:
    return b"".join(b"%s: %s\r\n" % field for field in headers)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
