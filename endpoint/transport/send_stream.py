"""The sending part of a stream (RFC 9000 §2.2, §3.1): buffer, what to send next, what was acknowledged."""

from bisect import bisect_right
from typing import Protocol

from endpoint.errors import StreamError
from endpoint.recovery.range_set import RangeSet
from endpoint.transport.flow_control import SendWindow
from endpoint.transport.scheduler import DEFAULT_URGENCY
from endpoint.transport.stream_state import (
    SEND_TERMINAL,
    SEND_TRANSITIONS,
    SendInput,
    SendState,
    next_send_state,
)

# A write below this is copied behind another such one, so that a packet is not gathered from crumbs; a
# larger one is kept as it is. Copying 4 KB costs about what one more piece costs later.
COALESCE_BELOW = 4096
# Where such a joined piece ends: it is freed as a whole.
JOINED_PIECE = 64 * 1024

# Members of enums by names of our own: to ask the class for one costs as much as a call (Python 3.11).
_READY, _SEND, _DATA_SENT = SendState.READY, SendState.SEND, SendState.DATA_SENT
_DATA_RECVD, _RESET_SENT = SendState.DATA_RECVD, SendState.RESET_SENT
_SEND_STREAM, _SEND_FIN, _ALL_ACKED = SendInput.SEND_STREAM, SendInput.SEND_FIN, SendInput.ALL_ACKED


class SendListener(Protocol):
    """Whom a sending part tells what acknowledgements and losses change: the map of streams."""

    def on_send_ready(self, stream: "SendStream") -> None:
        """Something was lost and has to be sent again."""

    def on_send_writable(self, stream: "SendStream") -> None:
        """After a short write at least half of the buffer is free again."""

    def on_send_finished(self, stream: "SendStream") -> None:
        """The peer has everything, with the FIN: state "Data Recvd"."""


