"""Whether a server is still there: a connection that leads nowhere must not get the next requests, too.

A server that was started anew, or a network that has changed, leaves a connection that only its idle timeout
ends (RFC 9000 §10.1). Until then each request would wait in vain.
"""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from endpoint.transport.connection import Connection

# RFC 9002 §6.2.1: in so many probe timeouts without an answer there was more than one probe.
_SILENT_PROBES = 3
# RFC 9000 §18.2: unless the server says otherwise.
_MAX_ACK_DELAY = 0.025


class Heard(NamedTuple):
    """The last that was heard of the server: when an event came, and the round trip of the last ACK."""

    event: float
    rtt: float


class Liveness:
    """What was heard on one connection. All times are seconds of one clock."""

    __slots__ = ("_connection", "_event", "_silence")

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._event = 0.0
        # What had been heard when a request was given up for which not even an ACK had come.
        self._silence: Heard | None = None

    def on_event(self, now: float) -> None:
        """The server has sent something that an application hears of."""
        self._event = now

    @property
    def heard(self) -> Heard:
        """Of now; the same later means that there was nothing new."""
        return Heard(self._event, self._connection.rtt.latest_rtt)

    @property
    def is_silent(self) -> bool:
        """Whether a request was given up in silence, and nothing has been heard since."""
        return self._silence is not None and self._silence == self.heard

    def on_given_up(self, then: Heard, waited: float) -> None:
        """A request is given up after so many seconds; `then` is what had been heard when it was sent."""
        patience = _SILENT_PROBES * self._connection.rtt.pto(_MAX_ACK_DELAY)
        if then == self.heard and waited > patience:
            self._silence = then
