"""Request streams (RFC 9114 §4.1, §6.1): the message that comes in and the one that goes out."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from endpoint.errors import StreamError
from endpoint.h3.errors import H3ConnectionError, H3ErrorCode, H3StreamError
from endpoint.h3.events import (
    BodyReadable,
    H3Event,
    Headers,
    HeadersReceived,
    InformationalReceived,
    RequestStopped,
    TrailersReceived,
)
from endpoint.h3.frames import FrameSplitter, FrameType, frame_header
from endpoint.h3.headers import (
    MessageError,
    expected_body,
    field_section_size,
    validate_request,
    validate_response,
    validate_trailers,
)
from endpoint.h3.settings import INITIAL_SETTINGS, Settings

if TYPE_CHECKING:
    from endpoint.h3.qpack import Qpack
    from endpoint.h3.trace import H3Observer
    from endpoint.transport.connection import Connection

# What is read from QUIC while it is not known whether content comes next. Flow control does not cover it.
READ_AHEAD = 16 * 1024
# Of a field section, where no limit was set: something has to bound what we keep until it is whole.
MAX_FIELD_SECTION = 1024 * 1024
# Below this DATA header and content are one write: `SendStream` copies such small ones anyway.
SMALL_CONTENT = 4096
_ALL = 1 << 62


class Phase(Enum):
    """How far a message has got, in either direction."""

    HEADERS = auto()  # nothing yet, or interim responses
    CONTENT = auto()  # the header section is complete: DATA or trailers come next
    TUNNEL = auto()  # RFC 9114 §4.4: CONNECT, after which there is nothing but DATA
    TRAILERS = auto()  # complete but for the end of the stream
    OVER = auto()


@dataclass(slots=True, kw_only=True)
class Shared:
    """What the request streams of a connection have in common."""

    quic: "Connection"
    qpack: "Qpack"
    events: list[H3Event]
    settings: Settings
    # Remembered, then real; those that hold before (RFC 9114 §7.2.4.2) if None.
    peer_settings: Settings | None
    observer: "H3Observer | None"
    # Server: a request has come, and is to get its place in the order of sending.
    prioritize: Callable[[int, Headers], None]


class IncomingMessage:
    """Reads one request or response. Raises H3StreamError and H3ConnectionError for what is wrong with it."""

    __slots__ = (
        "_blocked_length",
        "_content_length",
        "_ended",
        "_fin",
        "_frames",
        "_fresh_head",
        "_method",
        "_received",
        "_shared",
        "_stream_id",
        "_told",
        "phase",
        "stopped_before",
    )

    def __init__(self, shared: Shared, stream_id: int, method: bytes) -> None:
        """`method` of the request that this is the response to; b"" if this is the request."""
        self._shared = shared
        self._stream_id = stream_id
        self._method = method
        longest = shared.settings.max_field_section_size
        self._frames = FrameSplitter(
            max_headers=MAX_FIELD_SECTION if longest is None else longest,
            # RFC 9114 §7.2.5: a server may push no more than MAX_PUSH_ID says, which we never send.
            push_error=H3ErrorCode.H3_ID_ERROR if shared.quic.is_client else H3ErrorCode.H3_FRAME_UNEXPECTED,
            on_ignored=None if shared.observer is None else self._on_ignored,
        )
        self.phase = Phase.HEADERS
        self._fin = False  # of the stream
        self._ended = False  # of the message, and all of it is parsed
        self._told = False  # BodyReadable
        self._blocked_length: int | None = None  # of the field section that waits for the encoder stream
        self._fresh_head: HeadersReceived | None = None
        self._content_length: int | None = None
        self._received = 0  # bytes of content that DATA frames have announced
        # Server: STOP_SENDING that came before the request, and is told after it.
        self.stopped_before: int | None = None

    @property
    def over(self) -> bool:
        """Whether there is nothing more to read."""
        return self.phase is Phase.OVER

    @property
    def method(self) -> bytes:
        """Of the request; b"" until it has come."""
        return self._method

    def on_readable(self) -> None:
        """The stream has more."""
        if self._told or self.phase is Phase.OVER or self._blocked_length is not None:
            return
        if self._frames.data_left:
            # Whatever came belongs to content; `read_content` takes it without a detour.
            self._tell_readable()
        else:
            self._advance()

    def resume(self) -> None:
        """The encoder stream has caught up with a field section of ours."""
        length, self._blocked_length = self._blocked_length, None
        assert length is not None
        self._on_headers(self._shared.qpack.resume(self._stream_id, length), length)
        if not self._told:
            self._advance()

    def read_content(self, max_bytes: int | None) -> tuple[bytes, bool]:
        """See `H3Connection.read_body`."""
        if self.phase is Phase.OVER:
            return b"", self._ended
        if max_bytes == 0:
            return b"", False
        frames, events = self._frames, self._shared.events
        told_before = len(events)
        room = _ALL if max_bytes is None else max_bytes
        parts: list[bytes] = []
        while room:
            if not self._parse():
                # What there is goes out before more is asked for: one piece, as QUIC has it, is not copied.
                if parts or self._fin or self._blocked_length is not None:
                    break
                data, self._fin = self._shared.quic.read(self._stream_id, max_bytes)
                if not data and not self._fin:
                    break
                if data and len(data) <= frames.data_left:
                    frames.data_left -= len(data)
                    parts.append(data)
                    room -= len(data)
                else:
                    frames.feed(data)
            elif self._ended:
                break
            else:
                parts.append(frames.take_data(room))
                room -= len(parts[-1])
        content = parts[0] if len(parts) == 1 else b"".join(parts)
        if self._ended and len(events) == told_before:
            self.phase = Phase.OVER
            return content, True
        if not content:
            self._told = False
            if self._ended:
                # The trailers have to be seen first; the end is for the next call.
                self._tell_readable()
        return content, False

    def _advance(self) -> None:
        """Go on up to content, or the end, and say that it is there."""
        available = self._find_content()
        head, self._fresh_head = self._fresh_head, None
        if not available:
            return
        if head is not None and self._ended:
            head.ended = True
            self.phase = Phase.OVER
        else:
            self._tell_readable()

    def _find_content(self) -> bool:
        while not self._parse():
            if self._fin or self._blocked_length is not None:
                return False
            data, self._fin = self._shared.quic.read(self._stream_id, READ_AHEAD)
            if data:
                self._frames.feed(data)
            elif not self._fin:
                return False
        return True

    def _tell_readable(self) -> None:
        self._told = True
        self._shared.events.append(BodyReadable(self._stream_id))

    def _parse(self) -> bool:
        """Take frames up to content, of which some is here, or to the end; whether there was either."""
        if self._ended:
            return True
        frames = self._frames
        while not frames.data_left:
            if self._blocked_length is not None:
                return False
            frame = frames.next_frame()
            if frame is None:
                return self._fin and self._on_end()
            if frame[0] == FrameType.DATA:
                self._on_data(frames.data_left)
            else:
                self._on_section(frame[1])
        if frames.buffered:
            return True
        return self._fin and self._on_end()

    def _on_data(self, length: int) -> None:
        """The header of a DATA frame."""
        phase = self.phase
        if phase is not Phase.CONTENT and phase is not Phase.TUNNEL:
            when = "before HEADERS" if phase is Phase.HEADERS else "after trailers"
            raise H3ConnectionError(H3ErrorCode.H3_FRAME_UNEXPECTED, f"DATA {when}")
        if self._shared.observer is not None:
            self._shared.observer.data(self._stream_id, length, created=False)
        self._received += length
        if self._content_length is not None and self._received > self._content_length:
            raise _message_error(f"more content than the {self._content_length} bytes that it should have")

    def _on_section(self, section: bytes) -> None:
        """A HEADERS frame."""
        if self.phase is Phase.TRAILERS or self.phase is Phase.TUNNEL:
            when = "trailers" if self.phase is Phase.TRAILERS else "CONNECT"
            raise H3ConnectionError(H3ErrorCode.H3_FRAME_UNEXPECTED, f"HEADERS after {when}")
        headers = self._shared.qpack.decode(self._stream_id, section)
        if headers is None:
            self._blocked_length = len(section)
        else:
            self._on_headers(headers, len(section))

    def _on_headers(self, headers: Headers, length: int) -> None:
        shared = self._shared
        if shared.observer is not None:
            shared.observer.headers(self._stream_id, headers, length, created=False)
        try:
            if self.phase is Phase.CONTENT:
                validate_trailers(headers)
                self.phase = Phase.TRAILERS
                self._fresh_head = None
                shared.events.append(TrailersReceived(self._stream_id, headers))
            elif shared.quic.is_client:
                self._on_response(headers)
            else:
                self._on_request(headers)
        except MessageError as error:
            raise _message_error(str(error)) from None

    def _on_request(self, headers: Headers) -> None:
        shared = self._shared
        extended = shared.settings.enable_connect_protocol
        head = validate_request(headers, extended_connect=extended)
        self._method = head.method
        self._content_length = head.content_length
        shared.prioritize(self._stream_id, headers)
        self._on_head(headers, tunnel=head.method == b"CONNECT")
        if self.stopped_before is not None:
            shared.events.append(RequestStopped(self._stream_id, self.stopped_before))

    def _on_response(self, headers: Headers) -> None:
        head = validate_response(headers)
        if head.status < 200:
            self._shared.events.append(InformationalReceived(self._stream_id, headers))
            return
        self._content_length = expected_body(self._method, head)
        self._on_head(headers, tunnel=self._method == b"CONNECT" and head.status < 300)

    def _on_head(self, headers: Headers, *, tunnel: bool) -> None:
        self.phase = Phase.TUNNEL if tunnel else Phase.CONTENT
        self._fresh_head = HeadersReceived(self._stream_id, headers, False)
        self._shared.events.append(self._fresh_head)

    def _on_end(self) -> bool:
        """The stream has ended: whether a message has (RFC 9114 §4.1, §7.1)."""
        if not self._frames.at_boundary:
            raise H3ConnectionError(H3ErrorCode.H3_FRAME_ERROR, "the stream ends within a frame")
        if self.phase is Phase.HEADERS:
            if self._shared.quic.is_client:
                raise _message_error("the stream ends without a final response")
            raise H3StreamError(H3ErrorCode.H3_REQUEST_INCOMPLETE, "the stream ends without a request")
        if self._content_length is not None and self._received != self._content_length:
            raise _message_error(f"{self._received} bytes of content, not {self._content_length}")
        self._ended = True
        return True

    def _on_ignored(self, frame_type: int, length: int) -> None:
        if self._shared.observer is not None:
            self._shared.observer.other_frame(self._stream_id, frame_type, length, created=False)


class OutgoingMessage:
    """Writes one request or response. Wrong use raises StreamError, an invalid header ValueError."""

    __slots__ = ("_announced", "_left", "_shared", "_stream_id", "_unsent", "_unsent_fin", "phase")

    def __init__(self, shared: Shared, stream_id: int) -> None:
        self._shared = shared
        self._stream_id = stream_id
        self.phase = Phase.HEADERS
        self._announced = False  # the one DATA frame has the length of the content
        self._left = 0  # bytes that the present DATA frame still needs
        # Of frame headers and HEADERS, what QUIC has not taken yet.
        self._unsent = b""
        self._unsent_fin = False

    @property
    def over(self) -> bool:
        """Whether the end was written, or nothing more may be."""
        return self.phase is Phase.OVER and not self._unsent

    @property
    def room(self) -> int:
        """Bytes of content that can be written now."""
        if self.phase is not Phase.CONTENT and self.phase is not Phase.TUNNEL:
            return 0
        overhead = len(self._unsent) + (0 if self._left else len(frame_header(FrameType.DATA, _ALL - 1)))
        return max(0, self._shared.quic.writable(self._stream_id) - overhead)

    def send_request(self, headers: Headers, *, end: bool) -> bytes:
        """The header section of a request; returns its method."""
        peer = self._shared.peer_settings or INITIAL_SETTINGS
        head = validate_request(headers, extended_connect=peer.enable_connect_protocol)
        self._send_head(headers, head.content_length, tunnel=head.method == b"CONNECT", end=end)
        return head.method

    def send_response(self, headers: Headers, method: bytes, *, end: bool) -> None:
        """The header section of an interim or the final response to a request with `method`."""
        head = validate_response(headers)
        if head.status >= 200:
            tunnel = method == b"CONNECT" and head.status < 300
            self._send_head(headers, expected_body(method, head), tunnel=tunnel, end=end)
        elif end:
            raise StreamError("an interim response is not the end")
        else:
            self._write(self._headers_frame(headers), fin=False)

    def send_trailers(self, headers: Headers, *, end: bool) -> None:
        """The trailer section, which is the end."""
        validate_trailers(headers)
        if not end:
            raise StreamError("trailers are the end of a message")
        if self.phase is not Phase.CONTENT:
            raise StreamError(f"stream {self._stream_id} takes no trailers now")
        self._check_complete(0)
        self._write(self._headers_frame(headers), fin=True)
        self.phase = Phase.OVER

    def send_content(self, data: bytes | bytearray | memoryview, *, end: bool) -> int:
        """See `H3Connection.send_body`."""
        if self.phase is not Phase.CONTENT and self.phase is not Phase.TUNNEL:
            raise StreamError(f"stream {self._stream_id} takes no content now")
        size, left = len(data), self._left
        if self._announced and size > left:
            raise StreamError(f"{size} bytes of content, but only {left} more were announced")
        if end:
            self._check_complete(size)
        if self._unsent and not self.flush():
            return 0
        if size <= left or not size:
            taken = self._shared.quic.write(self._stream_id, data, fin=end)
            self._left = left - taken
        elif left:
            # What was not taken the last time, and more: the rest gets a frame of its own.
            view = memoryview(data)
            taken = self.send_content(view[:left], end=False)
            if taken == left:
                return taken + self.send_content(view[left:], end=end)
        else:
            taken = self._send_frame(data, size, end)
        if end and taken == size and not self._unsent:
            self.phase = Phase.OVER
        return taken

    def flush(self) -> bool:
        """Write what waits; whether that was all."""
        if self._unsent:
            taken = self._shared.quic.write(self._stream_id, self._unsent, fin=self._unsent_fin)
            self._unsent = self._unsent[taken:]
        return not self._unsent

    def abandon(self) -> None:
        """Nothing more is written: the stream was reset, by whichever side."""
        self.phase = Phase.OVER
        self._unsent = b""

    def _send_frame(self, data: bytes | bytearray | memoryview, size: int, end: bool) -> int:
        """A DATA frame, whose header promises all of `data` even if only a part is taken now."""
        header = frame_header(FrameType.DATA, size)
        self._trace_data(size)
        if size < SMALL_CONTENT:
            taken = self._write(header + data, fin=end, keep=len(header)) - len(header)
        elif self._write(header, fin=False) == len(header):
            taken = self._shared.quic.write(self._stream_id, data, fin=end)
        else:
            taken = 0
        self._left = size - max(taken, 0)
        return max(taken, 0)

    def _send_head(self, headers: Headers, content_length: int | None, *, tunnel: bool, end: bool) -> None:
        if self.phase is not Phase.HEADERS:
            raise StreamError(f"stream {self._stream_id} has a header section already")
        if end and content_length:
            raise StreamError(f"the content-length promises {content_length} bytes")
        frame = self._headers_frame(headers)
        if content_length is not None:
            self._announced = True
            self._left = content_length
            if content_length:
                # All content is one frame: with its header out, the rest goes to QUIC as it is.
                frame += frame_header(FrameType.DATA, content_length)
                self._trace_data(content_length)
        self._write(frame, fin=end)
        if end:
            self.phase = Phase.OVER
        else:
            self.phase = Phase.TUNNEL if tunnel else Phase.CONTENT

    def _headers_frame(self, headers: Headers) -> bytes:
        shared = self._shared
        peer = shared.peer_settings
        if peer is not None and peer.max_field_section_size is not None:
            size = field_section_size(headers)
            if size > peer.max_field_section_size:
                raise StreamError(f"{size} bytes of fields; the peer takes {peer.max_field_section_size}")
        section = shared.qpack.encode(self._stream_id, headers)
        if shared.observer is not None:
            shared.observer.headers(self._stream_id, headers, len(section), created=True)
        return frame_header(FrameType.HEADERS, len(section)) + section

    def _check_complete(self, size: int) -> None:
        """Raises StreamError if the message can't end after `size` more bytes."""
        if self._left > size:
            raise StreamError(f"{self._left - size} bytes of announced content are missing")

    def _write(self, data: bytes, *, fin: bool, keep: int | None = None) -> int:
        """Write; what is not taken waits, but for content, which begins after `keep` bytes if given."""
        if self._unsent:
            self._unsent += data
            self._unsent_fin = fin
            return 0
        taken = self._shared.quic.write(self._stream_id, data, fin=fin)
        if taken < len(data):
            self._unsent = data[taken:keep]
            self._unsent_fin = fin and keep is None
        return taken

    def _trace_data(self, length: int) -> None:
        if self._shared.observer is not None:
            self._shared.observer.data(self._stream_id, length, created=True)


class RequestStream:
    """Both messages of one exchange."""

    __slots__ = ("incoming", "outgoing", "stream_id")

    def __init__(
        self, shared: Shared, stream_id: int, outgoing: OutgoingMessage, method: bytes = b""
    ) -> None:
        """`method` of the request that we sent as `outgoing`; b"" at a server."""
        self.stream_id = stream_id
        self.incoming = IncomingMessage(shared, stream_id, method)
        self.outgoing = outgoing

    @property
    def over(self) -> bool:
        """Whether nothing is left to read or to write."""
        return self.incoming.over and self.outgoing.over


def _message_error(reason: str) -> H3StreamError:
    return H3StreamError(H3ErrorCode.H3_MESSAGE_ERROR, reason)
