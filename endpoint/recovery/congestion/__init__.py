"""Congestion controllers behind one interface."""

from endpoint.config import CongestionAlgorithm
from endpoint.recovery.congestion.base import CongestionController
from endpoint.recovery.congestion.cubic import Cubic
from endpoint.recovery.congestion.newreno import NewReno

__all__ = ["CongestionController", "create_controller"]

_CONTROLLERS: dict[CongestionAlgorithm, type[CongestionController]] = {
    CongestionAlgorithm.CUBIC: Cubic,
    CongestionAlgorithm.NEWRENO: NewReno,
}


def create_controller(algorithm: CongestionAlgorithm, max_datagram_size: int) -> CongestionController:
    """A new controller for a new path whose datagrams have at most `max_datagram_size` bytes."""
    return _CONTROLLERS[algorithm](max_datagram_size)
