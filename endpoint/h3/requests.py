"""The requests of one connection that are not over (RFC 9114 §4.1): what happens to their streams, and how
they end.
"""

import contextlib
from typing import TYPE_CHECKING

from endpoint.errors import ConnectionClosedError, InterquicError
from endpoint.h3.errors import H3ErrorCode, H3StreamError
from endpoint.h3.events import (
    BodyReadable,
    BodyWritable,
    HeadersReceived,
    RequestReset,
    RequestStopped,
    ResponseReceived,
)
from endpoint.h3.frames import FrameType, frame_header, split_whole
from endpoint.h3.headers import MessageError, expected_body, validate_request, validate_response
from endpoint.h3.message import Phase, Shared
from endpoint.h3.outgoing_message import SMALL_CONTENT, OutgoingMessage
from endpoint.h3.request_stream import READ_AHEAD, RequestStream
from endpoint.h3.settings import INITIAL_SETTINGS

if TYPE_CHECKING:
    from endpoint.events import StreamReset, StreamStopped
    from endpoint.h3.events import Headers
    from endpoint.h3.priority import Priority
    from endpoint.h3.response_order import ResponseOrder

STREAM_STEP = 4

_HEADERS, _OVER = Phase.HEADERS, Phase.OVER  # see `request_stream`
_DATA = int(FrameType.DATA)


