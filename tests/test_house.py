"""Rules of the house that no linter knows: sizes, words, and documents that tell the truth."""

import ast
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILE_LIMIT = 500
FUNCTION_LIMIT = 60

# A longer file or function needs an entry with its own limit and a reason. An entry that is no longer
# needed fails too, so this list only shrinks by itself.
LONG_FILES: dict[str, tuple[int, str]] = {}
LONG_FUNCTIONS: dict[str, tuple[int, str]] = {}

# Spelled in halves, so that this file passes its own check.
FORBIDDEN_WORDS = tuple(
    first + second
    for first, second in (
        ("TO", "DO"),
        ("FIX", "ME"),
        ("/wo", "rk/"),
        ("pypi", ".org"),
        ("pythonhosted", ".org"),
        ("registry.npm", "js"),
        ("exited with code", " 127"),
        ("exit status", " 127"),
    )
)


@cache
def tracked_files() -> tuple[str, ...]:
    """Paths of everything in the repository that has not been deleted, relative to its root."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return tuple(sorted(name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()))


def python_files() -> list[str]:
    return [name for name in tracked_files() if name.endswith(".py")]


def functions(name: str) -> list[tuple[str, int]]:
    """`path::qualified name` and length in lines, docstring apart, of every function in a file."""
    found: list[tuple[str, int]] = []

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                visit(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                found.append((f"{name}::{prefix}{child.name}", _length(child)))
                visit(child, f"{prefix}{child.name}.")
            else:
                visit(child, prefix)

    visit(ast.parse((ROOT / name).read_text()), "")
    return found


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None and first.end_lineno is not None:
        lines -= first.end_lineno - first.lineno + 1
    return lines


def too_long(lengths: dict[str, int], limit: int, allowed: dict[str, tuple[int, str]]) -> dict[str, int]:
    """What breaks its limit."""
    return {name: length for name, length in lengths.items() if length > allowed.get(name, (limit, ""))[0]}


def not_needed(lengths: dict[str, int], limit: int, allowed: dict[str, tuple[int, str]]) -> list[str]:
    """Entries of the allow list whose file or function is gone or short enough."""
    return [name for name in allowed if lengths.get(name, 0) <= limit]


def test_files_are_short() -> None:
    lengths = {name: (ROOT / name).read_bytes().count(b"\n") for name in python_files()}
    assert too_long(lengths, FILE_LIMIT, LONG_FILES) == {}
    assert not_needed(lengths, FILE_LIMIT, LONG_FILES) == []


def test_functions_are_short() -> None:
    lengths = {function: length for name in python_files() for function, length in functions(name)}
    assert lengths
    assert too_long(lengths, FUNCTION_LIMIT, LONG_FUNCTIONS) == {}
    assert not_needed(lengths, FUNCTION_LIMIT, LONG_FUNCTIONS) == []


def test_the_limits_bite() -> None:
    lengths = {"short": 10, "long": 70, "allowed": 70, "outgrown": 90}
    allowed = {"allowed": (80, "r"), "outgrown": (80, "r"), "short": (80, "r"), "gone": (80, "r")}
    assert too_long(lengths, 60, allowed) == {"long": 70, "outgrown": 90}
    assert not_needed(lengths, 60, allowed) == ["short", "gone"]


def test_no_forbidden_words() -> None:
    found = []
    for name in tracked_files():
        text = (ROOT / name).read_bytes().decode(errors="replace")
        found += [f"{name}: {word}" for word in FORBIDDEN_WORDS if word in text]
    assert found == []


def test_test_functions_are_collected_once() -> None:
    """A second function of the same name hides the first from pytest."""
    hidden = []
    for name in python_files():
        names = [function for function, _ in functions(name) if "::test_" in function]
        hidden += sorted({function for function in names if names.count(function) > 1})
    assert hidden == []


@pytest.mark.parametrize("document", ["README.md", "CHANGELOG.md", "bench/README.md"])
def test_links_of_documents_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    broken = [
        target
        for target in targets
        if not target.startswith("https://") and not ((ROOT / document).parent / target).exists()
    ]
    assert broken == []


def test_where_to_look_table_names_files_that_exist() -> None:
    section = (ROOT / "README.md").read_text().partition("## Where to look")[2].partition("\n## ")[0]
    paths = [path for row in re.findall(r"^\|[^|]+\|(.+)\|$", section, re.MULTILINE) for path in code(row)]
    assert len(paths) >= 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


def code(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_readme_names_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b", (ROOT / "README.md").read_text()))
    assert {"demo", "test", "lint", "types"} <= named
    assert named <= targets


def test_dockerfile_copies_what_exists() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignore, "the context is an allow list"
    in_context = {line[1:] for line in ignore if line.startswith("!")}
    assert {"endpoint", "pyproject.toml", "README.md", "LICENSE"} <= in_context
    dockerfile = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    copied = [shlex.split(line)[1:-1] for line in dockerfile.splitlines() if line.startswith("COPY ")]
    from_context = [source for sources in copied for source in sources if not sources[0].startswith("--from")]
    assert "run_endpoint.sh" in from_context
    for source in from_context:
        assert (ROOT / source).exists()
        assert source == "." or source in in_context
    assert 'ENTRYPOINT ["/run_endpoint.sh"]' in dockerfile


def test_shell_files_parse() -> None:
    for name in ("run_endpoint.sh", ".ci/run"):
        assert (ROOT / name).stat().st_mode & 0o111, f"{name} is not executable"
        assert subprocess.run(["bash", "-n", name], cwd=ROOT, check=False).returncode == 0


def test_library_example_of_the_readme_runs() -> None:
    (program,) = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, text=True, timeout=20
    )
    assert (answer.stdout, answer.stderr) == ("b'HELLO'\n", "")
