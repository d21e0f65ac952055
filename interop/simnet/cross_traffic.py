"""A TCP download that shares the network: a sender with CUBIC that always has data, in simulated time.

The interop runner has a real TCP there. What the endpoints can notice of it is the same: packets of full
size that fill the queue, and a sender that backs off as CUBIC does when they are lost.
"""

from dataclasses import dataclass
from typing import Final

from endpoint.batch import Address
from endpoint.recovery.congestion.cubic import Cubic
from endpoint.recovery.rtt import RttEstimator
from endpoint.testing.link import Datagram, Link

# Nobody's addresses, so that these packets are told from those of the endpoints.
_SENDER: Final[Address] = ("cross traffic", 0)
_RECEIVER: Final[Address] = ("cross traffic", 1)
# With what the link adds for IP, UDP and its header this is a packet of 1500 bytes; an ACK is one of 52.
_SEGMENT: Final = 1472
_ACK: Final = 24
# RFC 5681 §3.2: this many later segments tell of a loss; RFC 6298 §2.4: and silence of a second does.
_DUPLICATES: Final = 3
_TIMEOUT: Final = 1.0


@dataclass(slots=True)
class _Segment:
    sent: float
    passed: int = 0


class CrossTraffic:
    """The flow over two links, `down` for its data. It begins when it is first asked what is next."""

    def __init__(self, down: Link, up: Link) -> None:
        self._down = down
        self._up = up
        self._controller = Cubic(_SEGMENT)
        self._rtt = RttEstimator(_TIMEOUT)
        self._outstanding: dict[int, _Segment] = {}
        self._next = 0
        self._last_ack: float | None = None
        self.acknowledged = 0

    def next_event(self) -> float | None:
        """When it sends without having heard anything: now, at its beginning, or after a silence."""
        return 0.0 if self._last_ack is None else self._last_ack + _TIMEOUT

    def sift(
        self, arrived_up: list[Datagram], arrived_down: list[Datagram], now: float
    ) -> tuple[list[Datagram], list[Datagram]]:
        """Take its own packets out of what has arrived at either end, and go on sending."""
        for datagram in arrived_down:
            if datagram.source == _SENDER:
                self._up.send(Datagram(datagram.data[:_ACK], _RECEIVER, _SENDER), now)
        for datagram in arrived_up:
            if datagram.source == _RECEIVER:
                self._on_ack(int.from_bytes(datagram.data[:8]), now)
        if self._last_ack is None or now - self._last_ack >= _TIMEOUT:
            self._on_silence(now)
        while self._controller.can_send(_SEGMENT):
            self._outstanding[self._next] = _Segment(now)
            self._controller.on_sent(_SEGMENT, now)
            self._down.send(Datagram(self._next.to_bytes(8) + bytes(_SEGMENT - 8), _SENDER, _RECEIVER), now)
            self._next += 1
        return (
            [datagram for datagram in arrived_up if datagram.source != _RECEIVER],
            [datagram for datagram in arrived_down if datagram.source != _SENDER],
        )

    def _on_ack(self, number: int, now: float) -> None:
        self._last_ack = now
        segment = self._outstanding.pop(number, None)
        if segment is None:  # given up, but it came
            return
        self.acknowledged += _SEGMENT
        self._rtt.update(now - segment.sent, 0.0, handshake_confirmed=True, max_ack_delay=0.0)
        self._controller.on_acked(_SEGMENT, segment.sent, now, self._rtt, app_limited=False)
        # Packets keep their order, so what is older than this one has been passed by it.
        for other in list(self._outstanding):
            if other > number:
                break
            self._outstanding[other].passed += 1
            if self._outstanding[other].passed >= _DUPLICATES:
                self._give_up(other, now)

    def _on_silence(self, now: float) -> None:
        self._last_ack = now
        for number in list(self._outstanding):
            self._give_up(number, now)

    def _give_up(self, number: int, now: float) -> None:
        segment = self._outstanding.pop(number)
        self._controller.on_packets_discarded(_SEGMENT)
        self._controller.on_congestion_event(segment.sent, now)
