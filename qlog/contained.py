"""One JSON document that holds traces: read piece by piece, whatever its size and where it is cut."""

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import orjson

from qlog import damage, scan
from qlog.layout import Batch
from qlog.model import Damage, JsonObject
from qlog.window import Window

# The events array is parsed piece by piece; a piece ends where an event looks like ending.
_PIECE = 1 << 16
_GUESSES = 4

# How far to look for the end of an event whose brackets don't match, when others follow it.
_LONGEST_DOUBT = 1 << 20


class _EndOfDocumentError(Exception):
    """Nothing more can be read. The damage has been reported."""


class Contained:
    """Reads a document of `chunks()`. See `qlog.layout.Layout`."""

    def __init__(self, chunks: Callable[[], Iterator[bytes]]) -> None:
        self.damages: list[Damage] = []
        self._chunks = chunks
        self._window = Window(iter(()))
        self._trace: int | None = None
        self._index = 0
        self._loads: Callable[[bytes], Any] = scan.loads

    def header(self) -> JsonObject:
        """A first pass through the file: fields may stand behind the events that they belong to."""
        header: JsonObject = {}
        self._loads = orjson.loads  # the second pass finds duplicate names
        for _ in self._document(header):
            pass
        self._loads = scan.loads
        self.damages.clear()
        return header

    def batches(self) -> Iterator[Batch]:
        """The second pass."""
        yield from self._document({})

    def _document(self, header: JsonObject) -> Iterator[Batch]:
        self._window = Window(self._chunks())
        self._trace, self._index = None, 0
        window = self._window
        try:
            window.accept(b"{")
            for key in self._keys():
                if key == "traces" and window.peek() == b"[":
                    yield from self._traces(header.setdefault(key, []))
                else:
                    header[key] = self._value()
        except _EndOfDocumentError:
            return
        if window.peek():
            self._report("file-trailing-data", "the file goes on after the end of the document")

    def _traces(self, traces: list[Any]) -> Iterator[Batch]:
        window = self._window
        window.accept(b"[")
        while not window.accept(b"]"):
            if window.accept(b"{"):
                trace: JsonObject = {}
                traces.append(trace)
                self._trace, self._index = len(traces) - 1, 0
                for key in self._keys():
                    if key == "events" and window.peek() == b"[":
                        trace[key] = []
                        yield from self._events(self._trace)
                    else:
                        trace[key] = self._value()
            else:
                traces.append(self._value())
            self._comma(b"]")
        self._trace = None

    def _keys(self) -> Iterator[str]:
        """The names of an object whose `{` has been read; the caller reads the value after each."""
        window = self._window
        while not window.accept(b"}"):
            name = self._value()
            if not isinstance(name, str) or not window.accept(b":"):
                self._stop("a name and a colon are missing in an object")
            yield name
            self._comma(b"}")

    def _comma(self, closing: bytes) -> None:
        """Between two values, or before the bracket that closes what they are in."""
        window = self._window
        if window.accept(b","):
            if window.peek() == closing:
                self._report("json-trailing-comma", "a comma stands before a closing bracket")
            return
        following = window.peek()
        if following in {b"{", b"[", b'"'}:
            self._report("json-comma-missing", "no comma between two values")
        elif following not in {closing, b""}:
            self._stop("neither a comma nor a closing bracket follows a value")

    def _value(self) -> Any:
        """Any value but an events array; None for one that is broken in itself."""
        window = self._window
        window.peek()
        offset = window.offset
        text = window.take_value(scan.LONGEST_VALUE)
        if text is None:
            self._stop("a value has no end")
        return self._parsed(text, offset)

    def _parsed(self, text: bytes, offset: int) -> Any:
        try:
            return scan.loads(text)
        except ValueError:
            found = damage.diagnose(text)
            if found.rule == "record-cut":
                self._report("json-syntax", "brackets or quotes don't match", offset)
            else:
                self._report(found.rule, found.message, offset)
            return found.value

    def _events(self, trace: int) -> Iterator[Batch]:
        window = self._window
        window.accept(b"[")
        mark = b""  # how an event ends and the next one begins, learnt from the first two
        careful_until = 0  # the offset up to which events are read one by one
        while not window.accept(b"]"):
            offset = window.offset
            values: list[Any] = []
            if mark and offset >= careful_until:
                values, careful_until = self._piece(mark)
            if not values:
                value = self._event(mark)
                mark = mark or window.mark()
                values = [] if value is None else [value]
                self._index += value is None
            if values:
                yield Batch(trace, self._index, offset, values)
                self._index += len(values)
            self._comma_of_event(mark)

    def _piece(self, mark: bytes) -> tuple[list[Any], int]:
        """The events up to the last one whose end is in the window.

        If they don't parse: none, and the offset up to which they have to be read one by one.
        """
        window = self._window
        window.fill(_PIECE)
        end = limit = window.last_boundary(mark, window.size)
        for _ in range(_GUESSES):
            if end <= 0:
                break
            try:
                values = self._loads(b"[%b]" % window.text(end))
            except ValueError:
                end = window.last_boundary(mark, end - 1)
            else:
                window.skip(end)
                return list(values), 0
        return [], window.offset + (limit if limit > 0 else window.size)

    def _event(self, mark: bytes) -> Any:
        """One event; None if it is broken. Stops where the file is cut."""
        window = self._window
        window.peek()
        window.fill(_PIECE)
        offset = window.offset
        likely_end = window.boundary(mark) if mark else -1
        if likely_end > 0:
            try:
                value = scan.loads(window.text(likely_end))
            except ValueError:
                pass
            else:
                window.skip(likely_end)
                return value
        text = window.take_value(scan.LONGEST_VALUE if likely_end < 0 else _LONGEST_DOUBT)
        if text is not None:
            try:
                return scan.loads(text)
            except ValueError:
                if likely_end < 0:
                    return self._parsed(text, offset)
            window.put_back(len(text))
        if likely_end < 0:
            self._stop("a value has no end")
        # Its brackets or quotes don't match: go on where the next event seems to begin.
        broken = window.text(likely_end)
        window.skip(likely_end)
        window.too_long = False
        return self._parsed(broken, offset)

    def _comma_of_event(self, mark: bytes) -> None:
        window = self._window
        following = window.peek()
        place = -1
        if following not in {b",", b"]", b"{", b"[", b""}:
            place = window.boundary(mark) if mark else -1
            if place >= 0:
                self._report("json-syntax", "text that belongs to no event stands between two events")
                window.skip(place)
        self._comma(b"]")

    def _stop(self, why: str) -> NoReturn:
        """Report that the file can't be read any further. Raises _EndOfDocumentError."""
        window = self._window
        if window.too_long:
            self._report("json-too-long", f"a value has no end within {scan.LONGEST_VALUE} bytes")
        elif window.at_end and why == "a value has no end":
            after = f" after {self._index} whole events" if self._trace is not None else ""
            self._report("file-cut", f"the file ends{after} before the document does")
        else:
            self._report("json-syntax", f"{why}; the rest can't be read")
        raise _EndOfDocumentError

    def _report(self, rule: str, message: str, offset: int | None = None) -> None:
        place = self._window.offset if offset is None else offset
        index = self._index if self._trace is not None else None
        fix = damage.RULES[rule][1]
        self.damages.append(Damage(rule, message, fix, place, trace=self._trace, event=index))
