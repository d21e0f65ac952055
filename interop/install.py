"""Install peers of the matrix into the cache folder: all of one, or nothing of it.

The steps run in a scratch folder; what they leave in theirs is renamed into place at the end. An interrupted
or failed installation leaves the log, which its error names, and nothing else. A new version takes the place
of an older one as soon as nobody uses that any more: whoever does holds a lock on its folder.
"""

import fcntl
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from endpoint.cli.errors import CommandError
from interop.registry import Peer

# Compilers are to leave room for whoever else works on this machine.
_NICENESS: Final = 10
# Where a distribution puts a server's program is not always on a user's PATH.
_SEARCH: Final = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
_SOURCE: Final = "source"
_BUILD: Final = "build"
_HOME: Final = "home"
# Lines of a failed step's output in the error.
_TAIL: Final = 15


@dataclass(frozen=True, slots=True)
class Missing:
    """A program that a peer needs and that is not here, and how to get it."""

    program: str
    advice: str


def missing_programs(peer: Peer) -> tuple[Missing, ...]:
    """The programs that the peer needs and that the PATH doesn't have."""
    return tuple(
        Missing(program, advice)
        for program, advice in peer.install.needs.items()
        if shutil.which(program, path=_SEARCH) is None
    )


def is_ready(peer: Peer) -> bool:
    """Whether it can be started: its files are there. Compilers are needed no longer then."""
    return peer.is_installed if peer.install.steps else not missing_programs(peer)


def install(peer: Peer) -> bool:
    """Get the peer; False if it was there. Raises CommandError that says what is missing or what failed."""
    if is_ready(peer):
        _remove_older(peer)
        return False
    missing = missing_programs(peer)
    if missing:
        wants = "; ".join(f"no {one.program}: {one.advice}" for one in missing)
        raise CommandError(f"{peer.name} can't be installed: {wants}")
    cache = peer.home.parent
    try:
        cache.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{peer.name}-", dir=cache))
    except OSError as error:
        raise CommandError(f"{cache}: {error.strerror or error}") from error
    try:
        _run_steps(peer, scratch)
        _put_in_place(scratch / _HOME, peer.home)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    _remove_older(peer)
    return True


def _run_steps(peer: Peer, scratch: Path) -> None:
    source, home = scratch / _SOURCE, scratch / _HOME
    if peer.source.is_dir():
        shutil.copytree(peer.source, source, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        source.mkdir()
    home.mkdir()
    (scratch / _BUILD).mkdir()
    log = peer.home.parent / f"{peer.name}.log"
    with log.open("wb") as output:
        for step in peer.install.steps:
            command = peer.expand(step, source=source, home=home, build=scratch / _BUILD)
            output.write(f"$ {shlex.join(command)}\n".encode())
            output.flush()
            status = subprocess.run(  # noqa: S603 - the commands are those of the peer's file
                command,
                cwd=source,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=_be_nice,
                check=False,
            ).returncode
            if status:
                tail = log.read_text(errors="replace").splitlines()[-_TAIL:]
                raise CommandError(
                    f"{peer.name}: {shlex.join(step)} ended with {status}; all of its output is in {log}\n"
                    + "\n".join(tail)
                )


def _be_nice() -> None:
    os.nice(_NICENESS)


def _put_in_place(made: Path, home: Path) -> None:
    try:
        made.rename(home)
    except OSError:
        # Somebody else was faster with the same; theirs is as good.
        if not home.is_dir():
            raise


@contextmanager
def in_use(peers: Iterable[Peer]) -> Iterator[None]:
    """What these have installed stays meanwhile, whichever versions others install."""
    with ExitStack() as held:
        for home in {peer.home for peer in peers if peer.install.steps and peer.home.is_dir()}:
            # One that goes this very moment is missed by whoever starts it.
            with suppress(FileNotFoundError):
                held.enter_context(_locked(home, fcntl.LOCK_SH))
        yield


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    """The system takes the lock back when this process ends, however it does. Raises OSError."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, how)
        yield
    finally:
        os.close(opened)


def _remove_older(peer: Peer) -> None:
    """What other versions of this peer's file had left. What can't be locked stays for now."""
    for path in peer.home.parent.glob(f"{peer.name}-{'[0-9a-f]' * 12}"):
        if path == peer.home:
            continue
        with suppress(OSError), _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(path, ignore_errors=True)
