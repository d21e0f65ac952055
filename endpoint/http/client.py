"""An HTTP/3 client for asyncio: one connection, any number of requests at a time (RFC 9114 §4)."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from endpoint.config import Config
from endpoint.errors import StreamError
from endpoint.events import ConnectionClosed, Event, HandshakeCompleted, SessionReceived
from endpoint.h3.connection import H3Connection
from endpoint.h3.errors import H3ErrorCode, h3_error_name
from endpoint.h3.events import (
    BodyReadable,
    BodyWritable,
    ConnectionEnded,
    GoawayReceived,
    H3Event,
    Headers,
    HeadersReceived,
    InformationalReceived,
    RequestReset,
    RequestsAvailable,
    RequestStopped,
    SettingsReceived,
    TrailersReceived,
)
from endpoint.h3.priority import Priority
from endpoint.h3.settings import Settings
from endpoint.http.liveness import Liveness
from endpoint.http.remembered import RememberedSettings
from endpoint.http.requests import (
    ALPN,
    SAFE_METHODS,
    Fields,
    InvalidRequestError,
    RequestError,
    authority,
    has_field,
    request_headers,
)
from endpoint.http.response import Body, Exchange, QueueTimeoutError, Response, Timeouts
from endpoint.io.client import open_client
from endpoint.io.sessions import Origin, SessionStore
from endpoint.io.streams import ConnectionLostError
from endpoint.tls.config import TlsConfig

if TYPE_CHECKING:
    from endpoint.io.loop import Driver
    from endpoint.transport.connection import Connection

# RFC 8470 §5.2: the server does not act on a request that may be a replay; ask again after the handshake.
TOO_EARLY = 425
_STATUS = b":status"
_NO_TIMEOUTS = Timeouts()
# Events of which more than HTTP/3 hears.
_MILESTONES = frozenset((HandshakeCompleted, SessionReceived, ConnectionClosed))


@dataclass(slots=True, eq=False)
class _Request:
    """What is to be sent."""

    headers: Headers
    body: Body | None
    priority: Priority | None
    timeouts: Timeouts


@dataclass(slots=True, eq=False)
class _Queued:
    """A request that waits for the server's stream limit."""

    request: "_Request"
    sent: "asyncio.Future[Exchange]"


