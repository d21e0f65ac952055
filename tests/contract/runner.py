"""A cell of ourselves between two network namespaces, all of which is kept."""

from pathlib import Path

from interop.checks import Run
from interop.registry import load_peers
from interop.results import CellResult
from interop.runner.carrier import Network
from interop.runner.cell import collect, run_cell
from interop.runner.plan import Cell


def run_case(test: str, directory: Path, seed: int, *, short: bool = True) -> tuple[CellResult, Run]:
    """Its result, and what the checks looked at. (The files are gone: nothing was expected of them.)"""
    ourselves = load_peers()["interquic"]
    cell = Cell(
        server=ourselves,
        client=ourselves,
        test=test,
        repeat=1,
        network=Network.NETNS,
        seed=seed,
        timeout_scale=1.0,
        log_dir=directory,
        keep_all=True,
        short=short,
    )
    result = run_cell(cell)
    print(f"{test}: {result.status}, {result.seconds:.1f} s {result.explanation}")
    return result, collect(directory / result.log_dir, {})
