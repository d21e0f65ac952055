"""The implementations of the interop matrix, as data: `interop/peers/NAME.toml`, and how each is started.

A peer is started as a command with the variables of the interop runner: ROLE, TESTCASE, REQUESTS,
SSLKEYLOGFILE, QLOGDIR, and in place of a container's folders WWW (what a server serves), DOWNLOADS (where a
client puts its files) and CERTS (`ca.pem`, `cert.pem`, `priv.key`). A server listens on the UDP port PORT,
443 if not set, of the address IP, of all addresses if not set. A client speaks the protocol ALPN where the
test case leaves it open. A test case that a peer doesn't have ends it with status UNSUPPORTED.

`interop/peers/README.md` describes the files.
"""

import hashlib
import os
import shlex
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

from endpoint.cli.errors import CommandError
from endpoint.cli.testcases import Role

PEERS_DIR: Final = Path(__file__).parent / "peers"
CACHE_VARIABLE: Final = "INTERQUIC_CACHE"
# What a peer can speak, and all the values of TESTCASE that there are for one role or the other: those of the
# public runner, and ours.
ALPNS: Final = ("h3", "hq-interop")
TESTCASES: Final = (
    "handshake",
    "transfer",
    "chacha20",
    "multiconnect",
    "retry",
    "resumption",
    "zerortt",
    "http3",
    "keyupdate",
    "ecn",
    "v2",
    "connectionmigration",
    "versionnegotiation",
    "keyupdatestorm",
    "optimisticack",
    "restart",
    "zerorttretry",
)

# In `known_with`.
EVERY_TEST: Final = "all"


@dataclass(frozen=True, slots=True)
class Launch:
    """A process to start: its command, its whole environment and the directory it begins in."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleSpec:
    """What a peer does as client, or as server.

    `known` are tests of the matrix (not values of TESTCASE) that this implementation is known to fail
    through no fault of the other side, with the reason. `known_with` has for the names of other peers what it
    fails with these alone, where all others must go on to succeed; the test `all` stands for every one.
    """

    start: tuple[str, ...]
    testcases: tuple[str, ...]
    alpn: tuple[str, ...] = ALPNS
    known: Mapping[str, str] = field(default_factory=dict)
    known_with: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def known_failure(self, test: str, other: str) -> str | None:
        """Why this test is known to fail with that peer on the other side, or None."""
        here = self.known_with.get(other, {})
        return here.get(test) or here.get(EVERY_TEST) or self.known.get(test)


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """How to get a peer.

    `needs` are programs that have to be there, each with what to do if it is not; `steps` are commands, run
    in order. Neither may be there: the peer comes with this package.
    """

    needs: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One implementation. `source` is the folder of its adapter program, which may not exist.

    `home` is where it gets installed: its name changes with everything that the result depends on.
    `environment` are variables that its programs get besides those of the interface.
    """

    name: str
    language: str
    version: str
    url: str
    roles: Mapping[Role, RoleSpec]
    install: Install
    source: Path
    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    # The container image that it is, for `--network docker`, instead of anything to start.
    image: str = ""

    def supports(self, role: Role, testcase: str) -> bool:
        """Whether this value of TESTCASE is one that the peer has in that role."""
        return role in self.roles and testcase in self.roles[role].testcases

    def alpn(self, role: Role) -> tuple[str, ...]:
        """The application protocols it speaks in that role; () if it doesn't have the role."""
        return self.roles[role].alpn if role in self.roles else ()

    def known_failure(self, role: Role, test: str, other: str) -> str | None:
        """Why this test of the matrix is known to fail with the peer in that role, or None."""
        return self.roles[role].known_failure(test, other) if role in self.roles else None

    @property
    def is_installed(self) -> bool:
        """Whether its files are there; programs of the system are not looked for."""
        return not self.install.steps or self.home.is_dir()

    def launch(self, role: Role, environment: Mapping[str, str]) -> Launch:
        """How to start it. `environment` holds the variables of the interface, ROLE apart.

        Raises CommandError if it hasn't the role or isn't installed.
        """
        if role not in self.roles:
            raise CommandError(f"{self.name} has no {role}")
        if not self.is_installed:
            raise CommandError(
                f"{self.name} is not installed; try: interquic interop peers install {self.name}"
            )
        own = dict(zip(self.environment, self.expand(tuple(self.environment.values())), strict=True))
        env = {**os.environ, **own, **environment, "ROLE": role.value}
        return Launch(self.expand(self.roles[role].start), env, Path.cwd())

    def expand(self, command: Sequence[str], **places: Path) -> tuple[str, ...]:
        """The words of a command with its placeholders filled in; `places` add to the usual ones."""
        values = {
            "python": Path(sys.executable),
            "source": self.source,
            "home": self.home,
            "version": self.version,
            **places,
        }
        return tuple(word.format(**values) for word in command)


