"""Group T, first part: the trace itself, times, versions, states."""

import math
from typing import Any, ClassVar

from qlog.checks import codes
from qlog.checks.base import Check
from qlog.checks.scene import Scene
from qlog.model import Event, JsonObject, Trace
from qlog.packets import Packet, hexadecimal, initiator, whole

_MAIN = "draft-ietf-quic-qlog-main-schema"
_QUIC = "draft-ietf-quic-qlog-quic-events"


class TimeAscends(Check):
    """Events stand in the order of their times. Tools may sort them, but some (qvis) first complain."""

    id = "T01"
    title = "time never goes back"
    reference = f"{_MAIN}, Timestamps"
    severity = "warning"
    events = ("*",)

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._last = -math.inf

    def on_event(self, event: Event) -> None:
        back = self._last - event.time
        self._last = event.time
        # Deltas are the matter of T04.
        if back > 1e-6 and not _is_delta(event):
            self.report(event, f"{back:.3f} ms before the event before it", "/time", fix="sort the events")


class MonotonicEpoch(Check):
    """A monotonic clock starts at a time nobody knows, so its epoch is "unknown"."""

    id = "T02"
    title = "a monotonic clock has an unknown epoch"
    reference = f"{_MAIN}, Timestamps"

    def on_trace(self, trace: Trace) -> None:
        written = trace.common_fields.get("reference_time")
        if not isinstance(written, dict) or written.get("clock_type") != "monotonic":
            return
        if written.get("epoch", "unknown") != "unknown":
            self.report(
                None,
                f"the clock is monotonic and starts at {written['epoch']!r}",
                "/common_fields/reference_time/epoch",
                fix="write unknown, and the date as wall_clock_time",
            )


class CommonFields(Check):
    """What stands in common_fields stands for all events, so an event that differs must not exist."""

    id = "T03"
    title = "no event contradicts a common field"
    reference = f"{_MAIN}, Common fields"
    severity = "warning"
    events = ("*",)

    def on_event(self, event: Event) -> None:
        common = self.scene.trace.common_fields
        for name in ("tuple", "time_format", "group_id"):
            if name in event.fields and name in common and event.fields[name] != common[name]:
                self.report(
                    event,
                    f"{name} is {event.fields[name]!r} here and {common[name]!r} in common_fields",
                    f"/{name}",
                    fix="leave it out of common_fields",
                )


class Deltas(Check):
    """Times that count from the event before can't be negative."""

    id = "T04"
    title = "times relative to the previous event are not negative"
    reference = f"{_MAIN}, Timestamps"
    events = ("*",)

    def on_event(self, event: Event) -> None:
        written = event.fields.get("time")
        if isinstance(written, int | float) and written < 0 and _is_delta(event):
            self.report(event, f"{written} ms after the event before it", "/time")


class EventSchemas(Check):
    """Schemas that are still drafts carry the draft's number; the bare names are kept for the RFCs.

    The list is a hint: a namespace that is used and not listed is only noted.
    """

    id = "T05"
    title = "event_schemas carries draft numbers and names what is used"
    reference = f"{_MAIN}, Event schemas"
    events = ("*",)
    _drafts = frozenset({"quic", "http3", "http"})

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._listed = {_namespace(uri) for uri in scene.trace.event_schemas}
        self._seen: set[str] = set()

    def on_trace(self, trace: Trace) -> None:
        if not trace.era.has_file_schema:
            return
        for index, uri in enumerate(trace.event_schemas):
            name = uri.partition("urn:ietf:params:qlog:events:")[2].partition("#")[0]
            if name in self._drafts:
                self.report(
                    None,
                    f"{uri} is kept for the RFC",
                    f"/event_schemas/{index}",
                    fix="add the number of the draft, such as -13",
                )

    def on_event(self, event: Event) -> None:
        namespace = event.original_name.partition(":")[0]
        if namespace in self._seen or not event.trace.era.has_file_schema:
            return
        self._seen.add(namespace)
        if namespace not in self._listed and namespace in self._drafts | {"loglevel", "simulation"}:
            self.report(event, f"event_schemas does not name {namespace}", "/name", severity="info")


class NetworkFlow(Check):
    """Seen from the network, "sent" needs a direction: vantage_point.flow tells whose side is meant."""

    id = "T06"
    title = "a vantage point in the network tells its flow"
    reference = f"{_MAIN}, Vantage point"

    def on_trace(self, trace: Trace) -> None:
        written = trace.header.get("vantage_point")
        if isinstance(written, dict) and written.get("type") == "network" and "flow" not in written:
            self.report(
                None, "the vantage point is network, without flow", "/vantage_point", fix="add flow: client"
            )