class SendStream:
    """Keeps what the application wrote until the peer acknowledges it.

    The buffer is a list of pieces, mostly the caller's own objects. Offsets are those of the stream.
    """

    __slots__ = (
        "_acked",
        "_acked_to",
        "_buffer_size",
        "_fin_acked",
        "_fin_due",
        "_fin_written",
        "_listener",
        "_lost",
        "_pieces",
        "_short_write",
        "_starts",
        "_written",
        "incremental",
        "reset_code",
        "state",
        "stopped",
        "stream_id",
        "urgency",
        "window",
    )

    def __init__(
        self, stream_id: int, listener: SendListener, buffer_size: int, max_stream_data: int
    ) -> None:
        """`max_stream_data`: the peer's limit so far. `buffer_size`: bytes to keep for `write`."""
        self.stream_id = stream_id
        self.state = _READY
        self.window = SendWindow(max_stream_data)  # `used` is the offset of the next new byte
        self.reset_code: int | None = None
        self.stopped = False  # the reset answers a STOP_SENDING
        self.urgency = DEFAULT_URGENCY
        # Streams share the connection in turns: responses of HTTP/0.9 have no priorities.
        self.incremental = True
        self._listener = listener
        self._buffer_size = buffer_size
        self._pieces: list[bytes | bytearray | memoryview] = []
        self._starts: list[int] = []  # the offset of each piece
        self._written = 0
        self._fin_written = False
        self._fin_due = False  # the FIN was never sent, or was lost
        self._fin_acked = False
        self._acked_to = 0  # everything below is acknowledged and freed
        # None while empty, as in most streams for all of their life.
        self._acked: RangeSet | None = None  # beyond that
        self._lost: RangeSet | None = None  # sent, neither acknowledged nor on its way
        self._short_write = False

    # The application's side.

    @property
    def writable(self) -> int:
        """How many bytes `write` would take now."""
        if self._fin_written or self.reset_code is not None:
            return 0
        return self._buffer_size - (self._written - self._acked_to)

    @property
    def written(self) -> int:
        """How many bytes were taken so far."""
        return self._written

    def write(self, data: bytes | bytearray | memoryview, fin: bool = False) -> int:
        """Take as much of `data` as there is room for, and return how many bytes that is.

        `fin` counts only if all of it was taken. After a short write the listener is told when half of
        the buffer is free. A `bytes` object, or a view of one, is kept and not copied unless it is
        small. Takes nothing once the peer has asked to stop. Raises StreamError after the FIN and
        after a reset of ours.
        """
        if self.stopped:
            return 0
        if self.reset_code is not None:
            raise StreamError(f"stream {self.stream_id} was reset")
        if self._fin_written:
            raise StreamError(f"stream {self.stream_id} was ended before")
        if isinstance(data, memoryview) and not (data.c_contiguous and data.itemsize == 1 == data.ndim):
            data = data.tobytes()
        accepted = size = len(data)
        room = self._buffer_size - (self._written - self._acked_to)
        if size > room:
            accepted = room
        if accepted == size and size and not self._pieces and isinstance(data, bytes):
            # The only write of most streams.
            self._pieces.append(data)
            self._starts.append(self._written)
            self._written += size
        elif accepted:
            self._append(data, accepted)
        self._short_write = accepted < size
        if fin and accepted == size:
            self._fin_written = self._fin_due = True
        return accepted

    def reset(self, error_code: int) -> None:
        """Abandon sending; nothing but the RESET_STREAM is sent from now on.

        Raises StreamError in a state that has nothing left to abandon (RFC 9000 §3.1).
        """
        self.state = next_send_state(self.state, SendInput.SEND_RESET)
        self.reset_code = error_code
        self._drop_buffer()

    def stop(self, error_code: int) -> bool:
        """Take the peer's STOP_SENDING: reset with its code; False if there is nothing to stop."""
        if self.reset_code is not None or self.state is _DATA_RECVD:
            return False
        self.reset(error_code)
        self.stopped = True
        return True

    @property
    def final_size(self) -> int:
        """What RESET_STREAM says: bytes sent (RFC 9000 §4.5)."""
        return self.window.used

    @property
    def finished(self) -> bool:
        """Whether a terminal state is reached."""
        return self.state in SEND_TERMINAL

    @property
    def is_ending(self) -> bool:
        """Whether it was ended, and the peer is not known to have all of it."""
        return self._fin_written and self.state is not _DATA_RECVD

    # The packet builder's side.

    @property
    def has_lost(self) -> bool:
        """Whether something has to be sent again, which needs no credit."""
        return self._lost is not None

    @property
    def has_pending(self) -> bool:
        """Whether there is something to send as far as this stream's own limit goes."""
        window, written = self.window, self._written
        used = window.used
        if used < written and used < window.limit:
            return True
        return self._lost is not None or (self._fin_due and used == written)

    @property
    def is_blocked(self) -> bool:
        """Whether new data waits for MAX_STREAM_DATA."""
        return self._written > self.window.used >= self.window.limit

    def next_range(self, max_bytes: int, connection_credit: int) -> tuple[int, int, bool] | None:
        """What to send next: (offset, length, fin), None if nothing may be sent.

        Lost data comes first; it needs no credit. `connection_credit` limits new data. The range may
        be sent in part: report what was sent with `on_sent`, with `fin` if it includes the end.
        """
        if max_bytes <= 0:
            return None
        written, window = self._written, self.window
        if self._lost is not None:
            offset, stop = self._lost.first()
            length = min(stop - offset, max_bytes)
            return offset, length, self._fin_written and offset + length == written
        offset = window.used
        # The least of them all: `min` would take longer than the rest.
        length = written - offset
        if written > window.limit:
            length = window.limit - offset
        if length > max_bytes:
            length = max_bytes
        if length > connection_credit:
            length = connection_credit
        if length > 0:
            return offset, length, self._fin_written and offset + length == written
        if self._fin_due and offset == written:
            return offset, 0, True
        return None

    def block(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset` on, which must have been written and not be acknowledged.

        They are copied once, not at all where they are one whole `bytes` that was written.
        """
        starts = self._starts
        index = bisect_right(starts, offset) - 1 if len(starts) > 1 else 0
        piece = self._pieces[index]
        start = offset - starts[index]
        stop = start + count
        if stop <= len(piece):
            return piece[start:stop] if isinstance(piece, bytes) else bytes(memoryview(piece)[start:stop])
        parts = [memoryview(piece)[start:]]
        count -= len(piece) - start
        while count > 0:
            index += 1
            part = memoryview(self._pieces[index])[:count]
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def on_sent(self, offset: int, length: int, fin: bool) -> int:
        """Count a range as sent; returns how many bytes of it were new (RFC 9000 §4.1 counts those)."""
        if fin:
            self.state = SEND_TRANSITIONS[self.state, _SEND_FIN]
            self._fin_due = False
        elif self.state is _READY:
            self.state = SEND_TRANSITIONS[self.state, _SEND_STREAM]
        end = offset + length
        if self._lost is not None:
            self._take_from_lost(offset, end)
        window = self.window
        new = end - window.used
        if new <= 0:
            return 0
        assert end <= window.limit, "sent more than the peer allows"
        window.used = end
        return new

    def on_max_stream_data(self, limit: int) -> bool:
        """Take the peer's MAX_STREAM_DATA; True if data can be sent that could not before."""
        was_blocked = self.is_blocked
        return self.window.raise_limit(limit) and was_blocked

    # The side of recovery.

    def on_acked(self, offset: int, length: int, fin: bool) -> None:
        """The peer has this range. Frees what is acknowledged without a gap and tells the listener."""
        if self.state is not _SEND and self.state is not _DATA_SENT:
            return
        end = offset + length
        if self._lost is not None:
            self._take_from_lost(offset, end)
        if offset > self._acked_to:
            if self._acked is None:
                self._acked = RangeSet()
            self._acked.add(offset, end)
        elif end > self._acked_to:
            self._acked_to = end
            if self._acked is not None:
                self._join_acked(self._acked)
            if self._acked_to == self._written:
                self._pieces.clear()
                self._starts.clear()
            elif len(self._starts) > 1:
                self._free()
        if fin:
            self._fin_acked = True
            self._fin_due = False
        if self._fin_acked and self._acked_to == self._written:  # RFC 9000 §3.1
            self.state = SEND_TRANSITIONS[self.state, _ALL_ACKED]
            self._listener.on_send_finished(self)
        elif self._short_write and 2 * self.writable >= self._buffer_size:
            self._short_write = False
            self._listener.on_send_writable(self)

    def on_lost(self, offset: int, length: int, fin: bool) -> None:
        """This range has to be sent again, but for what was acknowledged meanwhile."""
        if self.state is not _SEND and self.state is not _DATA_SENT:
            return
        first, end = max(offset, self._acked_to), offset + length
        if first < end:
            lost = self._lost or RangeSet()
            for start, stop in ((first, end),) if self._acked is None else self._acked.gaps(first, end):
                lost.add(start, stop)
            self._lost = lost or None
        if fin and not self._fin_acked:
            self._fin_due = True
        if self.has_pending:
            self._listener.on_send_ready(self)

    def on_reset_acked(self) -> None:
        """The peer has the RESET_STREAM; terminal. Nothing changes the second time."""
        if self.state is _RESET_SENT:
            self.state = next_send_state(self.state, SendInput.RESET_ACKED)

    def rewind(self, max_stream_data: int) -> None:
        """As if nothing had been sent: the peer has rejected 0-RTT (RFC 9001 §4.6.2).

        Only while nothing is acknowledged; the contents of the packets sent so far must be forgotten.
        """
        self.window.restart(max_stream_data)
        if self.reset_code is not None:
            self._drop_buffer()
            return
        self._lost = None
        self._fin_due = self._fin_written
        self.state = _READY

    def _append(self, data: bytes | bytearray | memoryview, count: int) -> None:
        """Put the first `count` bytes of `data` behind the buffer."""
        part = data if count == len(data) else memoryview(data)[:count]
        pieces = self._pieces
        if count < COALESCE_BELOW:
            last = pieces[-1] if pieces else None
            if isinstance(last, bytes) and len(last) < COALESCE_BELOW:
                last = pieces[-1] = bytearray(last)
            if isinstance(last, bytearray) and len(last) < JOINED_PIECE:
                last += part
                self._written += count
                return
        # A view is kept only of much, and of what cannot change under us.
        if not isinstance(part, bytes) and (
            count < COALESCE_BELOW or not isinstance(part, memoryview) or not isinstance(part.obj, bytes)
        ):
            part = bytes(part)
        pieces.append(part)
        self._starts.append(self._written)
        self._written += count

    def _join_acked(self, acked: RangeSet) -> None:
        start, stop = acked.first()
        if start <= self._acked_to:
            self._acked_to = max(self._acked_to, stop)
            acked.discard_below(self._acked_to)
            self._acked = acked or None

    def _take_from_lost(self, start: int, stop: int) -> None:
        lost = self._lost
        if lost is not None:
            lost.subtract(start, stop)
            self._lost = lost or None

    def _free(self) -> None:
        """Drop the pieces that lie wholly below what is acknowledged, if that is not all."""
        if self._starts[1] <= self._acked_to:
            count = bisect_right(self._starts, self._acked_to) - 1
            del self._pieces[:count]
            del self._starts[:count]

    def _drop_buffer(self) -> None:
        self._pieces.clear()
        self._starts.clear()
        self._lost = None
        self._acked = None
        self._fin_written = self._fin_due = False
        self._written = self.window.used


class StreamContent:
    """What a run of packets carried of one stream (`Content` of `recovery.sent_packets`).

    Packet i of the run has the `chunk` bytes from `offset + i * chunk` on; the last may have fewer, or
    none, and it alone has the FIN. `length` counts all of them.
    """

    __slots__ = ("chunk", "fin", "length", "offset", "stream")

    def __init__(self, stream: SendStream, offset: int, chunk: int, length: int, fin: bool) -> None:
        self.stream = stream
        self.offset = offset
        self.chunk = chunk
        self.length = length
        self.fin = fin

    def split(self, count: int) -> "StreamContent":
        """Keep the share of the first `count` packets, return that of the rest."""
        kept = count * self.chunk
        rest = StreamContent(self.stream, self.offset + kept, self.chunk, self.length - kept, self.fin)
        self.length = kept
        self.fin = False
        return rest

    def on_acked(self) -> None:
        """The packets were acknowledged."""
        self.stream.on_acked(self.offset, self.length, self.fin)

    def on_lost(self) -> None:
        """The packets were lost, or are to be sent again as a probe."""
        self.stream.on_lost(self.offset, self.length, self.fin)
