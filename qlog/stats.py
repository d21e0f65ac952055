"""`interquic qlog stats`: what a trace says about handshake, RTT, loss, goodput, streams and stalls.

A stall is a time in which no new stream data moved although a stream was open.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from qlog.model import Event, JsonObject
from qlog.packets import Packet, data_length, metrics, stream_id, whole
from qlog.reader import Reader

# A stall lasts longer than this many RTTs, and than this many ms.
_STALL_RTTS, _STALL_MS = 3.0, 50.0

# Streams and stalls that are listed of a connection; of all, the sums count.
MOST_STREAMS, MOST_STALLS, MOST_CONNECTIONS = 10_000, 1000, 10_000

# Streams and stalls that the text shows.
_LISTED = 10

_DONE_STATES = {"handshake_complete", "handshake_completed"}


@dataclass(slots=True)
class Packets:
    """Packets one way."""

    count: int = 0
    bytes: int = 0
    lost: int = 0
    dropped: int = 0


@dataclass(slots=True)
class Stream:
    """One way of a stream. `bytes` is its highest offset, times are ms from the connection's first event."""

    stream_id: int
    direction: str
    bytes: int = 0
    frames_bytes: int = 0
    start: float = 0.0
    end: float = 0.0
    finished: bool = False


@dataclass(slots=True)
class Stall:
    """A time without new data. `cause` is the most telling thing that the trace shows of it."""

    start: float
    duration: float
    cause: str


@dataclass(slots=True)
class Statistics:
    """One connection of one trace. Times are ms from its first event, None if the trace does not tell.

    `goodput` is in bytes of new stream data per second, between the first and the last data of a direction.
    """

    trace: int
    group_id: str
    role: str
    events: int = 0
    duration: float = 0.0
    handshake_complete: float | None = None
    handshake_confirmed: float | None = None
    rtt: dict[str, float] = field(default_factory=dict)
    sent: Packets = field(default_factory=Packets)
    received: Packets = field(default_factory=Packets)
    loss_share: float = 0.0
    retransmitted_bytes: int = 0
    goodput: dict[str, float] = field(default_factory=dict)
    congestion_window: dict[str, float] = field(default_factory=dict)
    ptos: int = 0
    streams_seen: int = 0
    streams: list[Stream] = field(default_factory=list)
    stalls: list[Stall] = field(default_factory=list)


@dataclass(slots=True)
class _Clues:
    """What happened since the last new data."""

    blocked: str = ""
    losses: bool = False
    ptos: bool = False
    received: int = 0
    sent: int = 0


