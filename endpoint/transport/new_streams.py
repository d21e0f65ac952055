"""What a stream begins with: the peer's first limit, our first window, and the default priority."""

from endpoint.config import Config
from endpoint.transport.flow_control import ReceiveWindow
from endpoint.transport.recv_stream import RecvStream
from endpoint.transport.send_stream import SendListener, SendStream
from endpoint.transport.stream_control import Stream
from endpoint.transport.stream_limits import SERVER_INITIATED, UNIDIRECTIONAL, FirstSendLimits


class StreamMaker:
    """Makes the streams of one connection.

    `priority` is the urgency that bidirectional streams begin with, and whether they are incremental
    (RFC 9218 §4); None for what `SendStream` does without being told.
    """

    __slots__ = ("_config", "_listener", "_own_bit", "first_limits", "priority")

    def __init__(self, config: Config, listener: SendListener, own_bit: int) -> None:
        """`own_bit` is SERVER_INITIATED in the streams that we open, or 0."""
        self._config = config
        self._listener = listener
        self._own_bit = own_bit
        self.first_limits = FirstSendLimits(own_bit)
        self.priority: tuple[int, bool] | None = None

    def make(self, stream_id: int) -> Stream:
        """A stream with the parts that its type has for us (RFC 9000 §2.1)."""
        config = self._config
        one_way = stream_id & UNIDIRECTIONAL
        own = stream_id & SERVER_INITIATED == self._own_bit
        send = self._make_send(stream_id) if own or not one_way else None
        receive = None
        if not own or not one_way:
            window = ReceiveWindow(
                config.initial_max_stream_data, config.max_stream_data_window, config.receive_buffer_size
            )
            receive = RecvStream(stream_id, window)
        return Stream(stream_id, send, receive)

    def make_received(self, stream_id: int, size: int) -> Stream:
        """A bidirectional stream of the peer that has come whole, `size` bytes."""
        stream = Stream(stream_id, self._make_send(stream_id), None)
        stream.received_size = size
        return stream

    def _make_send(self, stream_id: int) -> SendStream:
        limit = self.first_limits.of(stream_id)
        send = SendStream(stream_id, self._listener, self._config.send_buffer_size, limit)
        if self.priority is not None and not stream_id & UNIDIRECTIONAL:
            send.urgency, send.incremental = self.priority
        return send
