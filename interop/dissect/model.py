"""What a dissected capture consists of: datagrams, packets, handshake messages."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from endpoint.batch import Address
from endpoint.level import Level
from endpoint.tls.messages import ClientHello, EncryptedExtensions, HandshakeType, ServerHello
from endpoint.wire.frames import Ack, Crypto, Frame
from endpoint.wire.transport_params import TransportParameters
from endpoint.wire.version import PacketType

if TYPE_CHECKING:
    from interop.dissect.connection import Connection

_F = TypeVar("_F", bound=Frame)

LEVELS = {
    PacketType.INITIAL: Level.INITIAL,
    PacketType.ZERO_RTT: Level.ZERO_RTT,
    PacketType.HANDSHAKE: Level.HANDSHAKE,
    PacketType.ONE_RTT: Level.ONE_RTT,
}


class Side(StrEnum):
    """Who sends, or owns a connection ID."""

    CLIENT = "client"
    SERVER = "server"

    @property
    def peer(self) -> "Side":
        return Side.SERVER if self is Side.CLIENT else Side.CLIENT


@dataclass(frozen=True, slots=True)
class Message:
    """A handshake message, in the packet that completes it. `content` where the dissector looks inside."""

    type: int
    body: bytes
    content: ClientHello | ServerHello | EncryptedExtensions | None = None
    parameters: TransportParameters | None = None

    @property
    def name(self) -> str:
        try:
            return HandshakeType(self.type).name
        except ValueError:
            return f"HANDSHAKE_{self.type}"


@dataclass(slots=True, eq=False)
class Packet:
    """One QUIC packet of a datagram.

    `kind` is None where the version is unknown, and for a stateless reset. `scid` and `version` are None
    for short headers. `size` counts all bytes, `header_size` those up to and with the packet number (to the
    packet number where it is not known).

    Decrypted packets have a `number`, a `payload` and `frames`; what is wrong with these is in `malformed`.
    Others say in `problem` why they are not. Retry and Version Negotiation packets have neither, but a
    `problem` where they are void.
    """

    size: int
    kind: PacketType | None
    dcid: bytes
    version: int | None = None
    scid: bytes | None = None
    token: bytes = b""
    header_size: int = 0
    connection: "Connection | None" = None
    sender: Side | None = None
    number: int | None = None
    first_byte: int = 0
    key_generation: int = 0
    payload: bytes | None = None
    frames: list[Frame] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    # Whether CRYPTO frames repeat bytes that an earlier packet had.
    repeats_crypto: bool = False
    supported_versions: tuple[int, ...] = ()
    is_stateless_reset: bool = False
    problem: str | None = None
    malformed: str | None = None

    @property
    def level(self) -> Level | None:
        """None for packets without protection or of unknown type."""
        return None if self.kind is None else LEVELS.get(self.kind)

    @property
    def key_phase(self) -> int | None:
        """The bit, for decrypted 1-RTT packets."""
        return self.first_byte >> 2 & 1 if self.kind is PacketType.ONE_RTT and self.is_open else None

    @property
    def is_open(self) -> bool:
        """Whether it was decrypted."""
        return self.payload is not None

    @property
    def protected_size(self) -> int:
        """Bytes behind the header, with the AEAD's tag."""
        return self.size - self.header_size

    def find(self, frame_class: type[_F]) -> list[_F]:
        """Its frames of one kind."""
        return [frame for frame in self.frames if isinstance(frame, frame_class)]

    @property
    def ecn_counts(self) -> tuple[int, int, int] | None:
        """Of its first ACK frame that has them."""
        return next((ack.ecn for ack in self.find(Ack) if ack.ecn is not None), None)

    @property
    def crypto_end(self) -> int | None:
        """Where the first CRYPTO frame ends in its stream."""
        return next((frame.offset + len(frame.data) for frame in self.find(Crypto)), None)


@dataclass(slots=True)
class Datagram:
    """One UDP datagram.

    `number` is that of the frame in the capture, from 1; `time` is in nanoseconds; `size` is of the UDP
    payload. `padding` counts bytes behind the last packet that are none.
    """

    number: int
    time: int
    source: Address
    destination: Address
    ecn: int
    size: int
    packets: list[Packet]
    checksum_is_right: bool = True
    padding: int = 0

    @property
    def seconds(self) -> float:
        return self.time / 1e9

    @property
    def is_ipv4(self) -> bool:
        return ":" not in self.source[0]
