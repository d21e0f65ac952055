"""Traces of any era and stack, made into one file that qvis draws in all its views.

qvis stopped at 0.3 and finds events by their names of then. Both sides of a connection stand in one file,
on the client's clock; what qvis trips over is left out or filled in.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import orjson

from qlog.convert import container
from qlog.convert.record import Dropped
from qlog.convert.side import Side
from qlog.convert.timeline import Key, clock_shift, paired
from qlog.model import Event, JsonObject
from qlog.reader import Reader

# What no view draws but as a box with a name, and what there are many of.
_LABELS_ONLY = {
    "quic:udp_datagrams_sent", "quic:udp_datagrams_received", "quic:timer_updated", "quic:spin_bit_updated",
    "quic:frames_created", "quic:frames_parsed", "quic:stream_state_updated",
    "quic:connection_data_blocked_updated", "quic:stream_data_blocked_updated", "quic:marked_for_retransmit",
    "quic:datagram_data_blocked_updated", "loglevel:debug", "loglevel:verbose", "loglevel:info",
}  # fmt: skip
# Names of formats, which qvis takes for the file's wherever they stand in its first 1024 bytes.
_FORMAT_WORDS = re.compile("NDJSON|JSON-SEQ")
_METRICS = "quic:recovery_metrics_updated"

Pair = tuple[Side, ...]


@dataclass(slots=True, frozen=True)
class Window:
    """From and to, in ms after the first event of each trace."""

    start: float = 0.0
    end: float = float("inf")


@dataclass(slots=True)
class Export:
    """What was written: by connection, the sides with what their views lack."""

    pairs: list[Pair]
    dropped: Dropped

    def lines(self) -> Iterator[str]:
        """What to tell the user."""
        for pair in self.pairs:
            for side in pair:
                name = f"{side.file}: {side.role} {side.group_id}".rstrip()
                yield f"{name}: {len(side.entries)} events"
                for text in side.thinned:
                    yield f"  thinned: {text}"
                for view, texts in side.lacks(paired=len(pair) == 2).items():
                    yield f"  {view}: {'; '.join(texts) if texts else 'complete'}"
                yield "  statistics: complete"
        for line in self.dropped.lines():
            yield f"left out: {line}"


def export(paths: Iterable[Path], output: Path, *, max_events: int, window: Window = Window()) -> Export:
    """Write all traces of `paths` into `output`, at most about `max_events` events of them.

    Files are read twice; what is written is held in memory. Raises OSError and what Reader raises.
    """
    files = list(paths)
    plans = _plans(files, max_events, window)
    dropped = Dropped()
    sides: dict[Key, Side] = {}
    for index, path in enumerate(files):
        reader = Reader(path)
        for event in reader.events():
            key = (index, event.trace.index, event.group_id)
            plan = plans[key]
            if plan.takes(event):
                side = sides.get(key)
                if side is None:
                    side = sides[key] = Side(event.trace, event.group_id, path.name, thinned=plan.thinned)
                side.add(event, dropped)
            elif plan.cut_at is not None and key in sides:
                sides[key].cut_at = plan.cut_at
        for damage in reader.take_damages():
            dropped.note(path.name, damage.message)
    for side in sides.values():
        side.flush()
        side.entries.sort(key=lambda entry: entry[:2])
    pairs = paired([side for side in sides.values() if side.entries])
    with output.open("wb") as file:
        # Formats are guessed from the first bytes: a title could be taken for one.
        header = container.file_header("0.3", "json", "", "")
        traces = (trace for pair in pairs for trace in _traces(pair))
        for piece in container.document(header, traces):
            file.write(piece)
    return Export(pairs, dropped)


class _Plan:
    """Which events of one side are taken."""

    def __init__(self, counts: Counter[str], start: float, window: Window, most: int) -> None:
        self._from = start + window.start
        self._to = start + window.end
        self._skip: set[str] = set()
        self._step = 1
        self._metrics = 0
        self._left = most
        self.cut_at: float | None = None
        self.thinned: list[str] = []
        total = counts.total()
        if total > most:
            self._skip = {name for name in counts if name in _LABELS_ONLY}
            skipped = sum(counts[name] for name in self._skip)
            if skipped:
                self.thinned.append(f"{skipped} events that are drawn as boxes only")
            total -= skipped
        if total > most and counts[_METRICS] > most // 4:
            self._step = ceil(counts[_METRICS] / max(most // 4, 1))
            self.thinned.append(f"all but every {self._step}th recovery_metrics_updated")
            total -= counts[_METRICS] - counts[_METRICS] // self._step
        if total > most:
            # Packets left out here and there would look lost.
            self.thinned.append(f"what came after the first {most} events left (use --window to see it)")

    def takes(self, event: Event) -> bool:
        """Whether the event is to be written; asked once for each, in order."""
        if not self._from <= event.time <= self._to or event.name in self._skip or self.cut_at is not None:
            return False
        if event.name == _METRICS and self._step > 1:
            self._metrics += 1
            if self._metrics % self._step != 1:
                return False
        if self._left == 0:
            self.cut_at = event.time
            return False
        self._left -= 1
        return True


def _plans(files: list[Path], max_events: int, window: Window) -> dict[Key, _Plan]:
    counts: dict[Key, Counter[str]] = {}
    starts: dict[Key, float] = {}
    for index, path in enumerate(files):
        for event in Reader(path).events():
            key = (index, event.trace.index, event.group_id)
            start = starts.setdefault(key, event.time)
            counter = counts.setdefault(key, Counter())
            if window.start <= event.time - start <= window.end:
                counter[event.name] += 1
    plans: dict[Key, _Plan] = {}
    left = max_events
    # A side that needs less than its share leaves the rest to the others.
    for key in sorted(counts, key=lambda key: counts[key].total()):
        share = max(left // (len(counts) - len(plans)), 1)
        plans[key] = _Plan(counts[key], starts[key], window, share)
        left -= min(share, counts[key].total())
    return plans


def _traces(pair: Pair) -> Iterator[tuple[JsonObject, Iterable[bytes]]]:
    shifts = [0.0, server_shift(*pair)] if len(pair) == 2 else [0.0]
    starts = [side.entries[0][0] + shift for side, shift in zip(pair, shifts, strict=True)]
    begin = min(starts)
    reference = round((pair[0].start or 0.0) + begin, 3)
    cuts = [side.cut_at + shift for side, shift in zip(pair, shifts, strict=True) if side.cut_at is not None]
    end = min(cuts, default=float("inf"))
    for side, shift in zip(pair, shifts, strict=True):
        side.entries = [entry for entry in side.entries if entry[0] + shift <= end] or side.entries[:1]
        yield _header(side, reference), _events(side, shift - begin)


def _header(side: Side, reference: float) -> JsonObject:
    title = _FORMAT_WORDS.sub("", f"{side.file} {side.role}")
    common: JsonObject = {"time_format": "relative", "reference_time": reference}
    if side.group_id:
        common["ODCID"] = side.group_id
    vantage_point = {"type": side.role, "name": _FORMAT_WORDS.sub("", side.trace.vantage_point.name)}
    if side.role == "network":
        vantage_point["flow"] = side.trace.vantage_point.flow
    return {"title": title, "vantage_point": vantage_point, "common_fields": common}


def _events(side: Side, shift: float) -> Iterator[bytes]:
    for time, _rank, body in side.entries:
        yield b'{"time":' + orjson.dumps(round(time + shift, 4)) + b"," + body[1:]


def server_shift(client: Side, server: Side) -> float:
    """What to add to the server's times so that qvis shows both on the client's clock, in ms.

    qvis shifts the server once more, by as much as its reception of the first Initial differs from half a
    round trip after the sending, and always to later. That is foreseen here where it can be.
    """
    shift = clock_shift(client, server)
    first = next((key for key in client.sent_at if key[0] == "initial" and key in server.received_at), None)
    if first is None or client.first_rtt is None:
        return shift
    half = client.first_rtt / 2
    way = server.received_at[first] + shift - client.sent_at[first]
    return shift - (way - half) / 2 if way > half else shift
