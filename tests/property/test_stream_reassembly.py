"""A receiving part against a model that keeps every byte by itself."""

from hypothesis import given, settings
from hypothesis import strategies as st

from endpoint.transport.flow_control import ReceiveWindow
from endpoint.transport.recv_stream import RecvStream

SIZE = 2000
CONTENT = bytes(index * 7 % 256 for index in range(SIZE))

Frame = tuple[int, int, bool]  # offset, length, read some afterwards

frames = st.lists(
    st.tuples(st.integers(0, SIZE), st.integers(0, 400) | st.integers(0, 5), st.booleans()), max_size=60
)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(frames, st.integers(0, SIZE), st.integers(1, 300))
def test_what_is_read_is_what_was_sent(received: list[Frame], final_size: int, read_size: int) -> None:
    stream = RecvStream(0, ReceiveWindow(SIZE, SIZE))
    content = CONTENT[:final_size]
    have: set[int] = set()
    highest = total = 0
    result = bytearray()
    # In the end everything arrives, with the FIN.
    for offset, length, read in [*received, (0, final_size, True)]:
        start = min(offset, final_size)
        end = min(start + length, final_size)
        fin = end == final_size and length % 2 == 0
        total += stream.on_data(start, content[start:end], fin)
        have.update(range(start, end))
        highest = max(highest, end)
        assert total == highest == stream.window.received
        in_order = next((index for index in range(final_size) if index not in have), final_size)
        assert stream.received_to == in_order
        assert bool(stream.readable) >= (in_order > len(result))
        if read:
            data = stream.read(read_size)
            assert len(data) == min(read_size, in_order - len(result))
            result += data
    stream.on_data(final_size, b"", fin=True)
    result += stream.read()
    assert result == content
    assert stream.finished
    assert stream.take_credit() == final_size
