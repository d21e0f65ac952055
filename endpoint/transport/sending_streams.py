"""The map of streams as packet builder and recovery see it: what goes next, and what became of it."""

from collections import deque

from endpoint.config import Config
from endpoint.events import Event, StreamFinished, StreamWritable
from endpoint.transport.flow_control import ReceiveWindow, SendWindow
from endpoint.transport.new_streams import StreamMaker
from endpoint.transport.scheduler import Scheduler
from endpoint.transport.send_stream import SendStream
from endpoint.transport.stream_control import MAX_STREAMS, Stream, StreamControl, StreamControlFrame
from endpoint.transport.stream_limits import SERVER_INITIATED, UNIDIRECTIONAL, AcceptLimit, OpenLimit
from endpoint.transport.stream_state import RECV_TERMINAL, SEND_TERMINAL
from endpoint.wire.frames import FrameType, ResetStream


class SendingStreams:
    """What `streams.Streams` shows the packet builder and recovery; it adds the application and the peer."""

    def __init__(self, config: Config, *, is_client: bool, events: deque[Event]) -> None:
        """`events`: where to append what the application is to be told."""
        self._config = config
        self._events = events
        self._own_bit = 0 if is_client else SERVER_INITIATED
        self._streams: dict[int, Stream] = {}
        self._scheduler: Scheduler[SendStream] = Scheduler()
        self._waiting: dict[int, SendStream] = {}  # have new data, for which there is no MAX_DATA
        self._held: dict[int, SendStream] = {}  # beyond a limit that fell when 0-RTT was rejected
        self.receive_window = ReceiveWindow(
            config.initial_max_data, config.max_data_window, config.receive_buffer_size
        )
        self.send_window = SendWindow()
        # Pairs are indexed by `unidirectional`.
        self._open = (OpenLimit(), OpenLimit())
        self.accept_limits = (
            AcceptLimit(config.initial_max_streams_bidi),
            AcceptLimit(config.initial_max_streams_uni),
        )
        self._control = StreamControl(
            self._streams, self.receive_window, self.send_window, self._open, self.accept_limits
        )
        self._maker = StreamMaker(config, self, self._own_bit)
        self._max_whole = 0
        self._tells_finished = True

    def __len__(self) -> int:
        """The number of streams that are not finished."""
        return len(self._streams)

    @property
    def ending(self) -> int:
        """Bidirectional streams that we have ended, and of which the peer may still lack something."""
        sending = [each.send for each in self._streams.values() if not each.stream_id & UNIDIRECTIONAL]
        return sum(send is not None and send.is_ending for send in sending)

    # For the packet builder.

    @property
    def has_data(self) -> bool:
        """Whether `next_range` may have something. Flow control may turn out to forbid it."""
        return self._scheduler.used != 0

    def next_range(self, max_bytes: int) -> tuple[SendStream, int, int, bool] | None:
        """(stream, offset, length, fin) of what to send next, at most `max_bytes`.

        Get the bytes with `stream.block(offset, count)`. `on_sent` ends the stream's turn.
        """
        if max_bytes <= 0:
            return None
        credit = self.send_window.limit - self.send_window.used
        while (send := self._scheduler.next()) is not None:
            found = send.next_range(max_bytes, credit)
            if found is not None:
                return send, *found
            self._scheduler.deactivate(send)
            if send.has_pending:
                self._waiting[send.stream_id] = send
                if self.send_window.note_blocked():
                    self._control.add(FrameType.DATA_BLOCKED)
        return None

    def on_sent(self, send: SendStream, offset: int, length: int, fin: bool) -> None:
        """A range that `next_range` gave, or the beginning of it, was sent; `fin` if with its end.

        New data counts against the connection's window (RFC 9000 §4.1).
        """
        new = send.on_sent(offset, length, fin)
        if new:
            window = self.send_window
            window.used += new
            assert window.used <= window.limit, "sent more than the peer allows"
        if fin:
            # What was lost goes before, and nothing comes after.
            self._scheduler.finish_turn(send)
        elif send.has_pending:
            self._scheduler.end_turn(send)
        else:
            self._scheduler.finish_turn(send)
            self._note_blocked(send)

    @property
    def has_control_frames(self) -> bool:
        """Whether `take_control_frames` may have something."""
        return bool(self._control.due)

    def take_control_frames(self, now: float, rtt: float, max_bytes: int) -> list[StreamControlFrame]:
        """The control frames to send at `now`, as many as fit in `max_bytes`; `rtt` is the smoothed one.

        Each must be reported later with `on_control_acked` or `on_control_lost`.
        """
        return self._control.take(now, rtt, max_bytes)

    def on_control_acked(self, frame: StreamControlFrame) -> None:
        """The peer has this frame."""
        if isinstance(frame, ResetStream):
            stream = self._streams.get(frame.stream_id)
            if stream is not None and stream.send is not None:
                stream.send.on_reset_acked()
                self._forget_if_finished(stream)

    def on_control_lost(self, frame: StreamControlFrame) -> None:
        """The packet with this frame was lost: a frame with the current content goes out if needed."""
        self._control.on_lost(frame)

    # What sending parts report (`SendListener`).

    def on_send_ready(self, stream: SendStream) -> None:
        """Something was lost."""
        self._activate(stream)

    def on_send_writable(self, stream: SendStream) -> None:
        """There is room again after a short write."""
        self._events.append(StreamWritable(stream.stream_id))

    def on_send_finished(self, stream: SendStream) -> None:
        """The peer has everything."""
        if self._tells_finished:
            self._events.append(StreamFinished(stream.stream_id))
        if self._scheduler.used:
            self._scheduler.deactivate(stream)  # what was to be sent again is there after all
        self._forget_if_finished(self._streams[stream.stream_id])

    # Inside.

    def _raise_max_data(self, limit: int) -> None:
        if self.send_window.raise_limit(limit):
            waiting, self._waiting = self._waiting, {}
            for send in waiting.values():
                self._activate(send)

    def _activate(self, send: SendStream) -> None:
        if self._held and send.stream_id in self._held:
            return
        if send.has_pending:
            self._scheduler.activate(send)
        else:
            self._note_blocked(send)

    def _note_blocked(self, send: SendStream) -> None:
        if send.is_blocked and send.window.note_blocked():
            self._control.add(FrameType.STREAM_DATA_BLOCKED, send.stream_id)

    def _forget_if_finished(self, stream: Stream) -> None:
        send, receive = stream.send, stream.receive
        if send is not None and send.state not in SEND_TERMINAL:
            return
        if receive is not None and receive.state not in RECV_TERMINAL:
            return
        stream_id = stream.stream_id
        del self._streams[stream_id]
        if self._waiting:
            self._waiting.pop(stream_id, None)
        if stream_id & SERVER_INITIATED != self._own_bit:
            unidirectional = bool(stream_id & UNIDIRECTIONAL)
            limit = self.accept_limits[unidirectional]
            limit.closed += 1
            if limit.update_due:
                self._control.add(MAX_STREAMS[unidirectional])
