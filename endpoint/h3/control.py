"""Control streams (RFC 9114 §6.2.1, §7.2): SETTINGS first, then what concerns the connection."""

from dataclasses import dataclass, replace
from typing import TypeAlias

from endpoint.h3.errors import H3ConnectionError, H3ErrorCode
from endpoint.h3.frames import (
    FROM_CLIENT_ON_CONTROL,
    FROM_SERVER_ON_CONTROL,
    FrameSplitter,
    FrameType,
    encode_frame,
    grease_value,
    parse_integer,
)
from endpoint.h3.priority import Priority, encode_priority_update, parse_priority_update
from endpoint.h3.settings import Settings
from endpoint.h3.streams import LocalStreams, StreamType
from endpoint.h3.trace import H3Observer
from endpoint.wire.varint import encode_varint, read_varint

# The low bits of a client-initiated bidirectional stream (RFC 9000 §2.1) are 0.
_STREAM_KIND = 0x3


@dataclass(frozen=True, slots=True)
class Goaway:
    """`identifier` is the first request (to a client) or push (to a server) that is not processed."""

    identifier: int


@dataclass(frozen=True, slots=True)
class PriorityUpdate:
    """RFC 9218 §7, of a request."""

    stream_id: int
    priority: Priority


ControlFrame: TypeAlias = Settings | Goaway | PriorityUpdate


class OwnControlStream:
    """Writes ours, beginning with `settings`."""

    __slots__ = ("_grease_type", "_observer", "_settings", "_settings_length", "_streams")

    def __init__(
        self, streams: LocalStreams, settings: Settings, seed: int | None, observer: H3Observer | None
    ) -> None:
        """`seed`: of a setting and a frame without meaning (RFC 9114 §7.2.4.1, §7.2.8); None for none."""
        if seed is not None:
            grease = {grease_value(seed >> 8): seed & 0xFF}
            settings = replace(settings, extra={**settings.extra, **grease})
        payload = settings.encode()
        frames = encode_frame(FrameType.SETTINGS, payload)
        self._grease_type = None if seed is None else grease_value(seed >> 16)
        if self._grease_type is not None:
            frames += encode_frame(self._grease_type, b"")
        streams.write(StreamType.CONTROL, frames)
        self._streams = streams
        self._observer = observer
        self._settings = settings
        self._settings_length = len(payload)

    def trace_settings(self, stream_id: int) -> None:
        """The stream is open, so they are out."""
        if self._observer is not None:
            self._observer.settings(stream_id, self._settings, self._settings_length, created=True)
            if self._grease_type is not None:
                self._observer.other_frame(stream_id, self._grease_type, 0, created=True)

    def send_goaway(self, identifier: int) -> None:
        """RFC 9114 §5.2."""
        payload = encode_varint(identifier)
        self._streams.write(StreamType.CONTROL, encode_frame(FrameType.GOAWAY, payload))
        stream_id = self._streams.control_id
        if self._observer is not None and stream_id is not None:
            self._observer.identifier(stream_id, FrameType.GOAWAY, identifier, len(payload), created=True)

    def send_priority_update(self, request_id: int, priority: Priority) -> None:
        """RFC 9218 §7."""
        payload = encode_priority_update(request_id, priority)
        self._streams.write(StreamType.CONTROL, encode_frame(FrameType.PRIORITY_UPDATE, payload))
        stream_id = self._streams.control_id
        if self._observer is not None and stream_id is not None:
            value = priority.serialize()
            self._observer.priority_update(
                stream_id, FrameType.PRIORITY_UPDATE, request_id, value, len(payload), created=True
            )


