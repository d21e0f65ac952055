"""What one side's trace of a connection tells of its packets, kept in a few bytes per packet."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from qlog.datagrams import Datagrams, told_datagrams
from qlog.model import Event
from qlog.packets import (
    PACKET_EVENTS,
    Packet,
    acked_ranges,
    data_length,
    hexadecimal,
    initiator,
    metrics,
    stream_id,
    whole,
)
from qlog.ranges import Ranges
from qlog.reader import Reader
from qlog.source import UnreadableFileError
from qlog.writer import SAMPLED

SPACES = ("initial", "handshake", "application_data")

_LARGEST = (1 << 62) - 1
# Packets of which no udp_datagrams_sent has told yet: more are never sent at once.
_MAX_PENDING = 1000


class Seen(NamedTuple):
    """A packet as one side logged it. `event` is its index in the trace; -1 stands for what was not logged.

    `type` is an index into `TYPES`; `frames` sums up the frames but for PADDING and ACK.
    """

    number: int
    time: float
    event: int
    length: int
    type: int
    checksum: int
    frames: int


TYPES = ("initial", "handshake", "0RTT", "1RTT")


class Log:
    """The packets of one space and direction, in the order of the trace."""

    def __init__(self) -> None:
        self._columns: tuple[array[Any], ...] = tuple(
            array(code) for code in ("q", "d", "q", "q", "b", "q", "q")
        )
        self.ordered = True

    def __len__(self) -> int:
        return len(self._columns[0])

    def __getitem__(self, at: int) -> Seen:
        return Seen(*(column[at] for column in self._columns))

    def __iter__(self) -> Iterator[Seen]:
        return map(Seen, *self._columns)

    def append(self, seen: Seen) -> None:
        """Add the next one."""
        numbers = self._columns[0]
        if numbers and seen.number <= numbers[-1]:
            self.ordered = False
        for column, value in zip(self._columns, seen, strict=True):
            column.append(value)

    def set_checksum(self, at: int, checksum: int) -> None:
        """What the datagram of a packet turned out to be."""
        self._columns[5][at] = checksum

    def sort(self) -> None:
        """By number, for `find`."""
        if not self.ordered:
            rows = sorted(self)
            self._columns = tuple(
                array(column.typecode, values)
                for column, values in zip(self._columns, zip(*rows, strict=True), strict=True)
            )
            self.ordered = True

    def find(self, number: int) -> Seen | None:
        """The packet of a number; the log must be sorted."""
        at = bisect_left(self._columns[0], number)
        return self[at] if at < len(self) and self._columns[0][at] == number else None


@dataclass(slots=True)
class Side:
    """One connection in one file. Times are those of the trace, in ms from 1970 if it tells."""

    file: str
    role: str
    group_id: str = ""
    trace: int = 0
    sent: dict[str, Log] = field(default_factory=lambda: {space: Log() for space in SPACES})
    received: dict[str, Log] = field(default_factory=lambda: {space: Log() for space in SPACES})
    lost: dict[str, Ranges] = field(default_factory=lambda: {space: Ranges() for space in SPACES})
    acked: dict[str, Ranges] = field(default_factory=lambda: {space: Ranges() for space in SPACES})
    dropped: dict[str, Ranges] = field(default_factory=lambda: {space: Ranges() for space in SPACES})
    dropped_unread: int = 0
    datagrams_sent: Datagrams = field(default_factory=Datagrams)
    datagrams_received: Datagrams = field(default_factory=Datagrams)
    # Packets that lie in the datagrams that are told next: where they are logged, their lengths.
    pending: list[tuple[Log | None, int, int]] = field(default_factory=list)
    parameters: dict[str, dict[str, Any]] = field(default_factory=lambda: {"local": {}, "remote": {}})
    facts: dict[str, Any] = field(default_factory=dict)
    rtts: "array[float]" = field(default_factory=lambda: array("d"))
    first: float = 0.0
    last: float = 0.0
    events: int = 0

    def take(self, event: Event) -> None:
        """The next event of the connection."""
        time = event.time if event.absolute_time is None else event.absolute_time
        self.first = time if not self.events else self.first
        self.last = time
        self.events += 1
        match event.name:
            case "quic:packet_sent" | "quic:packet_received":
                self._packet(event, time)
            case "quic:udp_datagrams_sent" | "quic:udp_datagrams_received":
                self._datagrams(event, time)
            case "quic:packet_lost":
                _add(self.lost, Packet(event))
            case "quic:packet_dropped":
                packet = Packet(event)
                self.dropped_unread += packet.number is None
                _add(self.dropped, packet)
            case "quic:parameters_set":
                self.parameters[initiator(event.data) or "remote"].update(event.data)
            case "quic:version_information" | "quic:alpn_information":
                for name in ("chosen_version", "chosen_alpn"):
                    if name in event.data:
                        self.facts[name] = _plain(name, event.data[name])
            case "quic:recovery_metrics_updated":
                latest = metrics(event).get("latest_rtt")
                if latest:
                    self.rtts.append(latest)
            case _:
                pass

    def _packet(self, event: Event, time: float) -> None:
        packet = Packet(event)
        if packet.type == "1RTT":
            phase = whole(packet.header.get("key_phase"))
            if phase is not None:
                name = "key_phase_sent" if packet.sent else "key_phase_received"
                self.facts[name] = max(phase, self.facts.get(name, 0))
        length = _small(packet.length)
        if not packet.sent and event.data.get("trigger") != "keys_available":
            self.datagrams_received.open_last(length)
        if packet.number is None or not 0 <= packet.number <= _LARGEST:
            if packet.sent:
                self.pending.append((None, 0, length))
            return
        checksum = whole(event.data.get("datagram_payload_checksum"))
        log = (self.sent if packet.sent else self.received)[packet.space]
        log.append(
            Seen(
                packet.number,
                time,
                event.index,
                length,
                TYPES.index(packet.type),
                _small(checksum),
                _sum_of_frames(packet),
            )
        )
        if packet.sent:
            if len(self.pending) >= _MAX_PENDING:
                self.pending.clear()
            self.pending.append((log, len(log) - 1, length))
        else:
            for frame in packet.frames:
                if frame.get("frame_type") == "ack":
                    for low, high in acked_ranges(frame):
                        self.acked[packet.space].add(low, high)

    def _datagrams(self, event: Event, time: float) -> None:
        sent = event.name == "quic:udp_datagrams_sent"
        datagrams = told_datagrams(event, time)
        for datagram in datagrams:
            (self.datagrams_sent if sent else self.datagrams_received).append(datagram)
        if not sent:
            return
        # Packets are told as they are built, so they lie in the datagrams in this order, if lengths agree.
        waiting = iter(self.pending)
        for datagram in datagrams:
            left = datagram.length
            while left > 0:
                log, at, length = next(waiting, (None, 0, -1))
                if not 0 < length <= left:
                    break
                left -= length
                if log is not None and log[at].checksum < 0:
                    log.set_checksum(at, datagram.checksum)
            if left:
                break
        self.pending.clear()


def sides_of(path: Path) -> dict[str, Side]:
    """The connections of a file by group id. Raises UnreadableFileError."""
    found: dict[tuple[int, str], Side] = {}
    for event in Reader(path).events():
        if SAMPLED in event.trace.common_fields:
            raise UnreadableFileError("the trace is sampled: what is missing may not have been logged", path)
        if event.trace.vantage_point.type == "network":
            continue
        key = (event.trace.index, event.group_id)
        if key not in found:
            found[key] = Side(str(path), _role(event), event.group_id, event.trace.index)
        side = found[key]
        if not side.role and event.name in PACKET_EVENTS and Packet(event).type == "initial":
            side.role = "client" if event.name == "quic:packet_sent" else "server"
        side.take(event)
    sides: dict[str, Side] = {}
    for side in found.values():
        # What belongs to no packet, as a group of its own, is no connection.
        if any(len(log) for log in (*side.sent.values(), *side.received.values())):
            sides.setdefault(side.group_id, side)
    for side in sides.values():
        for log in side.sent.values():
            log.sort()
    return sides


def _role(event: Event) -> str:
    role = event.trace.vantage_point.type
    return role if role in {"client", "server"} else ""


def _small(value: int | None) -> int:
    """A value that fits the columns; -1 if there is none."""
    return -1 if value is None or value < 0 else min(value, _LARGEST)


def _add(numbers: dict[str, Ranges], packet: Packet) -> None:
    if packet.number is not None:
        numbers[packet.space].add(packet.number, packet.number)


def _plain(name: str, value: Any) -> Any:
    if name == "chosen_version":
        if isinstance(value, int):
            return f"{value:08x}"
        text = hexadecimal(value)
        return value if text is None else text.rjust(8, "0")
    if isinstance(value, dict):
        text = value.get("string_value")
        if isinstance(text, str):
            return text
        digits = hexadecimal(value.get("byte_value")) or ""
        return bytes.fromhex(digits if len(digits) % 2 == 0 else "").decode("ascii", "backslashreplace")
    return value


def _sum_of_frames(packet: Packet) -> int:
    """A checksum of what both sides log alike; -1 without frames.

    PADDING is one frame to some and many to others, and the ranges of an ACK are in any order.
    """
    if not packet.frames:
        return -1
    parts = [
        (
            frame.get("frame_type"),
            stream_id(frame),
            whole(frame.get("offset", 0)),
            frame.get("fin") is True,
            data_length(frame) if frame.get("frame_type") in {"stream", "crypto"} else None,
        )
        for frame in packet.frames
        if frame.get("frame_type") not in {"padding", "ack"}
    ]
    return crc32(repr(parts).encode())
