"""Several application protocols on one socket: ALPN decides (RFC 7301, RFC 9114 §3.1)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from endpoint.events import ConnectionClosed, Event
from endpoint.io.loop import teller

if TYPE_CHECKING:
    from endpoint.io.loop import Application, TellAll
    from endpoint.transport.connection import Connection


class ByAlpn:
    """An application that leaves each connection to the one of its protocol."""

    def __init__(self, applications: "Mapping[str, Application]") -> None:
        """`applications` by ALPN name; TLS must not negotiate any other."""
        self._tellers = {name: teller(application) for name, application in applications.items()}
        self._chosen: dict[Connection, TellAll] = {}

    def on_event(self, connection: "Connection", event: Event) -> None:
        """Take an event of `connection`."""
        self.on_events(connection, (event,))

    def on_events(self, connection: "Connection", events: Sequence[Event]) -> None:
        """Take events of `connection`, at least one."""
        tell_all = self._chosen.get(connection)
        if tell_all is None:
            if connection.alpn is None:
                return  # its handshake failed: nobody has heard of it
            tell_all = self._chosen[connection] = self._tellers[connection.alpn]
        if events[-1].__class__ is ConnectionClosed:
            del self._chosen[connection]
        tell_all(connection, events)
