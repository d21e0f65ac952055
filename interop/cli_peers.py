"""`interquic interop peers`: what other implementations there are, how to get them, and whether they work."""

import argparse
import tempfile
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from endpoint.cli.errors import CommandError
from endpoint.cli.testcases import Role
from interop.install import in_use, install, is_ready, missing_programs
from interop.loopback import Trial, try_pair
from interop.registry import Peer, choose_alpn, load_peers

_ALL = "all"
# What `check` asks for: the simplest test case that a peer has, and bytes enough for some packets.
_CHECKS = ("handshake", "http3")
_SIZES = (1024, 50_000)
_COUNTERPART = "interquic"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--cache-dir", type=Path, help="where peers are installed (default: the user's cache)"
    )
    common.add_argument(
        "--peers-dir", type=Path, action="append", default=[], metavar="DIR", help="a folder of more peers"
    )
    commands = parser.add_subparsers(dest="peers_command", required=True, metavar="COMMAND")
    listing = commands.add_parser("list", parents=[common], help="what there is, and what is missing")
    listing.set_defaults(peers_run=_list)
    installing = commands.add_parser("install", parents=[common], help="get peers in their pinned versions")
    installing.add_argument("names", nargs="+", metavar="NAME", help=f"a peer, or '{_ALL}'")
    installing.set_defaults(peers_run=_install)
    checking = commands.add_parser("check", parents=[common], help="start each over loopback and get files")
    checking.add_argument("names", nargs="*", metavar="NAME", help="default: all that are installed")
    checking.set_defaults(peers_run=_check)


def run(args: argparse.Namespace) -> int:
    """Do what was asked for; the exit status. Raises CommandError."""
    status: int = args.peers_run(load_peers(args.peers_dir, args.cache_dir), args)
    return status


def _list(peers: dict[str, Peer], _args: argparse.Namespace) -> int:
    table = Table("peer", "version", "language", "client", "server", "protocols", "state", box=None)
    for peer in peers.values():
        cases = [str(len(peer.roles[role].testcases)) if role in peer.roles else "-" for role in Role]
        protocols = sorted({alpn for role in Role for alpn in peer.alpn(role)})
        table.add_row(
            peer.name, peer.version, peer.language, *cases, " ".join(protocols), escape(_state(peer))
        )
    Console().print(table)
    print("client, server: how many of the test cases each has")
    return 0


def _state(peer: Peer) -> str:
    if is_ready(peer):
        return "ready"
    missing = missing_programs(peer)
    if missing:
        return "; ".join(f"no {one.program}: {one.advice}" for one in missing)
    return "not installed"


def _install(peers: dict[str, Peer], args: argparse.Namespace) -> int:
    """All that can be had are, even if one can't: the failures come as lines of their own."""
    console = Console(stderr=True)
    failed = 0
    for peer in _chosen(peers, args.names):
        try:
            with console.status(f"{peer.name} {peer.version}"):
                done = install(peer)
        except CommandError as error:
            console.print(escape(str(error)), style="red", highlight=False, soft_wrap=True)
            failed += 1
            continue
        print(f"{peer.name} {peer.version}: {'installed' if done else 'is there'}", flush=True)
    return 1 if failed else 0


def _check(peers: dict[str, Peer], args: argparse.Namespace) -> int:
    chosen = _chosen(peers, args.names) if args.names else [peer for peer in peers.values() if is_ready(peer)]
    failed = 0
    for peer in chosen:
        # One that has only one role meets ourselves in the other.
        ours = peers[_COUNTERPART]
        client = peer if Role.CLIENT in peer.roles else ours
        server = peer if Role.SERVER in peer.roles else ours
        trial = _try(client, server)
        if trial.problem or not trial.supported:
            failed += 1
        print(f"{peer.name} {peer.version}: {_describe(trial)}", flush=True)
    return 1 if failed else 0


def _try(client: Peer, server: Peer) -> Trial:
    for testcase in _CHECKS:
        has_both = client.supports(Role.CLIENT, testcase) and server.supports(Role.SERVER, testcase)
        if has_both and choose_alpn(client, server, testcase) is not None:
            with in_use([client, server]), tempfile.TemporaryDirectory(prefix="interquic-peer-") as folder:
                return try_pair(client, server, testcase, Path(folder) / "trial", _SIZES)
    return Trial(supported=False, problem="", seconds=0.0)


def _describe(trial: Trial) -> str:
    if not trial.supported:
        return "has nothing to check"
    return trial.problem or f"works, {trial.seconds:.1f} s"


def _chosen(peers: dict[str, Peer], names: list[str]) -> list[Peer]:
    if names == [_ALL]:
        return list(peers.values())
    unknown = [name for name in names if name not in peers]
    if unknown:
        raise CommandError(f"no such peer: {', '.join(unknown)}; there are {', '.join(peers)}")
    return [peers[name] for name in names]
