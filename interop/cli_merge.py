"""`interquic interop merge`: the parts of a matrix that ran on several machines as one."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from interop import results
from interop.registry import load_peers
from interop.report import files, table
from interop.results import Status
from interop.runner import blame


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE|DIR", help="results.json, or its folder")
    files.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the whole matrix and write what was asked for; 1 if a cell failed unexpectedly.

    Raises ResultsError.
    """
    parts = [results.read_here(path) for path in args.files]
    for path, part in zip(args.files, parts, strict=True):
        lost = sum(not cell.log_dir for cell in part.cells if cell.status is not Status.UNSUPPORTED)
        if lost:
            print(f"interquic: {path}: logs of {lost} cells are not there; no links to them", file=sys.stderr)
    merged = blame.attribute(results.merge(parts))
    files.write_chosen(merged, args, {name: peer.url for name, peer in load_peers().items()}, Path())
    Console().print(table.matrix(merged))
    return int(any(cell.unexpected for cell in merged.cells))
