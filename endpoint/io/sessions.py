"""Where a client keeps sessions and address tokens for its next visit (RFC 9001 §4.5, RFC 9000 §8.1.3)."""

import base64
import binascii
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from endpoint.errors import InterquicError
from endpoint.tls.session import MAX_TICKET_LIFETIME, Session

_FORMAT = "interquic sessions 1"
# Kept of each kind for one server: the newest. Parallel connections take one each.
MAX_PER_ORIGIN = 8
# Kept in all: some 300 KB of file.
MAX_ENTRIES = 512

_Kind: TypeAlias = Literal["session", "token", "settings"]


class SessionStoreError(InterquicError):
    """The file can't be read or written, or is none of ours; the message has its name."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A server as the application names it."""

    host: str
    port: int
    server_name: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """One session, token, or what the server's application said about itself.

    `received` is wall clock time, in seconds; `address` is where it came from.
    """

    kind: _Kind
    origin: Origin
    alpn: str
    version: int
    received: float
    address: str
    data: bytes = field(repr=False)


class SessionStore:
    """Sessions and tokens in a file, or in memory only. Each is given out once.

    The file is read for each call and replaced as a whole, so programs can share it; of two that write at
    the same moment one may undo what the other did. It holds secrets, and only its owner can read it.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None, *, wall_time: Callable[[], float] = time.time
    ) -> None:
        """`path` need not exist yet; None keeps everything in memory."""
        self._path = None if path is None else Path(path)
        self._wall_time = wall_time
        self._memory: list[_Entry] = []

    def check(self) -> None:
        """Raise SessionStoreError now if the file can't be used, rather than later."""
        self._save(self._load())

    def last_address(self, origin: Origin) -> str:
        """The numeric address that the newest session or token came from, "" without any.

        Raises SessionStoreError.
        """
        found = (
            entry.address
            for entry in reversed(self._load())
            if entry.origin == origin and entry.kind != "settings"
        )
        return next(found, "")

    def add_session(self, origin: Origin, version: int, session: bytes, *, address: str = "") -> None:
        """Keep a session, as SessionReceived gives it, of a connection in that QUIC version.

        `address` is the numeric one of the server, if it is to be known.
        Raises ValueError for what is no session, SessionStoreError.
        """
        alpn = Session.from_bytes(session).alpn
        self._add(_Entry("session", origin, alpn, version, self._wall_time(), address, session))

    def add_token(self, origin: Origin, alpn: str, version: int, token: bytes, *, address: str = "") -> None:
        """Keep an address token of a connection in that QUIC version; as `add_session`."""
        self._add(_Entry("token", origin, alpn, version, self._wall_time(), address, token))

    def take_session(self, origin: Origin, alpn: Sequence[str], version: int) -> Session | None:
        """The newest session for one of these protocols that is still fresh, and gone from here by this.

        RFC 9369 §5: it is one of a connection in the same QUIC version. Raises SessionStoreError.
        """
        data = self._take("session", origin, alpn, version)
        return None if data is None else Session.from_bytes(data)

    def take_token(self, origin: Origin, alpn: Sequence[str], version: int) -> bytes:
        """The newest token, gone from here by this; b"" if there is none. As `take_session`."""
        return self._take("token", origin, alpn, version) or b""

    def session_alpn(self, origin: Origin, alpn: Sequence[str], version: int) -> str | None:
        """The protocol of the session that `take_session` would give; None without one.

        Raises SessionStoreError.
        """
        return next(
            (
                entry.alpn
                for entry in reversed(self._load())
                if (entry.kind, entry.origin, entry.version) == ("session", origin, version)
                and entry.alpn in alpn
                and self._is_fresh(entry)
            ),
            None,
        )

    def keep_settings(self, origin: Origin, alpn: str, settings: bytes, *, since: float) -> None:
        """Keep what the server's application says about itself, for 0-RTT (RFC 9114 §7.2.4.2).

        `since`: the wall clock time when this connection began. Sessions from before, when the settings
        were others, go: what is kept would not be true of them. Raises SessionStoreError.
        """
        entries = self._load()
        before = [entry for entry in entries if _is_settings(entry, origin, alpn)]
        entries = [entry for entry in entries if entry not in before]
        if not before or before[-1].data != settings:
            entries = [
                entry
                for entry in entries
                if (entry.kind, entry.origin, entry.alpn) != ("session", origin, alpn)
                or entry.received >= since
            ]
        self._save([*entries, _Entry("settings", origin, alpn, 0, self._wall_time(), "", settings)])

    def settings(self, origin: Origin, alpn: str) -> bytes | None:
        """What `keep_settings` kept last; None without. Raises SessionStoreError."""
        found = (entry.data for entry in self._load() if _is_settings(entry, origin, alpn))
        return next(found, None)

    def _add(self, entry: _Entry) -> None:
        entries = [*self._load(), entry]
        same = [
            other
            for other in entries
            if (other.kind, other.origin, other.alpn, other.version)
            == (entry.kind, entry.origin, entry.alpn, entry.version)
        ]
        dropped = same[:-MAX_PER_ORIGIN]
        self._save([other for other in entries if other not in dropped])

    def _take(self, kind: _Kind, origin: Origin, alpn: Sequence[str], version: int) -> bytes | None:
        entries = self._load()
        for entry in reversed(entries):
            if (
                entry.kind == kind
                and (entry.origin, entry.version) == (origin, version)
                and entry.alpn in alpn
                and self._is_fresh(entry)
            ):
                # Before it is used: better to lose one than to use it twice.
                self._save([other for other in entries if other is not entry])
                return entry.data
        return None

    def _is_fresh(self, entry: _Entry) -> bool:
        now = self._wall_time()
        if entry.kind == "session":
            return Session.from_bytes(entry.data).is_fresh(now)
        # How long a token is good only the server knows. It costs nothing to try an old one.
        return 0 <= now - entry.received <= MAX_TICKET_LIFETIME

    def _load(self) -> list[_Entry]:
        if self._path is None:
            return self._memory
        try:
            return _decode(self._path.read_bytes())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise SessionStoreError(f"session file {self._path}: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise SessionStoreError(f"session file {self._path}: not a session file, or damaged") from error

    def _save(self, entries: Iterable[_Entry]) -> None:
        kept = [entry for entry in entries if self._is_fresh(entry)][-MAX_ENTRIES:]
        if self._path is None:
            self._memory = kept
            return
        try:
            _replace(self._path, _encode(kept))
        except OSError as error:
            raise SessionStoreError(f"session file {self._path}: {error.strerror or error}") from error


def _is_settings(entry: _Entry, origin: Origin, alpn: str) -> bool:
    return (entry.kind, entry.origin, entry.alpn) == ("settings", origin, alpn)


def _replace(path: Path, content: bytes) -> None:
    """Write a file that is complete at any moment; mkstemp lets only the owner read it."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except OSError:
        os.unlink(name)
        raise


def _encode(entries: Iterable[_Entry]) -> bytes:
    records = [
        {
            "kind": entry.kind,
            "host": entry.origin.host,
            "port": entry.origin.port,
            "server_name": entry.origin.server_name,
            "alpn": entry.alpn,
            "version": f"0x{entry.version:08x}",
            "received": entry.received,
            "address": entry.address,
            "data": base64.b64encode(entry.data).decode("ascii"),
        }
        for entry in entries
    ]
    return json.dumps({"format": _FORMAT, "entries": records}, indent=1).encode()


def _decode(content: bytes) -> list[_Entry]:
    """Raises ValueError, KeyError or TypeError for anything that `_encode` does not give."""
    document = json.loads(content)
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise ValueError("not a session file")
    return [_decode_entry(record) for record in document["entries"]]


def _decode_entry(record: dict[str, Any]) -> _Entry:
    try:
        data = base64.b64decode(record["data"], validate=True)
    except binascii.Error as error:
        raise ValueError("data is not base64") from error
    origin = Origin(str(record["host"]), int(record["port"]), str(record["server_name"]))
    kind = record["kind"]
    if kind not in ("session", "token", "settings"):
        raise ValueError(f"unknown kind {kind}")
    if kind == "session":
        Session.from_bytes(data)
    version, received = int(record["version"], 16), float(record["received"])
    return _Entry(kind, origin, str(record["alpn"]), version, received, str(record["address"]), data)
