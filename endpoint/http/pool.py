"""Connections that are kept for the next requests to the same server (RFC 9114 §3.3)."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import NamedTuple

from endpoint.http.client import Http3Client

# Shorter than the idle timeout of most servers, so that a connection that is taken from here still lives.
DEFAULT_IDLE_TIMEOUT = 20.0


class Server(NamedTuple):
    """Where to connect to, and the name that the certificate there must have."""

    host: str
    port: int
    server_name: str


Connector = Callable[[Server], AbstractAsyncContextManager[Http3Client]]


class _Kept:
    """A connection of the pool, from the moment that somebody wants it."""

    def __init__(self, pool: "ConnectionPool", server: Server, connector: Connector) -> None:
        self._pool = pool
        self.server = server
        self._stack = AsyncExitStack()
        self._idle_timer: asyncio.TimerHandle | None = None
        self.connecting = asyncio.create_task(self._connect(connector))
        self.connecting.add_done_callback(self._on_connected)
        self.client: Http3Client | None = None
        # Who gets the connection as soon as it is there, or in the next turn of the event loop.
        self.waiting = 0

    async def _connect(self, connector: Connector) -> Http3Client:
        self.client = await self._stack.enter_async_context(connector(self.server))
        self.client.on_idle(self.rest)
        self.rest()
        return self.client

    def _on_connected(self, connecting: "asyncio.Task[Http3Client]") -> None:
        """A failure is not kept, even if nobody waits for the connection any more."""
        if not connecting.cancelled() and connecting.exception() is not None:
            self._pool.discard(self)

    @property
    def is_usable(self) -> bool:
        """Whether requests can be made on it, as far as it is known."""
        if self.client is None:
            return not self.connecting.done()
        return self.client.is_usable

    def rest(self) -> None:
        """Nothing is open on it: it is closed when that lasts, or at once when nobody else may use it."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        delay = self._pool.idle_timeout if self.is_usable else 0.0
        self._idle_timer = asyncio.get_running_loop().call_later(delay, self._expire)

    def _expire(self) -> None:
        if (
            self.client is not None
            and not self.waiting
            and (self.client.is_closed or not self.client.open_requests)
        ):
            self._pool.discard(self)

    async def close(self) -> None:
        """Close the connection, or stop to connect."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self.connecting.cancel()
        await asyncio.gather(self.connecting, return_exceptions=True)
        await self._stack.aclose()


class ConnectionPool:
    """At most one usable connection to each server: HTTP/3 carries any number of requests on one."""

    def __init__(self, connector: Connector, *, idle_timeout: float = DEFAULT_IDLE_TIMEOUT) -> None:
        """`connector` makes connections; they are closed `idle_timeout` seconds after their last request."""
        self.idle_timeout = idle_timeout
        self._connector = connector
        self._current: dict[Server, _Kept] = {}
        # Those that take no new requests but still have old ones, too.
        self._all: set[_Kept] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many connections there are."""
        return len(self._all)

    async def acquire(self, server: Server) -> Http3Client:
        """A connection to `server`, perhaps one that others use too. Raises what the connector raises.

        When this is cancelled the attempt to connect goes on, for those who also wait and the next.
        """
        kept = self._current.get(server)
        if kept is None or not kept.is_usable:
            kept = self._current[server] = _Kept(self, server, self._connector)
            self._all.add(kept)
        kept.waiting += 1
        try:
            return await asyncio.shield(kept.connecting)
        finally:
            kept.waiting -= 1
            # The time to be idle begins anew.
            kept.rest()

    def discard(self, kept: _Kept) -> None:
        """Close a connection. For its own parts."""
        if kept not in self._all:
            return
        self._all.remove(kept)
        if self._current.get(kept.server) is kept:
            del self._current[kept.server]
        task = asyncio.create_task(kept.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Close all connections at once."""
        for kept in list(self._all):
            self.discard(kept)
        while self._closing:
            await asyncio.gather(*self._closing)
