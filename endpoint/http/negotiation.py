"""Several application protocols on one socket: ALPN decides (RFC 7301, RFC 9114 §3.1)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from endpoint.events import ConnectionClosed, Event

if TYPE_CHECKING:
    from endpoint.io.loop import Application
    from endpoint.transport.connection import Connection


class ByAlpn:
    """An application that leaves each connection to the one of its protocol."""

    def __init__(self, applications: "Mapping[str, Application]") -> None:
        """`applications` by ALPN name; TLS must not negotiate any other."""
        self._applications = applications
        self._chosen: dict[Connection, Application] = {}

    def on_event(self, connection: "Connection", event: Event) -> None:
        """Take an event of `connection`."""
        application = self._chosen.get(connection)
        if application is None:
            if connection.alpn is None:
                return  # its handshake failed: nobody has heard of it
            application = self._chosen[connection] = self._applications[connection.alpn]
        if event.__class__ is ConnectionClosed:
            del self._chosen[connection]
        application.on_event(connection, event)
