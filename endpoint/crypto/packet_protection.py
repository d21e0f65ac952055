"""Seal and open packets in place, one at a time or a run of equal ones (RFC 9001 §5).

A run is n short-header packets of equal size in the slots of a `Layout`. Byte k of all their headers is
the strided slice `data[k : n * size : size]`, a column; header protection is one XOR per column, done on
the column as one integer. Only the AEAD itself is left to do per packet.

All positions are absolute in the buffer. A packet is opened in two steps, `unprotect_header` and then
`open_payload`: the first byte says which key phase the packet is of, and the right keys must be chosen
before opening, because an AEAD that fails has already overwritten the payload. The last 16 bytes of a
packet stay as they came in either case, so a stateless reset token can be looked for after a failure
(RFC 9000 §10.3.1).
"""

from collections import deque
from collections.abc import Sequence
from struct import Struct

from cryptography.exceptions import InvalidTag

from endpoint.batch import MAX_SEGMENTS, SAMPLE_LENGTH, SAMPLE_OFFSET, TAG_LENGTH, Layout, PacketBuffer
from endpoint.crypto import aead
from endpoint.crypto.header_protection import LONG_HEADER_BITS, MASK_LENGTH, SHORT_HEADER_BITS
from endpoint.crypto.keys import PacketKeys
from endpoint.wire.header import FIXED_BIT, KEY_PHASE_BIT, LONG_HEADER_FORM, PN_LENGTH_MASK, SPIN_BIT
from endpoint.wire.packet_number import decode_packet_number

# A byte repeated n times as an integer is the byte times _REPEAT[n].
_REPEAT = [int.from_bytes(b"\x01" * n, "little") for n in range(MAX_SEGMENTS + 1)]
_PROTECTED = [repeat * SHORT_HEADER_BITS for repeat in _REPEAT]
# All of the first byte but the spin bit, which a sender may flip between any two packets, and the same
# without the fixed bit, which it may flip too if we said so (RFC 9287).
_UNIFORM_BITS = 0xFF ^ SPIN_BIT
_UNIFORM = [repeat * _UNIFORM_BITS for repeat in _REPEAT]
_UNIFORM_GREASED = [repeat * (_UNIFORM_BITS ^ FIXED_BIT) for repeat in _REPEAT]
# Packet numbers gathered from their columns into 32 bits each.
_NUMBER_WIDTH = 4
_NUMBERS = [Struct(f">{n}I") for n in range(MAX_SEGMENTS + 1)]


class OpenedRun:
    """What `open_run` made of the first `n` slots of a layout.

    `layout.plain[i]` is the payload of packet `i`, whose number is `packet_numbers[i]`: a range where they
    are consecutive. `failed` has the indexes that did not authenticate, ascending; nothing in those slots
    may be looked at, except the last 16 bytes. `first_byte` is that of the last packet; but for the spin
    bit, and the fixed bit where it is greased, all have the same.
    """

    __slots__ = ("failed", "first_byte", "layout", "n", "packet_numbers", "pn_length")

    def __init__(
        self, layout: Layout, n: int, first_byte: int, packet_numbers: Sequence[int], failed: list[int]
    ) -> None:
        self.layout = layout
        self.n = n
        self.first_byte = first_byte
        self.pn_length = layout.pn_length
        self.packet_numbers = packet_numbers
        self.failed = failed


def seal(
    keys: PacketKeys, data: memoryview, start: int, pn_offset: int, pn_length: int, end: int, pn: int
) -> None:
    """Protect one packet with a long or short header, in place.

    The clear header is `data[start : pn_offset + pn_length]`, the payload follows up to `end`, and the tag
    is written to `data[end : end + 16]`. Raises ValueError as `seal_packet` does.
    """
    payload = pn_offset + pn_length
    seal_packet(keys, bytearray(data[start:payload]), data[payload:end], pn_length, pn, data, start)


