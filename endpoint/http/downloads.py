"""Downloads over HTTP/3 by callbacks: no task and no future per request, contents go straight to sinks."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from endpoint.events import ConnectionClosed, Event
from endpoint.h3.connection import H3Connection
from endpoint.h3.errors import H3ErrorCode, h3_error_name
from endpoint.h3.events import (
    BodyReadable,
    ConnectionEnded,
    GoawayReceived,
    H3Event,
    HeadersReceived,
    RequestReset,
    RequestsAvailable,
    ResponseReceived,
    SettingsReceived,
)
from endpoint.hq import READ_SIZE, Sink
from endpoint.http.requests import request_headers

if TYPE_CHECKING:
    from endpoint.h3.settings import Settings
    from endpoint.http.remembered import RememberedSettings
    from endpoint.transport.connection import Connection

_OK = b"200"
# RFC 8470 §5.2: the server does not act on a request that may be a replay; ask again after the handshake.
_TOO_EARLY = b"425"


class H3Downloads:
    """Gets files on one connection, as many at once as the server allows, the rest in order after them.

    What `endpoint.hq.HqClient` is for HTTP/0.9. `pending` is the number of requests without an outcome;
    `on_idle` is called each time it reaches 0.
    """

    def __init__(
        self,
        authority: str,
        on_idle: Callable[[], None] | None = None,
        *,
        settings: "Settings | None" = None,
        remembered: "RememberedSettings | None" = None,
    ) -> None:
        """`authority` is for the requests; `remembered` keeps the server's settings for 0-RTT."""
        # Of all requests; the path follows.
        self._common = request_headers("GET", authority, "", ())[:-1]
        self._on_idle = on_idle
        self._settings = settings
        self._remembered = remembered
        self._now = asyncio.get_running_loop().time
        self._h3: H3Connection | None = None
        self._waiting: deque[tuple[str, Sink]] = deque()
        self._active: dict[int, Sink] = {}
        # Paths of requests that went out as 0-RTT data.
        self._early: dict[int, str] = {}
        self.received = 0

    @property
    def pending(self) -> int:
        """Requests that have neither been answered nor abandoned."""
        return len(self._waiting) + len(self._active)

    def get(self, path: str, sink: Sink) -> None:
        """Ask for `path` ("/NAME?QUERY", percent-encoded); `send` lets it go if there is a connection."""
        self._waiting.append((path, sink))

    def send(self, connection: "Connection") -> None:
        """Send what waits, as far as the server's stream limit goes; the rest follows by itself.

        Before the handshake it goes out as 0-RTT data (RFC 9114 §7.2.4.2).
        """
        if connection.is_closing:
            self._abandon_all("the connection is closed")
            return
        h3 = self._h3
        if h3 is None:
            h3 = self._open(connection)
            if connection.sends_early_data:
                h3.start()
        early = connection.sends_early_data
        for _ in range(min(len(self._waiting), h3.requests_left)):
            path, sink = self._waiting.popleft()
            stream_id = h3.send_request([*self._common, (b":path", path.encode())], end=True)
            self._active[stream_id] = sink
            if early:
                self._early[stream_id] = path

    def on_event(self, connection: "Connection", event: Event) -> None:
        """Take an event of the connection."""
        self.on_events(connection, (event,))

    def on_events(self, connection: "Connection", events: Sequence[Event]) -> None:
        """Take events of the connection, at least one."""
        h3 = self._h3 or self._open(connection)
        for each in h3.handle_all(events, self._now()):
            # One by one what comes with every download.
            if each.__class__ is ResponseReceived:
                self._on_response(h3, each)
            elif each.__class__ is HeadersReceived:
                if each.ended or each.headers[0][1] != _OK:
                    self._on_head(h3, each)
            elif each.__class__ is BodyReadable:
                self._on_readable(h3, each.stream_id)
            else:
                self._on_h3_event(h3, each)
        # A closed connection is not asked whether more requests can be sent.
        if self._waiting and events[-1].__class__ is not ConnectionClosed and h3.can_send_request:
            self.send(connection)

    def close(self) -> None:
        """Close the connection, since no more is wanted (RFC 9114 §5.3)."""
        if self._h3 is not None and not self._h3.quic.is_closing:
            self._h3.close(H3ErrorCode.H3_NO_ERROR, now=self._now())

    def _open(self, connection: "Connection") -> H3Connection:
        known = None
        if self._remembered is not None and connection.sends_early_data:
            known = self._remembered.recall()
        self._h3 = H3Connection(
            connection, settings=self._settings, peer_settings=known, whole_responses=True
        )
        return self._h3

    def _on_h3_event(self, h3: H3Connection, event: H3Event) -> None:
        match event:
            case RequestReset(stream_id=stream_id, error_code=code):
                self._abandon(stream_id, f"the request was reset ({h3_error_name(code)})")
            case GoawayReceived(stream_id=first_unprocessed):
                self._on_goaway(first_unprocessed)
            case SettingsReceived(settings=settings) if self._remembered is not None:
                self._remembered.keep(settings)
            case ConnectionEnded(closed=closed):
                self._abandon_all(closed.reason or "the connection was closed")
            case RequestsAvailable():
                self.send(h3.quic)

    def _on_response(self, h3: H3Connection, event: ResponseReceived) -> None:
        stream_id, content = event.stream_id, event.content
        if event.headers[0][1] != _OK:
            self._on_head(h3, HeadersReceived(stream_id, event.headers, True))
        elif (sink := self._active.get(stream_id)) is not None:
            if content:
                self.received += len(content)
                sink.write(content)
            self._finish(stream_id, sink)

    def _on_head(self, h3: H3Connection, event: HeadersReceived) -> None:
        """A response without content, or another than 200."""
        stream_id = event.stream_id
        sink = self._active.get(stream_id)
        if sink is None:
            return
        # The only pseudo-header field of a response comes first (RFC 9114 §4.3.2).
        status = event.headers[0][1]
        if status != _OK:
            if not event.ended:
                h3.stop(stream_id, H3ErrorCode.H3_REQUEST_CANCELLED)
            if status == _TOO_EARLY and stream_id in self._early:
                # An answer can be read, so the handshake is complete: this time it is no 0-RTT data.
                self._waiting.append((self._early[stream_id], sink))
                del self._active[stream_id]
            else:
                self._abandon(stream_id, f"the server answered {status.decode()}")
        elif event.ended:
            self._finish(stream_id, sink)

    def _on_readable(self, h3: H3Connection, stream_id: int) -> None:
        sink = self._active.get(stream_id)
        if sink is None:
            return
        while True:
            data, ended = h3.read_body(stream_id, READ_SIZE)
            if data:
                self.received += len(data)
                sink.write(data)
            if ended:
                self._finish(stream_id, sink)
                return
            if not data:
                break
        for event in h3.take_events():
            if event.__class__ is BodyReadable:
                self._on_readable(h3, event.stream_id)
            else:
                self._on_h3_event(h3, event)

    def _finish(self, stream_id: int, sink: Sink) -> None:
        del self._active[stream_id]
        sink.finish()
        if not self._active:
            self._check_idle()

    def _on_goaway(self, first_unprocessed: int) -> None:
        reason = "the server is going away and has not processed the request"
        for stream_id in [each for each in self._active if each >= first_unprocessed]:
            self._abandon(stream_id, reason)
        while self._waiting:
            self._waiting.popleft()[1].abandon(reason)
            self._check_idle()

    def _abandon(self, stream_id: int, reason: str) -> None:
        sink = self._active.pop(stream_id, None)
        if sink is not None:
            sink.abandon(reason)
            self._check_idle()

    def _abandon_all(self, reason: str) -> None:
        sinks = [*self._active.values(), *(sink for _, sink in self._waiting)]
        if not sinks:
            return
        self._active.clear()
        self._waiting.clear()
        for sink in sinks:
            sink.abandon(reason)
        self._check_idle()

    def _check_idle(self) -> None:
        if not self.pending and self._on_idle is not None:
            self._on_idle()
