"""Traces that our endpoint writes, of both roles and many kinds of connections: valid, complete and true."""

import errno
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google_crc32c import value as crc32c
from qlog_emitted import (
    KIBIBYTE,
    SCENARIOS,
    WIFI,
    Traced,
    datagrams,
    download,
    early_data,
    finish,
    handshake_alone,
    key_updates,
    loss,
    migration,
    reset_streams,
    retry,
    silence,
)

from endpoint.config import Config
from endpoint.testing.apps import ContentServer, Download
from endpoint.testing.link import RUNNER, LinkProfile
from endpoint.tracing import QlogFolder
from endpoint.tracing.qlog import QlogLevel
from qlog.checks import observers
from qlog.events import EVENT_SCHEMAS, events_of_level
from qlog.validate import validate_file

# A network that changes the order makes packets look lost that are not: a note, no fault of the trace.
TRUE_OF_THE_NETWORK = {"R17"}


@pytest.mark.parametrize("name", SCENARIOS)
def test_strictly_valid(name: str, traced: Traced) -> None:
    SCENARIOS[name](traced)
    paths = sorted(traced.folder.iterdir())
    # A server that only answers with Version Negotiation has no connection to trace.
    roles = ["client"] if name == "version_negotiation" else ["client", "server"]
    assert [path.stem.rpartition("_")[2] for path in paths] == roles
    for path in paths:
        report = validate_file(path, observers(), strict=True)
        assert [one for one in report.findings if one.rule not in TRUE_OF_THE_NETWORK] == []
        assert report.events > 10


def test_names_and_header(traced: Traced) -> None:
    handshake_alone(traced)
    client, server = sorted(traced.folder.iterdir())
    [initial, *_] = traced.of("client", "packet_sent")
    assert client.name == f"{initial['header']['dcid']}_client.sqlog"
    assert server.name == f"{initial['header']['dcid']}_server.sqlog"
    header = json.loads(server.read_text().split("\x1e")[1])
    assert header["trace"]["vantage_point"] == {"name": "interquic", "type": "server"}
    assert header["trace"]["common_fields"]["group_id"] == initial["header"]["dcid"]
    assert header["trace"]["event_schemas"] == list(EVENT_SCHEMAS)


def test_every_packet_is_told(traced: Traced) -> None:
    """Against what went over the network, packet by packet."""
    traced.trace()
    pair, _ = traced.scenario.download(Download(sizes=[300 * KIBIBYTE], upload=500), deadline=20.0)
    finish(pair)
    for role, from_client in (("client", True), ("server", False)):
        sent = traced.of(role, "udp_datagrams_sent")
        lengths = [raw["length"] for data in sent for raw in data["raw"]]
        captured = [one.data for one in pair.network.captured if one.from_client is from_client]
        assert lengths == [len(data) for data in captured]
        sums = [one for data in sent for one in data["datagram_payload_checksums"]]
        assert sums == [crc32c(data) for data in captured]
        packets = traced.of(role, "packet_sent")
        assert sum(data["raw"]["length"] for data in packets) == sum(lengths)
        numbers = Counter(
            (data["header"]["packet_type"], data["header"]["packet_number"]) for data in packets
        )
        assert set(numbers.values()) == {1}
        # And what one has received the other has sent, with the same frames.
        other = "server" if from_client else "client"
        arrived = traced.of(other, "udp_datagrams_received")
        assert sums[0] in arrived[0]["datagram_payload_checksums"]
        assert {one for data in arrived for one in data["datagram_payload_checksums"]} <= set(sums)
        sent_frames = {key(data): data["frames"] for data in packets}
        received = traced.of(other, "packet_received")
        assert received
        for data in received:
            assert sent_frames[key(data)] == data["frames"]


def key(packet: dict[str, Any]) -> tuple[str, int]:
    return packet["header"]["packet_type"], packet["header"]["packet_number"]


def test_stream_data_is_complete(traced: Traced) -> None:
    """Every byte of the answer is in a STREAM frame, and was given to the application once, in order."""
    size = 300 * KIBIBYTE
    traced.trace()
    pair, _ = traced.scenario.download(Download(sizes=[size]), deadline=20.0)
    finish(pair)
    covered = bytearray(size)
    ends = 0
    for packet in traced.of("client", "packet_received"):
        for frame in packet["frames"]:
            if frame["frame_type"] == "stream" and frame["stream_id"] == 0:
                end = frame["offset"] + frame["raw"]["length"]
                covered[frame["offset"] : end] = b"x" * frame["raw"]["length"]
                if frame.get("fin"):
                    ends += 1
                    assert end == size
    assert covered == b"x" * size
    assert ends >= 1
    position = 0
    moved = [data for data in traced.of("client", "stream_data_moved") if data["to"] == "application"]
    for data in moved:
        assert data["offset"] == position
        position += data["raw"]["length"]
    assert position == size
    assert moved[-1]["additional_info"] == "fin_set"


