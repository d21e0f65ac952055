"""What the checks of one connection share."""

from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from qlog.findings import Findings
from qlog.model import Event, Trace
from qlog.packets import Packet, acked_ranges, initiator, whole
from qlog.ranges import Ranges
from qlog.writer import SAMPLED

# Stacks log causes and effects of one step in any order and read the clock in between. What lies further
# apart, in ms and in events, or very far in ms, has an order.
SETTLED = 2.0
SETTLED_EVENTS = 8
SETTLED_SURELY = 10.0

# Packets without an answer that are kept of a space: of more, the latest.
MOST_PACKETS = 100_000

_SPACES = ("initial", "handshake", "application_data")
_PEERS = {"client": "server", "server": "client"}


class SentPacket(NamedTuple):
    """A packet that was sent: when (ms), and whether it counts as in flight, as far as its frames tell."""

    time: float
    in_flight: bool


class Scene:
    """One connection in one trace, as far as it has been read.

    `role` is client, server or "" if neither the trace nor its first packet tells. `complete` is True while
    every packet since the first is known. `parameters` holds the transport parameters by initiator, `metrics`
    the last value of each metric on the network tuple of the present event. `sent`, `received`, `acked` (by
    the peer) and `lost` hold packet numbers by space, `unacked` the sent packets that were not acknowledged,
    by space and number; `events` is how many there were. `moved` is True once the connection may have gone to
    another path in a trace that does not tell what belongs to which.
    """

    def __init__(self, trace: Trace, group_id: str) -> None:
        self.trace = trace
        self.group_id = group_id
        self.role = trace.vantage_point.type if trace.vantage_point.type in {"client", "server"} else ""
        self.complete = False
        self.found = Findings()
        self.time = 0.0
        self.whole_times = True
        self.parameters: dict[str, dict[str, Any]] = {"local": {}, "remote": {}}
        self.restored: dict[str, Any] = {}
        self.metrics: dict[str, float] = {}
        self.network_tuple = ""
        self.moved = False
        self.recovery: dict[str, Any] = {}
        self.packets = 0
        self.sent = {space: Ranges() for space in _SPACES}
        self.received = {space: Ranges() for space in _SPACES}
        self.acked = {space: Ranges() for space in _SPACES}
        self.lost = {space: Ranges() for space in _SPACES}
        self.unacked: dict[str, OrderedDict[int, SentPacket]] = {space: OrderedDict() for space in _SPACES}
        self.confirmed_at: float | None = None
        self.events = 0
        self._metrics = {"": self.metrics}
        self._later: deque[tuple[float, int, str, Callable[[], None]]] = deque()

    @property
    def peer(self) -> str:
        """The role of the other side, "" if unknown."""
        return _PEERS.get(self.role, "")

    @property
    def slack(self) -> float:
        """ms by which two times may differ that should be the same."""
        return SETTLED if self.whole_times else 1.0

    def sender(self, packet: Packet) -> str:
        """The role of a packet's sender, "" if unknown."""
        return self.role if packet.sent else self.peer

    def receiver_parameters(self, packet: Packet) -> Mapping[str, Any]:
        """The transport parameters that bind the sender of a packet."""
        return self.parameters["remote" if packet.sent else "local"]

    @property
    def metrics_of_paths(self) -> Collection[Mapping[str, float]]:
        """The last value of each metric, by network tuple."""
        return self._metrics.values()

    def settle(self, event: Event, callback: Callable[[], None]) -> None:
        """Call back when all that belongs to the same step as `event` has been read."""
        self._later.append((event.time, self.events, self.network_tuple, callback))

    def begin(self, event: Event) -> None:
        """Before an event is shown to the checks."""
        if self.whole_times and not event.time.is_integer():
            self.whole_times = False
        self.time = event.time
        later = self._later
        self.events += 1
        while later:
            passed = event.time - later[0][0]
            few = self.events - later[0][1] <= SETTLED_EVENTS
            if passed <= SETTLED or (few and passed <= SETTLED_SURELY):
                break
            self._call_back()
        self._go_to(event.network_tuple)

    def _call_back(self) -> None:
        _, _, network_tuple, callback = self._later.popleft()
        self._go_to(network_tuple)
        callback()

    def _go_to(self, network_tuple: str) -> None:
        if network_tuple != self.network_tuple:
            self.network_tuple = network_tuple
            self.metrics = self._metrics.setdefault(network_tuple, {})

    def begin_packet(self, packet: Packet) -> None:
        """Before a packet is shown to the checks. The first tells who logs, and if it is the start."""
        if self.packets == 0:
            # RFC 9000 §5.1: clients start with an Initial, which may bring 0-RTT packets along.
            self.complete = packet.type in {"initial", "0RTT"} and SAMPLED not in self.trace.common_fields
            if not self.role and self.trace.vantage_point.type == "unknown" and self.complete:
                self.role = "client" if packet.sent else "server"
        self.packets += 1

    def end(self) -> None:
        """After the last event."""
        while self._later:
            self._call_back()

    def note_packet(self, packet: Packet) -> None:
        """After a packet was shown to the checks."""
        number = packet.number
        if number is not None:
            numbers = self.sent if packet.sent else self.received
            numbers[packet.space].add(number, number)
            if packet.sent:
                unacked = self.unacked[packet.space]
                unacked[number] = SentPacket(packet.time, packet.in_flight or not packet.frames)
                if len(unacked) > MOST_PACKETS:
                    unacked.popitem(last=False)
        if not packet.sent and packet.space and packet.has("ack"):
            for frame in packet.frames:
                if frame["frame_type"] == "ack":
                    for low, high in acked_ranges(frame):
                        self._note_acked(packet.space, low, high)
        if len(self._metrics) == 1 and packet.has("path_challenge"):
            self.moved = True
        if self.confirmed_at is None and packet.type == "1RTT" and packet.has("handshake_done"):
            self.confirmed_at = packet.time
        if packet.type == "version_negotiation" and not packet.sent:
            # RFC 9000 §6.2: the client starts anew, also with its packet numbers.
            self.sent = {space: Ranges() for space in _SPACES}
            self.unacked = {space: OrderedDict() for space in _SPACES}

    def newly_acked(self, space: str, low: int, high: int) -> Iterator[int]:
        """The sent packets among `low` to `high` that were not acknowledged before, not always in order."""
        unacked = self.unacked[space]
        for first, last in self.acked[space].missing(low, high):
            # Some acknowledge what was never sent.
            numbers = range(first, last + 1) if last - first < len(unacked) else list(unacked)
            yield from (number for number in numbers if first <= number <= last and number in unacked)

    def _note_acked(self, space: str, low: int, high: int) -> None:
        for number in list(self.newly_acked(space, low, high)):
            del self.unacked[space][number]
        self.acked[space].add(low, high)

    def note_lost(self, packet: Packet) -> None:
        """After a loss was shown to the checks."""
        if packet.number is not None:
            self.lost[packet.space].add(packet.number, packet.number)

    def note_event(self, event: Event) -> None:
        """After any other event was shown to the checks."""
        match event.name:
            case "quic:parameters_set":
                self.parameters[initiator(event.data) or "remote"].update(_values(event.data))
            case "quic:parameters_restored":
                self.restored.update(_values(event.data))
            case "quic:recovery_parameters_set":
                self.recovery.update(_values(event.data))
            case _:
                pass


def _values(data: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as such, also those in texts; connection IDs stay what they are."""
    return {
        name: value if name.endswith(("_id", "_token")) or isinstance(value, bool | float) else _number(value)
        for name, value in data.items()
        if value is not None
    }


def _number(value: Any) -> Any:
    number = whole(value)
    return value if number is None else number
