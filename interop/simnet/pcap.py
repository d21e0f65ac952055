"""Capture files as the interop runner's `dumpcap` writes them: pcapng, of raw IP packets.

Every block is draft-ietf-opsawg-pcapng's; times are nanoseconds.
"""

import struct
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_SECTION_HEADER: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_ENHANCED_PACKET: Final = 6
_BYTE_ORDER: Final = 0x1A2B3C4D
_UNKNOWN_LENGTH: Final = -1
_LINKTYPE_RAW: Final = 101
_SNAPLEN: Final = 65535
# Options: one, its length, its value padded to 32 bits; then the end of them.
_IF_NAME: Final = 2
_IF_TSRESOL: Final = 9
_NANOSECONDS: Final = 9
_END: Final = struct.pack("!HH", 0, 0)
# Ten times what the longest test case takes. An end that sends without pause must not fill the disk.
MOST_PACKETS: Final = 250_000


class PcapWriter:
    """A context manager that writes `file`; `interface` is the name that readers show."""

    def __init__(self, file: Path, interface: str = "") -> None:
        self._file = file.open("wb")
        self._packets = 0
        self._block(_SECTION_HEADER, struct.pack("!IHHq", _BYTE_ORDER, 1, 0, _UNKNOWN_LENGTH))
        options = _option(_IF_NAME, interface.encode()) if interface else b""
        options += _option(_IF_TSRESOL, bytes([_NANOSECONDS])) + _END
        self._block(_INTERFACE, struct.pack("!HHI", _LINKTYPE_RAW, 0, _SNAPLEN) + options)

    def write(self, packet: bytes, time: float) -> None:
        """Add an IP packet, if it is not one too many. `time` is in seconds since any beginning."""
        self._packets += 1
        if self._packets > MOST_PACKETS:
            return
        high, low = divmod(round(time * 1e9), 1 << 32)
        head = struct.pack("!IIIII", 0, high, low, len(packet), len(packet))
        self._block(_ENHANCED_PACKET, head + _padded(packet))

    def _block(self, kind: int, body: bytes) -> None:
        length = 12 + len(body)
        self._file.write(struct.pack("!II", kind, length) + body + struct.pack("!I", length))

    def close(self) -> None:
        """Make the file complete."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("!HH", code, len(value)) + _padded(value)
