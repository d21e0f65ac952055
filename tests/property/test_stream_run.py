"""The column accelerator against the row parser and the row writer, on random batches."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from endpoint.batch import TAG_LENGTH, Layout, PacketBuffer
from endpoint.errors import TransportError
from endpoint.level import Level
from endpoint.wire.frame_parser import iter_frames
from endpoint.wire.frames import Stream
from endpoint.wire.header import append_short_header
from endpoint.wire.stream_run import MIN_RUN, read_stream_runs, stream_run_chunk, write_stream_run
from endpoint.wire.varint import VARINT_MAX, encode_varint, varint_length

PN_OFFSET, PN_LENGTH = 5, 2
PAYLOAD = PN_OFFSET + PN_LENGTH


def varint_of(value: int, length: int) -> bytes:
    """`value` in at least `length` bytes: a varint needn't be minimal."""
    length = max(length, varint_length(value))
    return (value | (length.bit_length() - 1) << (8 * length - 2)).to_bytes(length, "big")


def stream_payload(
    size: int, stream_id: int, offset: int, *, widths: tuple[int, int, int], with_length: bool, fin: bool
) -> bytes:
    """A STREAM frame that fills `size` bytes; empty if it can't."""
    head = bytes((0x0C | with_length << 1 | fin,))
    head += varint_of(stream_id, widths[0]) + varint_of(offset, widths[1])
    if with_length:
        length_width = max(widths[2], varint_length(size))
        head += varint_of(max(0, size - len(head) - length_width), length_width)
    return (head + bytes((offset + k) & 0xFF for k in range(size)))[:size]


@dataclass
class Sender:
    """Writes packets as a peer might: mostly the next bytes of its stream, in its own encoding."""

    stream_id: int
    offset: int
    widths: tuple[int, int, int]
    with_length: bool
    always_fin: bool
    padding: int

    def next(self, size: int, *, fin: bool = False) -> bytes:
        payload = stream_payload(
            max(1, size - self.padding),
            self.stream_id,
            self.offset,
            widths=self.widths,
            with_length=self.with_length,
            fin=fin or self.always_fin,
        ).ljust(size, b"\0")
        frames = strictly(payload)
        if isinstance(frames, list) and isinstance(frames[0], Stream):
            # Over the padding too, as if it were data: offsets alone then look like a run.
            # Never beyond what an offset can tell.
            self.offset = min(self.offset + len(frames[0].data) + self.padding, VARINT_MAX)
        return payload


def strictly(payload: bytes) -> list[object] | str:
    """What the row parser says: the frames, or the error."""
    try:
        return list(iter_frames(payload, 0, len(payload), Level.ONE_RTT))
    except TransportError as error:
        return repr(error)


widths = st.tuples(*[st.sampled_from([1, 2, 4, 8])] * 3)
boundaries = st.sampled_from([0, 63, 64, 16383, 16384, (1 << 30) - 1, 1 << 30, VARINT_MAX])
senders = st.builds(
    Sender,
    stream_id=st.sampled_from([0, 4, 64, 20000]),
    offset=st.builds(lambda edge, back: max(0, edge - back), boundaries, st.integers(0, 400)),
    widths=widths,
    with_length=st.booleans(),
    # Seldom true and seldom above 0: such a sender makes no runs.
    always_fin=st.sampled_from([False] * 5 + [True]),
    padding=st.sampled_from([0] * 5 + [1]),
)
actions = st.sampled_from(["next"] * 12 + ["other", "gap", "repeat", "fin", "ack", "noise", "ping", "bits"])


def batch_of(data: st.DataObject, payload_size: int, n: int) -> list[bytes]:
    pair = [data.draw(senders), data.draw(senders)]
    payloads: list[bytes] = []
    for action in data.draw(st.lists(actions, min_size=n, max_size=n), "actions"):
        sender = pair[0]
        if action == "other":
            pair.reverse()
        elif action == "gap":
            sender.offset = min(VARINT_MAX, sender.offset + data.draw(st.integers(1, 100)))
        if action == "repeat" and payloads:
            payload = payloads[-1]
        elif action == "ack":
            payload = b"\x02\x05\x00\x00\x02"
            payload += sender.next(max(1, payload_size - len(payload)))
        elif action == "noise":
            payload = data.draw(st.binary(min_size=payload_size, max_size=payload_size))
        elif action == "ping":
            payload = b"\x01"
        else:
            payload = sender.next(payload_size, fin=action == "fin")
        if action == "bits":
            at = data.draw(st.integers(0, min(payload_size - 1, 8)))
            changed = bytearray(payload)
            changed[at] ^= 1 << data.draw(st.integers(0, 7))
            payload = bytes(changed)
        payloads.append(payload[:payload_size].ljust(payload_size, b"\0"))
    return payloads


