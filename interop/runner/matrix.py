"""A run of many cells: results are on disk after each of them, and what is there need not run again."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from endpoint.cli.errors import CommandError
from endpoint.cli.testcases import Role
from interop import results
from interop.install import in_use
from interop.registry import Peer
from interop.results import RESULTS, CellKey, CellResult, MatrixResult, Owner, Status
from interop.runner import blame, compliance
from interop.runner.cell import refuse_cell
from interop.runner.plan import Cell
from interop.runner.pool import Pool

_TICK: Final = 0.25
# Options that change what a cell means: a run goes on with the same ones only.
_BINDING: Final = ("seed", "timeout scale", "short")

# Told what has come, and the pool; None: time has passed.
Progress = Callable[[CellResult | None, Pool], None]


@dataclass(slots=True)
class Matrix:
    """Everything about a run but how it is shown. `done` are the cells of an earlier one to go on with."""

    cells: Sequence[Cell]
    log_dir: Path
    options: dict[str, str]
    jobs: int
    seed: int
    done: dict[CellKey, CellResult]
    started: float
    interrupted: bool = False

    @property
    def result(self) -> MatrixResult:
        """What there is so far."""
        peers = {peer.name: peer.version for peer in _peers(self.cells)}
        return MatrixResult(
            started=self.started,
            ended=time.time(),
            interquic=version("interquic"),
            peers=peers,
            cells=tuple(self.done[cell.key] for cell in self.cells if cell.key in self.done),
            options=self.options,
        )

    def run(self, progress: Progress) -> MatrixResult:
        """Run what is missing; with `interrupted` set if ^C or SIGTERM ended it."""
        missing = [cell for cell in self.cells if cell.key not in self.done]
        sides = [(cell.server, Role.SERVER) for cell in missing] + [
            (cell.client, Role.CLIENT) for cell in missing
        ]
        file = self.log_dir / RESULTS
        with (
            in_use(_peers(self.cells)),
            results.Journal(file, self.result) as journal,
            Pool(self.jobs) as pool,
        ):
            try:
                problems = compliance.check_all(sides, seed=self.seed)
                waiting = []
                for cell in missing:
                    refused = _refuse(cell, problems)
                    if refused is None:
                        waiting.append(cell)
                    else:
                        self._keep(refused, journal)
                for result in pool.run(waiting, _TICK):
                    if result is not None:
                        self._keep(result, journal)
                    progress(result, pool)
            except KeyboardInterrupt:
                self.interrupted = True
        final = blame.attribute(self.result)
        results.write(final, file)
        return final

    def _keep(self, result: CellResult, journal: results.Journal) -> None:
        self.done[result.key] = result
        journal.add(result, time.time())


def _refuse(cell: Cell, problems: dict[tuple[str, Role], str]) -> CellResult | None:
    """The result of a cell that one side is not fit for."""
    for side in ((cell.server.name, Role.SERVER), (cell.client.name, Role.CLIENT)):
        if side in problems:
            return refuse_cell(cell, Owner(side[1].value), problems[side])
    return None


def resume(
    log_dir: Path, options: dict[str, str], cells: Iterable[Cell]
) -> tuple[dict[CellKey, CellResult], float]:
    """The cells of an earlier run that need not run again, and when it began.

    What this machine spoilt runs again. Raises CommandError for a run with other options.
    """
    file = log_dir / RESULTS
    if not file.exists():
        return {}, time.time()
    try:
        earlier = results.read(file)
    except results.ResultsError as error:
        raise CommandError(str(error)) from error
    for name in _BINDING:
        if earlier.options.get(name) != options.get(name):
            there, here = earlier.options.get(name), options.get(name)
            raise CommandError(f"{file}: that run has {name} {there}, this one {here}; it can't go on")
    wanted = {cell.key: cell for cell in cells}
    for peer in _peers(wanted.values()):
        if earlier.peers.get(peer.name, peer.version) != peer.version:
            there = earlier.peers[peer.name]
            raise CommandError(f"{file}: that run has {peer.name} {there}, here it is {peer.version}")
    # Results that are not asked for would be lost: the file is written anew.
    lost = next((cell for cell in earlier.cells if cell.key not in wanted), None)
    if lost is not None:
        what = f"{lost.server} ← {lost.client} {lost.test} on {lost.network}"
        raise CommandError(
            f"{file}: that run has cells that these options leave out ({what}); use its options"
        )
    spoilt = (Status.FAILED, Owner.RUNNER)
    kept = (cell for cell in earlier.cells if (cell.status, cell.owner) != spoilt)
    return {cell.key: cell for cell in kept}, earlier.started


def _peers(cells: Iterable[Cell]) -> list[Peer]:
    peers = {peer.name: peer for cell in cells for peer in (cell.server, cell.client)}
    return list(peers.values())
