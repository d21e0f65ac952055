"""Writes the bundled JSON Schema files from the tables: `python -m qlog.schema.build`.

One file per namespace. Each stands alone: its `$defs` hold all types that it uses, named as in the drafts,
and its root is the schema of an event of that namespace (in main.json: of a file).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from qlog.schema import newest_http3, newest_main, newest_quic, v03_events, v03_main
from qlog.schema.notation import PRIMITIVES, EventType, JsonSchema, Type, event_of

FOLDER = Path(__file__).parent
DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Namespace(NamedTuple):
    """What one file is made of. `roots` are the types of main.json that a file can be."""

    identifier: str
    title: str
    types: Mapping[str, Type]
    events: Mapping[str, EventType] = {}
    roots: tuple[str, ...] = ()


_NEWEST_TYPES = newest_main.SHARED | newest_quic.TYPES
_HTTP3_TYPES = newest_main.SHARED | newest_http3.HTTP3

NAMESPACES: dict[str, dict[str, Namespace]] = {
    "newest": {
        "main": Namespace(
            "urn:ietf:params:qlog:file",
            "qlog main schema, editors' copy of July 2026",
            newest_main.FILE,
            roots=("QlogFile", "QlogFileSeq"),
        ),
        "quic": Namespace(
            "urn:ietf:params:qlog:events:quic",
            "QUIC events, editors' copy of July 2026",
            _NEWEST_TYPES,
            newest_quic.EVENTS,
        ),
        "http3": Namespace(
            "urn:ietf:params:qlog:events:http3",
            "HTTP/3 events, editors' copy of July 2026",
            _HTTP3_TYPES,
            newest_http3.HTTP3_EVENTS,
        ),
        "http": Namespace(
            "urn:ietf:params:qlog:events:http",
            "HTTP events, editors' copy of July 2026",
            newest_main.SHARED | newest_http3.HTTP,
            newest_http3.HTTP_EVENTS,
        ),
        "loglevel": Namespace(
            "urn:ietf:params:qlog:events:loglevel",
            "loglevel events, editors' copy of July 2026",
            newest_main.LOGLEVEL,
            newest_main.LOGLEVEL_EVENTS,
        ),
        "simulation": Namespace(
            "urn:ietf:params:qlog:events:simulation",
            "simulation events, editors' copy of July 2026",
            newest_main.SIMULATION,
            newest_main.SIMULATION_EVENTS,
        ),
    },
    "v03": {
        "main": Namespace(
            "urn:qlog:0.3:file",
            "qlog 0.3, main schema",
            v03_main.FILE,
            roots=("QlogFile", "QlogFileSeq"),
        ),
        "quic": Namespace(
            "urn:qlog:0.3:events:quic",
            "qlog 0.3, categories connectivity, transport, security and recovery",
            v03_events.TYPES,
            v03_events.QUIC_EVENTS,
        ),
        "http3": Namespace(
            "urn:qlog:0.3:events:http3",
            "qlog 0.3, categories http and qpack",
            v03_events.TYPES,
            v03_events.HTTP_EVENTS,
        ),
        "loglevel": Namespace(
            "urn:qlog:0.3:events:generic",
            "qlog 0.3, category generic",
            v03_main.GENERIC,
            v03_main.GENERIC_EVENTS,
        ),
        "simulation": Namespace(
            "urn:qlog:0.3:events:simulation",
            "qlog 0.3, category simulation",
            newest_main.SIMULATION,
            newest_main.SIMULATION_EVENTS,
        ),
    },
}


def schema_of(namespace: Namespace) -> JsonSchema:
    """The JSON Schema of one file."""
    data = {name: event.data for name, event in namespace.events.items()}
    types: dict[str, JsonSchema] = {}
    waiting = [*namespace.roots, *data.values()]
    while waiting:
        name = waiting.pop()
        if name in types:
            continue
        known = namespace.types.get(name)
        if known is None:
            types[name] = PRIMITIVES[name]
        else:
            types[name] = {"title": name, **known.schema}
            waiting += known.uses
    schema: JsonSchema = {"$schema": DIALECT, "$id": namespace.identifier, "title": namespace.title}
    if data:
        schema |= event_of(data)
    else:
        schema["anyOf"] = [{"$ref": f"#/$defs/{root}"} for root in namespace.roots]
    schema["$defs"] = {name: types[name] for name in sorted(types)}
    return schema


def text_of(namespace: Namespace) -> str:
    """The content of one file."""
    return json.dumps(schema_of(namespace), indent=1) + "\n"


def main() -> None:
    """Write all files."""
    for generation, namespaces in NAMESPACES.items():
        for name, namespace in namespaces.items():
            path = FOLDER / generation / f"{name}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text_of(namespace))


if __name__ == "__main__":
    main()
