"""`interquic qlog pair`: what two traces of one connection tell together."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from qlog_samples import sequence
from qlog_traces import ODCID, PING, Story, ack, client, server, stream

from endpoint.cli.main import main
from qlog.pair import Report, pair
from qlog.source import UnreadableFileError
from qlog.writer import TraceWriter, trace_header


def write(folder: Path, *stories: Story) -> list[Path]:
    paths = []
    for index, story in enumerate(stories):
        paths.append(folder / f"{index}.sqlog")
        paths[-1].write_bytes(sequence(story.header, story.events))
    return paths


def paired(folder: Path, one: Story, other: Story) -> Report:
    paths = write(folder, one, other)
    return pair(paths[0], paths[1])


def test_two_sides_that_agree(tmp_path: Path) -> None:
    report = paired(tmp_path, client(), server())
    assert report.findings == []
    # The server's clock is 1000 ms ahead, each way takes 10 ms.
    assert report.clock_offset == pytest.approx(1000.0)
    assert report.client_to_server.delay["median"] == pytest.approx(10.0)
    assert report.rtt["client"] == {"min": 20.0, "median": 20.0, "max": 20.0}
    there, back = report.client_to_server, report.server_to_client
    assert (there.sent, there.received, there.vanished, there.reordered) == (18, 17, 1, 0)
    assert (back.sent, back.received, back.vanished) == (11, 11, 0)
    (gap,) = there.gaps
    assert (gap.space, gap.first, gap.last, gap.fate, gap.sender) == (
        "application_data",
        4,
        4,
        "network",
        "lost",
    )
    assert gap.time == pytest.approx(99.75)


def test_the_same_in_other_words(tmp_path: Path) -> None:
    """As aioquic and ngtcp2 write it."""
    here, there = client(), server()
    there.add(1011.2, "quic:version_information", chosen_version=1)
    here.find("quic:parameters_set", initiator="remote")["stateless_reset_token"] = "ab" * 16
    there.find("quic:parameters_set", initiator="local")["stateless_reset_token"] = {"data": "ab" * 16}
    assert paired(tmp_path, here, there).findings == []


def test_order_of_the_files_does_not_matter(tmp_path: Path) -> None:
    report = paired(tmp_path, server(), client())
    assert report.client.endswith("1.sqlog")
    assert report.client_to_server.vanished == 1


def test_reordering(tmp_path: Path) -> None:
    story = server()
    for event in story.events:
        if event["data"].get("header", {}).get("packet_number") == 5 and event["time"] > 1110:
            event["time"] += 0.5
    story.events.sort(key=lambda event: event["time"])
    assert paired(tmp_path, client(), story).client_to_server.reordered == 1


def unsent(_: Story, there: Story) -> None:
    there.received(1300.0, "1RTT", 17, PING)


def other_length(_: Story, there: Story) -> None:
    there.packet("1RTT", 11, sent=False)["raw"]["length"] = 101


def other_frames(_: Story, there: Story) -> None:
    there.packet("1RTT", 12, sent=False)["frames"] = [stream(8, 0, 9)]


def other_type(here: Story, there: Story) -> None:
    del here
    there.packet("1RTT", 11, sent=False)["header"]["packet_type"] = "0RTT"


def too_early(_: Story, there: Story) -> None:
    there.packet("1RTT", 11, sent=False)
    for event in there.events:
        if event["data"].get("header", {}).get("packet_number") == 11:
            event["time"] = 1150.0
    there.events.sort(key=lambda event: event["time"])


def other_group(_: Story, there: Story) -> None:
    there.header["trace"]["common_fields"]["group_id"] = "ff"


def other_parameter(_: Story, there: Story) -> None:
    there.find("quic:parameters_set", initiator="remote")["initial_max_data"] = 5


def not_shown(_: Story, there: Story) -> None:
    there.events = [
        event for event in there.events if event["data"].get("header", {}).get("packet_number") != 13
    ]


def other_version(here: Story, there: Story) -> None:
    del here
    there.add(1011.2, "quic:version_information", chosen_version="6b3343cf")


def late(_: Story, there: Story) -> None:
    there.received(1115.0, "1RTT", 4, stream(4, 1000, 1000), length=1030, header={"key_phase": 0})


def other_checksum(here: Story, there: Story) -> None:
    here.packet("1RTT", 11)["datagram_payload_checksum"] = 1
    there.packet("1RTT", 11, sent=False)["datagram_payload_checksum"] = 2


@pytest.mark.parametrize(
    ("change", "rule", "message"),
    [
        (unsent, "C01", "never sent"),
        (other_length, "C01", "100 bytes and received with 101"),
        (other_frames, "C01", "other frames"),
        (other_type, "C01", "sent as 1RTT and received as 0RTT"),
        (too_early, "C02", "there and back"),
        (other_group, "C03", "'ff' at the server"),
        (other_parameter, "C04", "initial_max_data 100000"),
        (not_shown, "C05", "packet 13 was acknowledged"),
        (other_version, "C06", "6b3343cf at the server"),
        (late, "C07", "packet 4 was declared lost"),
        (other_checksum, "C08", "another checksum"),
    ],
)
def test_contradictions(
    change: Callable[[Story, Story], None], rule: str, message: str, tmp_path: Path
) -> None:
    here, there = client(), server()
    change(here, there)
    findings = paired(tmp_path, here, there).findings
    assert [(one.rule, message in one.message) for one in findings] == [(rule, True)], findings


def test_what_the_receiver_dropped(tmp_path: Path) -> None:
    there = server()
    header = {"packet_type": "1RTT", "packet_number": 4}
    there.add(1110.25, "quic:packet_dropped", header=header, trigger="decryption_failure")
    assert paired(tmp_path, client(), there).client_to_server.gaps[0].fate == "dropped"


def test_a_receiver_that_ends_early(tmp_path: Path) -> None:
    there = server()
    there.events = [event for event in there.events if event["time"] < 1200]
    gaps = paired(tmp_path, client(), there).client_to_server.gaps
    assert [(gap.first, gap.last, gap.fate) for gap in gaps[1:]] == [
        (11, 13, "after the receiver's last event"),
        (20, 20, "after the receiver's last event"),
    ]


def test_one_of_several_connections(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stories = client(), server()
    for story in stories:
        for event in list(story.events):
            story.events.append({**event, "group_id": ODCID})
    one, other = write(tmp_path, *stories)
    with pytest.raises(UnreadableFileError, match="2 connections in common"):
        pair(one, other)
    assert pair(one, other, ODCID).group_id == ODCID
    assert main(["qlog", "pair", str(one), str(other)]) == 2
    assert "--group" in capsys.readouterr().err


def test_nothing_in_common(tmp_path: Path) -> None:
    story = server()
    story.events.append({**story.events[-1], "group_id": "other"})
    story.header["trace"]["common_fields"]["group_id"] = "another"
    with pytest.raises(UnreadableFileError, match="no connection in common"):
        paired(tmp_path, client(), story)


def test_one_side_twice(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="both traces are of the client"):
        paired(tmp_path, client(), client())


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = [str(path) for path in write(tmp_path, client(), server())]
    assert main(["qlog", "pair", *good]) == 0
    text = capsys.readouterr().out
    assert "1 vanished (5.56 %)" in text
    assert "at 99.750 ms application_data 4: network, to the sender lost" in text
    assert main(["qlog", "pair", *good, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["client_to_server"]["gaps"][0]["first"] == 4
    here, there = client(), server()
    there.received(1300.0, "1RTT", 17, ack([0]))
    assert main(["qlog", "pair", *(str(path) for path in write(tmp_path, here, there))]) == 1
    assert "never sent" in capsys.readouterr().out
    assert main(["qlog", "pair", good[0], str(tmp_path / "missing")]) == 2


def test_sampled_traces_can_not_be_paired(tmp_path: Path) -> None:
    path = tmp_path / "client.sqlog"
    writer = TraceWriter(path, trace_header("client", group_id="00", sampled=10))
    writer.write(0.0, "quic:packet_sent", {"header": {"packet_type": "initial", "packet_number": 0}})
    writer.close()
    with pytest.raises(UnreadableFileError, match=r"client.sqlog: the trace is sampled"):
        pair(path, path)
