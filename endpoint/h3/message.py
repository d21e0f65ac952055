"""What the messages of a connection have in common, in either direction (RFC 9114 §4.1)."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from endpoint.errors import StreamError
from endpoint.h3.events import H3Event, Headers
from endpoint.h3.frames import FrameType, frame_header
from endpoint.h3.settings import Settings

if TYPE_CHECKING:
    from endpoint.h3.qpack import Qpack
    from endpoint.h3.trace import H3Observer
    from endpoint.transport.connection import Connection

_HEADERS_FRAME = int(FrameType.HEADERS)  # see `frames`


class Phase(Enum):
    """How far a message has got, in either direction."""

    HEADERS = auto()  # nothing yet, or interim responses
    CONTENT = auto()  # the header section is complete: DATA or trailers come next
    TUNNEL = auto()  # RFC 9114 §4.4: CONNECT, after which there is nothing but DATA
    TRAILERS = auto()  # complete but for the end of the stream
    OVER = auto()


@dataclass(slots=True, kw_only=True)
class Shared:
    """What the request streams of a connection have in common."""

    quic: "Connection"
    is_client: bool
    qpack: "Qpack"
    events: list[H3Event]
    settings: Settings
    # Remembered, then real; those that hold before (RFC 9114 §7.2.4.2) if None.
    peer_settings: Settings | None
    observer: "H3Observer | None"
    # Bytes of an encoded field section, at most.
    max_headers: int
    # Client: ResponseReceived for a response that comes whole.
    whole_responses: bool
    # Server: a request has come, and is to get its place in the order of sending.
    prioritize: Callable[[int, bytes | None], None]

    def headers_frame(self, stream_id: int, headers: Headers, size: int) -> bytes:
        """A HEADERS frame with a field section of this size (RFC 9114 §4.2.2), which was validated.

        Raises StreamError if that is more than the peer takes.
        """
        peer = self.peer_settings
        if peer is not None:
            most = peer.max_field_section_size
            if most is not None and size > most:
                raise StreamError(f"{size} bytes of fields; the peer takes {most}")
        section = self.qpack.encode(stream_id, headers)
        if self.observer is not None:
            self.observer.headers(stream_id, headers, len(section), created=True)
        return frame_header(_HEADERS_FRAME, len(section)) + section
