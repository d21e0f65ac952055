"""`interquic`: the command line, one sub-command per module."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Protocol, cast


class Command(Protocol):
    """What a module of a sub-command offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; the exit status. Raises CommandError."""


# name -> module, line for --help. Only the module of the command that is run gets imported.
COMMANDS: dict[str, tuple[str, str]] = {
    "server": ("endpoint.cli.server", "serve a directory or an ASGI application over HTTP/3"),
    "client": (
        "endpoint.cli.client",
        "download files over HTTP/3 or HTTP/0.9, or make a request as curl does",
    ),
    "qlog": ("qlog.cli", "validate, compare, convert and draw traces of QUIC connections"),
    "interop": ("interop.cli", "run test cases between QUIC implementations on a simulated network"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; `argv` without the program's name, by default that of the process."""
    _fill_standard_streams()
    try:
        return _run(argv)
    except KeyboardInterrupt:
        # Before, or in a command without, an event loop that hears of signals.
        return 128 + signal.SIGINT


def _run(argv: Sequence[str] | None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    parser = argparse.ArgumentParser(prog="interquic", description="A QUIC endpoint in plain Python.")
    parser.add_argument("--version", action="version", version=f"interquic {version('interquic')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command: Command | None = None
    for name, (module, summary) in COMMANDS.items():
        subparser = commands.add_parser(name, help=summary, description=summary)
        if name == chosen:
            command = cast("Command", import_module(module))
            command.add_arguments(subparser)
    args = parser.parse_args(arguments)
    assert command is not None, "argparse refuses unknown commands"
    from endpoint.cli.errors import CommandError  # noqa: PLC0415 - so that --help imports next to nothing

    try:
        status = command.run(args)
        sys.stdout.flush()
    except CommandError as error:
        print(f"interquic: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Of `... | head`. What is buffered can go nowhere; the interpreter would try again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def _fill_standard_streams() -> None:
    """Where the caller has closed one (`>&-`), nothing is to be read, and what is written is dropped.

    Else sockets and files would get their numbers, and `print` take standard output for a missing stderr.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    # Python has None there, whatever the types say.
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115 - for as long as we run
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


if __name__ == "__main__":
    sys.exit(main())
