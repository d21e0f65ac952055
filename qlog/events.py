"""Names of the newest events and how important the drafts hold them to be."""

from qlog.schema import newest_http3, newest_main, newest_quic
from qlog.schema.notation import BASE, CORE, EXTRA, Importance

EVENT_SCHEMAS = (
    "urn:ietf:params:qlog:events:quic-14",
    "urn:ietf:params:qlog:events:http3-13",
    "urn:ietf:params:qlog:events:http-13",
)

IMPORTANCE: dict[str, Importance] = {
    name: event.importance
    for events in (
        newest_quic.EVENTS,
        newest_http3.HTTP3_EVENTS,
        newest_http3.HTTP_EVENTS,
        newest_main.LOGLEVEL_EVENTS,
        newest_main.SIMULATION_EVENTS,
    )
    for name, event in events.items()
}

_UP_TO: dict[Importance, frozenset[Importance]] = {
    CORE: frozenset({CORE}),
    BASE: frozenset({CORE, BASE}),
    EXTRA: frozenset({CORE, BASE, EXTRA}),
}


def events_of_level(level: Importance) -> frozenset[str]:
    """The names of all events that belong into a log of a level."""
    return frozenset(name for name, importance in IMPORTANCE.items() if importance in _UP_TO[level])