def test_states(traced: Traced) -> None:
    handshake_alone(traced)
    for role in ("client", "server"):
        states = [data["new"] for data in traced.of(role, "connection_state_updated")]
        assert states[0] == "attempted"
        assert "handshake_confirmed" in states
        assert states[-2:] == ["closing" if role == "client" else "draining", "closed"]
        [closed] = traced.of(role, "connection_closed")
        assert closed["initiator"] == ("local" if role == "client" else "remote")
        assert closed["trigger"] == "application"
        [ours, theirs] = traced.of(role, "parameters_set")
        assert [ours["initiator"], theirs["initiator"]] == ["local", "remote"]
        assert theirs["tls_cipher"] == "TLS_AES_128_GCM_SHA256"
        alpns = [data["chosen_alpn"] for data in traced.of(role, "alpn_information") if "chosen_alpn" in data]
        assert alpns == [{"string_value": "hq-interop"}]


def test_keys(traced: Traced) -> None:
    secrets: list[str] = []
    traced.scenario.keylog = lambda line: secrets.append(line.split()[2])
    key_updates(traced)
    for role, trigger in (("client", "local_update"), ("server", "remote_update")):
        updated = traced.of(role, "key_updated")
        tls = [data["key_type"] for data in updated if data["trigger"] == "tls"]
        assert sorted(tls) == sorted(
            f"{side}_{level}_secret"
            for side in ("client", "server")
            for level in ("initial", "handshake", "1rtt")
        )
        phases = [data["key_phase"] for data in updated if data["trigger"] == trigger]
        assert phases == [phase for phase in range(1, phases[-1] + 1) for _ in range(2)]
        # The last update may have come after the last packet.
        used = {data["header"].get("key_phase") for data in traced.of(role, "packet_sent")}
        assert used >= {0, 1}
        assert all("new" not in data and "old" not in data for data in updated)
        # Old keys to write with go at once, those to read with when nothing of their phase can come any more.
        ours, theirs = (role, "server") if role == "client" else (role, "client")
        gone = {
            (data["key_type"], data["key_phase"])
            for data in traced.of(role, "key_discarded")
            if "key_phase" in data
        }
        assert {(f"{ours}_1rtt_secret", phase) for phase in range(phases[-1])} <= gone
        assert {(f"{theirs}_1rtt_secret", phase) for phase in range(phases[-1] - 1)} <= gone
    assert len(secrets) == 4
    texts = [path.read_text() for path in traced.folder.iterdir()]
    assert not any(secret in text for secret in secrets for text in texts)


def test_early_data(traced: Traced) -> None:
    early_data(traced)
    sent = [data for data in traced.of("client", "packet_sent") if data["header"]["packet_type"] == "0RTT"]
    assert sum(frame["raw"]["length"] for data in sent for frame in data["frames"]) == 3000
    assert traced.of("client", "parameters_restored")[0]["initial_max_data"] == Config().initial_max_data
    types = {data["header"]["packet_type"] for data in traced.of("server", "packet_received")}
    assert "0RTT" in types


def test_retry(traced: Traced) -> None:
    retry(traced)
    [packet] = [
        data for data in traced.of("client", "packet_received") if data["header"]["packet_type"] == "retry"
    ]
    token = packet["header"]["token"]
    assert token["type"] == "retry"
    initials = [
        data for data in traced.of("client", "packet_sent") if data["header"]["packet_type"] == "initial"
    ]
    assert "token" not in initials[0]["header"]
    assert initials[1]["header"]["token"]["raw"] == token["raw"]
    # The ID that names both files is that of the very first packet.
    assert len({path.stem.partition("_")[0] for path in traced.folder.iterdir()}) == 1


def test_losses(traced: Traced) -> None:
    loss(traced)
    lost = traced.of("server", "packet_lost")
    assert lost
    assert {data["trigger"] for data in lost} <= {"reordering_threshold", "time_threshold"}
    sent = {key(data) for data in traced.of("server", "packet_sent")}
    assert {key(data) for data in lost} <= sent
    assert {data["new"] for data in traced.of("server", "congestion_state_updated")} >= {
        "slow_start",
        "recovery",
    }
    dropped = {data["trigger"] for data in traced.of("client", "packet_dropped")}
    assert "duplicate" in dropped


