"""TLS presentation language (RFC 9846 §3): big-endian numbers and length-prefixed vectors."""

from endpoint.errors import AlertDescription, AlertError


def decode_error(reason: str) -> AlertError:
    """The alert for bytes that don't follow the syntax."""
    return AlertError(AlertDescription.DECODE_ERROR, reason)


class Reader:
    """A cursor over bytes; reading past the end raises AlertError(decode_error)."""

    __slots__ = ("_data", "_position", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        """`what` names the data in the reason of an error."""
        self._data = data
        self._position = 0
        self._what = what

    @property
    def at_end(self) -> bool:
        return self._position == len(self._data)

    def take(self, length: int) -> bytes:
        """The next `length` bytes."""
        start = self._position
        end = start + length
        if end > len(self._data):
            raise decode_error(f"{self._what} is truncated")
        self._position = end
        return self._data[start:end]

    def uint(self, width: int) -> int:
        """A number of `width` bytes."""
        return int.from_bytes(self.take(width), "big")

    def vector(self, width: int, *, minimum: int = 0) -> bytes:
        """The content of a vector whose length has `width` bytes, and which has `minimum` bytes or more."""
        length = self.uint(width)
        if length < minimum:
            raise decode_error(f"{self._what} has a vector that is too short")
        return self.take(length)

    def uint16_list(self, width: int) -> tuple[int, ...]:
        """A vector of one or more 16-bit numbers."""
        data = self.vector(width, minimum=2)
        if len(data) % 2:
            raise decode_error(f"{self._what} has a list of odd length")
        return tuple(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))

    def finish(self) -> None:
        """Raise unless everything has been read (RFC 9846 §4.2: trailing data is forbidden)."""
        if not self.at_end:
            raise decode_error(f"{self._what} has trailing bytes")


def vector(width: int, content: bytes) -> bytes:
    """`content` behind its length of `width` bytes."""
    return len(content).to_bytes(width, "big") + content


def uint16_list(width: int, values: tuple[int, ...]) -> bytes:
    """A vector of 16-bit numbers."""
    return vector(width, b"".join(value.to_bytes(2, "big") for value in values))