class Version(Check):
    """The chosen version is one that was offered, and long headers carry a version that was mentioned."""

    id = "T07"
    title = "the chosen version was offered and is the one in use"
    reference = "RFC 9000 §6.2, RFC 9368 §2"
    events = ("quic:version_information",)

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._chosen = ""
        self._mentioned: set[str] = set()

    def on_event(self, event: Event) -> None:
        chosen = _version(event.data.get("chosen_version"))
        for side in ("client_versions", "server_versions"):
            versions = event.data.get(side)
            if not isinstance(versions, list):
                continue
            offered = {_version(version) for version in versions}
            self._mentioned |= offered
            if chosen and offered and chosen not in offered:
                self.report(
                    event, f"version {chosen} was chosen and is not in {side}", "/data/chosen_version"
                )
        self._chosen = chosen or self._chosen
        self._mentioned.add(chosen)

    def on_packet(self, packet: Packet) -> None:
        version = _version(packet.header.get("version"))
        # A version of 0 marks Version Negotiation (RFC 9000 §17.2.1).
        if self._chosen and version and int(version, 16) and packet.space and version not in self._mentioned:
            self.report(
                packet.event,
                f"a packet of version {version}, where {self._chosen} was chosen",
                "/data/header/version",
            )


class Alpn(Check):
    """The server picks from what the client offers."""

    id = "T08"
    title = "the chosen application protocol was offered"
    reference = "RFC 9001 §8.1, RFC 7301 §3.2"
    events = ("quic:alpn_information",)

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._offered: dict[str, set[str]] = {}

    def on_event(self, event: Event) -> None:
        for side in ("client_alpns", "server_alpns"):
            written = event.data.get(side)
            if isinstance(written, list) and written:
                self._offered[side] = {_alpn(item) for item in written}
        if "chosen_alpn" not in event.data:
            return
        chosen = _alpn(event.data["chosen_alpn"])
        for side, offered in self._offered.items():
            if chosen not in offered:
                self.report(event, f"{chosen} was chosen and is not in {side}", "/data/chosen_alpn")


class FrameNumbers(Check):
    """packet_numbers[i] is where frames[i] was, so both lists are equally long."""

    id = "T11"
    title = "frames and packet_numbers have the same length"
    reference = f"{_QUIC}, frames_created and frames_parsed"
    events = ("quic:frames_created", "quic:frames_parsed")

    def on_event(self, event: Event) -> None:
        frames, numbers = event.data.get("frames"), event.data.get("packet_numbers")
        if isinstance(frames, list) and isinstance(numbers, list) and len(frames) != len(numbers):
            self.report(event, f"{len(frames)} frames, {len(numbers)} packet numbers", "/data/packet_numbers")


class RawLengths(Check):
    """A payload is part of the whole, and data that was logged is not longer than the whole."""

    id = "T12"
    title = "payload_length and data are not longer than length"
    reference = f"{_MAIN}, RawInfo"
    events = ("quic:packet_dropped", "quic:packet_buffered", "quic:stream_data_moved")

    def on_event(self, event: Event) -> None:
        self._check(event, event.data, "/data")

    def on_packet(self, packet: Packet) -> None:
        self._check(packet.event, packet.event.data, "/data")
        for index, frame in enumerate(packet.frames):
            if "raw" in frame:
                self._check(packet.event, frame, f"/data/frames/{index}")

    def _check(self, event: Event, holder: JsonObject, pointer: str) -> None:
        raw = holder.get("raw")
        if not isinstance(raw, dict):
            return
        length, payload = whole(raw.get("length")), whole(raw.get("payload_length"))
        if length is None:
            return
        if payload is not None and payload > length:
            self.report(
                event, f"payload_length is {payload}, length {length}", f"{pointer}/raw/payload_length"
            )
        data = raw.get("data")
        if isinstance(data, str) and len(data) > 2 * length:
            self.report(event, f"{len(data) // 2} bytes of data, length {length}", f"{pointer}/raw/data")


class ConnectionStates(Check):
    """A connection goes from attempted to closed and never back."""

    id = "T13"
    title = "connection states only move forward"
    reference = f"{_QUIC}, connection_state_updated"
    events = ("quic:connection_state_updated",)
    # peer_validated and early_write come at different moments on the two sides.
    _order: ClassVar[dict[str, int]] = {
        "attempted": 0,
        "handshake_started": 1,
        "handshake_complete": 2,
        "handshake_completed": 2,
        "handshake_confirmed": 3,
        "closing": 4,
        "draining": 5,
        "closed": 6,
    }

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._last = ""

    def on_event(self, event: Event) -> None:
        state = str(event.data.get("new"))
        reached = self._order.get(self._last, -1)
        if state in {"peer_validated", "early_write"}:
            if reached >= self._order["closing"]:
                self.report(event, f"{state} after {self._last}", "/data/new")
            return
        if self._order.get(state, reached) < reached:
            self.report(event, f"{state} after {self._last}", "/data/new")
        elif state in self._order:
            self._last = state


