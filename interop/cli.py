"""`interquic interop`: the matrix of QUIC implementations, one sub-command per module."""

import argparse
import sys
from types import ModuleType
from typing import Final

from endpoint.cli.errors import CommandError
from interop import cli_dissect, cli_gate, cli_merge, cli_peers, cli_policy, cli_run
from interop.gate.policy import PolicyError
from interop.results import ResultsError

# 1 says that a cell failed, or that the gate is red; this, that there is nothing to say.
_UNUSABLE: Final = 2

_COMMANDS: dict[str, tuple[ModuleType, str]] = {
    "run": (cli_run, "run test cases between implementations and print the matrix"),
    "peers": (cli_peers, "list, install and check the implementations"),
    "dissect": (cli_dissect, "show the packets of a capture, decrypted"),
    "merge": (cli_merge, "make one matrix of several results files"),
    "gate": (cli_gate, "hold a matrix against a policy and against earlier ones"),
    "policy": (cli_policy, "learn a policy for the gate from past runs"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands and their options."""
    parser.epilog = (
        "All end with 0: as it has to be; 1: something failed, or the gate is red;"
        " 2: wrong usage, or something can't be read."
    )
    commands = parser.add_subparsers(dest="interop_command", required=True, metavar="COMMAND")
    for name, (module, summary) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        module.add_arguments(command)
        command.set_defaults(run=module.run)


def run(args: argparse.Namespace) -> int:
    """Do what was asked for; the exit status."""
    try:
        status: int = args.run(args)
    except (CommandError, ResultsError, PolicyError) as error:
        print(f"interquic: {error}", file=sys.stderr)
        return _UNUSABLE
    return status
