"""Functions that say quickly whether a value is valid, made from the bundled JSON Schemas.

They know the keywords that `build` writes, no more, and say nothing about why. `judge` does, slowly.
"""

import re
from collections.abc import Callable
from typing import Any

from qlog.schema.notation import DISPATCH, JsonSchema

Accept = Callable[[Any], bool]

_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "number": (int, float),
    "integer": (int,),
}


class Acceptors:
    """The accept functions of one schema file, made when they are first asked for."""

    def __init__(self, schema: JsonSchema) -> None:
        self._definitions: JsonSchema = schema["$defs"]
        self._made: dict[str, Accept] = {}

    def of_type(self, name: str) -> Accept:
        """The function of a type in `$defs`. Raises KeyError."""
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self._make(self._definitions[name])
        return made

    def _make(self, schema: JsonSchema) -> Accept:
        if "$ref" in schema:
            return self.of_type(schema["$ref"].rpartition("/")[2])
        if DISPATCH in schema:
            return self._dispatched(schema)
        if "anyOf" in schema:
            return _any([self._make(option) for option in schema["anyOf"]])
        if "not" in schema:
            return _nothing
        if "const" in schema:
            return _one_of([schema["const"]])
        if "enum" in schema:
            return _one_of(schema["enum"])
        kind = schema.get("type")
        if kind == "object":
            return self._object(schema)
        if kind == "array":
            item = self._make(schema["items"])
            return _array(item, schema.get("minItems", 0), schema.get("maxItems"))
        if kind is None:
            return _anything
        return _scalar(schema)

    def _object(self, schema: JsonSchema) -> Accept:
        fields = {name: self._make(field) for name, field in schema.get("properties", {}).items()}
        required = tuple(schema.get("required", ()))
        return _object(fields, required, other=schema.get("additionalProperties", True) is not False)

    def _dispatched(self, schema: JsonSchema) -> Accept:
        """A map whose `field` says its type. Those with a `target` are whole events, and never seen here."""
        field = schema[DISPATCH]["field"]
        types = {value: self.of_type(name) for value, name in schema[DISPATCH]["types"].items()}

        def accept(value: Any) -> bool:
            if type(value) is not dict:
                return False
            written = value.get(field)
            accepted = types.get(written) if type(written) is str else None
            return accepted is not None and accepted(value)

        return accept


def _anything(_: Any) -> bool:
    return True


def _nothing(_: Any) -> bool:
    return False


def _object(fields: dict[str, Accept], required: tuple[str, ...], *, other: bool) -> Accept:
    get = fields.get
    first, others = (required[0], required[1:]) if required else (None, ())

    def accept(value: Any) -> bool:
        if type(value) is not dict or (first is not None and first not in value):
            return False
        for name, item in value.items():
            accepted = get(name)
            if accepted is None:
                if not other:
                    return False
            elif not accepted(item):
                return False
        return not others or all(map(value.__contains__, others))

    return accept


def _array(item: Accept, low: int, high: int | None) -> Accept:
    def accept(value: Any) -> bool:
        if type(value) is not list or len(value) < low or (high is not None and len(value) > high):
            return False
        return all(map(item, value))

    return accept


def _any(options: list[Accept]) -> Accept:
    return lambda value: any(option(value) for option in options)


def _one_of(words: list[str]) -> Accept:
    known = frozenset(words)
    return lambda value: type(value) is str and value in known


def _scalar(schema: JsonSchema) -> Accept:
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    expression = schema.get("pattern")
    matches = re.compile(expression).search if expression else None
    if kinds == ["string"]:
        if matches is None:
            return lambda value: type(value) is str
        return lambda value: type(value) is str and matches(value) is not None
    if "minimum" in schema:
        return _bounded(schema["minimum"], schema["maximum"], matches if "string" in kinds else None)
    types = frozenset(python_type for kind in kinds for python_type in _KINDS[kind])
    return lambda value: type(value) in types


def _bounded(low: int, high: int, matches: Callable[[str], Any] | None) -> Accept:
    def accept(value: Any) -> bool:
        kind = type(value)
        if kind is int:
            within: bool = low <= value <= high
            return within
        if kind is str:
            return matches is not None and matches(value) is not None
        # JSON Schema counts 1.0 as an integer.
        return kind is float and value.is_integer() and low <= value <= high

    return accept
