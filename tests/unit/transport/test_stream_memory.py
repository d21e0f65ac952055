"""A connection that has carried many streams keeps nothing of them."""

import tracemalloc
from collections import deque

from endpoint.config import Config
from endpoint.events import Event
from endpoint.transport.streams import Streams
from endpoint.wire.transport_params import TransportParameters


def make() -> tuple[Streams, deque[Event]]:
    events: deque[Event] = deque()
    streams = Streams(Config(), is_client=False, events=events)
    streams.apply_peer_limits(
        TransportParameters(initial_max_data=1 << 30, initial_max_stream_data_bidi_local=1 << 20)
    )
    return streams, events


def request(streams: Streams, index: int) -> None:
    """One request and response of a server, from the first byte to the last acknowledgement."""
    stream_id = 4 * index
    streams.on_stream_data(stream_id, 0, b"GET /\r\n", fin=True)
    streams.read(stream_id)
    # Streams that are served one by one go through a heap, the others do not.
    streams.set_priority(stream_id, index % 8, incremental=index % 2 == 0)
    streams.write(stream_id, b"0123456789", fin=True)
    while (found := streams.next_range(1000)) is not None:
        send, offset, length, fin = found
        streams.on_sent(send, offset, length, fin)
        send.on_acked(offset, length, fin)
    for frame in streams.take_control_frames(0.0, 0.1, 1000):
        streams.on_control_acked(frame)


def test_ten_thousand_finished_streams_leave_nothing() -> None:
    streams, events = make()
    tracemalloc.start()
    before = 0
    for index in range(10_000):
        request(streams, index)
        events.clear()
        if index == 1000:
            before = tracemalloc.get_traced_memory()[0]
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(streams) == 0
    assert grown < 20_000
