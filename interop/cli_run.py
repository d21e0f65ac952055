"""`interquic interop run`: which cells to run, on what network, and what remains of it."""

import argparse
import os
import random
import shlex
import signal
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from types import FrameType
from typing import Final

from rich.console import Console

from endpoint.cli.errors import CommandError, explain_file
from endpoint.cli.testcases import Role
from interop.images import image_peer, load_images
from interop.install import is_ready
from interop.progress import Progress
from interop.registry import Peer, is_name, load_peers, local_peer
from interop.report import files, table
from interop.runner import docker
from interop.runner.carrier import Network
from interop.runner.matrix import Matrix, resume
from interop.runner.plan import Cell, in_good_order, shard
from interop.simnet import netns
from interop.testcases import Group, select

OURSELVES: Final = "interquic"
_USUAL_PEERS: Final = ("aioquic", "qh3")
_USUAL_TESTS: Final = (Group.STANDARD, Group.UNLISTED, Group.MEASUREMENT)
_INTERRUPTED: Final = 130
_IMAGE: Final = "docker:"
# A cell waits for its network most of the time; more than these make each other late.
_JOBS_PER_CPU: Final = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    names = "names, separated by commas; all: every one that is installed"
    parser.add_argument("--server", type=_words, metavar="LIST", help=names)
    parser.add_argument("--client", type=_words, metavar="LIST", help=names)
    parser.add_argument(
        "--with",
        dest="others",
        type=_words,
        metavar="LIST",
        help="instead of both: ourselves with each of these, either way round, and with ourselves"
        f" ({','.join(_USUAL_PEERS)})",
    )
    parser.add_argument(
        "--test",
        type=_words,
        default=list(_USUAL_TESTS),
        metavar="LIST",
        help="names, abbreviations or groups: standard, unlisted, measurements, extra, all; not extra",
    )
    parser.add_argument(
        "--network",
        choices=["auto", *Network],
        default="auto",
        help="netns: network namespaces; proxy: a relay on loopback (the first of these that can be had);"
        " docker: the public runner's containers",
    )
    parser.add_argument("--repeat", type=positive, default=1, metavar="N", help="run each cell N times (1)")
    parser.add_argument("--seed", type=int, metavar="S", help="repeat a run's files and losses (a new one)")
    parser.add_argument("--jobs", type=positive, metavar="N", help="cells at once (three per processor)")
    parser.add_argument("--log-dir", type=Path, metavar="D", help="what the cells leave (interop-logs/TIME)")
    parser.add_argument("--short", action="store_true", help="ten connections in cases that make fifty")
    parser.add_argument("--keep-all", action="store_true", help="keep captures and traces of successes, too")
    parser.add_argument("--resume", action="store_true", help="go on with the run that --log-dir has")
    parser.add_argument("--shard", type=_shard, metavar="K/N", help="only the K-th of N parts of the cells")
    add_peer_arguments(parser)
    parser.add_argument(
        "--timeout-scale", type=_scale, default=1.0, metavar="F", help="multiply all limits of time (1.0)"
    )
    files.add_arguments(parser)


