"""Group T, second part: transport parameters."""

from typing import ClassVar

from qlog.checks.base import Check
from qlog.checks.scene import Scene
from qlog.model import Event
from qlog.packets import Packet, initiator, whole


class ParameterRanges(Check):
    """Each transport parameter has a range, and four are the server's alone."""

    id = "T09"
    title = "transport parameters are within their ranges"
    reference = "RFC 9000 §18.2"
    events = ("quic:parameters_set",)
    _ranges: ClassVar[dict[str, tuple[int, int]]] = {
        "ack_delay_exponent": (0, 20),
        "max_ack_delay": (0, (1 << 14) - 1),
        "max_udp_payload_size": (1200, (1 << 62) - 1),
        "active_connection_id_limit": (2, (1 << 62) - 1),
        "initial_max_streams_bidi": (0, 1 << 60),
        "initial_max_streams_uni": (0, 1 << 60),
    }
    _of_servers = (
        "original_destination_connection_id",
        "retry_source_connection_id",
        "stateless_reset_token",
        "preferred_address",
    )

    def on_event(self, event: Event) -> None:
        for name, (low, high) in self._ranges.items():
            value = whole(event.data.get(name))
            if value is not None and not low <= value <= high:
                self.report(event, f"{name} is {value}, not within {low} and {high}", f"/data/{name}")
        side = {"local": self.scene.role, "remote": self.scene.peer}.get(initiator(event.data))
        if side == "client":
            for name in self._of_servers:
                if event.data.get(name):
                    self.report(event, f"a client must not send {name}", f"/data/{name}")


class Restored(Check):
    """Clients remember the server's parameters for 0-RTT; a server that takes it may not lower them."""

    id = "T10"
    title = "restored parameters are a client's and are kept when 0-RTT is accepted"
    reference = "RFC 9000 §7.4.1"
    events = ("quic:parameters_restored", "quic:parameters_set")

    def on_event(self, event: Event) -> None:
        if event.name == "quic:parameters_restored":
            if self.scene.role == "server":
                self.report(event, "a server restores no parameters", "/name")
        elif initiator(event.data) == "remote" and event.data.get("early_data_enabled") is True:
            for name, before in self.scene.restored.items():
                value, least = whole(event.data.get(name)), whole(before)
                if value is None or least is None or not name.startswith(("initial_max_", "active_")):
                    continue
                if value < least:
                    message = f"{name} is {value} and was {before} in 0-RTT, which was accepted"
                    self.report(event, message, f"/data/{name}")


class NotYetHeard(Check):
    """A peer's parameters come with its handshake. Those of before are remembered from an earlier connection.

    For them there is another event, which has no fields for what is not remembered.
    """

    id = "T18"
    title = "a peer's parameters are set when it was heard of"
    reference = "RFC 9000 §7.4.1, draft-ietf-quic-qlog-quic-events, parameters_restored"
    severity = "warning"
    # Traces that start late don't tell.
    needs_history = True
    events = ("quic:parameters_set",)

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._heard = False
        self._early: Event | None = None

    def on_event(self, event: Event) -> None:
        if initiator(event.data) == "remote" and not self._heard:
            self._early = event

    def on_packet(self, packet: Packet) -> None:
        # What a packet brings may be logged before it, but no packet goes out between both.
        if self._early is not None and packet.sent and not self._heard:
            message = "parameters of a peer that has not sent anything yet"
            self.report(self._early, message, "/name", fix="log what 0-RTT remembers as parameters_restored")
            self._early = None
        self._heard = self._heard or not packet.sent
