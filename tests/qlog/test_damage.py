"""Broken files: each has one defect, is told of it with its place, and the rest is still read."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from qlog_samples import HEADER, compact, contained, sequence

from qlog.model import Damage
from qlog.reader import Reader

EVENTS: list[dict[str, Any]] = [
    {"time": index, "name": "quic:spin_bit_updated", "data": {"state": True}} for index in range(6)
]
RECORDS = [b"\x1e" + compact(value) + b"\n" for value in [HEADER, *EVENTS]]
TEXTS = [compact(event) for event in EVENTS]
DOCUMENT = compact(contained(HEADER, EVENTS))
HEAD = b"".join(RECORDS[:3])
TAIL = b"".join(RECORDS[4:])
ALL = [0, 1, 2, 3, 4, 5]
WITHOUT_2 = [0, 1, 3, 4, 5]


def in_document(old: bytes, new: bytes) -> bytes:
    assert DOCUMENT.count(old) == 1
    return DOCUMENT.replace(old, new)


def document_of(texts: list[bytes], separator: bytes = b",") -> bytes:
    return compact(contained(HEADER, [])).replace(
        b'"events":[]', b'"events":[' + separator.join(texts) + b"]"
    )


def broken(text: bytes) -> bytes:
    """The document with the third event written otherwise."""
    return in_document(TEXTS[2], text)


CASES: dict[str, tuple[bytes, str, list[int]]] = {
    "last record cut": (HEAD + RECORDS[3][:-9], "record-cut", [0, 1]),
    "last record without line feed": (HEAD + RECORDS[3][:-1], "record-line-feed-missing", [0, 1, 2]),
    "record without line feed": (HEAD + RECORDS[3][:-1] + TAIL, "record-line-feed-missing", ALL),
    "no separator before the first record": ((HEAD + RECORDS[3] + TAIL)[1:], "record-separator-missing", ALL),
    "no separator before a record": (HEAD + RECORDS[3][1:] + TAIL, "record-separator-missing", ALL),
    "no separators": (
        b"".join(RECORDS).replace(b"\x1e", b""),
        "record-separator-missing",
        ALL,
    ),
    "record cut in the middle": (HEAD + RECORDS[3][:20] + TAIL, "record-interleaved", WITHOUT_2),
    "records interleaved": (
        HEAD + RECORDS[3][:20] + RECORDS[4] + RECORDS[3][20:] + b"".join(RECORDS[5:]),
        "record-interleaved",
        ALL,
    ),
    "trailing comma after a record": (HEAD + RECORDS[3][:-1] + b",\n" + TAIL, "json-trailing-comma", ALL),
    "trailing comma in a record": (
        HEAD + RECORDS[3].replace(b"true}", b"true,}") + TAIL,
        "json-trailing-comma",
        ALL,
    ),
    "syntax error in a record": (HEAD + RECORDS[3].replace(b":", b"=") + TAIL, "json-syntax", WITHOUT_2),
    "NaN in a record": (HEAD + RECORDS[3].replace(b"true", b"NaN") + TAIL, "json-not-finite", WITHOUT_2),
    "duplicate name in a record": (
        HEAD + RECORDS[3].replace(b'{"state"', b'{"state":false,"state"') + TAIL,
        "json-duplicate-name",
        ALL,
    ),
    "text that is no UTF-8": (HEAD + RECORDS[3].replace(b"true", b'"\xff"') + TAIL, "bytes-utf8", ALL),
    "control character": (
        HEAD + RECORDS[3].replace(b"true", b'"\x01"') + TAIL,
        "json-control-character",
        ALL,
    ),
    "record that is no event": (HEAD + b"\x1e[1,2]\n" + TAIL, "record-not-an-event", WITHOUT_2),
    "no header": (b"".join(RECORDS[1:]), "file-header-missing", ALL),
    "byte order mark": (b"\xef\xbb\xbf" + DOCUMENT, "bytes-bom", ALL),
    "byte order mark before records": (b"\xef\xbb\xbf" + b"".join(RECORDS), "bytes-bom", ALL),
    "document cut in an event": (DOCUMENT[: DOCUMENT.index(TEXTS[3]) + 12], "file-cut", [0, 1, 2]),
    "document cut between events": (DOCUMENT[: DOCUMENT.index(TEXTS[3])], "file-cut", [0, 1, 2]),
    "document cut before its last brackets": (DOCUMENT[:-2], "file-cut", ALL),
    "document cut in a string": (DOCUMENT[: DOCUMENT.index(TEXTS[3]) + 22], "file-cut", [0, 1, 2]),
    "trailing comma after the events": (in_document(b"}}]}", b"}},]}"), "json-trailing-comma", ALL),
    "trailing comma after the traces": (DOCUMENT[:-2] + b",]}", "json-trailing-comma", ALL),
    "trailing comma in an event": (broken(TEXTS[2][:-1] + b",}"), "json-trailing-comma", ALL),
    "no comma between events": (
        in_document(TEXTS[2] + b",", TEXTS[2]),
        "json-comma-missing",
        ALL,
    ),
    "quote missing in an event": (broken(TEXTS[2].replace(b'"name"', b'"name')), "json-syntax", WITHOUT_2),
    "bracket missing in an event": (broken(TEXTS[2][:-1]), "json-syntax", WITHOUT_2),
    "bracket too much in an event": (broken(TEXTS[2] + b"}"), "json-syntax", ALL),
    "syntax error in an event": (broken(TEXTS[2].replace(b":", b"=")), "json-syntax", WITHOUT_2),
    "NaN in an event": (broken(TEXTS[2].replace(b"true", b"-Infinity")), "json-not-finite", WITHOUT_2),
    "duplicate name in an event": (
        broken(TEXTS[2].replace(b'"time"', b'"time":1,"time"')),
        "json-duplicate-name",
        ALL,
    ),
    "something else among the events": (broken(b"7"), "record-not-an-event", WITHOUT_2),
    "data after the document": (DOCUMENT + b"{}", "file-trailing-data", ALL),
    "gzip cut": (gzip.compress(b"".join(RECORDS))[:-6], "bytes-compression-cut", ALL),
}


def read(content: bytes, path: Path) -> tuple[list[float], list[Damage]]:
    path.write_bytes(content)
    reader = Reader(path)
    times = [event.time for event in reader.events()]
    return times, reader.take_damages()


@pytest.mark.parametrize("case", CASES)
def test_one_defect(case: str, tmp_path: Path) -> None:
    content, rule, survivors = CASES[case]
    times, damages = read(content, tmp_path / "trace")
    assert {damage.rule for damage in damages} == {rule}
    assert len(damages) == 1
    assert times == survivors
    assert damages[0].fix
    assert 0 <= damages[0].offset <= len(content)


def test_unharmed_files_have_none(tmp_path: Path) -> None:
    for content in (b"".join(RECORDS), DOCUMENT, sequence(HEADER, EVENTS)):
        assert read(content, tmp_path / "trace") == (ALL, [])


def test_places(tmp_path: Path) -> None:
    content, _, _ = CASES["syntax error in a record"]
    _, (damage,) = read(content, tmp_path / "trace")
    assert (damage.offset, damage.record, damage.trace, damage.event) == (len(HEAD) + 1, 3, 0, 2)
    content, _, _ = CASES["syntax error in an event"]
    _, (damage,) = read(content, tmp_path / "trace")
    assert (damage.offset, damage.record, damage.trace, damage.event) == (
        DOCUMENT.index(TEXTS[2]),
        None,
        0,
        2,
    )


def test_a_defect_deep_in_a_large_file(tmp_path: Path) -> None:
    """Pieces are parsed at once; one with a defect is read again event by event."""
    many = TEXTS * 5_000
    many[20_000] = TEXTS[0][:-1]
    times, damages = read(document_of(many, b",\n"), tmp_path / "trace")
    assert len(times) == len(many) - 1
    assert [(damage.rule, damage.event) for damage in damages] == [("json-syntax", 20_000)]
