"""`interquic qlog cat` and `interquic qlog checks`."""

import json
from pathlib import Path

import pytest
from qlog_samples import sequence
from qlog_traces import client

from endpoint.cli.main import main
from qlog.checks import ALL


@pytest.fixture
def path(tmp_path: Path) -> str:
    story = client()
    (tmp_path / "trace.sqlog").write_bytes(sequence(story.header, story.events))
    return str(tmp_path / "trace.sqlog")


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["qlog", "cat", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_all_events(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(lines(capsys, path)) == len(client().events)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ["--packet", "9", "--event", "packet_sent"],
            ["1RTT 9 (1030 B) <retransmit_reordered> STREAM 4 [1000..2000)"],
        ),
        (
            ["--packet", "7-8", "--event", "packet_rec*"],
            ["1RTT 7 (100 B) ACK 0-3,5-11", "1RTT 8 (100 B) ACK 0-3,5-13"],
        ),
        (["--event", "recovery:metrics_updated"], []),
        (["--event", "quic:key_*"], ["key_type=client_1rtt_secret key_phase=1 trigger=local_update"]),
        (
            ["--stream", "8"],
            ["STREAM 8 [0..10)", "RESET_STREAM stream_id=8 error=http_request_cancelled final_size=10"],
        ),
        (["--stream", "3", "--event", "frame_parsed"], ["stream 3 SETTINGS"]),
        (["--from", "119", "--to", "120", "--event", "packet_lost"], ["1RTT 4 <reordering_threshold>"]),
        (["--from", "5", "--to", "6"], []),
        (["--group", "nobody"], []),
        (
            ["--event", "recovery_metrics_updated", "--to", "1"],
            ["congestion_window=12000 bytes_in_flight=1200"],
        ),
    ],
)
def test_filters(
    options: list[str], expected: list[str], path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = lines(capsys, path, *options)
    assert len(found) == len(expected)
    for line, part in zip(found, expected, strict=True):
        assert part in line


def test_lines_have_time_index_and_name(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = lines(capsys, path, "--event", "packet_lost")
    assert line.split()[:3] == ["119.800", "45", "packet_lost"]


def test_json(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = lines(capsys, path, "--event", "packet_lost", "--format", "json")
    event = json.loads(line)
    assert (event["event"], event["time_from_start"], event["name"]) == (45, 119.8, "quic:packet_lost")
    assert event["fields"]["data"]["trigger"] == "reordering_threshold"


def test_unreadable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["qlog", "cat", str(tmp_path / "missing")]) == 2
    assert "interquic: " in capsys.readouterr().err


@pytest.mark.parametrize("packets", ["x", "9-3", "-", "3-", "-3"])
def test_packets_that_are_none(packets: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["qlog", "cat", str(tmp_path), f"--packet={packets}"])
    assert ended.value.code == 2
    assert f"argument --packet: '{packets}' is neither a number nor N-M" in capsys.readouterr().err


def test_list_of_checks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["qlog", "checks"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {check.id}  " in text for check in ALL)
    assert main(["qlog", "checks", "--format", "json"]) == 0
    assert [one["id"] for one in json.loads(capsys.readouterr().out)] == [check.id for check in ALL]


def test_explained_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["qlog", "checks", "--explain", "p09"]) == 0
    text = capsys.readouterr().out
    assert "RFC 9000 §14.1" in text
    assert "A client pads every datagram" in text
    assert main(["qlog", "checks", "--explain", "P99"]) == 2
    assert "P99" in capsys.readouterr().err
