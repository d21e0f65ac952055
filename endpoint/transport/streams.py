"""The streams of one connection (RFC 9000 §2 to §4): what the application and the peer do with them."""

from endpoint.errors import StreamError, TransportError, TransportErrorCode
from endpoint.events import (
    StreamOpened,
    StreamReadable,
    StreamReceived,
    StreamReset,
    StreamsAvailable,
    StreamStopped,
)
from endpoint.transport.recv_stream import RecvStream
from endpoint.transport.scheduler import URGENCIES
from endpoint.transport.send_stream import SendStream
from endpoint.transport.sending_streams import SendingStreams
from endpoint.transport.stream_control import ABOUT_SENDING, STREAMS_BLOCKED, Stream
from endpoint.transport.stream_limits import SERVER_INITIATED, UNIDIRECTIONAL, PeerLimits
from endpoint.transport.stream_state import RECV_TERMINAL, RecvState
from endpoint.wire.frames import (
    FrameType,
    MaxData,
    MaxStreamData,
    MaxStreams,
    ResetStream,
    StopSending,
    StreamDataBlocked,
)

# See `recv_stream`: names of our own are found faster.
_RECV, _DATA_READ, _STREAM = RecvState.RECV, RecvState.DATA_READ, FrameType.STREAM
# The longest stream that is told in one event: more is better read as it comes.
MAX_WHOLE = 16 * 1024


