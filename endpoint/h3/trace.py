"""HTTP/3 as a tracer is told (draft-ietf-quic-qlog-h3-events). Only used with a tracer.

Nothing here knows the time: commands don't either. What is told counts as done when the tracer is next told
the time, which is when what a command has to send goes out.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.frames import FrameType
from endpoint.h3.settings import INITIAL_SETTINGS, SettingId, Settings
from endpoint.h3.streams import StreamType
from endpoint.trace import Tracer
from endpoint.wire.varint import varint_length

# Frames that carry one number: their names, and that of the number.
_IDENTIFIERS = {
    FrameType.CANCEL_PUSH: ("cancel_push", "push_id"),
    FrameType.GOAWAY: ("goaway", "id"),
    FrameType.MAX_PUSH_ID: ("max_push_id", "push_id"),
}
_STREAM_TYPES = {
    StreamType.CONTROL: "control",
    StreamType.PUSH: "push",
    StreamType.QPACK_ENCODER: "qpack_encode",
    StreamType.QPACK_DECODER: "qpack_decode",
}

# What the parameters are called that a setting stands for.
_PARAMETERS = {
    SettingId.QPACK_MAX_TABLE_CAPACITY: "max_table_capacity",
    SettingId.MAX_FIELD_SECTION_SIZE: "max_field_section_size",
    SettingId.QPACK_BLOCKED_STREAMS: "blocked_streams_count",
    SettingId.ENABLE_CONNECT_PROTOCOL: "extended_connect",
    SettingId.H3_DATAGRAM: "h3_datagram",
}

# The drafts list the codes of RFC 9114 §8.1, but for one, and none of the extensions'.
_UNLISTED = frozenset(
    {
        H3ErrorCode.H3_MESSAGE_ERROR,
        H3ErrorCode.H3_DATAGRAM_ERROR,
        H3ErrorCode.QPACK_DECOMPRESSION_FAILED,
        H3ErrorCode.QPACK_ENCODER_STREAM_ERROR,
        H3ErrorCode.QPACK_DECODER_STREAM_ERROR,
    }
)
_ERROR_NAMES = {
    int(code): f"http_{code.name.removeprefix('H3_').lower()}"
    for code in H3ErrorCode
    if code not in _UNLISTED
}

# RFC 9297 §3.2.
_CAPSULE_DATAGRAM = 0x0

# Fields whose values let a reader of the trace act for the user. Their names are told.
_SECRET = frozenset({b"authorization", b"cookie", b"proxy-authorization", b"set-cookie"})


class H3Observer:
    """Tells the tracer of one connection what its HTTP/3 does.

    `created` says which way a frame, capsule or datagram goes: made here, or parsed here. `length` counts the
    bytes of its payload, the frame's Length. Stream types, frame types and identifiers are those of the wire.
    """

    __slots__ = ("_is_client", "_tracer")

    def __init__(self, tracer: Tracer, *, is_client: bool) -> None:
        self._tracer = tracer
        self._is_client = is_client
        tracer.name_application_errors(_ERROR_NAMES)

    def settings_restored(self, settings: Settings) -> None:
        """Settings of an earlier connection count until the peer's come (RFC 9114 §7.2.4.2)."""
        self._tracer.http_event("http3:parameters_restored", _parameters(settings))

    def stream_type_set(self, stream_id: int, stream_type: int | None = None) -> None:
        """The type of a stream is known; None: it is a request."""
        by_client = not stream_id & 1
        data: dict[str, Any] = {
            "initiator": "local" if by_client == self._is_client else "remote",
            "stream_id": stream_id,
        }
        if stream_type is None:
            data["stream_type"] = "request"
        elif stream_type in _STREAM_TYPES:
            data["stream_type"] = _STREAM_TYPES[StreamType(stream_type)]
        elif _is_reserved(stream_type):
            data["stream_type"] = "reserved"
        else:
            data |= {"stream_type": "unknown", "stream_type_bytes": stream_type}
        self._tracer.http_event("http3:stream_type_set", data)

    def priority_updated(self, stream_id: int, old: str | None, new: str, *, by_client: bool) -> None:
        """The priority of a request, serialized, is set or changed: as the client asks, or by ourselves."""
        data: dict[str, Any] = {"stream_id": stream_id, "new": new}
        if old is not None:
            data["old"] = old
        if by_client and not self._is_client:
            data |= {"trigger": "client_signal_received", "reason": "client_signal_only"}
        else:
            data["trigger"] = "local"
        self._tracer.http_event("http3:priority_updated", data)

    # Frames, by what is told of them.

    def data(self, stream_id: int, length: int, *, created: bool) -> None:
        """The header of a DATA frame."""
        self._frame(stream_id, {"frame_type": "data"}, FrameType.DATA, length, created=created)

    def headers(
        self, stream_id: int, headers: Sequence[tuple[bytes, bytes]], length: int, *, created: bool
    ) -> None:
        """A HEADERS frame and the field section that its `length` bytes encode."""
        fields = [_field(name, value) for name, value in headers]
        frame = {"frame_type": "headers", "headers": fields}
        self._frame(stream_id, frame, FrameType.HEADERS, length, created=created)

    def settings(self, stream_id: int, settings: Settings, length: int, *, created: bool) -> None:
        """A SETTINGS frame, with which its settings count."""
        frame = {"frame_type": "settings", "settings": _settings(settings)}
        self._frame(stream_id, frame, FrameType.SETTINGS, length, created=created)
        data = {"initiator": "local" if created else "remote", **_parameters(settings)}
        self._tracer.http_event("http3:parameters_set", data)

    def identifier(
        self, stream_id: int, frame_type: int, identifier: int, length: int, *, created: bool
    ) -> None:
        """A GOAWAY, MAX_PUSH_ID or CANCEL_PUSH frame: those that carry one number."""
        kind, name = _IDENTIFIERS[FrameType(frame_type)]
        self._frame(stream_id, {"frame_type": kind, name: identifier}, frame_type, length, created=created)

    def priority_update(
        self,
        stream_id: int,
        frame_type: int,
        element_id: int,
        field_value: bytes,
        length: int,
        *,
        created: bool,
    ) -> None:
        """A PRIORITY_UPDATE frame for a request, or for a push (RFC 9218 §7.2)."""
        element = "push_id" if frame_type == FrameType.PRIORITY_UPDATE_PUSH else "stream_id"
        frame = {
            "frame_type": "priority_update",
            element: element_id,
            "priority_field_value": field_value.decode("latin-1"),
        }
        self._frame(stream_id, frame, frame_type, length, created=created)

    def other_frame(self, stream_id: int, frame_type: int, length: int, *, created: bool) -> None:
        """A frame of an unknown type, or of one reserved to practise ignoring them (RFC 9114 §7.2.8)."""
        kind = "reserved" if _is_reserved(frame_type) else "unknown"
        frame = {"frame_type": kind, "frame_type_bytes": frame_type}
        self._frame(stream_id, frame, frame_type, length, created=created)

    # RFC 9297.

    def datagram(self, stream_id: int, length: int, *, created: bool) -> None:
        """An HTTP Datagram in a QUIC DATAGRAM frame (§2.1); `length` is that of its HTTP Datagram Payload."""
        data = {"quarter_stream_id": stream_id // 4, "raw": {"payload_length": length}}
        self._tracer.http_event(f"http3:datagram_{'created' if created else 'parsed'}", data)

    def capsule(self, stream_id: int, capsule_type: int, length: int, *, created: bool) -> None:
        """A capsule in the data of a request (§3.2)."""
        capsule: dict[str, Any] = {"capsule_type": "datagram"}
        if capsule_type != _CAPSULE_DATAGRAM:
            capsule = {"capsule_type": "unknown", "capsule_type_value": capsule_type}
        capsule["raw"] = {"payload_length": length}
        name = f"http:capsule_{'created' if created else 'parsed'}"
        self._tracer.http_event(name, {"stream_id": stream_id, "capsule": capsule})

    def _frame(
        self, stream_id: int, frame: dict[str, Any], frame_type: int, length: int, *, created: bool
    ) -> None:
        raw = {"payload_length": length}
        if created:
            # Ours have the shortest headers; how long a peer's was is forgotten when it is parsed.
            raw["length"] = varint_length(frame_type) + varint_length(length) + length
        frame["raw"] = raw
        name = "http3:frame_created" if created else "http3:frame_parsed"
        self._tracer.http_event(name, {"stream_id": stream_id, "frame": frame})


def _is_reserved(code: int) -> bool:
    """RFC 9114 §7.2.8, §6.2.3, §7.2.4.1: 0x1f * N + 0x21 is there to be ignored."""
    return code >= 0x21 and (code - 0x21) % 0x1F == 0


def _settings(settings: Settings) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = [
        {"name": f"settings_{identifier.name.lower()}", "value": value}
        for identifier, value in _values(settings)
    ]
    for number, value in settings.extra.items():
        name = {"name": "reserved"} if _is_reserved(number) else {"name": "unknown", "name_bytes": number}
        told.append({**name, "value": value})
    return told


def _parameters(settings: Settings) -> dict[str, int]:
    return {_PARAMETERS[identifier]: value for identifier, value in _values(settings)}


def _values(settings: Settings) -> Iterator[tuple[SettingId, int]]:
    """What differs from the initial values, and so is sent."""
    for identifier in SettingId:
        name = identifier.name.lower()
        value = getattr(settings, name)
        if value != getattr(INITIAL_SETTINGS, name):
            yield identifier, int(value)


def _field(name: bytes, value: bytes) -> dict[str, str]:
    told = _text("name", name)
    return told if name in _SECRET else told | _text("value", value)


def _text(key: str, octets: bytes) -> dict[str, str]:
    """What RFC 9110 §5.1 and §5.5 allow is text, all else is told as bytes."""
    if octets.isascii() and octets.decode("ascii").isprintable():
        return {key: octets.decode("ascii")}
    return {f"{key}_bytes": octets.hex()}
