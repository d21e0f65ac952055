"""`interquic qlog`: the tools for traces, one function per sub-command."""

import argparse
import gc
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

from qlog import cat, checks, listing, pair, stats
from qlog.convert import cli as convert_cli
from qlog.model import Finding
from qlog.source import UnreadableFileError
from qlog.validate import Report, validate_file

VALID, INVALID, UNREADABLE = 0, 1, 2

# Commands of one module each, and their line for --help.
_TOOLS: dict[str, tuple[ModuleType, str]] = {
    "checks": (listing, "list the semantic checks, or explain one"),
    "pair": (pair, "compare the traces of both sides of a connection"),
    "stats": (stats, "handshake time, RTT, loss, goodput, streams, stalls"),
    "cat": (cat, "show the events, one line each"),
}

_SUFFIXES = {".qlog", ".sqlog", ".qlognd"}
_COMPRESSIONS = {".gz", ".zst", ".br"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands and their options."""
    commands = parser.add_subparsers(dest="qlog_command", required=True, metavar="COMMAND")
    validate = commands.add_parser(
        "validate",
        help="check traces of any era",
        description="Check traces of any era. Exit status: 0 valid, 1 errors found, 2 wrong usage or"
        " unreadable file.",
    )
    validate.add_argument("paths", nargs="+", type=Path, metavar="FILE|DIR")
    validate.add_argument(
        "--strict", action="store_true", help="make an error of all that the drafts don't allow"
    )
    validate.add_argument("--schema-only", action="store_true", help="leave out the semantic checks")
    validate.add_argument(
        "--format", choices=["text", "json"], default="text", help="json: one line per file"
    )
    validate.add_argument(
        "--max-errors", type=_count, default=100, metavar="N", help="list at most N findings per file (100)"
    )
    validate.set_defaults(run=validate_paths)
    for name, (module, summary) in _TOOLS.items():
        tool = commands.add_parser(name, help=summary, description=summary)
        module.add_arguments(tool)
        tool.set_defaults(run=module.run)
    convert_cli.add_commands(commands)


def run(args: argparse.Namespace) -> int:
    """Do what was asked for; the exit status."""
    # Events are trees, so counting references frees them. The cycle collector finds nothing in them, and at
    # its usual pace takes a third of the time to do so.
    usual = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    try:
        status: int = args.run(args)
    except UnreadableFileError as error:
        print(f"interquic: {error}", file=sys.stderr)
        return UNREADABLE
    else:
        return status
    finally:
        gc.set_threshold(*usual)


def validate_paths(args: argparse.Namespace) -> int:
    """`interquic qlog validate`."""
    files: list[Path] = []
    status = VALID
    for path in args.paths:
        found = _files(path)
        if not found:
            # A wrong folder is not to look like traces without errors.
            print(f"interquic: no traces in {path}", file=sys.stderr)
            status = UNREADABLE
        files += found
    for path in files:
        report = validate_file(path, [] if args.schema_only else checks.observers(), strict=args.strict)
        lines = [_json(report, args.max_errors)] if args.format == "json" else _text(report, args.max_errors)
        for line in lines:
            print(line)
        status = max(status, VALID if report.valid else INVALID if report.readable else UNREADABLE)
    return status


def _files(path: Path) -> list[Path]:
    """The file named, or the traces in the folder named."""
    if not path.is_dir():
        return [path]
    return [file for file in sorted(path.rglob("*")) if file.is_file() and _is_trace(file)]


def _is_trace(path: Path) -> bool:
    suffixes = path.suffixes
    if suffixes and suffixes[-1] in _COMPRESSIONS:
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in _SUFFIXES


def _json(report: Report, most: int) -> str:
    return json.dumps(
        {
            "file": report.file,
            "era": report.era,
            "events": report.events,
            "findings": [asdict(finding) for finding in report.findings[:most]],
        }
    )


def _text(report: Report, most: int) -> Iterator[str]:
    for finding in report.findings[:most]:
        yield f"{report.file}: {_line(finding)}"
    if len(report.findings) > most:
        yield f"{report.file}: {len(report.findings) - most} more findings (--max-errors"
        f" {len(report.findings)})"
    if report.readable:
        verdict = "valid" if report.valid else "not valid"
        yield f"{report.file}: {verdict}: {report.events} events, qlog {report.era}"


def _line(finding: Finding) -> str:
    place = ["header" if finding.event is None else f"event {finding.event}"]
    if finding.trace:
        place.insert(0, f"trace {finding.trace}")
    if finding.name:
        place.append(finding.name)
    if finding.pointer:
        place.append(finding.pointer)
    extra = f" [{finding.reference}]" if finding.reference else ""
    fix = f"; {finding.fix}" if finding.fix else ""
    more = f" ({finding.count - 1} more like this)" if finding.count > 1 else ""
    return f"{finding.severity}: {' '.join(place)}: {finding.message}{fix}{more} ({finding.rule}){extra}"


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 on")
    return int(text)
