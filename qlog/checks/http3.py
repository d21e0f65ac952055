"""Group H: what RFC 9114 and its extensions say of HTTP/3 frames and streams."""

from collections.abc import Iterator
from typing import Any, ClassVar

from qlog.checks.base import Check
from qlog.checks.scene import Scene
from qlog.checks.streams import MOST_STREAMS
from qlog.model import Event, JsonObject
from qlog.packets import Packet, StreamPart, initiator, stream_id, whole

_CREATED, _PARSED = "http3:frame_created", "http3:frame_parsed"
_FRAMES = (_CREATED, _PARSED)
_TYPE_SET = "http3:stream_type_set"

_ON_REQUESTS = frozenset({"data", "headers", "push_promise"})
_ON_CONTROL = frozenset({"settings", "goaway", "max_push_id", "cancel_push", "priority_update", "origin"})
_CRITICAL = {
    "control": "control",
    "qpack_encode": "qpack_encode",
    "qpack_encoder": "qpack_encode",
    "qpack_decode": "qpack_decode",
    "qpack_decoder": "qpack_decode",
}
_SETTINGS = {
    "settings_qpack_max_table_capacity": "max_table_capacity",
    "settings_max_field_section_size": "max_field_section_size",
    "settings_qpack_blocked_streams": "blocked_streams_count",
    "settings_enable_connect_protocol": "extended_connect",
    "settings_h3_datagram": "h3_datagram",
}


class _Frames(Check):
    """A check that looks at HTTP/3 frames and knows which streams are control streams."""

    events: ClassVar[tuple[str, ...]] = (*_FRAMES, _TYPE_SET)

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.types: dict[int, str] = {}

    def on_event(self, event: Event) -> None:
        stream = stream_id(event.data)
        if event.name == _TYPE_SET:
            written = event.data.get("stream_type", event.data.get("new"))
            if stream is not None and len(self.types) < MOST_STREAMS:
                self.types[stream] = _CRITICAL.get(str(written), str(written))
            return
        frame = event.data.get("frame")
        if event.name in _FRAMES and isinstance(frame, dict) and stream is not None:
            self.on_http_frame(event, stream, str(frame.get("frame_type")), frame)

    def on_http_frame(self, event: Event, stream: int, kind: str, frame: JsonObject) -> None:
        """A frame was created or parsed."""

    def sender(self, event: Event) -> str:
        """The role of a frame's sender."""
        return self.scene.role if event.name == _CREATED else self.scene.peer


class SettingsFirst(_Frames):
    """Each side begins its control stream with SETTINGS, and never sends it again."""

    id = "H01"
    title = "SETTINGS is the first frame of a control stream, and comes once"
    reference = "RFC 9114 §6.2.1, §7.2.4"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        # Whether SETTINGS has come, of those that have begun.
        self._begun: dict[tuple[str, int], bool] = {}

    def on_http_frame(self, event: Event, stream: int, kind: str, frame: JsonObject) -> None:
        del frame
        if kind not in _ON_CONTROL and self.types.get(stream) != "control":
            return
        # What stands on the wrong stream is the matter of H02.
        if stream & 2 == 0 or self.types.get(stream, "control") != "control":
            return
        key = (event.name, stream)
        settled = self._begun.get(key)
        if kind == "settings" and settled:
            self.report(event, f"SETTINGS again on stream {stream}", "/data/frame")
        elif kind != "settings" and settled is None and self.scene.complete:
            self.report(event, f"{kind} on stream {stream} before SETTINGS", "/data/frame")
        if len(self._begun) < MOST_STREAMS:
            self._begun[key] = bool(settled) or kind == "settings"


class FramesOnStreams(_Frames):
    """Requests and what steers the connection have different streams."""

    id = "H02"
    title = "frames stand on the right kind of stream"
    reference = "RFC 9114 §7.2"

    def on_http_frame(self, event: Event, stream: int, kind: str, frame: JsonObject) -> None:
        del frame
        is_control = self.types.get(stream) == "control"
        if stream & 2 == 0 and kind in _ON_CONTROL:
            self.report(event, f"{kind} on the request stream {stream}", "/data/frame/frame_type")
        elif is_control and kind in _ON_REQUESTS:
            self.report(event, f"{kind} on the control stream {stream}", "/data/frame/frame_type")


