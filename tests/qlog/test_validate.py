"""Traces with one defect each, and what the validator says of it."""

import copy
from pathlib import Path
from typing import Any

import pytest
from qlog_samples import HEADER, HEADER_03, compact, contained, data_of, events, sequence

from qlog.findings import MOST, Findings
from qlog.model import Event, Finding, Trace
from qlog.schema.bundled import Generation
from qlog.validate import Report, validate_file

HEADERS: dict[Generation, dict[str, Any]] = {"newest": HEADER, "v03": HEADER_03}
GENERATIONS: tuple[Generation, ...] = ("newest", "v03")


def report_of(header: Any, records: list[Any], path: Path, *, strict: bool = False) -> Report:
    path.write_bytes(sequence(header, records))
    return validate_file(path, strict=strict)


def claiming(*drafts: str) -> dict[str, Any]:
    """The header of a trace of older drafts."""
    header = copy.deepcopy(HEADER)
    header["trace"]["event_schemas"] = [f"urn:ietf:params:qlog:events:{draft}" for draft in drafts]
    return header


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("full", [False, True])
def test_valid_traces_have_no_findings(generation: Generation, full: bool, tmp_path: Path) -> None:
    records = events(generation, full=full)
    header = HEADERS[generation]
    report = report_of(header, records, tmp_path / "trace", strict=True)
    assert (report.findings, report.events) == ([], len(records))
    (tmp_path / "trace").write_bytes(compact(contained(header, records)))
    assert validate_file(tmp_path / "trace", strict=True).findings == []


def sent(**data: Any) -> dict[str, Any]:
    return {
        "name": "quic:packet_sent",
        "data": {"header": {"packet_type": "1RTT", "packet_number": 1}, **data},
    }


def with_frame(**frame: Any) -> dict[str, Any]:
    return sent(frames=[{"frame_type": "ping"}, frame])


