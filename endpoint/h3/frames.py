"""HTTP/3 frames (RFC 9114 §7): types, where each may be, cutting a stream into them, writing them."""

from collections.abc import Callable, Mapping
from enum import IntEnum

from endpoint.errors import TransportError
from endpoint.h3.errors import H3ConnectionError, H3Error, H3ErrorCode, H3StreamError
from endpoint.wire.varint import encode_varint, read_varint


class FrameType(IntEnum):
    """RFC 9114 §11.2.1, RFC 9218 §7."""

    DATA = 0x00
    HEADERS = 0x01
    CANCEL_PUSH = 0x03
    SETTINGS = 0x04
    PUSH_PROMISE = 0x05
    GOAWAY = 0x07
    MAX_PUSH_ID = 0x0D
    PRIORITY_UPDATE = 0xF0700
    PRIORITY_UPDATE_PUSH = 0xF0701


# RFC 9114 §7.2.8: frames of HTTP/2 that have no meaning here. Their receipt is an error.
HTTP2_FRAMES = frozenset((0x02, 0x06, 0x08, 0x09))
_KNOWN = frozenset(FrameType) | HTTP2_FRAMES

# How long the payload of a frame may be that we keep until it is whole.
MAX_SETTINGS = 16 * 1024
MAX_PRIORITY_UPDATE = 1024
_MAX_INTEGER = 8

# What may be on a control stream, by who sends it (RFC 9114 §7, table 1), with the longest payload.
# PUSH_PROMISE, whose place is a request stream, is in none of the tables: nobody may push (§4.6).
FROM_SERVER_ON_CONTROL: Mapping[int, int] = {
    FrameType.CANCEL_PUSH: _MAX_INTEGER,
    FrameType.SETTINGS: MAX_SETTINGS,
    FrameType.GOAWAY: _MAX_INTEGER,
}
FROM_CLIENT_ON_CONTROL: Mapping[int, int] = {
    **FROM_SERVER_ON_CONTROL,
    FrameType.MAX_PUSH_ID: _MAX_INTEGER,
    FrameType.PRIORITY_UPDATE: MAX_PRIORITY_UPDATE,
    FrameType.PRIORITY_UPDATE_PUSH: MAX_PRIORITY_UPDATE,
}
# Their payload is one integer: a longer one is not too much, but wrong.
_INTEGER_FRAMES = frozenset((FrameType.CANCEL_PUSH, FrameType.GOAWAY, FrameType.MAX_PUSH_ID))

# Frames without effect that one stream may have (RFC 9114 §10.5): unknown types, and DATA without content.
MAX_IGNORED_FRAMES = 1000


def grease_value(seed: int) -> int:
    """A number that means nothing wherever types and identifiers are told (RFC 9114 §7.2.8)."""
    return 0x1F * (seed % 0x1_0000) + 0x21


def encode_frame(frame_type: int, payload: bytes) -> bytes:
    """A whole frame."""
    return frame_header(frame_type, len(payload)) + payload


def frame_header(frame_type: int, length: int) -> bytes:
    """Type and length, which is all of a frame that comes before its payload."""
    if frame_type < 0x40:
        if length < 0x40:
            return bytes((frame_type, length))
        if length < 0x4000:
            return bytes((frame_type, length >> 8 | 0x40, length & 0xFF))
    return encode_varint(frame_type) + encode_varint(length)


def split_whole(stream: bytes) -> tuple[bytes, bytes] | None:
    """A field section and content, if the bytes of a request stream are just that: HEADERS, and DATA or none.

    So are most streams that come at once. None for any other: a `FrameSplitter` tells what they are.
    """
    size = len(stream)
    if size < 2 or stream[0] != _HEADERS:
        return None
    length, start = stream[1], 2
    if length >= 0x40:
        # Of more than two bytes, or more than it needs: nobody does that with so little.
        if length >= 0x80 or size < 3:
            return None
        length, start = (length & 0x3F) << 8 | stream[2], 3
    end = start + length
    section = stream[start:end]
    if end >= size - 2:
        return (section, b"") if end == size else None
    length, start = stream[end + 1], end + 2
    if length >= 0x40:
        if length >= 0x80:
            return None
        length, start = (length & 0x3F) << 8 | stream[start], start + 1
    return (section, stream[start:]) if stream[end] == _DATA and 0 < length == size - start else None


def parse_integer(payload: bytes) -> int:
    """The payload of GOAWAY, CANCEL_PUSH and MAX_PUSH_ID. Raises H3ConnectionError (H3_FRAME_ERROR)."""
    try:
        value, end = read_varint(payload, 0, len(payload))
    except TransportError:
        end = -1
    if end != len(payload):
        raise H3ConnectionError(H3ErrorCode.H3_FRAME_ERROR, "a frame whose payload is not one integer")
    return value


# See `request_stream`: names of our own are found faster, and plain numbers compared faster.
_DATA, _HEADERS = int(FrameType.DATA), int(FrameType.HEADERS)


