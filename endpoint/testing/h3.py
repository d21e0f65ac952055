"""HTTP/3 in simulations: an end that runs it, and one that writes whatever bytes a test wants."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from endpoint.errors import InterquicError
from endpoint.events import (
    ConnectionClosed,
    Event,
    HandshakeCompleted,
    StreamOpened,
    StreamReadable,
    StreamReset,
    StreamStopped,
)
from endpoint.h3.connection import H3Connection
from endpoint.h3.events import (
    BodyReadable,
    ConnectionEnded,
    H3Event,
    Headers,
    HeadersReceived,
    ResponseReceived,
    TrailersReceived,
)
from endpoint.h3.settings import Settings
from endpoint.testing.link import LinkProfile
from endpoint.testing.pair import Idle, Pair
from endpoint.testing.scenario import Scenario
from endpoint.transport.connection import Connection

E = TypeVar("E", bound=H3Event)

# Bytes that arrive in the same instant, all of them.
WIRE = LinkProfile(delay=0.0)
DEADLINE = 30.0


@dataclass(slots=True)
class Message:
    """What came in on one stream."""

    headers: Headers = ()
    body: bytearray = field(default_factory=bytearray)
    trailers: Headers | None = None
    complete: bool = False


class H3End(Idle):
    """Runs an H3Connection and reads all content at once; `on_event` may answer.

    `events` are all that were told, `messages` what came by stream.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        grease: bool = True,
        peer_settings: Settings | None = None,
        read_size: int | None = None,
        whole_responses: bool = False,
        answer: Callable[[H3Connection, H3Event], None] | None = None,
    ) -> None:
        """`answer` is called with each event, after what it brought was read."""
        self._settings = settings
        self._grease = grease
        self._peer_settings = peer_settings
        self._read_size = read_size
        self._whole_responses = whole_responses
        self._answer = answer
        self._h3: H3Connection | None = None
        self.events: list[H3Event] = []
        self.messages: dict[int, Message] = {}

    @property
    def h3(self) -> H3Connection:
        """The connection, from its first event on."""
        assert self._h3 is not None
        return self._h3

    @property
    def closed(self) -> ConnectionClosed | None:
        """How the connection ended, if it has."""
        return next((event.closed for event in self.events if isinstance(event, ConnectionEnded)), None)

    def attach(self, connection: Connection) -> H3Connection:
        """Make the H3Connection; done by the first event otherwise."""
        if self._h3 is None:
            self._h3 = H3Connection(
                connection,
                settings=self._settings,
                peer_settings=self._peer_settings,
                grease=self._grease,
                whole_responses=self._whole_responses,
            )
            self._h3.tell_finished()
        return self._h3

    def on_event(self, connection: Connection, event: Event, now: float) -> None:
        """Hand it on."""
        for told in self.attach(connection).handle(event, now):
            self._take(told)

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def _take(self, event: H3Event) -> None:
        self.events.append(event)
        match event:
            case HeadersReceived(stream_id=stream_id):
                self.messages[stream_id] = Message(event.headers, complete=event.ended)
            case ResponseReceived(stream_id=stream_id):
                self.messages[stream_id] = Message(event.headers, bytearray(event.content), complete=True)
            case TrailersReceived(stream_id=stream_id):
                self.messages[stream_id].trailers = event.headers
            case BodyReadable(stream_id=stream_id):
                self._read(stream_id)
        if self._answer is not None:
            self._answer(self.h3, event)

    def _read(self, stream_id: int) -> None:
        message = self.messages[stream_id]
        while True:
            data, ended = self.h3.read_body(stream_id, self._read_size)
            message.body += data
            message.complete |= ended
            for told in self.h3.take_events():
                self._take(told)
            if ended or not data:
                return


class BatchH3End(H3End):
    """The same, but it takes all events at once, as clients and servers on sockets do."""

    def on_events(self, connection: Connection, events: Sequence[Event], now: float) -> None:
        """Hand them on."""
        for told in self.attach(connection).handle_all(events, now):
            self._take(told)


class RawEnd(Idle):
    """Speaks no HTTP/3: writes what it is told to, and keeps all that comes."""

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self.received: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        self.stops: dict[int, int] = {}
        self.closed: ConnectionClosed | None = None

    @property
    def connection(self) -> Connection:
        """The QUIC connection, from its first event on."""
        assert self._connection is not None
        return self._connection

    def on_event(self, connection: Connection, event: Event, now: float) -> None:  # noqa: ARG002 - Application
        """Keep what it brings."""
        self._connection = connection
        match event:
            case StreamOpened(stream_id=stream_id):
                self.received[stream_id] = bytearray()
            case StreamReadable(stream_id=stream_id):
                data, fin = connection.read(stream_id)
                self.received.setdefault(stream_id, bytearray()).extend(data)
                if fin:
                    self.ended.add(stream_id)
            case StreamReset(stream_id=stream_id, error_code=code):
                self.resets[stream_id] = code
            case StreamStopped(stream_id=stream_id, error_code=code):
                self.stops[stream_id] = code
            case ConnectionClosed():
                self.closed = event


class H3Session:
    """An H3End of either role opposite a RawEnd, with the handshake behind them."""

    def __init__(self, scenario: Scenario, role: str, end: H3End | None = None) -> None:
        """`role` of the H3End."""
        scenario.up = WIRE
        self.h3 = end or H3End()
        self.raw = RawEnd()
        self.role = role
        server = self.h3 if role == "server" else self.raw
        client = self.raw if role == "server" else self.h3
        self.pair = connect(scenario, client, server)
        self.run()

    def run(self) -> None:
        """Until nothing happens any more."""
        self.pair.run(deadline=self.pair.now + 0.1)

    def open(self, data: bytes = b"", *, unidirectional: bool = False, fin: bool = False) -> int:
        """A stream of the raw end, with `data`."""
        stream_id = self.raw.connection.open_stream(unidirectional=unidirectional)
        self.write(stream_id, data, fin=fin)
        return stream_id

    def write(self, stream_id: int, data: bytes, *, fin: bool = False, size: int | None = None) -> None:
        """Write on a stream of the raw end, `size` bytes at a time, each delivered before the next."""
        pieces = [data] if size is None else [data[at : at + size] for at in range(0, len(data), size)]
        for index, piece in enumerate(pieces or [b""]):
            try:
                self.raw.connection.write(stream_id, piece, fin=fin and index == len(pieces or [b""]) - 1)
            except InterquicError:
                break  # the connection is closed, or the stream stopped
            self.run()


def connect(scenario: Scenario, client: Idle, server: Idle) -> Pair:
    pair = scenario.pair(client, lambda: server)
    assert pair.run(
        lambda: (
            bool(pair.servers)
            and any(isinstance(event, HandshakeCompleted) for event in pair.server.events)
            and any(isinstance(event, HandshakeCompleted) for event in pair.client.events)
        ),
        deadline=DEADLINE,
    )
    return pair