class Http3Client:
    """A connection to one server. Made by `connect`; all of it is for one event loop."""

    def __init__(self, host: str, *, settings: Settings, remembered: RememberedSettings | None) -> None:
        """`host` is the authority of its requests."""
        self._host = host
        self._settings = settings
        self._remembered = remembered
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        self._started = self._now()
        self._driver: Driver | None = None
        self._core: Connection | None = None
        self._liveness: Liveness | None = None
        self._h3: H3Connection | None = None
        self._exchanges: dict[int, Exchange] = {}
        self._queue: deque[_Queued] = deque()
        self._settled = asyncio.Event()
        self._resumable = asyncio.Event()
        self._idle_listener: Callable[[], None] | None = None
        self.handshake: HandshakeCompleted | None = None
        # Seconds that the handshake took; with 0-RTT requests may have been answered before it was over.
        self.handshake_duration: float | None = None
        self.closed: ConnectionClosed | None = None
        # The server takes no more requests on this connection (GOAWAY, RFC 9114 §5.2).
        self.going_away = False

    # -- for applications

    @property
    def core(self) -> "Connection":
        """The QUIC connection, to look at."""
        assert self._core is not None, "connect() gives no client without a connection"
        return self._core

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended, or is ending."""
        return self.closed is not None or self._core is None or self._core.is_closing

    @property
    def is_usable(self) -> bool:
        """Whether a new request should be made on this connection.

        Not where the server has become silent: it may have been started anew, or the network be another.
        Once it is heard again the connection is of use again.
        """
        return (
            not self.is_closed and not self.going_away and not (self._liveness and self._liveness.is_silent)
        )

    @property
    def early(self) -> bool:
        """Whether the handshake is not complete: safe requests go out as 0-RTT data."""
        return self.handshake is None

    @property
    def open_requests(self) -> int:
        """Requests without a complete outcome, those that wait for the stream limit included."""
        return len(self._exchanges) + len(self._queue)

    @property
    def peer_settings(self) -> Settings | None:
        """The server's settings; None before they came."""
        return None if self._h3 is None else self._h3.peer_settings

    async def request(
        self,
        method: str,
        path: str,
        headers: Fields = (),
        body: Body | None = None,
        *,
        priority: Priority | None = None,
        timeouts: Timeouts = _NO_TIMEOUTS,
    ) -> Response:
        """Send a request and wait for the head of its response.

        It waits while the server's limit of concurrent requests is used up. A body that is an iterator is
        taken from as the server takes it, while this waits and after; what it raises is raised here, or
        where the response is read. Cancelling this cancels the request. Before the handshake is complete
        only requests with a safe method and without a body are sent, others wait: what goes as 0-RTT data
        may reach the server twice (RFC 8470 §4).

        Args:
            method: in the case that the server expects, "GET".
            path: with the query, percent-encoded: "/search?q=x".
            headers: names in any case. `content-length` is added for a body of bytes.
            body: bytes, or an asynchronous iterator of them.
            priority: RFC 9218; the server's default is urgency 3.
            timeouts: how long to wait for each step.

        Raises:
            RequestError: there is no response; `retryable` says whether the server may have acted.
            QueueTimeoutError, WriteTimeoutError, ReadTimeoutError: see `Timeouts`.
            ConnectionLostError: the connection ended first.
            ValueError: a header is none that HTTP/3 allows, or the body not as long as content-length says.
        """
        fields = list(headers)
        if isinstance(body, bytes) and not has_field(fields, b"content-length"):
            fields.append((b"content-length", str(len(body)).encode()))
        section = request_headers(method, self._host, path, fields)
        request = _Request(section, body, priority, timeouts)
        replayable = method in SAFE_METHODS and body is None
        if not replayable:
            await self.wait_handshake()
        response = await self._exchange(request)
        if response.status == TOO_EARLY and response.early:
            response.close()
            await self.wait_handshake()
            response = await self._exchange(request)
        return response

    async def wait_handshake(self) -> HandshakeCompleted:
        """Wait for the end of the handshake; only with 0-RTT there is anything to wait for.

        Raises ConnectionLostError.
        """
        await self._settled.wait()
        if self.handshake is None:
            assert self.closed is not None, "settled without an outcome"
            raise ConnectionLostError(self.closed)
        return self.handshake

    async def wait_session(self) -> None:
        """Wait until a session to resume later is here, or can't come any more. Not every server has one."""
        await self._resumable.wait()

    def on_idle(self, listener: Callable[[], None]) -> None:
        """Have `listener` called whenever the last open request has its outcome, and at the end."""
        self._idle_listener = listener

    def close(self) -> None:
        """Close the connection at once; what is still open fails."""
        if self._h3 is not None and not self.is_closed:
            self._h3.close(H3ErrorCode.H3_NO_ERROR, "", now=self._now())
            self.touch()

    # -- for `connect`

    def attach(self, driver: "Driver", connection: "Connection") -> None:
        """The connection can be used: its handshake is complete, or 0-RTT data can be sent."""
        self._driver = driver
        if connection.sends_early_data and self._h3 is None:
            peer_settings = None if self._remembered is None else self._remembered.recall()
            self._core = connection
            self._h3 = H3Connection(connection, settings=self._settings, peer_settings=peer_settings)
            self._h3.start()
            self.touch()

    def on_event(self, connection: "Connection", event: Event) -> None:
        """Take an event of the connection; for the driver."""
        self._take(connection, (event,))

    def on_events(self, connection: "Connection", events: Sequence[Event]) -> None:
        """Take events of the connection, at least one; for the driver."""
        if _MILESTONES.isdisjoint([event.__class__ for event in events]):
            self._take(connection, events)
        else:
            # What came before one has been dealt with by then.
            for event in events:
                self._take(connection, (event,))

    def _take(self, connection: "Connection", events: Sequence[Event]) -> None:
        if self._h3 is None:
            self._core = connection
            self._h3 = H3Connection(connection, settings=self._settings)
        self.liveness.on_event(self._now())
        if events[0].__class__ in _MILESTONES:
            self._on_milestone(events[0])
        for each in self._h3.handle_all(events, self._now()):
            self._on_h3_event(each)

    def _on_milestone(self, event: Event) -> None:
        match event:
            case HandshakeCompleted():
                self.handshake = event
                self.handshake_duration = self._now() - self._started
                self._settled.set()
            case SessionReceived():
                self._resumable.set()
            case ConnectionClosed():
                self.closed = event
                self._settled.set()
                self._resumable.set()

    # -- for exchanges

    @property
    def liveness(self) -> Liveness:
        """Whether the server is still heard."""
        if self._liveness is None:
            self._liveness = Liveness(self.core)
        return self._liveness

    def touch(self) -> None:
        """The core was given a command: let it send."""
        if self._driver is not None and self._core is not None:
            self._driver.touch(self._core)

    def after_read(self) -> None:
        """Something was read: the server gets its credit, and what that brought about is told."""
        assert self._h3 is not None
        for event in self._h3.take_events():
            self._on_h3_event(event)
        self.touch()

    def forget(self, stream_id: int) -> None:
        """An exchange has its outcome."""
        if self._exchanges.pop(stream_id, None) is not None and not self.open_requests:
            self._tell_idle()

    # -- requests

    async def _exchange(self, request: _Request) -> Response:
        exchange = await self._send(request)
        self.touch()
        status, fields = await exchange.wait_head()
        return Response(exchange, status, fields)

    async def _send(self, request: _Request) -> Exchange:
        self._check()
        assert self._h3 is not None
        if not self._queue and self._h3.can_send_request:
            return self._start(request)
        queued = _Queued(request, asyncio.get_running_loop().create_future())
        self._queue.append(queued)
        try:
            async with asyncio.timeout(request.timeouts.queue):
                return await queued.sent
        except TimeoutError as error:
            raise QueueTimeoutError("the server takes no more requests at a time") from error
        except asyncio.CancelledError:
            if queued.sent.done() and not queued.sent.cancelled() and queued.sent.exception() is None:
                queued.sent.result().cancel()
            raise
        finally:
            if queued in self._queue:
                self._queue.remove(queued)

    def _start(self, request: _Request) -> Exchange:
        assert self._h3 is not None
        body = request.body
        try:
            stream_id = self._h3.send_request(request.headers, end=not body, priority=request.priority)
            exchange = Exchange(self, self._h3, stream_id, request.timeouts, early=self.early)
            self._exchanges[stream_id] = exchange
            if body:
                exchange.send(body)
        except StreamError as error:
            # There is room for it: the request is not what can be sent, as more fields than the server takes.
            raise InvalidRequestError(str(error)) from error
        return exchange

    def _start_queued(self) -> None:
        """Send what has waited, in its order, as far as the limit goes."""
        assert self._h3 is not None
        while self._queue and self._h3.can_send_request:
            queued = self._queue.popleft()
            if queued.sent.done():
                continue
            try:
                queued.sent.set_result(self._start(queued.request))
            except ValueError as error:
                queued.sent.set_exception(error)

    def _check(self) -> None:
        if self.closed is not None:
            raise ConnectionLostError(self.closed)
        if self.is_closed or self.going_away:
            raise RequestError("the connection takes no more requests", retryable=True)

    # -- events

    def _on_h3_event(self, event: H3Event) -> None:
        match event:
            case HeadersReceived(stream_id=stream_id, headers=headers, ended=ended):
                if (exchange := self._exchanges.get(stream_id)) is not None:
                    exchange.on_head(*_split(headers), self._now(), ended=ended)
            case BodyReadable(stream_id=stream_id):
                if (exchange := self._exchanges.get(stream_id)) is not None:
                    exchange.on_readable()
            case BodyWritable(stream_id=stream_id):
                if (exchange := self._exchanges.get(stream_id)) is not None:
                    exchange.on_writable()
            case TrailersReceived(stream_id=stream_id, headers=headers):
                if (exchange := self._exchanges.get(stream_id)) is not None:
                    exchange.trailers = headers
            case InformationalReceived(stream_id=stream_id, headers=headers):
                if (exchange := self._exchanges.get(stream_id)) is not None:
                    exchange.on_informational(*_split(headers))
            case RequestReset(stream_id=stream_id, error_code=code):
                if (exchange := self._exchanges.get(stream_id)) is not None:
                    exchange.fail(_reset(code))
            case RequestStopped(stream_id=stream_id):
                if (exchange := self._exchanges.get(stream_id)) is not None:
                    exchange.on_stopped()
            case RequestsAvailable():
                self._start_queued()
            case GoawayReceived(stream_id=stream_id):
                self._on_goaway(stream_id)
            case SettingsReceived(settings=settings) if self._remembered is not None:
                self._remembered.keep(settings)
            case ConnectionEnded(closed=closed):
                self._on_ended(closed)

    def _on_goaway(self, first_unprocessed: int) -> None:
        """RFC 9114 §5.2: the server has not acted on these requests and will not."""
        self.going_away = True
        error = RequestError("the server is going away and has not processed the request", retryable=True)
        for stream_id in [each for each in self._exchanges if each >= first_unprocessed]:
            self._exchanges[stream_id].give_up(error)
        self._fail_queue(error)
        if not self.open_requests:
            self._tell_idle()

    def _on_ended(self, closed: ConnectionClosed) -> None:
        lost = ConnectionLostError(closed)
        for exchange in list(self._exchanges.values()):
            exchange.fail(lost)
        self._fail_queue(RequestError(f"the request was not sent: {lost}", retryable=True))
        self._tell_idle()

    def _fail_queue(self, error: Exception) -> None:
        while self._queue:
            queued = self._queue.popleft()
            if not queued.sent.done():
                queued.sent.set_exception(error)

    def _tell_idle(self) -> None:
        if self._idle_listener is not None:
            self._idle_listener()


