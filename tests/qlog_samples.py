"""Valid traces and values, made from the bundled schemas or written out."""

import json
from typing import Any

from qlog.schema.bundled import Generation, event_types
from qlog.schema.notation import DISPATCH, JsonSchema

TEXTS = {
    "^(?:[0-9a-f]{32})$": "00112233445566778899aabbccddeeff",
    "^(?:[0-9a-f]{16})$": "0011223344556677",
    "^(?:[0-9a-f]{2})*$": "c0ffee",
    "^(?:crypto_error_0x1[0-9a-f][0-9a-f])$": "crypto_error_0x128",
}

HEADER: dict[str, Any] = {
    "file_schema": "urn:ietf:params:qlog:file:sequential",
    "serialization_format": "application/qlog+json-seq",
    "trace": {
        "common_fields": {
            "group_id": "c0ffee",
            "reference_time": {"clock_type": "monotonic", "epoch": "unknown"},
        },
        "vantage_point": {"type": "client"},
        "event_schemas": ["urn:ietf:params:qlog:events:quic-14", "urn:ietf:params:qlog:events:http3-13"],
    },
}

HEADER_03: dict[str, Any] = {
    "qlog_version": "0.3",
    "qlog_format": "JSON-SEQ",
    "trace": {
        "common_fields": {"ODCID": "c0ffee", "time_format": "relative", "reference_time": 1000},
        "vantage_point": {"type": "server", "name": "x"},
    },
}


def example(schema: JsonSchema, definitions: JsonSchema, *, full: bool) -> Any:
    """A valid value: with all fields and kinds (`full`), or with what is required."""
    if "$ref" in schema:
        return example(definitions[schema["$ref"].rpartition("/")[2]], definitions, full=full)
    if DISPATCH in schema:
        return _kinds(schema, definitions, full=full)[0]
    if "anyOf" in schema:
        return example(schema["anyOf"][-1 if full else 0], definitions, full=full)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][-1 if full else 0]
    kind = schema.get("type", "string")
    if kind == "object":
        required = schema.get("required", [])
        return {
            name: example(field, definitions, full=full)
            for name, field in schema.get("properties", {}).items()
            if "not" not in field and (full or name in required)
        }
    if kind == "array":
        return _items(schema, definitions, full=full)
    if "integer" in kind:
        return schema["maximum"] if full else 0
    return {"string": TEXTS.get(schema.get("pattern", ""), "text"), "boolean": True, "number": 1.5}[kind]


def _items(schema: JsonSchema, definitions: JsonSchema, *, full: bool) -> list[Any]:
    items = schema["items"]
    while "$ref" in items:
        items = definitions[items["$ref"].rpartition("/")[2]]
    if full and DISPATCH in items:
        return _kinds(items, definitions, full=full)
    return [example(items, definitions, full=full)] * (1 if full else schema.get("minItems", 0))


def _kinds(schema: JsonSchema, definitions: JsonSchema, *, full: bool) -> list[Any]:
    return [example(definitions[name], definitions, full=full) for name in schema[DISPATCH]["types"].values()]


def data_of(generation: Generation, name: str, *, full: bool) -> Any:
    """Valid data of an event."""
    schema, type_name = event_types(generation)[name]
    definitions = schema.json["$defs"]
    return example(definitions[type_name], definitions, full=full)


def events(generation: Generation, *, full: bool) -> list[dict[str, Any]]:
    """One of every event."""
    return [
        {"time": float(index), "name": name, "data": data_of(generation, name, full=full)}
        for index, name in enumerate(event_types(generation))
    ]


def sequence(header: Any, records: list[Any]) -> bytes:
    """A JSON text sequence."""
    return b"".join(b"\x1e" + compact(record) + b"\n" for record in [header, *records])


def contained(header: Any, records: list[Any]) -> Any:
    """The same trace as one document."""
    document = {name: value for name, value in header.items() if name != "trace"}
    if "file_schema" in document:
        document["file_schema"] = "urn:ietf:params:qlog:file:contained"
        document["serialization_format"] = "application/qlog+json"
    else:
        document["qlog_format"] = "JSON"
    return {**document, "traces": [{**header["trace"], "events": records}]}


def compact(value: Any) -> bytes:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()