@given(data=st.data(), payload_size=st.integers(2, 120), n=st.integers(1, 24))
@settings(max_examples=400, deadline=None)
def test_runs_say_what_the_row_parser_says(data: st.DataObject, payload_size: int, n: int) -> None:
    payloads = batch_of(data, payload_size, n)
    skip = sorted(data.draw(st.sets(st.integers(0, n - 1), max_size=3), "skip"))
    layout = layout_of(payloads, payload_size)

    runs, others = read_stream_runs(layout, n, skip)

    in_runs = [i for run in runs for i in range(run.first, run.first + run.count)]
    assert sorted(in_runs + others + skip) == list(range(n))
    assert others == sorted(others)
    assert [run.first for run in runs] == sorted(run.first for run in runs)
    for run in runs:
        assert run.count >= MIN_RUN
        assert len(run.views) == run.count
        for i in range(run.count):
            expected = Stream(run.stream_id, run.offset + i * run.chunk, bytes(run.views[i]), fin=False)
            assert strictly(payloads[run.first + i]) == [expected]
            assert len(run.views[i]) == run.chunk


def layout_of(payloads: list[bytes], payload_size: int) -> Layout:
    size = PAYLOAD + payload_size + TAG_LENGTH
    # No slack after the last slot: a read past the end would fail.
    buffer = PacketBuffer(len(payloads) * size)
    for i, payload in enumerate(payloads):
        start = i * size
        buffer.view[start : start + size] = b"\xee" * PAYLOAD + payload + b"\xcd" * TAG_LENGTH
    return buffer.layout(size, PN_OFFSET, PN_LENGTH, len(payloads))


@given(
    n=st.integers(1, 64),
    dcid=st.binary(max_size=20),
    pn_length=st.integers(1, 4),
    first_pn=st.integers(0, (1 << 62) - 65),
    stream_id=st.sampled_from([0, 3, 64, 16384, VARINT_MAX]),
    offset=st.one_of(st.integers(0, 100_000), st.integers(0, VARINT_MAX - 64 * 60)),
    room=st.integers(40, 60),
    key_phase=st.integers(0, 1),
    fin=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_written_run_is_what_the_row_writer_and_parser_agree_on(
    n: int,
    dcid: bytes,
    pn_length: int,
    first_pn: int,
    stream_id: int,
    offset: int,
    room: int,
    key_phase: int,
    fin: bool,
) -> None:
    size = 1 + len(dcid) + pn_length + room
    chunk = stream_run_chunk(size, len(dcid), pn_length, stream_id, offset + n * room)
    if chunk < 1:
        return
    buffer = PacketBuffer(n * size)
    layout = buffer.layout(size, 1 + len(dcid), pn_length, n)
    block = bytes((offset + k) & 0xFF for k in range(n * chunk))
    write_stream_run(
        layout,
        n,
        first_byte=0x40 | key_phase << 2 | pn_length - 1,
        dcid=dcid,
        first_pn=first_pn,
        stream_id=stream_id,
        offset=offset,
        block=block,
        fin=fin,
    )
    for i in range(n):
        header = bytearray()
        append_short_header(header, dcid, first_pn + i, pn_length, key_phase=key_phase, spin=0)
        assert layout.headers[i] == header
        data = block[i * chunk : (i + 1) * chunk]
        stream = Stream(stream_id, offset + i * chunk, data, fin=fin and i == n - 1)
        assert strictly(bytes(layout.plain[i])) == [stream]

    runs, others = read_stream_runs(layout, n)
    if n - fin >= MIN_RUN:
        assert len(runs) == 1
        run = runs[0]
        assert (run.first, run.stream_id, run.offset, run.chunk) == (0, stream_id, offset, chunk)
        # The last packet before the offset field would need more bytes may be left to the row parser.
        assert run.count >= n - fin - 1
        assert others == list(range(run.count, n))
        assert b"".join(run.views) == block[: run.count * chunk]


@given(value=st.integers(0, VARINT_MAX), length=st.sampled_from([1, 2, 4, 8]))
def test_helper_writes_varints(value: int, length: int) -> None:
    assert strictly(b"\x10" + varint_of(value, length)) == strictly(b"\x10" + encode_varint(value))
