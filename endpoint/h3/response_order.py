"""In which order a server sends its responses (RFC 9218 §7, §9, §10): who says so, and telling QUIC."""

from typing import TYPE_CHECKING

from endpoint.errors import ConnectionClosedError
from endpoint.h3.priority import Priority
from endpoint.wire.varint import VARINT_MAX

if TYPE_CHECKING:
    from endpoint.h3.trace import H3Observer
    from endpoint.transport.connection import Connection

# RFC 9218 §7.1: PRIORITY_UPDATE may overtake the request that it is about; so many are kept.
MAX_EARLY_UPDATES = 256
# For a tracer: of so many requests, the latest, it is known what was told last.
_MAX_TOLD = 1000
_DEFAULT = Priority()


class ResponseOrder:
    """The priorities of the requests of one connection, those that have not come yet included."""

    __slots__ = ("_early", "_observer", "_quic", "_told", "preset_from")

    def __init__(self, quic: "Connection", observer: "H3Observer | None") -> None:
        self._quic = quic
        if not quic.is_client:
            quic.set_default_priority(_DEFAULT.urgency, incremental=_DEFAULT.incremental)
        # The first stream of which it is certain that QUIC made it with the default priority.
        self.preset_from = VARINT_MAX
        self._observer = observer
        self._early: dict[int, Priority] = {}
        self._told: dict[int, str] = {}

    def on_request(self, stream_id: int, field: bytes | None) -> None:
        """A request has come, and its Priority field: an update that came before counts more than that."""
        asked = self._early.pop(stream_id, None) if self._early else None
        if asked is None and field is not None:
            asked = Priority.parse(field)
        if asked is not None or stream_id < self.preset_from:
            self._apply(stream_id, asked or _DEFAULT, by_client=asked is not None)

    def on_update(self, stream_id: int, priority: Priority) -> None:
        """PRIORITY_UPDATE for a request that has come."""
        if self._observer is not None and stream_id >= self.preset_from:
            self._told.setdefault(stream_id, _DEFAULT.serialize().decode())
        self._apply(stream_id, priority, by_client=True)

    def keep(self, stream_id: int, priority: Priority) -> None:
        """PRIORITY_UPDATE for one that has not. Of too many the oldest is forgotten."""
        self._early.pop(stream_id, None)
        self._early[stream_id] = priority
        if len(self._early) > MAX_EARLY_UPDATES:
            del self._early[next(iter(self._early))]

    def forget(self, stream_id: int) -> None:
        """There will be no such request any more."""
        self._early.pop(stream_id, None)

    def _apply(self, stream_id: int, priority: Priority, *, by_client: bool) -> None:
        try:
            self._quic.set_priority(stream_id, priority.urgency, incremental=priority.incremental)
        except ConnectionClosedError:
            return  # nothing is sent any more
        if self._observer is not None:
            told = priority.serialize().decode()
            old = self._told.pop(stream_id, None)
            self._observer.priority_updated(stream_id, old, told, by_client=by_client)
            self._told[stream_id] = told
            if len(self._told) > _MAX_TOLD:
                del self._told[next(iter(self._told))]