def seal_packet(
    keys: PacketKeys,
    header: bytearray,
    payload: bytearray | memoryview,
    pn_length: int,
    pn: int,
    data: memoryview,
    start: int,
) -> int:
    """Write one packet with a long or short header, protected, to `data` from `start` on; returns its end.

    `header` is the clear one up to the packet number, `pn_length` bytes at its end; it is protected in
    place, too. `payload` may lie where it goes to. Raises ValueError if payload and packet number are
    together shorter than 4 bytes, which leaves nothing to sample (RFC 9001 §5.4.2): pad before.
    """
    size = len(payload)
    if size + pn_length < SAMPLE_OFFSET:
        raise ValueError(f"a payload of {size} bytes needs padding")
    body = start + len(header)
    end = body + size + TAG_LENGTH
    keys.encrypt_into(aead.nonce(keys.iv, pn), payload, header, data[body:end])
    keys.sealed += 1
    sample = body - pn_length + SAMPLE_OFFSET
    mask = keys.header_protection.mask(data[sample : sample + SAMPLE_LENGTH])
    header[0] ^= mask[0] & (LONG_HEADER_BITS if header[0] & LONG_HEADER_FORM else SHORT_HEADER_BITS)
    for i in range(1, pn_length + 1):
        header[i - pn_length - 1] ^= mask[i]
    data[start:body] = header
    return end


def unprotect_header(
    keys: PacketKeys, data: memoryview, start: int, pn_offset: int, end: int, expected_pn: int
) -> tuple[int, int, int] | None:
    """Take off the header protection of one packet, in place: (first byte, packet number, its length).

    `end` is the end of the packet with its tag; `expected_pn` is the largest packet number received in the
    space plus one. None, and nothing changed, if the packet is too short to have a sample. Nothing
    returned is authentic before `open_payload` says so.
    """
    sample = pn_offset + SAMPLE_OFFSET
    if end < sample + SAMPLE_LENGTH:
        return None
    mask = keys.header_protection.mask(data[sample : sample + SAMPLE_LENGTH])
    first_byte = data[start]
    first_byte ^= mask[0] & (LONG_HEADER_BITS if first_byte & LONG_HEADER_FORM else SHORT_HEADER_BITS)
    data[start] = first_byte
    pn_length = (first_byte & PN_LENGTH_MASK) + 1
    truncated = 0
    for i in range(pn_length):
        byte = data[pn_offset + i] ^ mask[1 + i]
        data[pn_offset + i] = byte
        truncated = truncated << 8 | byte
    return first_byte, decode_packet_number(truncated, pn_length, expected_pn), pn_length


def open_payload(keys: PacketKeys, data: memoryview, start: int, payload: int, end: int, pn: int) -> bool:
    """Decrypt `data[payload : end - 16]` in place after `unprotect_header`; `payload` is where it starts.

    False if the packet does not authenticate: then its payload is overwritten and of no more use.
    """
    try:
        keys.decrypt_into(
            aead.nonce(keys.iv, pn), data[payload:end], data[start:payload], data[payload : end - TAG_LENGTH]
        )
    except InvalidTag:
        keys.failed_opens += 1
        return False
    return True


def seal_run(keys: PacketKeys, layout: Layout, first_pn: int, n: int, slot: int = 0) -> None:
    """Protect the short-header packets in `n` slots from `slot` on, numbered from `first_pn` on, in place.

    Each slot is full: clear header, payload, and room for the tag.
    """
    nonces = aead.nonces(keys.iv, range(first_pn, first_pn + n))
    plain, headers, sealed = layout.plain, layout.headers, layout.sealed
    if slot:
        plain, headers, sealed = plain[slot:], headers[slot:], sealed[slot:]
    deque(map(keys.encrypt_into, nonces, plain, headers, sealed), 0)
    keys.sealed += n
    masks = keys.header_protection.masks(layout.samples[slot : slot + n])
    data, size, pn_offset = layout.data, layout.size, layout.pn_offset
    start, end = slot * size, (slot + n) * size
    from_bytes = int.from_bytes
    first = (
        from_bytes(data[start:end:size], "little")
        ^ from_bytes(masks[::MASK_LENGTH], "little") & _PROTECTED[n]
    )
    data[start:end:size] = first.to_bytes(n, "little")
    for i in range(layout.pn_length):
        column = slice(start + pn_offset + i, end, size)
        masked = from_bytes(data[column], "little") ^ from_bytes(masks[1 + i :: MASK_LENGTH], "little")
        data[column] = masked.to_bytes(n, "little")


