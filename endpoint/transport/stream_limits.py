"""How many streams either side may open (RFC 9000 §2.1, §4.6), counted per type."""

from typing import Protocol

from endpoint.errors import TransportError, TransportErrorCode

# RFC 9000 §4.6: more could not be numbered.
MAX_STREAM_COUNT = 1 << 60

# RFC 9000 §2.1: the two low bits of a stream id.
SERVER_INITIATED = 0x01
UNIDIRECTIONAL = 0x02


class PeerLimits(Protocol):
    """The part of the peer's transport parameters that streams obey (RFC 9000 §18.2)."""

    @property
    def initial_max_data(self) -> int: ...
    @property
    def initial_max_stream_data_bidi_local(self) -> int: ...
    @property
    def initial_max_stream_data_bidi_remote(self) -> int: ...
    @property
    def initial_max_stream_data_uni(self) -> int: ...
    @property
    def initial_max_streams_bidi(self) -> int: ...
    @property
    def initial_max_streams_uni(self) -> int: ...


class FirstSendLimits:
    """The peer's first limit of each stream, which goes by its type and by who opened it."""

    __slots__ = ("_bidi_local", "_bidi_remote", "_own_bit", "_uni")

    def __init__(self, own_bit: int) -> None:
        """`own_bit` is SERVER_INITIATED in the streams that we open, or 0."""
        self._own_bit = own_bit
        # As the peer says it: `local` are the streams that it opens.
        self._bidi_local = 0
        self._bidi_remote = 0
        self._uni = 0

    def take(self, limits: PeerLimits) -> None:
        """Take them from the peer's parameters; until then they are 0."""
        self._bidi_local = limits.initial_max_stream_data_bidi_local
        self._bidi_remote = limits.initial_max_stream_data_bidi_remote
        self._uni = limits.initial_max_stream_data_uni

    def of(self, stream_id: int) -> int:
        """The limit of a stream."""
        if stream_id & UNIDIRECTIONAL:
            return self._uni
        own = stream_id & SERVER_INITIATED == self._own_bit
        return self._bidi_remote if own else self._bidi_local


class OpenLimit:
    """How many streams of one type the peer lets us open."""

    __slots__ = ("_blocked_at", "limit", "opened")

    def __init__(self) -> None:
        self.limit = 0
        self.opened = 0
        self._blocked_at = -1  # the limit that STREAMS_BLOCKED was last due for

    @property
    def blocked(self) -> bool:
        """Whether one more stream would exceed the limit."""
        return self.opened >= self.limit

    def check(self, index: int, frame_type: int) -> None:
        """The peer names our stream number `index`. Raises STREAM_STATE_ERROR if there was never one."""
        if index >= self.opened:
            raise TransportError(
                TransportErrorCode.STREAM_STATE_ERROR, f"stream number {index} was never opened", frame_type
            )

    def raise_limit(self, limit: int) -> bool:
        """Take a limit from the peer; False if it is no increase (RFC 9000 §4.6: ignored)."""
        if limit <= self.limit:
            return False
        self.limit = limit
        return True

    def note_blocked(self) -> bool:
        """A stream is wanted beyond the limit; True the first time for each limit: tell the peer."""
        if self._blocked_at == self.limit:
            return False
        self._blocked_at = self.limit
        return True


class AcceptLimit:
    """How many streams of one type we let the peer open.

    The limit rises as streams of the peer finish, so that about `window` of them can be open at any
    time. An eighth of the window is collected before the peer is told: the rest keeps it busy while the
    frame travels, and a thousand short streams cost some tens of frames. With a quarter a peer that always
    has more to ask was measured to wait for us a good tenth longer.
    """

    __slots__ = ("_step", "_window", "closed", "limit", "opened")

    def __init__(self, window: int) -> None:
        self._window = window
        self._step = max(1, window // 8)
        self.limit = window  # as advertised
        self.opened = 0
        self.closed = 0

    def check(self, index: int, frame_type: int) -> None:
        """The peer uses its stream number `index`. Raises STREAM_LIMIT_ERROR beyond the limit."""
        if index >= self.limit:
            raise TransportError(
                TransportErrorCode.STREAM_LIMIT_ERROR,
                f"stream number {index} is beyond the limit of {self.limit}",
                frame_type,
            )

    @property
    def update_due(self) -> bool:
        """Whether enough streams have finished to tell the peer."""
        # Most streams that finish change nothing: only where there is something to tell the end is looked at.
        due = self.closed + self._window - self.limit >= self._step
        return due and self._target() - self.limit >= self._step

    def update(self) -> int:
        """Move the limit for a frame that is sent now, and return it."""
        self.limit = self._target()
        return self.limit

    def _target(self) -> int:
        return min(self.closed + self._window, MAX_STREAM_COUNT)