def add_peer_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say what peers there are besides ours."""
    parser.add_argument(
        "--peer",
        type=named_command,
        action="append",
        default=[],
        metavar="NAME=CMD",
        help="one more, to start so; NAME=docker:IMAGE for --network docker",
    )
    parser.add_argument(
        "--images", type=Path, metavar="F", help="the public runner's implementations_quic.json, for docker"
    )
    parser.add_argument(
        "--peers-dir",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="more descriptions",
    )


def run(args: argparse.Namespace) -> int:
    """Run the matrix and print it.

    0: nothing failed that was expected to pass; 1: something did; 130: interrupted. Raises CommandError.
    """
    network = choose_network(args.network)
    seed = random.SystemRandom().randrange(2**31) if args.seed is None else args.seed
    if args.resume and args.log_dir is None:
        raise CommandError("--resume needs --log-dir: which run?")
    if args.resume and args.seed is None:
        raise CommandError("--resume needs the --seed of that run; its results.json has it")
    log_dir = args.log_dir or Path("interop-logs", time.strftime("%Y%m%d-%H%M%S"))
    cells = planned_cells(args, network, seed, log_dir.absolute())
    options = {
        "seed": str(seed),
        "network": network.value,
        "repeat": str(args.repeat),
        "timeout scale": str(args.timeout_scale),
        "short": str(args.short),
        "peers": shlex.join(peer_options(args)),
    }
    try:
        log_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain_file("log folder", str(log_dir), error) from error
    done, started = resume(log_dir, options, cells) if args.resume else ({}, time.time())
    jobs = jobs_at_once(args.jobs, network)
    matrix = Matrix(
        cells=cells, log_dir=log_dir, options=options, jobs=jobs, seed=seed, done=done, started=started
    )
    console = Console()
    _say(console, f"{len(cells)} cells on {network}, {jobs} at once, seed {seed}, logs in {log_dir}")
    with terminations(), Progress(console, len(cells), len(done)) as progress:
        result = matrix.run(progress)
    urls = {peer.name: peer.url for cell in cells for peer in (cell.server, cell.client)}
    files.write_all(result, log_dir, urls)
    files.write_chosen(result, args, urls, log_dir)
    console.print(table.matrix(result))
    _say(console, f"{log_dir / 'index.html'}")
    if matrix.interrupted:
        again = shlex.join(["--resume", "--log-dir", str(log_dir), "--seed", str(seed)])
        _say(console, f"interrupted; go on with the same command and {again}")
        return _INTERRUPTED
    return int(any(cell.unexpected for cell in result.cells))


def _say(console: Console, text: str) -> None:
    """A line as it is: a path may have brackets, and is to be copied from one line."""
    console.print(text, markup=False, soft_wrap=True)


def jobs_at_once(wanted: int | None, network: Network) -> int:
    """How many cells, also where nobody says how many."""
    # Addresses of containers are those of the contract, so there is one cell's network at a time.
    return 1 if network is Network.DOCKER else wanted or _JOBS_PER_CPU * (os.cpu_count() or 1)


def choose_network(wanted: str) -> Network:
    """What to use; may start this program anew where that gives it the rights it needs."""
    if wanted == Network.PROXY:
        return Network.PROXY
    if wanted == Network.DOCKER:
        reason = docker.missing()
        if reason:
            raise CommandError(f"--network docker: {reason}")
        return Network.DOCKER
    reason = netns.missing()
    if not reason:
        return Network.NETNS
    if os.name == "posix" and netns.can_be_rootless():
        # Without buffers of this program left unwritten: exec forgets them.
        sys.stdout.flush()
        command = netns.rootless_command([sys.executable, "-P", "-m", "endpoint.cli.main", *sys.argv[1:]])
        os.execvp(command[0], command)  # noqa: S606 - ourselves, in namespaces of our own
    if wanted == Network.NETNS:
        raise CommandError(f"--network netns: {reason}, and this system has no user namespaces for us")
    return Network.PROXY


def planned_cells(args: argparse.Namespace, network: Network, seed: int, log_dir: Path) -> list[Cell]:
    """In the order they are to run in. Raises CommandError."""
    peers = peers_by_name(args, network)
    try:
        cases = select(args.test)
    except ValueError as error:
        raise CommandError(str(error)) from error
    pairs = _pairs(args, peers, [name for name, _ in args.peer])
    cells = [
        Cell(
            server=server,
            client=client,
            test=case.name,
            repeat=repeat,
            network=network,
            seed=seed,
            timeout_scale=args.timeout_scale,
            log_dir=log_dir,
            keep_all=args.keep_all,
            short=args.short,
            peer_options=tuple(peer_options(args, {server.name, client.name})),
        )
        for server, client in pairs
        for case in cases
        for repeat in range(1, args.repeat + 1)
    ]
    if not cells:
        raise CommandError("no cells: --server, --client and --test leave nobody to run, or nothing")
    ordered = in_good_order(cells)
    return ordered if args.shard is None else shard(ordered, *args.shard)


def peers_by_name(args: argparse.Namespace, network: Network) -> dict[str, Peer]:
    """All that there are on this network. Raises CommandError."""
    local = [_local(name, command, network) for name, command in args.peer]
    if network is Network.DOCKER:
        known = {peer.name: peer for peer in load_images(args.images)} if args.images else {}
    else:
        known = load_peers(args.peers_dir)
    peers = {**known, **{peer.name: peer for peer in local}}
    if not peers:
        raise CommandError("--network docker needs --images FILE or --peer NAME=docker:IMAGE")
    return peers


def peer_options(args: argparse.Namespace, names: Collection[str] | None = None) -> list[str]:
    """The options of `add_peer_arguments` again, of the peers of the user's own only those of these names."""
    words = [
        word
        for name, command in args.peer
        if names is None or name in names
        for word in ("--peer", f"{name}={command}")
    ]
    words += [word for folder in args.peers_dir for word in ("--peers-dir", str(folder))]
    return words + (["--images", str(args.images)] if args.images else [])


