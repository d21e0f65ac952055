"""What can be wrong with the bytes of a trace, what to do about it, and what can still be read."""

import json
from typing import Any, NamedTuple

import orjson

from qlog import scan
from qlog.model import Severity

# rule -> severity without --strict (with it, all are errors) and the hint for the repair
RULES: dict[str, tuple[Severity, str]] = {
    "bytes-compression-cut": (
        "error",
        "decompress what is left and cut the last record off: `interquic qlog repair` does both",
    ),
    "bytes-bom": ("warning", "remove the byte order mark at the start of the file"),
    "bytes-utf8": ("error", "write text as UTF-8 and binary values as hex"),
    "json-syntax": ("error", "remove the text, or write it again with a JSON library"),
    "json-trailing-comma": ("error", "remove the comma before the closing bracket"),
    "json-comma-missing": ("error", "put a comma between the two values"),
    "json-not-finite": ("error", "leave the field out: JSON has neither NaN nor Infinity"),
    "json-duplicate-name": ("error", "keep one of the two; readers differ in which of them they take"),
    "json-control-character": ("error", "escape control characters in strings"),
    "json-too-long": ("error", "look for a missing closing bracket or quote before this place"),
    "file-cut": ("error", "close the open arrays and objects at the end, or log as JSON-SEQ (.sqlog)"),
    "file-trailing-data": ("error", "keep one JSON document per file"),
    "file-header-missing": ("error", "put the record with file_schema and trace in front"),
    "record-cut": ("warning", "cut the file after the last whole record"),
    "record-separator-missing": ("error", "put the byte 0x1E in front of every record"),
    "record-line-feed-missing": ("warning", "end every record with a line feed"),
    "record-interleaved": ("error", "write every record with one call, from one thread"),
    "record-not-an-event": ("error", "write one object per event"),
}


class Diagnosis(NamedTuple):
    """Why a text is no JSON. `value` is what it was meant to be where that is beyond doubt, else None."""

    rule: str
    message: str
    value: Any = None


def diagnose(data: bytes) -> Diagnosis:
    """What is wrong with a text that `scan.loads` has refused."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        wrong = f"byte 0x{data[error.start]:02x} at {error.start} is no UTF-8"
        try:
            return Diagnosis("bytes-utf8", wrong, json.loads(data.decode(errors="replace")))
        except (ValueError, RecursionError):
            return Diagnosis("bytes-utf8", wrong)
    constants: list[str] = []
    try:
        value = json.loads(text, parse_constant=constants.append)
    except (ValueError, RecursionError) as error:
        return _repair(data, text, error)
    if constants:
        return Diagnosis("json-not-finite", f"{constants[0]} is no JSON")
    try:
        scan.loads(data)
    except scan.DuplicateKeyError as error:
        return Diagnosis("json-duplicate-name", str(error), value)
    except ValueError as error:
        return Diagnosis("json-syntax", f"not read by every JSON parser: {error}")
    return Diagnosis("json-syntax", "no JSON object", value)


def _repair(data: bytes, text: str, error: Exception) -> Diagnosis:
    try:
        relaxed = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        pass
    else:
        return Diagnosis("json-control-character", "a string has a raw control character", relaxed)
    try:
        value = orjson.loads(scan.without_closing_commas(data))
    except ValueError:
        pass
    else:
        return Diagnosis("json-trailing-comma", "a comma stands before a closing bracket", value)
    start = scan.skip_space(data, 0)
    if data[start : start + 1] in {b"{", b"["} and scan.value_end(data, start) < 0:
        return Diagnosis("record-cut", "the text ends inside an object, an array or a string")
    return Diagnosis("json-syntax", str(error)[:200])
