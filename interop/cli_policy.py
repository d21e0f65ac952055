"""`interquic interop policy learn`: a policy for the gate, derived from past runs."""

import argparse
import sys
from pathlib import Path

from endpoint.cli.errors import CommandError, explain_file
from interop import results
from interop.cli_run import OURSELVES, positive
from interop.gate.learn import learn

# A cell that fails in every seventh run or more often has failed in one of twenty with 95 % certainty.
_LEAST = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    commands = parser.add_subparsers(dest="policy_command", required=True, metavar="COMMAND")
    summary = "require what never failed, expect of the rest the rate that it has had"
    command = commands.add_parser("learn", help=summary, description=summary)
    command.add_argument(
        "results", nargs="+", type=Path, metavar="RESULTS", help="results.json, or its folder"
    )
    command.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="where to write it (standard output)"
    )
    command.add_argument(
        "--min-runs",
        type=positive,
        default=_LEAST,
        metavar="N",
        help=f"leave a cell free that has fewer runs ({_LEAST})",
    )
    command.add_argument(
        "--traces-of",
        action="append",
        default=[],
        metavar="PEER",
        help=f"whose qlog has to be valid, may be given several times; for example {OURSELVES}",
    )


def run(args: argparse.Namespace) -> int:
    """Write the policy. Raises CommandError, ResultsError."""
    runs = [results.read_here(path) for path in args.results]
    if not any(run.cells for run in runs):
        raise CommandError("the results have no cells: there is nothing to learn")
    text = learn(runs, args.min_runs, args.traces_of)
    if args.output is None:
        sys.stdout.write(text)
        return 0
    try:
        args.output.write_text(text)
    except OSError as error:
        raise explain_file("policy", str(args.output), error) from error
    return 0