def open_run(
    keys: PacketKeys,
    buffer: PacketBuffer,
    size: int,
    n: int,
    pn_offset: int,
    expected_pn: int,
    key_phase: int,
    *,
    greased: bool = False,
) -> OpenedRun | None:
    """Open the first `n` slots of `size` bytes as short-header packets of the current `key_phase`, in place.

    None, and nothing changed, if they have to be opened one by one: not all are short headers with the
    fixed bit set, reserved bits zero, this key phase and one packet number length; or they are too short
    or too many for a layout. What comes back is what opening them one by one gives; failures are counted
    in `keys`. `greased`: the fixed bit may have any value, in each of them.
    """
    if size < pn_offset + SAMPLE_OFFSET + SAMPLE_LENGTH or n > buffer.capacity(size):
        return None
    data = buffer.data
    end = n * size
    masks = keys.header_protection.masks(buffer.samples(size, pn_offset, n)[:n])
    from_bytes = int.from_bytes
    first = (
        from_bytes(data[0:end:size], "little") ^ from_bytes(masks[::MASK_LENGTH], "little") & _PROTECTED[n]
    )
    pn_length = (first & PN_LENGTH_MASK) + 1
    wanted = (0 if greased else FIXED_BIT) | (KEY_PHASE_BIT if key_phase else 0) | pn_length - 1
    if first & (_UNIFORM_GREASED if greased else _UNIFORM)[n] != wanted * _REPEAT[n]:
        return None
    data[0:end:size] = first.to_bytes(n, "little")
    truncated = bytearray(_NUMBER_WIDTH * n)
    for i in range(pn_length):
        column = slice(pn_offset + i, end, size)
        clear = from_bytes(data[column], "little") ^ from_bytes(masks[1 + i :: MASK_LENGTH], "little")
        data[column] = truncated[_NUMBER_WIDTH - pn_length + i :: _NUMBER_WIDTH] = clear.to_bytes(n, "little")
    packet_numbers = _decode_packet_numbers(_NUMBERS[n].unpack(truncated), pn_length, expected_pn)
    layout = buffer.layout(size, pn_offset, pn_length, n)
    failed = _open_payloads(keys, layout, packet_numbers)
    return OpenedRun(layout, n, first >> 8 * (n - 1), packet_numbers, failed)


def _decode_packet_numbers(truncated: tuple[int, ...], pn_length: int, expected_pn: int) -> Sequence[int]:
    first = truncated[0]
    n = len(truncated)
    if truncated == tuple(range(first, first + n)):
        first_pn = decode_packet_number(first, pn_length, expected_pn)
        return range(first_pn, first_pn + n)
    # Where the least and the greatest lie in one window, all between them do too.
    low, high = min(truncated), max(truncated)
    window = decode_packet_number(low, pn_length, expected_pn) - low
    if decode_packet_number(high, pn_length, expected_pn) - high == window:
        return [window + number for number in truncated]
    # A sender's number decodes rightly whatever of its earlier packets we have (RFC 9000 §17.1), so
    # `expected_pn` needn't follow along; and what isn't authentic yet must not move it.
    return [decode_packet_number(number, pn_length, expected_pn) for number in truncated]


def _open_payloads(keys: PacketKeys, layout: Layout, packet_numbers: Sequence[int]) -> list[int]:
    """Decrypt all; the indexes that failed."""
    nonces = aead.nonces(keys.iv, packet_numbers)
    opening = map(keys.decrypt_into, nonces, layout.sealed, layout.headers, layout.plain)
    lengths: list[int] = []
    failed: list[int] = []
    while True:
        try:
            # An exception ends `extend` but not `opening`, and `lengths` keeps what came before it.
            lengths.extend(opening)
        except InvalidTag:
            failed.append(len(lengths))
            lengths.append(0)
        else:
            break
    keys.failed_opens += len(failed)
    return failed
