"""The receiving part of a stream (RFC 9000 §2.2, §3.2, §4.5): reassembly, final size, flow control."""

from bisect import bisect_right
from collections import deque

from endpoint.errors import StreamError, TransportError, TransportErrorCode
from endpoint.transport.flow_control import ReceiveWindow
from endpoint.transport.stream_state import (
    RECV_TERMINAL,
    RECV_TRANSITIONS,
    RecvInput,
    RecvState,
    next_recv_state,
)

# A bytes object of its own costs about this much beside its content, so smaller pieces are joined.
SMALL_PIECE = 128
# Joining ends here: a piece is freed when it has been read to its end.
JOINED_PIECE = 4096
# Pieces in order that are kept in a list, which is moved up when the first goes.
LISTED_PIECES = 4
# Out-of-order pieces that a stream may hold whatever their size. Beyond this they have to average
# SMALL_PIECE bytes: bookkeeping then never exceeds the memory that the flow control window admits,
# and packets of the usual sizes never get there.
MAX_SMALL_FRAGMENTS = 1024

# Members of enums by names of our own: to ask the class for one costs as much as a call (Python 3.11).
_RECV, _SIZE_KNOWN = RecvState.RECV, RecvState.SIZE_KNOWN
_DATA_RECVD, _DATA_READ = RecvState.DATA_RECVD, RecvState.DATA_READ
_RESET_RECVD = RecvState.RESET_RECVD
_RECV_FIN, _RECV_RESET = RecvInput.RECV_FIN, RecvInput.RECV_RESET
_ALL_DATA, _READ_ALL = RecvInput.ALL_DATA, RecvInput.READ_ALL


