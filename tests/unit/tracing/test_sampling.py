"""Which events a sampled trace keeps."""

from typing import Any

import pytest

from endpoint.tracing import QlogFolder
from endpoint.tracing.sampling import KEPT_FIRST, Sampling

SENT = "quic:packet_sent"


def packet(*frames: dict[str, Any], packet_type: str = "1RTT") -> dict[str, Any]:
    return {"header": {"packet_type": packet_type}, "frames": list(frames)}


DATA = packet({"frame_type": "stream"}, {"frame_type": "ack"})


@pytest.mark.parametrize("run", [1, 7, 64, 999, 1001, 5000])
def test_every_tenth_after_the_first_thousand(run: int) -> None:
    """However many come at once."""
    sampling = Sampling(10)
    kept = []
    for start in range(0, 5000, run):
        count = min(run, 5000 - start)
        kept += [start + index for index in sampling.keeps_of(SENT, count)]
    assert kept == [*range(KEPT_FIRST), *range(KEPT_FIRST, 5000, 10)]


def test_single_events_count_as_runs_do() -> None:
    sampling = Sampling(10)
    sampling.keeps_of(SENT, KEPT_FIRST)
    assert [sampling.keeps(SENT, DATA) for _ in range(21)] == [index % 10 == 0 for index in range(21)]
    # Each kind by itself.
    assert sampling.keeps("quic:packet_received", DATA)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("quic:recovery_metrics_updated", {"latest_rtt": 3.0}),
        ("http3:frame_created", {}),
        (SENT, packet({"frame_type": "crypto"}, packet_type="handshake")),
        (SENT, packet({"frame_type": "ack"}, packet_type="initial")),
        (SENT, packet({"frame_type": "max_data"}, {"frame_type": "stream"})),
        (SENT, packet({"frame_type": "stream", "fin": True})),
    ],
)
def test_what_is_rare_is_kept(name: str, data: dict[str, Any]) -> None:
    sampling = Sampling(1000)
    sampling.keeps_of(SENT, KEPT_FIRST + 1)
    assert all(sampling.keeps(name, data) for _ in range(10))
    assert not sampling.keeps(SENT, DATA)


def test_the_end_of_a_stream_is_kept() -> None:
    sampling = Sampling(1000)
    sampling.keeps_of(SENT, KEPT_FIRST + 1)
    assert sampling.keeps_of(SENT, 64, last=True) == [63]


def test_less_than_all_but_more_than_nothing() -> None:
    with pytest.raises(ValueError, match="1st"):
        QlogFolder("traces", sample=0)
