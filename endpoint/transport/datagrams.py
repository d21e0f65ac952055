"""DATAGRAM frames (RFC 9221): the queue of those to be sent, and the limit on those that were received.

Nothing is ever sent again. What can't be sent or delivered soon enough is dropped, the oldest first where
there is a choice: it is worth the least to whoever uses datagrams.
"""

from collections import deque

from endpoint.errors import DatagramError, TransportError, TransportErrorCode
from endpoint.events import DatagramReceived, Event
from endpoint.wire.frame_writer import append_datagram
from endpoint.wire.varint import varint_length

# Datagrams that wait to be sent, and their bytes: a few bursts. More would only make them late.
MAX_QUEUED = 256
MAX_QUEUED_BYTES = 256 * 1024
# The same for those that the application has not taken yet.
MAX_UNREAD = 1024
MAX_UNREAD_BYTES = 1024 * 1024
# How many bytes datagrams may be ahead of streams while both have something to send: a burst, so that
# a few datagrams need not wait, and a flood of them gets half of what the path carries.
FAIR_LEAD = 16 * 1024


class Datagrams:
    """Both directions of one connection. Sizes are bytes.

    `has_data`: something waits to be sent. `max_frame_size` is what the peer takes, 0 if it takes none.
    `dropped_sending` and `dropped_receiving` count what was lost here and not on the way.
    """

    __slots__ = (
        "_events",
        "_lead",
        "_local_max_frame_size",
        "_queue",
        "_queued_bytes",
        "_unread",
        "_unread_bytes",
        "dropped_receiving",
        "dropped_sending",
        "max_frame_size",
    )

    def __init__(self, local_max_frame_size: int, events: deque[Event]) -> None:
        """`local_max_frame_size` is what we have announced as max_datagram_frame_size."""
        self._local_max_frame_size = local_max_frame_size
        self._events = events
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._unread = 0
        self._unread_bytes = 0
        # By how much datagrams are ahead of streams; see `FAIR_LEAD`.
        self._lead = 0
        self.max_frame_size = 0
        self.dropped_sending = 0
        self.dropped_receiving = 0

    # For the application.

    def max_size(self, room: int) -> int:
        """The longest datagram that can be sent in packets whose frames have `room` bytes; 0: none at all.

        RFC 9221 §3: the peer's limit counts the whole frame. One that fills its packet needs no length.
        """
        return max(0, self._limit(room))

    def send(self, data: bytes, room: int) -> bool:
        """Queue `data`; False if older ones had to be dropped for it.

        `room` is that of a packet on the present path. Raises DatagramError if the peer takes no
        datagrams, or none of this size, or if the path does not carry it.
        """
        limit = self._limit(room)
        if limit < 0:
            raise DatagramError("the peer does not accept datagrams")
        if len(data) > limit:
            raise DatagramError(f"{len(data)} bytes are too many, {limit} can be sent")
        queue = self._queue
        before = self.dropped_sending
        while queue and (len(queue) >= MAX_QUEUED or self._queued_bytes + len(data) > MAX_QUEUED_BYTES):
            self._queued_bytes -= len(queue.popleft())
            self.dropped_sending += 1
        queue.append(data)
        self._queued_bytes += len(data)
        return self.dropped_sending == before

    def on_taken(self, event: Event) -> None:
        """The application has got this event."""
        if isinstance(event, DatagramReceived):
            self._unread -= 1
            self._unread_bytes -= len(event.data)

    # For the way in.

    def on_frame(self, data: bytes, frame_size: int) -> None:
        """A DATAGRAM frame of `frame_size` bytes came. Raises PROTOCOL_VIOLATION (RFC 9221 §3)."""
        limit = self._local_max_frame_size
        if frame_size > limit:
            reason = f"DATAGRAM of {frame_size} bytes, the limit is {limit}" if limit else "not negotiated"
            raise TransportError(TransportErrorCode.PROTOCOL_VIOLATION, reason)
        if self._unread >= MAX_UNREAD or self._unread_bytes + len(data) > MAX_UNREAD_BYTES:
            # RFC 9221 §5.3: there is no flow control, so a slow application loses some.
            self.dropped_receiving += 1
            return
        self._unread += 1
        self._unread_bytes += len(data)
        self._events.append(DatagramReceived(data))

    # For the way out.

    @property
    def has_data(self) -> bool:
        """Whether anything waits."""
        return bool(self._queue)

    @property
    def go_first(self) -> bool:
        """Whether datagrams wait and are not too far ahead of streams."""
        return bool(self._queue) and self._lead < FAIR_LEAD

    def append(self, payload: bytearray, capacity: int, max_room: int) -> int:
        """Append what fits to a payload of at most `capacity` bytes; the number of frames.

        `max_room` is what a packet with nothing else in it holds: what does not even fit there is dropped,
        because the path has shrunk since it was queued.
        """
        queue = self._queue
        limit = self._limit(max_room)
        count = 0
        while queue:
            data = queue[0]
            size = len(data)
            room = capacity - len(payload)
            if size > limit:
                self.dropped_sending += 1
            elif 1 + varint_length(size) + size <= room:
                append_datagram(payload, data)
                count += 1
            elif size < room:
                # Up to the end of the packet. PADDING for the one or two bytes left can only come before.
                payload += bytes(room - 1 - size)
                append_datagram(payload, data, with_length=False)
                count += 1
            else:
                break
            queue.popleft()
            self._queued_bytes -= size
            self._lead += size
        return count

    def on_streams_sent(self, size: int, *, waiting: bool = True) -> None:
        """Streams have sent `size` bytes, and have more to send if `waiting`."""
        self._lead = max(0, self._lead - size) if waiting else 0

    def _limit(self, room: int) -> int:
        """`max_size`, and negative where not even an empty datagram can be sent."""
        return min(room - 1, self.max_frame_size - 1 - varint_length(self.max_frame_size))
