"""The requests of one connection that are not over (RFC 9114 §4.1): what happens to their streams, and how
they end.
"""

import contextlib
from typing import TYPE_CHECKING

from endpoint.errors import ConnectionClosedError, InterquicError
from endpoint.h3.errors import H3ErrorCode, H3StreamError
from endpoint.h3.events import BodyWritable, RequestReset, RequestStopped
from endpoint.h3.message import Phase, Shared
from endpoint.h3.outgoing_message import OutgoingMessage
from endpoint.h3.request_stream import RequestStream

if TYPE_CHECKING:
    from endpoint.events import StreamReset, StreamStopped
    from endpoint.h3.priority import Priority
    from endpoint.h3.response_order import ResponseOrder

STREAM_STEP = 4

_HEADERS, _OVER = Phase.HEADERS, Phase.OVER  # see `request_stream`


class Requests:
    """Open requests by stream. A stream error ends one of them here, and never comes further."""

    __slots__ = ("_next", "_open", "_order", "_shared")

    def __init__(self, shared: Shared, order: "ResponseOrder") -> None:
        self._shared = shared
        self._order = order
        self._open: dict[int, RequestStream] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def next_id(self) -> int:
        """Server: the lowest stream on which the client has begun no request."""
        return self._next

    def get(self, stream_id: int) -> RequestStream | None:
        """None if the request is over, or never was."""
        return self._open.get(stream_id)

    # Beginnings.

    def send(self, outgoing: OutgoingMessage, stream_id: int, method: bytes) -> None:
        """Client: a request was sent."""
        self._open[stream_id] = RequestStream(self._shared, stream_id, outgoing, method)

    def accept(self, stream_id: int) -> None:
        """Server: the client has opened a stream for one."""
        self._next = stream_id + STREAM_STEP
        outgoing = OutgoingMessage(self._shared, stream_id)
        self._open[stream_id] = RequestStream(self._shared, stream_id, outgoing)

    # Events of their streams.

    def on_readable(self, stream_id: int) -> None:
        """There is more to read."""
        request = self._open.get(stream_id)
        if request is not None:
            try:
                request.incoming.on_readable()
            except H3StreamError as error:
                self.fail(request, error)
            else:
                if request.incoming.phase is _OVER and request.outgoing.phase is _OVER:
                    self.drop_if_over(request)

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
        request = self._open.get(stream_id)
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
        request = self._open.get(event.stream_id)
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
        request = self._open.get(event.stream_id)
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
        request = self._open.get(stream_id)
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
