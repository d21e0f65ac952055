"""Downloading many URLs, over HTTP/3 or hq-interop."""

import asyncio
import socket
import sys
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from endpoint.cli.errors import CommandError, explain_close, explain_disk
from endpoint.config import Config
from endpoint.errors import ConnectionClosedError, MigrationError
from endpoint.events import ConnectionClosed, Event, HandshakeCompleted, SessionReceived
from endpoint.hq import HqClient
from endpoint.http.downloads import H3Downloads
from endpoint.http.remembered import RememberedSettings
from endpoint.http.requests import ALPN as H3_ALPN
from endpoint.http.requests import DEFAULT_PORT
from endpoint.http.requests import authority as authority_of
from endpoint.io.client import UnreachableError, migrate, open_client
from endpoint.io.files import Downloads, file_name
from endpoint.io.sessions import Origin, SessionStore, SessionStoreError
from endpoint.io.streams import ConnectionLostError
from endpoint.tls.config import TlsConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from endpoint.io.loop import Driver
    from endpoint.transport.connection import Connection

# RFC 3986 §3.3, §3.4: what stands for itself in a path with its query, and "%", which is encoded already.
_IN_PATHS = "/?%:@!$&'()*+,;=~-._"
# Seconds to wait, all files being here, for a session to keep: it comes with the confirmation of the
# handshake, a round trip after 0-RTT data is answered. Not every server has one to give.
SESSION_WAIT = 0.5
# The same where there is no going on without it.
LONG_SESSION_WAIT = 10.0


@dataclass(frozen=True, slots=True)
class Url:
    """A URL to download: where, what, and the name of the file it becomes ("": only connect)."""

    host: str
    port: int
    path: str
    name: str

    @classmethod
    def parse(cls, text: str, *, allow_no_file: bool = False) -> "Url":
        """Raises CommandError for what is no https URL of a file."""
        url = cls.anywhere(text)
        if "@" in urlsplit(text).netloc:
            raise CommandError(f"{text}: a user can be named only for one URL, without a folder")
        if allow_no_file and url.path == "/":
            return url
        try:
            return replace(url, name=file_name(text))
        except ValueError as error:
            raise CommandError(f"{text}: {error}") from error

    @classmethod
    def anywhere(cls, text: str) -> "Url":
        """A URL that need not name a file, and gets no name. Raises CommandError for what is no https URL."""
        try:
            parts = urlsplit(text)
            port = DEFAULT_PORT if parts.port is None else parts.port
            # As certificates and name servers have it (RFC 5890 §2.3.2.1).
            host = (parts.hostname or "").encode("idna").decode() if not text.isascii() else parts.hostname
        except ValueError as error:
            raise CommandError(f"{text}: {error}") from error
        if parts.scheme != "https" or not host:
            raise CommandError(f"{text}: not a URL of the form https://HOST[:PORT]/NAME")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(host, port, quote(path, safe=_IN_PATHS), "")

    @property
    def authority(self) -> str:
        """Host and port for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_urls(texts: Sequence[str], *, allow_no_file: bool = False) -> list[Url]:
    """All URLs. Raises CommandError for a bad one, and where two would become the same file."""
    urls = [Url.parse(text, allow_no_file=allow_no_file) for text in texts]
    seen: dict[str, str] = {}
    for url, text in zip(urls, texts, strict=True):
        if url.name in seen and seen[url.name] != text:
            raise CommandError(f"{seen[url.name]} and {text} would both be stored as {url.name}")
        seen[url.name] = text
    return list(dict.fromkeys(urls))


@contextmanager
def explained(host: str, authority: str) -> "Iterator[None]":
    """Turns whatever ends an attempt to connect into a CommandError."""
    try:
        yield
    except socket.gaierror as error:
        raise CommandError(f"can't resolve {host}: {error.strerror}") from error
    except (UnreachableError, SessionStoreError) as error:
        raise CommandError(str(error)) from error
    except ConnectionLostError as error:
        raise explain_close(authority, error.closed, handshake=True) from error


class _Session:
    """The requests of one connection, in the protocol that was negotiated, and how it ended."""

    def __init__(
        self,
        downloads: Downloads,
        urls: Sequence[Url],
        on_idle: "Callable[[], None]",
        store: SessionStore | None,
    ) -> None:
        self.closed: ConnectionClosed | None = None
        self.handshake: HandshakeCompleted | None = None
        # Set when the server has given a session for the next connection, or can't any more.
        self.resumable = asyncio.Event()
        self._downloads = downloads
        self._urls = urls
        self._on_idle = on_idle
        host, port = urls[0].host, urls[0].port
        self._authority = authority_of(host, port)
        self._remembered = None if store is None else RememberedSettings(store, Origin(host, port, host))
        self._requests: HqClient | H3Downloads | None = None

    def on_event(self, connection: "Connection", event: Event) -> None:
        requests = self._requests or self._begin(connection.alpn)
        match event:
            case HandshakeCompleted():
                self.handshake = event
                if not requests.pending:
                    self._on_idle()
            case SessionReceived():
                self.resumable.set()
            case ConnectionClosed():
                self.closed = event
                self.resumable.set()
        requests.on_event(connection, event)

    def send_early(self, connection: "Connection", alpn: str) -> None:
        """Send as 0-RTT data what the remembered stream limit allows, in the session's protocol."""
        self._begin(alpn).send(connection)

    def close(self) -> None:
        """Nothing more is wanted: say so as HTTP/3 does. HTTP/0.9 has no words for it."""
        if isinstance(self._requests, H3Downloads):
            self._requests.close()

    def _begin(self, alpn: str | None) -> HqClient | H3Downloads:
        if alpn == H3_ALPN:
            self._requests = H3Downloads(self._authority, self._on_idle, remembered=self._remembered)
        else:
            self._requests = HqClient(self._on_idle)
        for url in self._urls:
            if url.name:
                self._requests.get(url.path, self._downloads.sink(url.name))
        return self._requests


