"""Traces of every era and format come out as the same events."""

import gzip
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qlog_samples import HEADER, HEADER_03, compact, contained, events, sequence

from qlog.eras import Era
from qlog.model import Event
from qlog.reader import Reader
from qlog.source import UnreadableFileError
from qlog.validate import validate_file

EVENTS = events("newest", full=True)
SEEN = [(event["time"], event["name"], event["data"]) for event in EVENTS]


def read(path: Path) -> tuple[Reader, list[Event]]:
    reader = Reader(path)
    return reader, list(reader.events())


def seen(found: list[Event]) -> list[tuple[float, str, Any]]:
    return [(event.time, event.name, event.data) for event in found]


def lines(header: Any, records: list[Any]) -> bytes:
    return b"".join(compact(record) + b"\n" for record in [header, *records])


DOCUMENT = contained(HEADER, EVENTS)

FORMS = {
    "records": sequence(HEADER, EVENTS),
    "pretty records": b"".join(
        b"\x1e" + json.dumps(value, indent=2).encode() + b"\n" for value in [HEADER, *EVENTS]
    ),
    "compact document": compact(DOCUMENT),
    "pretty document": json.dumps(DOCUMENT, indent=4).encode(),
    "document with spaces": json.dumps(DOCUMENT).encode(),
    "document with sorted fields": json.dumps(DOCUMENT, sort_keys=True).encode(),
    "gzip": gzip.compress(sequence(HEADER, EVENTS)),
    "gzip in two members": gzip.compress(sequence(HEADER, EVENTS[:5]))
    + gzip.compress(sequence({}, EVENTS[5:])[4:]),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_the_newest_era(form: str, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(FORMS[form])
    reader, found = read(path)
    assert reader.take_damages() == []
    assert seen(found) == SEEN
    assert [event.index for event in found] == list(range(len(EVENTS)))
    assert reader.era is Era.NEWEST
    (trace,) = reader.traces
    assert trace.vantage_point.type == "client"
    assert trace.revisions == {"quic": 14, "http3": 13, "main": 15}
    assert {event.group_id for event in found} == {"c0ffee"}
    assert found[0].absolute_time is None


def test_fields_behind_the_events_count(tmp_path: Path) -> None:
    trace = {"events": EVENTS, **HEADER["trace"]}
    document = {"traces": [trace], "file_schema": "urn:ietf:params:qlog:file:contained"}
    path = tmp_path / "trace"
    path.write_bytes(compact(document))
    _, found = read(path)
    assert found[0].trace.vantage_point.type == "client"
    assert found[0].group_id == "c0ffee"


def test_ndjson_is_read_and_told_of(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(lines(HEADER, EVENTS))
    reader, found = read(path)
    assert seen(found) == SEEN
    assert [damage.rule for damage in reader.take_damages()] == ["record-separator-missing"]
    path.write_bytes(lines({**HEADER_03, "qlog_format": "NDJSON"}, []))
    reader, found = read(path)
    assert (found, reader.take_damages(), reader.era) == ([], [], Era.V03)


def test_traces_larger_than_any_buffer(tmp_path: Path) -> None:
    many = EVENTS * 150
    assert len(compact(many)) > 1 << 20
    path = tmp_path / "trace"
    for text in (sequence(HEADER, many), compact(contained(HEADER, many))):
        path.write_bytes(text)
        reader, found = read(path)
        assert seen(found) == SEEN * 150
        assert [event.index for event in found] == list(range(len(many)))
        assert reader.take_damages() == []


def test_several_traces_and_an_error(tmp_path: Path) -> None:
    one, two = contained(HEADER, EVENTS[:2])["traces"][0], contained(HEADER, EVENTS[2:3])["traces"][0]
    error = {"error_description": "file not found"}
    path = tmp_path / "trace"
    path.write_bytes(compact({**DOCUMENT, "traces": [one, error, two]}))
    reader, found = read(path)
    assert [event.trace.index for event in found] == [0, 0, 2]
    assert [event.index for event in found] == [0, 1, 0]
    assert [trace.error for trace in reader.traces] == [None, "file not found", None]


@pytest.mark.parametrize("kind", [["client"], {}, None, 1, "clients"])
def test_a_vantage_point_that_is_none(kind: Any, tmp_path: Path) -> None:
    document = contained(HEADER, EVENTS)
    document["traces"][0]["vantage_point"] = {"type": kind}
    path = tmp_path / "trace"
    path.write_bytes(compact(document))
    reader, found = read(path)
    assert len(found) == len(EVENTS)
    assert reader.traces[0].vantage_point.type == "unknown"


ROWS = {
    "qlog_version": "draft-00",
    "traces": [
        {
            "vantage_point": {"type": "CLIENT"},
            "configuration": {"time_units": "us"},
            "common_fields": {"group_id": 7, "reference_time": "0"},
            "event_fields": ["relative_time", "CATEGORY", "EVENT_TYPE", "DATA"],
            "events": [
                [0, "TRANSPORT", "PACKET_SENT", {"frames": [[1, 2], [3]]}],
                [2500, "recovery", "metrics_updated", {"cwnd": 1}],
                [5000, "info", "message", {"message": "hello"}],
            ],
        }
    ],
}


@pytest.mark.parametrize("indent", [None, 1])
def test_rows_of_draft_00(indent: int | None, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text(json.dumps(ROWS, indent=indent))
    reader, found = read(path)
    assert reader.era is Era.DRAFT_00
    assert [(event.time, event.name, event.original_name) for event in found] == [
        (0.0, "quic:packet_sent", "transport:packet_sent"),
        (2.5, "quic:recovery_metrics_updated", "recovery:metrics_updated"),
        (5.0, "loglevel:info", "info:message"),
    ]
    assert found[1].data == {"cwnd": 1}
    assert (found[0].group_id, found[0].trace.time_units) == ("7", "us")
    assert reader.take_damages() == []


@pytest.mark.parametrize(
    ("common", "times", "expected", "reference"),
    [
        ({"time_format": "relative", "reference_time": 1000}, [1, 2.5], [1, 2.5], 1000.0),
        ({"time_format": "relative"}, [1, 2], [1, 2], None),
        ({"time_format": "delta", "reference_time": "1000"}, [1, 2, 3], [1, 3, 6], 1000.0),
        ({}, [1.7e12, 1.7e12 + 1], [1.7e12, 1.7e12 + 1], 0.0),
        ({"time_format": "absolute", "reference_time": 5}, [10, 11], [10, 11], 0.0),
        ({"time_format": "relative"}, ["1", "x", None, 4], [1, 1, 1, 4], None),
    ],
)
def test_times_of_03(
    common: dict[str, Any], times: list[Any], expected: list[float], reference: float | None, tmp_path: Path
) -> None:
    header = {**HEADER_03, "trace": {"common_fields": common}}
    path = tmp_path / "trace"
    path.write_bytes(sequence(header, [{"time": time, "name": "transport:x", "data": {}} for time in times]))
    _, found = read(path)
    assert [event.time for event in found] == expected
    assert found[0].trace.reference_time == reference


def test_times_of_the_newest_era(tmp_path: Path) -> None:
    reference = {"clock_type": "system", "epoch": "2024-10-10T10:10:10.500Z"}
    common = {"time_format": "relative_to_previous_event", "reference_time": reference}
    records: list[dict[str, Any]] = [{"time": 100, "name": "a:b", "data": {}}] + [
        {"time": 5, "name": "a:b", "data": {}, "group_id": "own"}
    ] * 2
    records.append({"time": 50, "time_format": "relative_to_epoch", "name": "a:b", "data": {}})
    path = tmp_path / "trace"
    path.write_bytes(sequence({**HEADER, "trace": {"common_fields": common}}, records))
    _, found = read(path)
    assert [event.time for event in found] == [100, 105, 110, 50]
    assert found[1].group_id == "own"
    assert found[0].absolute_time == 1728555010500 + 100


@pytest.mark.parametrize(
    ("schemas", "era", "drafts"),
    [
        (["urn:ietf:params:qlog:events:quic-12"], Era.SCHEMA_DRAFT, {"quic": 12, "main": 13}),
        (["urn:ietf:params:qlog:events:quic"], Era.NEWEST, {}),
        (["urn:ietf:params:qlog:events:quic-14#ext", 5], Era.NEWEST, {"quic": 14, "main": 15}),
        (["urn:ietf:params:qlog:events:quic-13"], Era.SCHEMA_DRAFT, {"quic": 13, "main": 14}),
        ([], Era.NEWEST, {}),
        ("quic-12", Era.NEWEST, {}),
    ],
)
def test_drafts_claimed(schemas: Any, era: Era, drafts: dict[str, int], tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(sequence({**HEADER, "trace": {"event_schemas": schemas}}, EVENTS))
    reader, _ = read(path)
    assert reader.era is era
    assert reader.traces[0].revisions == drafts


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b"\x00\x01\x02", "starts neither"),
        (b"[1,2]", "starts neither"),
        (b'{"a": 1}', "neither file_schema nor qlog_version"),
        (b"\x28\xb5\x2f\xfd garbage", "zstd"),
        (gzip.compress(FORMS["records"])[:15], "the gzip data ends before its trailer"),
    ],
)
def test_what_is_no_qlog_is_refused(content: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=why):
        read(path)
    with pytest.raises(UnreadableFileError, match="No such file"):
        read(tmp_path / "missing")


RECORDS, MORE = sequence(HEADER, EVENTS[:5]), sequence({}, EVENTS[5:])[4:]
SUFFIXES = {"zstandard": "", "brotli": ".br"}  # zstd is known by its first bytes


def squeezed(package: str, *parts: bytes) -> bytes:
    """Each part for itself."""
    return b"".join(pytest.importorskip(package).compress(part) for part in parts)


@pytest.mark.parametrize(
    ("package", "parts"),
    [("zstandard", [RECORDS + MORE]), ("zstandard", [RECORDS, MORE]), ("brotli", [RECORDS + MORE])],
)
def test_compressions_that_take_a_package(package: str, parts: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / f"trace{SUFFIXES[package]}"
    path.write_bytes(squeezed(package, *parts))
    reader, found = read(path)
    assert seen(found) == SEEN
    assert reader.take_damages() == []


@pytest.mark.parametrize("package", SUFFIXES)
@pytest.mark.parametrize("tail", [b"", bytes(range(256))])
def test_compressed_data_that_end_early_or_break(package: str, tail: bytes, tmp_path: Path) -> None:
    """What came before is read, but for the block or the slice in which it happens."""
    path = tmp_path / f"trace{SUFFIXES[package]}"
    message = random.Random(1).randbytes(99_999).hex()
    noise = {"time": 1, "name": "loglevel:info", "data": {"message": message}}
    path.write_bytes(squeezed(package, RECORDS + sequence({}, [noise])[4:] + MORE)[:-100] + tail)
    reader, found = read(path)
    assert seen(found[:5]) == SEEN[:5]
    assert len(found) < len(EVENTS)
    assert "bytes-compression-cut" in [one.rule for one in reader.take_damages()]


@pytest.mark.parametrize("package", SUFFIXES)
def test_a_package_that_is_missing_is_named(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    path = tmp_path / f"trace{SUFFIXES[package]}"
    path.write_bytes(b"\x28\xb5\x2f\xfd" if package == "zstandard" else b"1")
    with pytest.raises(UnreadableFileError, match=f"install the package {package} to read it"):
        read(path)


BASES = [FORMS["records"], FORMS["compact document"], FORMS["pretty document"], json.dumps(ROWS).encode()]
SMALL = sequence(HEADER, EVENTS[11:14])
BASES += [SMALL, compact(contained(HEADER, EVENTS[11:14])), lines(HEADER_03, EVENTS[11:14])]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_mutated_files_never_crash_the_reader(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = data.draw(st.sampled_from(BASES))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        stop = min(len(text), start + data.draw(st.sampled_from([0, 1, 2, 50, 5000])))
        piece = data.draw(
            st.sampled_from(
                [b"", b"{", b"}", b"[", b"]", b'"', b",", b"\x1e", b"\n", b"NaN", b"\xff", b"\\", b"[" * 2000]
            )
            | st.binary(max_size=5)
        )
        text = text[:start] + piece + text[stop:]
    if data.draw(st.booleans()):
        text = gzip.compress(text, 1)
        text = text[: data.draw(st.integers(0, len(text)))]
    path = tmp_path_factory.getbasetemp() / "mutated"
    path.write_bytes(text)
    try:
        _, found = read(path)
    except UnreadableFileError:
        assert not validate_file(path).readable
        return
    assert validate_file(path).events == len(found)
    indices = [(event.trace.index, event.index) for event in found]
    assert indices == sorted(set(indices)), "every event has a place of its own"
