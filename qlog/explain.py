"""Turns what the judge says into findings: rule, severity, and words that help."""

from difflib import get_close_matches
from typing import Any, NamedTuple

from qlog.eras import Era, predates
from qlog.model import Finding, Severity, Trace
from qlog.schema.bundled import Schema
from qlog.schema.judge import Complaint, extensible, renamed

_DRAFTS = {
    "urn:ietf:params:qlog:file": "draft-ietf-quic-qlog-main-schema",
    "urn:ietf:params:qlog:events:quic": "draft-ietf-quic-qlog-quic-events",
    "urn:ietf:params:qlog:events:http3": "draft-ietf-quic-qlog-h3-events",
    "urn:ietf:params:qlog:events:http": "draft-ietf-quic-qlog-h3-events",
    "urn:ietf:params:qlog:events:loglevel": "draft-ietf-quic-qlog-main-schema",
    "urn:ietf:params:qlog:events:simulation": "draft-ietf-quic-qlog-main-schema",
}

_RULES = {
    "required": "schema-required",
    "additionalProperties": "schema-unknown-field",
    "type": "schema-type",
    "enum": "schema-value",
    "const": "schema-value",
    "anyOf": "schema-value",
    "pattern": "schema-format",
    "minimum": "schema-range",
    "maximum": "schema-range",
    "minItems": "schema-length",
    "maxItems": "schema-length",
}

_TYPES = {
    "string": "a text",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
    "number": "a number",
    "integer": "an integer",
}

_HEX = "[0-9a-f]"
_LONGEST_VALUE = 60


class Where(NamedTuple):
    """The place of a value: the event's index (None: the header) and name, and a JSON pointer into it."""

    event: int | None = None
    name: str = ""
    pointer: str = ""


def explain(
    complaints: list[Complaint], schema: Schema, trace: Trace, where: Where, *, strict: bool
) -> list[Finding]:
    """Findings for what the judge says of a value. What the draft that the trace claims allowed is none."""
    changes = [(complaint, renamed(complaint)) for complaint in complaints]
    # A field under its old name is missing under the new one: that is one defect, not two.
    replaced = {(complaint.path[:-1], new[0].partition(".")[0]) for complaint, new in changes if new}
    findings = []
    for complaint, change in changes:
        if complaint.keyword == "required" and (complaint.path, complaint.field) in replaced:
            continue
        since = complaint.since if change is None else change[1]
        if predates(since, trace.revisions):
            continue
        severity = _severity(complaint, change, schema, strict=strict)
        if severity == "error" and trace.era is Era.V04 and not strict:
            severity = "warning"  # 0.4 is held against the newest drafts: there is no schema of its own
        rule, message, fix = _old(complaint, change) if change else _wrong(complaint)
        pointer = where.pointer + pointer_of(complaint.path)
        reference = f"{_DRAFTS.get(schema.json['$id'], 'qlog 0.3')}, {complaint.type_name}"
        findings.append(
            Finding(rule, severity, trace.index, where.event, pointer, where.name, message, reference, fix)
        )
    return findings


def pointer_of(path: tuple[str | int, ...]) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


def nearest(name: str, known: list[str]) -> str:
    """What was probably meant; "" if nothing is alike."""
    found = get_close_matches(name, known, n=1, cutoff=0.75)
    return found[0] if found else ""


def _severity(
    complaint: Complaint, change: tuple[str, str] | None, schema: Schema, *, strict: bool
) -> Severity:
    keyword = complaint.keyword
    if change is not None:
        parent = schema.json["$defs"].get(complaint.type_name, {})
        unspecified = keyword == "not" and parent.get("additionalProperties", True) is not False
        return "error" if strict and not unspecified else "warning"
    if strict:
        return "error"
    if keyword == "required" and complaint.type_name == "PaddingFrame":
        return "warning"  # what the other frames leave of the packet
    if keyword == "additionalProperties":
        return "info" if extensible(complaint) else "warning"
    if keyword == "enum" and isinstance(complaint.value, str) and extensible(complaint):
        return "info"
    if keyword == "pattern" and "integer" not in complaint.schema["type"]:
        return "warning"
    return "error"


def _old(complaint: Complaint, change: tuple[str, str]) -> tuple[str, str, str]:
    new, since = change
    if complaint.keyword == "not":
        rule, old = "schema-old-field", str(complaint.path[-1])
    else:
        rule, old = "schema-old-value", _shown(complaint.value)
    if not new:
        return rule, f"{old} was removed in {since}" if since else f"{old} is in no draft", f"leave {old} out"
    if since:
        return rule, f"{old} was renamed in {since}: use {new}", f"write {new}"
    return rule, f"no draft calls it {old}: use {new}", f"write {new}"


def _wrong(complaint: Complaint) -> tuple[str, str, str]:
    rule = _RULES.get(complaint.keyword, "schema-type")
    schema, value, field = complaint.schema, _shown(complaint.value), complaint.field
    match complaint.keyword:
        case "required":
            return rule, f"{field} is missing in {complaint.type_name}", f"add {field}"
        case "additionalProperties":
            meant = nearest(field, list(schema.get("properties", {})))
            hint = f"write {meant}" if meant else "move it to an extension schema, or leave it out"
            return rule, f"{complaint.type_name} has no field {field}", hint
        case "enum":
            words = [str(word) for word in schema["enum"]]
            meant = nearest(str(complaint.value), words)
            return rule, f"{value} is none of {', '.join(words)}", f"write {meant}" if meant else ""
        case "const":
            return rule, f"{value} should be {_shown(schema['const'])}", ""
        case "anyOf":
            names = [option.get("$ref", "").rpartition("/")[2] for option in schema["anyOf"]]
            return rule, f"{value} is no {' or '.join(names)}", ""
        case "pattern":
            return rule, *_badly_written(complaint, value)
        case "minimum" | "maximum":
            return rule, f"{value} is not within {schema['minimum']} and {schema['maximum']}", ""
        case "minItems":
            return rule, f"the list needs {schema['minItems']} or more items", "leave an empty list out"
        case "maxItems":
            return rule, f"the list may have {schema['maxItems']} items", ""
        case _:
            return rule, f"{value} is not {_type(schema.get('type'))}", ""


def _badly_written(complaint: Complaint, value: str) -> tuple[str, str]:
    expression = complaint.schema["pattern"]
    if "integer" in complaint.schema["type"]:
        return f"{value} is no number", "write a JSON number, or its decimal digits as a text"
    if _HEX in expression:
        return f"{value} is no lower-case hex of the right length", "write two lower-case hex digits per byte"
    return f"{value} does not have the form {expression}", ""


def _type(written: Any) -> str:
    kinds = written if isinstance(written, list) else [written]
    return " or ".join(_TYPES.get(kind, str(kind)) for kind in kinds)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."
