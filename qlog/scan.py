"""JSON texts inside bytes that need not be whole or well-formed."""

import json
import re
from typing import Any

import orjson

# A broken file must not make us hold all of it: no value of a real trace is longer.
LONGEST_VALUE = 1 << 24

# Strings as wholes, so that brackets inside them don't count; one without its end reaches to the end.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]*")
_SCALAR = re.compile(rb'"(?:[^"\\]|\\.)*+"|[-+.0-9A-Za-z]+', re.DOTALL)
_CLOSING_COMMA = re.compile(rb'("(?:[^"\\]|\\.)*+")|,(?=[ \t\r\n]*[}\]])', re.DOTALL)

_OPENING = b"{["


class DuplicateKeyError(ValueError):
    """An object has one name twice."""


def skip_space(data: bytes, start: int) -> int:
    """The first index from `start` that holds no white space."""
    match = _SPACE.match(data, start)
    return match.end() if match else start


def value_end(data: bytes, start: int) -> int:
    """The index after the JSON value that begins at `start`; -1 if the data ends before it does."""
    if start >= len(data):
        return -1
    if data[start] not in _OPENING:
        match = _SCALAR.match(data, start)
        return match.end() if match and match.end() < len(data) else -1
    depth = 0
    for token in _TOKEN.finditer(data, start):
        first = data[token.start()]
        if first in _OPENING:
            depth += 1
        elif first in b"}]":
            depth -= 1
            if depth == 0:
                return token.end()
    return -1


def values(data: bytes) -> list[bytes] | None:
    """The texts of all values if `data` is a run of objects with nothing but space between them."""
    found: list[bytes] = []
    position = skip_space(data, 0)
    while position < len(data):
        end = value_end(data, position)
        if end < 0 or data[position] not in _OPENING:
            return None
        found.append(data[position:end])
        position = skip_space(data, end)
    return found


def loads(data: bytes) -> Any:
    """Parse, refusing duplicate names. Raises ValueError (orjson's, or DuplicateKeyError)."""
    value = orjson.loads(data)
    # Written out again, a name that came twice is there once. Only then is the slow search worth it.
    if data.count(b'":') != orjson.dumps(value).count(b'":'):
        _refuse_duplicates(data)
    return value


def without_closing_commas(data: bytes) -> bytes:
    """The same text without commas before a closing bracket or at its end."""
    return _CLOSING_COMMA.sub(lambda match: match[1] or b"", data.rstrip().rstrip(b","))


def _refuse_duplicates(data: bytes) -> None:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        unique = dict(items)
        if len(unique) != len(items):
            names = [name for name, _ in items]
            twice = next(name for name in names if names.count(name) > 1)
            raise DuplicateKeyError(f"the name {twice!r} stands twice in one object")
        return unique

    try:
        json.loads(data, object_pairs_hook=pairs)
    except RecursionError:  # orjson goes deeper; what nests that deep is refused by its schema
        return
