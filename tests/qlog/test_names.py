"""Old event names and what they are called now."""

import pytest

from qlog.names import newest
from qlog.schema.bundled import event_types


@pytest.mark.parametrize(
    ("old", "new", "since"),
    [
        ("transport:packet_sent", "quic:packet_sent", "quic-05"),
        ("recovery:metrics_updated", "quic:recovery_metrics_updated", "quic-09"),
        ("recovery:packet_lost", "quic:packet_lost", "quic-09"),
        ("security:key_retired", "quic:key_discarded", "quic-09"),
        ("connectivity:connection_started", "quic:connection_started", "quic-09"),
        ("transport:datagrams_sent", "quic:udp_datagrams_sent", "quic-08"),
        ("quic:frames_processed", "quic:frames_parsed", "quic-14"),
        ("http:frame_parsed", "http3:frame_parsed", "http3-05"),
        ("http:capsule_parsed", "http:capsule_parsed", ""),
        ("generic:info", "loglevel:info", "main-09"),
        ("TRANSPORT:PACKET_SENT", "quic:packet_sent", "quic-05"),
        ("quic:packet_sent", "quic:packet_sent", ""),
        ("acme:whatever", "acme:whatever", ""),
        ("no colon", "no colon", ""),
    ],
)
def test_newest(old: str, new: str, since: str) -> None:
    assert newest(old) == (new, since)


def test_every_event_of_03_has_a_newest_name_that_exists() -> None:
    now = event_types("newest")
    lost = {name for name in event_types("v03") if newest(name).name not in now}
    # QPACK's events have had no draft since HTTP/3 events -05.
    assert {name for name in lost if not name.startswith("qpack:")} == set()


def test_newest_names_stay() -> None:
    assert [name for name in event_types("newest") if newest(name).since] == []
