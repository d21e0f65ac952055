"""A strict check of the limits that a peer sets (RFC 9000 §4); see `interop.strict_checks`."""

from endpoint.level import Level
from endpoint.wire.frames import MaxData, MaxStreamData, MaxStreams, ResetStream, Stream
from endpoint.wire.transport_params import TransportParameters
from interop.capture import Capture, Complaint
from interop.checks import Run, senders
from interop.dissect.connection import Connection
from interop.dissect.model import Packet, Side

# RFC 9000 §2.1: the two low bits of a stream ID.
_BY_SERVER = 0x01
_UNIDIRECTIONAL = 0x02
_MOST_COMPLAINTS = 5


def limits(run: Run) -> list[Complaint]:
    """RFC 9000 §4: nobody sends data or opens streams beyond what the other side has allowed by then."""
    return [
        complaint
        for side, capture in senders(run)
        for complaint in _complaints(capture, side)[:_MOST_COMPLAINTS]
    ]


def _complaints(capture: Capture, side: Side) -> list[Complaint]:
    windows: dict[Connection, _Windows] = {}
    found = []
    for datagram in capture.datagrams:
        for packet in datagram.packets:
            connection = packet.connection
            if connection is None or not packet.is_open:
                continue
            window = windows.setdefault(connection, _Windows(side))
            if packet.sender is not side:
                window.on_received(packet)
            elif (text := window.on_sent(packet)) is not None:
                found.append(capture.complaint(text, datagram, packet, side))
    return found


class _Windows:
    """What a side may send, and has sent, in one connection."""

    def __init__(self, side: Side) -> None:
        self._side = side
        # None until the peer's parameters are known: 0-RTT goes by those of another connection.
        self._params: TransportParameters | None = None
        self._max_data = 0
        self._max_stream_data: dict[int, int] = {}
        self._max_streams = {False: 0, True: 0}
        self._sent: dict[int, int] = {}
        self._total = 0

    def on_received(self, packet: Packet) -> None:
        """Limits grow (RFC 9000 §4.1): a smaller value than before is ignored."""
        for message in packet.messages:
            if message.parameters is not None:
                self._params = message.parameters
                self._max_data = max(self._max_data, message.parameters.initial_max_data)
                for unidirectional, streams in (
                    (False, message.parameters.initial_max_streams_bidi),
                    (True, message.parameters.initial_max_streams_uni),
                ):
                    self._max_streams[unidirectional] = max(self._max_streams[unidirectional], streams)
        for frame in packet.frames:
            if isinstance(frame, MaxData):
                self._max_data = max(self._max_data, frame.maximum_data)
            elif isinstance(frame, MaxStreamData):
                before = self._max_stream_data.get(frame.stream_id, 0)
                self._max_stream_data[frame.stream_id] = max(before, frame.maximum_stream_data)
            elif isinstance(frame, MaxStreams):
                before = self._max_streams[frame.unidirectional]
                self._max_streams[frame.unidirectional] = max(before, frame.maximum_streams)

    def on_sent(self, packet: Packet) -> str | None:
        """The limit that the packet exceeds, if any."""
        exceeded = None
        for frame in packet.frames:
            if isinstance(frame, Stream):
                end = frame.offset + len(frame.data)
            elif isinstance(frame, ResetStream):
                end = frame.final_size
            else:
                continue
            exceeded = self._on_data(frame.stream_id, end, packet.level) or exceeded
        return exceeded

    def _on_data(self, stream_id: int, end: int, level: Level | None) -> str | None:
        before = self._sent.get(stream_id, 0)
        if end > before or stream_id not in self._sent:
            self._sent[stream_id] = max(before, end)
            self._total += max(0, end - before)
        if self._params is None or level is not Level.ONE_RTT:
            return None
        if self._total > self._max_data:
            return f"{self._total} bytes of stream data where {self._max_data} are allowed"
        limit = max(self._max_stream_data.get(stream_id, 0), self._initial_limit(stream_id, self._params))
        if end > limit:
            return f"stream {stream_id} goes to {end} where {limit} is allowed"
        streams = self._max_streams[bool(stream_id & _UNIDIRECTIONAL)]
        if self._is_ours(stream_id) and stream_id >> 2 >= streams:
            return f"stream {stream_id} is opened where {streams} streams are allowed"
        return None

    def _is_ours(self, stream_id: int) -> bool:
        return bool(stream_id & _BY_SERVER) == (self._side is Side.SERVER)

    def _initial_limit(self, stream_id: int, params: TransportParameters) -> int:
        """The peer's parameters speak of streams from its point of view (RFC 9000 §18.2)."""
        if stream_id & _UNIDIRECTIONAL:
            return params.initial_max_stream_data_uni
        if self._is_ours(stream_id):
            return params.initial_max_stream_data_bidi_remote
        return params.initial_max_stream_data_bidi_local