# event -> rule, severity (and with --strict), pointer, a word of the message, a word of the fix
DEFECTS: dict[str, tuple[dict[str, Any], tuple[str, str, str, str, str, str]]] = {
    "field missing": (
        {"name": "quic:packet_sent", "data": {"header": {"packet_number": 1}}},
        ("schema-required", "error", "error", "/data/header", "packet_type is missing", "add packet_type"),
    ),
    "field in a frame missing": (
        with_frame(frame_type="max_data"),
        ("schema-required", "error", "error", "/data/frames/1", "maximum is missing in MaxDataFrame", "add"),
    ),
    "unknown field of an extensible map": (
        sent(new_field=1),
        (
            "schema-unknown-field",
            "info",
            "error",
            "/data/new_field",
            "QUICPacketSent has no field",
            "extension",
        ),
    ),
    "misspelt field": (
        sent(frame=[]),
        ("schema-unknown-field", "info", "error", "/data/frame", "no field frame", "write frames"),
    ),
    "unknown field of a closed map": (
        sent(raw={"length": 1, "size": 2}),
        (
            "schema-unknown-field",
            "warning",
            "error",
            "/data/raw/size",
            "RawInfo has no field size",
            "leave it out",
        ),
    ),
    "wrong type": (
        sent(raw={"length": [1]}),
        ("schema-type", "error", "error", "/data/raw/length", "is not an integer or a text", ""),
    ),
    "number out of range": (
        with_frame(frame_type="max_data", maximum=-1),
        ("schema-range", "error", "error", "/data/frames/1/maximum", "-1 is not within 0", ""),
    ),
    "text that is no number": (
        with_frame(frame_type="max_data", maximum="many"),
        ("schema-format", "error", "error", "/data/frames/1/maximum", "is no number", "decimal digits"),
    ),
    "odd hex": (
        {"name": "quic:version_information", "data": {"chosen_version": "1"}},
        ("schema-format", "warning", "error", "/data/chosen_version", "lower-case hex", "two lower-case"),
    ),
    "unknown value of a closed enum": (
        sent(trigger="because"),
        ("schema-value", "error", "error", "/data/trigger", "'because' is none of", ""),
    ),
    "unknown value of an open enum": (
        {"name": "quic:packet_dropped", "data": {"header": {"packet_type": "2RTT"}}},
        ("schema-value", "info", "error", "/data/header/packet_type", "'2RTT' is none of", "write"),
    ),
    "unknown frame": (
        with_frame(frame_type="strem"),
        ("schema-value", "info", "error", "/data/frames/1/frame_type", "'strem' is none of", "write stream"),
    ),
    "empty list": (
        {"name": "quic:packets_acked", "data": {"packet_numbers": []}},
        ("schema-length", "error", "error", "/data/packet_numbers", "1 or more", "leave"),
    ),
    "ACK range of three": (
        with_frame(frame_type="ack", acked_ranges=[[1, 2, 3]]),
        ("schema-length", "error", "error", "/data/frames/1/acked_ranges/0", "may have 2", ""),
    ),
    "value of none of several types": (
        with_frame(frame_type="connection_close", error="oops"),
        ("schema-value", "error", "error", "/data/frames/1/error", "TransportError or CryptoError", ""),
    ),
    "old field": (
        {"name": "quic:parameters_set", "data": {"owner": "local"}},
        (
            "schema-old-field",
            "warning",
            "error",
            "/data/owner",
            "renamed in quic-12: use initiator",
            "initiator",
        ),
    ),
    "old field instead of a required one": (
        with_frame(frame_type="crypto", offset=0, length=5),
        (
            "schema-old-field",
            "warning",
            "error",
            "/data/frames/1/length",
            "quic-12: use raw.length",
            "raw.length",
        ),
    ),
    "field that is gone": (
        {"name": "quic:parameters_set", "data": {"aead_tag_length": 16}},
        ("schema-old-field", "warning", "error", "/data/aead_tag_length", "was removed in quic-05", "leave"),
    ),
    "misnamed field of an open map": (
        {"name": "quic:recovery_metrics_updated", "data": {"cwnd": 1}},
        ("schema-old-field", "warning", "warning", "/data/cwnd", "use congestion_window", "write"),
    ),
    "old value": (
        {"name": "quic:packet_dropped", "data": {"trigger": "payload_decrypt_error"}},
        ("schema-old-value", "warning", "error", "/data/trigger", "quic-04: use decryption_failure", "write"),
    ),
    "old event": (
        {"name": "recovery:metrics_updated", "data": {}},
        (
            "event-name",
            "warning",
            "error",
            "/name",
            "renamed in quic-09: use quic:recovery_metrics_updated",
            "",
        ),
    ),
    "unknown event": (
        {"name": "quic:packet_snet", "data": {}},
        ("event-unknown", "warning", "error", "/name", "no such event", "write quic:packet_sent"),
    ),
    "foreign namespace": (
        {"name": "acme:thing", "data": {"x": 1}},
        ("event-foreign", "info", "info", "/name", "namespace acme", ""),
    ),
    "name without namespace": (
        {"name": "packet_sent", "data": {}},
        ("schema-format", "warning", "error", "/name", "does not have the form", ""),
    ),
    "no data": (
        {"name": "quic:packet_sent"},
        ("schema-required", "error", "error", "", "data is missing in Event", "add data"),
    ),
    "time that is no number": (
        {"time": "12", **sent()},
        ("schema-type", "error", "error", "/time", "'12' is not a number", ""),
    ),
    "field of the envelope": (
        {"path": "", **sent()},
        ("schema-old-field", "warning", "warning", "/path", "renamed in main-13: use tuple", "write tuple"),
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
@pytest.mark.parametrize("strict", [False, True])
def test_one_defect_is_one_finding(defect: str, strict: bool, tmp_path: Path) -> None:
    event, (rule, severity, when_strict, pointer, message, fix) = DEFECTS[defect]
    good = {"time": 0, "name": "quic:packet_sent", "data": data_of("newest", "quic:packet_sent", full=True)}
    report = report_of(HEADER, [good, {"time": 1, **event}, good], tmp_path / "trace", strict=strict)
    assert [(one.rule, one.severity, one.pointer) for one in report.findings] == [
        (rule, when_strict if strict else severity, pointer)
    ]
    (finding,) = report.findings
    assert (finding.trace, finding.event, finding.count) == (0, 1, 1)
    assert finding.name == event.get("name", "")
    assert message in finding.message
    assert fix in finding.fix
    assert report.valid == (finding.severity != "error")


# What a draft allowed is no defect in a trace that claims it.
@pytest.mark.parametrize(
    ("drafts", "event"),
    [
        ("quic-10", {"name": "quic:parameters_set", "data": {"owner": "local"}}),
        ("quic-10", with_frame(frame_type="crypto", offset=0, length=5)),
        (
            "quic-10",
            with_frame(frame_type="reset_stream", stream_id=0, error_code="http_no_error", final_size=1),
        ),
        ("quic-12", sent(datagram_id=5)),
        ("quic-13", sent(datagram_id=5)),
        ("quic-13", {"name": "quic:frames_processed", "data": {"frames": []}}),
        ("quic-08", {"name": "recovery:metrics_updated", "data": {}}),
        ("quic-08", {"name": "connectivity:spin_bit_updated", "data": {"state": True}}),
        ("http3-10", {"name": "http3:parameters_set", "data": {"owner": "local"}}),
    ],
)
def test_what_the_claimed_draft_allows_is_none(drafts: str, event: dict[str, Any], tmp_path: Path) -> None:
    header = claiming(drafts)
    assert report_of(header, [{"time": 0, **event}], tmp_path / "trace", strict=True).findings == []


def test_a_newer_claim_makes_it_a_defect(tmp_path: Path) -> None:
    event = {"time": 0, "name": "quic:parameters_set", "data": {"owner": "local"}}
    report = report_of(claiming("quic-12"), [event], tmp_path / "trace", strict=True)
    assert [finding.rule for finding in report.findings] == ["schema-old-field"]
    assert report.era == "file_schema"


HEADER_DEFECTS: list[tuple[dict[str, Any], str, str, str]] = [
    ({"serialization_format": "JSON-SEQ"}, "schema-format", "warning", "/serialization_format"),
    ({"serialization_format": "APPLICATION/qlog+JSON-seq"}, "", "", ""),
    ({"file_schema": "urn:example:other"}, "schema-value", "info", "/file_schema"),
    ({"qlog_version": "0.3"}, "schema-old-field", "warning", "/qlog_version"),
    ({"code_version": "1"}, "schema-unknown-field", "warning", "/code_version"),
    ({"title": 5}, "schema-type", "error", "/title"),
    ({"trace": {**HEADER["trace"], "event_schemas": []}}, "schema-length", "error", "/trace/event_schemas"),
    (
        {"trace": {**HEADER["trace"], "vantage_point": {"type": "transport"}}},
        "schema-value",
        "error",
        "/trace/vantage_point/type",
    ),
    (
        {"trace": {**HEADER["trace"], "common_fields": {"reference_time": 0}}},
        "schema-type",
        "error",
        "/trace/common_fields/reference_time",
    ),
]


@pytest.mark.parametrize(("change", "rule", "severity", "pointer"), HEADER_DEFECTS)
def test_headers(change: dict[str, Any], rule: str, severity: str, pointer: str, tmp_path: Path) -> None:
    report = report_of({**HEADER, **change}, [], tmp_path / "trace")
    expected = [(rule, severity, pointer, None)] if rule else []
    assert [(one.rule, one.severity, one.pointer, one.event) for one in report.findings] == expected


def test_unknown_version(tmp_path: Path) -> None:
    report = report_of({"qlog_version": "7.5", "trace": {}}, [], tmp_path / "trace")
    assert [(one.rule, one.severity) for one in report.findings] == [("header-version", "error")]


def test_newest_names_in_03(tmp_path: Path) -> None:
    report = report_of(HEADER_03, [{"time": 0, **sent()}], tmp_path / "trace")
    (finding,) = report.findings
    assert (finding.rule, finding.severity) == ("event-name", "warning")
    assert "0.3 calls it transport:packet_sent" in finding.message


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"packet_type": "1RTT"}, ("schema-required", "error")),
        ({"packet_type": "retry", "packet_number": 0}, ("schema-unknown-field", "info")),
        ({"packet_type": "2RTT"}, ("schema-value", "info")),
    ],
)
def test_packet_numbers_of_03(header: dict[str, Any], expected: tuple[str, str], tmp_path: Path) -> None:
    event = {"time": 0, "name": "transport:packet_sent", "data": {"header": header}}
    report = report_of(HEADER_03, [event], tmp_path / "trace")
    assert [(one.rule, one.severity) for one in report.findings] == [expected]


