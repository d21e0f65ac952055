"""What fields and values were called, drawn from the bundled schemas for both directions.

The tables of `qlog.schema` say of each type what its fields were called before; the validator explains with
them, and the converters rename by them.
"""

from functools import cache
from typing import Any

from qlog.schema.bundled import Generation, event_types
from qlog.schema.notation import DISPATCH, RENAMED, JsonSchema

Path = tuple[str, ...]

# Fields that a rename alone can't carry over, for their meaning or form has changed.
NOT_BY_NAME = {
    "is_coalesced", "datagram_id", "datagram_ids", "flags", "quic_bit", "byte_length", "code_bytes",
    "src_ip", "src_port", "src_cid", "dst_ip", "dst_port", "dst_cid", "ip_version", "protocol",
    "connection_code", "application_code", "packet_size", "error_code_bytes", "error_code_value",
    "raw_error_code",
}  # fmt: skip


class Shape:
    """A type: how its fields, values and items are renamed.

    `renamed` maps an old field to the place of the newest one, () if it is gone. `kinds` are the shapes of
    maps that say in `kind_field` what they are.
    """

    __slots__ = ("fields", "items", "kind_field", "kinds", "renamed", "values")

    def __init__(self) -> None:
        self.fields: dict[str, Shape] = {}
        self.items: Shape | None = None
        self.kind_field = ""
        self.kinds: dict[str, Shape] = {}
        self.renamed: dict[str, Path] = {}
        self.values: dict[str, str] = {}

    def kind(self, value: dict[str, Any]) -> "Shape | None":
        """The shape of a map: of its kind, if there are kinds."""
        if not self.kind_field:
            return self
        written = value.get(self.kind_field)
        return self.kinds.get(written) if isinstance(written, str) else None


@cache
def events() -> dict[str, Shape]:
    """By the newest name of an event, the shape of its data."""
    made: dict[tuple[int, str], Shape] = {}
    return {
        name: _named(type_name, schema.json["$defs"], made)
        for name, (schema, type_name) in event_types("newest").items()
    }


@cache
def fields_of(generation: Generation, name: str) -> frozenset[str]:
    """The fields that a generation gives the data of an event, by its name there."""
    schema, type_name = event_types(generation)[name]
    return _properties(schema.json["$defs"][type_name])


@cache
def frame_fields(generation: Generation, frame_type: str) -> frozenset[str]:
    """The fields of a QUIC frame; none if the generation does not know it."""
    sent = {"newest": "quic:packet_sent", "v03": "transport:packet_sent"}[generation]
    definitions = event_types(generation)[sent][0].json["$defs"]
    type_name = definitions["QuicFrame"][DISPATCH]["types"].get(frame_type)
    return _properties(definitions[type_name]) if type_name else frozenset()


def _properties(schema: JsonSchema) -> frozenset[str]:
    return frozenset(name for name, field in schema.get("properties", {}).items() if "not" not in field)


def _named(name: str, definitions: JsonSchema, made: dict[tuple[int, str], Shape]) -> Shape:
    key = (id(definitions), name)
    if key not in made:
        # Kept before it is filled: types may contain themselves.
        made[key] = Shape()
        _fill(made[key], definitions[name], definitions, made)
    return made[key]


def _fill(
    shape: Shape, schema: JsonSchema, definitions: JsonSchema, made: dict[tuple[int, str], Shape]
) -> None:
    if DISPATCH in schema:
        shape.kind_field = schema[DISPATCH]["field"]
        for value, type_name in schema[DISPATCH]["types"].items():
            shape.kinds[value] = _named(type_name, definitions, made)
        return
    for word in schema.get(RENAMED, []):
        shape.values[word["old"]] = word["new"]
    for name, field in schema.get("properties", {}).items():
        if "not" in field:
            if name not in NOT_BY_NAME and RENAMED in field:
                shape.renamed[name] = tuple(field[RENAMED].split(".")) if field[RENAMED] else ()
        else:
            shape.fields[name] = _inline(field, definitions, made)
    if "items" in schema:
        shape.items = _inline(schema["items"], definitions, made)


def _inline(schema: JsonSchema, definitions: JsonSchema, made: dict[tuple[int, str], Shape]) -> Shape:
    if "$ref" in schema:
        return _named(schema["$ref"].rpartition("/")[2], definitions, made)
    shape = Shape()
    _fill(shape, schema, definitions, made)
    return shape
