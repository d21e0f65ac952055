"""`interquic qlog checks`: the semantic checks, and what each is about."""

import argparse
import json
import sys

from qlog.checks import ALL
from qlog.checks.base import Check

_GROUPS = {"T": "Trace", "P": "Packets", "F": "Streams and flow control", "R": "Recovery", "H": "HTTP/3"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("--explain", metavar="ID", help="what a check is about, and what it tolerates")
    parser.add_argument("--format", choices=["text", "json"], default="text", help="json: one list")


def run(args: argparse.Namespace) -> int:
    """`interquic qlog checks`. Status 2: there is no such check."""
    chosen = [check for check in ALL if args.explain in {None, check.id, check.id.lower()}]
    if not chosen:
        print(f"interquic: no check has the id {args.explain}", file=sys.stderr)
        return 2
    if args.format == "json":
        print(json.dumps([_described(check) for check in chosen], indent=2))
    elif args.explain:
        print(_explained(chosen[0]))
    else:
        for check in chosen:
            if check.id.endswith("01"):
                print(_GROUPS[check.id[0]])
            print(f"  {check.id}  {check.severity:<7}  {check.title}  [{check.reference}]")
    return 0


def _described(check: type[Check]) -> dict[str, object]:
    return {
        "id": check.id,
        "title": check.title,
        "severity": check.severity,
        "reference": check.reference,
        "needs_history": check.needs_history,
        "explanation": check.explanation(),
    }


def _explained(check: type[Check]) -> str:
    lines = [
        f"{check.id}: {check.title}",
        f"{check.severity}, {check.reference}",
        "",
        check.explanation(),
    ]
    if check.needs_history:
        lines += ["", "Only for traces that show every packet from the first on."]
    return "\n".join(lines)