def is_name(text: str) -> bool:
    """Whether a peer may have this name: folders are called so, and columns of reports."""
    return text.replace("-", "").replace("_", "").isalnum()


def choose_alpn(client: Peer, server: Peer, testcase: str) -> str | None:
    """What these two are to speak: HTTP/0.9 where both can, as the runner has it; None if nothing fits."""
    wanted = ("h3",) if testcase == "http3" else ("hq-interop", "h3")
    both = set(client.alpn(Role.CLIENT)) & set(server.alpn(Role.SERVER))
    return next((alpn for alpn in wanted if alpn in both), None)


def default_cache() -> Path:
    """Where peers are installed: $INTERQUIC_CACHE, else the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "interquic" / "peers"


def load_peers(extra_dirs: Iterable[Path] = (), cache: Path | None = None) -> dict[str, Peer]:
    """Every peer by name, those of `extra_dirs` too; one of these replaces ours of the same name.

    Raises CommandError, which names file and key, for a file that says something it can't.
    """
    cache = default_cache() if cache is None else cache
    peers: dict[str, Peer] = {}
    for folder in (PEERS_DIR, *extra_dirs):
        if not folder.is_dir():
            raise CommandError(f"{folder}: no such folder of peers")
        for path in sorted(folder.glob("*.toml")):
            peers[path.stem] = read_peer(path, cache)
    return peers


def local_peer(name: str, command: str) -> Peer:
    """A peer that is any command of the user's; what it does not support it says by its exit status.

    Raises CommandError for a command that can't be split into words.
    """
    try:
        start = tuple(shlex.split(command))
    except ValueError as error:
        raise CommandError(f"{name}: {error} in {command}") from error
    if not start:
        raise CommandError(f"{name}: an empty command")
    words = tuple(word.replace("{", "{{").replace("}", "}}") for word in start)
    spec = RoleSpec(start=words, testcases=TESTCASES)
    here = Path.cwd()
    return Peer(
        name=name,
        language="?",
        version="local",
        url="",
        roles=dict.fromkeys(Role, spec),
        install=Install(),
        source=here,
        home=here,
    )


def read_peer(path: Path, cache: Path) -> Peer:
    """The peer that a file describes. Raises CommandError."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise CommandError(f"{path}: {error}") from error
    top = _Table(path, "", table)
    source = path.parent / top.text("source", default=path.stem)
    install = _Table(path, "install", top.table("install"))
    peer = Peer(
        name=path.stem,
        language=top.text("language"),
        version=top.text("version", default=version("interquic")),
        url=top.text("url", default=""),
        roles={
            role: _read_role(_Table(path, role.value, top.table(role.value)))
            for role in Role
            if role.value in table
        },
        install=Install(
            needs=install.texts_by_name("needs"),
            steps=install.commands("steps"),
        ),
        source=source,
        home=cache / path.stem,
        environment=top.texts_by_name("environment"),
    )
    digest = _digest(peer, install.texts("uses"))
    peer = replace(peer, home=cache / f"{path.stem}-{digest}")
    install.no_other_keys()
    top.no_other_keys()
    if not peer.roles:
        raise CommandError(f"{path}: neither [client] nor [server]")
    _check_placeholders(peer, path)
    return peer


