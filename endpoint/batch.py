"""The unit of work on every boundary: datagrams of one size, back to back in one kept buffer.

One packet is a batch with n = 1. A batch has three producers (GRO, gathered slots, a single datagram)
and two consumers (GSO, a send per segment); none of them matters to the core.
"""

from typing import Any, TypeAlias

# A socket address as the socket module gives it. The core compares and stores it, never looks inside.
Address: TypeAlias = tuple[Any, ...]

# The ECN field of the IP header (RFC 3168 §5).
ECN_NOT_ECT = 0
ECN_ECT_1 = 1
ECN_ECT_0 = 2
ECN_CE = 3
