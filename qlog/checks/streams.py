"""Group F, first part: streams, their data and their ends."""

from typing import ClassVar

from qlog.checks.base import Check
from qlog.checks.scene import Scene
from qlog.model import Event, JsonObject
from qlog.packets import Packet, StreamPart, data_length, stream_id, whole
from qlog.ranges import Ranges

_LARGEST = (1 << 62) - 1

# Streams that state is kept of, per direction.
MOST_STREAMS = 100_000


class NoHoles(Check):
    """Below the final size every byte was sent at least once."""

    id = "F01"
    title = "every byte of a finished stream was sent"
    reference = "RFC 9000 §2.2, §19.8"
    needs_history = True
    sent = True

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._open: dict[int, Ranges] = {}
        self._final: dict[int, tuple[int, Event]] = {}
        self._done: set[int] = set()

    def on_part(self, packet: Packet, index: int, part: StreamPart) -> None:
        del index
        stream = part.stream
        if stream in self._done:
            return
        if part.kind != "stream":
            self._forget(stream)
            return
        if part.offset is None or part.end is None:
            return
        ranges = self._open.get(stream)
        if ranges is None:
            ranges = self._open[stream] = Ranges()
        ranges.add(part.offset, part.end - 1)
        if part.fixes:
            self._final[stream] = (part.end, packet.event)
        final = self._final.get(stream)
        if (final is not None and ranges.covers(0, final[0] - 1)) or len(self._open) > MOST_STREAMS:
            self._forget(stream)

    def _forget(self, stream: int) -> None:
        self._open.pop(stream, None)
        self._final.pop(stream, None)
        if len(self._done) < MOST_STREAMS:
            self._done.add(stream)

    def on_end(self) -> None:
        for stream, (size, event) in self._final.items():
            for low, high in self._open[stream].missing(0, size - 1):
                message = f"bytes {low} to {high} of stream {stream} were never sent, its size is {size}"
                self.report(event, message, "/data/frames")
                break


class FinalSize(Check):
    """FIN and RESET_STREAM fix the size of a stream for good; a receiver answers FINAL_SIZE_ERROR."""

    id = "F02"
    title = "the final size never changes, and no data lies behind it"
    reference = "RFC 9000 §4.5"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._final: dict[tuple[bool, int], int] = {}
        self._highest: dict[tuple[bool, int], int] = {}

    def on_part(self, packet: Packet, index: int, part: StreamPart) -> None:
        stream, end, fixes = part.stream, part.end, part.fixes
        if end is None or len(self._highest) > MOST_STREAMS:
            return
        key = (packet.sent, stream)
        highest = self._highest.get(key, 0)
        known = self._final.get(key)
        if known is None and not fixes:
            if end > highest:
                self._highest[key] = end
            return
        pointer, highest = f"/data/frames/{index}", max(highest, end)
        if fixes and known is not None and known != end:
            self.report(packet.event, f"the final size of stream {stream} was {known} and is {end}", pointer)
        elif fixes and highest > end:
            message = f"stream {stream} ends at {end}, data went up to {highest}"
            self.report(packet.event, message, pointer)
        elif known is not None and end > known:
            self.report(packet.event, f"data up to {end} of stream {stream}, which ended at {known}", pointer)
        self._highest[key] = highest
        if fixes:
            self._final.setdefault(key, end)


class StreamDirections(Check):
    """On a unidirectional stream one side sends data and the other says how much it takes."""

    id = "F07"
    title = "frames fit the direction of their stream"
    reference = "RFC 9000 §19.4, §19.5, §19.8, §19.10, §19.13"
    frames = ("stream_data_blocked", "max_stream_data", "stop_sending")

    def on_part(self, packet: Packet, index: int, part: StreamPart) -> None:
        if part.stream & 2:
            self._check(packet, index, part.stream, part.kind, of_sender=True)

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        stream, kind = stream_id(frame), str(frame["frame_type"])
        if stream is not None and stream & 2:
            self._check(packet, index, stream, kind, of_sender=kind == "stream_data_blocked")

    def _check(self, packet: Packet, index: int, stream: int, kind: str, *, of_sender: bool) -> None:
        sender = self.scene.sender(packet)
        opened_it = (stream & 1 == 1) == (sender == "server")
        if sender and opened_it != of_sender:
            what = "send-only" if opened_it else "receive-only"
            message = f"{kind} on stream {stream}, which is {what} to the {sender}"
            self.report(packet.event, message, f"/data/frames/{index}")


class AfterReset(Check):
    """RESET_STREAM ends the sending of a stream. What RESET_STREAM_AT promises may still be sent."""

    id = "F08"
    title = "a stream that was reset sends nothing but the reset"
    reference = "RFC 9000 §3.1, §3.3"
    sent = True
    frames = ("stream_data_blocked",)

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._reset: dict[int, float] = {}

    def on_part(self, packet: Packet, index: int, part: StreamPart) -> None:
        if part.kind == "stream":
            self._check(packet, index, part.stream, "stream")
        elif part.kind == "reset_stream" and len(self._reset) < MOST_STREAMS:
            self._reset.setdefault(part.stream, packet.time)

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        self._check(packet, index, stream_id(frame), "stream_data_blocked")

    def _check(self, packet: Packet, index: int, stream: int | None, kind: str) -> None:
        if stream in self._reset and packet.time - self._reset[stream] > self.scene.slack:
            message = f"{kind} on stream {stream} after its reset"
            self.report(packet.event, message, f"/data/frames/{index}")