def _local(name: str, command: str, network: Network) -> Peer:
    """A peer of `--peer`. Raises CommandError."""
    image = command.removeprefix(_IMAGE)
    if (image != command) != (network is Network.DOCKER):
        raise CommandError(f"--peer {name}: {_IMAGE}IMAGE and --network docker need each other")
    return image_peer(name, image) if network is Network.DOCKER else local_peer(name, command)


def _pairs(args: argparse.Namespace, peers: dict[str, Peer], local: list[str]) -> list[tuple[Peer, Peer]]:
    """All servers with all clients; with neither chosen, ourselves and the user's own with the others."""
    if args.others is not None and (args.server or args.client):
        raise CommandError("--with is instead of --server and --client")
    if args.others is not None:
        unknown = [name for name in args.others if name not in peers]
        if unknown:
            raise CommandError(f"no peer {unknown[0]}; there are {', '.join(peers)}")
    usual = [OURSELVES, *(_USUAL_PEERS if args.others is None else args.others), *local]
    servers = _chosen(args.server, usual, peers, Role.SERVER)
    clients = _chosen(args.client, usual, peers, Role.CLIENT)
    pairs = list(product(servers, clients))
    if args.server is not None or args.client is not None:
        return pairs
    ours = {OURSELVES, *local}
    return [pair for pair in pairs if ours & {pair[0].name, pair[1].name}]


def _chosen(
    names: Sequence[str] | None, usual: Sequence[str], peers: dict[str, Peer], role: Role
) -> list[Peer]:
    if names is None:
        names_here = [name for name in dict.fromkeys(usual) if name in peers]
        return [peers[name] for name in names_here if role in peers[name].roles and _is_ready(peers[name])]
    if "all" in names:
        return [peer for peer in peers.values() if role in peer.roles and is_ready(peer)]
    chosen = []
    for name in dict.fromkeys(names):
        if name not in peers:
            raise CommandError(f"no peer {name}; there are {', '.join(peers)}")
        if role not in peers[name].roles:
            raise CommandError(f"{name} has no {role}")
        if not is_ready(peers[name]):
            raise CommandError(f"{name} is not installed; try: interquic interop peers install {name}")
        chosen.append(peers[name])
    return chosen


def _is_ready(peer: Peer) -> bool:
    """As `is_ready`, and says so if not: a smaller matrix must not look like the whole one."""
    ready = is_ready(peer)
    if not ready:
        hint = f"interquic interop peers install {peer.name}"
        print(f"interquic: {peer.name} is not installed and left out; try: {hint}", file=sys.stderr)
    return ready


@contextmanager
def terminations() -> Iterator[None]:
    """SIGTERM is heard as ^C is: what is done is kept."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def positive(text: str) -> int:
    """A number of an option, at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return int(text)


def _scale(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number < 1000.0:
        raise argparse.ArgumentTypeError(f"{text} is not a factor for limits of time")
    return number


def _shard(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text} is not K/N with K from 1 to N")
    return int(number), int(count)


def named_command(text: str) -> tuple[str, str]:
    """The two parts of NAME=COMMAND."""
    name, separator, command = text.partition("=")
    if not separator or not is_name(name):
        raise argparse.ArgumentTypeError(f"{text} is not NAME=COMMAND")
    return name, command
