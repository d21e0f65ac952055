"""Downloading many URLs over hq-interop."""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from endpoint.cli.errors import CommandError, explain_close, explain_disk
from endpoint.config import Config
from endpoint.events import ConnectionClosed, Event
from endpoint.hq import HqClient
from endpoint.io.client import UnreachableError, open_client
from endpoint.io.files import Downloads, file_name
from endpoint.io.streams import ConnectionLostError
from endpoint.tls.config import TlsConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from endpoint.transport.connection import Connection

DEFAULT_PORT = 443


@dataclass(frozen=True, slots=True)
class Url:
    """A URL to download: where, what, and the name of the file it becomes."""

    host: str
    port: int
    path: str
    name: str

    @classmethod
    def parse(cls, text: str) -> "Url":
        """Raises CommandError for what is no https URL of a file."""
        try:
            parts = urlsplit(text)
            port = parts.port or DEFAULT_PORT
            name = file_name(text)
        except ValueError as error:
            raise CommandError(f"{text}: {error}") from error
        if parts.scheme != "https" or not parts.hostname:
            raise CommandError(f"{text}: not a URL of the form https://HOST[:PORT]/NAME")
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        return cls(parts.hostname, port, path, name)

    @property
    def authority(self) -> str:
        """Host and port for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_urls(texts: Sequence[str]) -> list[Url]:
    """All URLs. Raises CommandError for a bad one, and where two would become the same file."""
    urls = [Url.parse(text) for text in texts]
    seen: dict[str, str] = {}
    for url, text in zip(urls, texts, strict=True):
        if url.name in seen and seen[url.name] != text:
            raise CommandError(f"{seen[url.name]} and {text} would both be stored as {url.name}")
        seen[url.name] = text
    return list(dict.fromkeys(urls))


class _Session:
    """The requests of one connection, and how it ended."""

    def __init__(self, downloads: Downloads, urls: Sequence[Url], on_idle: "Callable[[], None]") -> None:
        self.closed: ConnectionClosed | None = None
        self._hq = HqClient(on_idle)
        for url in urls:
            self._hq.get(url.path, downloads.sink(url.name))

    def on_event(self, connection: "Connection", event: Event) -> None:
        if isinstance(event, ConnectionClosed):
            self.closed = event
        self._hq.on_event(connection, event)


class Downloader:
    """Downloads URLs to a directory; each origin gets one connection, or each URL with `connection_per_url`.

    Everything of one origin is asked for at once, as far as the server's stream limit goes.
    """

    def __init__(
        self,
        downloads: Downloads,
        *,
        tls: TlsConfig,
        config: Config,
        keylog: "Callable[[str], None] | None" = None,
        connection_per_url: bool = False,
        gso: bool = True,
        gro: bool = True,
    ) -> None:
        """Failures of the disk, which `downloads` notes, end the transfers."""
        self._downloads = downloads
        self._tls = tls
        self._config = config
        self._keylog = keylog
        self._connection_per_url = connection_per_url
        self._gso = gso
        self._gro = gro

    async def run(self, urls: Sequence[Url]) -> None:
        """Get them all. Raises CommandError at the first failure; what is complete by then stays."""
        if self._connection_per_url:
            for url in urls:
                await self._get([url])
            return
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

    async def _get(self, urls: Sequence[Url]) -> None:
        host, port, authority = urls[0].host, urls[0].port, urls[0].authority
        over = asyncio.Event()
        session = _Session(self._downloads, urls, over.set)
        self._downloads.on_failure(lambda _error: over.set())
        try:
            async with open_client(
                host,
                port,
                application=session,
                tls=self._tls,
                config=self._config,
                keylog=self._keylog,
                gso=self._gso,
                gro=self._gro,
            ):
                await over.wait()
                closed = session.closed  # before we close it ourselves
        except socket.gaierror as error:
            raise CommandError(f"can't resolve {host}: {error.strerror}") from error
        except UnreachableError as error:
            raise CommandError(str(error)) from error
        except ConnectionLostError as error:
            raise explain_close(authority, error.closed, handshake=True) from error
        if self._downloads.failure is not None:
            raise explain_disk(self._downloads.failure)
        if self._downloads.abandoned:
            if closed is not None:
                raise explain_close(authority, closed, handshake=False)
            name, reason = self._downloads.abandoned[0]
            raise CommandError(f"{authority}: {name}: {reason}")