def test_migration(traced: Traced) -> None:
    migration(traced)
    [assigned, *_] = traced.of("client", "tuple_assigned")
    assert assigned["tuple_local"] == {"ip_v4": WIFI[0], "port_v4": WIFI[1]}
    states = [data["new"] for data in traced.of("client", "migration_state_updated")]
    assert states == ["probing_started", "probing_successful", "migration_started", "migration_complete"]
    assert traced.of("client", "connection_id_updated")[-1]["initiator"] == "remote"
    assert (
        min(data.get("bytes_in_flight", 0) for data in traced.of("server", "recovery_metrics_updated")) >= 0
    )


def test_packets_and_metrics_tell_their_path(traced: Traced) -> None:
    migration(traced)
    for role in ("client", "server"):
        for kind in ("packet_sent", "packet_received", "recovery_metrics_updated"):
            records = [record for record in traced.records(role) if record["name"] == f"quic:{kind}"]
            assert {record.get("tuple", "") for record in records} == {"", "1"}
        probes = [
            record
            for record in traced.records(role)
            if record["name"] == "quic:packet_sent"
            and any(frame["frame_type"] == "path_challenge" for frame in record["data"]["frames"])
        ]
        assert probes[0].get("tuple", "") == "1"


def test_what_goes_again_is_told(traced: Traced) -> None:
    """What is lost, and no more, is told and then sent a second time."""
    traced.scenario.up = LinkProfile(loss=0.05)
    download(traced)
    told = [frame for data in traced.of("server", "marked_for_retransmit") for frame in data["frames"]]
    assert {frame["frame_type"] for frame in told} <= {"stream", "crypto", *_CONTROL}
    size = 200 * KIBIBYTE
    sent, again = [0] * size, [0] * size
    packets = [frame for data in traced.of("server", "packet_sent") for frame in data["frames"]]
    for frames, counts in ((packets, sent), (told, again)):
        for frame in frames:
            if frame["frame_type"] == "stream" and frame["stream_id"] == 0:
                for position in range(frame["offset"], frame["offset"] + frame["raw"]["length"]):
                    counts[position] += 1
    assert any(again)
    assert all(count > repeats for count, repeats in zip(sent, again, strict=True))


_CONTROL = {"handshake_done", "new_connection_id", "retire_connection_id", "new_token", "max_streams"}


def test_what_blocks_is_told(traced: Traced) -> None:
    traced.scenario.client_config = Config(initial_max_data=50_000, max_data_window=50_000)
    download(traced)
    reasons = {data.get("reason") for data in traced.of("server", "connection_data_blocked_updated")}
    assert reasons >= {"connection_flow_control", None}
    states = [data["new"] for data in traced.of("server", "connection_data_blocked_updated")]
    assert states[-1] == "unblocked"


def test_what_blocks_a_stream_is_told(traced: Traced) -> None:
    traced.scenario.client_config = Config(initial_max_stream_data=20_000, max_stream_data_window=20_000)
    download(traced)
    told = [data for data in traced.of("server", "stream_data_blocked_updated") if data["stream_id"] == 0]
    states = [data["new"] for data in told]
    assert states[:2] == ["blocked", "unblocked"]
    assert states[-1] == "unblocked"
    assert {data["reason"] for data in told if data["new"] == "blocked"} == {"stream_flow_control"}


def test_congestion_blocks(traced: Traced) -> None:
    traced.scenario.up = replace(RUNNER, delay=0.1)
    download(traced)
    reasons = {data.get("reason") for data in traced.of("server", "connection_data_blocked_updated")}
    assert reasons & {"congestion_control", "pacing"}


def test_datagrams_are_told(traced: Traced) -> None:
    datagrams(traced)
    moved = {
        role: [
            (data["from"], data["to"], data["raw"]["length"])
            for data in traced.of(role, "datagram_data_moved")
        ]
        for role in ("client", "server")
    }
    assert moved == {
        "client": [("application", "transport", 5)] * 5,
        "server": [("transport", "application", 5)] * 5,
    }


def test_stream_states(traced: Traced) -> None:
    reset_streams(traced)
    found = {
        (role, data["stream_id"], data["stream_side"], data["new"])
        for role in ("client", "server")
        for data in traced.of(role, "stream_state_updated")
    }
    assert {
        ("server", 0, "sending", "reset_sent"),
        ("server", 0, "sending", "reset_received"),
        ("client", 0, "receiving", "reset_read"),
        ("client", 2, "sending", "reset_sent"),
        ("client", 2, "sending", "reset_received"),
    } <= found


def test_silence_ends_with_its_reason(traced: Traced) -> None:
    silence(traced)
    [closed] = traced.of("client", "connection_closed")
    assert closed["trigger"] == "idle_timeout"
    assert any(data.get("trigger") == "pto_probe" for data in traced.of("client", "packet_sent"))
    assert max(data.get("pto_count", 0) for data in traced.of("client", "recovery_metrics_updated")) >= 3


