"""Names and small values of qlog's QUIC events: errors, reasons, addresses, bytes."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from endpoint.batch import ECN_CE, ECN_ECT_0, ECN_ECT_1, ECN_NOT_ECT, Address
from endpoint.errors import CRYPTO_ERROR_FIRST, CRYPTO_ERROR_LAST, TransportErrorCode
from endpoint.events import ConnectionClosed
from endpoint.level import Level

PACKET_TYPES = {
    Level.INITIAL: "initial",
    Level.ZERO_RTT: "0RTT",
    Level.HANDSHAKE: "handshake",
    Level.ONE_RTT: "1RTT",
}
PACKET_NUMBER_SPACES = {
    Level.INITIAL: "initial",
    Level.ZERO_RTT: "application_data",
    Level.HANDSHAKE: "handshake",
    Level.ONE_RTT: "application_data",
}
ECN = {ECN_NOT_ECT: "Not-ECT", ECN_ECT_1: "ECT(1)", ECN_ECT_0: "ECT(0)", ECN_CE: "CE"}

# Our reasons to drop a packet, as triggers of packet_dropped.
DROP_TRIGGERS = {
    "connection_unknown": "connection_unknown",
    "decryption_failure": "decryption_failure",
    "duplicate": "duplicate",
    "header_parse_error": "invalid",
    "invalid_length": "invalid",
    "invalid_token": "invalid",
    "key_unavailable": "key_unavailable",
    "unexpected_packet": "rejected",
    "unexpected_retry": "rejected",
    "unexpected_version_negotiation": "rejected",
    "unknown_packet_type": "unsupported",
    "unsupported_version_or_type": "unsupported",
}

# RFC 9368 came after the list of the drafts was made.
_UNLISTED = (TransportErrorCode.VERSION_NEGOTIATION_ERROR,)
_TRANSPORT_ERRORS = {int(code): code.name.lower() for code in TransportErrorCode if code not in _UNLISTED}


def transport_error(name: str, code: int) -> dict[str, Any]:
    """The fields that tell a transport's error code, the first of them called `name`."""
    known = _TRANSPORT_ERRORS.get(code)
    if known is not None:
        return {name: known}
    if CRYPTO_ERROR_FIRST <= code <= CRYPTO_ERROR_LAST:
        return {name: f"crypto_error_0x{code:x}"}
    return {name: "unknown", "error_code": code}


def application_error(name: str, code: int, names: Mapping[int, str]) -> dict[str, Any]:
    """The same for an application's code; `names` are those that the application told."""
    known = names.get(code)
    return {name: "unknown", "error_code": code} if known is None else {name: known}


def endpoint_info(address: Address | None) -> dict[str, Any]:
    """One side of a network tuple (TupleEndpointInfo)."""
    if address is None:
        return {}
    try:
        ip = ip_address(str(address[0]).partition("%")[0])
    except ValueError:
        return {}
    if ip.version == 6 and ip.ipv4_mapped is None:
        return {"ip_v6": str(ip), "port_v6": address[1]}
    # Sockets of both families show IPv4 addresses mapped into IPv6.
    return {"ip_v4": str(ip.ipv4_mapped if ip.version == 6 else ip), "port_v4": address[1]}


def tuple_id(path: int) -> str:
    """The tuple_id of a path; that of the handshake is qlog's default one."""
    return str(path) if path else ""


# How a connection ends without CONNECTION_CLOSE; `kind` of ConnectionClosed.
_CLOSE_TRIGGERS = {
    "idle_timeout": "idle_timeout",
    "handshake_timeout": "idle_timeout",
    "stateless_reset": "stateless_reset",
    "no_viable_path": "aborted",
}


def connection_closed(closed: ConnectionClosed, names: Mapping[int, str]) -> dict[str, Any]:
    """The data of the event of that name; `names` are those of application errors."""
    data: dict[str, Any] = {"initiator": "remote" if closed.remote else "local"}
    trigger = _CLOSE_TRIGGERS.get(closed.kind)
    if trigger is None:
        if closed.application:
            data |= application_error("application_error", closed.error_code, names)
            trigger = "application"
        else:
            data |= transport_error("connection_error", closed.error_code)
            trigger = "error" if closed.error_code else "unspecified"
            if closed.error_code == TransportErrorCode.VERSION_NEGOTIATION_ERROR:
                trigger = "version_mismatch"
    data["reason"] = closed.reason
    data["trigger"] = trigger
    return data


def as_json(value: Any) -> Any:
    """`value` as qlog writes it: bytes as hex, an address as the fields of its family."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        if "address" in value:
            rest = {key: as_json(item) for key, item in value.items() if key != "address"}
            return endpoint_info(value["address"]) | rest
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return value
