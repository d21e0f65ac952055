"""A sending part under arbitrary acknowledgement and loss: every byte arrives, none is invented."""

from hypothesis import given, settings
from hypothesis import strategies as st

from endpoint.transport.send_stream import SendStream, StreamContent

Step = tuple[str, int, int]

steps = st.lists(
    st.tuples(
        st.sampled_from(("write", "send", "send", "ack", "lose", "split", "credit")),
        st.integers(0, 20_000),
        st.integers(1, 1500),
    ),
    max_size=80,
)


class Listener:
    """Checks what the stream says against its state."""

    def __init__(self) -> None:
        self.finished = 0

    def on_send_ready(self, stream: SendStream) -> None:
        assert stream.has_pending

    def on_send_writable(self, stream: SendStream) -> None:
        assert stream.writable > 0

    def on_send_finished(self, stream: SendStream) -> None:
        assert stream.finished
        self.finished += 1


class Run:
    """One stream with its packets in flight; `delivered` is what acknowledged packets carried."""

    def __init__(self) -> None:
        self.listener = Listener()
        self.stream = SendStream(0, self.listener, 30_000, 5000)
        self.written = bytearray()
        self.in_flight: list[tuple[StreamContent, bytes]] = []
        self.delivered: dict[int, int] = {}
        self.fin_at: int | None = None
        self.limit = 5000

    def write(self, count: int, fin: bool = False) -> None:
        data = bytes((len(self.written) + index) * 31 % 251 for index in range(count))
        kinds = (data, bytearray(data), memoryview(data))
        accepted = self.stream.write(kinds[count % 3], fin)
        self.written += data[:accepted]

    def send(self, max_bytes: int, chunk: int, credit: int = 1 << 40) -> bool:
        found = self.stream.next_range(max_bytes, credit)
        if found is None:
            return False
        offset, length, fin = found
        assert length <= max_bytes
        assert offset + length <= min(self.limit, len(self.written))
        data = self.stream.block(offset, length) if length else b""
        assert data == self.written[offset : offset + length]
        self.stream.on_sent(offset, length, fin)
        self.in_flight.append((StreamContent(self.stream, offset, chunk, length, fin), data))
        return True

    def ack(self, index: int) -> None:
        content, data = self.in_flight.pop(index % len(self.in_flight))
        for position, value in enumerate(data):
            assert self.delivered.setdefault(content.offset + position, value) == value
        if content.fin:
            self.fin_at = content.offset + content.length
        content.on_acked()

    def lose(self, index: int) -> None:
        self.in_flight.pop(index % len(self.in_flight))[0].on_lost()

    def split(self, index: int, count: int) -> None:
        index %= len(self.in_flight)
        content, data = self.in_flight[index]
        packets = -(-content.length // content.chunk)
        if packets < 2:
            return
        rest = content.split(1 + count % (packets - 1))
        assert content.length + rest.length == len(data)
        self.in_flight[index] = (content, data[: content.length])
        self.in_flight.append((rest, data[content.length :]))

    def credit(self, count: int) -> None:
        self.limit += count
        self.stream.on_max_stream_data(self.limit)

    def step(self, action: str, a: int, b: int) -> None:
        if action == "write":
            self.write(a % 9000)
        elif action == "send":
            self.send(a, b, credit=4 * b)
        elif action == "credit":
            self.credit(a)
        elif self.in_flight:
            if action == "ack":
                self.ack(a)
            elif action == "lose":
                self.lose(a)
            else:
                self.split(a, b)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(steps)
def test_every_byte_is_delivered(actions: list[Step]) -> None:
    run = Run()
    for action, a, b in actions:
        run.step(action, a, b)
    # From here on nothing is lost any more.
    run.credit(1 << 30)
    while run.in_flight or run.stream.has_pending:
        while run.send(3000, 1200):
            pass
        while run.in_flight:
            run.ack(0)
    run.write(0, fin=True)
    while run.send(3000, 1200):
        run.ack(0)
    assert run.delivered == dict(enumerate(run.written))
    assert run.fin_at == len(run.written)
    assert run.listener.finished == 1
    assert run.stream.writable == 0
