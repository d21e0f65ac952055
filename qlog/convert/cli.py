"""The sub-commands that make other files of traces: qvis, convert, report, repair, merge, split."""

import argparse
import sys
from pathlib import Path

from qlog.convert.convert import ConversionError, convert_file
from qlog.convert.files import merge, repair, split
from qlog.convert.qvis import Window, export
from qlog.convert.report import write_report
from qlog.source import UnreadableFileError

DONE, FAILED = 0, 2

# What qvis draws in all views within a minute; of a million events it drew all but one view.
_MOST_FOR_QVIS = 300_000


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare them. Each sets `run`, which takes the arguments and returns the exit status."""
    qvis = commands.add_parser(
        "qvis",
        help="make a file that qvis can draw",
        description="Make a file that qvis can draw, of traces of any era. Give both sides of a connection to"
        " see them side by side. Tells what each view will lack.",
    )
    qvis.add_argument("paths", nargs="+", type=Path, metavar="FILE")
    qvis.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.qlog")
    qvis.add_argument(
        "--max-events",
        type=_positive,
        default=_MOST_FOR_QVIS,
        metavar="N",
        help=f"thin out what is more ({_MOST_FOR_QVIS})",
    )
    qvis.add_argument(
        "--window",
        type=_window,
        default=Window(),
        metavar="FROM-TO",
        help="only these ms, counted from each trace's first event; either may be left out",
    )
    qvis.set_defaults(run=run_qvis)
    convert = commands.add_parser(
        "convert",
        help="rewrite a trace in the newest drafts or in 0.3",
        description="Rewrite a trace of any era in the newest drafts or in 0.3. Tells what could"
        " not be carried over.",
    )
    convert.add_argument("path", type=Path, metavar="FILE")
    convert.add_argument("--to", choices=["newest", "0.3"], required=True)
    convert.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    form = convert.add_mutually_exclusive_group()
    form.add_argument("--json", dest="form", action="store_const", const="json", help="one document")
    form.add_argument(
        "--json-seq", dest="form", action="store_const", const="json-seq", help="one JSON text per event"
    )
    convert.set_defaults(run=run_convert)
    report = commands.add_parser(
        "report",
        help="make a page to look at",
        description="Make one HTML page that needs no network: packets, congestion, streams, the handshake,"
        " findings. Give both sides of a connection to see them together.",
    )
    report.add_argument("paths", nargs="+", type=Path, metavar="FILE")
    report.add_argument("-o", "--output", type=Path, required=True, metavar="report.html")
    report.set_defaults(run=run_report)
    _add_file_commands(commands)


def _add_file_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    repair = commands.add_parser("repair", help="write what can be read of a damaged file")
    repair.add_argument("path", type=Path, metavar="FILE")
    repair.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    repair.set_defaults(run=run_repair)
    merge = commands.add_parser("merge", help="put the traces of several files into one")
    merge.add_argument("paths", nargs="+", type=Path, metavar="FILE")
    merge.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.qlog")
    merge.set_defaults(run=run_merge)
    split = commands.add_parser("split", help="write a file for every connection in a file")
    split.add_argument("path", type=Path, metavar="FILE")
    split.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    split.set_defaults(run=run_split)


def run_qvis(args: argparse.Namespace) -> int:
    """`interquic qlog qvis`."""
    if _refuses(args.output, args.paths):
        return FAILED
    if args.output.suffix not in {".qlog", ".json"}:
        return _fail(f"qvis takes no {args.output.name}: end the name in .qlog")
    try:
        result = export(args.paths, args.output, max_events=args.max_events, window=args.window)
    except (UnreadableFileError, OSError) as error:
        return _fail(_told(error))
    for line in result.lines():
        print(line)
    if not result.pairs:
        return _fail("no events to draw" + ("" if args.window == Window() else " in this window"))
    return DONE


def run_convert(args: argparse.Namespace) -> int:
    """`interquic qlog convert`."""
    if _refuses(args.output, [args.path]):
        return FAILED
    try:
        dropped = convert_file(args.path, args.output, args.to, args.form)
    except (UnreadableFileError, ConversionError, OSError) as error:
        return _fail(_told(error))
    for line in dropped.lines():
        print(f"dropped: {line}")
    return DONE


def run_report(args: argparse.Namespace) -> int:
    """`interquic qlog report`."""
    if _refuses(args.output, args.paths):
        return FAILED
    try:
        sides = write_report(args.paths, args.output)
    except (UnreadableFileError, OSError) as error:
        return _fail(_told(error))
    return DONE if sides else _fail("no events to draw")


def run_repair(args: argparse.Namespace) -> int:
    """`interquic qlog repair`."""
    if _refuses(args.output, [args.path]):
        return FAILED
    try:
        lines = repair(args.path, args.output)
    except (UnreadableFileError, ConversionError, OSError) as error:
        return _fail(_told(error))
    for line in lines:
        print(f"repaired: {line}")
    return DONE


def run_merge(args: argparse.Namespace) -> int:
    """`interquic qlog merge`."""
    if _refuses(args.output, args.paths):
        return FAILED
    try:
        merge(args.paths, args.output)
    except (UnreadableFileError, ConversionError, OSError) as error:
        return _fail(_told(error))
    return DONE


def run_split(args: argparse.Namespace) -> int:
    """`interquic qlog split`."""
    try:
        paths = split(args.path, args.output)
    except (UnreadableFileError, ConversionError, OSError) as error:
        return _fail(_told(error))
    for path in paths:
        print(path)
    return DONE if paths else _fail("no events to write")


def _refuses(output: Path, paths: list[Path]) -> bool:
    """Whether the output is one of the files to be read."""
    if any(output.exists() and path.exists() and output.samefile(path) for path in paths):
        _fail(f"{output} is to be read and can't be written too")
        return True
    return False


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _fail(message: str) -> int:
    print(f"interquic: {message}", file=sys.stderr)
    return FAILED


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _window(text: str) -> Window:
    start, dash, end = text.partition("-")
    try:
        window = Window(float(start or 0), float(end) if end else float("inf"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not FROM-TO in ms") from error
    if not dash or not 0 <= window.start < window.end:
        raise argparse.ArgumentTypeError(f"{text!r} is not FROM-TO in ms")
    return window
