"""`interquic interop gate`: whether a run of the matrix is good enough to land a change."""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from endpoint.cli.errors import CommandError, explain_file
from interop import results
from interop.cli_run import (
    add_peer_arguments,
    choose_network,
    jobs_at_once,
    peer_options,
    peers_by_name,
    positive,
    terminations,
)
from interop.gate import report
from interop.gate.findings import judge
from interop.gate.policy import Policy, read_policy
from interop.gate.rounds import Repetition, go_on
from interop.progress import Progress
from interop.results import CellResult, MatrixResult
from interop.runner.matrix import Matrix
from interop.runner.plan import Cell

_RED = 1
_INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--results",
        nargs="+",
        type=Path,
        required=True,
        metavar="F",
        help="results.json of a run, or its folder; several are parts of one matrix",
    )
    parser.add_argument("--policy", type=Path, required=True, metavar="FILE", help="what has to be (TOML)")
    parser.add_argument(
        "--baseline",
        nargs="+",
        type=Path,
        default=[],
        metavar="F",
        help="results of earlier runs, to compare with; the more, the better its noise is known",
    )
    parser.add_argument(
        "--summary", type=Path, metavar="FILE", help="append a GitHub step summary (Markdown)"
    )
    parser.add_argument("--annotations", action="store_true", help="print GitHub annotations as well")
    parser.add_argument(
        "--decide", action="store_true", help="run cells that are undecided again until they are decided"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results with these repetitions")
    parser.add_argument("--log-dir", type=Path, metavar="D", help="for their logs (interop-logs/TIME-gate)")
    parser.add_argument("--jobs", type=positive, metavar="N", help="cells at once (three per processor)")
    add_peer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Decide. Raises CommandError, ResultsError, PolicyError."""
    policy = read_policy(args.policy)
    result = results.merge([results.read_here(path) for path in args.results])
    baseline = [results.read_here(path) for path in args.baseline]
    if args.decide:
        rounds = _Rounds(args, result)
        result = go_on(policy, result, rounds.run)
        if rounds.interrupted:
            return _INTERRUPTED
    if args.json is not None:
        _write(args.json, result)
    return _tell(args, policy, result, baseline)


def _tell(
    args: argparse.Namespace, policy: Policy, result: MatrixResult, baseline: Sequence[MatrixResult]
) -> int:
    verdict = judge(policy, result, baseline)
    if args.summary is not None:
        try:
            with args.summary.open("a") as file:
                file.write(report.summary(verdict))
        except OSError as error:
            raise explain_file("summary", str(args.summary), error) from error
    if args.annotations:
        sys.stdout.write(report.annotations(verdict))
    sys.stdout.write(report.text(verdict))
    return 0 if verdict.is_green else _RED


def _write(path: Path, result: MatrixResult) -> None:
    try:
        results.write(results.relocated(result, Path(), path.parent), path)
    except OSError as error:
        raise explain_file("results", str(path), error) from error


class _Rounds:
    """Runs repetitions as the run did that they belong to: same seed, network and limits of time."""

    def __init__(self, args: argparse.Namespace, result: MatrixResult) -> None:
        try:
            self._seed = int(result.options["seed"])
            self._scale = float(result.options["timeout scale"])
            self._network = choose_network(result.options["network"])
        except (KeyError, ValueError) as error:
            raise CommandError(f"--decide: the results don't say how to go on: {error}") from error
        self._short = result.options.get("short") == str(True)
        self._peers = peers_by_name(args, self._network)
        self._peer_options = peer_options(args)
        self._log_dir: Path = args.log_dir or Path("interop-logs", time.strftime("%Y%m%d-%H%M%S-gate"))
        self._jobs = jobs_at_once(args.jobs, self._network)
        self._cells: list[Cell] = []
        self._done: dict[results.CellKey, CellResult] = {}
        self.interrupted = False

    def run(self, repetitions: Sequence[Repetition]) -> MatrixResult:
        """Run them; what all rounds have run is in the results file of their logs."""
        new = [self._cell(repetition) for repetition in repetitions]
        self._cells += new
        matrix = Matrix(
            cells=self._cells,
            log_dir=self._log_dir,
            options={
                "seed": str(self._seed),
                "network": self._network.value,
                "timeout scale": str(self._scale),
                "short": str(self._short),
                "peers": shlex.join(self._peer_options),
            },
            jobs=self._jobs,
            seed=self._seed,
            done=self._done,
            started=time.time(),
        )
        console = Console(stderr=True)
        console.print(f"undecided: {len(new)} more repetitions, logs in {self._log_dir}")
        with terminations(), Progress(console, len(new), 0) as progress:
            whole = matrix.run(progress)
        self.interrupted = matrix.interrupted
        keys = {cell.key for cell in new}
        found = (cell for cell in whole.cells if cell.key in keys)
        return replace(
            whole,
            cells=tuple(replace(cell, log_dir=str(self._log_dir / cell.log_dir)) for cell in found),
        )

    def _cell(self, repetition: Repetition) -> Cell:
        server, client, test = repetition.triple
        for name in (server, client):
            if name not in self._peers:
                raise CommandError(f"--decide: no peer {name}; --peer {name}=CMD says how to start it")
        return Cell(
            server=self._peers[server],
            client=self._peers[client],
            test=test,
            repeat=repetition.number,
            network=self._network,
            seed=self._seed,
            timeout_scale=self._scale,
            log_dir=self._log_dir.absolute(),
            short=self._short,
            peer_options=tuple(self._peer_options),
        )