class MessageOrder(_Frames):
    """A message is HEADERS, DATA, and trailers as a second HEADERS.

    A response may have interim ones, with a status of 1xx, before.
    """

    id = "H03"
    title = "HEADERS comes before DATA, and nothing after the trailers"
    reference = "RFC 9114 §4.1"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._state: dict[tuple[str, int], str] = {}

    def on_http_frame(self, event: Event, stream: int, kind: str, frame: JsonObject) -> None:
        # Extensions, such as WebTransport, have their own streams.
        if kind not in {"headers", "data"} or stream & 2 or len(self._state) > MOST_STREAMS:
            return
        key = (event.name, stream)
        state = self._state.get(key, "")
        if state == "trailers":
            self.report(event, f"{kind} after the trailers of stream {stream}", "/data/frame")
        elif kind == "data":
            if not state and self.scene.complete:
                self.report(event, f"DATA before HEADERS on stream {stream}", "/data/frame")
            self._state[key] = "data"
        elif not state:
            interim = any(name == ":status" and value.startswith("1") for name, value in _fields(frame))
            self._state[key] = "" if interim else "headers"
        else:
            self._state[key] = "trailers"


class PseudoFields(_Frames):
    """A request has :method, :scheme and :path (CONNECT has :authority), a response has :status.

    They come first; names are in lower case, and trailers have no pseudo-header fields.
    """

    id = "H04"
    title = "pseudo-header fields are complete and first, names in lower case"
    reference = "RFC 9114 §4.2, §4.3"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._messages: set[tuple[str, int]] = set()

    def on_http_frame(self, event: Event, stream: int, kind: str, frame: JsonObject) -> None:
        if kind not in {"headers", "push_promise"} or not self.sender(event):
            return
        fields = list(_fields(frame))
        if not fields:
            return
        problem = self._problem(event, stream, kind, fields)
        if problem:
            self.report(event, problem, "/data/frame/headers")

    def _problem(self, event: Event, stream: int, kind: str, fields: list[tuple[str, str]]) -> str:
        names = [name for name, _ in fields]
        for name in names:
            if name != name.lower():
                return f"the name {name} is not in lower case"
        first_regular = next((at for at, name in enumerate(names) if not name.startswith(":")), len(names))
        late = [name for name in names[first_regular:] if name.startswith(":")]
        if late:
            return f"{late[0]} after {names[first_regular]}"
        pseudo = names[:first_regular]
        if len(set(pseudo)) < len(pseudo):
            return "a pseudo-header field stands twice"
        key = (event.name, stream)
        if kind == "headers" and key in self._messages:
            return f"{pseudo[0]} in trailers" if pseudo else ""
        is_request = self.sender(event) == "client" or kind == "push_promise"
        interim = dict(fields).get(":status", "").startswith("1")
        if kind == "headers" and not interim and len(self._messages) < MOST_STREAMS:
            self._messages.add(key)
        missing = [name for name in _required(is_request, dict(fields)) if name not in pseudo]
        return f"{missing[0]} is missing" if missing else ""


class Http2Leftovers(_Frames):
    """Settings and frames that HTTP/2 has and HTTP/3 has not are reserved, and a setting stands once."""

    id = "H05"
    title = "no settings or frames of HTTP/2, no setting twice"
    reference = "RFC 9114 §7.2.4.1, §7.2.8"
    _settings = frozenset({2, 3, 4, 5})
    _types = frozenset({0x2, 0x6, 0x8, 0x9})

    def on_http_frame(self, event: Event, stream: int, kind: str, frame: JsonObject) -> None:
        del stream
        number = whole(frame.get("frame_type_bytes"))
        if kind in {"unknown", "reserved"} and number in self._types:
            self.report(event, f"frame type {number} is HTTP/2's", "/data/frame/frame_type_bytes")
        if kind != "settings":
            return
        seen = set()
        for index, (name, number, _) in enumerate(_settings(frame)):
            pointer = f"/data/frame/settings/{index}"
            if number in self._settings:
                self.report(event, f"setting {number} is HTTP/2's", pointer)
            identity = number if number is not None else name
            # GREASE has many numbers under one name.
            if identity in seen and identity not in {"reserved", "unknown", ""}:
                self.report(event, f"the setting {identity} stands twice", pointer)
            seen.add(identity)


class GoAway(_Frames):
    """A GOAWAY may only take back more: its id, of a request stream or a push, never rises."""

    id = "H06"
    title = "the id of GOAWAY never rises and is of the right kind"
    reference = "RFC 9114 §5.2, §7.2.6"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._last: dict[str, int] = {}

    def on_http_frame(self, event: Event, stream: int, kind: str, frame: JsonObject) -> None:
        del stream
        number = whole(frame.get("id"))
        if kind != "goaway" or number is None:
            return
        last = self._last.get(event.name)
        if last is not None and number > last:
            self.report(event, f"GOAWAY of {number} after {last}", "/data/frame/id")
        elif self.sender(event) == "server" and number % 4:
            self.report(event, f"{number} is no request stream of a client", "/data/frame/id")
        self._last[event.name] = number


