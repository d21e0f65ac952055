"""Packets, frames and metrics of events of any era, in the words of the newest."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from qlog.model import Event, JsonObject

PACKET_EVENTS = {"quic:packet_sent", "quic:packet_received"}

SPACES = {
    "initial": "initial",
    "handshake": "handshake",
    "0RTT": "application_data",
    "1RTT": "application_data",
}

METRICS = (
    "min_rtt",
    "smoothed_rtt",
    "latest_rtt",
    "rtt_variance",
    "pto_count",
    "congestion_window",
    "bytes_in_flight",
    "ssthresh",
    "packets_in_flight",
    "pacing_rate",
)
# With what they were called before.
_NAMES = {name: name for name in METRICS} | {"cwnd": "congestion_window", "rttvar": "rtt_variance"}
_TIMES = {"min_rtt", "smoothed_rtt", "latest_rtt", "rtt_variance"}

_PACKET_TYPES = {
    "1rtt": "1RTT",
    "onertt": "1RTT",
    "0rtt": "0RTT",
    "zerortt": "0RTT",
    "versionnegotiation": "version_negotiation",
}

# RFC 9000 §13.2: all others make the receiver acknowledge.
NOT_ACK_ELICITING = {"ack", "padding", "connection_close"}
_NOT_IN_FLIGHT = {"ack", "connection_close"}

STREAM_PARTS = frozenset({"stream", "reset_stream", "reset_stream_at"})


class Packet:
    """A packet_sent, packet_received or packet_lost.

    `type` is as in the newest drafts, `space` one of initial, handshake, application_data or "" where packets
    have no number. `number` and `length` (of the whole packet, in bytes) are None if they were not logged;
    `frames` is empty then, too. `sent` is False for packet_received. The receiver must acknowledge what is
    `ack_eliciting`, congestion control counts what is `in_flight` (RFC 9002 §2).
    """

    __slots__ = (
        "_kinds",
        "ack_eliciting",
        "event",
        "frames",
        "header",
        "in_flight",
        "length",
        "number",
        "sent",
        "space",
        "time",
        "type",
    )

    def __init__(self, event: Event) -> None:
        data = event.data
        header = data.get("header")
        self.event = event
        self.time = event.time
        self.header: JsonObject = header if isinstance(header, dict) else {}
        written = self.header.get("packet_type") or data.get("packet_type") or data.get("type")
        name = written if isinstance(written, str) else ""
        self.type = name if name in SPACES else _PACKET_TYPES.get(name.lower(), name)
        self.space = SPACES.get(self.type, "")
        number = self.header.get("packet_number", data.get("packet_number"))
        self.number = whole(number) if self.space else None
        raw = data.get("raw")
        size = raw.get("length") if isinstance(raw, dict) else self.header.get("packet_size")
        self.length = whole(size)
        self.sent = event.name != "quic:packet_received"
        frames = data.get("frames")
        self.frames: list[JsonObject] = (
            [
                frame
                for frame in frames
                if isinstance(frame, dict) and isinstance(frame.get("frame_type"), str)
            ]
            if isinstance(frames, list)
            else []
        )
        self._kinds: set[str] = {frame["frame_type"] for frame in self.frames}
        self.ack_eliciting = not self._kinds <= NOT_ACK_ELICITING
        self.in_flight = self.ack_eliciting or not self._kinds <= _NOT_IN_FLIGHT

    def has(self, frame_type: str) -> bool:
        """Whether one of its frames is of a type."""
        return frame_type in self._kinds


class StreamPart(NamedTuple):
    """What a STREAM frame carries, or what a RESET_STREAM or RESET_STREAM_AT frame ends.

    `end` is the offset behind the data, or the final size of a reset, None if it was not logged; for resets
    `offset` is None. `fixes` tells whether `end` is the final size (RFC 9000 §4.5).
    """

    stream: int
    kind: str
    offset: int | None
    end: int | None
    fixes: bool


def stream_part(frame: JsonObject) -> StreamPart | None:
    """None for other frames, and if the stream was not logged."""
    kind = frame["frame_type"]
    if kind not in STREAM_PARTS:
        return None
    stream = stream_id(frame)
    if stream is None:
        return None
    if kind != "stream":
        return StreamPart(stream, kind, None, whole(frame.get("final_size")), fixes=True)
    offset, length = frame.get("offset", 0), data_length(frame)
    if type(offset) is not int:
        offset = whole(offset)
    end = None if offset is None or length is None else offset + length
    return StreamPart(stream, kind, offset, end, frame.get("fin") is True)


def whole(value: Any) -> int | None:
    """An integer; the drafts allow its digits as a text, too. None if it is no integer."""
    if type(value) is int:
        return value
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 20:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return None


def number(value: Any) -> float | None:
    """An integer or float; None if it is none."""
    return float(value) if type(value) is int or type(value) is float else whole(value)


def stream_id(values: Mapping[str, Any]) -> int | None:
    """The stream that a frame or an event is about."""
    written = values.get("stream_id")
    if type(written) is int:
        return written
    return whole(values.get("stream_id", values.get("id")))


def data_length(frame: JsonObject) -> int | None:
    """Bytes of data in a STREAM, CRYPTO or DATAGRAM frame.

    raw.length is the frame's own length field to some and all of the frame to others; raw.payload_length is
    the data to all.
    """
    raw = frame.get("raw")
    if isinstance(raw, dict):
        length = raw.get("payload_length", raw.get("length"))
        if type(length) is int:
            return length
    places = [raw, frame] if isinstance(raw, dict) else [frame]
    for place in places:
        for name in ("payload_length", "length"):
            length = whole(place.get(name))
            if length is not None:
                return length
    return None


def acked_ranges(frame: JsonObject) -> list[tuple[int, int]]:
    """What an ACK frame acknowledges, as (smallest, largest), in the order of the file."""
    found = []
    written = frame.get("acked_ranges")
    for item in written if isinstance(written, list) else []:
        bounds = [whole(bound) for bound in item] if isinstance(item, list) else [whole(item)]
        if bounds and bounds[0] is not None and bounds[-1] is not None:
            found.append((bounds[0], bounds[-1]))
    return found


def metrics(event: Event) -> dict[str, float]:
    """The numbers of a recovery_metrics_updated; times in ms."""
    scale = 0.001 if event.trace.time_units == "us" else 1.0
    found = {}
    for written, data in event.data.items():
        name = _NAMES.get(written)
        if name is None or (name != written and name in event.data):
            continue
        value = number(data)
        if value is not None:
            found[name] = value * scale if name in _TIMES else value
    return found


def ack_delay(frame: JsonObject, event: Event) -> float | None:
    """The delay that an ACK frame tells, in ms."""
    value = number(frame.get("ack_delay"))
    if value is None:
        return None
    return value * 0.001 if event.trace.time_units == "us" else value


def initiator(data: JsonObject) -> str:
    """Whose the values of an event are: local, remote or "" if it does not say."""
    written = data.get("initiator", data.get("owner"))
    return written if written in ("local", "remote") else ""


def datagram_lengths(event: Event) -> list[int]:
    """The sizes of UDP payloads that a udp_datagrams_* event tells."""
    raw = event.data.get("raw")
    items = raw if isinstance(raw, list) else [raw]
    lengths = [whole(item.get("length")) for item in items if isinstance(item, dict)]
    if not lengths:
        lengths = [whole(event.data.get("byte_length"))]
    return [length for length in lengths if length is not None]


def hexadecimal(value: Any) -> str | None:
    """Hex digits in lower case; None if it is not hex. Stacks write "(empty)" for an empty connection ID."""
    if not isinstance(value, str):
        return None
    text = "" if value == "(empty)" else value.lower().removeprefix("0x")
    return text if all(digit in "0123456789abcdef" for digit in text) else None
