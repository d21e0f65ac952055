"""JSON text sequences (RFC 7464) and newline-delimited JSON: a header record, then one record per event."""

from collections.abc import Callable, Iterator
from typing import Any

from qlog import damage, scan
from qlog.layout import BATCH, Batch
from qlog.model import Damage, JsonObject

RECORD_SEPARATOR = b"\x1e"
LINE_FEED = b"\n"

# How much of a broken text a message shows.
_SHOWN = 60


class Sequence:
    """Reads records separated by `separator`. See `qlog.layout.Layout`."""

    def __init__(self, chunks: Callable[[], Iterator[bytes]], separator: bytes) -> None:
        self.damages: list[Damage] = []
        self._chunks = chunks
        self._separator = separator
        self._index = 0
        self._number = 0

    def header(self) -> JsonObject:
        """The first record if it is one of a header, else {}."""
        for _, value in Sequence(self._chunks, self._separator).records():
            return value if _is_header(value) else {}
        return {}

    def batches(self) -> Iterator[Batch]:
        """Groups of events without gaps in their indices."""
        batch = Batch(0, 0, 0, [])
        first = True
        for offset, value in self.records():
            if first:
                first = False
                if _is_header(value):
                    continue
                self._report("file-header-missing", "the file does not start with a header", offset)
            if value is None:
                if batch.values:
                    yield batch
                self._index += 1
                batch = Batch(0, self._index, offset, [])
                continue
            batch.values.append(value)
            self._index += 1
            if len(batch.values) >= BATCH:
                yield batch
                batch = Batch(0, self._index, offset, [])
        if batch.values:
            yield batch

    def records(self) -> Iterator[tuple[int, Any]]:
        """(offset, value) of every record; the value is None where one is lost."""
        held: tuple[int, bytes] | None = None  # a record that ends early: its rest may follow the next one
        for offset, text, last in self._texts():
            if held is None:
                try:
                    value = scan.loads(text)
                except ValueError:
                    if not last and damage.diagnose(text).rule == "record-cut":
                        held = (offset, text)
                    else:
                        yield from ((offset, value) for value in self._broken(text, offset, last=last))
                else:
                    if text[-1:] != LINE_FEED and self._separator == RECORD_SEPARATOR:
                        self._report(
                            "record-line-feed-missing", "the record has no line feed at its end", offset
                        )
                    yield offset, value
            else:
                start, beginning = held
                held = None
                yield from ((start, value) for value in self._interleaved(beginning, text, start, last=last))
            self._number += 1
        if held is not None:
            yield from ((held[0], value) for value in self._broken(held[1], held[0], last=True))

    def _texts(self) -> Iterator[tuple[int, bytes, bool]]:
        """(offset, text, is the last one) of what stands between separators, without what is blank."""
        offset, rest, before = 0, b"", True
        waiting: tuple[int, bytes] | None = None
        for chunk in self._chunks():
            parts = (rest + chunk).split(self._separator)
            rest = parts.pop()
            if len(rest) > scan.LONGEST_VALUE:
                self._report("json-too-long", f"a record is longer than {scan.LONGEST_VALUE} bytes", offset)
                rest = b""
            for part in parts:
                if not part.isspace() and part:
                    if waiting is not None:
                        yield *waiting, False
                    waiting = (offset, part)
                    if before and self._separator == RECORD_SEPARATOR:
                        self._report("record-separator-missing", "no 0x1E before the first record", offset)
                before = False
                offset += len(part) + 1
        if waiting is not None:
            yield *waiting, not rest or rest.isspace()
        if rest and not rest.isspace():
            yield offset, rest, True

    def _interleaved(self, beginning: bytes, text: bytes, offset: int, *, last: bool) -> Iterator[Any]:
        """Two records, one written into the middle of the other; or one that is cut, and a whole one."""
        start = scan.skip_space(text, 0)
        end = scan.value_end(text, start)
        if end >= 0:
            try:
                inner = scan.loads(text[start:end])
                outer = scan.loads(beginning + text[end:].removeprefix(LINE_FEED))
            except ValueError:
                pass
            else:
                self._report(
                    "record-interleaved", "another record was written into the middle of this one", offset
                )
                yield outer
                yield inner
                return
        self._report("record-interleaved", f"the record ends early: ...{_tail(beginning)}", offset)
        yield None
        try:
            yield scan.loads(text)
        except ValueError:
            yield from self._broken(text, offset + len(beginning) + 1, last=last)

    def _broken(self, text: bytes, offset: int, *, last: bool) -> Iterator[Any]:
        """What can be saved of a record that does not parse."""
        several = scan.values(text)
        if several is not None and len(several) > 1:
            self._report("record-separator-missing", f"{len(several)} values in one record", offset)
            for value in several:
                try:
                    yield scan.loads(value)
                except ValueError:
                    yield self._diagnosed(value, offset)
            return
        found = damage.diagnose(text)
        if found.rule == "record-cut":
            where = "the last record" if last else "the record"
            self._report(found.rule, f"{where} ends early: ...{_tail(text)}", offset)
            if not last:
                yield None
            return
        yield self._diagnosed(text, offset)

    def _diagnosed(self, text: bytes, offset: int) -> Any:
        found = damage.diagnose(text)
        self._report(found.rule, found.message, offset)
        return found.value

    def _report(self, rule: str, message: str, offset: int) -> None:
        fix = damage.RULES[rule][1]
        index = self._index if self._number else None
        self.damages.append(Damage(rule, message, fix, offset, record=self._number, trace=0, event=index))


def _is_header(value: Any) -> bool:
    return isinstance(value, dict) and ("trace" in value or "qlog_version" in value or "file_schema" in value)


def _tail(text: bytes) -> str:
    return text.rstrip()[-_SHOWN:].decode(errors="backslashreplace")
