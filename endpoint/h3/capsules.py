"""The Capsule Protocol (RFC 9297 §3): what is said on the data stream of an extended CONNECT."""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from endpoint.errors import TransportError
from endpoint.h3.headers import MessageError
from endpoint.wire.varint import Buffer, encode_varint, read_varint


class CapsuleType(IntEnum):
    """Types of capsules that we know by name."""

    DATAGRAM = 0x00  # RFC 9297 §3.5


class Capsule(NamedTuple):
    """A whole capsule. Types that the receiver doesn't know are to be ignored (RFC 9297 §3.2)."""

    type: int
    value: bytes


def encode_capsule(capsule_type: int, value: Buffer) -> bytes:
    """A capsule for the data stream. Raises ValueError for a type that is no varint."""
    return encode_varint(capsule_type) + encode_varint(len(value)) + value


class CapsuleReader:
    """Takes the pieces of a data stream, gives the capsules in it. Keeps at most one value of `max_value`.

    `wanted` are the types to give; None: all. The values of others are skipped unread (RFC 9297 §3.2),
    and so is a DATAGRAM that is longer than anybody could use (§3.5).
    """

    __slots__ = ("_buffer", "_max_value", "_skip", "_wanted")

    def __init__(self, *, max_value: int = 65536, wanted: frozenset[int] | None = None) -> None:
        """`max_value`: bytes that a wanted capsule may have."""
        self._buffer = bytearray()
        self._max_value = max_value
        self._skip = 0
        self._wanted = wanted

    def feed(self, data: Buffer) -> Sequence[Capsule]:
        """The capsules that `data` completes. Raises MessageError for a wanted one that is too long."""
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        buffer = self._buffer
        buffer += data
        capsules: list[Capsule] = []
        position = 0
        while (header := _read_header(buffer, position)) is not None:
            capsule_type, length, start = header
            end = start + length
            if self._is_skipped(capsule_type, length):
                self._skip = max(0, end - len(buffer))
            elif end > len(buffer):
                break
            else:
                capsules.append(Capsule(capsule_type, bytes(buffer[start:end])))
            position = min(end, len(buffer))
        del buffer[:position]
        return capsules

    def finish(self) -> None:
        """The data stream has ended. Raises MessageError if that was within a capsule (RFC 9297 §3.3)."""
        if self._buffer or self._skip:
            raise MessageError("the stream ended within a capsule")

    def _is_skipped(self, capsule_type: int, length: int) -> bool:
        if self._wanted is not None and capsule_type not in self._wanted:
            return True
        if length <= self._max_value:
            return False
        if capsule_type == CapsuleType.DATAGRAM:
            return True
        raise MessageError(f"a capsule of type 0x{capsule_type:x} with {length} bytes")


def _read_header(buffer: bytearray, position: int) -> tuple[int, int, int] | None:
    """Type, length and where the value starts; None while that is not all there."""
    end = len(buffer)
    try:
        capsule_type, position = read_varint(buffer, position, end)
        length, position = read_varint(buffer, position, end)
    except TransportError:  # an integer is cut short: nothing else can be wrong with one
        return None
    return capsule_type, length, position
