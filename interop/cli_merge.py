"""`interquic interop merge`: the parts of a matrix that ran on several machines as one."""

import argparse
from pathlib import Path

from rich.console import Console

from interop import results
from interop.registry import load_peers
from interop.report import files, table
from interop.runner import blame
from interop.runner.matrix import RESULTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE|DIR", help="results.json, or its folder")
    files.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the whole matrix and write what was asked for; 1 if a cell failed unexpectedly.

    Raises ResultsError.
    """
    paths = [path / RESULTS if path.is_dir() else path for path in args.files]
    merged = blame.attribute(results.read_all(paths))
    files.write_chosen(merged, args, {name: peer.url for name, peer in load_peers().items()})
    Console().print(table.matrix(merged))
    return int(any(cell.unexpected for cell in merged.cells))
