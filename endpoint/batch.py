"""The unit of work on every boundary: datagrams of one size, back to back in one kept buffer.

One packet is a batch with n = 1. A batch has three producers (GRO, gathered slots, a single datagram)
and two consumers (GSO, a send per segment); none of them matters to the core.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

# A socket address as the socket module gives it. The core compares and stores it, never looks inside.
Address: TypeAlias = tuple[Any, ...]

# The ECN field of the IP header (RFC 3168 §5).
ECN_NOT_ECT = 0
ECN_ECT_1 = 1
ECN_ECT_0 = 2
ECN_CE = 3

# More than 64 segments no kernel took in one UDP_SEGMENT call when this was written.
MAX_SEGMENTS = 64
# A UDP length field can't tell more, so it is the most that GRO hands over at once.
PACKET_BUFFER_SIZE = 65536

# Every AEAD of RFC 9001 §5.3 has a tag of this length.
TAG_LENGTH = 16
# Header protection samples 16 bytes, from 4 bytes after the start of the packet number (RFC 9001 §5.4.2).
SAMPLE_LENGTH = 16
SAMPLE_OFFSET = 4

# Packet shapes in use at one time are few: one per path and direction. A peer that keeps changing its
# sizes only makes us build views again; it can't make us keep more of them.
_MAX_SHAPES = 16
# The same for the lengths of STREAM frame headers in packets of one shape: a few transfers at a time.
_MAX_TAILS = 4


class Layout:
    """Views of the equal slots of a buffer, one short-header packet in each.

    Slot `i` is `data[i * size : (i + 1) * size]`; its packet number is `pn_length` bytes at `pn_offset`.
    There can be `capacity` slots. The lists hold a memoryview per slot, for at least as many slots as
    were asked of `PacketBuffer.layout`, and grow when more are asked:

    - `headers[i]`: slot start to the end of the packet number, the associated data of the AEAD;
    - `plain[i]`: the payload without its tag; `sealed[i]`: the same with the tag, up to the slot's end;
    - `samples[i]`: what header protection samples. Shared by all `pn_length` of one size and offset.
    """

    __slots__ = (
        "_tails",
        "capacity",
        "data",
        "headers",
        "plain",
        "pn_length",
        "pn_offset",
        "samples",
        "sealed",
        "size",
    )

    def __init__(
        self,
        data: bytearray,
        size: int,
        pn_offset: int,
        pn_length: int,
        capacity: int,
        samples: list[memoryview],
    ) -> None:
        self.data = data
        self.size = size
        self.pn_offset = pn_offset
        self.pn_length = pn_length
        self.capacity = capacity
        self.headers: list[memoryview] = []
        self.plain: list[memoryview] = []
        self.sealed: list[memoryview] = []
        self.samples = samples
        self._tails: dict[int, list[memoryview]] = {}

    def tails(self, skip: int, n: int) -> list[memoryview]:
        """`plain[i][skip:]` of at least the first `n` slots, which must have been asked of the layout.

        Kept too for the last few values of `skip`, which is the length of a STREAM frame's header.
        """
        tails = self._tails.get(skip)
        if tails is None:
            if len(self._tails) >= _MAX_TAILS:
                del self._tails[next(iter(self._tails))]
            tails = self._tails[skip] = []
        for plain in self.plain[len(tails) : n]:
            tails.append(plain[skip:])
        return tails


class _Shape:
    """What is known of slots before the packet number length is: the samples; and the layouts after."""

    __slots__ = ("layouts", "samples")

    def __init__(self) -> None:
        self.samples: list[memoryview] = []
        self.layouts: dict[int, Layout] = {}


class PacketBuffer:
    """A kept bytearray that datagrams are received into or built in, with its views made once.

    An endpoint has one to receive and one to send, shared by all its connections. `data` keeps its size:
    a bytearray with views on it can't be resized.
    """

    __slots__ = ("_shapes", "data", "view")

    def __init__(self, size: int = PACKET_BUFFER_SIZE) -> None:
        self.data = bytearray(size)
        self.view = memoryview(self.data)
        self._shapes: dict[tuple[int, int], _Shape] = {}

    def capacity(self, size: int) -> int:
        """How many slots of `size` bytes (at least 1) the buffer has, at most `MAX_SEGMENTS`."""
        return min(MAX_SEGMENTS, len(self.data) // size)

    def layout(self, size: int, pn_offset: int, pn_length: int, n: int | None = None) -> Layout:
        """The views of the first `n` slots (None: of all of them) for packets of this shape.

        Raises ValueError when such a packet has no room for a sample (RFC 9001 §5.4.2), or when the buffer
        hasn't got `n` slots.
        """
        count = self.capacity(size) if n is None else n
        shape = self._shape(size, pn_offset, count)
        layout = shape.layouts.get(pn_length)
        if layout is None:
            capacity = self.capacity(size)
            layout = Layout(self.data, size, pn_offset, pn_length, capacity, shape.samples)
            shape.layouts[pn_length] = layout
        if len(layout.headers) < count:
            header_length = pn_offset + pn_length
            view = self.view
            for start in range(len(layout.headers) * size, count * size, size):
                payload = start + header_length
                end = start + size
                layout.headers.append(view[start:payload])
                layout.plain.append(view[payload : end - TAG_LENGTH])
                layout.sealed.append(view[payload:end])
        return layout

    def samples(self, size: int, pn_offset: int, n: int) -> list[memoryview]:
        """The samples of at least the first `n` slots, wanted before the packet number length is known.

        Raises ValueError as `layout` does.
        """
        return self._shape(size, pn_offset, n).samples

    def _shape(self, size: int, pn_offset: int, n: int) -> _Shape:
        key = (size, pn_offset)
        shape = self._shapes.pop(key, None)
        if shape is None:
            if pn_offset + SAMPLE_OFFSET + SAMPLE_LENGTH > size:
                raise ValueError(f"no sample in {size} bytes with a packet number at {pn_offset}")
            if len(self._shapes) >= _MAX_SHAPES:
                del self._shapes[next(iter(self._shapes))]
            shape = _Shape()
        self._shapes[key] = shape  # the last one is the one used last
        samples = shape.samples
        if len(samples) < n:
            if n > self.capacity(size):
                raise ValueError(f"{n} slots of {size} bytes in a buffer of {len(self.data)}")
            first = pn_offset + SAMPLE_OFFSET
            for start in range(len(samples) * size + first, n * size, size):
                samples.append(self.view[start : start + SAMPLE_LENGTH])
        return shape


@dataclass(slots=True)
class RecvBatch:
    """Datagrams from one peer address in one buffer: number `i` starts at `i * segment_size`.

    All but the last have `segment_size` bytes; the last ends at `length`. `local` is the address they were
    sent to, None if the socket can't tell. `ecn` is the ECN field that all of them came with. Valid only
    during the call that receives it, which decrypts in place.
    """

    buffer: PacketBuffer
    length: int
    segment_size: int
    peer: Address
    local: Address | None
    ecn: int

    @classmethod
    def of(
        cls,
        datagrams: list[bytes],
        peer: Address,
        local: Address | None = None,
        ecn: int = ECN_NOT_ECT,
        *,
        buffer: PacketBuffer | None = None,
    ) -> "RecvBatch":
        """Copy `datagrams` (at least one) into `buffer`, or a new one if None.

        Raises ValueError unless all have one size, except a shorter last one.
        """
        size = len(datagrams[0])
        if any(len(datagram) != size for datagram in datagrams[:-1]) or not 0 < len(datagrams[-1]) <= size:
            raise ValueError(f"not a batch: sizes {[len(datagram) for datagram in datagrams]}")
        data = b"".join(datagrams)
        if buffer is None:
            buffer = PacketBuffer(max(len(data), PACKET_BUFFER_SIZE))
        buffer.view[: len(data)] = data
        return cls(buffer, len(data), size, peer, local, ecn)

    def bounds(self) -> Iterator[tuple[int, int]]:
        """Start and end of each datagram in the buffer."""
        return segment_bounds(self.length, self.segment_size)


@dataclass(slots=True)
class SendBatch:
    """Datagrams to send from `local` (None: the socket's choice) to `peer`, all marked with `ecn`.

    The bytes are the first `length` of the buffer that was passed to be filled, in segments of
    `segment_size` as in `RecvBatch`.
    """

    length: int
    segment_size: int
    peer: Address
    local: Address | None
    ecn: int

    def bounds(self) -> Iterator[tuple[int, int]]:
        """Start and end of each datagram in the buffer."""
        return segment_bounds(self.length, self.segment_size)


def segment_bounds(length: int, segment_size: int) -> Iterator[tuple[int, int]]:
    """Start and end of each segment of a batch; only the last may be shorter than `segment_size`."""
    for start in range(0, length, segment_size):
        yield start, min(start + segment_size, length)
