"""Two maps of streams over a link that loses, repeats and reorders: all content arrives, nothing stays.

The receiving side raises where a limit is exceeded, so each run also shows that the sender obeys them.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest

from endpoint.config import Config
from endpoint.events import Event, StreamReadable, StreamReceived, StreamReset, StreamWritable
from endpoint.transport.send_stream import StreamContent
from endpoint.transport.stream_control import StreamControlFrame
from endpoint.transport.streams import Streams
from endpoint.wire.frames import (
    DataBlocked,
    MaxData,
    MaxStreamData,
    MaxStreams,
    ResetStream,
    StopSending,
    StreamDataBlocked,
    StreamsBlocked,
)
from endpoint.wire.transport_params import TransportParameters

CONFIG = Config(
    initial_max_data=6000,
    initial_max_stream_data=2000,
    max_data_window=20_000,
    max_stream_data_window=8000,
    initial_max_streams_bidi=6,
    initial_max_streams_uni=3,
    send_buffer_size=3000,
)
PARAMETERS = TransportParameters(
    initial_max_data=CONFIG.initial_max_data,
    initial_max_stream_data_bidi_local=CONFIG.initial_max_stream_data,
    initial_max_stream_data_bidi_remote=CONFIG.initial_max_stream_data,
    initial_max_stream_data_uni=CONFIG.initial_max_stream_data,
    initial_max_streams_bidi=CONFIG.initial_max_streams_bidi,
    initial_max_streams_uni=CONFIG.initial_max_streams_uni,
)


@dataclass
class Packet:
    """`deliver` hands it to the receiver; `acked` and `lost` come back to the sender."""

    deliver: Callable[[], None]
    acked: Callable[[], None]
    lost: Callable[[], None]


class Application:
    """Writes `outgoing` per stream as there is room, and collects what arrives."""

    def __init__(self, is_client: bool, *, whole: bool = False) -> None:
        """`whole`: short streams are told by one event."""
        self.events: deque[Event] = deque()
        self.streams = Streams(CONFIG, is_client=is_client, events=self.events)
        if whole:
            self.streams.deliver_whole()
        self.whole: set[int] = set()
        self.streams.apply_peer_limits(PARAMETERS)
        self.to_open: list[tuple[bool, bytes]] = []
        self.outgoing: dict[int, memoryview] = {}
        self.received: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        self.abandoned: set[int] = set()  # by this side
        self.answer: Callable[[int], bytes] | None = None

    def work(self) -> None:
        while self.to_open and self.streams.can_open(self.to_open[-1][0]):
            unidirectional, content = self.to_open.pop()
            stream_id = self.streams.open(unidirectional)
            self.outgoing[stream_id] = memoryview(content)
            self.write(stream_id)
        while self.events:
            event = self.events.popleft()
            match event:
                case StreamReadable():
                    if event.stream_id in self.abandoned:
                        continue
                    data = self.streams.take_whole(event.stream_id)
                    if data is None:
                        self.read(event.stream_id)
                    else:
                        self.take_whole(event.stream_id, data)
                case StreamReceived():
                    self.take_whole(event.stream_id, event.data)
                case StreamWritable():
                    if event.stream_id not in self.abandoned:
                        self.write(event.stream_id)
                case StreamReset():
                    self.ended.add(event.stream_id)

    def write(self, stream_id: int) -> None:
        rest = self.outgoing[stream_id]
        self.outgoing[stream_id] = rest[self.streams.write(stream_id, rest, fin=True) :]

    def take_whole(self, stream_id: int, data: bytes) -> None:
        assert stream_id not in self.received
        self.whole.add(stream_id)
        self.take(stream_id, data, fin=True)

    def read(self, stream_id: int) -> None:
        self.take(stream_id, *self.streams.read(stream_id))

    def take(self, stream_id: int, data: bytes, fin: bool) -> None:
        self.received.setdefault(stream_id, bytearray()).extend(data)
        if fin:
            assert stream_id not in self.ended
            self.ended.add(stream_id)
            if self.answer is not None and not stream_id & 2:
                self.outgoing[stream_id] = memoryview(self.answer(stream_id))
                self.write(stream_id)

    def take_frame(self, frame: StreamControlFrame) -> None:
        match frame:
            case MaxData():
                self.streams.on_max_data(frame)
            case MaxStreamData():
                self.streams.on_max_stream_data(frame)
            case MaxStreams():
                self.streams.on_max_streams(frame)
            case ResetStream():
                self.streams.on_reset_stream(frame)
            case StopSending():
                self.streams.on_stop_sending(frame)
            case StreamDataBlocked():
                self.streams.on_stream_data_blocked(frame)
            case DataBlocked() | StreamsBlocked():
                pass

    def packets(self, peer: "Application", now: float, random: Random) -> list[Packet]:
        """Everything to send, one packet per chunk."""
        frames = self.streams.take_control_frames(now, 0.1, 10_000)
        made = [self._control_packet(peer, frame) for frame in frames]
        while (found := self.streams.next_range(random.randrange(1, 2500))) is not None:
            stream, offset, length, fin = found
            data = stream.block(offset, length) if length else b""
            self.streams.on_sent(stream, offset, length, fin)
            rest = StreamContent(stream, offset, 1000, length, fin)
            while True:
                # The run is cut into its packets, as losses would cut it.
                content, rest = rest, (rest.split(1) if rest.length > 1000 else rest)
                at = content.offset - offset
                part = (stream.stream_id, content.offset, data[at : at + content.length], content.fin)
                made.append(Packet(_deliver_data(peer, *part), content.on_acked, content.on_lost))
                if content is rest:
                    break
        return made

    def _control_packet(self, peer: "Application", frame: StreamControlFrame) -> Packet:
        return Packet(
            lambda: peer.take_frame(frame),
            lambda: self.streams.on_control_acked(frame),
            lambda: self.streams.on_control_lost(frame),
        )


def _deliver_data(
    peer: Application, stream_id: int, offset: int, data: bytes, fin: bool
) -> Callable[[], None]:
    return lambda: peer.streams.on_stream_data(stream_id, offset, data, fin)


def carry(packets: list[Packet], random: Random, loss: float) -> None:
    """Deliver what is not lost in any order, some of it twice, some of it declared lost all the same."""
    random.shuffle(packets)
    outcomes: list[Callable[[], None]] = []
    for packet in packets:
        fate = random.random()
        if fate < loss:
            outcomes.append(packet.lost)
            continue
        packet.deliver()
        if fate > 0.9:
            packet.deliver()
        if fate > 0.95:
            outcomes.append(packet.lost)
        outcomes.append(packet.acked)
    for outcome in outcomes:
        outcome()


def run(
    client: Application, server: Application, random: Random, loss: float, done: Callable[[], bool]
) -> None:
    for turn in range(4000):
        now = turn * 0.05
        for side, peer in ((client, server), (server, client)):
            side.work()
            carry(side.packets(peer, now, random), random, loss)
        if done():
            return
    pytest.fail("no progress")


def content(random: Random) -> bytes:
    return random.randbytes(random.choice((0, 1, 50, 1000, 5000, 20_000)))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_everything_arrives(seed: int, whole: bool) -> None:
    random = Random(seed)
    client, server = Application(is_client=True, whole=whole), Application(is_client=False, whole=whole)
    answers: dict[int, bytes] = {}

    def answer(stream_id: int) -> bytes:
        return answers.setdefault(stream_id, content(random))

    server.answer = answer
    client.to_open = [(random.random() < 0.4, content(random)) for _ in range(25)]
    server.to_open = [(True, content(random)) for _ in range(5)]
    sent: dict[bool, list[bytes]] = {False: [], True: []}
    for unidirectional, data in reversed(client.to_open):
        sent[unidirectional].append(data)
    pushed = [c for _, c in server.to_open][::-1]

    def done() -> bool:
        idle = not (client.to_open or server.to_open)
        return idle and not len(client.streams) and not len(server.streams)

    run(client, server, random, loss=random.choice((0.0, 0.1, 0.4)), done=done)
    for unidirectional, kind in ((False, 0), (True, 2)):
        got = [bytes(server.received[4 * i + kind]) for i in range(len(sent[unidirectional]))]
        assert got == sent[unidirectional]
    assert {i: bytes(data) for i, data in client.received.items() if not i & 1} == answers
    assert [bytes(client.received[4 * i + 3]) for i in range(5)] == pushed
    assert bool(client.whole or server.whole) is whole
    # Both ends agree on what was used of each connection window, and all of it was given back.
    for side, peer in ((client, server), (server, client)):
        window = peer.streams.receive_window
        assert side.streams.send_window.used == window.received == window.consumed


@pytest.mark.parametrize("seed", range(8))
def test_resets_and_stops_leave_nothing_and_settle_flow_control(seed: int) -> None:
    random = Random(1000 + seed)
    client, server = Application(is_client=True), Application(is_client=False)
    client.to_open = [(True, random.randbytes(15_000)) for _ in range(20)]

    def abandon_some() -> bool:
        for stream_id in range(2, 4 * 20, 4):
            dice = random.random()
            if stream_id in client.abandoned | server.abandoned:
                continue
            if stream_id in client.outgoing and dice < 0.1:
                client.abandoned.add(stream_id)
                client.streams.reset(stream_id, 1)
            elif stream_id in server.received and dice < 0.3:
                server.abandoned.add(stream_id)
                server.streams.stop_sending(stream_id, 2)
        return not client.to_open and not len(client.streams) and not len(server.streams)

    run(client, server, random, loss=0.2, done=abandon_some)
    assert client.abandoned
    assert server.abandoned
    window = server.streams.receive_window
    assert client.streams.send_window.used == window.received == window.consumed


@pytest.mark.parametrize("seed", range(12))
def test_resets_and_stops_of_streams_that_come_whole(seed: int) -> None:
    """At any moment, by either side: whatever overtakes what, each settles its windows and limits."""
    random = Random(2000 + seed)
    client, server = Application(is_client=True, whole=True), Application(is_client=False, whole=True)
    client.to_open = [(False, random.randbytes(random.choice((0, 1, 50, 900, 3000)))) for _ in range(40)]
    server.answer = lambda stream_id: bytes(stream_id % 7 * 200)

    def abandon_some() -> bool:
        for side in (client, server):
            for stream_id in set(side.outgoing) - side.abandoned:
                if random.random() < 0.1:
                    side.abandoned.add(stream_id)
                    side.streams.reset(stream_id, 1)
                    if stream_id not in side.ended:
                        side.streams.stop_sending(stream_id, 2)
        return not client.to_open and not len(client.streams) and not len(server.streams)

    run(client, server, random, loss=0.2, done=abandon_some)
    assert client.whole
    assert server.whole
    assert client.abandoned
    assert server.abandoned
    for side, peer in ((client, server), (server, client)):
        window = peer.streams.receive_window
        assert side.streams.send_window.used <= window.received == window.consumed
    limit = server.streams.accept_limits[False]
    assert limit.closed == limit.opened == 40