def test_rows_are_not_held_against_a_schema(tmp_path: Path) -> None:
    trace = {"event_fields": ["time", "category", "event", "data"], "events": [[0, "a", "b", {}]]}
    (tmp_path / "trace").write_bytes(compact({"qlog_version": "draft-01", "traces": [trace]}))
    report = validate_file(tmp_path / "trace", strict=True)
    assert [(one.rule, one.severity) for one in report.findings] == [("era-without-schema", "info")]
    assert (report.era, report.events) == ("draft-01", 1)


def test_damage_is_a_finding(tmp_path: Path) -> None:
    text = sequence(HEADER, events("newest", full=False))
    (tmp_path / "trace").write_bytes(text[:-5])
    for strict, severity in ((False, "warning"), (True, "error")):
        (finding,) = validate_file(tmp_path / "trace", strict=strict).findings
        assert (finding.rule, finding.severity) == ("record-cut", severity)
        assert "at byte" in finding.message


def test_the_same_defect_is_counted(tmp_path: Path) -> None:
    records = [{"time": 0, **with_frame(frame_type="max_data", maximum=-1)} for _ in range(50)]
    records.append({"time": 0, **sent(frames=[{"frame_type": "max_data", "maximum": -1}] * 3)})
    (finding,) = report_of(HEADER, records, tmp_path / "trace").findings
    assert (finding.count, finding.event) == (53, 0)


