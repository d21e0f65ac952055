"""ALPN decides whose connection it is."""

from typing import Any, cast

import pytest

from endpoint.events import ConnectionClosed, Event, HandshakeCompleted, StreamReadable
from endpoint.http.negotiation import ByAlpn

CLOSED = ConnectionClosed(0, 0, "bye", application=True, remote=True)


class Connection:
    def __init__(self, alpn: str | None) -> None:
        self.alpn = alpn


class Application:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, _connection: Any, event: Event) -> None:
        self.events.append(event)


@pytest.mark.parametrize("alpn", ["one", "two"])
def test_events_go_to_the_application_of_the_protocol(alpn: str) -> None:
    applications = {"one": Application(), "two": Application()}
    both = ByAlpn(cast("Any", applications))
    connection = cast("Any", Connection(alpn))
    events: list[Event] = [HandshakeCompleted(alpn, 0x1301, ()), StreamReadable(0), CLOSED]
    for event in events:
        both.on_event(connection, event)
    assert {name: app.events for name, app in applications.items()} == {
        "one": events if alpn == "one" else [],
        "two": events if alpn == "two" else [],
    }


def test_a_connection_that_never_was_is_nobody_s() -> None:
    application = Application()
    ByAlpn(cast("Any", {"one": application})).on_event(cast("Any", Connection(None)), CLOSED)
    assert application.events == []
