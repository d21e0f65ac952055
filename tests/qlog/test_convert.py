"""`interquic qlog convert`: what comes out means what went in, or it is said what was lost."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qlog_samples import HEADER, HEADER_03, contained, events, sequence

from endpoint.cli.main import main
from qlog.convert import container, report, side
from qlog.convert.convert import ConversionError, convert_file
from qlog.convert.downgrade import downgraded
from qlog.convert.record import Dropped
from qlog.convert.upgrade import upgraded
from qlog.eras import Era
from qlog.model import Event, Trace
from qlog.names import newest
from qlog.reader import Reader
from qlog.validate import validate_file

ROWS = {
    "qlog_version": "draft-00",
    "traces": [
        {
            "vantage_point": {"type": "client", "name": "x"},
            "configuration": {"time_units": "us"},
            "common_fields": {"ODCID": "c0ffee", "reference_time": 1700000000000000},
            "event_fields": ["relative_time", "category", "event_type", "data"],
            "events": [
                [
                    1500,
                    "TRANSPORT",
                    "PACKET_SENT",
                    {
                        "packet_type": "onertt",
                        "header": {"packet_number": "7", "packet_size": 100},
                        "frames": [
                            {"frame_type": "stream", "id": 4, "offset": 0, "length": 20},
                            {"frame_type": "ack", "ack_delay": 3000, "acked_ranges": [[0, 1]]},
                        ],
                    },
                ],
                [2500, "recovery", "metrics_updated", {"cwnd": 12000, "smoothed_rtt": 20000}],
            ],
        }
    ],
}

# Each as 0.3 and as the newest drafts write it.
SAME: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    (
        "transport:packet_sent",
        {
            "header": {"packet_type": "1RTT", "packet_number": 3, "dcid": "aa"},
            "raw": {"length": 1200},
            "frames": [
                {"frame_type": "stream", "stream_id": 0, "offset": 5, "length": 7, "fin": True},
                {"frame_type": "crypto", "offset": 0, "length": 9},
                {"frame_type": "padding", "payload_length": 3},
                {"frame_type": "datagram", "length": 8},
                {"frame_type": "reset_stream", "stream_id": 0, "error_code": 259, "final_size": 1},
                {"frame_type": "stop_sending", "stream_id": 0, "error_code": "http_no_error"},
                {
                    "frame_type": "connection_close",
                    "error_space": "transport",
                    "error_code": "protocol_violation",
                    "reason": "",
                },
                {"frame_type": "unknown", "raw_frame_type": 66, "raw_length": 3},
            ],
        },
        "quic:packet_sent",
        {
            "header": {"packet_type": "1RTT", "packet_number": 3, "dcid": "aa"},
            "raw": {"length": 1200},
            "frames": [
                {"frame_type": "stream", "stream_id": 0, "offset": 5, "fin": True, "raw": {"length": 7}},
                {"frame_type": "crypto", "offset": 0, "raw": {"length": 9}},
                {"frame_type": "padding", "raw": {"payload_length": 3}},
                {"frame_type": "datagram", "raw": {"length": 8}},
                {
                    "frame_type": "reset_stream",
                    "stream_id": 0,
                    "error": "unknown",
                    "error_code": 259,
                    "final_size": 1,
                },
                {"frame_type": "stop_sending", "stream_id": 0, "error": "http_no_error"},
                {
                    "frame_type": "connection_close",
                    "error_space": "transport",
                    "error": "protocol_violation",
                    "reason": "",
                },
                {"frame_type": "unknown", "frame_type_bytes": 66, "raw": {"length": 3}},
            ],
        },
    ),
    (
        "transport:parameters_set",
        {"owner": "remote", "initial_max_data": 9},
        "quic:parameters_set",
        {"initiator": "remote", "initial_max_data": 9},
    ),
    (
        "transport:alpn_information",
        {"client_alpns": ["h3", "hq"], "chosen_alpn": "h3"},
        "quic:alpn_information",
        {
            "client_alpns": [{"string_value": "h3"}, {"string_value": "hq"}],
            "chosen_alpn": {"string_value": "h3"},
        },
    ),
    (
        "connectivity:connection_started",
        {
            "ip_version": "v4",
            "src_ip": "1.1.1.1",
            "src_port": 1,
            "src_cid": "aa",
            "dst_ip": "2.2.2.2",
            "dst_port": 2,
            "dst_cid": "bb",
        },
        "quic:connection_started",
        {
            "local": {"ip_v4": "1.1.1.1", "port_v4": 1, "connection_ids": ["aa"]},
            "remote": {"ip_v4": "2.2.2.2", "port_v4": 2, "connection_ids": ["bb"]},
        },
    ),
    (
        "connectivity:connection_closed",
        {"owner": "local", "connection_code": "no_error", "trigger": "application"},
        "quic:connection_closed",
        {"initiator": "local", "connection_error": "no_error", "trigger": "application"},
    ),
    (
        "security:key_retired",
        {"key_type": "client_1rtt_secret", "generation": 1},
        "quic:key_discarded",
        {"key_type": "client_1rtt_secret", "key_phase": 1},
    ),
    (
        "recovery:loss_timer_updated",
        {"timer_type": "pto", "event_type": "set", "delta": 1.5},
        "quic:timer_updated",
        {"timer_type": "pto", "event_type": "set", "delta": 1.5},
    ),
    (
        "transport:data_moved",
        {"stream_id": 0, "offset": 0, "length": 5, "from": "transport", "to": "application"},
        "quic:stream_data_moved",
        {"stream_id": 0, "offset": 0, "raw": {"length": 5}, "from": "transport", "to": "application"},
    ),
    (
        "http:frame_parsed",
        {"stream_id": 0, "length": 9, "frame": {"frame_type": "data"}},
        "http3:frame_parsed",
        {"stream_id": 0, "frame": {"frame_type": "data", "raw": {"payload_length": 9}}},
    ),
    ("generic:error", {"message": "x"}, "loglevel:error", {"message": "x"}),
    ("qpack:state_updated", {"owner": "local"}, "qpack:state_updated", {"owner": "local"}),
]

# As stacks write them though no draft says so; only upwards.
ODD: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "recovery:packet_lost",
        {"type": "onertt", "packet_number": 4},
        {"header": {"packet_type": "1RTT", "packet_number": 4}},
    ),
    (
        "transport:version_information",
        {"client_versions": [1], "chosen_version": 1},
        {"client_versions": ["00000001"], "chosen_version": "00000001"},
    ),
    ("transport:version_information", {"chosen_version": "1"}, {"chosen_version": "00000001"}),
    ("connectivity:mtu_updated", {"mtu": 1400}, {"new": 1400}),
    (
        "quic:packet_received",
        {"header": {"packet_type": "1RTT", "packet_number": 1, "flags": 0x65, "scid": "(empty)"}},
        {
            "header": {
                "packet_type": "1RTT",
                "packet_number": 1,
                "scid": "",
                "spin_bit": True,
                "key_phase_bit": True,
                "packet_number_length": 2,
            }
        },
    ),
    (
        "transport:packet_sent",
        {"frames": [{"frame_type": "stream", "stream_id": 0, "length": 9, "raw": {"payload_length": 9}}]},
        {"frames": [{"frame_type": "stream", "stream_id": 0, "raw": {"payload_length": 9}}]},
    ),
    (
        "transport:packet_sent",
        {
            "frames": [{"frame_type": "new_token", "token": "aa"}],
            "stateless_reset_token": {"data": "bb"},
        },
        {
            "frames": [{"frame_type": "new_token", "token": {"raw": {"data": "aa"}}}],
            "stateless_reset_token": "bb",
        },
    ),
    (
        "http:frame_created",
        {"stream_id": 0, "frame": {"frame_type": "headers", "header_fields": []}},
        {"stream_id": 0, "frame": {"frame_type": "headers", "headers": []}},
    ),
    (
        "transport:packet_sent",
        {"frames": [{"frame_type": "connection_close", "error_code": "x", "raw_error_code": 7}]},
        {"frames": [{"frame_type": "connection_close", "error": "x"}]},
    ),
    (
        "transport:packet_sent",
        {"frames": [{"frame_type": "connection_close", "error_code": 0x128}]},
        {"frames": [{"frame_type": "connection_close", "error": "crypto_error_0x128"}]},
    ),
]


def write(folder: Path, content: bytes, name: str = "in.sqlog") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def records(path: Path) -> list[Any]:
    text = path.read_bytes()
    if text.startswith(b"\x1e"):
        return [json.loads(record) for record in text.split(b"\x1e")[1:]]
    document = json.loads(text)
    return [{**document, "traces": []}, *document["traces"][0]["events"]]


def event(name: str, data: dict[str, Any], newest: str) -> Event:
    return Event(Trace(0, Era.V03), 0, 1.0, newest, name, data, {"name": name, "data": data}, "", 0)


@pytest.mark.parametrize(("old", "old_data", "new", "new_data"), SAME, ids=[same[0] for same in SAME])
def test_both_ways(old: str, old_data: dict[str, Any], new: str, new_data: dict[str, Any]) -> None:
    dropped = Dropped()
    up = upgraded(event(old, old_data, new), dropped)
    assert (up.name, up.data) == (new, new_data)
    down = downgraded(upgraded(event(new, new_data, new), dropped), dropped)
    assert (down.name, down.data) == (old, old_data)
    assert dropped.lines() == []


@pytest.mark.parametrize(("name", "data", "newest"), ODD, ids=[f"{o[0]}{i}" for i, o in enumerate(ODD)])
def test_odd_spellings(name: str, data: dict[str, Any], newest: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path, sequence(HEADER_03, [{"time": 0, "name": name, "data": data}]))
    out = tmp_path / "out.sqlog"
    convert_file(path, out, "newest")
    assert records(out)[1]["data"] == newest


@pytest.mark.parametrize("form", ["json", "json-seq"])
def test_newest_to_03_and_back(form: Any, tmp_path: Path) -> None:
    written = events("newest", full=False)
    path = write(tmp_path, sequence(HEADER, written))
    old, back = tmp_path / "old.qlog", tmp_path / "back.sqlog"
    dropped = convert_file(path, old, "0.3", form)
    assert any("reference_time" in line for line in dropped.lines())
    assert convert_file(old, back, "newest", "json-seq").lines() == []
    header, *found = records(back)
    assert header["trace"]["vantage_point"] == {"type": "client"}
    assert header["trace"]["common_fields"]["group_id"] == "c0ffee"
    assert header["trace"]["common_fields"]["reference_time"] == {
        "clock_type": "monotonic",
        "epoch": "unknown",
    }
    assert found == written
    assert validate_file(back, strict=True).findings == []


def test_times_since_1970_survive_0_3(tmp_path: Path) -> None:
    """As the upgrade of absolute times writes them."""
    header = json.loads(json.dumps(HEADER))
    clock = {"clock_type": "system", "epoch": "1970-01-01T00:00:00.000Z"}
    header["trace"]["common_fields"]["reference_time"] = clock
    path = write(tmp_path, sequence(header, events("newest", full=False)))
    old, back = tmp_path / "old.qlog", tmp_path / "back.sqlog"
    convert_file(path, old, "0.3", "json-seq")
    assert records(old)[0]["trace"]["common_fields"]["time_format"] == "absolute"
    convert_file(old, back, "newest", "json-seq")
    assert records(back)[0]["trace"]["common_fields"]["reference_time"] == clock
    assert records(back)[1:] == records(path)[1:]


def test_no_spin_bit_comes_back_that_nobody_logged(tmp_path: Path) -> None:
    header = {"packet_type": "1RTT", "packet_number": 1, "packet_number_length": 2}
    path, old, back = (tmp_path / name for name in ("a.sqlog", "b.sqlog", "c.sqlog"))
    path.write_bytes(
        sequence(HEADER, [{"time": 1.0, "name": "quic:packet_sent", "data": {"header": header}}])
    )
    convert_file(path, old, "0.3")
    convert_file(old, back, "newest")
    (event,) = Reader(back).events()
    assert event.data["header"] == header


def test_all_fields_survive_0_3(tmp_path: Path) -> None:
    written = events("newest", full=True)
    path = write(tmp_path, sequence(HEADER, written))
    old, back = tmp_path / "old.qlog", tmp_path / "back.sqlog"
    convert_file(path, old, "0.3")
    convert_file(old, back, "newest")
    changed = {one["name"] for one, other in zip(written, records(back)[1:], strict=True) if one != other}
    # Of a name and a number for one error, of two addresses or two forms of an ALPN, 0.3 has one.
    assert changed == {
        "quic:alpn_information",
        "quic:connection_closed",
        "quic:connection_started",
        "quic:packet_sent",
        "quic:packet_received",
        "quic:packet_lost",
        "quic:frames_created",
        "quic:frames_parsed",
        "quic:marked_for_retransmit",
    }


def test_03_to_newest_and_back(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        sequence(HEADER_03, [{"time": i, "name": s[0], "data": s[1]} for i, s in enumerate(SAME)]),
    )
    new, back = tmp_path / "new.qlog", tmp_path / "back.sqlog"
    assert convert_file(path, new, "newest", "json").lines() == []
    assert convert_file(new, back, "0.3", "json-seq").lines() == ["event_schemas: 0.3 has none (1x)"]
    assert records(back)[1:] == records(path)[1:]
    assert records(back)[0]["trace"]["common_fields"]["reference_time"] == 1000


def test_rows(tmp_path: Path) -> None:
    out = tmp_path / "out.sqlog"
    convert_file(write(tmp_path, json.dumps(ROWS).encode(), "in.qlog"), out, "newest", "json-seq")
    header, sent, metrics = records(out)
    assert header["trace"]["common_fields"]["group_id"] == "c0ffee"
    assert (sent["time"], sent["name"]) == (1.5, "quic:packet_sent")
    assert sent["data"] == {
        "header": {"packet_type": "1RTT", "packet_number": "7"},
        "raw": {"length": 100},
        "frames": [
            {"frame_type": "stream", "stream_id": 4, "offset": 0, "raw": {"length": 20}},
            {"frame_type": "ack", "ack_delay": 3.0, "acked_ranges": [[0, 1]]},
        ],
    }
    assert metrics["data"] == {"congestion_window": 12000, "smoothed_rtt": 20.0}
    assert validate_file(out).valid


def test_deltas_and_dates(tmp_path: Path) -> None:
    header = json.loads(json.dumps(HEADER_03))
    header["trace"]["common_fields"] = {"time_format": "delta", "reference_time": 1700000000123}
    marks: list[Any] = [{"time": time, "name": "transport:data_moved", "data": {}} for time in (0, 1.5, 2)]
    out = tmp_path / "out.sqlog"
    convert_file(write(tmp_path, sequence(header, marks)), out, "newest")
    written = records(out)
    assert [record["time"] for record in written[1:]] == [0, 1.5, 3.5]
    assert written[0]["trace"]["common_fields"]["reference_time"] == {
        "clock_type": "system",
        "epoch": "2023-11-14T22:13:20.123000Z",
    }
    assert validate_file(out, strict=True).findings == []


def test_several_traces(tmp_path: Path) -> None:
    document = contained(HEADER, events("newest", full=False))
    document["traces"].append({"error_description": "gone", "uri": "x"})
    document["traces"].append(document["traces"][0])
    path = write(tmp_path, json.dumps(document).encode(), "in.qlog")
    out = tmp_path / "out.qlog"
    convert_file(path, out, "0.3")
    traces = json.loads(out.read_bytes())["traces"]
    count = len(document["traces"][0]["events"])
    assert [len(trace.get("events", [])) for trace in traces] == [count, 0, count]
    assert traces[1] == {"error_description": "gone", "uri": "x"}
    with pytest.raises(ConversionError, match="split"):
        convert_file(path, out, "newest", "json-seq")


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, sequence(HEADER, events("newest", full=False)))
    out = tmp_path / "out.qlog"
    assert main(["qlog", "convert", str(path), "--to", "0.3", "--json", "-o", str(out)]) == 0
    assert "dropped: event_schemas: 0.3 has none (1x)" in capsys.readouterr().out
    assert json.loads(out.read_bytes())["qlog_format"] == "JSON"
    for arguments in (
        [str(path), "--to", "0.3", "-o", str(path)],
        [str(tmp_path / "missing"), "--to", "0.3", "-o", str(out)],
        [str(path), "--to", "0.3", "-o", str(tmp_path / "no" / "folder")],
    ):
        assert main(["qlog", "convert", *arguments]) == 2
        assert "interquic: " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["qlog", "convert", str(path), "--to", "0.4", "-o", str(out)])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)
ALL = [(e["name"], e["data"]) for e in [*events("newest", full=True), *events("v03", full=True)]]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(ALL), st.data())
def test_whatever_is_in_an_event(sample: tuple[str, Any], data: st.DataObject) -> None:
    """Traces may hold anything; converters pass it on."""
    name, value = sample
    copied = json.loads(json.dumps(value))
    holder: Any = copied
    while isinstance(holder, dict | list) and holder:
        key = data.draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
        if data.draw(st.booleans()) or not isinstance(holder[key], dict | list):
            holder[key] = data.draw(JSON)
            break
        holder = holder[key]
    dropped = Dropped()
    made = event(name, copied, newest(name).name)
    record = upgraded(made, dropped)
    container.encoded(container.event_object(downgraded(record, dropped)))
    drawn = side.Side(made.trace, "", "")
    drawn.add(made, dropped)
    drawn.flush()
    json.loads(drawn.entries[0][2])
    shown = report.Side(made.trace, "", "")
    shown.add(0, record, report.Words())
    json.dumps(shown.columns(0.0))
