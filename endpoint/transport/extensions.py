"""What goes beyond RFC 9000 on one connection: extensions to be negotiated, and guards of our own."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from endpoint.config import Config
from endpoint.events import Event
from endpoint.recovery.loss import LossDetector
from endpoint.trace import Tracer
from endpoint.transport.ack_frequency import AckFrequencyControl
from endpoint.transport.datagrams import Datagrams
from endpoint.transport.grease import QuicBit
from endpoint.transport.holes import PacketNumberHoles
from endpoint.transport.observe_datagrams import TracedDatagrams
from endpoint.transport.spaces import PacketSpace
from endpoint.wire.transport_params import TransportParameters


@dataclass(slots=True)
class Extensions:
    """Each part is there whether or not the peer knows it; the peer's parameters switch it on."""

    datagrams: Datagrams
    ack_frequency: AckFrequencyControl
    quic_bit: QuicBit
    holes: PacketNumberHoles

    def apply_peer_parameters(self, params: TransportParameters) -> None:
        """What the peer understands, or takes."""
        self.datagrams.max_frame_size = params.max_datagram_frame_size
        self.ack_frequency.apply_peer_parameters(params)
        self.quic_bit.peer_accepts = params.grease_quic_bit


def make_extensions(
    config: Config,
    space: PacketSpace,
    recovery: LossDetector,
    events: deque[Event],
    random: Callable[[int], bytes],
    tracer: Tracer | None,
) -> Extensions:
    """Those of a new connection; `space` is the 1-RTT space."""
    size = config.max_datagram_frame_size
    return Extensions(
        datagrams=Datagrams(size, events) if tracer is None else TracedDatagrams(size, events, tracer),
        ack_frequency=AckFrequencyControl(
            enabled=config.ack_frequency, max_ack_delay=config.max_ack_delay, space=space, recovery=recovery
        ),
        quic_bit=QuicBit(random, enabled=config.grease),
        holes=PacketNumberHoles(space, random),
    )
