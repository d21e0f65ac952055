"""Source ports that no client has: whoever is named there is a victim of reflection (RFC 9000 §21.5).

An attacker can put the address of another server on an Initial packet. Our answer then goes to a service
that answers in turn, possibly to us and without end.
"""

from endpoint.batch import Address

# Services over UDP that answer anybody. Not a range: a NAT may well choose a port below 1024 for a client.
REFLECTION_PORTS = frozenset(
    (
        0,  # nothing can be sent there
        17,  # quote of the day
        19,  # chargen
        53,  # DNS
        111,  # portmapper
        123,  # NTP
        137,  # NetBIOS name service
        138,  # NetBIOS datagrams
        161,  # SNMP
        389,  # CLDAP
        500,  # IKE
        1900,  # SSDP
        3702,  # WS-Discovery
        5353,  # mDNS
        5355,  # LLMNR
        11211,  # memcached
    )
)


def is_reflection(peer: Address) -> bool:
    """Whether a stranger at this address gets no answer. A known connection may move there."""
    return len(peer) > 1 and peer[1] in REFLECTION_PORTS
