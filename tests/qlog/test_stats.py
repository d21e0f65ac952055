"""`interquic qlog stats`: worked examples."""

import json
from pathlib import Path

import pytest
from qlog_samples import sequence
from qlog_traces import PING, Story, ack, client, frame, stream

from endpoint.cli.main import main
from qlog.stats import Statistics, statistics


def of(story: Story, folder: Path) -> Statistics:
    path = folder / "trace.sqlog"
    path.write_bytes(sequence(story.header, story.events))
    (found,) = statistics(path)
    return found


def test_a_connection(tmp_path: Path) -> None:
    found = of(client(), tmp_path)
    assert found.role == "client"
    # From the first event, at 0.5 ms.
    assert found.handshake_complete == pytest.approx(20.8)
    assert found.handshake_confirmed == pytest.approx(40.9)
    assert found.rtt == {"min": 20.0, "max": 20.0, "smoothed": 20.0, "mean": 20.0}
    assert (found.sent.count, found.sent.lost, found.received.count) == (18, 1, 11)
    assert found.loss_share == pytest.approx(1 / 18)
    assert found.retransmitted_bytes == 1000
    assert found.congestion_window == {"min": 6000, "max": 12_000, "last": 6000}
    streams = {(one.stream_id, one.direction): (one.bytes, one.finished) for one in found.streams}
    assert streams == {
        (2, "sent"): (20, False),
        (0, "sent"): (100, True),
        (3, "received"): (20, False),
        (0, "received"): (1500, True),
        (4, "sent"): (6000, True),
        (8, "sent"): (10, False),
    }
    # 6130 bytes between 21.4 and 240.5 ms.
    assert found.goodput["sent"] == pytest.approx(6130 / 0.2191)


def stalled(*events: tuple[float, str, dict[str, object]]) -> Story:
    """An upload that pauses from 500 to 900 ms; what happens then is given."""
    story = Story("client")
    story.metrics(400.0, smoothed_rtt=20.0, congestion_window=100_000, bytes_in_flight=0)
    story.sent(499.0, "1RTT", 0, stream(0, 0, 1000))
    story.sent(500.0, "1RTT", 1, stream(0, 1000, 1000))
    for time, name, data in events:
        story.add(time, name, **data)
    story.received(890.0, "1RTT", 0, ack([0, 1]))
    story.sent(900.0, "1RTT", 9, stream(0, 2000, 1000, fin=True))
    return story


METRICS = "quic:recovery_metrics_updated"
BLOCKED = {"header": {"packet_type": "1RTT", "packet_number": 5}, "frames": [frame("data_blocked", limit=1)]}
LOST = {"header": {"packet_type": "1RTT", "packet_number": 1}}
PINGED = {"header": {"packet_type": "1RTT", "packet_number": 5}, "frames": [PING]}


@pytest.mark.parametrize(
    ("events", "cause"),
    [
        ([], "nothing was received"),
        ([(600.0, "quic:packet_received", PINGED)], "nobody had data to send"),
        ([(600.0, "quic:packet_sent", BLOCKED)], "the peer's flow control (data_blocked)"),
        ([(600.0, "quic:packet_lost", LOST)], "packets were lost"),
        ([(600.0, METRICS, {"pto_count": 1})], "lost until the probe timeout"),
        (
            [(600.0, METRICS, {"bytes_in_flight": 2000, "congestion_window": 2400})],
            "the congestion window was full",
        ),
        (
            [
                (
                    600.0,
                    "quic:stream_data_blocked_updated",
                    {"stream_id": 0, "new": "blocked", "reason": "pacing"},
                )
            ],
            "pacing",
        ),
    ],
)
def test_stalls(events: list[tuple[float, str, dict[str, object]]], cause: str, tmp_path: Path) -> None:
    (stall,) = of(stalled(*events), tmp_path).stalls
    assert (stall.start, stall.duration) == (100.0, 400.0)
    assert cause in stall.cause


def test_a_stream_that_has_ended_is_no_stall(tmp_path: Path) -> None:
    story = Story("client")
    story.sent(1.0, "1RTT", 0, stream(0, 0, 1000, fin=True))
    story.sent(900.0, "1RTT", 1, stream(4, 0, 1000, fin=True))
    assert of(story, tmp_path).stalls == []


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.sqlog"
    story = stalled()
    path.write_bytes(sequence(story.header, story.events))
    assert main(["qlog", "stats", str(path)]) == 0
    text = capsys.readouterr().out
    assert "400.000 ms from 100.000 ms: nothing was received" in text
    assert "0 sent: 3000 bytes, 99.000 to 500.000 ms" in text
    assert main(["qlog", "stats", str(path), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["streams"][0]["bytes"] == 3000
    assert main(["qlog", "stats", str(tmp_path / "missing")]) == 2