class RecvStream:
    """Puts the bytes of one stream in order.

    What arrives in order is queued and handed out as it came, without a copy: one piece per run of
    packets. Pieces after a gap wait in a sorted list, trimmed so that they do not overlap.
    """

    __slots__ = (
        "_credited",
        "_fragment_bytes",
        "_fragments",
        "_head_offset",
        "_pieces",
        "_starts",
        "error_code",
        "final_size",
        "read_offset",
        "received_to",
        "state",
        "stop_code",
        "stream_id",
        "window",
    )

    def __init__(self, stream_id: int, window: ReceiveWindow) -> None:
        self.stream_id = stream_id
        self.window = window
        self.state = _RECV
        self.received_to = 0  # everything below has arrived
        self.read_offset = 0  # everything below was read by the application
        self.final_size: int | None = None
        self.error_code: int | None = None  # of the peer's RESET_STREAM
        self.stop_code: int | None = None  # of our STOP_SENDING; data is discarded from then on
        self._credited = 0  # what `take_credit` has returned so far
        # A deque once there are many: most streams are few pieces, and an empty deque costs more than those.
        self._pieces: list[bytes | bytearray] | deque[bytes | bytearray] = []
        self._head_offset = 0  # how much of the first piece was read
        self._starts: list[int] = []
        self._fragments: list[bytes | bytearray] = []
        self._fragment_bytes = 0

    @property
    def readable(self) -> bool:
        """Whether `read` has bytes, or the end of the stream, to give."""
        return bool(self._pieces) or self.state is _DATA_RECVD

    @property
    def fin_reached(self) -> bool:
        """Whether the application has read everything up to the end of the stream."""
        return self.state is _DATA_READ

    @property
    def finished(self) -> bool:
        """Whether a terminal state is reached: neither side will say more about this part."""
        return self.state in RECV_TERMINAL

    def on_data(self, offset: int, data: bytes, fin: bool) -> int:
        """Take the content of a STREAM frame, or of a run of them; keeps `data`.

        Returns by how much the highest offset has grown, which counts against the connection's window.
        Raises FINAL_SIZE_ERROR and FLOW_CONTROL_ERROR, and INTERNAL_ERROR for a peer that cuts the
        stream into more small fragments than we keep.
        """
        end = offset + len(data)
        window = self.window
        if (fin and end < window.received) or self.final_size is not None:
            self._check_size(end, fin)
        increase = end - window.received
        if increase <= 0:
            increase = 0
        elif end <= window.limit:
            window.received = end
        else:
            window.check(increase)
        if fin:
            self.final_size = end
            self.state = RECV_TRANSITIONS[self.state, _RECV_FIN]
        state = self.state
        if state is _RECV or state is _SIZE_KNOWN:
            if data and self.stop_code is None:
                pieces = self._pieces
                if offset == self.received_to and len(pieces) < LISTED_PIECES and not self._starts:
                    # As most streams come.
                    if pieces and end - offset < SMALL_PIECE:
                        self._append(data)
                    else:
                        pieces.append(data)
                    self.received_to = end
                else:
                    self._store(offset, end, data)
            if state is _SIZE_KNOWN and (self.received_to == self.final_size or self.stop_code is not None):
                self.state = RECV_TRANSITIONS[_SIZE_KNOWN, _ALL_DATA]
                if self.stop_code is not None:
                    # Nobody reads the rest, and its flow control is settled: what is missing need not arrive.
                    self.state = RECV_TRANSITIONS[_DATA_RECVD, _READ_ALL]
        return increase

    def on_reset(self, error_code: int, final_size: int) -> int:
        """Take a RESET_STREAM; returns the growth of the highest offset, as `on_data` does.

        Everything not yet read is discarded, unless the whole stream has arrived already: then the
        reset has no effect. Raises FINAL_SIZE_ERROR and FLOW_CONTROL_ERROR.
        """
        self._check_size(final_size, fin=True)
        increase = final_size - self.window.received
        self.window.on_received(increase)
        self.final_size = final_size
        state = self.state
        self.state = next_recv_state(state, _RECV_RESET)
        if self.state is _RESET_RECVD and state is not _RESET_RECVD:
            self.error_code = error_code
            self._discard()
        return increase

    def acknowledge_reset(self) -> None:
        """The application was told of the reset. Raises StreamError if there is none."""
        self.state = next_recv_state(self.state, RecvInput.READ_RESET)

    def read(self, max_bytes: int | None = None) -> bytes:
        """Take up to `max_bytes` bytes (None: all there are), b"" if nothing is there.

        After a reset by the peer nothing is. Raises StreamError after `stop_sending`.
        """
        if self.stop_code is not None:
            raise StreamError(f"stream {self.stream_id} is no longer read")
        data = self._take(self.received_to - self.read_offset if max_bytes is None else max_bytes)
        self.read_offset += len(data)
        if self.state is _DATA_RECVD and self.read_offset == self.final_size:
            self.state = RECV_TRANSITIONS[_DATA_RECVD, _READ_ALL]
        return data

    def read_whole(self) -> bytes | None:
        """All of the stream if all of it is there and nothing of it was read; None otherwise."""
        if self.state is not _DATA_RECVD or self.read_offset:
            return None
        pieces = self._pieces
        data = bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.read_offset = self._credited = self.received_to
        self.state = RECV_TRANSITIONS[_DATA_RECVD, _READ_ALL]
        return data

    def stop_sending(self, error_code: int) -> bool:
        """The application reads no more: discard what is and will be there.

        True if a STOP_SENDING frame is of use, that is, while the peer may have more to send
        (RFC 9000 §3.5). Raises StreamError if the stream was stopped before.
        """
        if self.stop_code is not None:
            raise StreamError(f"stream {self.stream_id} was stopped before")
        self.stop_code = error_code
        self._discard()
        if self.state is _DATA_RECVD:
            self.state = next_recv_state(self.state, _READ_ALL)
        return self.wants_stop_sending

    @property
    def wants_stop_sending(self) -> bool:
        """Whether a STOP_SENDING frame (again) is of use."""
        open_ended = self.state is _RECV or self.state is _SIZE_KNOWN
        return open_ended and self.stop_code is not None

    def take_credit(self) -> int:
        """Bytes to give back to the connection's window since the last call.

        Those that were read; of a stream that was reset or stopped all that counted, since nobody will
        read them (RFC 9000 §4.5), arrived or not.
        """
        abandoned = self.error_code is not None or self.stop_code is not None
        consumed = self.window.received if abandoned else self.read_offset
        credit = consumed - self._credited
        self._credited = consumed
        return credit

    def _check_size(self, end: int, fin: bool) -> None:
        """RFC 9000 §4.5: the final size never changes, and nothing is beyond it."""
        known = self.final_size
        if known is None:
            known = self.window.received
            wrong = end < known
        else:
            wrong = end != known if fin else end > known
        if wrong:
            raise TransportError(
                TransportErrorCode.FINAL_SIZE_ERROR,
                f"stream {self.stream_id} ends at {end}, {known} bytes were known before",
            )

    def _store(self, offset: int, end: int, data: bytes) -> None:
        received_to = self.received_to
        if end <= received_to:
            return
        if offset > received_to:
            self._insert(offset, end, data)
            return
        self._append(data if offset == received_to else data[received_to - offset :])
        self.received_to = end
        if self._starts and self._starts[0] <= end:
            self._join_fragments()

    def _append(self, data: bytes | bytearray) -> None:
        pieces = self._pieces
        if len(data) < SMALL_PIECE and pieces:
            last = pieces[-1]
            if isinstance(last, bytearray) and len(last) < JOINED_PIECE:
                last += data
                return
            if len(last) < SMALL_PIECE:
                pieces[-1] = bytearray(last) + data
                return
        if len(pieces) >= LISTED_PIECES and isinstance(pieces, list):
            pieces = self._pieces = deque(pieces)
        pieces.append(data)

    def _join_fragments(self) -> None:
        """Move the fragments that are no longer behind a gap to the queue."""
        count = 0
        for start, data in zip(self._starts, self._fragments, strict=True):
            received_to = self.received_to
            if start > received_to:
                break
            count += 1
            self._fragment_bytes -= len(data)
            if start + len(data) > received_to:
                self._append(data[received_to - start :] if start < received_to else data)
                self.received_to = start + len(data)
        del self._starts[:count]
        del self._fragments[:count]

    def _insert(self, start: int, end: int, data: bytes) -> None:
        """Keep data that is behind a gap, without what is there already."""
        starts, fragments = self._starts, self._fragments
        index = bisect_right(starts, start)
        if index:
            before_end = starts[index - 1] + len(fragments[index - 1])
            if before_end >= end:
                return
            if before_end > start:
                data = data[before_end - start :]
                start = before_end
        # Fragments that are wholly inside the new data go; one that reaches over its end cuts it.
        stop = index
        while stop < len(starts) and starts[stop] < end:
            after_end = starts[stop] + len(fragments[stop])
            if after_end > end:
                data = data[: starts[stop] - start]
                break
            self._fragment_bytes -= len(fragments[stop])
            stop += 1
        if not data:
            return
        self._fragment_bytes += len(data)
        if index and len(data) < SMALL_PIECE and starts[index - 1] + len(fragments[index - 1]) == start:
            joined = fragments[index - 1]
            fragments[index - 1] = (joined if isinstance(joined, bytearray) else bytearray(joined)) + data
            del starts[index:stop], fragments[index:stop]
            return
        starts[index:stop] = [start]
        fragments[index:stop] = [data]
        if len(starts) > MAX_SMALL_FRAGMENTS + self._fragment_bytes // SMALL_PIECE:
            raise TransportError(
                TransportErrorCode.INTERNAL_ERROR, f"stream {self.stream_id} has too many fragments"
            )

    def _take(self, count: int) -> bytes:
        """Remove up to `count` bytes from the queue; one whole piece is returned as it is."""
        pieces = self._pieces
        if len(pieces) == 1 and not self._head_offset and len(pieces[0]) <= count:
            return bytes(pieces.pop())
        parts = []
        while pieces and count > 0:
            first, start = pieces[0], self._head_offset
            length = len(first) - start
            if length > count:
                parts.append(first[start : start + count])
                self._head_offset = start + count
                break
            count -= length
            parts.append(first[start:] if start else first)
            self._head_offset = 0
            del pieces[0]
        if len(parts) == 1:
            return bytes(parts[0])
        return b"".join(parts)

    def _discard(self) -> None:
        self._pieces.clear()
        self._head_offset = 0
        self._starts.clear()
        self._fragments.clear()
        self._fragment_bytes = 0
