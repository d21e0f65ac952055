"""Every event of the drafts: the kind of connection in which our endpoint writes it, or why it never does."""

from collections.abc import Callable

import pytest
from qlog_emitted import (
    Traced,
    close_in_the_middle,
    corruption,
    datagrams,
    download,
    early_data,
    finish,
    handshake_alone,
    key_updates,
    loss,
    migration,
)
from qlog_emitted_http3 import converse

from endpoint.config import Config
from qlog.checks import observers
from qlog.events import IMPORTANCE
from qlog.validate import validate_file


def flood(traced: Traced) -> None:
    """More datagrams than the congestion window takes at once."""
    traced.scenario.client_config = traced.scenario.server_config = Config(max_datagram_frame_size=1200)
    traced.trace()
    pair = traced.scenario.pair()
    pair.run(deadline=1.0)
    for _ in range(100):
        pair.client.connection.send_datagram(bytes(1000))
    pair.run(deadline=3.0)
    finish(pair)


def conversation(traced: Traced) -> None:
    converse(traced)


WRITTEN: dict[Callable[[Traced], None], frozenset[str]] = {
    handshake_alone: frozenset(
        {
            "quic:connection_started",
            "quic:connection_closed",
            "quic:connection_id_updated",
            "quic:connection_state_updated",
            "quic:version_information",
            "quic:alpn_information",
            "quic:parameters_set",
            "quic:packet_sent",
            "quic:packet_received",
            "quic:packet_buffered",
            "quic:packets_acked",
            "quic:udp_datagrams_sent",
            "quic:udp_datagrams_received",
            "quic:key_updated",
            "quic:timer_updated",
            "quic:recovery_parameters_set",
            "quic:recovery_metrics_updated",
            "quic:congestion_state_updated",
            "quic:ecn_state_updated",
        }
    ),
    download: frozenset(
        {
            "quic:mtu_updated",
            "quic:stream_state_updated",
            "quic:stream_data_moved",
            "quic:connection_data_blocked_updated",
            "quic:stream_data_blocked_updated",
        }
    ),
    key_updates: frozenset({"quic:key_discarded"}),
    loss: frozenset({"quic:packet_lost", "quic:marked_for_retransmit"}),
    corruption: frozenset({"quic:packet_dropped"}),
    close_in_the_middle: frozenset({"quic:udp_datagram_dropped"}),
    early_data: frozenset({"quic:parameters_restored"}),
    migration: frozenset({"quic:tuple_assigned", "quic:migration_state_updated"}),
    datagrams: frozenset({"quic:datagram_data_moved"}),
    flood: frozenset({"quic:datagram_data_blocked_updated"}),
    conversation: frozenset(
        {
            "http3:parameters_set",
            "http3:stream_type_set",
            "http3:priority_updated",
            "http3:frame_created",
            "http3:frame_parsed",
            "http3:datagram_created",
            "http3:datagram_parsed",
        }
    ),
}
NOT_WRITTEN = {
    "quic:server_listening": "a trace is of one connection, and listening is before any",
    "quic:spin_bit_updated": "the bit does not spin: it is always 0",
    "quic:frames_created": "packet_sent has the frames",
    "quic:frames_parsed": "packet_received has the frames",
    "http3:parameters_restored": "tests/unit/h3: needs a client that kept SETTINGS",
    "http3:push_resolved": "there is no server push",
    "http:capsule_created": "capsules are content to HTTP/3: the application makes them",
    "http:capsule_parsed": "capsules are content to HTTP/3: the application reads them",
    "loglevel:error": "connection_closed and packet_dropped say what is wrong",
    "loglevel:warning": "the same",
    "loglevel:info": "the same",
    "loglevel:debug": "the same",
    "loglevel:verbose": "the same",
    "simulation:scenario": "is for whoever runs a simulation",
    "simulation:marker": "is for whoever runs a simulation",
}


def test_the_table_has_every_event() -> None:
    written = [name for names in WRITTEN.values() for name in names]
    assert sorted([*written, *NOT_WRITTEN]) == sorted(IMPORTANCE)


@pytest.mark.parametrize("scenario", WRITTEN)
def test_written(scenario: Callable[[Traced], None], traced: Traced) -> None:
    # Small windows let flow control be felt.
    traced.scenario.client_config = Config(initial_max_stream_data=20_000, max_stream_data_window=20_000)
    scenario(traced)
    told = {record["name"] for role in ("client", "server") for record in traced.records(role)}
    assert told >= WRITTEN[scenario]
    for path in traced.folder.iterdir():
        report = validate_file(path, observers(), strict=True)
        assert [one for one in report.findings if one.rule != "R17"] == []
    assert not told & NOT_WRITTEN.keys()