class Requests:
    """Open requests by stream. A stream error ends one of them here, and never comes further.

    Most exchanges are brief: each message is one piece, HEADERS and perhaps DATA and the end of the stream,
    which comes or goes at once. Nothing is kept of such a one but its method, and it is dealt with here in
    one pass. At whatever else happens, `get` makes a `RequestStream` of it, which takes things one by one.
    """

    __slots__ = ("_brief", "_next", "_open", "_order", "_shared", "_take", "contents")

    def __init__(self, shared: Shared, order: "ResponseOrder") -> None:
        self._shared = shared
        self._order = order
        self._open: dict[int, RequestStream] = {}
        # The methods of brief ones. Client: the request was sent, and nothing has come. Server: the request
        # has come, and nothing was sent; b"" if nothing has come either.
        self._brief: dict[int, bytes] = {}
        # Client: of a response that has come whole, what was not read yet.
        self.contents: dict[int, bytes] = {}
        self._take = self._take_response if shared.is_client else self._take_request
        self._next = 0

    def __len__(self) -> int:
        return len(self._open) + len(self._brief) + len(self.contents)

    @property
    def next_id(self) -> int:
        """Server: the lowest stream on which the client has begun no request."""
        return self._next

    def get(self, stream_id: int) -> RequestStream | None:
        """None if the request is over, or never was."""
        request = self._open.get(stream_id)
        if request is None and (stream_id in self._brief or stream_id in self.contents):
            return self._expand(stream_id)
        return request

    def _expand(self, stream_id: int) -> RequestStream:
        """What is to be known of an exchange that was brief so far."""
        method = self._brief.pop(stream_id, b"")
        content = self.contents.pop(stream_id, None)
        request = self._open[stream_id] = RequestStream(self._shared, stream_id, method)
        if self._shared.is_client:
            request.outgoing.phase = _OVER
            if content is not None:
                request.incoming.is_told(content)
        elif method:
            request.incoming.is_told(b"")
        return request

    # Beginnings.

    def send(self, stream_id: int, headers: "Headers", *, end: bool) -> None:
        """Client: begin a request; see `H3Connection.send_request`."""
        shared = self._shared
        peer = shared.peer_settings or INITIAL_SETTINGS
        head = validate_request(headers, extended_connect=peer.enable_connect_protocol)
        if not end or head.content_length:
            outgoing = OutgoingMessage(shared, stream_id)
            outgoing.send_request(headers, head, end=end)
            self._open[stream_id] = RequestStream(shared, stream_id, head.method, outgoing)
            return
        frame = shared.headers_frame(stream_id, headers, head.size)
        taken = shared.quic.write(stream_id, frame, fin=True)
        self._brief[stream_id] = head.method
        if taken < len(frame):
            self._expand(stream_id).outgoing.go_on(frame, 0, taken, announced=False)

    def accept(self, stream_id: int) -> None:
        """Server: the client has opened a stream for one."""
        self._next = stream_id + STREAM_STEP
        self._brief[stream_id] = b""

    # Messages that are one piece.

    def _on_first(self, stream_id: int, data: bytes, fin: bool) -> None:
        """The first of a message is here, and mostly all of it."""
        shared = self._shared
        # An observer wants to see each step.
        whole = split_whole(data) if fin and shared.observer is None else None
        if whole is None or len(whole[0]) > shared.max_headers:
            self._expand(stream_id).incoming.take_first(data, fin)
            return
        section, content = whole
        headers = shared.qpack.decode(stream_id, section)
        if headers is None or not self._take(stream_id, headers, content):
            self._expand(stream_id).incoming.take_whole(headers, len(section), content)

    def _take_request(self, stream_id: int, headers: "Headers", content: bytes) -> bool:
        """Server: take a request without content, if there is nothing special or wrong about it."""
        shared = self._shared
        try:
            head = validate_request(headers, extended_connect=shared.settings.enable_connect_protocol)
        except MessageError:
            return False
        method = head.method
        if content or head.content_length or method == b"CONNECT":
            return False
        self._brief[stream_id] = method
        self._order.on_request(stream_id, head.priority)
        shared.events.append(HeadersReceived(stream_id, headers, True))
        return True

    def _take_response(self, stream_id: int, headers: "Headers", content: bytes) -> bool:
        """Client: take a response, if there is nothing special or wrong about it."""
        try:
            head = validate_response(headers)
        except MessageError:
            return False
        method = self._brief[stream_id]
        length = expected_body(method, head)
        if head.status < 200 or (length is not None and length != len(content)) or method == b"CONNECT":
            return False
        del self._brief[stream_id]
        events = self._shared.events
        if self._shared.whole_responses:
            events.append(ResponseReceived(stream_id, headers, content))
            return True
        events.append(HeadersReceived(stream_id, headers, not content))
        if content:
            self.contents[stream_id] = content
            events.append(BodyReadable(stream_id))
        return True

    def respond(self, stream_id: int, headers: "Headers", content: bytes, *, end: bool) -> int:
        """Server: see `H3Connection.send_response`."""
        shared, size = self._shared, len(content)
        method = self._brief.get(stream_id)
        if method and end and size < SMALL_CONTENT and not shared.is_client:
            head = validate_response(headers)
            length = expected_body(method, head)
            if head.status >= 200 and (length is None or length == size):
                frames = shared.headers_frame(stream_id, headers, head.size)
                if size:
                    frames += frame_header(_DATA, size)
                taken = shared.quic.write(stream_id, frames + content, fin=True)
                if taken == len(frames) + size:
                    del self._brief[stream_id]
                    return size
                outgoing = self._expand(stream_id).outgoing
                return outgoing.go_on(frames, size, taken, announced=length is not None)
        if shared.quic.is_closing:
            raise ConnectionClosedError("the connection is closed")
        request = self.get(stream_id)
        if request is None:
            return 0
        taken = request.outgoing.send_response(headers, request.incoming.method, content, end=end)
        if end:
            self.drop_if_over(request)
        return taken

    # Events of their streams.

    def on_readable(self, stream_id: int) -> None:
        """There is more to read."""
        try:
            if stream_id in self._brief:
                self._on_first(stream_id, *self._shared.quic.read(stream_id, READ_AHEAD))
            elif stream_id in self._open:
                self._open[stream_id].incoming.on_readable()
        except H3StreamError as error:
            self._fail(stream_id, error)
        else:
            if stream_id in self._open:
                self.drop_if_over(self._open[stream_id])

    def on_received(self, stream_id: int, data: bytes) -> None:
        """All of a message is here."""
        if stream_id < self._order.preset_from:
            # Streams were told by parts until H3Connection was there, which has set their priority, too.
            self._order.preset_from = stream_id
        try:
            if stream_id in self._brief:
                self._on_first(stream_id, data, True)
            elif (request := self._open.get(stream_id)) is not None and not request.incoming.over:
                request.incoming.take_first(data, True)
        except H3StreamError as error:
            self._fail(stream_id, error)
        else:
            if stream_id in self._open:
                self.drop_if_over(self._open[stream_id])

    def resume(self, stream_id: int) -> None:
        """Its field section need not wait for the encoder stream any longer."""
        request = self._open[stream_id]
        try:
            request.incoming.resume()
        except H3StreamError as error:
            self.fail(request, error)
        else:
            self.drop_if_over(request)

    def on_writable(self, stream_id: int) -> None:
        """There is room again."""
        request = self.get(stream_id)
        if request is None:
            return
        with contextlib.suppress(ConnectionClosedError):
            flushed = request.outgoing.flush()
            if request.outgoing.phase is _OVER:
                self.drop_if_over(request)
            elif flushed:
                self._shared.events.append(BodyWritable(stream_id))

    def on_reset(self, event: "StreamReset") -> None:
        """The client or server has abandoned its message."""
        request = self.get(event.stream_id)
        if request is None or request.incoming.over:
            return
        if self.is_told(request):
            self._shared.events.append(RequestReset(event.stream_id, event.error_code))
        else:
            # RFC 9114 §4.1.1: nothing was done, and nothing will be.
            self.end_stream(event.stream_id, H3ErrorCode.H3_REQUEST_REJECTED)
            request.outgoing.abandon()
        self.abandon_reading(request)

    def on_stopped(self, event: "StreamStopped") -> None:
        """The peer reads no more."""
        request = self.get(event.stream_id)
        if request is None:
            return
        request.outgoing.abandon()
        if not self.is_told(request):
            request.incoming.stopped_before = event.error_code
        else:
            self._shared.events.append(RequestStopped(event.stream_id, event.error_code))
        self.drop_if_over(request)

    def on_priority_update(self, stream_id: int, priority: "Priority") -> bool:
        """Take PRIORITY_UPDATE; whether it is in force now, and not kept for a request that is to come."""
        request = self.get(stream_id)
        if stream_id >= self._next or (request is not None and not self.is_told(request)):
            self._order.keep(stream_id, priority)
            return False
        # Where nothing is left to do for us, QUIC may still have most of the response to send.
        self._order.on_update(stream_id, priority)
        return True

    # Ends.

    def fail(self, request: RequestStream, error: H3StreamError) -> None:
        """A stream error (RFC 9114 §8): nothing more is read or written."""
        if self.is_told(request):
            self._shared.events.append(RequestReset(request.stream_id, error.code))
        self.end_stream(request.stream_id, error.code)
        request.outgoing.abandon()
        self.abandon_reading(request)

    def _fail(self, stream_id: int, error: H3StreamError) -> None:
        request = self.get(stream_id)
        assert request is not None, "an error ends a request that was open"
        self.fail(request, error)

    def abandon_reading(self, request: RequestStream) -> None:
        """What still comes is of no use; the peer's encoder has to know (RFC 9204 §2.2.2.2)."""
        request.incoming.phase = _OVER
        self._order.forget(request.stream_id)
        self._shared.qpack.cancel(request.stream_id)
        self.drop_if_over(request)

    def drop_if_over(self, request: RequestStream) -> None:
        """Forget it once both messages are over."""
        if request.incoming.over and request.outgoing.over:
            self._open.pop(request.stream_id, None)

    def end_stream(self, stream_id: int, code: H3ErrorCode) -> None:
        """Abandon both directions of a stream, as far as they are open."""
        with contextlib.suppress(InterquicError):
            self._shared.quic.stop_sending(stream_id, code)
        with contextlib.suppress(InterquicError):
            self._shared.quic.reset_stream(stream_id, code)

    def is_told(self, request: RequestStream) -> bool:
        """Whether the application knows of it."""
        return self._shared.is_client or request.incoming.phase is not _HEADERS
