"""Files for HTTP: a directory to serve and a directory to download to."""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
# Whether files can be opened relative to a folder: not on Windows, where links are for administrators.
_WALKS = os.open in os.supports_dir_fd
if _WALKS:
    # A pipe is not waited for, and then found to be no file. A folder need not be readable, where the system
    # can tell that from passing through.
    _FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    _FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY


class Directory:
    """The regular files below `root`. Nothing outside can be reached, by ".." or by links.

    Nor what is hidden: names that begin with a dot, such as `.git`, but for `/.well-known/` (RFC 8615). What
    a link with another name leads to is not hidden.
    """

    __slots__ = ("_below", "_root")

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Raises NotADirectoryError (or another OSError) unless `root` is a directory."""
        self._root = os.path.realpath(root, strict=True)
        if not os.path.isdir(self._root):
            raise NotADirectoryError(20, "not a directory", str(root))
        self._below = os.path.join(self._root, "")

    def open(self, path: str) -> BinaryIO | None:
        """The file that `path` ("/NAME" or "/FOLDER/NAME", decoded) names; None if there is none.

        Raises OSError for a file that is there but can't be opened.
        """
        target = self._find(path)
        opener = self._open_below if _WALKS else None
        try:
            if target is None or not stat.S_ISREG(os.stat(target).st_mode):
                return None
            file = open(target, "rb", buffering=0, opener=opener)  # noqa: SIM115 - given to the caller
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            return None
        return file

    def _open_below(self, target: str, _flags: int) -> int:
        """Open what is below `root`, folder by folder: links that came after `_find` lead nowhere."""
        *folders, name = target[len(self._below) :].split(os.sep)
        folder = os.open(self._root, _FOLDER)
        try:
            for each in folders:
                above, folder = folder, os.open(each, _FOLDER, dir_fd=folder)
                os.close(above)
            return os.open(name, _FILE, dir_fd=folder)
        finally:
            os.close(folder)

    def has_folder(self, path: str) -> bool:
        """Whether `path` ("/", "/FOLDER" or "/FOLDER/", decoded) names a folder or `root` itself.

        Raises OSError for a folder that can't be looked into.
        """
        target = self._root if path == "/" else self._find(path.removesuffix("/"))
        return target is not None and os.path.isdir(target)

    # Strings instead of `Path`, which would cost more than the system calls.
    def _find(self, path: str) -> str | None:
        """Where `path` leads, links followed; None if that is nowhere, or outside."""
        before, *names = path.split("/")
        if before or not names or not all(map(_is_plain_name, names)):
            return None
        if "/." in path and _is_hidden(names):
            return None
        try:
            target = os.path.realpath(self._below + os.sep.join(names), strict=True)
        except ValueError:
            return None  # a name that no system call takes
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise
        return target if target == self._root or target.startswith(self._below) else None


_WELL_KNOWN = ".well-known"
_NO_NAMES = frozenset(("", ".", ".."))
_SEPARATORS = frozenset(("/", "\\", "\0") + ((":",) if os.name == "nt" else ()))


def _is_plain_name(name: str) -> bool:
    return name not in _NO_NAMES and _SEPARATORS.isdisjoint(name)


def _is_hidden(names: list[str]) -> bool:
    return any(name.startswith(".") for name in names[names[0] == _WELL_KNOWN :])


def file_name(url: str) -> str:
    """The name under which the file of a URL is stored: the last part of its path.

    Raises ValueError when that is not the name of a file.
    """
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    if not _is_plain_name(name):
        raise ValueError(f"{url} does not end in a file name")
    return name


class Downloads:
    """A directory that files appear in only when they are complete.

    Incomplete ones stay in a folder of their own inside it, on the same file system, which `close` removes.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        """Makes `directory` where it is missing. Raises OSError when it can't be made or written."""
        self._directory = Path(directory)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=self._directory))
        self._listeners: list[Callable[[OSError], None]] = []
        self._numbers = 0
        self.failure: OSError | None = None
        self.received = 0
        self.completed: list[str] = []
        self.abandoned: list[tuple[str, str]] = []

    def sink(self, name: str) -> "FileSink":
        """Where the content of the file `name` goes."""
        self._numbers += 1
        return FileSink(self, name, self._partial / str(self._numbers), self._directory / name)

    def fail(self, error: OSError) -> None:
        """A file could not be written. For `FileSink`."""
        if self.failure is None:
            self.failure = error
            for listener in self._listeners:
                listener(error)

    def on_failure(self, listener: Callable[[OSError], None]) -> None:
        """Have `listener` called at the first failure of the disk."""
        self._listeners.append(listener)

    def close(self) -> None:
        """Remove what is incomplete."""
        shutil.rmtree(self._partial, ignore_errors=True)


class FileSink:
    """One file on its way. The file is opened with its first byte, so that waiting costs no descriptor."""

    __slots__ = ("_downloads", "_file", "_name", "_partial", "_target")

    def __init__(self, downloads: Downloads, name: str, partial: Path, target: Path) -> None:
        """Made by `Downloads.sink`."""
        self._downloads = downloads
        self._name = name
        self._partial = partial
        self._target = target
        self._file: BinaryIO | None = None

    def write(self, data: bytes) -> None:
        """Append; after a failure of the disk this does nothing."""
        downloads = self._downloads
        downloads.received += len(data)
        if downloads.failure is not None:
            return
        try:
            if self._file is None:
                self._file = self._partial.open("wb")
            self._file.write(data)
        except OSError as error:
            downloads.fail(error)

    def finish(self) -> None:
        """The file is complete: give it its name."""
        if self._downloads.failure is not None:
            self._close()
            return
        try:
            if self._file is None:
                self._file = self._partial.open("wb")
            self._file.close()
            self._partial.replace(self._target)
        except OSError as error:
            self._downloads.fail(error)
        else:
            self._downloads.completed.append(self._name)

    def abandon(self, reason: str) -> None:
        """The file will not become complete."""
        self._close()
        self._downloads.abandoned.append((self._name, reason))

    def _close(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:  # what was buffered did not fit on the disk
                self._downloads.fail(error)
