"""Capture files in the classic format: raw IP packets with the time they were seen."""

import struct
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_MAGIC: Final = 0xA1B2C3D4
_LINKTYPE_RAW: Final = 101
_SNAPLEN: Final = 65535


class PcapWriter:
    """A context manager that writes `file`."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("wb")
        self._file.write(struct.pack("!IHHiIII", _MAGIC, 2, 4, 0, 0, _SNAPLEN, _LINKTYPE_RAW))

    def write(self, packet: bytes, time: float) -> None:
        """Add an IP packet. `time` is in seconds since any beginning."""
        seconds, fraction = divmod(time, 1.0)
        header = struct.pack("!IIII", int(seconds), int(fraction * 1e6), len(packet), len(packet))
        self._file.write(header + packet)

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
