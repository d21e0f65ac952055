"""Event names of all eras and what they are called now."""

from functools import lru_cache
from typing import NamedTuple


class Renamed(NamedTuple):
    """The newest name of an event, and the QUIC or HTTP/3 events draft that brought it ("" if unchanged)."""

    name: str
    since: str


# Names that changed in more than their namespace.
_EXACT = {
    "transport:data_moved": Renamed("quic:stream_data_moved", "quic-05"),
    "quic:data_moved": Renamed("quic:stream_data_moved", "quic-05"),
    "transport:datagrams_sent": Renamed("quic:udp_datagrams_sent", "quic-08"),
    "transport:datagrams_received": Renamed("quic:udp_datagrams_received", "quic-08"),
    "transport:datagram_sent": Renamed("quic:udp_datagrams_sent", "quic-08"),
    "transport:datagram_received": Renamed("quic:udp_datagrams_received", "quic-08"),
    "transport:datagram_dropped": Renamed("quic:udp_datagram_dropped", "quic-08"),
    "quic:datagrams_sent": Renamed("quic:udp_datagrams_sent", "quic-08"),
    "quic:datagrams_received": Renamed("quic:udp_datagrams_received", "quic-08"),
    "quic:datagram_dropped": Renamed("quic:udp_datagram_dropped", "quic-08"),
    "transport:frames_processed": Renamed("quic:frames_parsed", "quic-14"),
    "quic:frames_processed": Renamed("quic:frames_parsed", "quic-14"),
    "security:key_retired": Renamed("quic:key_discarded", "quic-09"),
    "quic:key_retired": Renamed("quic:key_discarded", "quic-09"),
    "recovery:parameters_set": Renamed("quic:recovery_parameters_set", "quic-09"),
    "recovery:metrics_updated": Renamed("quic:recovery_metrics_updated", "quic-09"),
    "quic:metrics_updated": Renamed("quic:recovery_metrics_updated", "quic-09"),
    "recovery:metric_update": Renamed("quic:recovery_metrics_updated", "quic-09"),
    "recovery:loss_timer_updated": Renamed("quic:timer_updated", "quic-12"),
    "quic:loss_timer_updated": Renamed("quic:timer_updated", "quic-12"),
    "connectivity:path_assigned": Renamed("quic:tuple_assigned", "quic-12"),
    "quic:path_assigned": Renamed("quic:tuple_assigned", "quic-12"),
    "connectivity:connection_new": Renamed("quic:connection_started", "quic-09"),
    "connectivity:connection_close": Renamed("quic:connection_closed", "quic-09"),
    "connectivity:connection_id_update": Renamed("quic:connection_id_updated", "quic-09"),
    "connectivity:spin_bit_update": Renamed("quic:spin_bit_updated", "quic-09"),
    "transport:alpn_update": Renamed("quic:alpn_information", "quic-09"),
    "transport:version_update": Renamed("quic:version_information", "quic-09"),
    "info:message": Renamed("loglevel:info", "main-09"),
    "error:message": Renamed("loglevel:error", "main-09"),
    "warning:message": Renamed("loglevel:warning", "main-09"),
    "debug:message": Renamed("loglevel:debug", "main-09"),
    "verbose:message": Renamed("loglevel:verbose", "main-09"),
}

_NAMESPACES = {
    "transport": ("quic", "quic-05"),
    "connectivity": ("quic", "quic-09"),
    "security": ("quic", "quic-09"),
    "recovery": ("quic", "quic-09"),
    "h3": ("http3", "http3-09"),
    "http": ("http3", "http3-05"),
    "generic": ("loglevel", "main-09"),
}

# `http` came back for what is not bound to HTTP/3.
_STAYS = {"http:capsule_created", "http:capsule_parsed"}


@lru_cache(maxsize=4096)
def newest(name: str) -> Renamed:
    """The newest spelling of an event's name; names that nobody knows stay as they are (in lower case)."""
    lower = name.lower()
    if lower in _STAYS:
        return Renamed(lower, "")
    known = _EXACT.get(lower)
    if known is not None:
        return known
    namespace, colon, event_type = lower.partition(":")
    if colon and namespace in _NAMESPACES:
        new_namespace, since = _NAMESPACES[namespace]
        return Renamed(f"{new_namespace}:{event_type}", since)
    return Renamed(lower, "" if lower == name else "draft-02")