class FrameSplitter:
    """Cuts one stream into frames, from pieces as they come.

    Content is not collected: of a DATA frame `next_frame` tells the header, and `data_left` is then what
    `take_data` and the caller are to take before the next frame. Of a HEADERS frame that is longer than
    `max_headers` none is taken. Frames of unknown type are skipped as they come.
    """

    __slots__ = (
        "_buffer",
        "_ignored",
        "_max_headers",
        "_on_ignored",
        "_permitted",
        "_pos",
        "_push_error",
        "_settings_first",
        "_skip",
        "data_left",
    )

    def __init__(
        self,
        permitted: Mapping[int, int] | None = None,
        *,
        max_headers: int = 0,
        push_error: H3ErrorCode = H3ErrorCode.H3_FRAME_UNEXPECTED,
        on_ignored: Callable[[int, int], None] | None = None,
    ) -> None:
        """`permitted` are frames of a control stream; None: it is a request stream, with DATA and HEADERS.

        `push_error` is what a PUSH_PROMISE on it is. `on_ignored` is told type and length of frames that are
        of no known type.
        """
        self._permitted = permitted
        self._max_headers = max_headers
        self._push_error = push_error
        self._on_ignored = on_ignored
        # RFC 9114 §6.2.1: nothing comes before SETTINGS, not even frames that are to be ignored.
        self._settings_first = permitted is not None
        self._buffer = b""
        self._pos = 0
        self._skip = 0  # bytes of an unknown frame still to come
        self._ignored = 0
        self.data_left = 0

    @property
    def buffered(self) -> int:
        """Bytes that came and are not taken."""
        return len(self._buffer) - self._pos

    @property
    def at_boundary(self) -> bool:
        """Whether what was fed ends where a frame ends, and all of it is taken."""
        return self._pos == len(self._buffer) and not self._skip and not self.data_left

    def feed(self, data: bytes) -> None:
        """More of the stream."""
        pos = self._pos
        self._buffer = self._buffer[pos:] + data if pos < len(self._buffer) else data
        self._pos = 0

    def take_data(self, limit: int) -> bytes:
        """Content of the DATA frame that `next_frame` told, as far as it is here and up to `limit` bytes."""
        pos = self._pos
        data = self._buffer[pos : pos + min(self.data_left, limit)]
        self._pos = pos + len(data)
        self.data_left -= len(data)
        return data

    def next_frame(self) -> tuple[int, bytes] | None:
        """Type and payload of the next frame; None if more has to be fed first.

        Raises H3ConnectionError for a frame that must not be here, and for too many without effect;
        H3StreamError for HEADERS that are too long.
        """
        while True:
            buffer, pos = self._buffer, self._pos
            end = len(buffer)
            if self._skip:
                skipped = min(self._skip, end - pos)
                self._skip -= skipped
                self._pos = pos = pos + skipped
                if self._skip:
                    return None
            if pos == end:
                return None
            if end - pos > 2 and buffer[pos] < 0x40 and buffer[pos + 1] < 0x80:
                # Nearly all headers: a type of one byte, a length of one or two.
                frame_type, length, start = buffer[pos], buffer[pos + 1], pos + 2
                if length >= 0x40:
                    length, start = (length & 0x3F) << 8 | buffer[start], start + 1
            else:
                try:
                    frame_type, start = read_varint(buffer, pos, end)
                    self._check(frame_type)
                    length, start = read_varint(buffer, start, end)
                except TransportError:
                    return None  # more is needed for the header
            if frame_type <= _HEADERS and self._permitted is None:
                if frame_type == _DATA:
                    self._pos = start
                    self.data_left = length
                    if not length:
                        self._ignore()
                    return frame_type, b""
                if length > self._max_headers:
                    raise H3StreamError(H3ErrorCode.H3_EXCESSIVE_LOAD, f"a field section of {length} bytes")
            elif self._check(frame_type, length):
                self._pos = start
                self._skip = length
                self._ignore()
                if self._on_ignored is not None:
                    self._on_ignored(frame_type, length)
                continue
            if end - start < length:
                return None
            self._pos = start + length
            self._settings_first = False
            return frame_type, buffer[start : start + length]

    def _check(self, frame_type: int, length: int = 0) -> bool:
        """Whether the frame is to be ignored. Raises if it, or its length, must not be."""
        permitted = self._permitted
        if permitted is None:
            if frame_type not in _KNOWN:
                return True
            if frame_type == FrameType.PUSH_PROMISE:
                raise H3ConnectionError(self._push_error, "PUSH_PROMISE, but nobody may push")
            if frame_type > _HEADERS:
                raise _unexpected(frame_type, "a request stream")
            return False
        if self._settings_first and frame_type != FrameType.SETTINGS:
            raise H3ConnectionError(
                H3ErrorCode.H3_MISSING_SETTINGS, f"a frame of type 0x{frame_type:x} before SETTINGS"
            )
        longest = permitted.get(frame_type)
        if longest is None:
            if frame_type in _KNOWN:
                raise _unexpected(frame_type, "a control stream")
            return True
        if length > longest:
            wrong = frame_type in _INTEGER_FRAMES
            code = H3ErrorCode.H3_FRAME_ERROR if wrong else H3ErrorCode.H3_EXCESSIVE_LOAD
            raise H3ConnectionError(code, f"frame of type 0x{frame_type:x} with {length} bytes")
        return False

    def _ignore(self) -> None:
        self._ignored += 1
        if self._ignored > MAX_IGNORED_FRAMES:
            raise H3ConnectionError(H3ErrorCode.H3_EXCESSIVE_LOAD, "too many frames without effect")


def _unexpected(frame_type: int, place: str) -> H3Error:
    name = FrameType(frame_type).name if frame_type not in HTTP2_FRAMES else f"HTTP/2 frame 0x{frame_type:x}"
    return H3ConnectionError(H3ErrorCode.H3_FRAME_UNEXPECTED, f"{name} on {place}")