class Collector:
    """Adds up one connection."""

    def __init__(self, event: Event) -> None:
        role = event.trace.vantage_point.type
        self._found = Statistics(event.trace.index, event.group_id, role)
        self._start = event.time
        self._streams: dict[tuple[int, str], Stream] = {}
        self._open: set[tuple[int, str]] = set()
        self._progress: float | None = None
        self._moved: dict[str, tuple[float, float, int]] = {}
        self._clues = _Clues()
        self._metrics: dict[str, float] = {}
        self._rtts = [0.0, 0]

    def take(self, event: Event) -> None:
        """The next event."""
        found, time = self._found, event.time - self._start
        found.events += 1
        found.duration = max(found.duration, time)
        match event.name:
            case "quic:packet_sent" | "quic:packet_received":
                self._packet(Packet(event), time)
            case "quic:packet_lost":
                found.sent.lost += 1
                self._clues.losses = True
            case "quic:packet_dropped":
                found.received.dropped += 1
            case "quic:connection_state_updated":
                self._state(str(event.data.get("new")), time)
            case "quic:recovery_metrics_updated":
                self._take_metrics(metrics(event))
            case "quic:connection_data_blocked_updated" | "quic:stream_data_blocked_updated":
                if event.data.get("new") == "blocked":
                    self._clues.blocked = str(event.data.get("reason", "flow control"))
            case _:
                pass

    def _packet(self, packet: Packet, time: float) -> None:
        found = self._found
        packets = found.sent if packet.sent else found.received
        packets.count += 1
        packets.bytes += packet.length or 0
        if packet.sent:
            self._clues.sent += 1
        else:
            self._clues.received += 1
        if (
            packet.type == "1RTT"
            and found.handshake_complete is None
            and packet.sent == (found.role == "client")
        ):
            found.handshake_complete = time  # RFC 9001 §5.7: not before, and mostly at once
        moved, was_open = False, bool(self._open)
        for frame in packet.frames:
            match frame.get("frame_type"):
                case "stream":
                    moved = self._data(frame, packet, time) or moved
                case "reset_stream" | "reset_stream_at" | "stop_sending":
                    self._ended(frame, packet)
                case "data_blocked" | "stream_data_blocked" | "streams_blocked":
                    whose = "the peer's" if packet.sent else "our"
                    self._clues.blocked = f"{whose} flow control ({frame['frame_type']})"
                case "handshake_done":
                    found.handshake_confirmed = found.handshake_confirmed or time
                case _:
                    pass
        if moved:
            self._note_progress(time, was_open=was_open)

    def _data(self, frame: JsonObject, packet: Packet, time: float) -> bool:
        """A STREAM frame; whether its data is new."""
        stream, length = stream_id(frame), data_length(frame)
        if stream is None or length is None:
            return False
        direction = "sent" if packet.sent else "received"
        key = (stream, direction)
        known = self._streams.get(key)
        if known is None:
            self._found.streams_seen += 1
            known = Stream(stream, direction, start=time)
            if len(self._streams) < MOST_STREAMS:
                self._streams[key] = known
        end = (whole(frame.get("offset", 0)) or 0) + length
        new = end - known.bytes
        known.end = time
        known.frames_bytes += length
        if packet.sent and new < length:
            self._found.retransmitted_bytes += length - max(new, 0)
        finished = frame.get("fin") is True
        is_new = new > 0 or (finished and not known.finished)
        if not known.finished:
            (self._open.discard if finished else self._open.add)(key)
        known.finished = known.finished or finished
        if new > 0:
            known.bytes = end
            first, _, total = self._moved.get(direction, (time, time, 0))
            self._moved[direction] = (first, time, total + new)
        return is_new

    def _ended(self, frame: JsonObject, packet: Packet) -> None:
        stream = stream_id(frame)
        sender = packet.sent != (frame["frame_type"] == "stop_sending")
        if stream is not None:
            self._open.discard((stream, "sent" if sender else "received"))

    def _note_progress(self, time: float, *, was_open: bool) -> None:
        last, self._progress = self._progress, time
        rtt = self._metrics.get("smoothed_rtt", 0.0)
        longest = max(_STALL_RTTS * rtt, _STALL_MS)
        if last is not None and was_open and time - last > longest:
            self._found.stalls = self._found.stalls[: MOST_STALLS - 1]
            self._found.stalls.append(Stall(last, time - last, self._cause()))
        self._clues = _Clues()

    def _cause(self) -> str:
        clues, known = self._clues, self._metrics
        if clues.blocked:
            return clues.blocked
        if clues.ptos:
            return "packets or their acknowledgments were lost until the probe timeout"
        if clues.losses:
            return "packets were lost"
        window, in_flight = known.get("congestion_window"), known.get("bytes_in_flight")
        if window is not None and in_flight is not None and in_flight + 1500 > window:
            return "the congestion window was full"
        if clues.received <= 1:  # the packet that ends the stall may be one
            return "nothing was received"
        return "nobody had data to send"

    def _state(self, state: str, time: float) -> None:
        if state in _DONE_STATES:
            self._found.handshake_complete = time
        elif state == "handshake_confirmed":
            self._found.handshake_confirmed = time

    def _take_metrics(self, changed: dict[str, float]) -> None:
        found = self._found
        latest = changed.get("latest_rtt")
        if latest:
            found.rtt["min"] = min(found.rtt.get("min", latest), latest)
            found.rtt["max"] = max(found.rtt.get("max", latest), latest)
            self._rtts[0] += latest
            self._rtts[1] += 1
        if changed.get("smoothed_rtt"):
            found.rtt["smoothed"] = changed["smoothed_rtt"]
        window = changed.get("congestion_window")
        if window is not None:
            found.congestion_window["min"] = min(found.congestion_window.get("min", window), window)
            found.congestion_window["max"] = max(found.congestion_window.get("max", window), window)
            found.congestion_window["last"] = window
        if changed.get("pto_count", 0) > self._metrics.get("pto_count", 0):
            found.ptos += 1
            self._clues.ptos = True
        self._metrics.update(changed)

    def statistics(self) -> Statistics:
        """What has been added up so far."""
        found = self._found
        if self._rtts[1]:
            found.rtt["mean"] = self._rtts[0] / self._rtts[1]
        if found.sent.count:
            found.loss_share = found.sent.lost / found.sent.count
        found.streams = list(self._streams.values())
        for direction, (first, last, total) in self._moved.items():
            if last > first:
                found.goodput[direction] = total / (last - first) * 1000
        return found


