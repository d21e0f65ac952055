"""Which control frames of streams are due, and which are due again after a loss (RFC 9000 §13.3).

What is kept is *that* a frame is due; its content is made when it is sent, from the state of that
moment. So a window update carries the current limit, and what has become pointless is never sent.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from endpoint.errors import TransportError, TransportErrorCode
from endpoint.transport.flow_control import ReceiveWindow, SendWindow
from endpoint.transport.recv_stream import RecvStream
from endpoint.transport.send_stream import SendStream
from endpoint.transport.stream_limits import AcceptLimit, OpenLimit
from endpoint.transport.stream_state import RECV_TERMINAL, SEND_TERMINAL, RecvState, SendState
from endpoint.wire.frames import (
    DataBlocked,
    FrameType,
    MaxData,
    MaxStreamData,
    MaxStreams,
    ResetStream,
    StopSending,
    StreamDataBlocked,
    StreamsBlocked,
)

StreamControlFrame = (
    MaxData
    | MaxStreamData
    | MaxStreams
    | DataBlocked
    | StreamDataBlocked
    | StreamsBlocked
    | ResetStream
    | StopSending
)

# The largest encoding of each: a type of one byte and fields of eight.
_ONE_FIELD, _TWO_FIELDS, _THREE_FIELDS = 9, 17, 25
_MAX_SIZE = {
    FrameType.MAX_DATA: _ONE_FIELD,
    FrameType.DATA_BLOCKED: _ONE_FIELD,
    FrameType.MAX_STREAMS_BIDI: _ONE_FIELD,
    FrameType.MAX_STREAMS_UNI: _ONE_FIELD,
    FrameType.STREAMS_BLOCKED_BIDI: _ONE_FIELD,
    FrameType.STREAMS_BLOCKED_UNI: _ONE_FIELD,
    FrameType.MAX_STREAM_DATA: _TWO_FIELDS,
    FrameType.STREAM_DATA_BLOCKED: _TWO_FIELDS,
    FrameType.STOP_SENDING: _TWO_FIELDS,
    FrameType.RESET_STREAM: _THREE_FIELDS,
}

# Frames about the part with which we send; the others are about the one with which we receive.
ABOUT_SENDING = frozenset((FrameType.STOP_SENDING, FrameType.MAX_STREAM_DATA))

# By `unidirectional`.
MAX_STREAMS = (FrameType.MAX_STREAMS_BIDI, FrameType.MAX_STREAMS_UNI)
STREAMS_BLOCKED = (FrameType.STREAMS_BLOCKED_BIDI, FrameType.STREAMS_BLOCKED_UNI)


class Stream:
    """The parts of one stream that exist here; a unidirectional stream has one."""

    __slots__ = ("readable_reported", "receive", "received_size", "send", "stream_id")

    def __init__(self, stream_id: int, send: SendStream | None, receive: RecvStream | None) -> None:
        self.stream_id = stream_id
        self.send = send
        self.receive = receive
        self.readable_reported = False  # StreamReadable was reported and nothing read since
        self.received_size: int | None = None  # of what came whole, for which there was no receiving part

    def check_size(self, end: int, fin: bool) -> None:
        """More about a stream that came whole: its size never changes (RFC 9000 §4.5)."""
        size = self.received_size
        if size is not None and (end > size or (fin and end != size)):
            raise TransportError(
                TransportErrorCode.FINAL_SIZE_ERROR,
                f"stream {self.stream_id} ends at {end}, {size} bytes were known before",
            )

    @property
    def finished(self) -> bool:
        """Whether every part has reached a terminal state."""
        send, receive = self.send, self.receive
        return (send is None or send.state in SEND_TERMINAL) and (
            receive is None or receive.state in RECV_TERMINAL
        )


class StreamControl:
    """The due control frames of one connection, `due` in the order they became so, each once."""

    __slots__ = ("_accept", "_open", "_receive_window", "_send_window", "_streams", "due")

    def __init__(
        self,
        streams: Mapping[int, Stream],
        receive_window: ReceiveWindow,
        send_window: SendWindow,
        open_limits: Sequence[OpenLimit],
        accept_limits: Sequence[AcceptLimit],
    ) -> None:
        """Everything is shared with the owner; the limits are a pair, bidirectional first."""
        self._streams = streams
        self._receive_window = receive_window
        self._send_window = send_window
        self._open = open_limits
        self._accept = accept_limits
        self.due: OrderedDict[tuple[FrameType, int], None] = OrderedDict()

    def add(self, frame_type: FrameType, stream_id: int = 0) -> None:
        """A frame of this type is due, for the stream where the type has one."""
        self.due[frame_type, stream_id] = None

    def take(self, now: float, rtt: float, max_bytes: int) -> list[StreamControlFrame]:
        """The frames to send now: as many as certainly fit in `max_bytes`. `now`, `rtt` in seconds."""
        frames: list[StreamControlFrame] = []
        while self.due:
            key = next(iter(self.due))
            frame_type, stream_id = key
            max_bytes -= _MAX_SIZE[frame_type]
            if max_bytes < 0:
                break
            del self.due[key]
            frame = self._make(frame_type, stream_id, now, rtt)
            if frame is None:
                max_bytes += _MAX_SIZE[frame_type]
            else:
                frames.append(frame)
        return frames

    def on_lost(self, frame: StreamControlFrame) -> None:
        """The packet with `frame` was lost. It is due again if it was the latest and still matters."""
        match frame:
            case MaxData():
                if frame.maximum_data == self._receive_window.limit:
                    self.add(FrameType.MAX_DATA)
            case MaxStreamData():
                stream = self._streams.get(frame.stream_id)
                receive = stream and stream.receive
                if receive and frame.maximum_stream_data == receive.window.limit:
                    self.add(FrameType.MAX_STREAM_DATA, frame.stream_id)
            case MaxStreams():
                if frame.maximum_streams == self._accept[frame.unidirectional].limit:
                    self.add(MAX_STREAMS[frame.unidirectional])
            # Whether the rest still matters is looked up when it is made.
            case ResetStream():
                self.add(FrameType.RESET_STREAM, frame.stream_id)
            case StopSending():
                self.add(FrameType.STOP_SENDING, frame.stream_id)
            case DataBlocked():
                if frame.maximum_data == self._send_window.limit:
                    self.add(FrameType.DATA_BLOCKED)
            case StreamDataBlocked():
                self.add(FrameType.STREAM_DATA_BLOCKED, frame.stream_id)
            case StreamsBlocked():
                if frame.maximum_streams == self._open[frame.unidirectional].limit:
                    self.add(STREAMS_BLOCKED[frame.unidirectional])

    def _make(
        self, frame_type: FrameType, stream_id: int, now: float, rtt: float
    ) -> StreamControlFrame | None:
        """The frame as of now, None if nobody needs it any more."""
        match frame_type:
            case FrameType.MAX_DATA:
                return MaxData(self._receive_window.update(now, rtt))
            case FrameType.MAX_STREAMS_BIDI | FrameType.MAX_STREAMS_UNI:
                unidirectional = frame_type is FrameType.MAX_STREAMS_UNI
                return MaxStreams(self._accept[unidirectional].update(), unidirectional)
            case FrameType.DATA_BLOCKED:
                window = self._send_window
                return DataBlocked(window.limit) if window.available <= 0 else None
            case FrameType.STREAMS_BLOCKED_BIDI | FrameType.STREAMS_BLOCKED_UNI:
                unidirectional = frame_type is FrameType.STREAMS_BLOCKED_UNI
                limit = self._open[unidirectional]
                return StreamsBlocked(limit.limit, unidirectional) if limit.blocked else None
        stream = self._streams.get(stream_id)
        if stream is None:
            return None
        if frame_type is FrameType.MAX_STREAM_DATA and stream.receive is not None:
            return self._make_max_stream_data(stream.receive, now, rtt)
        if frame_type is FrameType.STOP_SENDING and stream.receive is not None:
            return _make_stop_sending(stream.receive)
        if frame_type is FrameType.RESET_STREAM and stream.send is not None:
            return _make_reset_stream(stream.send)
        if frame_type is FrameType.STREAM_DATA_BLOCKED and stream.send is not None:
            return _make_stream_data_blocked(stream.send)
        return None

    def _make_max_stream_data(self, receive: RecvStream, now: float, rtt: float) -> MaxStreamData | None:
        # RFC 9000 §3.2: with the final size known, or nobody reading, the peer needs no more credit.
        if receive.state is not RecvState.RECV or receive.stop_code is not None:
            return None
        limit = receive.window.update(now, rtt)
        # A stream at full speed must not be held back by the window of all streams: that one keeps
        # ahead by half, so that its updates, too, come in time.
        if self._receive_window.ensure_window(receive.window.window * 3 // 2):
            self.add(FrameType.MAX_DATA)
        return MaxStreamData(receive.stream_id, limit)


def _make_stop_sending(receive: RecvStream) -> StopSending | None:
    code = receive.stop_code
    if code is None or not receive.wants_stop_sending:
        return None
    return StopSending(receive.stream_id, code)


def _make_reset_stream(send: SendStream) -> ResetStream | None:
    code = send.reset_code
    if code is None or send.state is not SendState.RESET_SENT:
        return None
    return ResetStream(send.stream_id, code, send.final_size)


def _make_stream_data_blocked(send: SendStream) -> StreamDataBlocked | None:
    if not send.is_blocked:
        return None
    send.on_sent(send.window.used, 0, fin=False)  # the state "Ready" ends with this frame, too
    return StreamDataBlocked(send.stream_id, send.window.limit)