class CloseAgrees(Check):
    """connection_closed tells the error that the CONNECTION_CLOSE frame carried."""

    id = "T14"
    title = "connection_closed agrees with the CONNECTION_CLOSE frame"
    reference = "RFC 9000 §19.19"
    events = ("quic:connection_closed",)
    frames = ("connection_close",)

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._frames: dict[tuple[str, str], int] = {}
        self._closed: Event | None = None

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        del index
        code = codes.of_frame(frame)
        space = str(frame.get("error_space", "transport")).removesuffix("_error")
        if code is not None:
            self._frames.setdefault(("local" if packet.sent else "remote", space), code)

    def on_event(self, event: Event) -> None:
        self._closed = self._closed or event

    def on_end(self) -> None:
        if self._closed is None:
            return
        data = self._closed.data
        for space, names in (
            ("transport", ("connection_error", "connection_code")),
            ("application", ("application_error", "application_code")),
        ):
            told = codes.of(data, *names)
            framed = self._frames.get((initiator(data), space))
            if told is not None and framed is not None and told != framed:
                name = next(name for name in names if name in data)
                self.report(
                    self._closed, f"error {told:#x}, in the CONNECTION_CLOSE {framed:#x}", f"/data/{name}"
                )


class FieldsOfPacketTypes(Check):
    """Only some packets have a key phase, a token, a packet number or a list of versions."""

    id = "T15"
    title = "header fields stand on packets that have them"
    reference = f"{_QUIC}, PacketHeader"
    severity = "warning"
    _of: ClassVar[dict[str, frozenset[str]]] = {
        "key_phase": frozenset({"1RTT"}),
        "key_phase_bit": frozenset({"1RTT"}),
        "token": frozenset({"initial", "retry"}),
        "packet_number": frozenset({"initial", "handshake", "0RTT", "1RTT"}),
    }

    def on_packet(self, packet: Packet) -> None:
        if packet.type == "unknown":
            return
        for name, types in self._of.items():
            if packet.type not in types and name in packet.header:
                self.report(
                    packet.event,
                    f"{packet.type} packets have no {name}",
                    f"/data/header/{name}",
                    fix="leave it out",
                )
        for name in ("supported_versions", "stateless_reset_token"):
            owner = "version_negotiation" if name == "supported_versions" else "stateless_reset"
            if packet.event.data.get(name) and packet.type != owner:
                self.report(
                    packet.event, f"{packet.type} packets have no {name}", f"/data/{name}", fix="leave it out"
                )


class UnknownErrors(Check):
    """error_code is there for errors that have no name, and only for those."""

    id = "T16"
    title = 'error_code stands beside an error that is "unknown"'
    reference = f"{_QUIC}, TransportError"
    severity = "warning"
    events = ("quic:connection_closed",)
    frames = ("connection_close", "reset_stream", "reset_stream_at", "stop_sending")

    def on_event(self, event: Event) -> None:
        names = ("connection_error", "application_error")
        self._check(event, [event.data[name] for name in names if name in event.data], event.data, "/data")

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        # Until quic-11 error_code was the only field.
        if "error" in frame:
            self._check(packet.event, [frame["error"]], frame, f"/data/frames/{index}")

    def _check(self, event: Event, errors: list[Any], holder: JsonObject, pointer: str) -> None:
        if "unknown" in errors and "error_code" not in holder:
            self.report(event, "the error is unknown, without error_code", pointer, fix="add error_code")
        elif errors and "unknown" not in errors and "error_code" in holder:
            self.report(
                event, f"error_code beside {errors[0]}", f"{pointer}/error_code", fix="leave error_code out"
            )


class SpinBitChanges(Check):
    """The event is for changes of the bit, not for every packet."""

    id = "T17"
    title = "spin_bit_updated tells a change"
    reference = f"{_QUIC}, spin_bit_updated"
    severity = "warning"
    events = ("quic:spin_bit_updated",)

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._last: Any = None

    def on_event(self, event: Event) -> None:
        state = event.data.get("state")
        if isinstance(state, bool) and state is self._last:
            self.report(event, f"the spin bit was {state} before", "/data/state", fix="log changes only")
        self._last = state


def _is_delta(event: Event) -> bool:
    written = event.fields.get("time_format", event.trace.common_fields.get("time_format"))
    return written in {"relative_to_previous_event", "delta"} or "delta_time" in event.fields


def _namespace(uri: str) -> str:
    return uri.partition("urn:ietf:params:qlog:events:")[2].partition("#")[0].partition("-")[0]


def _version(written: Any) -> str:
    """Eight hex digits; "" for what is no version."""
    text = hexadecimal(written)
    return text.rjust(8, "0") if text else ""


def _alpn(written: Any) -> str:
    if isinstance(written, dict):
        text = written.get("string_value")
        if isinstance(text, str):
            return text
        data = hexadecimal(written.get("byte_value")) or ""
        return bytes.fromhex(data if len(data) % 2 == 0 else "").decode("ascii", "backslashreplace")
    return str(written)
