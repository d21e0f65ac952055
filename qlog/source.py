"""The bytes of a file, decompressed as they are read."""

import zlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

CHUNK = 1 << 18

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class UnreadableFileError(Exception):
    """Not a qlog file, or one that can't be read at all; the message is for the user.

    `reason` is the message without the name of the `file`.
    """

    def __init__(self, reason: str, file: Path | None = None) -> None:
        super().__init__(reason if file is None else f"{file}: {reason}")
        self.reason = reason


class Source:
    """Yields the decompressed bytes of a file. `cut` is set if its compressed stream ended too early."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cut = ""

    def chunks(self) -> Iterator[bytes]:
        """From the start of the file, each time it is called. Raises UnreadableFileError."""
        self.cut = ""
        try:
            with self.path.open("rb") as file:
                magic = file.read(4)
                file.seek(0)
                yield from self._decompressed(file, magic)
        except OSError as error:
            raise UnreadableFileError(error.strerror or str(error), self.path) from error

    def _decompressed(self, file: BinaryIO, magic: bytes) -> Iterator[bytes]:
        if magic.startswith(_GZIP_MAGIC):
            return self._gunzip(file)
        # brotli has no magic bytes
        kind = "zstd" if magic.startswith(_ZSTD_MAGIC) else "brotli" if self.path.suffix == ".br" else ""
        if not kind:
            return iter(lambda: file.read(CHUNK), b"")
        try:
            decompressor = _DECOMPRESSORS[kind]()
        except ImportError as error:
            reason = f"compressed with {kind}: install the package {error.name} to read it"
            raise UnreadableFileError(reason, self.path) from None
        return self._streamed(file, decompressor, kind)

    def _gunzip(self, file: BinaryIO) -> Iterator[bytes]:
        """All members of a gzip file: writers append a new one when they reopen it."""
        inflate = zlib.decompressobj(wbits=31)
        fed = False
        while data := file.read(CHUNK):
            while data:
                try:
                    plain = inflate.decompress(data, CHUNK)
                except zlib.error as error:
                    self.cut = f"the gzip data is broken: {error}"
                    return
                fed = True
                if plain:
                    yield plain
                data = inflate.unconsumed_tail
                if inflate.eof:
                    data = inflate.unused_data.lstrip(b"\0")
                    inflate = zlib.decompressobj(wbits=31)
                    fed = False
        if fed:
            self.cut = "the gzip data ends before its trailer"

    def _streamed(
        self, file: BinaryIO, decompressor: tuple[Any, type[Exception]], kind: str
    ) -> Iterator[bytes]:
        decompress, failure = decompressor
        while data := file.read(CHUNK):
            try:
                plain = decompress(data)
            except failure as error:
                self.cut = f"the {kind} data is broken: {error}"
                return
            if plain:
                yield plain


def _zstd_decompressor() -> tuple[Any, type[Exception]]:
    """Raises ImportError if there is no package for it."""
    zstandard = import_module("zstandard")
    return zstandard.ZstdDecompressor().decompressobj().decompress, zstandard.ZstdError


def _brotli_decompressor() -> tuple[Any, type[Exception]]:
    """Raises ImportError if there is no package for it."""
    brotli = import_module("brotli")
    return brotli.Decompressor().process, brotli.error


_DECOMPRESSORS = {"zstd": _zstd_decompressor, "brotli": _brotli_decompressor}