@pytest.mark.parametrize("level", ["core", "base", "extra"])
def test_levels(level: QlogLevel, traced: Traced) -> None:
    traced.trace(level)
    pair, _ = traced.scenario.download(Download(sizes=[1000]), deadline=5.0)
    finish(pair)
    names = {record["name"] for record in traced.records("server")}
    assert names <= events_of_level(level)
    assert ("quic:stream_state_updated" in names) is (level != "core")
    assert ("quic:timer_updated" in names) is (level == "extra")


def test_sampled_traces_are_small_and_valid(traced: Traced) -> None:
    traced.folder.mkdir()
    sizes = []
    for sample in (1, 50):
        tracer = QlogFolder(traced.folder, sample=sample)
        traced.scenario.client_config = traced.scenario.server_config = Config(tracer=tracer)
        pair, _ = traced.scenario.download(Download(sizes=[4000 * KIBIBYTE]), deadline=30.0)
        finish(pair)
        paths = sorted(traced.folder.iterdir())
        assert len(paths) == 2
        for path in paths:
            report = validate_file(path, observers(), strict=True)
            assert report.findings == []
        sizes.append(sum(path.stat().st_size for path in paths))
    assert sizes[1] < 0.6 * sizes[0]
    # What went wrong and how fast it was is still all there.
    assert traced.of("client", "connection_closed")
    assert len(traced.of("server", "recovery_metrics_updated")) > 100
    [fin] = [
        frame
        for packet in traced.of("server", "packet_sent")
        for frame in packet["frames"]
        if frame["frame_type"] == "stream" and frame.get("fin")
    ]
    assert fin["offset"] + fin["raw"]["length"] == 4000 * KIBIBYTE


def test_times_ascend_and_metrics_only_tell_changes(traced: Traced) -> None:
    download(traced)
    for role in ("client", "server"):
        times = [record["time"] for record in traced.records(role)]
        assert times == sorted(times)
        known: dict[str, float] = {}
        for data in traced.of(role, "recovery_metrics_updated"):
            assert data
            assert all(known.get(name) != value for name, value in data.items())
            known |= data


def test_everything_is_on_disk_after_each_batch(traced: Traced) -> None:
    """A process that is killed leaves whole records, up to the last batch."""
    traced.trace()
    transfer = Download(sizes=[300 * KIBIBYTE])
    pair = traced.scenario.pair(transfer, ContentServer)
    pair.run(lambda: transfer.received_bytes > 100 * KIBIBYTE, deadline=5.0)
    sent = [one for one in pair.network.captured if not one.from_client]
    told = [raw for data in traced.of("server", "udp_datagrams_sent") for raw in data["raw"]]
    assert len(told) == len(sent)


def test_garbage_makes_no_file(traced: Traced) -> None:
    """Anybody can send an Initial that does not open."""
    traced.trace()
    pair = traced.scenario.pair()

    def damage(datagram: Any) -> list[Any]:
        return [replace(datagram, data=datagram.data[:-1] + bytes([datagram.data[-1] ^ 1]))]

    pair.network.meddle_up = damage
    pair.run(deadline=1.0)
    assert [path.stem.rpartition("_")[2] for path in traced.folder.iterdir()] == ["client"]


def test_file_that_may_not_be_made(
    traced: Traced, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a folder without permission to write; said by a stand-in, because root may write anywhere."""
    traced.trace()

    def refuse(path: Path, *_: Any) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("qlog.writer.os.open", refuse)
    check_unharmed(traced, caplog)


def test_folder_that_is_a_file(traced: Traced, caplog: pytest.LogCaptureFixture) -> None:
    traced.folder.write_text("")
    tracer = QlogFolder(traced.folder)
    traced.scenario.client_config = traced.scenario.server_config = Config(tracer=tracer)
    check_unharmed(traced, caplog)


def test_folder_that_goes_away(traced: Traced, caplog: pytest.LogCaptureFixture) -> None:
    traced.trace()
    traced.folder.rmdir()
    check_unharmed(traced, caplog)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_full_disk(traced: Traced, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    traced.trace()
    monkeypatch.setattr("endpoint.tracing.qlog.trace_path", lambda *_: Path("/dev/full"))
    check_unharmed(traced, caplog)


def check_unharmed(traced: Traced, caplog: pytest.LogCaptureFixture) -> None:
    """The transfer works, and one warning tells that there is no trace."""
    pair, _ = traced.scenario.download(Download(sizes=[5000]), deadline=5.0)
    finish(pair)
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "qlog" in warnings[0].getMessage()
    # Later connections don't try again.
    pair, _ = traced.scenario.download(Download(sizes=[5000]), deadline=5.0)
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
