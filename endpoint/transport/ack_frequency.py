"""When the peer is to acknowledge, and when we are asked to (draft-ietf-quic-ack-frequency).

Our own receiving side acknowledges whatever a socket has to give at once, so it needs no advice on a fast
path. Most others send an ACK for every second packet: where hundreds are in flight, that is far more than
loss detection and the congestion controller need, and costs both ends more than the data.
"""

from endpoint.errors import TransportError, TransportErrorCode
from endpoint.recovery.ack_tracker import (
    DEFAULT_ACK_ELICITING_THRESHOLD,
    DEFAULT_REORDERING_THRESHOLD,
    AckTracker,
)
from endpoint.recovery.loss import LossDetector
from endpoint.transport.spaces import PacketSpace
from endpoint.wire.frames import AckFrequency, FrameType
from endpoint.wire.transport_params import TransportParameters

# Seconds. What the timers of an event loop can resolve; told to the peer as min_ack_delay.
MIN_ACK_DELAY = 0.001
# RFC 9000 §18.2: max_ack_delay is below 2**14 ms. Microseconds.
MAX_ACK_DELAY_LIMIT = (1 << 14) * 1000
# ACKs that we want per congestion window; draft §8.1 asks for at least one per round trip.
ACKS_PER_WINDOW = 8
# As a part of the round trip, for the end of what there is to send: then packets are too few to count.
ACK_DELAY_DIVISOR = 4
# With a smaller threshold there is too little to save to ask for anything.
MIN_THRESHOLD = 8
# No more packets than one batch holds: an ACK is what lets the next batch go.
MAX_THRESHOLD = 64


