"""`interquic interop dissect`: lines, JSON, qlog, and one clear line for each mistake."""

import argparse
import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from endpoint.admission import always_retry
from endpoint.cli.errors import CommandError
from endpoint.testing.apps import Download
from endpoint.testing.certificates import Chain
from endpoint.testing.link import Datagram
from endpoint.testing.scenario import Scenario
from interop import cli_dissect
from interop.simnet import packets
from interop.simnet.pcap import PcapWriter
from qlog.checks import observers
from qlog.convert.qvis import export
from qlog.validate import validate_file


@dataclass(frozen=True, slots=True)
class Files:
    """A capture of a connection with a Retry, and its key log."""

    capture: str
    keys: str


@pytest.fixture
def files(chain: Chain, valid_from: dt.datetime, seed: int, tmp_path: Path) -> Files:
    lines: list[str] = []
    wall_time = valid_from.timestamp() + 3600
    scenario = Scenario(
        chain=chain, wall_time=wall_time, seed=seed, keylog=lines.append, admission=always_retry
    )
    pair, _ = scenario.download(Download(sizes=[5000]), deadline=5.0)
    capture, keys = tmp_path / "trace.pcapng", tmp_path / "keys.log"
    with PcapWriter(capture) as writer:
        for each in pair.network.captured:
            datagram = Datagram(each.data, each.source, each.destination)
            writer.write(packets.encode(datagram), wall_time + each.time)
    keys.write_text("\n".join(lines))
    return Files(str(capture), str(keys))


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    cli_dissect.add_arguments(parser)
    return cli_dissect.run(parser.parse_args(arguments))


def test_lines(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files.capture, "--keys", files.keys) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("1 0.000000 192.0.2.1:50000 > 198.51.100.1:443 1200 bytes")
    assert lines[1].startswith("    [0] client Initial 0x1 number 0 to ")
    assert "(CLIENT_HELLO)" in lines[1]
    assert lines[3].startswith("    [0] server Retry 0x1 to ")
    assert any("server 1-RTT number" in line and "STREAM 0 " in line for line in lines)
    assert not any("NOT DECRYPTED" in line or "MALFORMED" in line for line in lines)


def test_without_keys(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files.capture) == 0
    assert "NOT DECRYPTED: the key log has no CLIENT_TRAFFIC_SECRET_0" in capsys.readouterr().out


def test_json(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files.capture, "--keys", files.keys, "--json") == 0
    datagrams = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    first = datagrams[0]["packets"][0]
    assert (first["connection"], first["sender"], first["type"], first["number"]) == (
        0,
        "client",
        "Initial",
        0,
    )
    assert first["frames"][0]["frame_type"] == "crypto"
    assert datagrams[1]["packets"][0]["type"] == "Retry"
    assert "number" not in datagrams[1]["packets"][0]


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ("type=retry", {("server", "Retry")}),
        ("side=client type=initial number=0", {("client", "Initial")}),
        ("frame=handshake_done", {("server", "1-RTT")}),
        ("stream=0,side=client", {("client", "1-RTT")}),
        ("connection=1", set()),
        ("problem=yes", set()),
        ("datagram=1-2", {("client", "Initial"), ("server", "Retry")}),
    ],
)
def test_filters(
    files: Files, capsys: pytest.CaptureFixture[str], terms: str, expected: set[tuple[str, str]]
) -> None:
    assert run(files.capture, "--keys", files.keys, "--json", "--filter", terms) == 0
    lines = capsys.readouterr().out.splitlines()
    found = {(packet["sender"], packet["type"]) for line in lines for packet in json.loads(line)["packets"]}
    assert found == expected


def test_qlog(files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it writes is valid, and qvis gets every packet of both sides."""
    folder = tmp_path / "qlog"
    assert run(files.capture, "--keys", files.keys, "--qlog", str(folder)) == 0
    (trace,) = folder.iterdir()
    assert capsys.readouterr().out == f"{trace}\n"
    report = validate_file(trace, observers(), strict=True)
    assert report.findings == []
    records = [json.loads(text) for text in trace.read_text().split("\x1e")[1:]]
    assert records[0]["trace"]["vantage_point"] == {
        "name": "interquic dissect",
        "type": "network",
        "flow": "client",
    }
    names = [record["name"] for record in records[1:]]
    assert names[0] == "quic:connection_started"
    assert names.count("quic:parameters_set") == 2
    kinds = {record["data"]["header"]["packet_type"] for record in records[1:] if "header" in record["data"]}
    assert kinds == {"initial", "retry", "handshake", "1RTT"}
    drawn = tmp_path / "both.qlog"
    export([trace], drawn, max_events=1000)
    assert drawn.read_text().count("packet_received") == names.count("quic:packet_received")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("{missing}",), "No such file"),
        (("{keys}",), "neither a pcap nor a pcapng file"),
        (("{capture}", "--keys", "{missing}"), "key log"),
        (("{capture}", "--keys", "{capture}"), "key log"),
        (("{capture}", "--filter", "colour=red"), "'colour=red' is no filter; there are side="),
        (("{capture}", "--filter", "side=left"), "sides are client, server"),
        (("{capture}", "--filter", "type=nothing"), "types are initial"),
        (("{capture}", "--filter", "number=x"), "not a number or a range"),
        (("{capture}", "--filter", "problem=maybe"), "say yes or no"),
        (("{capture}", "--qlog", "{keys}"), "File exists"),
    ],
)
def test_mistakes(files: Files, tmp_path: Path, arguments: tuple[str, ...], text: str) -> None:
    names = {"capture": files.capture, "keys": files.keys, "missing": str(tmp_path / "none")}
    with pytest.raises(CommandError, match=text):
        run(*(argument.format(**names) for argument in arguments))


def test_a_file_that_breaks_off(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """What there is, is shown; the status tells that it is not all."""
    path = Path(files.capture)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CommandError, match="cut short"):
        run(files.capture, "--keys", files.keys)
    assert "Retry" in capsys.readouterr().out


def test_nothing_to_see(tmp_path: Path) -> None:
    file = tmp_path / "other.pcapng"
    with PcapWriter(file) as writer:
        writer.write(packets.encode(Datagram(b"question", ("10.0.0.1", 5000), ("10.0.0.2", 53))), 0.0)
    with pytest.raises(CommandError, match="no QUIC in it"):
        run(str(file))
    assert run(str(file), "--port", "53") == 0


def test_damaged_keys(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    with Path(files.keys).open("a") as log:
        log.write("\nCLIENT_TRAFFIC_SECRET_0 12")
    assert run(files.capture, "--keys", files.keys) == 0
    assert "lines that can't be read" in capsys.readouterr().err
