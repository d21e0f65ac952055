"""The server's preferred address, as a client sees it (RFC 9000 §9.6)."""

from ipaddress import IPv6Address

from endpoint.batch import Address
from endpoint.errors import TransportError, TransportErrorCode
from endpoint.transport.cids import PeerCids
from endpoint.wire.transport_params import PreferredAddress, TransportParameters


def take_preferred(params: TransportParameters, cids: PeerCids) -> PreferredAddress | None:
    """What the server offers, if anything, its connection ID put among the others. Raises TransportError."""
    preferred = params.preferred_address
    if preferred is not None:
        if not cids.current:
            # §18.2: there would be no telling the packets of its clients apart.
            raise TransportError(
                TransportErrorCode.TRANSPORT_PARAMETER_ERROR,
                "preferred_address of a server without connection IDs",
            )
        cids.add_preferred(preferred.connection_id, preferred.stateless_reset_token)
    return preferred


def preferred_peer(preferred: PreferredAddress, present: Address) -> Address | None:
    """The preferred address in the family and the form of the present peer address, None if it has none.

    A socket of both families shows IPv4 addresses mapped (::ffff:a.b.c.d), and takes only such.
    """
    host = str(present[0])
    if ":" not in host:
        return preferred.ipv4
    mapped = IPv6Address(host.partition("%")[0]).ipv4_mapped is not None
    chosen = preferred.ipv4 if mapped else preferred.ipv6
    if chosen is None:
        return None
    name = f"::ffff:{chosen[0]}" if mapped else chosen[0]
    return (name, chosen[1], 0, 0)[: len(present)]
