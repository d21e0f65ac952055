"""A session of a server on an HTTP/3 connection that the test plays."""

from collections import deque
from typing import Any, cast

from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.events import H3Event, Headers, HeadersReceived, TrailersReceived
from endpoint.http.server import Answer, Session


class FakeQuic:
    """What is asked of the QUIC connection."""

    peer = ("::ffff:192.0.2.1", 50000, 0, 0)
    local = ("2001:db8::1", 443, 0, 0)

    ending_streams = 0

    def __init__(self) -> None:
        self.handshake_complete = True


class FakeH3:
    """Notes what is sent, with room that the test sets, and gives what the test lets arrive."""

    def __init__(self) -> None:
        self.room = 1 << 30
        self.heads: list[Headers] = []
        self.body = b""
        self.ended = False
        self.arrived: deque[tuple[bytes, bool]] = deque()
        self.happened: list[H3Event] = []
        self.cancelled: H3ErrorCode | None = None
        self.stopped: H3ErrorCode | None = None
        self.raises: Exception | None = None

    def handle_all(self, events: Any, _now: float) -> list[H3Event]:
        return list(events)

    def take_events(self) -> list[H3Event]:
        happened, self.happened = self.happened, []
        return happened

    def send_headers(self, _stream_id: int, headers: Headers, *, end: bool = False) -> None:
        if self.raises is not None:
            raise self.raises
        assert not self.ended
        self.heads.append(list(headers))
        self.ended = end

    def send_response(self, stream_id: int, headers: Headers, content: bytes, *, end: bool) -> int:
        self.send_headers(stream_id, headers, end=end and not content)
        return self.send_body(stream_id, content, end=end) if content else 0

    def send_body(self, _stream_id: int, data: bytes | memoryview, *, end: bool = False) -> int:
        if self.raises is not None:
            raise self.raises
        assert not self.ended
        accepted = min(len(data), self.room)
        self.room -= accepted
        self.body += bytes(data[:accepted])
        self.ended = end and accepted == len(data)
        return accepted

    def read_body(self, stream_id: int, _max_bytes: int | None = None) -> tuple[bytes, bool]:
        if not self.arrived:
            return b"", False
        data, ended = self.arrived.popleft()
        if ended:
            self.happened.append(TrailersReceived(stream_id, []))
        return data, ended

    def cancel(self, _stream_id: int, error_code: H3ErrorCode) -> None:
        self.cancelled = error_code

    def stop(self, _stream_id: int, error_code: H3ErrorCode) -> None:
        self.stopped = error_code

    @property
    def status(self) -> int:
        """That of the last head."""
        return int(dict(self.heads[-1])[b":status"])


class FakeSession(Session):
    """A session of one request."""

    def __init__(self, answer: Answer) -> None:
        self.fake = FakeH3()
        self.fake_quic = FakeQuic()
        self.touches = 0
        super().__init__(cast("Any", self.fake_quic), cast("Any", self.fake), answer, self._on_touch)

    def _on_touch(self, _connection: object) -> None:
        self.touches += 1

    def request(self, *fields: tuple[bytes, bytes], ended: bool = True, **pseudo: str) -> None:
        """Let a request arrive: `method`, `path`, ... and fields."""
        values = {"method": "GET", "scheme": "https", "authority": "example.org", "path": "/", **pseudo}
        headers = [(f":{name}".encode(), value.encode()) for name, value in values.items()]
        self.arrive(HeadersReceived(0, [*headers, *fields], ended))

    def arrive(self, event: H3Event) -> None:
        """Let an event happen."""
        self.on_events(cast("Any", [event]), 0.0)