class Downloader:
    """Downloads URLs to a directory; each origin gets one connection, or each URL with `connection_per_url`.

    Everything of one origin is asked for at once, as far as the server's stream limit goes. The protocol is
    what the server chooses of `tls.alpn_protocols`: HTTP/3 for "h3", HTTP/0.9 for all others.
    """

    def __init__(
        self,
        downloads: Downloads,
        *,
        tls: TlsConfig,
        config: Config,
        keylog: "Callable[[str], None] | None" = None,
        connection_per_url: bool = False,
        resume_after_first: bool = False,
        store: SessionStore | None = None,
        early_data: bool = False,
        migrate_after: float | None = None,
        gso: bool = True,
        gro: bool = True,
    ) -> None:
        """Failures of the disk, which `downloads` notes, end the transfers.

        With a `store` connections are resumed, and requests sent as 0-RTT data with `early_data`.
        `resume_after_first`: the first URL gets a connection of its own, whose session the others use.
        `migrate_after` so many seconds a connection moves to another local port, or goes on without it.
        `resumptions` will have a line about each connection that was resumed, for people to read.
        """
        self._downloads = downloads
        self._tls = tls
        self._config = config
        self._keylog = keylog
        self._connection_per_url = connection_per_url
        self._resume_after_first = resume_after_first
        self._store = store
        self._early_data = early_data
        self._migrate_after = migrate_after
        self._gso = gso
        self._gro = gro
        self.resumptions: list[str] = []

    async def run(self, urls: Sequence[Url]) -> None:
        """Get them all. Raises CommandError at the first failure; what is complete by then stays."""
        if self._connection_per_url:
            for url in urls:
                await self._get([url])
            return
        if self._resume_after_first:
            await self._get(urls[:1], session_wait=LONG_SESSION_WAIT)
            urls = urls[1:]
        origins: dict[str, list[Url]] = {}
        for url in urls:
            origins.setdefault(url.authority, []).append(url)
        tasks = [asyncio.create_task(self._get(group)) for group in origins.values()]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _get(self, urls: Sequence[Url], session_wait: float = SESSION_WAIT) -> None:
        host, port, authority = urls[0].host, urls[0].port, urls[0].authority
        over = asyncio.Event()
        session = _Session(self._downloads, urls, over.set, self._store)
        self._downloads.on_failure(lambda _error: over.set())
        with explained(host, authority):
            tls = self._tls_for(host, port)
            async with open_client(
                host,
                port,
                application=session,
                tls=tls,
                config=self._config,
                keylog=self._keylog,
                gso=self._gso,
                gro=self._gro,
                store=self._store,
                early_data=self._early_data,
            ) as (driver, connection):
                if self._migrate_after is not None:
                    asyncio.get_running_loop().call_later(self._migrate_after, _migrate, driver, connection)
                early = connection.sends_early_data
                if early:
                    session.send_early(connection, tls.alpn_protocols[0])
                await over.wait()
                closed = session.closed  # before we close it ourselves
                if self._store is not None:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(session.resumable.wait(), session_wait)
                session.close()
        self._note_resumption(authority, session.handshake, early=early)
        if self._downloads.failure is not None:
            raise explain_disk(self._downloads.failure)
        if self._downloads.abandoned:
            if closed is not None:
                raise explain_close(authority, closed, handshake=False)
            name, reason = self._downloads.abandoned[0]
            raise CommandError(f"{authority}: {name}: {reason}")

    def _tls_for(self, host: str, port: int) -> TlsConfig:
        """What is offered to a server. Raises SessionStoreError.

        RFC 9846 §4.2.10: 0-RTT data is for the protocol of the session, so no other is offered with it.
        """
        if not self._early_data or self._store is None:
            return self._tls
        alpn = self._store.session_alpn(
            Origin(host, port, host), self._tls.alpn_protocols, self._config.initial_version
        )
        return self._tls if alpn is None else replace(self._tls, alpn_protocols=(alpn,))

    def _note_resumption(self, authority: str, handshake: HandshakeCompleted | None, *, early: bool) -> None:
        if handshake is None or not (handshake.resumed or early):
            return
        what = "session resumed" if handshake.resumed else "session refused"
        if early:
            what += ", 0-RTT data accepted" if handshake.early_data else ", 0-RTT data refused"
        self.resumptions.append(f"{authority}: {what}")


def _migrate(driver: "Driver", connection: "Connection") -> None:
    """Move to another port; a connection that has ended meanwhile is none of our business."""
    try:
        migrate(driver, connection)
    except ConnectionClosedError:
        pass
    except (MigrationError, OSError) as error:
        print(f"interquic: the connection stays where it is: {error}", file=sys.stderr)
