"""Variable-length integers (RFC 9000 §16): 1, 2, 4 or 8 bytes, the two top bits tell which."""

from collections.abc import Iterable
from typing import TypeAlias

from endpoint.errors import TransportError, TransportErrorCode

# Whatever the parsers read from: they index and slice it, and never keep it.
Buffer: TypeAlias = bytes | bytearray | memoryview

VARINT_MAX = (1 << 62) - 1


def read_varint(buf: Buffer, pos: int, end: int) -> tuple[int, int]:
    """Read the integer at `pos`; return it and the position after it.

    `end` is where readable bytes stop, at most `len(buf)`. Raises TransportError
    (FRAME_ENCODING_ERROR) when the integer does not fit before it.
    """
    if pos < end:
        first = buf[pos]
        if first < 0x40:
            return first, pos + 1
        if first < 0x80:
            after = pos + 2
            if after <= end:
                return (first & 0x3F) << 8 | buf[pos + 1], after
        elif first < 0xC0:
            after = pos + 4
            if after <= end:
                return int.from_bytes(buf[pos:after], "big") & 0x3FFF_FFFF, after
        else:
            after = pos + 8
            if after <= end:
                return int.from_bytes(buf[pos:after], "big") & VARINT_MAX, after
    raise TransportError(TransportErrorCode.FRAME_ENCODING_ERROR, "truncated integer")


def read_varints(buf: Buffer, pos: int, end: int, count: int) -> tuple[list[int], int]:
    """Read `count` integers in a row; what is told of `read_varint` holds for each.

    Frames are mostly integers, and a call for each takes longer than the reading.
    """
    values: list[int] = []
    for _ in range(count):
        if pos < end:
            first = buf[pos]
            if first < 0x40:
                values.append(first)
                pos += 1
                continue
            after = pos + (1 << (first >> 6))
            if after <= end:
                if first < 0x80:
                    values.append((first & 0x3F) << 8 | buf[pos + 1])
                else:
                    bits = int.from_bytes(buf[pos:after], "big")
                    values.append(bits & (VARINT_MAX if first >= 0xC0 else 0x3FFF_FFFF))
                pos = after
                continue
        raise TransportError(TransportErrorCode.FRAME_ENCODING_ERROR, "truncated integer")
    return values, pos


def append_varint(out: bytearray, value: int) -> None:
    """Append `value` in its shortest form. Raises ValueError outside 0..VARINT_MAX."""
    if 0 <= value < 0x40:
        out.append(value)
    elif 0 < value < 0x4000:
        out.append(0x40 | value >> 8)
        out.append(value & 0xFF)
    else:
        out += encode_varint(value)


def append_varints(out: bytearray, values: Iterable[int]) -> None:
    """`append_varint` for each of `values`, in one call."""
    for value in values:
        if value < 0x40:
            out.append(value)
        elif value < 0x4000:
            out.append(0x40 | value >> 8)
            out.append(value & 0xFF)
        else:
            out += encode_varint(value)


def encode_varint(value: int) -> bytes:
    """The shortest form of `value`. Raises ValueError outside 0..VARINT_MAX."""
    # The prefix is log2 of the length: 0b00, 0b01, 0b10, 0b11 for 1, 2, 4, 8 bytes.
    if value < 0x40:
        if value < 0:
            raise ValueError("a variable-length integer can't be negative")
        return value.to_bytes(1, "big")
    if value < 0x4000:
        return (value | 0x4000).to_bytes(2, "big")
    if value < 0x4000_0000:
        return (value | 0x8000_0000).to_bytes(4, "big")
    if value <= VARINT_MAX:
        return (value | 0xC000_0000_0000_0000).to_bytes(8, "big")
    raise ValueError("a variable-length integer has at most 62 bits")


def varint_length(value: int) -> int:
    """Bytes in the shortest form of `value`. Raises ValueError outside 0..VARINT_MAX."""
    if value < 0:
        raise ValueError("a variable-length integer can't be negative")
    if value < 0x40:
        return 1
    if value < 0x4000:
        return 2
    if value < 0x4000_0000:
        return 4
    if value <= VARINT_MAX:
        return 8
    raise ValueError("a variable-length integer has at most 62 bits")
