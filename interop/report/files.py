"""The options that write a matrix to files, shared by the commands."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from endpoint.cli.errors import explain_file
from interop import results
from interop.report.html import html
from interop.report.junit import junit
from interop.report.markdown import markdown
from interop.report.runner_json import runner_json
from interop.results import MatrixResult

_OPTIONS = {
    "json": "our own results, for `merge` and `gate`",
    "runner_json": "the public runner's result format, for its web page",
    "junit": "JUnit XML",
    "markdown": "Markdown",
    "html": "one page with links to the logs",
}
# What every run leaves beside its logs.
_DEFAULT = {"html": "index.html", "markdown": "matrix.md", "junit": "junit.xml", "runner_json": "result.json"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    for name, summary in _OPTIONS.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=Path, metavar="FILE", help=f"write {summary}")


def write_chosen(
    result: MatrixResult, args: argparse.Namespace, urls: Mapping[str, str], log_dir: Path
) -> None:
    """Write the files that were asked for. The cells' logs are below `log_dir`. Raises CommandError."""
    for name in _OPTIONS:
        path: Path | None = getattr(args, name)
        if path is not None:
            _write(results.relocated(result, log_dir, path.parent), name, path, urls)


def write_all(result: MatrixResult, log_dir: Path, urls: Mapping[str, str]) -> None:
    """Write every report into the folder of the logs. Raises CommandError."""
    for name, file in _DEFAULT.items():
        _write(result, name, log_dir / file, urls)


def _write(result: MatrixResult, name: str, path: Path, urls: Mapping[str, str]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        match name:
            case "json":
                results.write(result, path)
            case "junit":
                path.write_bytes(junit(result))
            case "runner_json":
                path.write_text(runner_json(result, urls, str(path.parent)))
            case "html":
                path.write_text(html(result))
            case _:
                path.write_text(markdown(result))
    except OSError as error:
        raise explain_file("report", str(path), error) from error
