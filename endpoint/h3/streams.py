"""Unidirectional streams (RFC 9114 §6.2, RFC 9204 §4.2): ours, and what the peer's are for."""

from enum import IntEnum
from typing import TYPE_CHECKING

from endpoint.errors import ConnectionClosedError, TransportError
from endpoint.h3.errors import H3ConnectionError, H3ErrorCode
from endpoint.wire.varint import append_varint, read_varint

if TYPE_CHECKING:
    from endpoint.h3.trace import H3Observer
    from endpoint.transport.connection import Connection


class StreamType(IntEnum):
    """What a unidirectional stream begins with."""

    CONTROL = 0x00
    PUSH = 0x01
    QPACK_ENCODER = 0x02
    QPACK_DECODER = 0x03


# RFC 9114 §6.2.1, RFC 9204 §4.2: one of each, open as long as the connection.
CRITICAL = (StreamType.CONTROL, StreamType.QPACK_ENCODER, StreamType.QPACK_DECODER)
UNIDIRECTIONAL = 0x2
# Before all requests: others wait for what these say.
CRITICAL_URGENCY = 0
# Of what we have to tell about QPACK, bytes that may wait for a peer that does not read it.
MAX_BACKLOG = 256 * 1024


class LocalStreams:
    """Our critical streams. Whatever is written before they can be opened, or go out, waits here."""

    __slots__ = ("_acknowledgments", "_grease_type", "_ids", "_quic", "_waiting", "acknowledge", "backlog")

    def __init__(self, quic: "Connection", grease_type: int | None) -> None:
        """`grease_type`: of one more stream, which means nothing (RFC 9114 §6.2.3); None for none."""
        self._quic = quic
        self._grease_type = grease_type
        self._ids: dict[StreamType, int] = {}
        self._waiting = {kind: bytearray((kind,)) for kind in CRITICAL}
        self._acknowledgments: list[bytes] = []
        # Puts what our QPACK decoder says on its stream, with the next `flush_acknowledgments`.
        self.acknowledge = self._acknowledgments.append
        self.backlog = 0

    @property
    def control_id(self) -> int | None:
        """Our control stream, None before it is open."""
        return self._ids.get(StreamType.CONTROL)

    def open(self) -> list[tuple[int, int]]:
        """Open what is not open yet, as far as the peer's limit goes; control first, since it has SETTINGS.

        Returns id and type of what was opened.
        """
        quic = self._quic
        opened: list[tuple[int, int]] = []
        if quic.is_closing:
            return opened
        for kind in CRITICAL:
            if kind not in self._ids:
                if not quic.can_open_stream(unidirectional=True):
                    return opened
                self._ids[kind] = quic.open_stream(unidirectional=True)
                opened.append((self._ids[kind], kind))
                quic.set_priority(self._ids[kind], CRITICAL_URGENCY, incremental=True)
                self._flush(kind)
        if self._grease_type is not None and quic.can_open_stream(unidirectional=True):
            head = bytearray()
            append_varint(head, self._grease_type)
            opened.append((quic.open_stream(unidirectional=True), self._grease_type))
            quic.write(opened[-1][0], head, fin=True)
            self._grease_type = None
        return opened

    def write(self, kind: StreamType, data: bytes) -> None:
        """Put `data` on one of the streams."""
        self._waiting[kind] += data
        if kind in self._ids:
            self._flush(kind)
        else:
            self._count_backlog()

    def flush_acknowledgments(self) -> None:
        """One write for all of a batch of events."""
        if self._acknowledgments:
            instructions = b"".join(self._acknowledgments)
            self._acknowledgments.clear()
            self.write(StreamType.QPACK_DECODER, instructions)

    def on_writable(self, stream_id: int) -> None:
        """There is room again, if it is one of ours."""
        for kind, known in self._ids.items():
            if known == stream_id:
                self._flush(kind)

    def check_not_stopped(self, stream_id: int) -> None:
        """Nobody may ask us to close them (RFC 9114 §6.2.1). Raises H3ConnectionError."""
        for kind, known in self._ids.items():
            if known == stream_id:
                raise _closed_critical(kind, "is no longer read")

    def _flush(self, kind: StreamType) -> None:
        waiting = self._waiting[kind]
        try:
            del waiting[: self._quic.write(self._ids[kind], bytes(waiting))]
        except ConnectionClosedError:
            waiting.clear()  # nobody is there to read it
        if waiting or self.backlog:
            self._count_backlog()

    def _count_backlog(self) -> None:
        self.backlog = sum(map(len, self._waiting.values()))


class PeerStreams:
    """Which of the peer's unidirectional streams is what. Errors are raised as H3ConnectionError."""

    __slots__ = ("_is_client", "_kinds", "_observer", "_open", "_untyped")

    def __init__(self, *, is_client: bool, observer: "H3Observer | None" = None) -> None:
        self._is_client = is_client
        self._observer = observer
        self._untyped: dict[int, bytes] = {}  # what came of streams whose type is not complete
        self._kinds: dict[int, StreamType] = {}
        self._open: set[StreamType] = set()

    def identify(self, stream_id: int, data: bytes) -> tuple[StreamType | None, bytes]:
        """The kind of a stream, and what of `data` is its content; None and no content: not known yet.

        None with content: of a type that nobody knows; it is not to be read any further.
        """
        kind = self._kinds.get(stream_id)
        if kind is not None:
            return kind, data
        head = self._untyped.pop(stream_id, b"") + data
        try:
            number, pos = read_varint(head, 0, len(head))
        except TransportError:
            self._untyped[stream_id] = head
            return None, b""
        if self._observer is not None:
            self._observer.stream_type_set(stream_id, number)
        if number == StreamType.PUSH:
            # RFC 9114 §4.6, §6.2.2: a client can't push, and a server may not, since we send no MAX_PUSH_ID.
            code = H3ErrorCode.H3_ID_ERROR if self._is_client else H3ErrorCode.H3_STREAM_CREATION_ERROR
            raise H3ConnectionError(code, "a push stream")
        if number not in CRITICAL:
            return None, head
        kind = StreamType(number)
        if kind in self._open:
            raise H3ConnectionError(H3ErrorCode.H3_STREAM_CREATION_ERROR, f"a second {kind.name} stream")
        self._open.add(kind)
        self._kinds[stream_id] = kind
        return kind, head[pos:]

    def on_end(self, stream_id: int) -> None:
        """The stream has ended or was reset; before its type came that is nobody's fault (§6.2)."""
        self._untyped.pop(stream_id, None)
        kind = self._kinds.get(stream_id)
        if kind is not None:
            raise _closed_critical(kind, "was closed")


def _closed_critical(kind: StreamType, what: str) -> H3ConnectionError:
    return H3ConnectionError(H3ErrorCode.H3_CLOSED_CRITICAL_STREAM, f"the {kind.name} stream {what}")
