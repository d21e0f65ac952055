"""The list of requirements is complete, and every test that it names exists."""

import ast
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
LEVELS = {"MUST", "SHOULD", "MAY"}


def requirements() -> list[dict[str, Any]]:
    text = (Path(__file__).parent / "requirements.toml").read_text()
    rows: list[dict[str, Any]] = tomllib.loads(text)["requirement"]
    return rows


@cache
def names_in(path: Path) -> frozenset[str]:
    """`function` and `Class::function` of a test file."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return frozenset(found)


def test_ids_are_unique() -> None:
    ids = [row["id"] for row in requirements()]
    assert len(ids) > 80
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("row", requirements(), ids=lambda row: str(row["id"]))
def test_row(row: dict[str, Any]) -> None:
    assert row["level"] in LEVELS
    assert re.fullmatch(r"RFC \d{4} \d+(\.\d+)*", row["section"])
    assert row["text"].endswith(".")
    # One of both: a test, or the reason why there is none.
    assert bool(row.get("tests")) != bool(row.get("exception"))
    for test in row.get("tests", []):
        path, name = test.split("::", 1)
        assert name.split("::")[-1].startswith("test_")
        assert name in names_in(ROOT / path), f"{test} does not exist"
