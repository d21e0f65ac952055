"""Which version a connection speaks (RFC 9000 §6, RFC 9368): choice, compatible change, downgrade checks."""

from collections.abc import Sequence

from endpoint.errors import TransportError, TransportErrorCode
from endpoint.events import ConnectionClosed, VersionsOffered
from endpoint.transport.close import ConnectionState
from endpoint.transport.parts import Parts
from endpoint.wire.header import LongHeader
from endpoint.wire.transport_params import VersionInformation
from endpoint.wire.version import QUIC_V1

# All versions that we know are compatible with each other: a ClientHello in one serves for the other
# (RFC 9369 §4).


def choose_version(preferred: Sequence[int], offered: Sequence[int]) -> int | None:
    """The first of `preferred` that is among `offered`, None if there is none.

    A client chooses so from a Version Negotiation packet, a server from a client's available versions.
    """
    return next((version for version in preferred if version in offered), None)


def negotiate(ours: Sequence[int], used: int, theirs: VersionInformation | None) -> int:
    """The version a server goes on in (RFC 9368 §2.3), `used` being that of the client's first flight.

    Raises VERSION_NEGOTIATION_ERROR if the client says that it began in another one (§4).
    """
    if theirs is None:
        return used
    if theirs.chosen_version != used:
        raise _error(
            f"the client's packets have version 0x{used:08x}, its parameters 0x{theirs.chosen_version:08x}"
        )
    return choose_version(ours, theirs.available_versions) or used


def check_server_choice(
    ours: Sequence[int], used: int, theirs: VersionInformation | None, *, original: int, reacted: bool
) -> None:
    """The checks of a client (RFC 9368 §4). `used` is the version of the server's packets.

    `original` is the version of the first flight of this connection. `reacted`: that was chosen from
    a Version Negotiation packet, which anybody can forge. Raises VERSION_NEGOTIATION_ERROR.
    """
    if theirs is None and reacted and used == QUIC_V1:
        # §8, for servers that are older than this: as if they had said that 1 is all they have.
        theirs = VersionInformation(QUIC_V1, (QUIC_V1,))
    if theirs is None:
        if reacted or used != original:
            raise _error("the server does not confirm the version")
        return
    if theirs.chosen_version not in ours or theirs.chosen_version != used:
        raise _error(f"the server confirms version 0x{theirs.chosen_version:08x}, not 0x{used:08x}")
    if reacted:
        available = (*theirs.available_versions, used)
        if not theirs.available_versions or choose_version(ours, available) != original:
            raise _error("without the Version Negotiation packet another version would have been chosen")


def accept_version_negotiation(parts: Parts, header: LongHeader) -> bool:
    """A client's first flight is answered by an offer of versions; False if it has to be ignored.

    RFC 9000 §6.2: only before anything else was heard, and not if it lists the version in use: a damaged
    packet earns such an answer. RFC 9368 §4: nor twice.
    """
    offered = header.supported_versions
    if (
        not parts.is_client
        or parts.peer_source_cid is not None
        or header.scid != parts.initial_destination_cid
        or header.dcid not in parts.local_cids
        or parts.version.version in offered
        or parts.reacted_to_version_negotiation
    ):
        return False
    parts.state = ConnectionState.CLOSED
    parts.timers.clear()
    parts.events.append(VersionsOffered(offered))
    shown = ", ".join(f"0x{version:08x}" for version in offered)
    parts.events.append(
        ConnectionClosed(
            TransportErrorCode.VERSION_NEGOTIATION_ERROR,
            0,
            f"the server does not speak version 0x{parts.version.version:08x}, but {shown}",
            application=False,
            remote=True,
            kind="version_negotiation",
        )
    )
    return True


def _error(reason: str) -> TransportError:
    return TransportError(TransportErrorCode.VERSION_NEGOTIATION_ERROR, reason)