def test_findings_are_bounded() -> None:
    findings = Findings()
    for index in range(MOST + 5):
        findings.add(Finding("rule", "error", 0, 0, f"/data/{index}x", "", ""))
    assert (len(findings.all()), findings.dropped) == (MOST, 5)


def test_unreadable(tmp_path: Path) -> None:
    report = validate_file(tmp_path / "missing")
    assert not report.readable
    assert not report.valid
    assert [finding.rule for finding in report.findings] == ["file-unreadable"]


class Watcher:
    """Notes what an observer is shown."""

    def __init__(self) -> None:
        self.traces: list[int] = []
        self.events: list[int] = []
        self.refused: list[int] = []

    def on_trace(self, trace: Trace) -> None:
        self.traces.append(trace.index)

    def on_event(self, event: Event) -> None:
        self.events.append(event.index)

    def on_refused(self, event: Event) -> None:
        self.refused.append(event.index)

    def findings(self) -> list[Finding]:
        return [Finding("watched", "info", None, None, "", "", "")]


def test_observers_see_valid_events_and_all_traces(tmp_path: Path) -> None:
    document = contained(
        HEADER, [{"time": 0, **sent()}, {"time": 0, **sent(raw=5)}, {"time": 0, **sent(x=1)}]
    )
    document["traces"].append({**HEADER["trace"], "events": []})
    (tmp_path / "trace").write_bytes(compact(document))
    watcher = Watcher()
    report = validate_file(tmp_path / "trace", [watcher])
    assert (watcher.traces, watcher.events, watcher.refused) == ([0, 1], [0, 2], [1])
    assert report.findings[-1].rule == "watched"
