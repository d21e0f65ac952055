"""What is filled into a packet never takes more than its room."""

import pytest

from endpoint.config import Config
from endpoint.level import Level
from endpoint.recovery.sent_packets import Content
from endpoint.testing.link import SERVER_ADDRESS
from endpoint.testing.pair import seeded_bytes
from endpoint.tls.config import TlsConfig
from endpoint.transport.packet_filler import PacketFiller
from endpoint.transport.setup import Surroundings, make_client
from endpoint.wire.transport_params import TransportParameters


@pytest.mark.parametrize("capacity", range(64, 72))
def test_a_probe_with_many_ranges_in_what_another_packet_left(capacity: int) -> None:
    """Both the ACK and what makes the probe ack-eliciting have to fit."""
    parts = make_client(
        Config(),
        TlsConfig(alpn_protocols=("x",)),
        peer=SERVER_ADDRESS,
        server_name="server4",
        around=Surroundings(seeded_bytes(1), lambda: 0.0, None),
    )
    parts.extensions.apply_peer_parameters(TransportParameters(min_ack_delay=1000))
    space = parts.spaces[Level.ONE_RTT]
    for number in range(60):
        space.acks.on_received(2 * number, 2 * number, True, 0.0, 0)
    space.acks.ack_now = True
    space.probes = 1
    payload, contents = bytearray(), list[Content]()
    assert PacketFiller(parts).fill(space, payload, contents, capacity, True, 0.0)
    assert len(payload) <= capacity
