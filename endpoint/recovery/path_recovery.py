"""What recovery knows of one path (RFC 9000 §9.3, §9.4)."""

from endpoint.recovery.congestion import CongestionController
from endpoint.recovery.ecn import EcnValidator
from endpoint.recovery.pacer import Pacer
from endpoint.recovery.pmtud import Pmtud
from endpoint.recovery.rtt import RttEstimator


class PathRecovery:
    """What is known of a path, kept while the connection uses another (RFC 9000 §9.3)."""

    __slots__ = ("congestion", "ecn", "first_rtt_sample", "pacer", "pmtud", "rtt")

    def __init__(
        self,
        rtt: RttEstimator,
        congestion: CongestionController,
        pacer: Pacer,
        ecn: EcnValidator,
        pmtud: Pmtud,
        first_rtt_sample: float,
    ) -> None:
        self.rtt = rtt
        self.congestion = congestion
        self.pacer = pacer
        self.ecn = ecn
        self.pmtud = pmtud
        self.first_rtt_sample = first_rtt_sample
