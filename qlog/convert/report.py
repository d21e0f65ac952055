"""One HTML page about traces: packets, congestion, streams, the handshake, findings. Needs no network."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

from qlog import checks
from qlog.convert.record import Dropped, Record
from qlog.convert.timeline import Key, Timeline, clock_shift, paired
from qlog.convert.upgrade import upgraded
from qlog.model import Event, Finding, JsonObject
from qlog.packets import acked_ranges, data_length, number, whole
from qlog.reader import Reader
from qlog.validate import validate_file

# Other events that the page lists per side.
_MOST_EVENTS = 5000
_MOST_FINDINGS = 500
_MOST_TEXT = 240

_PACKETS = {"quic:packet_sent", "quic:packet_received"}
_METRICS = ("congestion_window", "bytes_in_flight", "latest_rtt", "smoothed_rtt", "min_rtt")
# Too many to read, and told by the packets.
_NOT_LISTED = {
    "quic:udp_datagrams_sent", "quic:udp_datagrams_received", "quic:timer_updated", "quic:frames_created",
    "quic:frames_parsed", "quic:packets_acked", "quic:stream_data_moved", "quic:spin_bit_updated",
    "quic:marked_for_retransmit",
}  # fmt: skip


class Words:
    """Texts by number: a text that occurs often is written once."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """The number of a text."""
        found = self._numbers.get(text)
        if found is None:
            found = self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return found


@dataclass(slots=True, eq=False)
class Side(Timeline):
    """Columns of what the page draws, each a list; times are in ms.

    `packets`: time, 1 if sent, type, number or -1, size, frames. `metrics`: time and `_METRICS`.
    `streams`: time, 1 if sent, stream, offset, length. `losses`: time, type, number.
    """

    packets: tuple[list[Any], ...] = field(default_factory=lambda: tuple([] for _ in range(6)))
    metrics: tuple[list[Any], ...] = field(default_factory=lambda: tuple([] for _ in range(6)))
    streams: tuple[list[Any], ...] = field(default_factory=lambda: tuple([] for _ in range(5)))
    losses: tuple[list[Any], ...] = field(default_factory=lambda: tuple([] for _ in range(3)))
    events: list[tuple[float, int, str, str]] = field(default_factory=list)
    unlisted: int = 0
    findings: list[tuple[float | None, Finding]] = field(default_factory=list)
    known: dict[str, Any] = field(default_factory=dict)

    def add(self, index: int, record: Record, words: Words) -> None:
        """Take in an event, the `index`th of its trace."""
        if self.first_time is None:
            self.first_time = record.time
        if record.name in _PACKETS:
            self._packet(record, words)
        elif record.name == "quic:recovery_metrics_updated":
            self._metrics(record)
        elif record.name not in _NOT_LISTED:
            if record.name == "quic:packet_lost":
                kind, packet_number = _identity(record.data)
                _append(self.losses, record.time, words.number(kind), packet_number)
            if len(self.events) < _MOST_EVENTS:
                text = json.dumps(record.data, ensure_ascii=False)[:_MOST_TEXT]
                self.events.append((record.time, index, record.name, text))
            else:
                self.unlisted += 1

    def _packet(self, record: Record, words: Words) -> None:
        sent = record.name == "quic:packet_sent"
        kind, packet_number = _identity(record.data)
        self.see(record.time, kind, packet_number if packet_number >= 0 else None, sent=sent)
        raw = record.data.get("raw")
        size = whole(raw.get("length")) if isinstance(raw, dict) else None
        written = record.data.get("frames")
        frames = [frame for frame in written if isinstance(frame, dict)] if isinstance(written, list) else []
        texts = []
        for frame in frames:
            texts.append(_frame_text(frame))
            if frame.get("frame_type") == "stream":
                stream, length = whole(frame.get("stream_id")), data_length(frame)
                if stream is not None and length is not None:
                    offset = whole(frame.get("offset")) or 0
                    _append(self.streams, record.time, int(sent), stream, offset, length)
        row = (int(sent), words.number(kind), packet_number, size or 0, words.number(_counted(texts)))
        _append(self.packets, record.time, *row)

    def _metrics(self, record: Record) -> None:
        for name in _METRICS:
            value = number(record.data.get(name))
            if value is not None:
                self.known[name] = value
        if self.first_rtt is None:
            self.first_rtt = self.known.get("latest_rtt")
        _append(self.metrics, record.time, *(self.known.get(name) for name in _METRICS))

    def columns(self, shift: float) -> JsonObject:
        """For the page, with all times moved by `shift`."""
        made: JsonObject = {
            "role": self.role,
            "name": self.trace.vantage_point.name,
            "file": self.file,
            "group": self.group_id,
            "era": self.trace.era.value,
            "events": [[_moved(event[0], shift), *event[1:]] for event in self.events],
            "unlisted": self.unlisted,
            "findings": [_finding(time, finding, shift) for time, finding in self.findings],
        }
        for name in ("packets", "metrics", "streams", "losses"):
            times, *columns = getattr(self, name)
            made[name] = [[_moved(time, shift) for time in times], *columns]
        return made


def write_report(paths: Iterable[Path], output: Path) -> int:
    """Write the page about all traces of `paths`; how many sides of connections are on it.

    What is drawn is held in memory. Raises OSError and what Reader raises.
    """
    words = Words()
    sides: dict[Key, Side] = {}
    for file, path in enumerate(paths):
        report = validate_file(path, checks.observers())
        places = {(found.trace, found.event) for found in report.findings if found.event is not None}
        times: dict[tuple[int | None, int | None], float] = {}
        owners: dict[tuple[int | None, int | None], Side] = {}
        before = len(sides)
        for event in Reader(path).events():
            side = _side(sides, file, event, path.name)
            place = (event.trace.index, event.index)
            if place in places:
                times[place], owners[place] = event.time, side
            side.add(event.index, upgraded(event, _UNHEARD), words)
        own = list(sides.values())[before:]
        for found in report.findings[:_MOST_FINDINGS]:
            at = (found.trace or 0, found.event)
            if own:
                owners.get(at, own[0]).findings.append((times.get(at), found))
    pairs = [_pair(pair) for pair in paired(sides.values())]
    output.write_text(_page({"words": words.texts, "pairs": pairs}), encoding="utf-8")
    return len(sides)


# The report shows what was logged; what newer drafts have no room for is not its subject.
_UNHEARD = Dropped()


def _side(sides: dict[Key, Side], file: int, event: Event, name: str) -> Side:
    key = (file, event.trace.index, event.group_id)
    side = sides.get(key)
    if side is None:
        side = sides[key] = Side(event.trace, event.group_id, name)
    return side


def _pair(pair: tuple[Side, ...]) -> list[JsonObject]:
    shifts = [0.0, clock_shift(*pair)] if len(pair) == 2 else [0.0]
    begin = min((side.first_time or 0.0) + shift for side, shift in zip(pair, shifts, strict=True))
    return [side.columns(shift - begin) for side, shift in zip(pair, shifts, strict=True)]


def _page(content: JsonObject) -> str:
    folder = files("qlog.convert").joinpath("page")
    page, style, script = (
        folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js")
    )
    # A text from a trace must not end the script that it stands in.
    data = json.dumps(content, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    return page.replace("/* style */", style).replace("/* script */", script).replace("/* data */", data)


def _identity(data: JsonObject) -> tuple[str, int]:
    """Type and number of a packet; "unknown" and -1 if they were not logged."""
    header = data.get("header")
    if not isinstance(header, dict):
        return "unknown", -1
    kind = header.get("packet_type")
    packet_number = whole(header.get("packet_number"))
    return kind if isinstance(kind, str) else "unknown", -1 if packet_number is None else packet_number


def _frame_text(frame: JsonObject) -> str:
    kind = str(frame.get("frame_type", "unknown"))
    if kind == "ack":
        ranges = acked_ranges(frame)
        return f"ack {max(high for _, high in ranges)}" if ranges else kind
    if kind in {"stream", "max_stream_data", "reset_stream", "stop_sending", "stream_data_blocked"}:
        return f"{kind} {frame.get('stream_id', '')}"
    return kind


def _counted(texts: list[str]) -> str:
    """Texts in a row, like ones next to each other once."""
    runs = [(text, len(list(same))) for text, same in groupby(texts)]
    return ", ".join(f"{count} {text}" if count > 1 else text for text, count in runs)


def _finding(time: float | None, finding: Finding, shift: float) -> list[Any]:
    where = None if time is None else _moved(time, shift)
    text = f"{finding.message}; {finding.fix}" if finding.fix else finding.message
    place = (where, finding.event, finding.severity, finding.rule, finding.name)
    return [*place, text, finding.reference, finding.count]


def _moved(time: float, shift: float) -> float:
    return round(time + shift, 3)


def _append(columns: tuple[list[Any], ...], *row: Any) -> None:
    for column, value in zip(columns, row, strict=True):
        column.append(value)