def _split(headers: Headers) -> tuple[int, Headers]:
    """Status and fields. Validated: the only pseudo-header field comes first (RFC 9114 §4.3.2)."""
    name, status = headers[0]
    assert name == _STATUS
    return int(status), headers[1:]


def _reset(code: int) -> RequestError:
    # RFC 9114 §4.1.1: rejected means that the server did not even look at it.
    rejected = code == H3ErrorCode.H3_REQUEST_REJECTED
    return RequestError(f"the request was reset ({h3_error_name(code)})", code, retryable=rejected)


@asynccontextmanager
async def connect(
    host: str,
    port: int = 443,
    *,
    tls: TlsConfig | None = None,
    config: Config | None = None,
    server_name: str | None = None,
    keylog: Callable[[str], None] | None = None,
    gso: bool = True,
    gro: bool = True,
    store: SessionStore | None = None,
    early_data: bool = False,
    settings: Settings | None = None,
) -> AsyncIterator[Http3Client]:
    """Connect to an HTTP/3 server; `async with connect(...) as client`. Leaving closes the connection.

    With `store` and `early_data` the client may come before the handshake (`client.early`), with the settings
    that the server had last time (RFC 9114 §7.2.4.2).

    Args:
        host: a name or a numeric address, also for `:authority` unless there is a `server_name`.
        port: the server's UDP port.
        tls: trust and cipher suites; the protocols it names are replaced by HTTP/3's.
        config: transport settings.
        server_name: what the certificate must name and requests are for, if that is not `host`.
        keylog: takes lines in the format of SSLKEYLOGFILE, without line ends.
        gso: use segmentation offload where the system has it.
        gro: use receive offload where the system has it.
        store: where sessions, tokens and settings come from, and new ones go to.
        early_data: send safe requests as 0-RTT data where a session allows it.
        settings: ours.

    Raises as `endpoint.io.client.connect` does.
    """
    name = server_name or host
    remembered = None if store is None else RememberedSettings(store, Origin(host, port, name))
    client = Http3Client(authority(name, port), settings=settings or Settings(), remembered=remembered)
    tls = TlsConfig(alpn_protocols=(ALPN,)) if tls is None else replace(tls, alpn_protocols=(ALPN,))
    async with open_client(
        host,
        port,
        application=client,
        tls=tls,
        config=config,
        server_name=server_name,
        keylog=keylog,
        gso=gso,
        gro=gro,
        store=store,
        early_data=early_data,
    ) as (driver, connection):
        client.attach(driver, connection)
        try:
            yield client
        finally:
            client.close()