class AckFrequencyControl:
    """Both sides of the extension on one connection.

    `may_send`: the peer understands ACK_FREQUENCY and IMMEDIATE_ACK, and we want to use them.
    """

    __slots__ = (
        "_acks",
        "_confirmed_delay",
        "_enabled",
        "_largest_received",
        "_min_delay",
        "_next_sequence",
        "_outstanding",
        "_path",
        "_peer_max_delay",
        "_peer_min_delay",
        "_quiet_until",
        "_recovery",
        "_requested",
        "_space",
        "may_send",
    )

    def __init__(
        self, *, enabled: bool, max_ack_delay: float, space: PacketSpace, recovery: LossDetector
    ) -> None:
        """`max_ack_delay` (seconds) is ours, `space` the 1-RTT space."""
        self._enabled = enabled
        self._min_delay = local_min_ack_delay(max_ack_delay)
        self._space = space
        self._acks: AckTracker = space.acks
        self._recovery = recovery
        self._largest_received = -1
        self.may_send = False
        # Of the peer, microseconds.
        self._peer_min_delay = 0
        self._peer_max_delay = 0
        self._confirmed_delay = 0.0
        self._next_sequence = 0
        # The frame that is on its way, None once it is acknowledged; there is never more than one.
        self._outstanding: AckFrequency | None = None
        # Threshold, delay (microseconds) and reordering threshold that the peer has been asked for last.
        self._requested = (DEFAULT_ACK_ELICITING_THRESHOLD, 0, DEFAULT_REORDERING_THRESHOLD)
        self._path = 0
        self._quiet_until = 0.0

    # The peer asks.

    def on_ack_frequency(self, frame: AckFrequency) -> None:
        """Obey, unless a later request came before (draft §4). Raises PROTOCOL_VIOLATION."""
        self._require_announced(FrameType.ACK_FREQUENCY)
        delay = frame.requested_max_ack_delay
        if not self._min_delay <= delay < MAX_ACK_DELAY_LIMIT:
            raise TransportError(
                TransportErrorCode.PROTOCOL_VIOLATION,
                f"requested max_ack_delay of {delay} us is outside its limits",
                FrameType.ACK_FREQUENCY,
            )
        if frame.sequence_number <= self._largest_received:
            return
        self._largest_received = frame.sequence_number
        self._acks.set_policy(frame.ack_eliciting_threshold, delay / 1e6, frame.reordering_threshold)

    def on_immediate_ack(self) -> None:
        """The peer wants to know at once (draft §5)."""
        self._require_announced(FrameType.IMMEDIATE_ACK)
        self._acks.ack_now = True

    def _require_announced(self, frame_type: FrameType) -> None:
        if not self._enabled:
            # RFC 9000 §12.4: without our transport parameter it is a type that nobody has defined.
            raise TransportError(TransportErrorCode.FRAME_ENCODING_ERROR, "unknown frame type", frame_type)

    # We ask the peer.

    def apply_peer_parameters(self, params: TransportParameters) -> None:
        """What the peer has announced."""
        self._peer_max_delay = params.max_ack_delay * 1000
        self._confirmed_delay = params.max_ack_delay / 1000
        self._requested = (
            DEFAULT_ACK_ELICITING_THRESHOLD,
            self._peer_max_delay,
            DEFAULT_REORDERING_THRESHOLD,
        )
        if params.min_ack_delay is not None:
            self._peer_min_delay = params.min_ack_delay
            self.may_send = self._enabled

    def on_ack(self, now: float) -> None:
        """An ACK was processed: ask for another frequency if what we want has changed.

        Once per round trip is enough to look (draft §8.1), and one request at a time.
        """
        if not self.may_send or now < self._quiet_until or self._outstanding is not None:
            return
        recovery = self._recovery
        if not recovery.handshake_confirmed:
            return
        self._quiet_until = now + recovery.rtt.smoothed_rtt
        wanted = self._wanted()
        moved = recovery.path != self._path
        if not moved and not _differs(wanted, self._requested):
            return
        self._path = recovery.path
        if wanted == self._requested:
            return
        self._requested = wanted
        frame = self._outstanding = AckFrequency(self._next_sequence, *wanted)
        self._next_sequence += 1
        self._space.control.append(frame)
        # Draft §7: the greater of what is and what may be, until we know.
        recovery.max_ack_delay = max(self._confirmed_delay, frame.requested_max_ack_delay / 1e6)

    def on_acked(self, frame: AckFrequency) -> None:
        """The peer obeys `frame` now."""
        if self._outstanding is not None and frame.sequence_number == self._outstanding.sequence_number:
            self._outstanding = None
            self._confirmed_delay = self._recovery.max_ack_delay = frame.requested_max_ack_delay / 1e6

    def _wanted(self) -> tuple[int, int, int]:
        recovery = self._recovery
        congestion = recovery.congestion
        packets = congestion.congestion_window // recovery.max_datagram_size
        threshold = min(packets // ACKS_PER_WINDOW, MAX_THRESHOLD)
        if congestion.in_slow_start or threshold < MIN_THRESHOLD:
            # Draft §8.1.1: every ACK opens the window in slow start.
            return DEFAULT_ACK_ELICITING_THRESHOLD, self._peer_max_delay, DEFAULT_REORDERING_THRESHOLD
        delay = int(recovery.rtt.smoothed_rtt / ACK_DELAY_DIVISOR * 1e6)
        delay = max(self._peer_min_delay, min(delay, self._peer_max_delay))
        # Draft §9: reordering is of interest as soon as it makes a packet lost, and no sooner.
        return threshold, delay, recovery.packet_threshold


def local_min_ack_delay(max_ack_delay: float) -> int:
    """Our min_ack_delay in microseconds; never above max_ack_delay (seconds) as it is told (draft §3)."""
    return min(round(MIN_ACK_DELAY * 1e6), round(max_ack_delay * 1000) * 1000)


def _differs(wanted: tuple[int, int, int], requested: tuple[int, int, int]) -> bool:
    """Whether it is worth a frame: twice or half of what was asked for."""
    if wanted == requested:
        return False
    if wanted[2] != requested[2]:
        return True
    threshold, delay, _ = requested
    return not (threshold / 2 < wanted[0] < threshold * 2 or wanted[0] == threshold) or not (
        delay / 2 < wanted[1] < delay * 2 or wanted[1] == delay
    )
