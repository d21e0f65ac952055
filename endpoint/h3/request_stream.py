"""Request streams (RFC 9114 §4.1, §6.1): the message that comes in, and the pair of both."""

from endpoint.h3.errors import H3ConnectionError, H3ErrorCode, H3StreamError
from endpoint.h3.events import (
    BodyReadable,
    Headers,
    HeadersReceived,
    InformationalReceived,
    RequestStopped,
    TrailersReceived,
)
from endpoint.h3.frames import FrameSplitter, FrameType, split_whole
from endpoint.h3.headers import (
    MessageError,
    expected_body,
    validate_request,
    validate_response,
    validate_trailers,
)
from endpoint.h3.message import Phase, Shared
from endpoint.h3.outgoing_message import OutgoingMessage

# What is read from QUIC while it is not known whether content comes next. Flow control does not cover it.
READ_AHEAD = 16 * 1024
_ALL = 1 << 62

# Members of enums by names of our own: to ask the class for one costs as much as a call (Python 3.11).
_HEADERS, _CONTENT, _TUNNEL = Phase.HEADERS, Phase.CONTENT, Phase.TUNNEL
_TRAILERS, _OVER = Phase.TRAILERS, Phase.OVER
_DATA = FrameType.DATA
# RFC 9114 §7.2.5: a server may push no more than MAX_PUSH_ID says, which we never send.
_PUSH_ERRORS = (H3ErrorCode.H3_FRAME_UNEXPECTED, H3ErrorCode.H3_ID_ERROR)  # by `is_client`


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
        "_whole",
        "phase",
        "stopped_before",
    )

    def __init__(self, shared: Shared, stream_id: int, method: bytes) -> None:
        """`method` of the request that this is the response to; b"" if this is the request."""
        self._shared = shared
        self._stream_id = stream_id
        self._method = method
        # None until the message turns out not to be one piece, as most are, with `_whole` as its content.
        self._frames: FrameSplitter | None = None
        self._whole = b""
        self.phase = _HEADERS
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
        return self.phase is _OVER

    @property
    def method(self) -> bytes:
        """Of the request; b"" until it has come."""
        return self._method

    def on_readable(self) -> None:
        """The stream has more."""
        if self._told or self.phase is _OVER or self._blocked_length is not None:
            return
        if self._frames is None:
            self.take_first(*self._shared.quic.read(self._stream_id, READ_AHEAD))
        elif self._frames.data_left:
            # Whatever came belongs to content; `read_content` takes it without a detour.
            self._tell_readable()
        else:
            self._advance(self._find_content())

    def resume(self) -> None:
        """The encoder stream has caught up with a field section of ours."""
        length, self._blocked_length = self._blocked_length, None
        assert length is not None
        self._on_headers(self._shared.qpack.resume(self._stream_id), length)
        if self._frames is None:
            self._after_section()
        elif not self._told:
            self._advance(self._parse() or self._find_content())

    def read_content(self, max_bytes: int | None) -> tuple[bytes, bool]:
        """See `H3Connection.read_body`."""
        if self.phase is _OVER:
            return b"", self._ended
        if max_bytes == 0:
            return b"", False
        if self._frames is None and self._blocked_length is not None:
            return b"", False
        if self._whole:
            content = self._whole
            if max_bytes is None or max_bytes >= len(content):
                self._whole = b""
                self._check_complete()
                self.phase = _OVER
                return content, True
            self._whole = b""
            self._split(content).data_left = len(content)
        frames, events = self._frames or self._split(), self._shared.events
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
            self.phase = _OVER
            return content, True
        if not content:
            self._told = False
            if self._ended:
                # The trailers have to be seen first; the end is for the next call.
                self._tell_readable()
        return content, False

    def take_first(self, data: bytes, fin: bool) -> None:
        """The first that comes of the stream, and whether it ends there: mostly nothing is left to be cut."""
        self._fin = fin
        whole = split_whole(data) if fin else None
        if whole is None or len(whole[0]) > self._shared.max_headers:
            self._split(data)
            self._advance(self._parse() or self._find_content())
            return
        section, content = whole
        self.take_whole(self._shared.qpack.decode(self._stream_id, section), len(section), content)

    def take_whole(self, headers: Headers | None, length: int, content: bytes) -> None:
        """A message that is one piece; `headers` of a section of `length` bytes, None if it has to wait."""
        self._fin = True
        self._whole = content
        if headers is None:
            self._blocked_length = length
        else:
            self._on_headers(headers, length)
            self._after_section()

    def is_told(self, content: bytes) -> None:
        """A message that is one piece was found right and told already, and `content` is left to be read."""
        self.phase = _CONTENT if content else _OVER
        self._fin = self._told = True
        self._ended = not content
        self._whole = content
        self._received = len(content)

    def _after_section(self) -> None:
        """Of a message that is one piece the header section is known now."""
        if self._whole:
            self._on_data(len(self._whole))
            self._fresh_head = None
            self._tell_readable()
        else:
            self._check_complete()
            self._advance(True)

    def _split(self, data: bytes = b"") -> FrameSplitter:
        """Go on frame by frame, from `data`."""
        frames = self._frames = FrameSplitter(
            max_headers=self._shared.max_headers,
            push_error=_PUSH_ERRORS[self._shared.is_client],
            on_ignored=None if self._shared.observer is None else self._on_ignored,
        )
        frames.feed(data)
        return frames

    def _advance(self, available: bool) -> None:
        """Say that content or the end is there, if it is `available`."""
        head, self._fresh_head = self._fresh_head, None
        if not available:
            return
        if head is not None and self._ended:
            head.ended = True
            self.phase = _OVER
        else:
            self._tell_readable()

    def _find_content(self) -> bool:
        """Read on up to content, or the end. All that came before is parsed, as far as that is possible."""
        frames = self._frames
        assert frames is not None
        while not self._fin and self._blocked_length is None:
            data, self._fin = self._shared.quic.read(self._stream_id, READ_AHEAD)
            if data:
                frames.feed(data)
            elif not self._fin:
                return False
            if self._parse():
                return True
        return False

    def _tell_readable(self) -> None:
        self._told = True
        self._shared.events.append(BodyReadable(self._stream_id))

    def _parse(self) -> bool:
        """Take frames up to content, of which some is here, or to the end; whether there was either."""
        if self._ended:
            return True
        frames = self._frames
        assert frames is not None
        while not frames.data_left:
            if self._blocked_length is not None:
                return False
            frame = frames.next_frame()
            if frame is None:
                return self._fin and self._on_end(frames)
            if frame[0] == _DATA:
                self._on_data(frames.data_left)
            else:
                self._on_section(frame[1])
        if frames.buffered:
            return True
        return self._fin and self._on_end(frames)

    def _on_data(self, length: int) -> None:
        """The header of a DATA frame."""
        phase = self.phase
        if phase is not _CONTENT and phase is not _TUNNEL:
            when = "before HEADERS" if phase is _HEADERS else "after trailers"
            raise H3ConnectionError(H3ErrorCode.H3_FRAME_UNEXPECTED, f"DATA {when}")
        if self._shared.observer is not None:
            self._shared.observer.data(self._stream_id, length, created=False)
        self._received += length
        if self._content_length is not None and self._received > self._content_length:
            raise _message_error(f"more content than the {self._content_length} bytes that it should have")

    def _on_section(self, section: bytes) -> None:
        """A HEADERS frame."""
        if self.phase is _TRAILERS or self.phase is _TUNNEL:
            when = "trailers" if self.phase is _TRAILERS else "CONNECT"
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
            if self.phase is _CONTENT:
                validate_trailers(headers)
                self.phase = _TRAILERS
                self._fresh_head = None
                shared.events.append(TrailersReceived(self._stream_id, headers))
            elif shared.is_client:
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
        shared.prioritize(self._stream_id, head.priority)
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
        self.phase = _TUNNEL if tunnel else _CONTENT
        self._fresh_head = HeadersReceived(self._stream_id, headers, False)
        self._shared.events.append(self._fresh_head)

    def _on_end(self, frames: FrameSplitter) -> bool:
        """The stream has ended: a message has, too (RFC 9114 §7.1), or this raises."""
        if not frames.at_boundary:
            raise H3ConnectionError(H3ErrorCode.H3_FRAME_ERROR, "the stream ends within a frame")
        self._check_complete()
        return True

    def _check_complete(self) -> None:
        """Nothing more comes: whether that is a message (RFC 9114 §4.1)."""
        if self.phase is _HEADERS:
            if self._shared.is_client:
                raise _message_error("the stream ends without a final response")
            raise H3StreamError(H3ErrorCode.H3_REQUEST_INCOMPLETE, "the stream ends without a request")
        if self._content_length is not None and self._received != self._content_length:
            raise _message_error(f"{self._received} bytes of content, not {self._content_length}")
        self._ended = True

    def _on_ignored(self, frame_type: int, length: int) -> None:
        if self._shared.observer is not None:
            self._shared.observer.other_frame(self._stream_id, frame_type, length, created=False)


class RequestStream:
    """Both messages of one exchange."""

    __slots__ = ("incoming", "outgoing", "stream_id")

    def __init__(
        self, shared: Shared, stream_id: int, method: bytes, outgoing: OutgoingMessage | None = None
    ) -> None:
        """`method` of the request, b"" if it has not come; `outgoing` if something was sent already."""
        self.stream_id = stream_id
        self.incoming = IncomingMessage(shared, stream_id, method)
        self.outgoing = outgoing or OutgoingMessage(shared, stream_id)

    @property
    def over(self) -> bool:
        """Whether nothing is left to read or to write."""
        return self.incoming.over and self.outgoing.over


def _message_error(reason: str) -> H3StreamError:
    return H3StreamError(H3ErrorCode.H3_MESSAGE_ERROR, reason)