class CriticalStreams(_Frames):
    """Each side has one control stream and at most one encoder and one decoder stream."""

    id = "H07"
    title = "one control, encoder and decoder stream per side"
    reference = "RFC 9114 §6.2.1, RFC 9204 §4.2"
    events: ClassVar[tuple[str, ...]] = (_TYPE_SET,)

    def on_event(self, event: Event) -> None:
        stream = stream_id(event.data)
        before = dict(self.types)
        super().on_event(event)
        kind = self.types.get(stream, "") if stream is not None else ""
        if stream is None or kind not in _CRITICAL:
            return
        for other, known in before.items():
            if known == kind and other != stream and other & 1 == stream & 1:
                self.report(event, f"a second {kind} stream, {stream} after {other}", "/data/stream_id")
                return


class CriticalStreamsOpen(_Frames):
    """The control, encoder and decoder streams last as long as the connection."""

    id = "H08"
    title = "control, encoder and decoder streams stay open"
    reference = "RFC 9114 §6.2.1, RFC 9204 §4.2"
    events: ClassVar[tuple[str, ...]] = (_TYPE_SET,)
    frames = ("stream", "reset_stream", "reset_stream_at", "stop_sending")

    def on_frame(self, packet: Packet, index: int, frame: JsonObject) -> None:
        kind = frame["frame_type"]
        stream = stream_id(frame)
        if stream is None or (kind == "stream" and frame.get("fin") is not True):
            return
        if self.types.get(stream) in _CRITICAL:
            what = "FIN" if kind == "stream" else kind
            message = f"{what} on the {self.types[stream]} stream {stream}"
            self.report(packet.event, message, f"/data/frames/{index}")


class ContentLength(_Frames):
    """All DATA of a message together is as long as content-length says.

    Some count the frame's header into the length of DATA, so a few bytes per frame are forgiven. Whether
    anything is missing shows when the stream ends.
    """

    id = "H09"
    title = "DATA adds up to content-length"
    reference = "RFC 9114 §4.1.2"
    sent = True
    # Type and length take up to this.
    _frame_header = 9

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._expected: dict[tuple[bool, int], tuple[int, Event]] = {}
        self._least: dict[tuple[bool, int], int] = {}
        self._most: dict[tuple[bool, int], int] = {}
        self._heads: set[int] = set()

    def on_http_frame(self, event: Event, stream: int, kind: str, frame: JsonObject) -> None:
        key = (event.name == _CREATED, stream)
        if kind == "headers" and key not in self._expected and len(self._expected) < MOST_STREAMS:
            fields = dict(_fields(frame))
            if fields.get(":method") == "HEAD":
                self._heads.add(stream)
            length = whole(fields.get("content-length"))
            no_content = fields.get(":status") in {"204", "304"} or stream in self._heads
            if length is not None and not no_content:
                self._expected[key] = (length, event)
        elif kind == "data" and key in self._expected:
            low, high = self._lengths(event, frame)
            self._least[key] = self._least.get(key, 0) + low
            self._most[key] = self._most.get(key, 0) + high
            expected = self._expected[key][0]
            if self._least[key] > expected:
                message = f"{self._least[key]} bytes on stream {stream}, content-length is {expected}"
                self.report(event, message, "/data/frame")
                del self._expected[key]

    def _lengths(self, event: Event, frame: JsonObject) -> tuple[int, int]:
        raw = frame.get("raw")
        raw = raw if isinstance(raw, dict) else {}
        payload = whole(raw.get("payload_length"))
        if payload is not None:
            return payload, payload
        length = whole(raw.get("length", event.data.get("length")))
        return (0, 1 << 62) if length is None else (max(length - self._frame_header, 0), length)

    def on_part(self, packet: Packet, index: int, part: StreamPart) -> None:
        del index
        # What is sent was created before. What is received may still have to be parsed.
        if part.kind != "stream" or not part.fixes:
            return
        stream = part.stream
        expected = self._expected.pop((True, stream), None)
        if expected is None:
            return
        sum_of_data = self._most.get((True, stream), 0)
        if sum_of_data < expected[0]:
            message = f"{sum_of_data} bytes on stream {stream}, content-length is {expected[0]}"
            self.report(packet.event, message, "/data/frames")


class PushIds(_Frames):
    """A client says how many pushes it takes, and never takes it back."""

    id = "H10"
    title = "push ids are within MAX_PUSH_ID, which comes from clients and never falls"
    reference = "RFC 9114 §7.2.5, §7.2.7"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._most: int | None = None

    def on_http_frame(self, event: Event, stream: int, kind: str, frame: JsonObject) -> None:
        del stream
        push = whole(frame.get("push_id"))
        if push is None:
            return
        if kind == "max_push_id":
            if self.sender(event) == "server":
                self.report(event, "a server sends no MAX_PUSH_ID", "/data/frame")
            elif self._most is not None and push < self._most:
                self.report(event, f"MAX_PUSH_ID of {push} after {self._most}", "/data/frame/push_id")
            self._most = max(push, self._most or 0)
        elif kind == "push_promise" and self.scene.complete and (self._most is None or push > self._most):
            allowed = "none" if self._most is None else f"up to {self._most}"
            self.report(event, f"push {push}, allowed are {allowed}", "/data/frame/push_id")


