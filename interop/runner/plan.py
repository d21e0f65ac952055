"""Which cells a run has: peers, cases and repetitions, in an order that keeps all workers busy."""

import shlex
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interop.registry import Peer, choose_alpn
from interop.results import CellKey
from interop.runner.carrier import Network
from interop.testcases import ALL_CASES, TestCase


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell to run, and how. `seed` is the run's; the cell's own follows from it, case and repetition."""

    server: Peer
    client: Peer
    test: str
    repeat: int
    network: Network
    seed: int
    timeout_scale: float
    log_dir: Path
    keep_all: bool = False
    # See `TestCase.shortened`.
    short: bool = False
    # The options of the run that say what its peers are.
    peer_options: tuple[str, ...] = ()

    @property
    def case(self) -> TestCase:
        """What is to be done. (Cases have functions in them, which don't travel to another process.)"""
        case = ALL_CASES[self.test]
        return case.shortened() if self.short else case

    @property
    def key(self) -> CellKey:
        """As that of its result."""
        return (self.server.name, self.client.name, self.test, self.network.value, self.repeat)

    @property
    def own_seed(self) -> int:
        """The same for all pairs: they meet the same losses, as far as they send the same packets."""
        return zlib.crc32(f"{self.seed + self.repeat - 1} {self.test}".encode())

    @property
    def folder(self) -> Path:
        """Where its logs are, below `log_dir`; no other cell of a run has the same."""
        # As the public runner has it. No name has a plus sign, so there is one underscore, between the two.
        server, client = (peer.name.replace("_", "+") for peer in (self.server, self.client))
        return Path(f"{server}_{client}", self.test, str(self.repeat))

    @property
    def replay(self) -> str:
        """The command that runs just this again, in the same folder."""
        return replay_command(self.key, self.seed, self.peer_options, self.timeout_scale, short=self.short)

    @property
    def alpn(self) -> str:
        """What both can speak in this case; empty if there is nothing."""
        return choose_alpn(self.client, self.server, self.case.client) or ""


def replay_command(
    key: CellKey,
    seed: int,
    peer_options: Sequence[str] = (),
    timeout_scale: float = 1.0,
    *,
    short: bool = False,
) -> str:
    """Runs one repetition of a cell alone; the rest is what the run had that it was in."""
    server, client, test, network, repeat = key
    words = ["interquic", "interop", "run", "--server", server, "--client", client, "--test", test]
    words += ["--network", network, "--seed", str(seed + repeat - 1)]
    if timeout_scale != 1.0:
        words += ["--timeout-scale", str(timeout_scale)]
    return shlex.join([*words, *(["--short"] if short else []), *peer_options])


def in_good_order(cells: Sequence[Cell]) -> list[Cell]:
    """Those that may take longest first, or the last of them would run alone; repetitions in turn."""
    return sorted(cells, key=lambda cell: (cell.repeat, -cell.case.limit, -sum(cell.case.sizes)))


def shard(cells: Sequence[Cell], number: int, count: int) -> list[Cell]:
    """The part of the cells that belongs to shard `number` of `count`, counted from 1."""
    return list(cells[number - 1 :: count])
