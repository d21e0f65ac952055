"""NewReno as in RFC 9002 Appendix B."""

from endpoint.recovery.congestion.base import CongestionController
from endpoint.recovery.rtt import RttEstimator

LOSS_REDUCTION_FACTOR = 0.5


class NewReno(CongestionController):
    """One datagram more per window acknowledged, half the window on a loss."""

    loss_reduction_factor = LOSS_REDUCTION_FACTOR

    __slots__ = ("_acked",)

    def __init__(self, max_datagram_size: int) -> None:
        super().__init__(max_datagram_size)
        # Bytes acknowledged since the window last grew: whole datagrams instead of a fraction per ACK.
        self._acked = 0

    # NewReno counts bytes only, whatever the clock says.
    def _avoid_congestion(self, size: int, now: float, rtt: RttEstimator) -> None:  # noqa: ARG002
        self._acked += size
        if self._acked >= self.congestion_window:
            self._acked -= self.congestion_window
            self.congestion_window += self.max_datagram_size

    def _reduce(self) -> int:
        self._acked = 0
        return int(self.congestion_window * LOSS_REDUCTION_FACTOR)
