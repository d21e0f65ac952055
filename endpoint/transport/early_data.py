"""0-RTT in the transport: remembered parameters, acceptance, rejection (RFC 9001 §4.6, RFC 9000 §7.4.1)."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from endpoint.errors import TransportError, TransportErrorCode
from endpoint.events import EarlyDataAccepted, EarlyDataRejected
from endpoint.level import Level
from endpoint.tls.session import Session
from endpoint.transport.parts import Parts
from endpoint.wire.transport_params import (
    TransportParameters,
    decode_transport_parameters,
    encode_transport_parameters,
)

# RFC 9001 §4.9.3: how long a server takes 0-RTT packets that were overtaken.
KEEP_PTO_COUNT = 3
# RFC 9000 §7.4.1: what a client goes by in 0-RTT, and a server must not have reduced.
REMEMBERED = (
    "active_connection_id_limit",
    "initial_max_data",
    "initial_max_stream_data_bidi_local",
    "initial_max_stream_data_bidi_remote",
    "initial_max_stream_data_uni",
    "initial_max_streams_bidi",
    "initial_max_streams_uni",
    "max_datagram_frame_size",  # RFC 9221 §3
)


# Of a version number, ahead of the parameters in a client's session.
_VERSION_LENGTH = 4


def remember(params: TransportParameters) -> bytes:
    """The server's parameters as they are kept with a ticket, on either side."""
    return _encode_remembered(tuple(getattr(params, name) for name in REMEMBERED))


@lru_cache(64)
def _encode_remembered(values: tuple[Any, ...]) -> bytes:
    """A server has the same for all its connections."""
    return encode_transport_parameters(TransportParameters(**dict(zip(REMEMBERED, values, strict=True))))


def recall(state: bytes) -> TransportParameters | None:
    """What `remember` gave; None for anything else."""
    try:
        return decode_transport_parameters(state, from_client=False)
    except TransportError:
        return None


def reduced(before: TransportParameters, now: TransportParameters) -> str | None:
    """The first remembered parameter that is lower `now`; None if all of them still hold."""
    return next((name for name in REMEMBERED if getattr(now, name) < getattr(before, name)), None)


def accepts_state(ours: TransportParameters) -> Callable[[bytes], bool]:
    """For a server: whether 0-RTT that goes by the parameters in a ticket is within `ours`."""

    def accepts(state: bytes) -> bool:
        before = recall(state)
        return before is not None and reduced(before, ours) is None

    return accepts


def client_state(version: int, params: TransportParameters) -> bytes:
    """What a client keeps with a session: the version, and the server's parameters."""
    return version.to_bytes(_VERSION_LENGTH, "big") + remember(params)


def usable_session(session: Session, version: int) -> Session | None:
    """The session as far as it can be used by a client that begins in `version`; None: not at all.

    RFC 9369 §5: not in another version. Without parameters to go by there is no 0-RTT.
    """
    if session.application_state[:_VERSION_LENGTH] != version.to_bytes(_VERSION_LENGTH, "big"):
        return None
    return session if _recall_client_state(session) else replace(session, early_data=False)


def begin(parts: Parts, session: Session) -> None:
    """Client: 0-RTT is offered; streams can be opened and written by the remembered parameters."""
    remembered = _recall_client_state(session)
    assert remembered is not None
    parts.remembered_params = remembered
    parts.streams.apply_peer_limits(remembered)
    parts.extensions.datagrams.max_frame_size = remembered.max_datagram_frame_size


def _recall_client_state(session: Session) -> TransportParameters | None:
    return recall(session.application_state[_VERSION_LENGTH:])


def settle(parts: Parts, params: TransportParameters) -> None:
    """Client: the server has said whether it takes the 0-RTT data. Raises PROTOCOL_VIOLATION."""
    remembered = parts.remembered_params
    if remembered is None:
        return
    if parts.handshake.tls.early_data_accepted:
        name = reduced(remembered, params)
        if name is not None:
            # RFC 9000 §7.4.1: the server has accepted what these limits do not allow.
            raise TransportError(TransportErrorCode.PROTOCOL_VIOLATION, f"{name} reduced after 0-RTT")
        parts.events.append(EarlyDataAccepted())
        return
    # RFC 9001 §4.6.2: as if nothing had been sent; all of it goes again as 1-RTT. The streams know what that
    # is, resets included, so the contents of the packets are of no use.
    parts.handshake.early_keys = None
    parts.recovery.on_zero_rtt_rejected()
    parts.streams.on_early_data_rejected(params)
    parts.events.append(EarlyDataRejected())


def admit(parts: Parts) -> None:
    """Server: the ClientHello is read, so 0-RTT packets are for the application from now on."""
    parts.early_data_open = True
    if parts.handshake.tls.early_data_accepted:
        parts.events.append(EarlyDataAccepted())


def keys_gone(parts: Parts, now: float) -> bool:
    """Server: whether it is too late for a 0-RTT packet: three PTOs after the handshake (RFC 9001 §4.9.3)."""
    if parts.handshake.early_keys is None:
        return True
    if parts.early_data_end is not None and now >= parts.early_data_end:
        parts.handshake.early_keys = None
    return parts.handshake.early_keys is None


def is_undecided(parts: Parts) -> bool:
    """Server: whether the ClientHello is still missing, so that 0-RTT packets have to wait."""
    return not parts.early_data_open and parts.spaces[Level.HANDSHAKE].write_keys is None