def _read_role(table: "_Table") -> RoleSpec:
    spec = RoleSpec(
        start=table.texts("start", required=True),
        testcases=table.texts("testcases", required=True, allowed=TESTCASES),
        alpn=table.texts("alpn", allowed=ALPNS) or ALPNS,
        known=table.texts_by_name("known"),
        known_with=table.texts_by_two_names("known_with"),
    )
    table.no_other_keys()
    return spec


def _digest(peer: Peer, uses: Sequence[str]) -> str:
    """Changes with the version, the steps and every file of the adapter, or those that are used.

    What else a description says of the peer, it says of what is installed, too.
    """
    state = hashlib.sha256(repr((peer.version, peer.install.steps)).encode())
    source = peer.source
    for path in sorted(source.rglob("*")) if source.is_dir() else ():
        name = path.relative_to(source)
        if path.is_file() and "__pycache__" not in name.parts and (not uses or name.parts[0] in uses):
            state.update(f"\0{name}\0".encode() + path.read_bytes())
    return state.hexdigest()[:12]


def _check_placeholders(peer: Peer, path: Path) -> None:
    starts = [spec.start for spec in peer.roles.values()]
    for command in (*starts, *peer.install.steps, tuple(peer.environment.values())):
        try:
            peer.expand(command, build=peer.home)
        except (KeyError, IndexError, ValueError) as error:
            raise CommandError(f"{path}: {shlex.join(command)}: unknown placeholder {error}") from error


class _Table:
    """A table of a file; what is not as it should be becomes a CommandError that says where."""

    def __init__(self, path: Path, name: str, table: Mapping[str, object]) -> None:
        self._path = path
        self._name = name
        self._table = table
        self._seen: set[str] = set()

    def _get(self, key: str) -> object:
        self._seen.add(key)
        return self._table.get(key)

    def _wrong(self, key: str, what: str) -> CommandError:
        return CommandError(f"{self._path}: {self._name + '.' if self._name else ''}{key}: {what}")

    def text(self, key: str, *, default: str | None = None) -> str:
        value = self._get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or not value:
            raise self._wrong(key, "a text is needed")
        return value

    def table(self, key: str) -> dict[str, object]:
        value = self._get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong(key, "a table is needed")
        return value

    def texts(self, key: str, *, required: bool = False, allowed: Sequence[str] = ()) -> tuple[str, ...]:
        value = self._get(key)
        if value is None and not required:
            return ()
        if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
            raise self._wrong(key, "a list of texts is needed")
        unknown = [text for text in value if allowed and text not in allowed]
        if unknown:
            raise self._wrong(key, f"unknown: {', '.join(unknown)}; there are {', '.join(allowed)}")
        return tuple(value)

    def texts_by_name(self, key: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, value in self.table(key).items():
            if not isinstance(value, str):
                raise self._wrong(f"{key}.{name}", "a text is needed")
            found[name] = value
        return found

    def texts_by_two_names(self, key: str) -> dict[str, dict[str, str]]:
        table = self.table(key)
        inner = _Table(self._path, f"{self._name}.{key}", table)
        return {name: inner.texts_by_name(name) for name in table}

    def commands(self, key: str) -> tuple[tuple[str, ...], ...]:
        value = self._get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(
            isinstance(command, list) and command and all(isinstance(word, str) for word in command)
            for command in value
        ):
            raise self._wrong(key, "a list of commands is needed, each a list of words")
        return tuple(tuple(command) for command in value)

    def no_other_keys(self) -> None:
        """Raise for the first key that nobody asked for."""
        for key in self._table:
            if key not in self._seen:
                raise self._wrong(key, "there is no such key")
