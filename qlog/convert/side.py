"""One side of one connection, collected for qvis: its events, and what its views will lack."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from qlog.convert.container import encoded
from qlog.convert.qvis_events import qvis_event
from qlog.convert.record import Dropped, Record
from qlog.convert.timeline import Timeline
from qlog.convert.upgrade import upgraded
from qlog.model import Event, JsonObject
from qlog.packets import SPACES, acked_ranges, number, whole


@dataclass(slots=True, eq=False)
class Side(Timeline):
    """`entries` are events of qvis: time in ms, rank among equal times, encoded from `name` on."""

    entries: list[tuple[float, int, bytes]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    streams: set[int] = field(default_factory=set)
    cut_at: float | None = None
    thinned: list[str] = field(default_factory=list)
    lowest_received: dict[str, int] = field(default_factory=dict)
    waiting: tuple[int, Record] | None = None

    def add(self, event: Event, dropped: Dropped) -> None:
        """Take in one more event."""
        newest = upgraded(event, dropped)
        if newest.name == "quic:packets_acked":
            self._synthesise_ack(newest.data)
        record = qvis_event(newest, dropped)
        watch = _WATCH.get(record.name)
        if watch is not None:
            watch(self, record)
        if self.first_time is None:
            self.first_time = record.time
        # qvis loses HTTP/3 frames that come before the packet that brought them.
        rank = 1 if record.name == "http:frame_parsed" else 0
        if record.name == "transport:packet_received":
            # Acknowledgements that are logged apart may yet become frames of this packet.
            self.flush()
            self.waiting = len(self.entries), record
            self.entries.append((record.time, rank, b""))
        else:
            self.entries.append((record.time, rank, _encoded(record)))

    def flush(self) -> None:
        """Nothing more belongs to the last packet received."""
        if self.waiting is not None:
            index, record = self.waiting
            time, rank, _ = self.entries[index]
            self.entries[index] = time, rank, _encoded(record)
            self.waiting = None

    def _synthesise_ack(self, data: JsonObject) -> None:
        """qvis knows of acknowledgements only what frames tell."""
        packet = self.waiting[1] if self.waiting is not None else None
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
        packet_number = whole(header.get("packet_number"))
        self.see(record.time, packet_type, packet_number, sent=sent)
        if packet_number is not None:
            counts["numbered"] += 1
            if not sent:
                lowest = self.lowest_received.get(packet_type, packet_number)
                self.lowest_received[packet_type] = min(lowest, packet_number)
        raw = data.get("raw")
        if isinstance(raw, dict) and "length" in raw:
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


def _encoded(record: Record) -> bytes:
    return encoded({"name": record.name, "data": record.data, **record.fields})


_WATCH = {
    "transport:packet_sent": lambda side, record: side.packet(record, sent=True),
    "transport:packet_received": lambda side, record: side.packet(record, sent=False),
    "recovery:metrics_updated": Side.metrics,
    "recovery:packet_lost": Side.lost,
    "transport:parameters_set": Side.parameters,
    "http:frame_created": Side.http_frame,
    "http:frame_parsed": Side.http_frame,
}
