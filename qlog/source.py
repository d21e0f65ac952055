"""The bytes of a file, decompressed as they are read."""

import zlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, Protocol

CHUNK = 1 << 18
# What zstd and brotli are given at a time: all that it becomes is held in memory.
_SLICE = 1 << 12

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
            stream = _STREAMS[kind]()
        except ImportError as error:
            reason = f"compressed with {kind}: install the package {error.name} to read it"
            raise UnreadableFileError(reason, self.path) from None
        return self._streamed(file, stream, kind)

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

    def _streamed(self, file: BinaryIO, stream: "_Stream", kind: str) -> Iterator[bytes]:
        while data := file.read(_SLICE):
            try:
                yield from filter(None, stream.decompress(data))
            except stream.failure as error:
                self.cut = f"the {kind} data is broken: {error}"
                return
        if not stream.is_finished:
            self.cut = f"the {kind} data ends too early"


class _Stream(Protocol):
    """What turns compressed pieces into plain ones, and raises `failure`.

    To make one raises ImportError if the package for it is not here.
    """

    failure: type[Exception]

    def decompress(self, data: bytes) -> Iterator[bytes]: ...

    @property
    def is_finished(self) -> bool: ...


class _Zstd:
    """All frames of a file: writers in parallel make several, and so does `cat`."""

    def __init__(self) -> None:
        module = import_module("zstandard")
        self.failure: type[Exception] = module.ZstdError
        self._begin = module.ZstdDecompressor().decompressobj
        self._frame = self._begin()

    def decompress(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._frame.eof:
                self._frame = self._begin()
            yield self._frame.decompress(data)
            data = self._frame.unused_data

    @property
    def is_finished(self) -> bool:
        return bool(self._frame.eof)


class _Brotli:
    def __init__(self) -> None:
        module = import_module("brotli")
        self.failure: type[Exception] = module.error
        self._decompressor = module.Decompressor()

    def decompress(self, data: bytes) -> Iterator[bytes]:
        yield self._decompressor.process(data)

    @property
    def is_finished(self) -> bool:
        return bool(self._decompressor.is_finished())


_STREAMS: dict[str, type[_Stream]] = {"zstd": _Zstd, "brotli": _Brotli}