class Streams(SendingStreams):
    """Every stream of a connection that is not finished, and what they share.

    A finished stream leaves nothing but counters: a stream id below the number of opened streams that
    is not in the map is a finished one, and late frames for it are ignored.

    Nothing here takes time in proportion to the number of streams, except that a larger connection
    window wakes every stream that waited for it.
    """

    # Parameters of the peer.

    def apply_peer_limits(self, limits: PeerLimits) -> None:
        """Take the peer's transport parameters; before, nothing can be opened or sent.

        Comes a second time after 0-RTT, for which remembered parameters were applied: none may be
        lower then (RFC 9000 §7.4.1), which is for the caller to check.
        """
        self._maker.first_limits.take(limits)
        # No StreamsAvailable: that the handshake is complete says it.
        self._open[False].raise_limit(limits.initial_max_streams_bidi)
        self._open[True].raise_limit(limits.initial_max_streams_uni)
        for stream in self._streams.values():
            if stream.send is not None:
                stream.send.on_max_stream_data(self._maker.first_limits.of(stream.stream_id))
                self._activate(stream.send)
        self._raise_max_data(limits.initial_max_data)

    def on_early_data_rejected(self, limits: PeerLimits) -> None:
        """The server ignored what was sent in 0-RTT: send all of it again, under these limits.

        The contents of the 0-RTT packets must not be reported as acknowledged or lost any more.
        Streams beyond the server's real limit wait until it rises.
        """
        self._maker.first_limits.take(limits)
        self.send_window.restart(limits.initial_max_data)
        self._open[False].limit = limits.initial_max_streams_bidi
        self._open[True].limit = limits.initial_max_streams_uni
        self._waiting.clear()
        for stream_id, stream in self._streams.items():
            send = stream.send
            if send is not None:
                self._scheduler.deactivate(send)
                send.rewind(self._maker.first_limits.of(stream_id))
                if stream_id >> 2 >= self._open[bool(stream_id & UNIDIRECTIONAL)].limit:
                    self._held[stream_id] = send
                elif send.reset_code is not None:
                    self._control.add(FrameType.RESET_STREAM, stream_id)
                self._activate(send)
            self._request_stop_sending(stream)

    # Commands of the application. They raise StreamError for what it should have known not to do. They do
    # nothing on a stream that is finished, reset or stopped: the event may still wait to be seen.

    def deliver_whole(self, *, finished: bool = True) -> None:
        """From now on tell short streams that are there from beginning to end by StreamReceived.

        That is: a stream of the peer that came in one frame, and what `take_whole` gives. `finished`: tell
        StreamFinished, too.
        """
        self._max_whole = min(MAX_WHOLE, self._config.initial_max_stream_data)
        self._tells_finished = finished

    def set_default_priority(self, urgency: int, incremental: bool) -> None:
        """What `set_priority` would be told of each bidirectional stream from now on."""
        self._maker.priority = urgency, incremental

    def can_open(self, unidirectional: bool = False) -> bool:
        """Whether the peer's limit admits one more stream of ours."""
        return not self._open[unidirectional].blocked

    def left(self, unidirectional: bool = False) -> int:
        """How many more streams of ours the peer's limit admits."""
        limit = self._open[unidirectional]
        return limit.limit - limit.opened if limit.opened < limit.limit else 0

    def open(self, unidirectional: bool = False) -> int:
        """Open a stream and return its id. At the limit raises StreamError and tells the peer."""
        limit = self._open[unidirectional]
        if limit.opened >= limit.limit:
            if limit.note_blocked():
                self._control.add(STREAMS_BLOCKED[unidirectional])
            raise StreamError(f"the peer's limit of {limit.limit} streams is reached")
        stream_id = limit.opened << 2 | (UNIDIRECTIONAL if unidirectional else 0) | self._own_bit
        limit.opened += 1
        self._create(stream_id)
        return stream_id

    def write(self, stream_id: int, data: bytes | bytearray | memoryview, fin: bool = False) -> int:
        """Take data to send, see `SendStream.write`; returns how many bytes were taken."""
        stream = self._streams.get(stream_id)
        send = None if stream is None else stream.send
        if send is None:
            self._check_known(stream_id, sending=True)
            return 0
        accepted = send.write(data, fin)
        if send.has_pending and not self._held:
            self._scheduler.activate(send)
        else:
            self._activate(send)
        return accepted

    def writable(self, stream_id: int) -> int:
        """How many bytes `write` would take now."""
        send = self._sending(stream_id)
        return 0 if send is None else send.writable

    def read(self, stream_id: int, max_bytes: int | None = None) -> tuple[bytes, bool]:
        """Up to `max_bytes` bytes (None: all there are) and whether the end of the stream is reached.

        What is taken counts as consumed and gives the peer credit. There is one StreamReadable for
        what arrives between two reads, so read until nothing is left. The end is returned once.
        """
        receive = self._receiving(stream_id)
        if receive is None:
            return b"", False
        data = receive.read(max_bytes)
        stream = self._streams[stream_id]
        stream.readable_reported = False
        if data:
            self._credit(receive)
        fin = receive.state is _DATA_READ
        if fin:
            self._forget_if_finished(stream)
        return data, fin

    def take_whole(self, stream_id: int) -> bytes | None:
        """Read a stream of ours if all of it is there, and nothing was read yet; None if not."""
        stream = self._streams.get(stream_id) if self._max_whole else None
        receive = None if stream is None else stream.receive
        if stream is None or receive is None or receive.received_to >= self._max_whole:
            return None
        data = receive.read_whole() if stream_id & SERVER_INITIATED == self._own_bit else None
        if data is not None:
            if data and self.receive_window.on_consumed(len(data)):
                self._control.add(FrameType.MAX_DATA)
            self._forget_if_finished(stream)
        return data

    def reset(self, stream_id: int, error_code: int) -> None:
        """Abandon sending on the stream (RESET_STREAM)."""
        send = self._sending(stream_id)
        if send is not None and not send.stopped and not send.finished:
            send.reset(error_code)
            self._after_reset(send)

    def stop_sending(self, stream_id: int, error_code: int) -> None:
        """Read no more of the stream and ask the peer to stop (STOP_SENDING)."""
        receive = self._receiving(stream_id)
        if receive is None:
            return
        stream = self._streams[stream_id]
        if receive.stop_sending(error_code):
            self._request_stop_sending(stream)
        self._credit(receive)
        self._forget_if_finished(stream)

    def set_priority(self, stream_id: int, urgency: int, incremental: bool) -> None:
        """RFC 9218 §4: urgency 0 (first) to 7; streams that are not incremental go one by one."""
        if not 0 <= urgency < URGENCIES:
            raise StreamError(f"urgency {urgency} is not in 0..{URGENCIES - 1}")
        send = self._sending(stream_id)
        if send is not None:
            was_active = self._scheduler.deactivate(send)
            send.urgency, send.incremental = urgency, incremental
            if was_active:
                self._activate(send)

    # Frames of the peer. All of them raise TransportError.

    def on_stream_data(self, stream_id: int, offset: int, data: bytes, fin: bool) -> None:
        """STREAM, or a run of them with consecutive offsets; `data` is kept as it is."""
        stream = self._streams.get(stream_id)
        if stream is None and fin and not offset and self._receive_whole(stream_id, data):
            return
        if stream is None or stream.receive is None:
            stream = self._find(stream_id, _STREAM)
            if stream is None:
                return
        receive = stream.receive
        if receive is None:
            stream.check_size(offset + len(data), fin)
            return
        increase = receive.on_data(offset, data, fin)
        if increase:
            window = self.receive_window
            if window.received + increase > window.limit:
                window.check(increase)
            window.received += increase
        if receive.stop_code is not None:
            self._credit(receive)
            self._forget_if_finished(stream)
        elif not stream.readable_reported and receive.readable:
            stream.readable_reported = True
            self._events.append(StreamReadable(stream_id))

    def on_reset_stream(self, frame: ResetStream) -> None:
        """RFC 9000 §19.4."""
        stream = self._find(frame.stream_id, FrameType.RESET_STREAM)
        if stream is None:
            return
        receive = stream.receive
        if receive is None:
            stream.check_size(frame.final_size, fin=True)
            return
        code = frame.application_error_code
        self.receive_window.on_received(receive.on_reset(code, frame.final_size))
        if receive.state is not RecvState.RESET_RECVD:
            return
        # An application that reads no more need not be told (RFC 9000 §3.5).
        if receive.stop_code is None:
            self._events.append(StreamReset(frame.stream_id, code))
        receive.acknowledge_reset()
        self._credit(receive)
        self._forget_if_finished(stream)

    def on_stop_sending(self, frame: StopSending) -> None:
        """RFC 9000 §19.5: answered with a reset that has the same code (§3.5)."""
        stream = self._find(frame.stream_id, FrameType.STOP_SENDING)
        if stream is None or stream.send is None:
            return
        if stream.send.stop(frame.application_error_code):
            self._events.append(StreamStopped(frame.stream_id, frame.application_error_code))
            self._after_reset(stream.send)

    def on_max_data(self, frame: MaxData) -> None:
        """RFC 9000 §19.9."""
        self._raise_max_data(frame.maximum_data)

    def on_max_stream_data(self, frame: MaxStreamData) -> None:
        """RFC 9000 §19.10."""
        stream = self._find(frame.stream_id, FrameType.MAX_STREAM_DATA)
        if stream is None or stream.send is None:
            return
        if stream.send.on_max_stream_data(frame.maximum_stream_data):
            self._activate(stream.send)

    def on_max_streams(self, frame: MaxStreams) -> None:
        """RFC 9000 §19.11."""
        self._raise_max_streams(frame.maximum_streams, frame.unidirectional)

    def on_stream_data_blocked(self, frame: StreamDataBlocked) -> None:
        """RFC 9000 §19.13: opens the stream, and must be about one that the peer may send on.

        Nothing else, and nothing for the other *_BLOCKED: limits rise without being asked (§4.1, §4.6).
        """
        self._find(frame.stream_id, FrameType.STREAM_DATA_BLOCKED)

    # Inside.

    def _raise_max_streams(self, limit: int, unidirectional: bool) -> None:
        if not self._open[unidirectional].raise_limit(limit):
            return
        self._events.append(StreamsAvailable(unidirectional))
        held, self._held = self._held, {}
        for stream_id, send in held.items():
            if stream_id >> 2 >= self._open[bool(stream_id & UNIDIRECTIONAL)].limit:
                self._held[stream_id] = send
                continue
            self._request_stop_sending(self._streams[stream_id])
            if send.reset_code is not None:
                self._control.add(FrameType.RESET_STREAM, stream_id)
            else:
                self._activate(send)

    def _request_stop_sending(self, stream: Stream) -> None:
        """STOP_SENDING is due, if it is of use and the peer's limit admits the stream."""
        receive, stream_id = stream.receive, stream.stream_id
        if receive is not None and receive.wants_stop_sending and stream_id not in self._held:
            self._control.add(FrameType.STOP_SENDING, stream_id)

    def _find(self, stream_id: int, frame_type: FrameType) -> Stream | None:
        """The stream that a frame is about, opened if need be; None if it is finished.

        The part that the frame is about exists. Raises STREAM_STATE_ERROR and STREAM_LIMIT_ERROR.
        """
        own = stream_id & SERVER_INITIATED == self._own_bit
        if stream_id & UNIDIRECTIONAL and own != (frame_type in ABOUT_SENDING):
            raise TransportError(
                TransportErrorCode.STREAM_STATE_ERROR, f"wrong direction of stream {stream_id}", frame_type
            )
        stream = self._streams.get(stream_id)
        if stream is not None:
            return stream
        index = stream_id >> 2
        unidirectional = bool(stream_id & UNIDIRECTIONAL)
        if own:
            self._open[unidirectional].check(index, frame_type)
            return None
        limit = self.accept_limits[unidirectional]
        limit.check(index, frame_type)
        # RFC 9000 §3.2: lower-numbered streams of the type are created first. The limit bounds the work.
        while limit.opened <= index:
            opened_id = limit.opened << 2 | stream_id & 3
            limit.opened += 1
            stream = self._create(opened_id)
            self._events.append(StreamOpened(opened_id))
        return stream

    def _create(self, stream_id: int) -> Stream:
        stream = self._streams[stream_id] = self._maker.make(stream_id)
        return stream

    def _receive_whole(self, stream_id: int, data: bytes) -> bool:
        """The peer's next bidirectional stream, whole in its first frame; False to tell it by parts."""
        limit, size = self.accept_limits[False], len(data)
        index = limit.opened
        if index << 2 | SERVER_INITIATED ^ self._own_bit != stream_id or index >= limit.limit:
            return False
        if size >= self._max_whole:
            return False
        window = self.receive_window
        window.on_received(size)
        limit.opened = index + 1
        self._streams[stream_id] = self._maker.make_received(stream_id, size)
        self._events.append(StreamReceived(stream_id, data))
        if window.on_consumed(size):
            self._control.add(FrameType.MAX_DATA)
        return True

    def _check_known(self, stream_id: int, *, sending: bool) -> None:
        """Raise StreamError if there was never such a stream, or not the part that a command is about."""
        own = stream_id & SERVER_INITIATED == self._own_bit
        unidirectional = bool(stream_id & UNIDIRECTIONAL)
        if unidirectional and own != sending:
            raise StreamError(f"stream {stream_id} is {'receive' if sending else 'send'}-only")
        if stream_id >> 2 >= (self._open if own else self.accept_limits)[unidirectional].opened:
            raise StreamError(f"stream {stream_id} was never opened")

    def _sending(self, stream_id: int) -> SendStream | None:
        """The part that a command is about; None if the stream is finished."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.send is None:
            self._check_known(stream_id, sending=True)
            return None
        return stream.send

    def _receiving(self, stream_id: int) -> RecvStream | None:
        """As `_sending`, and None if there is nothing more to read."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.receive is None:
            self._check_known(stream_id, sending=False)
            return None
        return None if stream.receive.state in RECV_TERMINAL else stream.receive

    def _after_reset(self, send: SendStream) -> None:
        self._scheduler.deactivate(send)
        self._waiting.pop(send.stream_id, None)
        if send.stream_id not in self._held:
            self._control.add(FrameType.RESET_STREAM, send.stream_id)

    def _credit(self, receive: RecvStream) -> None:
        """Give back to both windows what was consumed."""
        credit = receive.take_credit()
        if not credit:
            return
        if self.receive_window.on_consumed(credit):
            self._control.add(FrameType.MAX_DATA)
        if receive.window.on_consumed(credit) and receive.state is _RECV:
            self._control.add(FrameType.MAX_STREAM_DATA, receive.stream_id)
