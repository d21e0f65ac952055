"""The words in which the tables are written, and what they become in JSON Schema.

A record's fields stand in one string, `"?name:type"` where `?` means optional. A type is the name of another
type, `T/U` (either), `[*T]`, `[+T]` or `[1-2*T]` (lists). `@quic-12` after it: only since that draft.
`!old=new@quic-12` is a field that is called `new` since that draft, and without a draft one that stacks write
though no draft says so. An empty `new`: it is gone.
"""

from dataclasses import dataclass
from typing import Any, Literal

JsonSchema = dict[str, Any]

Importance = Literal["core", "base", "extra"]
CORE: Importance = "core"
BASE: Importance = "base"
EXTRA: Importance = "extra"

# Beside the JSON Schema keywords: may others add fields or values (a CDDL socket)? And: which field says
# what kind of thing it is, with the type for each kind?
EXTENSIBLE = "x-extensible"
DISPATCH = "x-dispatch"
RENAMED = "x-renamed"
SINCE = "x-since"

PRIMITIVES: dict[str, JsonSchema] = {
    "text": {"type": "string"},
    "bool": {"type": "boolean"},
    "float": {"type": "number"},
    "any": {},
    "map": {"type": "object"},
    "uint8": {"type": "integer", "minimum": 0, "maximum": 2**8 - 1},
    "uint16": {"type": "integer", "minimum": 0, "maximum": 2**16 - 1},
    "uint32": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
    # main schema, "JSON Interoperability": 64-bit values may be strings of digits.
    "uint64": {
        "type": ["integer", "string"],
        "minimum": 0,
        "maximum": 2**64 - 1,
        "pattern": "^[0-9]{1,20}$",
    },
    "hexstring": {"type": "string", "pattern": "^(?:[0-9a-f]{2})*$"},
}


@dataclass(frozen=True, slots=True)
class Type:
    """A named type: its JSON Schema, and the names of the types that this refers to."""

    schema: JsonSchema
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EventType:
    """What an event's data is."""

    data: str
    importance: Importance


def record(fields: str = "", rest: Literal["closed", "extensible", "open"] = "extensible") -> Type:
    """A map. `closed` takes no further fields, `extensible` those of extension schemas, `open` any."""
    properties: JsonSchema = {}
    required: list[str] = []
    uses: list[str] = []
    for word in fields.split():
        word, _, since = word.partition("@")
        if word.startswith("!"):
            old, _, new = word[1:].partition("=")
            properties[old] = {"not": {}, RENAMED: new, SINCE: since}
            continue
        name, _, kind = word.removeprefix("?").partition(":")
        properties[name] = _expression(kind, uses)
        if since:
            properties[name][SINCE] = since
        if not word.startswith("?"):
            required.append(name)
    schema: JsonSchema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    if rest != "open":
        schema["additionalProperties"] = False
    if rest == "extensible":
        schema[EXTENSIBLE] = True
    return Type(schema, tuple(uses))


def frame(frame_type: str, fields: str = "", *, kind: str = "frame_type") -> Type:
    """A closed map that says what it is in its field `kind`."""
    type_ = record(fields, "closed")
    schema = dict(type_.schema)
    schema["properties"] = {kind: {"const": frame_type}, **schema["properties"]}
    schema["required"] = [kind, *schema.get("required", [])]
    return Type(schema, type_.uses)


def enum(values: str, *, extensible: bool = False, renamed: str = "") -> Type:
    """One of some words; `extensible` if others may be registered. `renamed` is a list of "old=new@draft"."""
    schema: JsonSchema = {"enum": values.split()}
    if renamed:
        schema[RENAMED] = [_renamed(word) for word in renamed.split()]
    if extensible:
        schema[EXTENSIBLE] = True
    return Type(schema)


def pattern(expression: str) -> Type:
    """A text of a certain form."""
    return Type({"type": "string", "pattern": f"^(?:{expression})$"})


def media_type(text: str) -> str:
    """The pattern of a media type, which is the same in capitals."""
    return "".join(f"[{char}{char.upper()}]" if char.isalpha() else f"[{char}]" for char in text)


def alias(expression: str) -> Type:
    """Another name for a type."""
    uses: list[str] = []
    return Type(_expression(expression, uses), tuple(uses))


def choice(field: str, kinds: str) -> Type:
    """One of several maps, told apart by the value of `field`: "value=Type ...". Others may be registered."""
    types = dict(word.split("=") for word in kinds.split())
    return Type(_dispatch(field, types), tuple(types.values()))


def event_of(namespace_events: dict[str, str]) -> JsonSchema:
    """The schema of a whole event, from a table of event names and the types of their data."""
    schema = _dispatch("name", namespace_events, "data")
    schema["required"] = ["time", "name", "data"]
    schema["properties"]["time"] = {"type": "number"}
    return schema


def _dispatch(field: str, kinds: dict[str, str], target: str = "") -> JsonSchema:
    branches = []
    for value, type_name in kinds.items():
        reference: JsonSchema = {"$ref": f"#/$defs/{type_name}"}
        then = {"properties": {target: reference}} if target else reference
        branches.append({"if": {"properties": {field: {"const": value}}}, "then": then})
    return {
        "type": "object",
        "required": [field],
        "properties": {field: {"enum": list(kinds), EXTENSIBLE: True}},
        # A value that is none of them has no branch: the enum has refused it already.
        "allOf": branches,
        DISPATCH: {"field": field, "target": target, "types": kinds},
    }


def _renamed(word: str) -> dict[str, str]:
    change, _, since = word.partition("@")
    old, _, new = change.partition("=")
    return {"old": old, "new": new, "since": since}


def _expression(text: str, uses: list[str]) -> JsonSchema:
    if text.startswith("["):
        count, _, item = text[1:-1].rpartition("*") if "*" in text else ("1", "", text[2:-1])
        low, _, high = count.partition("-")
        schema: JsonSchema = {"type": "array", "items": _expression(item, uses)}
        if low:
            schema["minItems"] = int(low)
        if high:
            schema["maxItems"] = int(high)
        return schema
    if "/" in text:
        return {"anyOf": [_expression(part, uses) for part in text.split("/")]}
    uses.append(text)
    return {"$ref": f"#/$defs/{text}"}
