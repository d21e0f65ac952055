"""One side of one connection, collected for qvis: its events, and what its views will lack."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import orjson

from qlog.convert.container import start_of
from qlog.convert.qvis_events import qvis_event
from qlog.convert.record import Dropped, Record
from qlog.convert.upgrade import upgraded
from qlog.model import Event, JsonObject, Trace
from qlog.packets import SPACES, acked_ranges, number, whole

# Packets of each side that are enough to tell how its clock differs from the other's.
_ALIGN = 5000

Key = tuple[int, int, str]


@dataclass(slots=True, eq=False)
class Side:
    """`entries` are events of qvis: time in ms, rank among equal times, encoded from `name` on.

    `sent_at` and `received_at` hold times of the first packets by type and number.
    """

    trace: Trace
    group_id: str
    file: str
    entries: list[tuple[float, int, bytes]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    streams: set[int] = field(default_factory=set)
    sent_at: dict[tuple[str, int], float] = field(default_factory=dict)
    received_at: dict[tuple[str, int], float] = field(default_factory=dict)
    first_rtt: float | None = None
    cut_at: float | None = None
    thinned: list[str] = field(default_factory=list)
    lowest_received: dict[str, int] = field(default_factory=dict)
    waiting: Record | None = None

    @property
    def role(self) -> str:
        """client, server, network or unknown; guessed by who sent the first Initial where it is not told."""
        told = self.trace.vantage_point.type
        if told == "unknown" and self.counts["first_initial"]:
            return "client" if self.counts["first_initial"] == 1 else "server"
        return told

    @property
    def start(self) -> float | None:
        """The wall clock at time 0, ms since 1970."""
        return start_of(self.trace)

    def add(self, event: Event, dropped: Dropped) -> None:
        """Take in one more event."""
        newest = upgraded(event, dropped)
        if newest.name == "quic:packets_acked":
            self._synthesise_ack(newest.data)
        record = qvis_event(newest, dropped)
        watch = _WATCH.get(record.name)
        if watch is not None:
            watch(self, record)
        if record.name == "transport:packet_received":
            # Acknowledgements that are logged apart may yet become frames of this packet.
            self.flush()
            self.waiting = record
        else:
            self._keep(record)

    def flush(self) -> None:
        """Nothing more belongs to the last packet received."""
        if self.waiting is not None:
            record, self.waiting = self.waiting, None
            self._keep(record)

    def _keep(self, record: Record) -> None:
        # qvis loses HTTP/3 frames that come before the packet that brought them.
        rank = 1 if record.name == "http:frame_parsed" else 0
        body = {"name": record.name, "data": record.data, **record.fields}
        self.entries.append((record.time, rank, orjson.dumps(body)))

    def _synthesise_ack(self, data: JsonObject) -> None:
        """qvis knows of acknowledgements only what frames tell."""
        packet = self.waiting
        numbers = data.get("packet_numbers")
        if packet is None or "frames" in packet.data or not isinstance(numbers, list):
            return
        space = SPACES.get(packet.data["header"]["packet_type"])
        if data.get("packet_number_space", "application_data") == space:
            found = [value for value in map(whole, numbers) if value is not None]
            packet.data["frames"] = [
                {"frame_type": "ack", "acked_ranges": [[value, value] for value in found]}
            ]
            self.counts["acks"] += 1

    def packet(self, record: Record, *, sent: bool) -> None:
        """Note what the views find in a packet."""
        data, counts = record.data, self.counts
        direction = "sent" if sent else "received"
        counts[direction] += 1
        header = data["header"]
        packet_type = header["packet_type"]
        if packet_type == "initial" and not counts["first_initial"]:
            counts["first_initial"] = 1 if sent else 2
        packet_number = whole(header.get("packet_number"))
        if packet_number is not None and isinstance(packet_type, str):
            counts["numbered"] += 1
            times = self.sent_at if sent else self.received_at
            if len(times) < _ALIGN:
                times.setdefault((packet_type, packet_number), record.time)
            if not sent:
                lowest = self.lowest_received.get(packet_type, packet_number)
                self.lowest_received[packet_type] = min(lowest, packet_number)
        if "length" in data.get("raw", ()):
            counts[f"{direction}_sized"] += 1
        if packet_type == "0RTT":
            counts["early"] += 1
        frames = data.get("frames", ())
        if frames and "frame_size" in frames[0]:
            counts["frames_sized"] += 1
        counts["with_frames"] += bool(frames)
        for frame in frames:
            self._frame(frame, packet_type, direction)

    def _frame(self, frame: JsonObject, packet_type: str, direction: str) -> None:
        kind = frame["frame_type"]
        if kind == "ack":
            if direction == "received":
                self.counts["acks"] += 1
            else:
                # Of packets that it has not seen, qvis complains per number.
                lowest = self.lowest_received.get(packet_type)
                ranges = acked_ranges(frame)
                if lowest is None or any(low < lowest for low, _ in ranges):
                    frame["acked_ranges"] = [
                        [max(low, lowest), high]
                        for low, high in ranges
                        if lowest is not None and high >= lowest
                    ]
        elif kind == "stream":
            identifier = whole(frame.get("stream_id"))
            if identifier is not None and identifier % 4 == 0:
                self.streams.add(identifier)
                self.counts[f"stream_{direction}"] += 1
            else:
                self.counts["other_streams"] += 1

    def metrics(self, record: Record) -> None:
        """Note which lines of the congestion view there will be."""
        data = record.data
        self.counts["windows"] += "congestion_window" in data
        self.counts["in_flight"] += "bytes_in_flight" in data
        rtt = number(data.get("latest_rtt", data.get("smoothed_rtt")))
        self.counts["rtts"] += rtt is not None
        if self.first_rtt is None and rtt is not None:
            self.first_rtt = rtt

    def http_frame(self, record: Record) -> None:
        """Note whether HTTP/3 frames have sizes."""
        self.counts["http"] += 1
        self.counts["http_sized"] += "byte_length" in record.data

    def parameters(self, record: Record) -> None:
        """Note limits of the peer."""
        self.counts["limits"] += record.data.get("owner") == "remote"

    def lost(self, record: Record) -> None:
        """Note losses."""
        self.counts["lost"] += 1
        self.counts["lost_numbered"] += "packet_number" in record.data["header"]

    def lacks(self, *, paired: bool) -> dict[str, list[str]]:
        """By view, what will be missing there."""
        counts, client = self.counts, self.role != "server"
        flow = "stream_received" if client else "stream_sent"
        found: dict[str, list[tuple[Any, str]]] = {
            "sequence": [
                (counts["sent"] or counts["received"], "no packets were logged: only boxes"),
                (counts["numbered"] or not counts["sent"], "packets have no numbers: no arrows"),
                (
                    paired,
                    "the other side's trace was not given: qvis mirrors this one, nothing is drawn lost",
                ),
            ],
            "congestion": [
                (counts["sent_sized"], "no sizes of packets sent: nothing is drawn sent"),
                (counts["acks"], "no ACK frames received: nothing is drawn acknowledged"),
                (counts["lost"], "no packet_lost: nothing is drawn lost"),
                (not counts["lost"] or counts["lost_numbered"], "lost packets have no numbers"),
                (counts["windows"], "no congestion_window"),
                (counts["in_flight"], "no bytes_in_flight"),
                (counts["rtts"], "no round-trip times"),
                (counts["limits"], "no transport parameters of the peer: no flow control limits"),
                (not counts["early"], "qvis draws 0-RTT packets as never acknowledged"),
            ],
            "multiplexing": [
                (
                    counts[flow],
                    f"no data on the client's bidirectional streams {'received' if client else 'sent'}",
                ),
                (
                    len(self.streams) >= 2 and counts[flow] >= 5,
                    "no waterfall: it needs 2 streams and 5 frames",
                ),
            ],
            "packetization": [
                (counts["sent_sized"] and counts["received_sized"], "sizes of packets are missing"),
                (counts["frames_sized"] or not counts["with_frames"], "sizes of frames are not known"),
                (counts["with_frames"], "no frames were logged"),
                (counts["http"], "no HTTP/3 frames: their lane is empty"),
                (
                    not counts["http"] or counts["http_sized"],
                    "HTTP/3 frames have no sizes: their lane is empty",
                ),
            ],
        }
        return {view: [text for present, text in rows if not present] for view, rows in found.items()}


_WATCH = {
    "transport:packet_sent": lambda side, record: side.packet(record, sent=True),
    "transport:packet_received": lambda side, record: side.packet(record, sent=False),
    "recovery:metrics_updated": Side.metrics,
    "recovery:packet_lost": Side.lost,
    "transport:parameters_set": Side.parameters,
    "http:frame_created": Side.http_frame,
    "http:frame_parsed": Side.http_frame,
}
