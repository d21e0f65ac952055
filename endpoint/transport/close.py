"""The end of a connection: closing, draining, what CONNECTION_CLOSE says at which level (RFC 9000 §10)."""

from dataclasses import dataclass
from enum import Enum

from endpoint.errors import TransportErrorCode
from endpoint.level import Level
from endpoint.wire.frames import ConnectionClose

# RFC 9000 §10.2: closing and draining last at least three times the PTO.
CLOSE_PTO_COUNT = 3
# A reason is for humans; it has to fit in one packet next to a header and a tag.
MAX_REASON_LENGTH = 256


class ConnectionState(Enum):
    """Where a connection is in its life (RFC 9000 §10.2)."""

    HANDSHAKE = "handshake"
    ESTABLISHED = "established"
    CLOSING = "closing"
    DRAINING = "draining"
    CLOSED = "closed"


@dataclass(slots=True)
class CloseReason:
    """What we tell the peer. `frame_type` is None for an application's close."""

    error_code: int
    frame_type: int | None
    reason: str

    def frame_at(self, level: Level) -> ConnectionClose:
        """The frame as it may be said at `level`.

        RFC 9000 §10.2.3: an application's close in Initial or Handshake packets would tell its state to
        anybody, so there it is the transport's APPLICATION_ERROR without a reason.
        """
        if self.frame_type is None and level in (Level.INITIAL, Level.HANDSHAKE):
            return ConnectionClose(TransportErrorCode.APPLICATION_ERROR, 0, "")
        return ConnectionClose(self.error_code, self.frame_type, self.reason)


class Closer:
    """The closing state: repeats CONNECTION_CLOSE, ever less often, to a peer that goes on talking."""

    __slots__ = ("_answer_at", "_received", "due", "reason")

    def __init__(self, reason: CloseReason) -> None:
        self.reason = reason
        self.due = True
        self._received = 0
        self._answer_at = 1

    def on_received(self, datagrams: int) -> None:
        """RFC 9000 §10.2.1: limit the answers; here each costs the peer twice the packets of the last."""
        self._received += datagrams
        if self._received >= self._answer_at:
            self._received = 0
            self._answer_at *= 2
            self.due = True


def clip_reason(reason: str) -> str:
    """The first part of `reason` that fits, cut between characters."""
    return reason.encode()[:MAX_REASON_LENGTH].decode(errors="ignore")
