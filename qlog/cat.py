"""`interquic qlog cat`: a trace as lines for people, or as one JSON object per event."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from qlog.model import Event, JsonObject
from qlog.packets import (
    PACKET_EVENTS,
    Packet,
    acked_ranges,
    data_length,
    metrics,
    stream_id,
    whole,
)
from qlog.reader import Reader

_LONGEST = 160


@dataclass(slots=True, frozen=True)
class Filter:
    """Which events are shown: those that fit all that is given. Times are ms from the file's first event."""

    events: tuple[str, ...] = ()
    streams: frozenset[int] = frozenset()
    packets: tuple[tuple[int, int], ...] = ()
    start: float | None = None
    end: float | None = None
    group: str | None = None

    def takes(self, event: Event, time: float) -> bool:
        """Whether an event is shown."""
        if self.start is not None and time < self.start:
            return False
        if self.end is not None and time > self.end:
            return False
        if self.group is not None and event.group_id != self.group:
            return False
        if self.events and not any(
            fnmatchcase(name, pattern)
            for pattern in self.events
            for name in (event.name, event.original_name, event.name.partition(":")[2])
        ):
            return False
        if self.packets and not self._takes_packet(event):
            return False
        return not self.streams or not self.streams.isdisjoint(streams_of(event))

    def _takes_packet(self, event: Event) -> bool:
        number = Packet(event).number
        written = event.data.get("packet_numbers")
        numbers = [whole(one) for one in written] if isinstance(written, list) else []
        return any(
            one is not None and low <= one <= high for one in [number, *numbers] for low, high in self.packets
        )


def streams_of(event: Event) -> set[int]:
    """The streams that an event is about."""
    found = {stream_id(event.data)} if "stream_id" in event.data else set()
    frames = event.data.get("frames")
    for frame in frames if isinstance(frames, list) else []:
        if isinstance(frame, dict):
            found.add(stream_id(frame))
    return {stream for stream in found if stream is not None}


def shown(path: Path, chosen: Filter) -> Iterator[tuple[Event, float]]:
    """The events of a file that a filter takes, and their time in ms from the first one of their trace.

    Raises UnreadableFileError.
    """
    starts: dict[int, float] = {}
    for event in Reader(path).events():
        time = event.time - starts.setdefault(event.trace.index, event.time)
        if chosen.takes(event, time):
            yield event, time


def line(event: Event, time: float) -> str:
    """One event for people: time in ms, index, name, and what matters of the data."""
    name = event.name.partition(":")[2] or event.name
    return f"{time:12.3f} {event.index:>7} {name:<24} {summary(event)}".rstrip()


def as_json(event: Event, time: float) -> str:
    """One event for programs: the file's own object, and where it stands."""
    place = {"trace": event.trace.index, "event": event.index, "time_from_start": round(time, 6)}
    return json.dumps({**place, "name": event.name, "group_id": event.group_id, "fields": event.fields})


def summary(event: Event) -> str:
    """What matters of an event's data."""
    if event.name in PACKET_EVENTS or event.name == "quic:packet_lost":
        return _packet(Packet(event))
    if event.name == "quic:recovery_metrics_updated":
        return " ".join(f"{name}={value:g}" for name, value in metrics(event).items())
    frame = event.data.get("frame")
    if isinstance(frame, dict) and stream_id(event.data) is not None:
        rest = {name: value for name, value in frame.items() if name not in {"frame_type", "raw"}}
        return _cut(f"stream {stream_id(event.data)} {_upper(frame)} {_values(rest)}".rstrip())
    return _cut(_values(event.data))


def frame_text(frame: JsonObject) -> str:
    """A frame in the way of the RFCs: its type in capitals, and its fields."""
    kind = frame.get("frame_type")
    if kind == "ack":
        ranges = [f"{low}" if low == high else f"{low}-{high}" for low, high in acked_ranges(frame)]
        return f"ACK {','.join(ranges)}"
    if kind in {"stream", "crypto"}:
        offset, length = whole(frame.get("offset", 0)) or 0, data_length(frame)
        span = f"[{offset}..{'?' if length is None else offset + length})"
        which = f" {stream_id(frame)}" if kind == "stream" else ""
        return f"{_upper(frame)}{which} {span}{' FIN' if frame.get('fin') is True else ''}"
    rest = {name: value for name, value in frame.items() if name not in {"frame_type", "raw"}}
    return f"{_upper(frame)} {_values(rest)}".rstrip()


def _packet(packet: Packet) -> str:
    parts = [packet.type]
    if packet.number is not None:
        parts.append(str(packet.number))
    if packet.length is not None:
        parts.append(f"({packet.length} B)")
    trigger = packet.event.data.get("trigger")
    if isinstance(trigger, str):
        parts.append(f"<{trigger}>")
    parts.append(", ".join(frame_text(frame) for frame in packet.frames))
    return _cut(" ".join(parts).rstrip())


def _upper(frame: JsonObject) -> str:
    return str(frame.get("frame_type")).upper()


def _values(values: JsonObject) -> str:
    return " ".join(f"{name}={_value(value)}" for name, value in values.items())


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("path", type=Path, metavar="FILE")
    parser.add_argument(
        "--event",
        action="append",
        default=[],
        metavar="NAME",
        help="only events of this name, with or without namespace, of any era; * and ? stand for others",
    )
    parser.add_argument("--stream", action="append", default=[], type=int, metavar="ID")
    parser.add_argument("--packet", action="append", default=[], type=_range, metavar="N|N-M")
    parser.add_argument("--from", dest="start", type=float, metavar="MS", help="from the first event on")
    parser.add_argument("--to", dest="end", type=float, metavar="MS")
    parser.add_argument("--group", metavar="GROUP_ID", help="only events of this connection")
    parser.add_argument(
        "--format", choices=["text", "json"], default="text", help="json: one object per event"
    )


def run(args: argparse.Namespace) -> int:
    """`interquic qlog cat`. Raises UnreadableFileError."""
    chosen = Filter(
        tuple(args.event), frozenset(args.stream), tuple(args.packet), args.start, args.end, args.group
    )
    show = as_json if args.format == "json" else line
    for event, time in shown(args.path, chosen):
        print(show(event, time))
    return 0


def _range(text: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    if not dash:
        high = low
    if not (low.isdecimal() and high.isdecimal() and int(low) <= int(high)):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor N-M from low to high")
    return int(low), int(high)
