"""`interquic qlog qvis`: every field that a view of qvis reads is there, and nothing that it trips over."""

import json
from pathlib import Path
from typing import Any

import pytest
from qlog_samples import HEADER, HEADER_03, events, sequence

from endpoint.cli.main import main
from qlog.convert.qvis import Export, Window, export

# How long packets take, and what the server's clock is ahead by; ms.
WAY, AHEAD = 10.0, 5000.0

Packet = tuple[float, str, str, int, int, list[dict[str, Any]]]

REQUEST = {"frame_type": "stream", "stream_id": 0, "fin": True, "raw": {"length": 18}}
SECOND = {"frame_type": "stream", "stream_id": 4, "fin": True, "raw": {"length": 18}}


def data_frame(stream: int, offset: int) -> dict[str, Any]:
    return {"frame_type": "stream", "stream_id": stream, "offset": offset, "raw": {"length": 1000}}


def connection() -> list[Packet]:
    """Time of sending by the client's clock, sender, type, number, size and frames."""
    packets: list[Packet] = [
        (0.0, "client", "initial", 0, 1200, [{"frame_type": "crypto", "offset": 0, "raw": {"length": 280}},
                                             {"frame_type": "padding", "raw": {"payload_length": 850}}]),
        (WAY, "server", "initial", 0, 1200, [{"frame_type": "ack", "acked_ranges": [[0, 0]]},
                                             {"frame_type": "crypto", "offset": 0, "raw": {"length": 90}}]),
        (2 * WAY, "client", "1RTT", 0, 90, [REQUEST, SECOND]),
    ]  # fmt: skip
    for number in range(1, 9):
        frames = [data_frame(4 * (number % 2), number // 2 * 1000)]
        packets.append((3 * WAY + number, "server", "1RTT", number, 1040, frames))
    ack = {"frame_type": "ack", "acked_ranges": [[1, 4], [6, 8]]}
    packets.append((4 * WAY + 9, "client", "1RTT", 1, 40, [ack, {"frame_type": "max_data", "maximum": 9000}]))
    return packets


def log(role: str, *, lost: int = 5) -> list[dict[str, Any]]:
    """What one side writes, in the newest words."""
    shift = AHEAD if role == "server" else 0.0
    found = []

    def note(time: float, name: str, data: dict[str, Any]) -> None:
        found.append({"time": time + shift, "name": name, "data": data})

    note(WAY if role == "server" else 0.0, "quic:parameters_set",
         {"initiator": "remote", "initial_max_data": 9000, "initial_max_stream_data_bidi_remote": 5000,
          "max_udp_payload_size": 1472})  # fmt: skip
    for time, sender, kind, number, size, frames in connection():
        data = {
            "header": {"packet_type": kind, "packet_number": number},
            "raw": {"length": size},
            "frames": frames,
        }
        if sender == role:
            note(time, "quic:packet_sent", data)
        elif not (kind == "1RTT" and number == lost and sender == "server"):
            note(time + WAY, "quic:packet_received", data)
    note(60.0, "quic:recovery_metrics_updated",
         {"congestion_window": 12000, "bytes_in_flight": 1040, "latest_rtt": 20.0, "smoothed_rtt": 20.0,
          "min_rtt": 20.0})  # fmt: skip
    if role == "server":
        note(
            60.0, "quic:packet_lost", {"header": {"packet_type": "1RTT", "packet_number": lost}, "frames": []}
        )
        note(60.0, "http3:frame_parsed", {"stream_id": 0, "frame": {"frame_type": "headers", "headers": [
            {"name": ":path", "value": "/"}], "raw": {"length": 18, "payload_length": 16}}})  # fmt: skip
        note(61.0, "http3:frame_created",
             {"stream_id": 0, "frame": {"frame_type": "data", "raw": {"length": 1003}}})  # fmt: skip
        note(61.0, "quic:stream_data_moved", {"stream_id": 0, "offset": 0, "from": "application",
             "to": "transport", "raw": {"length": 1000}})  # fmt: skip
    return sorted(found, key=lambda event: event["time"])


def write(folder: Path, role: str, records: list[dict[str, Any]], group: str = "c0ffee") -> Path:
    header = json.loads(json.dumps(HEADER))
    header["trace"]["vantage_point"] = {"type": role}
    header["trace"]["common_fields"]["group_id"] = group
    path = folder / f"{role}{group}.sqlog"
    path.write_bytes(sequence(header, records))
    return path


def exported(folder: Path, paths: list[Path], most: int = 10_000, **options: Any) -> tuple[Any, Export]:
    out = folder / "out.qlog"
    result = export(paths, out, max_events=most, **options)
    return json.loads(out.read_bytes()), result


def both(folder: Path) -> list[Path]:
    """Server first: the order of files must not matter."""
    return [write(folder, "server", log("server")), write(folder, "client", log("client"))]


def named(trace: Any, name: str) -> list[Any]:
    return [event for event in trace["events"] if event["name"] == name]


def packets(trace: Any) -> list[Any]:
    return [event for event in trace["events"] if event["name"].startswith("transport:packet_")]


def test_loads_without_an_alert(tmp_path: Path) -> None:
    document, _ = exported(tmp_path, both(tmp_path))
    text = (tmp_path / "out.qlog").read_bytes()
    assert text.startswith(b'{"qlog_version":"0.3","qlog_format":"JSON"')
    assert b"NDJSON" not in text[:1024]
    assert b"JSON-SEQ" not in text[:1024]
    for trace in document["traces"]:
        times = [event["time"] for event in trace["events"]]
        assert times == sorted(times)
        assert times[0] >= 0
        assert not any("group_id" in event for event in trace["events"])
        assert trace["common_fields"]["time_format"] == "relative"
        assert isinstance(trace["common_fields"]["reference_time"], float | int)
        assert trace["title"]
        for event in trace["events"]:
            assert isinstance(event["data"], dict)
            header = event["data"].get("header", {})
            assert not {"packet_size", "payload_length"} & set(header)
            assert not event["name"].startswith("quic:")
    assert [trace["vantage_point"]["type"] for trace in document["traces"]] == ["client", "server"]


def test_sequence_view(tmp_path: Path) -> None:
    """Equal types and numbers on both sides, and one clock."""
    client, server = exported(tmp_path, both(tmp_path))[0]["traces"]

    def times(trace: Any, name: str) -> dict[tuple[str, int], float]:
        return {
            (event["data"]["header"]["packet_type"], event["data"]["header"]["packet_number"]): event["time"]
            for event in named(trace, f"transport:{name}")
        }

    arrived = times(server, "packet_received")
    assert {key: arrived[key] - time for key, time in times(client, "packet_sent").items()} == {
        ("initial", 0): WAY, ("1RTT", 0): WAY, ("1RTT", 1): WAY,
    }  # fmt: skip
    assert set(times(server, "packet_sent")) - set(times(client, "packet_received")) == {("1RTT", 5)}
    assert named(client, "recovery:metrics_updated")[0]["data"]["cwnd"] == 12000


def test_qvis_moves_the_server_to_where_it_belongs(tmp_path: Path) -> None:
    """It adds the distance between the first Initial's reception and half a round trip after the sending."""
    slow = log("client")
    for event in slow:
        if event["name"] == "quic:recovery_metrics_updated":
            event["data"]["latest_rtt"] = 8.0
    paths = [write(tmp_path, "client", slow), write(tmp_path, "server", log("server"))]
    server = exported(tmp_path, paths)[0]["traces"][1]
    received = next(event["time"] for event in packets(server) if event["name"].endswith("received"))
    assert received + abs(received - 8.0 / 2) == pytest.approx(WAY)


def test_congestion_view(tmp_path: Path) -> None:
    server = exported(tmp_path, both(tmp_path))[0]["traces"][1]
    for event in named(server, "transport:packet_sent"):
        assert event["data"]["raw"]["length"] > 0
        assert {"packet_type", "packet_number"} <= set(event["data"]["header"])
    acks = [
        frame
        for event in named(server, "transport:packet_received")
        for frame in event["data"]["frames"]
        if frame["frame_type"] == "ack"
    ]
    assert acks[0]["acked_ranges"] == [[1, 4], [6, 8]]
    lost = named(server, "recovery:packet_lost")[0]["data"]
    assert lost["header"] == {"packet_type": "1RTT", "packet_number": 5}
    assert "frames" not in lost
    metrics = named(server, "recovery:metrics_updated")[0]["data"]
    assert {"congestion_window", "bytes_in_flight", "min_rtt", "smoothed_rtt", "latest_rtt"} <= set(metrics)
    limits = named(server, "transport:parameters_set")[0]["data"]
    assert limits["owner"] == "remote"
    assert limits["initial_max_data"] == 9000
    assert limits["initial_max_stream_data_bidi_remote"] == 5000
    limit = named(server, "transport:packet_received")[-1]["data"]["frames"][1]
    assert (limit["frame_type"], limit["maximum"]) == ("max_data", 9000)


def test_multiplexing_view(tmp_path: Path) -> None:
    client, server = exported(tmp_path, both(tmp_path))[0]["traces"]
    for trace, name in ((client, "transport:packet_received"), (server, "transport:packet_sent")):
        frames = [
            frame
            for event in named(trace, name)
            for frame in event["data"]["frames"]
            if frame["frame_type"] == "stream"
        ]
        assert len(frames) >= 5
        assert all({"stream_id", "offset", "length"} <= set(frame) for frame in frames)
        assert {frame["length"] for frame in frames} == {1000}
        assert {frame["stream_id"] for frame in frames} == {0, 4}
    request = named(server, "http:frame_parsed")[0]["data"]["frame"]
    assert request["headers"] == [{"name": ":path", "value": "/"}]
    moved = named(server, "http:data_moved")[0]["data"]
    assert {"stream_id": 0, "offset": 0, "length": 1000, "to": "transport"}.items() <= moved.items()


def test_packetization_view(tmp_path: Path) -> None:
    for trace in exported(tmp_path, both(tmp_path))[0]["traces"]:
        for event in packets(trace):
            data = event["data"]
            sizes = [frame["frame_size"] for frame in data["frames"]]
            assert all(type(size) is int and size > 0 for size in sizes)
            assert sum(sizes) + 16 == data["raw"]["payload_length"] <= data["raw"]["length"]
        assert named(trace, "transport:parameters_set")[0]["data"]["max_packet_size"] == 1472
    assert named(trace, "http:frame_parsed")[0]["data"]["byte_length"] == 16
    # 1003 bytes: one of type, two of length.
    assert named(trace, "http:frame_created")[0]["data"]["byte_length"] == 1000
    assert "byte_length" not in named(trace, "http:frame_created")[0]["data"]["frame"]


def test_frames_that_crash_views(tmp_path: Path) -> None:
    """No empty list of frames, no frame without a type, no packet without a header."""
    odd = [
        {"time": 0, "name": "quic:packet_sent", "data": {}},
        {"time": 0, "name": "quic:packet_sent", "data": {"header": {"packet_type": []}, "frames": []}},
        {"time": 0, "name": "quic:packet_received", "data": {"header": {}, "frames": [{}, 5]}},
        {"time": 0, "name": "quic:packet_lost", "data": {}},
        {"time": 0, "name": "quic:packet_dropped", "data": {"packet_type": "initial"}},
        {"time": 0, "name": "quic:recovery_metrics_updated", "data": None},
        {
            "time": 0,
            "name": "http3:frame_created",
            "data": {"stream_id": 0, "frame": {"frame_type": "headers"}},
        },
        {"time": 0, "name": "quic:packet_sent", "data": {"header": {"packet_type": "1RTT"}, "raw": True}},
    ]
    trace = exported(tmp_path, [write(tmp_path, "client", odd)])[0]["traces"][0]
    for event in trace["events"][:5]:
        assert isinstance(event["data"]["header"]["packet_type"], str)
        frames = event["data"].get("frames")
        assert frames is None or (frames and all(isinstance(frame["frame_type"], str) for frame in frames))
    assert trace["events"][5]["data"] == {}
    assert trace["events"][6]["data"]["frame"]["headers"] == []


def test_acknowledgements_that_stacks_log_apart(tmp_path: Path) -> None:
    header = {"packet_type": "1RTT", "packet_number": 1}
    records = [
        {"time": 0, "name": "quic:packet_received", "data": {"header": header, "raw": {"length": 40}}},
        {"time": 0, "name": "quic:packets_acked", "data": {"packet_numbers": [4, 5]}},
        {"time": 1, "name": "quic:packet_received", "data": {"header": header, "raw": {"length": 40}}},
    ]
    trace = exported(tmp_path, [write(tmp_path, "client", records)])[0]["traces"][0]
    acks = [event["data"].get("frames") for event in named(trace, "transport:packet_received")]
    assert acks == [[{"frame_type": "ack", "acked_ranges": [[4, 4], [5, 5]]}], None]


def test_acks_of_packets_that_are_not_shown(tmp_path: Path) -> None:
    """For each of them qvis would print an error, for each ACK again."""
    ack = [{"frame_type": "ack", "acked_ranges": [[0, 3], [5, 9], [12, 20]]}]
    records = [
        {"time": 0, "name": "quic:packet_received",
         "data": {"header": {"packet_type": "1RTT", "packet_number": 7}}},
        {"time": 1, "name": "quic:packet_sent",
         "data": {"header": {"packet_type": "1RTT", "packet_number": 0}, "frames": ack}},
    ]  # fmt: skip
    trace = exported(tmp_path, [write(tmp_path, "client", records)])[0]["traces"][0]
    assert trace["events"][1]["data"]["frames"][0]["acked_ranges"] == [[7, 9], [12, 20]]


def test_thinning(tmp_path: Path) -> None:
    """Boxes go first, then metrics; packets are only ever cut off at the end, on both sides at one time."""
    records = [event for event in log("server") if event["name"] != "quic:recovery_metrics_updated"]
    many = []
    for index in range(400):
        time = AHEAD + 100 + index
        data = {"header": {"packet_type": "1RTT", "packet_number": 9 + index}, "raw": {"length": 50}}
        many.append({"time": time, "name": "quic:packet_sent", "data": data})
        many.append({"time": time, "name": "quic:timer_updated", "data": {"event_type": "set"}})
        many.append(
            {"time": time, "name": "quic:recovery_metrics_updated", "data": {"bytes_in_flight": index}}
        )
    paths = [write(tmp_path, "server", records + many), write(tmp_path, "client", log("client"))]
    document, result = exported(tmp_path, paths, 600)
    client, server = document["traces"]
    assert not named(server, "recovery:loss_timer_updated")
    assert 90 <= len(named(server, "recovery:metrics_updated")) <= 210
    assert sum(len(trace["events"]) for trace in document["traces"]) <= 600
    assert [text for side in result.pairs[0] for text in side.thinned] != []
    numbers = [event["data"]["header"]["packet_number"] for event in named(server, "transport:packet_sent")]
    assert numbers == [0, *range(1, len(numbers))]
    assert client["events"][-1]["time"] <= server["events"][-1]["time"]


def test_window(tmp_path: Path) -> None:
    path = write(tmp_path, "client", log("client"))
    whole = exported(tmp_path, [path])[0]["traces"][0]["events"]
    part = exported(tmp_path, [path], window=Window(41.5, 46.0))[0]["traces"][0]["events"]
    assert 0 < len(part) < len(whole)
    assert part[-1]["time"] - part[0]["time"] <= 4.5


def test_who_is_who(tmp_path: Path) -> None:
    """Roles are guessed from the first Initial, sides are paired by connection."""
    paths = [
        write(tmp_path, "unknown", log("server"), "a1"),
        write(tmp_path, "client", log("client"), "b2"),
        write(tmp_path, "client", log("client"), "a1"),
    ]
    document, result = exported(tmp_path, paths)
    assert [[side.group_id for side in pair] for pair in result.pairs] == [["a1", "a1"], ["b2"]]
    assert [trace["vantage_point"]["type"] for trace in document["traces"]] == ["client", "server", "client"]


@pytest.mark.parametrize("delay", [1e308, -1e308, 2**64 - 1])
def test_an_ack_delay_beyond_all_numbers(delay: float, tmp_path: Path) -> None:
    ack = {"frame_type": "ack", "acked_ranges": [[0, 3]], "ack_delay": delay}
    data = {"header": {"packet_type": "1RTT", "packet_number": 1}, "frames": [ack]}
    document, _ = exported(
        tmp_path, [write(tmp_path, "client", [{"time": 1, "name": "quic:packet_sent", "data": data}])]
    )
    assert len(document["traces"][0]["events"]) == 1


def test_one_file_with_many_connections(tmp_path: Path) -> None:
    records = [{**event, "group_id": group} for group in ("a1", "b2") for event in log("client")]
    document, _ = exported(tmp_path, [write(tmp_path, "client", records)])
    assert [trace["common_fields"]["ODCID"] for trace in document["traces"]] == ["a1", "b2"]


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It tells what each view lacks."""
    paths = [str(path) for path in both(tmp_path)]
    out = str(tmp_path / "out.qlog")
    assert main(["qlog", "qvis", *paths, "-o", out]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "complete" not in line] == [
        f"clientc0ffee.sqlog: client c0ffee: {len(log('client'))} events",
        "  congestion: no packet_lost: nothing is drawn lost",
        "  packetization: no HTTP/3 frames: their lane is empty",
        f"serverc0ffee.sqlog: server c0ffee: {len(log('server'))} events",
    ]
    assert main(["qlog", "qvis", paths[0], "-o", out]) == 0
    assert "nothing is drawn lost" in capsys.readouterr().out
    bare = tmp_path / "bare.sqlog"
    bare.write_bytes(sequence(HEADER, [{"time": 0, "name": "quic:packet_sent", "data": {}}]))
    assert main(["qlog", "qvis", str(bare), "-o", out]) == 0
    found = capsys.readouterr().out
    for lack in ("no arrows", "nothing is drawn sent", "no round-trip times", "no waterfall", "no frames"):
        assert lack in found
    empty = tmp_path / "empty.sqlog"
    empty.write_bytes(sequence(HEADER, []))
    assert main(["qlog", "qvis", str(empty), "-o", out]) == 2
    assert main(["qlog", "qvis", paths[0], "-o", str(tmp_path / "out.sqlog")]) == 2
    assert main(["qlog", "qvis", paths[0], "-o", paths[0]]) == 2
    capsys.readouterr()
    assert main(["qlog", "qvis", paths[0], "-o", out, "--window", "99999-"]) == 2
    assert capsys.readouterr().err == "interquic: no events to draw in this window\n"
    for option, value in (("window", "5"), ("window", "9-3"), ("window", "x-"), ("max-events", "0"),
                          ("max-events", "many")):  # fmt: skip
        with pytest.raises(SystemExit):
            main(["qlog", "qvis", paths[0], "-o", out, f"--{option}", value])
        assert f"argument --{option}: '{value}' is no" in capsys.readouterr().err


@pytest.mark.parametrize("header", [HEADER, HEADER_03], ids=["newest", "0.3"])
def test_every_event_of_every_era(header: Any, tmp_path: Path) -> None:
    path = tmp_path / "in.sqlog"
    path.write_bytes(sequence(header, events("newest" if header is HEADER else "v03", full=True)))
    document, _ = exported(tmp_path, [path])
    assert len(document["traces"][0]["events"]) == len(
        events("newest" if header is HEADER else "v03", full=True)
    )
