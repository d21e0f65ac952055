"""The message that we send on a request stream (RFC 9114 §4.1)."""

from endpoint.errors import StreamError
from endpoint.h3.events import Headers
from endpoint.h3.frames import FrameType, frame_header
from endpoint.h3.headers import (
    RequestHead,
    expected_body,
    field_section_size,
    validate_response,
    validate_trailers,
)
from endpoint.h3.message import Phase, Shared

# Below this DATA header and content are one write: `SendStream` copies such small ones anyway.
SMALL_CONTENT = 4096
_ALL = 1 << 62

# See `request_stream`: names of our own are found faster.
_HEADERS, _CONTENT, _TUNNEL, _OVER = Phase.HEADERS, Phase.CONTENT, Phase.TUNNEL, Phase.OVER
_DATA = int(FrameType.DATA)


class OutgoingMessage:
    """Writes one request or response. Wrong use raises StreamError, an invalid header ValueError."""

    __slots__ = ("_announced", "_left", "_shared", "_stream_id", "_unsent", "_unsent_fin", "phase")

    def __init__(self, shared: Shared, stream_id: int) -> None:
        self._shared = shared
        self._stream_id = stream_id
        self.phase = _HEADERS
        self._announced = False  # the one DATA frame has the length of the content
        self._left = 0  # bytes that the present DATA frame still needs
        # Of frame headers and HEADERS, what QUIC has not taken yet.
        self._unsent = b""
        self._unsent_fin = False

    @property
    def over(self) -> bool:
        """Whether the end was written, or nothing more may be."""
        return self.phase is _OVER and not self._unsent

    @property
    def room(self) -> int:
        """Bytes of content that can be written now."""
        if self.phase is not _CONTENT and self.phase is not _TUNNEL:
            return 0
        overhead = len(self._unsent) + (0 if self._left else len(frame_header(_DATA, _ALL - 1)))
        return max(0, self._shared.quic.writable(self._stream_id) - overhead)

    def send_request(self, headers: Headers, head: RequestHead, *, end: bool) -> None:
        """The header section of a request, which was validated."""
        tunnel = head.method == b"CONNECT"
        self._send_head(headers, head.size, head.content_length, tunnel=tunnel, end=end)

    def send_response(self, headers: Headers, method: bytes, content: bytes = b"", *, end: bool) -> int:
        """An interim or the final response to a request with `method`; how much of `content` was taken."""
        head = validate_response(headers)
        if head.status >= 200:
            tunnel = method == b"CONNECT" and head.status < 300
            length = expected_body(method, head)
            return self._send_head(headers, head.size, length, content, tunnel=tunnel, end=end)
        if end or content:
            raise StreamError("an interim response is not the end, and has no content")
        self._write(self._shared.headers_frame(self._stream_id, headers, head.size), fin=False)
        return 0

    def send_trailers(self, headers: Headers, *, end: bool) -> None:
        """The trailer section, which is the end."""
        validate_trailers(headers)
        if not end:
            raise StreamError("trailers are the end of a message")
        if self.phase is not _CONTENT:
            raise StreamError(f"stream {self._stream_id} takes no trailers now")
        self._check_complete(0)
        size = field_section_size(headers)
        self._write(self._shared.headers_frame(self._stream_id, headers, size), fin=True)
        self.phase = _OVER

    def send_content(self, data: bytes | bytearray | memoryview, *, end: bool) -> int:
        """See `H3Connection.send_body`."""
        if self.phase is not _CONTENT and self.phase is not _TUNNEL:
            raise StreamError(f"stream {self._stream_id} takes no content now")
        size, left = len(data), self._left
        if self._announced and size > left:
            raise StreamError(f"{size} bytes of content, but only {left} more were announced")
        if end:
            self._check_complete(size)
        if self._unsent and not self.flush():
            if end and not size:
                # All of nothing was taken: nobody will come again with the end.
                self._unsent_fin = True
                self.phase = _OVER
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
            self.phase = _OVER
        return taken

    def flush(self) -> bool:
        """Write what waits; whether that was all."""
        if self._unsent:
            taken = self._shared.quic.write(self._stream_id, self._unsent, fin=self._unsent_fin)
            self._unsent = self._unsent[taken:]
        return not self._unsent

    def abandon(self) -> None:
        """Nothing more is written: the stream was reset, by whichever side."""
        self.phase = _OVER
        self._unsent = b""

    def _send_frame(self, data: bytes | bytearray | memoryview, size: int, end: bool) -> int:
        """A DATA frame, whose header promises all of `data` even if only a part is taken now."""
        header = frame_header(_DATA, size)
        if self._shared.observer is not None:
            self._shared.observer.data(self._stream_id, size, created=True)
        if size < SMALL_CONTENT:
            taken = self._write(header + data, fin=end, keep=len(header)) - len(header)
        elif self._write(header, fin=False) == len(header):
            taken = self._shared.quic.write(self._stream_id, data, fin=end)
        else:
            taken = 0
        self._left = size - max(taken, 0)
        return max(taken, 0)

    def _send_head(
        self,
        headers: Headers,
        section_size: int,
        content_length: int | None,
        content: bytes = b"",
        *,
        tunnel: bool,
        end: bool,
    ) -> int:
        """Write the header section, and `content` with it if that is little; how much of it was taken."""
        if self.phase is not _HEADERS:
            raise StreamError(f"stream {self._stream_id} has a header section already")
        size = len(content)
        if content_length is not None and (size > content_length or (end and size < content_length)):
            raise StreamError(f"the content-length promises {content_length} bytes, not {size}")
        frame = self._shared.headers_frame(self._stream_id, headers, section_size)
        self._announced = content_length is not None
        self._left = size if content_length is None else content_length
        if self._left:
            # All content that is announced is one frame: with its header out, the rest goes to QUIC as it is.
            frame += frame_header(_DATA, self._left)
            if self._shared.observer is not None:
                self._shared.observer.data(self._stream_id, self._left, created=True)
        self.phase = _TUNNEL if tunnel else _CONTENT
        if size >= SMALL_CONTENT or (size and self._unsent):
            self._write(frame, fin=False)
            return self.send_content(content, end=end)
        keep = len(frame) if size else None
        taken = max(0, self._write(frame + content, fin=end, keep=keep) - len(frame))
        self._left -= taken
        if end and taken == size:
            self.phase = _OVER
        return taken

    def go_on(self, frames: bytes, size: int, taken: int, *, announced: bool) -> int:
        """A message of one piece was begun: of `frames` and content of `size` only `taken` bytes are out.

        `announced`: there is a content-length. Returns how many bytes of the content were taken.
        """
        sent = max(0, taken - len(frames))
        self._unsent = frames[taken:]
        self._unsent_fin = not size
        self._announced = announced
        self._left = size - sent
        self.phase = _CONTENT if self._left else _OVER
        return sent

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