class CryptoOffsets(Check):
    """The handshake is a stream in each of the levels. Pieces of a packet may be in any order."""

    id = "F10"
    title = "CRYPTO frames cover their stream from 0 without a hole"
    reference = "RFC 9000 §19.6"
    needs_history = True
    frames = ("crypto",)

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._sent: dict[str, Ranges] = {}
        self._last: dict[str, Event] = {}

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        offset, length = whole(frame.get("offset", 0)), data_length(frame)
        if offset is None or length is None:
            return
        if offset + length > _LARGEST:
            self.report(packet.event, f"CRYPTO data up to {offset + length}", f"/data/frames/{index}/offset")
        elif packet.sent:
            self._sent.setdefault(packet.space, Ranges()).add(offset, offset + length - 1)
            self._last[packet.space] = packet.event

    def on_end(self) -> None:
        for space, ranges in self._sent.items():
            for low, high in ranges.missing(0, ranges.largest):
                message = f"CRYPTO bytes {low} to {high} of {space} were never sent"
                self.report(self._last[space], message, "/data/frames")
                break


class DataMoved(Check):
    """Data crosses to or from the application in the order of its offsets."""

    id = "F11"
    title = "stream_data_moved continues where it left off"
    reference = "draft-ietf-quic-qlog-quic-events, stream_data_moved"
    severity = "warning"
    needs_history = True
    events = ("quic:stream_data_moved",)
    _names: ClassVar[dict[str, str]] = {"user": "application"}

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._next: dict[tuple[int, str, str], int] = {}

    def on_event(self, event: Event) -> None:
        data = event.data
        stream, offset, length = stream_id(data), whole(data.get("offset")), data_length(data)
        ends = [self._names.get(str(data.get(name)), str(data.get(name))) for name in ("from", "to")]
        if stream is None or offset is None or length is None or "application" not in ends:
            return
        key = (stream, ends[0], ends[1])
        expected = self._next.get(key, 0)
        if offset != expected:
            message = f"offset {offset} of stream {stream} from {ends[0]} to {ends[1]}, after {expected}"
            self.report(event, message, "/data/offset")
        if len(self._next) < MOST_STREAMS or key in self._next:
            self._next[key] = offset + length


class Datagrams(Check):
    """A peer that takes DATAGRAM frames says how large; 0 is the same as saying nothing."""

    id = "F12"
    title = "DATAGRAM frames are not larger than the peer's max_datagram_frame_size"
    reference = "RFC 9221 §3"
    frames = ("datagram",)

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        limit = whole(self.scene.receiver_parameters(packet).get("max_datagram_frame_size"))
        length = data_length(frame)
        if limit is None:
            return
        # The limit is for the frame, whose type takes a byte.
        if limit == 0 or (length is not None and length + 1 > limit):
            message = f"DATAGRAM with {length} bytes, the limit is {limit}"
            self.report(packet.event, message, f"/data/frames/{index}")


class Retransmissions(Check):
    """Data is sent again after a loss or as a probe. Before either, it is sent too often."""

    id = "F13"
    title = "data is sent again only after a loss or as a probe"
    reference = "RFC 9000 §13.3"
    severity = "info"
    needs_history = True
    sent = True
    events = ("quic:packet_lost", "quic:marked_for_retransmit", "quic:timer_updated")

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._sent: dict[int, int] = {}
        self._found: list[tuple[Event, str, str]] = []
        self._reason = False
        self._losses = False

    def on_event(self, event: Event) -> None:
        self._losses = self._losses or event.name == "quic:packet_lost"
        self._reason = self._reason or event.name != "quic:timer_updated" or _is_expired_pto(event)

    def on_part(self, packet: Packet, index: int, part: StreamPart) -> None:
        stream, end = part.stream, part.end
        if self._reason or end is None or part.kind != "stream":
            return
        # Of 0-RTT all may have been rejected.
        if packet.type != "1RTT" or packet.event.data.get("trigger") or self.scene.metrics.get("pto_count"):
            self._reason = True
            return
        offset = part.offset or 0
        highest = self._sent.get(stream, 0)
        if offset < highest and end > offset:
            message = f"stream {stream} is sent again from {offset}, nothing was lost so far"
            pointer = f"/data/frames/{index}/offset"
            event = packet.event
            self.scene.settle(event, lambda: self._keep(event, message, pointer))
        if len(self._sent) < MOST_STREAMS or stream in self._sent:
            self._sent[stream] = max(highest, end)

    def _keep(self, event: Event, message: str, pointer: str) -> None:
        if not self._reason and len(self._found) < 1000:
            self._found.append((event, message, pointer))

    def on_end(self) -> None:
        # A trace without any loss may be of a stack that logs none.
        if self._losses:
            for event, message, pointer in self._found:
                self.report(event, message, pointer)


def _is_expired_pto(event: Event) -> bool:
    return event.data.get("timer_type") == "pto" and event.data.get("event_type") == "expired"