class Initiators(Check):
    """The lowest bit of a stream's id tells who opened it."""

    id = "H11"
    title = "the initiator of a stream fits its id"
    reference = "RFC 9000 §2.1"
    events: ClassVar[tuple[str, ...]] = (_TYPE_SET,)

    def on_event(self, event: Event) -> None:
        stream, side = stream_id(event.data), initiator(event.data)
        opener = {"local": self.scene.role, "remote": self.scene.peer}.get(side)
        if stream is not None and opener and (stream & 1 == 1) != (opener == "server"):
            name = "initiator" if "initiator" in event.data else "owner"
            self.report(event, f"stream {stream} is not the {opener}'s", f"/data/{name}")


class HttpDatagrams(Check):
    """HTTP datagrams need the setting of both sides."""

    id = "H12"
    title = "HTTP datagrams are sent only if both sides set h3_datagram"
    reference = "RFC 9297 §2.1.1"
    events = ("http3:parameters_set", "http3:datagram_created")

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._values: dict[str, int | None] = {}

    def on_event(self, event: Event) -> None:
        if event.name == "http3:parameters_set":
            if "h3_datagram" in event.data:
                self._values[initiator(event.data)] = whole(event.data["h3_datagram"])
            return
        for side, value in self._values.items():
            if value == 0:
                self.report(event, f"h3_datagram is 0 ({side})", "/data")


class PriorityUpdates(_Frames):
    """Clients tell new priorities, on their control stream."""

    id = "H13"
    title = "PRIORITY_UPDATE comes from clients"
    reference = "RFC 9218 §7.2"

    def on_http_frame(self, event: Event, stream: int, kind: str, frame: JsonObject) -> None:
        del stream, frame
        if kind == "priority_update" and self.sender(event) == "server":
            self.report(event, "a server sends no PRIORITY_UPDATE", "/data/frame/frame_type")


class SettingsAgree(_Frames):
    """http3:parameters_set tells the settings that the SETTINGS frame carries."""

    id = "H14"
    title = "http3:parameters_set agrees with SETTINGS"
    reference = "draft-ietf-quic-qlog-h3-events, parameters_set"
    events: ClassVar[tuple[str, ...]] = (*_FRAMES, "http3:parameters_set")
    _sides: ClassVar[dict[str, str]] = {_CREATED: "local", _PARSED: "remote"}

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._frames: dict[str, dict[str, int]] = {}
        self._told: dict[str, Event] = {}

    def on_event(self, event: Event) -> None:
        if event.name == "http3:parameters_set":
            self._told.setdefault(initiator(event.data), event)
        else:
            super().on_event(event)

    def on_http_frame(self, event: Event, stream: int, kind: str, frame: JsonObject) -> None:
        del stream
        if kind == "settings":
            values = self._frames.setdefault(self._sides[event.name], {})
            for name, _, value in _settings(frame):
                if name in _SETTINGS and value is not None:
                    values.setdefault(_SETTINGS[name], value)

    def on_end(self) -> None:
        for side, event in self._told.items():
            for name, value in self._frames.get(side, {}).items():
                told = whole(event.data.get(name))
                if told is not None and told != value:
                    self.report(event, f"{name} is {told}, in SETTINGS {value}", f"/data/{name}")


def _fields(frame: JsonObject) -> Iterator[tuple[str, str]]:
    """Names and values of a HEADERS frame, "" where only bytes were logged."""
    written = frame.get("headers")
    for field in written if isinstance(written, list) else []:
        if isinstance(field, dict):
            yield _text(field, "name"), _text(field, "value")


def _text(field: JsonObject, name: str) -> str:
    value: Any = field.get(name)
    if isinstance(value, str):
        return value
    data = field.get(f"{name}_bytes")
    try:
        return bytes.fromhex(data).decode("ascii", "replace") if isinstance(data, str) else ""
    except ValueError:
        return ""


def _settings(frame: JsonObject) -> Iterator[tuple[str, int | None, int | None]]:
    """(name, number, value) of the settings in a SETTINGS frame."""
    written = frame.get("settings")
    for setting in written if isinstance(written, list) else []:
        if isinstance(setting, dict):
            value = setting.get("value")
            yield (
                str(setting.get("name", "")).lower(),
                whole(setting.get("name_bytes")),
                int(value) if isinstance(value, bool) else whole(value),
            )


def _required(is_request: bool, fields: dict[str, str]) -> tuple[str, ...]:
    if not is_request:
        return (":status",)
    if fields.get(":method") == "CONNECT" and ":protocol" not in fields:
        return (":method", ":authority")
    return (":method", ":scheme", ":path")
