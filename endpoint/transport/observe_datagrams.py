"""Datagrams as a tracer is told: what the application gives and takes."""

from collections import deque

from endpoint.events import DatagramReceived, Event
from endpoint.trace import Tracer
from endpoint.transport.datagrams import Datagrams


class TracedDatagrams(Datagrams):
    """The datagrams of a connection with a tracer."""

    __slots__ = ("_tracer",)

    def __init__(self, local_max_frame_size: int, events: deque[Event], tracer: Tracer) -> None:
        super().__init__(local_max_frame_size, events)
        self._tracer = tracer

    def send(self, data: bytes, room: int) -> bool:
        """See `Datagrams`."""
        kept = super().send(data, room)
        self._tracer.datagram_data_moved(len(data), received=False)
        return kept

    def on_taken(self, event: Event) -> None:
        """See `Datagrams`."""
        super().on_taken(event)
        if isinstance(event, DatagramReceived):
            self._tracer.datagram_data_moved(len(event.data), received=True)
