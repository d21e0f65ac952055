"""Two hosts as the interop runner lays them out: a network namespace each, with a TUN device as its `eth0`.

What a host sends is read from the device's descriptor, and what is written there the host receives, so a
program of ours is all the network there is. Needs Linux, the `ip` command and root, if only that of a user
namespace (`rootless_command`). A process may have many pairs of hosts, which don't see each other. Nothing
remains: a device goes with its descriptor, a namespace and the processes in it at the end of the context
manager, and those of a run that was killed at the beginning of the next.
"""

import errno
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

CLIENT_IPV4: Final = "193.167.0.100"
CLIENT_IPV6: Final = "fd00:cafe:cafe::100"
SERVER_IPV4: Final = "193.167.100.100"
SERVER_IPV6: Final = "fd00:cafe:cafe:100::100"
# The simulator's side of the server's network; here a mere source of the probe that a server is up.
GATEWAY_IPV4: Final = "193.167.100.2"

_NETWORKS: Final = ("193.167.0.0/16", "fd00:cafe:cafe::/48")
_MTU: Final = 1500
PREFIX: Final = "interquic-"
_NAMESPACES: Final = Path("/run/netns")
_HOSTS_FILES: Final = Path("/run/interquic")
_numbers = count()
_HOSTS: Final = f"""\
127.0.0.1 localhost
::1 localhost
{SERVER_IPV4} server4 server46
{SERVER_IPV6} server6 server46
"""

# <linux/if_tun.h>
_TUN: Final = "/dev/net/tun"
_TUNSETIFF: Final = 0x400454CA
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000
_IFREQ: Final = "16sH22x"


@dataclass(frozen=True, slots=True)
class Host:
    """One end of the network. `device` is a non-blocking descriptor of raw IP packets."""

    namespace: str
    device: int

    @property
    def command(self) -> tuple[str, ...]:
        """What to put before a command that is to run on this host."""
        # `ip` makes a mount namespace for the command, so nobody else sees this /etc/hosts.
        mount = 'mount --bind "$0" /etc/hosts && exec "$@"'
        hosts_file = str(_HOSTS_FILES / self.namespace)
        return ("ip", "netns", "exec", self.namespace, "sh", "-c", mount, hosts_file)


def missing() -> str:
    """Why hosts can't be made here; empty if they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "there is no ip command (package iproute2)"
    try:
        os.close(os.open(_TUN, os.O_RDWR))
    except OSError as error:
        return f"{_TUN} can't be used ({os.strerror(error.errno or errno.EIO)})"
    return ""


def rootless_command(command: Sequence[str]) -> list[str]:
    """The command in a user namespace whose root it is, where hosts can be made; its files remain the user's.

    /run belongs to the real root; inside, an empty one stands for it.
    """
    script = 'mount -t tmpfs none /run && exec "$@"'
    return ["unshare", "--user", "--map-root-user", "--mount", "--net", "sh", "-c", script, "sh", *command]


def can_be_rootless() -> bool:
    """Whether this system lets an ordinary user have namespaces and the devices in them."""
    if shutil.which("unshare") is None:
        return False
    probe = "from interop.simnet import netns; raise SystemExit(netns.missing() or 0)"
    command = rootless_command([sys.executable, "-P", "-c", probe])
    return subprocess.run(command, check=False, capture_output=True).returncode == 0  # noqa: S603 - no shell


@contextmanager
def hosts() -> Iterator[tuple[Host, Host]]:
    """A client's and a server's host. Raises OSError where `missing` has a reason."""
    _remove_orphans()
    with ExitStack() as stack:
        number = next(_numbers)
        client = stack.enter_context(_host(f"{number}-client", (CLIENT_IPV4, CLIENT_IPV6)))
        server = stack.enter_context(_host(f"{number}-server", (SERVER_IPV4, SERVER_IPV6)))
        yield client, server


@contextmanager
def _host(name: str, addresses: tuple[str, str]) -> Iterator[Host]:
    namespace = f"{PREFIX}{os.getpid()}-{name}"
    device = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK)
    try:
        request = struct.pack(_IFREQ, b"interquic%d", _IFF_TUN | _IFF_NO_PI)
        interface = struct.unpack(_IFREQ, fcntl.ioctl(device, _TUNSETIFF, request))[0].rstrip(b"\0").decode()
        _ip("netns", "add", namespace)
        _ip("link", "set", "dev", interface, "netns", namespace, "name", "eth0")
        _ip("-n", namespace, "link", "set", "lo", "up")
        _ip("-n", namespace, "link", "set", "eth0", "up", "mtu", str(_MTU))
        for address, network in zip(addresses, _NETWORKS, strict=True):
            # An address that waits for duplicate detection can't be bound to.
            detection = ["nodad"] if ":" in address else []
            _ip("-n", namespace, "addr", "add", address, "dev", "eth0", *detection)
            _ip("-n", namespace, "route", "add", network, "dev", "eth0")
        _HOSTS_FILES.mkdir(exist_ok=True)
        (_HOSTS_FILES / namespace).write_text(_HOSTS)
        yield Host(namespace, device)
    finally:
        os.close(device)
        _remove(namespace)


def _ip(*arguments: str) -> str:
    command = ["ip", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - no shell
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def _namespaces() -> list[str]:
    """By the files that `ip` keeps; it itself stumbles over those that others are making or removing."""
    return [path.name for path in _NAMESPACES.iterdir()] if _NAMESPACES.exists() else []


def _remove(namespace: str) -> None:
    (_HOSTS_FILES / namespace).unlink(missing_ok=True)
    if namespace not in _namespaces():
        return
    # Of a run that was killed a server may be left, which would keep the namespace alive without a name.
    try:
        for pid in _ip("netns", "pids", namespace).split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        _ip("netns", "del", namespace)
    except OSError:
        # Workers that start at once find the same orphans; somebody else was faster.
        if namespace in _namespaces():
            raise


def _remove_orphans() -> None:
    """Remove what belongs to processes that are gone."""
    names = {name for name in _namespaces() if name.startswith(PREFIX)}
    if _HOSTS_FILES.exists():
        names.update(path.name for path in _HOSTS_FILES.glob(f"{PREFIX}*"))
    for name in names:
        if not Path("/proc", name.removeprefix(PREFIX).partition("-")[0]).exists():
            _remove(name)
