"""Streams as a tracer is told: their states (RFC 9000 §3), and what the application gives and takes."""

from collections import deque

from endpoint.config import Config
from endpoint.events import Event
from endpoint.trace import Tracer
from endpoint.transport.recv_stream import RecvStream
from endpoint.transport.send_stream import SendStream
from endpoint.transport.stream_control import Stream, StreamControlFrame
from endpoint.transport.stream_limits import SERVER_INITIATED, UNIDIRECTIONAL
from endpoint.transport.stream_state import RecvState, SendState
from endpoint.transport.streams import Streams
from endpoint.wire.frames import FrameType, ResetStream

_SENDING = {
    SendState.READY: "ready",
    SendState.SEND: "send",
    SendState.DATA_SENT: "data_sent",
    SendState.DATA_RECVD: "data_received",
    SendState.RESET_SENT: "reset_sent",
    SendState.RESET_RECVD: "reset_received",
}
_RECEIVING = {
    RecvState.RECV: "receive",
    RecvState.SIZE_KNOWN: "size_known",
    RecvState.DATA_RECVD: "data_received",
    RecvState.RESET_RECVD: "reset_received",
    RecvState.DATA_READ: "data_read",
    RecvState.RESET_READ: "reset_read",
}


class TracedStreams(Streams):
    """The streams of a connection with a tracer: remembers which of them something happened to."""

    def __init__(self, config: Config, *, is_client: bool, events: deque[Event], tracer: Tracer) -> None:
        super().__init__(config, is_client=is_client, events=events)
        self._tracer = tracer
        self._touched: dict[int, Stream] = {}
        self._told: dict[int, tuple[SendState | None, RecvState | None]] = {}
        self._blocked: set[int] = set()

    def tell(self, now: float) -> None:
        """Tell what has changed since the last call."""
        if self._touched:
            for stream in self._touched.values():
                self._tell_stream(stream, now)
            self._touched.clear()

    @property
    def waits_for_max_data(self) -> bool:
        """Whether there is data that only the peer's limit on all streams holds back (RFC 9000 §4.1)."""
        return bool(self._waiting)

    # What the application does.

    def deliver_whole(self, *, finished: bool = True) -> None:
        """Not where each step is told; only the end is as one likes."""
        self._tells_finished = finished

    def write(self, stream_id: int, data: bytes | bytearray | memoryview, fin: bool = False) -> int:
        """See `Streams`."""
        stream = self._streams.get(stream_id)
        self._touch(stream)
        before = stream.send.written if stream is not None and stream.send is not None else 0
        size = memoryview(data).nbytes
        accepted = super().write(stream_id, data, fin)
        ended = fin and accepted == size
        if accepted or ended:
            self._tracer.stream_data_moved(stream_id, before, accepted, received=False, fin=ended)
        return accepted

    def read(self, stream_id: int, max_bytes: int | None = None) -> tuple[bytes, bool]:
        """See `Streams`."""
        stream = self._streams.get(stream_id)
        before = stream.receive.read_offset if stream is not None and stream.receive is not None else 0
        data, fin = super().read(stream_id, max_bytes)
        if data or fin:
            self._tracer.stream_data_moved(stream_id, before, len(data), received=True, fin=fin)
        return data, fin

    # What may change a state.

    def on_stream_data(self, stream_id: int, offset: int, data: bytes, fin: bool) -> None:
        """See `Streams`."""
        self._touch(self._streams.get(stream_id))
        super().on_stream_data(stream_id, offset, data, fin)

    def on_sent(self, send: SendStream, offset: int, length: int, fin: bool) -> None:
        """See `Streams`."""
        self._touch(self._streams.get(send.stream_id))
        super().on_sent(send, offset, length, fin)

    def on_control_acked(self, frame: StreamControlFrame) -> None:
        """See `Streams`."""
        if isinstance(frame, ResetStream):
            self._touch(self._streams.get(frame.stream_id))
        super().on_control_acked(frame)

    def on_send_finished(self, stream: SendStream) -> None:
        """See `Streams`."""
        self._touch(self._streams.get(stream.stream_id))
        super().on_send_finished(stream)

    def _create(self, stream_id: int) -> Stream:
        stream = super()._create(stream_id)
        self._touch(stream)
        return stream

    def _find(self, stream_id: int, frame_type: FrameType) -> Stream | None:
        stream = super()._find(stream_id, frame_type)
        self._touch(stream)
        return stream

    def _sending(self, stream_id: int) -> SendStream | None:
        self._touch(self._streams.get(stream_id))
        return super()._sending(stream_id)

    def _receiving(self, stream_id: int) -> RecvStream | None:
        self._touch(self._streams.get(stream_id))
        return super()._receiving(stream_id)

    def _touch(self, stream: Stream | None) -> None:
        if stream is not None:
            self._touched[stream.stream_id] = stream

    # What is told.

    def _tell_stream(self, stream: Stream, now: float) -> None:
        send = None if stream.send is None else stream.send.state
        receive = None if stream.receive is None else stream.receive.state
        stream_id = stream.stream_id
        told_send, told_receive = self._told.get(stream_id, (None, None))
        if send is not None and send is not told_send:
            old = None if told_send is None else _SENDING[told_send]
            self._tell_state(stream_id, "sending", old, _SENDING[send], now)
        if receive is not None and receive is not told_receive:
            old = None if told_receive is None else _RECEIVING[told_receive]
            self._tell_state(stream_id, "receiving", old, _RECEIVING[receive], now)
        if stream.send is not None and stream.send.is_blocked != (stream_id in self._blocked):
            self._tell_blocked(stream_id, now)
        if stream.finished:
            self._told.pop(stream_id, None)
        else:
            self._told[stream_id] = send, receive

    def _tell_blocked(self, stream_id: int, now: float) -> None:
        """MAX_STREAM_DATA holds a stream back, or does so no more."""
        data: dict[str, object] = {"stream_id": stream_id, "old": "blocked", "new": "unblocked"}
        if stream_id in self._blocked:
            self._blocked.discard(stream_id)
        else:
            self._blocked.add(stream_id)
            data |= {"old": "unblocked", "new": "blocked", "reason": "stream_flow_control"}
        self._tracer.event(now, "stream_data_blocked_updated", data)

    def _tell_state(self, stream_id: int, side: str, old: str | None, new: str, now: float) -> None:
        data: dict[str, object] = {
            "stream_id": stream_id,
            "stream_type": "unidirectional" if stream_id & UNIDIRECTIONAL else "bidirectional",
            "new": new,
            "stream_side": side,
        }
        if old is None:
            data["trigger"] = "local" if stream_id & SERVER_INITIATED == self._own_bit else "remote"
        else:
            data["old"] = old
        self._tracer.event(now, "stream_state_updated", data)