def statistics(path: Path) -> list[Statistics]:
    """Of every connection of a file that has packets or metrics. Raises UnreadableFileError."""
    collectors: dict[tuple[int, str], Collector] = {}
    for event in Reader(path).events():
        key = (event.trace.index, event.group_id)
        collector = collectors.get(key)
        if collector is None:
            if len(collectors) >= MOST_CONNECTIONS:
                continue
            collector = collectors[key] = Collector(event)
        collector.take(event)
    found = [collector.statistics() for collector in collectors.values()]
    return [one for one in found if one.sent.count or one.received.count] or found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("path", type=Path, metavar="FILE")
    parser.add_argument("--format", choices=["text", "json"], default="text", help="json: one list")


def run(args: argparse.Namespace) -> int:
    """`interquic qlog stats`. Raises UnreadableFileError."""
    found = statistics(args.path)
    if args.format == "json":
        print(json.dumps([asdict(one) for one in found]))
        return 0
    for one in found:
        print("\n".join(_text(one)))
    return 0


def _text(found: Statistics) -> Iterator[str]:
    yield f"connection {found.group_id or '(no group_id)'}, logged by {found.role}"
    yield f"  {found.events} events in {found.duration:.3f} ms"
    yield f"  handshake: complete {_ms(found.handshake_complete)}, confirmed {_ms(found.handshake_confirmed)}"
    if found.rtt:
        yield f"  RTT: {', '.join(f'{name} {value:.3f} ms' for name, value in found.rtt.items())}"
    yield f"  sent: {found.sent.count} packets, {found.sent.bytes} bytes"
    yield (
        f"    lost {found.sent.lost} ({100 * found.loss_share:.2f} %), probe timeouts {found.ptos},"
        f" sent again {found.retransmitted_bytes} bytes"
    )
    yield (
        f"  received: {found.received.count} packets, {found.received.bytes} bytes,"
        f" {found.received.dropped} dropped"
    )
    for direction, rate in found.goodput.items():
        yield f"  goodput {direction}: {rate * 8 / 1e6:.3f} Mbit/s"
    if found.congestion_window:
        words = ", ".join(f"{name} {value:.0f}" for name, value in found.congestion_window.items())
        yield f"  congestion window: {words} bytes"
    yield f"  streams: {found.streams_seen}"
    for stream in found.streams[:_LISTED]:
        end = "" if stream.finished else ", not finished"
        yield (
            f"    {stream.stream_id} {stream.direction}: {stream.bytes} bytes, {stream.start:.3f} to"
            f" {stream.end:.3f} ms{end}"
        )
    if len(found.streams) > _LISTED:
        yield f"    ... and {len(found.streams) - _LISTED} more"
    yield f"  stalls: {len(found.stalls)}"
    for stall in sorted(found.stalls, key=lambda one: -one.duration)[:_LISTED]:
        yield f"    {stall.duration:.3f} ms from {stall.start:.3f} ms: {stall.cause}"


def _ms(time: float | None) -> str:
    return "unknown" if time is None else f"after {time:.3f} ms"
