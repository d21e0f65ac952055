"""One HTTP/3 connection without I/O, on one QUIC connection (RFC 9114).

The order of calls: `handle` for every event of the QUIC connection, in order, with commands in answer to
what it returns; `take_events` after `read_body`. What the peer does wrong never raises: it closes the
connection, or ends the request, with the right code (`_fail`, `Requests.fail`).
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from endpoint.errors import ConnectionClosedError, InterquicError, StreamError
from endpoint.events import (
    ConnectionClosed,
    DatagramReceived,
    EarlyDataAccepted,
    Event,
    HandshakeCompleted,
    StreamFinished,
    StreamOpened,
    StreamReadable,
    StreamReceived,
    StreamReset,
    StreamsAvailable,
    StreamStopped,
    StreamWritable,
)
from endpoint.h3.control import ControlFrame, ControlStream, Goaway, OwnControlStream
from endpoint.h3.datagrams import encode_datagram, parse_datagram
from endpoint.h3.errors import H3ConnectionError, H3ErrorCode, H3StreamError
from endpoint.h3.events import (
    ConnectionEnded,
    GoawayReceived,
    H3DatagramReceived,
    H3Event,
    Headers,
    PriorityUpdated,
    RequestFinished,
    RequestsAvailable,
    SettingsReceived,
)
from endpoint.h3.frames import grease_value
from endpoint.h3.message import Phase, Shared
from endpoint.h3.priority import Priority
from endpoint.h3.qpack import Qpack
from endpoint.h3.request_stream import RequestStream
from endpoint.h3.requests import STREAM_STEP, Requests
from endpoint.h3.response_order import ResponseOrder
from endpoint.h3.settings import Settings
from endpoint.h3.streams import MAX_BACKLOG, UNIDIRECTIONAL, LocalStreams, PeerStreams, StreamType
from endpoint.h3.trace import H3Observer
from endpoint.transport.stream_limits import SERVER_INITIATED
from endpoint.wire.varint import VARINT_MAX

if TYPE_CHECKING:
    from endpoint.transport.connection import Connection

_DEFAULT_PRIORITY = Priority()
_HEADERS = Phase.HEADERS  # see `request_stream`
# Of a field section, where no limit was set: something has to bound what we keep until it is whole.
MAX_FIELD_SECTION = 1024 * 1024


class H3Connection:
    """Both roles. Commands raise StreamError and ConnectionClosedError as those of the QUIC connection do.

    On a request that is over they do nothing: the event that says so may still wait to be seen.
    """

    def __init__(
        self,
        quic: "Connection",
        *,
        settings: Settings | None = None,
        peer_settings: Settings | None = None,
        grease: bool = True,
        whole_responses: bool = False,
    ) -> None:
        """`settings` are ours. `peer_settings`: remembered with a session, for 0-RTT (RFC 9114 §7.2.4.2).

        `whole_responses`: tell small responses that come at once by one event, ResponseReceived.
        `grease`: send a setting, a frame and a stream without meaning, which peers must not mind.
        """
        self.quic = quic
        quic.deliver_whole_streams(finished=False)
        self.settings = settings or Settings()
        # Random, since the client chose it so, and the same again in a simulation.
        seed = int.from_bytes(quic.original_destination_cid) if grease else None
        tracer = quic.tracer
        self._observer = None if tracer is None else H3Observer(tracer, is_client=quic.is_client)
        self._local = LocalStreams(quic, None if seed is None else grease_value(seed))
        self._own_control = OwnControlStream(self._local, self.settings, seed, self._observer)
        self._peer = PeerStreams(is_client=quic.is_client, observer=self._observer)
        self._control: ControlStream | None = None
        self._qpack = Qpack(self.settings, self._local)
        order = ResponseOrder(quic, self._observer)
        self._events: list[H3Event] = []
        longest = self.settings.max_field_section_size
        self._shared = Shared(
            quic=quic,
            is_client=quic.is_client,
            qpack=self._qpack,
            events=self._events,
            settings=self.settings,
            peer_settings=peer_settings,
            observer=self._observer,
            max_headers=MAX_FIELD_SECTION if longest is None else longest,
            whole_responses=whole_responses,
            prioritize=order.on_request,
        )
        self._remembered = peer_settings
        if peer_settings is not None and self._observer is not None:
            self._observer.settings_restored(peer_settings)
        self._requests = Requests(self._shared, order)
        self._contents = self._requests.contents
        self._goaway_sent: int | None = None
        self._goaway_received = False
        self._early_data_accepted = False
        self._closed = False  # by whichever side: then only the end is told
        self._now = 0.0
        self._handlers: dict[type, Callable[[Any], None]] = {
            StreamOpened: self._on_opened,
            StreamWritable: self._on_writable,
            StreamReset: self._on_reset,
            StreamStopped: self._on_stopped,
            StreamsAvailable: self._on_streams_available,
            HandshakeCompleted: self._on_handshake_completed,
            EarlyDataAccepted: self._on_early_data_accepted,
            DatagramReceived: self._on_datagram,
            ConnectionClosed: self._on_closed,
        }

    # What is known.

    @property
    def peer_settings(self) -> Settings | None:
        """The peer's SETTINGS; until they come those remembered, or None."""
        return self._shared.peer_settings

    @property
    def can_send_request(self) -> bool:
        """Client: the peer's stream limit admits a request now, and there was no GOAWAY."""
        return not self._goaway_received and not self.quic.is_closing and self.quic.can_open_stream()

    @property
    def requests_left(self) -> int:
        """Client: how many more requests can be sent now."""
        return self.quic.streams_left() if self.can_send_request else 0

    @property
    def open_requests(self) -> int:
        """Requests that are not over in both directions."""
        return len(self._requests)

    def tell_finished(self) -> None:
        """From now on tell RequestFinished. Seldom of use, and not for nothing."""
        self.quic.deliver_whole_streams(finished=True)

    # Events.

    def handle(self, event: Event, now: float) -> Sequence[H3Event]:
        """Take an event of the QUIC connection; every one of them, in order. Never raises for the peer."""
        return self.handle_all((event,), now)

    def handle_all(self, events: Iterable[Event], now: float) -> Sequence[H3Event]:
        """Take some at once, which costs less: then a request may be told after it was given up already."""
        self._now = now
        requests, is_client = self._requests, self.quic.is_client
        accepts = not is_client and self._goaway_sent is None and self._observer is None
        for event in events:
            try:
                # What comes with every request first, without the table.
                if self._closed:
                    if event.__class__ is ConnectionClosed:
                        self._on_closed(event)
                elif event.__class__ is StreamReceived:
                    if accepts:
                        requests.accept(event.stream_id)
                    elif event.stream_id & SERVER_INITIATED or not is_client:
                        self._on_opened(event)
                    requests.on_received(event.stream_id, event.data)
                elif event.__class__ is StreamReadable:
                    if event.stream_id & UNIDIRECTIONAL:
                        self._read_unidirectional(event.stream_id)
                    else:
                        requests.on_readable(event.stream_id)
                elif event.__class__ is StreamFinished:
                    if not event.stream_id & UNIDIRECTIONAL:
                        self._events.append(RequestFinished(event.stream_id))
                elif (handler := self._handlers.get(event.__class__)) is not None:
                    handler(event)
            except H3ConnectionError as error:
                self._fail(error)
        self._local.flush_acknowledgments()
        if self._local.backlog > MAX_BACKLOG:
            self._fail(H3ConnectionError(H3ErrorCode.H3_EXCESSIVE_LOAD, "QPACK streams are not read"))
        return self.take_events() if self._events else ()

    def take_events(self) -> Sequence[H3Event]:
        """Events that commands have caused, such as TrailersReceived by `read_body`."""
        if not self._events:
            return ()
        events = self._events[:]
        self._events.clear()
        return events

    # Commands.

    def start(self) -> None:
        """Client with 0-RTT (`Connection.sends_early_data`): begin before there is an event."""
        self._open_streams()

    def send_request(self, headers: Headers, *, end: bool = False, priority: Priority | None = None) -> int:
        """Begin a request; returns its stream. `priority` asks for a place of the response (RFC 9218).

        Raises StreamError at the peer's limit (RequestsAvailable follows) and after a GOAWAY, ValueError for
        a malformed request, such as an extended CONNECT before the server has said that it takes them.
        """
        if self._goaway_received:
            raise StreamError("the server takes no more requests on this connection")
        if priority is not None and priority != _DEFAULT_PRIORITY:
            headers = [*headers, (b"priority", priority.serialize())]
        stream_id = self.quic.open_stream()
        if self._observer is not None:
            self._observer.stream_type_set(stream_id)
        try:
            self._requests.send(stream_id, headers, end=end)
        except (InterquicError, ValueError):
            self._requests.end_stream(stream_id, H3ErrorCode.H3_REQUEST_CANCELLED)
            raise
        return stream_id

    def send_headers(self, stream_id: int, headers: Headers, *, end: bool = False) -> None:
        """Server: an interim response, the final one, or trailers. Client: trailers.

        `end`: nothing follows. Raises StreamError where it is not the time for them, or if the content-length
        before was not kept; ValueError if they are malformed.
        """
        request = self._sending(stream_id)
        if request is None:
            return
        if request.outgoing.phase is _HEADERS:
            request.outgoing.send_response(headers, request.incoming.method, end=end)
        else:
            request.outgoing.send_trailers(headers, end=end)
        if end:
            self._requests.drop_if_over(request)

    def send_response(self, stream_id: int, headers: Headers, content: bytes, *, end: bool) -> int:
        """Server: the final response with its content, or the beginning of it; one write, if that is little.

        As `send_headers` and then `send_body`; returns how many bytes of content were taken.
        """
        return self._requests.respond(stream_id, headers, content, end=end)

    def send_body(self, stream_id: int, data: bytes | bytearray | memoryview, *, end: bool = False) -> int:
        """Send content; returns how many bytes were taken. `end` counts only if all were.

        What was not taken is promised to the peer (its length is out): give it again after BodyWritable, or
        `reset`. Raises StreamError for content that does not keep to the content-length.
        """
        request = self._sending(stream_id)
        if request is None:
            return 0
        taken = request.outgoing.send_content(data, end=end)
        if end:
            self._requests.drop_if_over(request)
        return taken

    def body_room(self, stream_id: int) -> int:
        """How many bytes `send_body` would take now."""
        request = self._sending(stream_id)
        return 0 if request is None else request.outgoing.room

    def read_body(self, stream_id: int, max_bytes: int | None = None) -> tuple[bytes, bool]:
        """Up to `max_bytes` of content, and whether that was the end of the message.

        Taking content is what gives the peer credit to send more. After BodyReadable read until there is
        nothing left, and ask `take_events` after it: trailers are told before the end.
        """
        whole = self._contents.get(stream_id)
        if whole is not None and (max_bytes is None or len(whole) <= max_bytes):
            del self._contents[stream_id]
            return whole, True
        request = self._requests.get(stream_id)
        if request is None:
            return b"", False
        try:
            content, ended = request.incoming.read_content(max_bytes)
        except H3StreamError as error:
            self._requests.fail(request, error)
        except H3ConnectionError as error:
            self._fail(error)
        else:
            self._local.flush_acknowledgments()
            if ended:
                self._requests.drop_if_over(request)
            return content, ended
        return b"", False

    def reset(self, stream_id: int, error_code: H3ErrorCode) -> None:
        """Abandon what we send."""
        request = self._sending(stream_id)
        if request is not None and not request.outgoing.over:
            self.quic.reset_stream(stream_id, error_code)
            request.outgoing.abandon()
            self._requests.drop_if_over(request)

    def stop(self, stream_id: int, error_code: H3ErrorCode) -> None:
        """Read no more: with H3_NO_ERROR after a complete response (RFC 9114 §4.1)."""
        request = self._sending(stream_id)
        if request is not None and not request.incoming.over:
            self.quic.stop_sending(stream_id, error_code)
            self._requests.abandon_reading(request)

    def cancel(self, stream_id: int, error_code: H3ErrorCode) -> None:
        """Both (RFC 9114 §4.1.1)."""
        self.stop(stream_id, error_code)
        self.reset(stream_id, error_code)

    def send_goaway(self, *, final: bool = False) -> None:
        """Begin to close (RFC 9114 §5.2).

        Server: asks for no more requests; those that are on their way are still taken, until after `final`
        new ones are rejected. Client: no pushes, of which there are none anyway.
        """
        if self.quic.is_client:
            identifier = 0
        elif final:
            identifier = self._requests.next_id
        else:
            identifier = VARINT_MAX - VARINT_MAX % STREAM_STEP
        if self._goaway_sent is not None and identifier >= self._goaway_sent:
            return
        self._goaway_sent = identifier
        self._own_control.send_goaway(identifier)

    def send_priority_update(self, stream_id: int, priority: Priority) -> None:
        """Client: ask for another place of a response (RFC 9218 §7)."""
        if not self.quic.is_client:
            raise StreamError("PRIORITY_UPDATE is sent by clients only")
        self._own_control.send_priority_update(stream_id, priority)

    def send_datagram(self, stream_id: int, data: bytes) -> bool:
        """Send an HTTP datagram that belongs to a request (RFC 9297 §2.1), unreliably.

        False if the queue was full and lost its oldest. Raises StreamError unless both sides have said that
        they take them, and while the request is open for sending; DatagramError if it is too long.
        """
        peer = self._shared.peer_settings
        if not self.settings.h3_datagram or peer is None or not peer.h3_datagram:
            raise StreamError("HTTP datagrams are not negotiated")
        request = self._sending(stream_id)
        if request is None or request.outgoing.over:
            raise StreamError(f"stream {stream_id} is not open for datagrams")
        if self._observer is not None:
            self._observer.datagram(stream_id, len(data), created=True)
        return self.quic.send_datagram(encode_datagram(stream_id, data))

    def close(
        self, error_code: H3ErrorCode = H3ErrorCode.H3_NO_ERROR, reason: str = "", *, now: float
    ) -> None:
        """Close at once (RFC 9114 §5.3). What the peer sent before counts for nothing any more."""
        self._closed = True
        self.quic.close(error_code, reason, now=now)

    # Events of the connection.

    def _on_handshake_completed(self, event: HandshakeCompleted) -> None:
        self._early_data_accepted = event.early_data
        self._open_streams()
        if self.quic.is_client and self.can_send_request:
            self._events.append(RequestsAvailable())

    def _on_early_data_accepted(self, _: EarlyDataAccepted) -> None:
        self._open_streams()

    def _on_streams_available(self, event: StreamsAvailable) -> None:
        if event.unidirectional:
            self._open_streams()
        elif self.quic.is_client and self.can_send_request:
            self._events.append(RequestsAvailable())

    def _on_closed(self, event: ConnectionClosed) -> None:
        # What has come of a message can still be read.
        self._closed = True
        self._events.append(ConnectionEnded(event))

    def _on_datagram(self, event: DatagramReceived) -> None:
        if not self.settings.h3_datagram:
            return
        stream_id, data = parse_datagram(event.data)
        if self._observer is not None:
            self._observer.datagram(stream_id, len(data), created=False)
        if not self.quic.is_client and stream_id // STREAM_STEP >= self.quic.peer_stream_limit:
            # RFC 9297 §2.1.
            raise H3ConnectionError(H3ErrorCode.H3_ID_ERROR, "a datagram beyond the limit of streams")
        request = self._requests.get(stream_id)
        # RFC 9297 §2.1: dropped after the end, and here before the request as well.
        if request is not None and not request.incoming.over:
            self._events.append(H3DatagramReceived(stream_id, data))

    # Events of streams.

    def _on_opened(self, event: StreamOpened | StreamReceived) -> None:
        stream_id = event.stream_id
        if stream_id & UNIDIRECTIONAL:
            return
        if self.quic.is_client:
            # RFC 9114 §6.1.
            raise H3ConnectionError(
                H3ErrorCode.H3_STREAM_CREATION_ERROR, "a bidirectional stream of the server"
            )
        if self._goaway_sent is not None and stream_id >= self._goaway_sent:
            self._requests.end_stream(stream_id, H3ErrorCode.H3_REQUEST_REJECTED)
            self._qpack.cancel(stream_id)
            return
        if self._observer is not None:
            self._observer.stream_type_set(stream_id)
        self._requests.accept(stream_id)

    def _on_writable(self, event: StreamWritable) -> None:
        if event.stream_id & UNIDIRECTIONAL:
            self._local.on_writable(event.stream_id)
        else:
            self._requests.on_writable(event.stream_id)

    def _on_reset(self, event: StreamReset) -> None:
        if event.stream_id & UNIDIRECTIONAL:
            self._peer.on_end(event.stream_id)
        else:
            self._requests.on_reset(event)

    def _on_stopped(self, event: StreamStopped) -> None:
        if event.stream_id & UNIDIRECTIONAL:
            self._local.check_not_stopped(event.stream_id)
        else:
            self._requests.on_stopped(event)

    def _read_unidirectional(self, stream_id: int) -> None:
        data, fin = self.quic.read(stream_id)
        kind, content = self._peer.identify(stream_id, data)
        if kind is StreamType.CONTROL:
            if self._control is None:
                self._control = ControlStream(
                    stream_id, is_client=self.quic.is_client, observer=self._observer
                )
            for frame in self._control.receive(content):
                self._on_control_frame(frame)
        elif kind is StreamType.QPACK_ENCODER:
            for waiting_id in self._qpack.on_encoder_stream(content):
                self._requests.resume(waiting_id)
        elif kind is StreamType.QPACK_DECODER:
            self._qpack.on_decoder_stream(content)
        elif content and not fin:
            # RFC 9114 §6.2.3: whatever it is for, we do without.
            with contextlib.suppress(InterquicError):
                self.quic.stop_sending(stream_id, H3ErrorCode.H3_STREAM_CREATION_ERROR)
        if fin:
            self._peer.on_end(stream_id)

    def _on_control_frame(self, frame: ControlFrame) -> None:
        if isinstance(frame, Settings):
            if self._early_data_accepted and self._remembered is not None:
                frame.check_against_remembered(self._remembered)
            self._shared.peer_settings = frame
            self._qpack.apply_peer_settings(frame)
            self._events.append(SettingsReceived(frame))
        elif isinstance(frame, Goaway):
            self._goaway_received = True
            self._events.append(GoawayReceived(frame.identifier))
        elif frame.stream_id // STREAM_STEP >= self.quic.peer_stream_limit:
            # RFC 9218 §7.2.
            raise H3ConnectionError(H3ErrorCode.H3_ID_ERROR, "PRIORITY_UPDATE beyond the limit of streams")
        elif self._requests.on_priority_update(frame.stream_id, frame.priority):
            self._events.append(PriorityUpdated(frame.stream_id, frame.priority))

    # Inside.

    def _open_streams(self) -> None:
        opened = self._local.open()
        if self._observer is not None:
            for stream_id, kind in opened:
                self._observer.stream_type_set(stream_id, kind)
                if kind == StreamType.CONTROL:
                    self._own_control.trace_settings(stream_id)

    def _sending(self, stream_id: int) -> RequestStream | None:
        """The request of a command; None if it is over."""
        if self.quic.is_closing:
            raise ConnectionClosedError("the connection is closed")
        return self._requests.get(stream_id)

    def _fail(self, error: H3ConnectionError) -> None:
        """A connection error (RFC 9114 §8)."""
        self.close(error.code, error.reason, now=self._now)
