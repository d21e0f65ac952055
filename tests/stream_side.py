"""One endpoint's streams without a connection, for the tests of the map of streams."""

from collections import deque
from collections.abc import Callable

import pytest

from endpoint.config import Config
from endpoint.errors import TransportError, TransportErrorCode
from endpoint.events import (
    Event,
)
from endpoint.transport.send_stream import StreamContent
from endpoint.transport.streams import Streams
from endpoint.wire.transport_params import TransportParameters

CODE = TransportErrorCode


def limits(
    data: int = 1 << 30, stream_data: int = 1 << 30, bidi: int = 1 << 20, uni: int = 1 << 20
) -> TransportParameters:
    return TransportParameters(
        initial_max_data=data,
        initial_max_stream_data_bidi_local=stream_data,
        initial_max_stream_data_bidi_remote=stream_data,
        initial_max_stream_data_uni=stream_data,
        initial_max_streams_bidi=bidi,
        initial_max_streams_uni=uni,
    )


class Side:
    """One endpoint's streams, as a transport drives them."""

    def __init__(
        self, config: Config | None = None, *, is_client: bool, peer: TransportParameters | None = None
    ) -> None:
        self.events: deque[Event] = deque()
        self.streams = Streams(config or Config(), is_client=is_client, events=self.events)
        self.streams.apply_peer_limits(peer or limits())
        self.events.clear()

    def take_events(self) -> list[Event]:
        events = list(self.events)
        self.events.clear()
        return events

    def send(self, chunk: int = 1000) -> list[StreamContent]:
        """Send everything that may be sent, in packets of `chunk` bytes."""
        contents = []
        while (found := self.streams.next_range(chunk)) is not None:
            stream, offset, length, fin = found
            self.streams.on_sent(stream, offset, length, fin)
            contents.append(StreamContent(stream, offset, chunk, length, fin))
        return contents

    def control(self) -> list[object]:
        return list(self.streams.take_control_frames(0.0, 0.1, 1000))


def client(config: Config | None = None, peer: TransportParameters | None = None) -> Side:
    return Side(config, is_client=True, peer=peer)


def server(config: Config | None = None, peer: TransportParameters | None = None) -> Side:
    return Side(config, is_client=False, peer=peer)


def expect(code: TransportErrorCode, action: Callable[[], object]) -> None:
    with pytest.raises(TransportError) as caught:
        action()
    assert caught.value.code == code
