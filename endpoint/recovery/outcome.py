"""What loss detection answers: what an ACK changed, and what a timer asks for."""

from endpoint.level import Level
from endpoint.recovery.sent_packets import SentRun


class AckOutcome:
    """What an ACK frame changed. All runs ascend.

    `acked` are newly acknowledged, `lost` declared lost by this ACK, `spurious` were declared lost before
    and have arrived after all: their content counts as acknowledged, too. `newly_acked_bytes` are those
    of the present path that were in flight.
    """

    __slots__ = ("acked", "lost", "newly_acked_bytes", "persistent_congestion", "rtt_updated", "spurious")

    def __init__(self, acked: list[SentRun], spurious: list[SentRun]) -> None:
        self.acked = acked
        self.spurious = spurious
        self.lost: list[SentRun] = []
        self.newly_acked_bytes = 0
        self.rtt_updated = False
        self.persistent_congestion = False


class LossTimeout:
    """What a timer asks for at `level`: that `lost` be repaired, or (PTO) that `probes` packets be sent.

    Probes are ack-eliciting, go at once whatever window and pacer say, and do not make anything lost
    (RFC 9002 §6.2.4). A client's Initial probe is in a full datagram (§6.2.2.1).
    """

    __slots__ = ("level", "lost", "probes")

    def __init__(self, level: Level, lost: list[SentRun], probes: int) -> None:
        self.level = level
        self.lost = lost
        self.probes = probes