class ControlStream:
    """Reads the peer's control stream. Every violation is an H3ConnectionError."""

    __slots__ = (
        "_frames",
        "_goaway",
        "_is_client",
        "_max_push_id",
        "_observer",
        "_settings_seen",
        "_stream_id",
    )

    def __init__(self, stream_id: int, *, is_client: bool, observer: H3Observer | None = None) -> None:
        """`is_client`: we are, so the peer is a server."""
        self._stream_id = stream_id
        self._is_client = is_client
        self._observer = observer
        permitted = FROM_SERVER_ON_CONTROL if is_client else FROM_CLIENT_ON_CONTROL
        self._frames = FrameSplitter(permitted, on_ignored=self._on_ignored)
        self._settings_seen = False
        self._goaway: int | None = None
        self._max_push_id = 0

    def receive(self, data: bytes) -> list[ControlFrame]:
        """Take more of the stream; returns what it says that has an effect."""
        frames = self._frames
        frames.feed(data)
        found: list[ControlFrame] = []
        while (frame := frames.next_frame()) is not None:
            said = self._understand(*frame)
            if said is not None:
                found.append(said)
        return found

    def _on_ignored(self, frame_type: int, length: int) -> None:
        if self._observer is not None:
            self._observer.other_frame(self._stream_id, frame_type, length, created=False)

    def _understand(self, frame_type: int, payload: bytes) -> ControlFrame | None:
        length = len(payload)
        if frame_type == FrameType.SETTINGS:
            return self._on_settings(payload)
        if frame_type in (FrameType.PRIORITY_UPDATE, FrameType.PRIORITY_UPDATE_PUSH):
            return self._on_priority_update(frame_type, payload)
        identifier = parse_integer(payload)
        if self._observer is not None:
            self._observer.identifier(self._stream_id, frame_type, identifier, length, created=False)
        if frame_type == FrameType.GOAWAY:
            return self._on_goaway(identifier)
        if frame_type == FrameType.MAX_PUSH_ID:
            self._on_max_push_id(identifier)
            return None
        # RFC 9114 §7.2.3.
        raise _id_error(f"CANCEL_PUSH {identifier}, but nothing was promised or may be")

    def _on_settings(self, payload: bytes) -> Settings:
        """RFC 9114 §7.2.4."""
        if self._settings_seen:
            raise H3ConnectionError(H3ErrorCode.H3_FRAME_UNEXPECTED, "SETTINGS for the second time")
        self._settings_seen = True
        settings = Settings.parse(payload)
        if self._observer is not None:
            self._observer.settings(self._stream_id, settings, len(payload), created=False)
        return settings

    def _on_priority_update(self, frame_type: int, payload: bytes) -> PriorityUpdate:
        """RFC 9218 §7.2."""
        element_id, priority = parse_priority_update(payload)
        if self._observer is not None:
            _, end = read_varint(payload, 0, len(payload))
            self._observer.priority_update(
                self._stream_id, frame_type, element_id, payload[end:], len(payload), created=False
            )
        if frame_type == FrameType.PRIORITY_UPDATE_PUSH:
            raise _id_error("PRIORITY_UPDATE for a push, but nothing was promised")
        if element_id & _STREAM_KIND:
            raise _id_error(f"PRIORITY_UPDATE for stream {element_id}, which is no request")
        return PriorityUpdate(element_id, priority)

    def _on_goaway(self, identifier: int) -> Goaway:
        """RFC 9114 §5.2, §7.2.6."""
        if self._is_client and identifier & _STREAM_KIND:
            raise _id_error(f"GOAWAY with {identifier}, which is no request")
        if self._goaway is not None and identifier > self._goaway:
            raise _id_error(f"GOAWAY with {identifier} after {self._goaway}")
        self._goaway = identifier
        return Goaway(identifier)

    def _on_max_push_id(self, push_id: int) -> None:
        """RFC 9114 §7.2.7: we push nothing, but the limit must not fall."""
        if push_id < self._max_push_id:
            raise _id_error(f"MAX_PUSH_ID {push_id} after {self._max_push_id}")
        self._max_push_id = push_id


def _id_error(reason: str) -> H3ConnectionError:
    return H3ConnectionError(H3ErrorCode.H3_ID_ERROR, reason)
