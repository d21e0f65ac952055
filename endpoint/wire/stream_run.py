"""STREAM frames by column: runs of equal packets that each hold one STREAM frame and nothing else.

A bulk transfer is such packets almost only. In n equal slots the same field lies at the same place of
every slot, so a run is written by one `pack_into` of the whole batch, and recognised by looking at each
field of all packets at once. This is an accelerator in front of `frame_parser`, which stays the reference:
what isn't a plain run is left to it, packet by packet, and what is taken here means the same there.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from struct import Struct

from endpoint.batch import TAG_LENGTH, Layout
from endpoint.wire.frames import STREAM_FIN, STREAM_LEN, STREAM_OFF, FrameType
from endpoint.wire.varint import encode_varint, varint_length

# Fewer packets cost less to parse one by one than to look for a run.
MIN_RUN = 3

_RUN_TYPE = FrameType.STREAM | STREAM_OFF
# Struct codes of the packet number, and of the offset as a varint.
_PACKET_NUMBER_CODES = {1: "B", 2: "H", 3: "BH", 4: "I"}
_VARINT_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
# The two top bits of a varint of that length, in place (RFC 9000 §16).
_VARINT_PREFIXES = {1: 0, 2: 0x4000, 4: 0x8000_0000, 8: 0xC000_0000_0000_0000}
# Batch sizes times packet shapes in use; a Struct of 64 packets takes about 10 KB.
_CACHED_STRUCTS = 256


class StreamRun:
    """Consecutive bytes of one stream in consecutive slots, none of them the end of the stream.

    Slots `first` to `first + count - 1` hold `chunk` bytes each, the first of them from `offset` on.
    `views` are those bytes, in order, valid as long as the batch is: `b"".join(run.views)` copies them.
    """

    __slots__ = ("chunk", "count", "first", "offset", "stream_id", "views")

    def __init__(
        self, first: int, count: int, stream_id: int, offset: int, chunk: int, views: list[memoryview]
    ) -> None:
        self.first = first
        self.count = count
        self.stream_id = stream_id
        self.offset = offset
        self.chunk = chunk
        self.views = views


def stream_run_chunk(size: int, dcid_length: int, pn_length: int, stream_id: int, max_offset: int) -> int:
    """The bytes of stream data in each packet of `size` bytes of a run; below 1 if there is no room.

    All packets of a run write the offset with the same length, the one that `max_offset` needs: that must
    be at least the offset in the last packet. The offset where the data of the whole run ends will do.
    """
    header = 1 + dcid_length + pn_length
    frame_header = 1 + varint_length(stream_id) + varint_length(max_offset)
    return size - header - frame_header - TAG_LENGTH


def write_stream_run(
    layout: Layout,
    n: int,
    *,
    first_byte: int,
    dcid: bytes,
    first_pn: int,
    stream_id: int,
    offset: int,
    block: bytes | memoryview,
    fin: bool = False,
) -> None:
    """Fill the first `n` slots with clear short-header packets, ready for `seal_run`.

    Packet `i` has the number `first_pn + i` and `len(block) / n` bytes of `block`, which is contiguous
    stream data from `offset` on; `first_byte` is complete but for header protection; `fin` ends the
    stream with the last packet. Raises ValueError unless the data fills the slots exactly, as it does with
    the chunk of `stream_run_chunk`.
    """
    chunk = len(block) // n
    stream_id_field = encode_varint(stream_id)
    pn_offset, pn_length = layout.pn_offset, layout.pn_length
    used = pn_offset + pn_length + 1 + len(stream_id_field) + chunk + TAG_LENGTH
    offset_length = layout.size - used
    last_offset = offset + (n - 1) * chunk
    if (
        len(block) != n * chunk
        or 1 + len(dcid) != pn_offset
        or (first_byte & 0x03) + 1 != pn_length
        or varint_length(last_offset) > offset_length
        or offset_length not in _VARINT_CODES
    ):
        raise ValueError(f"{len(block)} bytes from {offset} on don't fill {n} packets of {layout.size} bytes")
    fields = _packet_fields(n, pn_offset, pn_length, 1 + len(stream_id_field), offset_length, chunk)
    width = 5 + (pn_length == 3)
    columns: list[object] = [None] * (width * n)
    columns[0::width] = [bytes((first_byte,)) + dcid] * n
    numbers = _truncated_numbers(first_pn, n, pn_length)
    if pn_length == 3:
        columns[1::width] = [number >> 16 for number in numbers]
        columns[2::width] = [number & 0xFFFF for number in numbers]
    else:
        columns[1::width] = numbers
    columns[width - 3 :: width] = [bytes((_RUN_TYPE,)) + stream_id_field] * n
    if fin:
        columns[-3] = bytes((_RUN_TYPE | STREAM_FIN,)) + stream_id_field
    first_offset = offset | _VARINT_PREFIXES[offset_length]
    columns[width - 2 :: width] = range(first_offset, first_offset + n * chunk, chunk)
    columns[width - 1 :: width] = _block_fields(n, chunk).unpack(block)
    fields.pack_into(layout.data, 0, *columns)


def read_stream_runs(layout: Layout, n: int, skip: Sequence[int] = ()) -> tuple[list[StreamRun], list[int]]:
    """The runs among the first `n` opened slots, and the indexes of the packets that are in none.

    `skip` has the indexes, ascending, of slots not to be read: packets that failed to open, or duplicates.
    They are in neither result. Packets in none of the runs have to be read by `frame_parser`; whether their
    frames are valid isn't known.
    """
    runs: list[StreamRun] = []
    others: list[int] = []
    first = 0
    for stop in chain(skip, (n,)):
        while first < stop:
            run = _read_run(layout, first, stop) if stop - first >= MIN_RUN else None
            if run is None:
                others.append(first)
                first += 1
            else:
                runs.append(run)
                first += run.count
        first = stop + 1
    return runs, others


def _read_run(layout: Layout, first: int, stop: int) -> StreamRun | None:
    """The run that starts in slot `first` and ends before `stop`, None if there is no run of MIN_RUN."""
    data, size = layout.data, layout.size
    type_at = first * size + layout.pn_offset + layout.pn_length
    end = (first + 1) * size - TAG_LENGTH
    fields = _frame_fields(data, type_at, end)
    if fields is None:
        return None
    offset_at, offset_length, data_at = fields
    chunk = end - data_at
    count = stop - first

    # Type and stream ID, and the length if there is one, are the same in all packets of a run.
    for at in chain(range(type_at, offset_at), range(offset_at + offset_length, data_at)):
        column = data[at : stop * size : size]
        count = min(count, len(column) - len(column.lstrip(column[:1])))
        if count < MIN_RUN:
            return None

    offsets = _column(count, size, offset_length).unpack_from(data, offset_at)
    first_offset = offsets[0]
    expected = tuple(range(first_offset, first_offset + count * chunk, chunk))
    if offsets != expected:
        count = next(
            i for i, (is_, wanted) in enumerate(zip(offsets, expected, strict=True)) if is_ != wanted
        )
    # Up to the end of what this length of varint can tell. Above are other fields' bits, taken for an
    # offset, or the error of data beyond the last offset of a stream (RFC 9000 §19.8).
    offset_mask = (1 << 8 * offset_length - 2) - 1
    offset = first_offset & offset_mask
    count = min(count, (offset_mask - offset) // chunk)
    if count < MIN_RUN:
        return None
    stream_id = (
        int.from_bytes(data[type_at + 1 : offset_at], "big") & (1 << 8 * (offset_at - type_at - 1) - 2) - 1
    )
    views = layout.tails(data_at - type_at, first + count)[first : first + count]
    return StreamRun(first, count, stream_id, offset, chunk, views)


def _frame_fields(data: bytearray, type_at: int, end: int) -> tuple[int, int, int] | None:
    """Of a STREAM frame that may be part of a run: position and length of the offset, position of the data.

    None for any other frame, and for one that doesn't end exactly at `end` with at least a byte of data.
    """
    frame_type = data[type_at]
    # Without an offset the data starts at 0, and with FIN it ends: neither goes on in the next packet.
    if frame_type | STREAM_LEN != _RUN_TYPE | STREAM_LEN:
        return None
    # Each field is looked at only if it starts before the end of the payload.
    offset_at = type_at + 1
    if offset_at < end:
        offset_at += 1 << (data[offset_at] >> 6)
    if offset_at >= end:
        return None
    offset_length = 1 << (data[offset_at] >> 6)
    data_at = offset_at + offset_length
    if frame_type & STREAM_LEN and data_at < end:
        length_at = data_at
        data_at += 1 << (data[length_at] >> 6)
        length = int.from_bytes(data[length_at:data_at], "big") & (1 << 8 * (data_at - length_at) - 2) - 1
        if length != end - data_at:
            return None
    return (offset_at, offset_length, data_at) if data_at < end else None


def _truncated_numbers(first_pn: int, n: int, pn_length: int) -> Sequence[int]:
    mask = (1 << 8 * pn_length) - 1
    first = first_pn & mask
    if first + n - 1 <= mask:
        return range(first, first + n)
    return [(first + i) & mask for i in range(n)]


@lru_cache(_CACHED_STRUCTS)
def _packet_fields(
    n: int, header: int, pn_length: int, frame_header: int, offset_length: int, chunk: int
) -> Struct:
    """n packets: first byte and DCID, packet number, type and stream ID, offset, data, room for the tag."""
    number, offset = _PACKET_NUMBER_CODES[pn_length], _VARINT_CODES[offset_length]
    return Struct(">" + f"{header}s{number}{frame_header}s{offset}{chunk}s{TAG_LENGTH}x" * n)


@lru_cache(_CACHED_STRUCTS)
def _block_fields(n: int, chunk: int) -> Struct:
    return Struct(f"{chunk}s" * n)


@lru_cache(_CACHED_STRUCTS)
def _column(count: int, size: int, width: int) -> Struct:
    """An integer of `width` bytes in each of `count` slots, from the first of these integers on."""
    code = _VARINT_CODES[width]
    return Struct(">" + f"{code}{size - width}x" * (count - 1) + code)
