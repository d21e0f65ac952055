"""One HTTP/3 connection without I/O, on one QUIC connection (RFC 9114)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from endpoint.events import Event
from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.events import H3Event, Headers
from endpoint.h3.settings import Settings

if TYPE_CHECKING:
    from endpoint.h3.priority import Priority
    from endpoint.transport.connection import Connection


class H3Connection:
    """Both roles."""

    def __init__(
        self,
        quic: "Connection",
        *,
        settings: Settings | None = None,
        peer_settings: Settings | None = None,
        grease: bool = True,
    ) -> None:
        """`peer_settings`: remembered with a session, for 0-RTT requests (RFC 9114 §7.2.4.2)."""
        self.quic = quic
        self.settings = settings or Settings()
        self.peer_settings = peer_settings
        self.grease = grease

    def handle(self, event: Event, now: float) -> Sequence[H3Event]:
        """Take an event of the QUIC connection."""
        raise NotImplementedError

    def take_events(self) -> Sequence[H3Event]:
        """Events that commands caused."""
        raise NotImplementedError

    def start(self) -> None:
        """Client with 0-RTT: begin before the handshake event."""
        raise NotImplementedError

    @property
    def can_send_request(self) -> bool:
        """Client: the peer's stream limit admits a request, and there was no GOAWAY."""
        raise NotImplementedError

    @property
    def open_requests(self) -> int:
        """Requests that are not over in both directions."""
        raise NotImplementedError

    def send_request(self, headers: Headers, *, end: bool = False, priority: "Priority | None" = None) -> int:
        """Returns the stream id."""
        raise NotImplementedError

    def send_headers(self, stream_id: int, headers: Headers, *, end: bool = False) -> None:
        """Server: 1xx, final response, trailers; client: trailers."""
        raise NotImplementedError

    def send_body(self, stream_id: int, data: bytes | memoryview, *, end: bool = False) -> int:
        """Returns bytes taken; `end` counts only if all were taken."""
        raise NotImplementedError

    def body_room(self, stream_id: int) -> int:
        """How many bytes `send_body` would take now."""
        raise NotImplementedError

    def read_body(self, stream_id: int, max_bytes: int | None = None) -> tuple[bytes, bool]:
        """Content, and whether that was the end of the message."""
        raise NotImplementedError

    def reset(self, stream_id: int, error_code: H3ErrorCode) -> None:
        """Abandon sending."""
        raise NotImplementedError

    def stop(self, stream_id: int, error_code: H3ErrorCode) -> None:
        """Read no more."""
        raise NotImplementedError

    def cancel(self, stream_id: int, error_code: H3ErrorCode) -> None:
        """Both."""
        raise NotImplementedError

    def send_goaway(self, *, final: bool = False) -> None:
        """Begin to close (RFC 9114 §5.2)."""
        raise NotImplementedError

    def send_priority_update(self, stream_id: int, priority: "Priority") -> None:
        """Client: PRIORITY_UPDATE (RFC 9218 §7)."""
        raise NotImplementedError

    def send_datagram(self, stream_id: int, data: bytes) -> bool:
        """An HTTP datagram (RFC 9297); False if the queue was full."""
        raise NotImplementedError

    def close(
        self, error_code: H3ErrorCode = H3ErrorCode.H3_NO_ERROR, reason: str = "", *, now: float
    ) -> None:
        """Close at once."""
        raise NotImplementedError
