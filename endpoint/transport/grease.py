"""Values without meaning where a later version may want some, so that nobody comes to rely on ours.

The fixed bit of packets (RFC 9287), reserved transport parameters (RFC 9000 §18.1), reserved versions
(RFC 9000 §15). There are no reserved frame types that a peer would have to ignore.
"""

from collections.abc import Callable
from dataclasses import replace

from endpoint.wire.header import FIXED_BIT
from endpoint.wire.transport_params import TransportParameters, encode_transport_parameters
from endpoint.wire.varint import append_varint

# Of the content of a reserved parameter; any length is allowed, even 0.
MAX_PARAMETER_LENGTH = 15


class QuicBit:
    """The fixed bit of the 1-RTT packets that we send. `peer_accepts`: the peer has said it doesn't care.

    Long headers keep it set: whoever has to tell protocols apart may look at a handshake.
    """

    __slots__ = ("_coins", "_enabled", "_random", "peer_accepts")

    def __init__(self, random: Callable[[int], bytes], *, enabled: bool) -> None:
        self._random = random
        self._enabled = enabled
        # Those not looked at so far, below a 1 that marks how many they are.
        self._coins = 1
        self.peer_accepts = False

    def next(self) -> int:
        """The bit for the next packet, or for all packets of a run: FIXED_BIT or 0 (RFC 9287 §3.1)."""
        if not (self._enabled and self.peer_accepts):
            return FIXED_BIT
        if self._coins == 1:
            self._coins = 1 << 64 | int.from_bytes(self._random(8), "big")
        coin = self._coins & 1
        self._coins >>= 1
        return FIXED_BIT if coin else 0


def encode_with_grease(params: TransportParameters, random: Callable[[int], bytes]) -> bytes:
    """Our transport parameters, with one that has to be ignored and a version that nobody speaks."""
    information = params.version_information
    if information is not None:
        versions = (*information.available_versions, reserved_version(random))
        params = replace(params, version_information=replace(information, available_versions=versions))
    return encode_transport_parameters(params) + reserved_parameter(random)


def reserved_parameter(random: Callable[[int], bytes]) -> bytes:
    """A transport parameter without meaning: its identifier is 27 more than a multiple of 31."""
    number = int.from_bytes(random(4), "big")
    length = random(1)[0] % (MAX_PARAMETER_LENGTH + 1)
    out = bytearray()
    append_varint(out, 31 * number + 27)
    append_varint(out, length)
    return bytes(out) + random(length)


def reserved_version(random: Callable[[int], bytes]) -> int:
    """A version that never exists: 0x?a?a?a?a."""
    return int.from_bytes(random(4), "big") & 0xF0F0F0F0 | 0x0A0A0A0A
