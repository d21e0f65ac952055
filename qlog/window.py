"""A window that moves over a stream of bytes, as wide as the value that is being read."""

import re
from collections.abc import Iterator

from qlog import scan

_NEXT_EVENT = re.compile(rb'[ \t\r\n]*,[ \t\r\n]*(?:\{[ \t\r\n]*"[^"\\]{0,40}"|\[)')


class Window:
    """Positions are indices from where the window stands; `offset` is the place in the whole stream."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._data = b""
        self._position = 0
        self._base = 0
        self.at_end = False
        self.too_long = False

    @property
    def offset(self) -> int:
        """Bytes of the stream before the window."""
        return self._base + self._position

    @property
    def size(self) -> int:
        """Bytes in the window."""
        return len(self._data) - self._position

    def fill(self, size: int) -> bool:
        """Widen the window to at least `size` bytes; whether it got that wide."""
        if self.size < size and not self.at_end:
            parts = [self._data[self._position :]]
            self._base += self._position
            self._position = 0
            have = len(parts[0])
            while have < size:
                chunk = next(self._chunks, None)
                if chunk is None:
                    self.at_end = True
                    break
                parts.append(chunk)
                have += len(chunk)
            self._data = b"".join(parts)
        return self.size >= size

    def peek(self) -> bytes:
        """The next byte that is no white space, b"" at the end of the stream. The space is skipped."""
        while True:
            self._position = scan.skip_space(self._data, self._position)
            if self._position < len(self._data):
                return self._data[self._position : self._position + 1]
            if not self.fill(1):
                return b""

    def accept(self, byte: bytes) -> bool:
        """Take `byte` if it comes next, space apart."""
        if self.peek() != byte:
            return False
        self._position += 1
        return True

    def take_value(self, limit: int) -> bytes | None:
        """The JSON value that comes next; None, and nothing taken, if it has no end within `limit` bytes."""
        self.peek()
        wanted = 1 << 12
        while True:
            wide = self.fill(wanted)
            end = scan.value_end(self._data, self._position)
            if end >= 0:
                text = self._data[self._position : end]
                self._position = end
                return text
            if not wide:
                return None
            if wanted >= limit:
                self.too_long = True
                return None
            wanted = max(wanted * 2, self.size + 1)

    def put_back(self, size: int) -> None:
        """Undo a `take_value` of `size` bytes."""
        self._position -= size

    def mark(self) -> bytes:
        """How the event just taken ends and the next one begins: what looks alike is a boundary of events.

        b"" if no event follows.
        """
        self.fill(1 << 12)
        match = _NEXT_EVENT.match(self._data, self._position)
        if match is None:
            return b""
        # In rows the last column is an object; a single bracket would be found inside acked_ranges too.
        ending = 2 if match[0].endswith(b"[") else 1
        return self._data[self._position - ending : match.end()]

    def boundary(self, mark: bytes, start: int = 0) -> int:
        """The index after the first event that ends at or after `start`, by its mark; -1 if there is none."""
        found = self._data.find(mark, self._position + start)
        return -1 if found < 0 else found + _ending(mark) - self._position

    def last_boundary(self, mark: bytes, stop: int) -> int:
        """The index after the last event that ends before `stop`; -1 if there is none."""
        found = self._data.rfind(mark, self._position, self._position + stop)
        return -1 if found < 0 else found + _ending(mark) - self._position

    def text(self, end: int) -> bytes:
        """The first `end` bytes of the window."""
        return self._data[self._position : self._position + end]

    def skip(self, size: int) -> None:
        """Move on."""
        self._position += size


def _ending(mark: bytes) -> int:
    return 2 if mark.endswith(b"[") else 1
