"""The bundled schemas, loaded when they are needed."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from qlog.schema.accept import Acceptors
from qlog.schema.judge import Judge
from qlog.schema.notation import DISPATCH, JsonSchema

Generation = Literal["newest", "v03"]

_FILES: dict[str, tuple[str, ...]] = {
    "newest": ("main", "quic", "http3", "http", "loglevel", "simulation"),
    "v03": ("main", "quic", "http3", "loglevel", "simulation"),
}


@dataclass(frozen=True)
class Schema:
    """One file: its accept functions, and the judge over what they refuse."""

    json: JsonSchema
    acceptors: Acceptors
    judge: Judge

    @property
    def events(self) -> dict[str, str]:
        """Event name to the type of its data. {} in main.json."""
        dispatch = self.json.get(DISPATCH)
        return dict(dispatch["types"]) if dispatch else {}


def load(generation: Generation, name: str) -> JsonSchema:
    """A file of `qlog/schema/`, parsed."""
    text = files("qlog.schema").joinpath(generation, f"{name}.json").read_text(encoding="utf-8")
    schema: JsonSchema = json.loads(text)
    return schema


@cache
def schemas(generation: Generation) -> dict[str, Schema]:
    """All files of a generation, by name."""
    loaded = {name: load(generation, name) for name in _FILES[generation]}
    made = {}
    for name, schema in loaded.items():
        acceptors = Acceptors(schema)
        made[name] = Schema(schema, acceptors, Judge(schema, acceptors))
    return made


@cache
def event_types(generation: Generation) -> dict[str, tuple[Schema, str]]:
    """Event name to its schema and the type of its data."""
    return {
        event: (schema, type_name)
        for schema in schemas(generation).values()
        for event, type_name in schema.events.items()
    }
