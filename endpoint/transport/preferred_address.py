"""The server's preferred address, as a client sees it (RFC 9000 §9.6)."""

from ipaddress import IPv6Address

from endpoint.batch import Address
from endpoint.wire.transport_params import PreferredAddress


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
