"""The parts of one connection, as those see them who work across several: receive, transmit, dispatch."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from endpoint.batch import TAG_LENGTH, Address
from endpoint.config import Config
from endpoint.crypto.initial import initial_keys
from endpoint.crypto.keys import PacketKeys
from endpoint.events import Event
from endpoint.level import Level
from endpoint.recovery.loss import LossDetector
from endpoint.trace import Tracer
from endpoint.transport.cids import LocalCids, PeerCids
from endpoint.transport.close import Closer, ConnectionState
from endpoint.transport.extensions import Extensions
from endpoint.transport.handshake import Handshake
from endpoint.transport.key_update import KeyPhase
from endpoint.transport.migration import Paths
from endpoint.transport.paths import Path
from endpoint.transport.spaces import PacketSpace
from endpoint.transport.streams import Streams
from endpoint.transport.timers import Timers
from endpoint.wire.transport_params import TransportParameters
from endpoint.wire.version import VERSIONS, VersionParameters

# RFC 9000 §17.1.
MAX_PN_LENGTH = 4


@dataclass(slots=True, kw_only=True)
class Parts:
    """Made once by `Connection`; the parts know each other only through it."""

    config: Config
    is_client: bool
    # The version we send in, and that of the client's first flight (RFC 9368 §2.3).
    version: VersionParameters
    original_version: int
    # Initial keys to read with, by version: during a change there are two.
    initial_read_keys: dict[int, PacketKeys]
    # The Destination Connection ID of the client's first Initial (RFC 9000 §7.2).
    original_destination_cid: bytes
    # Where Initial keys come from: the same, or after a Retry the ID that it gave (RFC 9001 §5.2).
    initial_destination_cid: bytes
    # The Source Connection ID of the peer's Initials; None until a client has heard from the server.
    peer_source_cid: bytes | None
    spaces: dict[Level, PacketSpace]
    # In the order of levels; those that are not discarded.
    live_spaces: list[PacketSpace] = field(init=False)
    handshake: Handshake
    streams: Streams
    local_cids: LocalCids
    peer_cids: PeerCids
    paths: Paths
    recovery: LossDetector
    timers: Timers
    key_phase: KeyPhase
    extensions: Extensions
    tracer: Tracer | None
    state: ConnectionState = ConnectionState.HANDSHAKE
    closer: Closer | None = None
    # Ours, as soon as they are settled: a server's depend on the client's.
    local_params: TransportParameters | None = None
    peer_params: TransportParameters | None = None
    # A client that was told of other versions and has begun anew in one of them.
    reacted_to_version_negotiation: bool = False
    token: bytes = b""
    retry_source_cid: bytes | None = None
    # Server: makes the token of a NEW_TOKEN frame for an address and a version (RFC 9000 §8.1.3).
    new_token: Callable[[Address, int], bytes] | None = None
    # 0-RTT. Client: the parameters it goes by. Server: whether the ClientHello is read, and until when
    # 0-RTT packets are taken.
    remembered_params: TransportParameters | None = None
    early_data_open: bool = False
    early_data_end: float | None = None
    idle_timeout: float | None = None
    events: deque[Event] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.live_spaces = list(self.spaces.values())

    @property
    def path(self) -> Path:
        """The path that carries the connection."""
        return self.paths.active

    @property
    def pto(self) -> float:
        """The probe timeout in seconds without back-off, of which other durations are multiples."""
        return self.recovery.rtt.pto(self.recovery.max_ack_delay)

    @property
    def packet_room(self) -> int:
        """Bytes of frames that any 1-RTT packet on the present path can hold."""
        header = 1 + len(self.peer_cids.current) + MAX_PN_LENGTH
        return self.recovery.max_datagram_size - header - TAG_LENGTH

    def switch_version(self, version: int) -> None:
        """Go on in another version: Initial packets at once, all others as their keys come."""
        if version == self.version.version:
            return
        self.version = self.handshake.version = VERSIONS[version]
        write_keys, read_keys = initial_keys(
            self.version, self.initial_destination_cid, is_client=self.is_client
        )
        self.initial_read_keys[version] = read_keys
        initial = self.spaces[Level.INITIAL]
        if initial.write_keys is not None:
            initial.write_keys = write_keys

    def discard_space(self, level: Level) -> None:
        """RFC 9001 §4.9: packets of `level` have no more use. Nothing changes the second time."""
        space = self.spaces[level]
        if space in self.live_spaces:
            self.live_spaces.remove(space)
            space.discard()
            self.recovery.discard_space(level)

    def usable_space(self, level: Level) -> PacketSpace | None:
        """The space of `level` while we can send in it.

        A server has 1-RTT keys before it knows whom it talks to; it uses them when the handshake is
        complete (RFC 9001 §5.7), or to answer 0-RTT data. A client sends 0-RTT packets in the 1-RTT space.
        """
        space = self.spaces[level]
        if level is Level.ONE_RTT:
            if self.handshake.complete:
                return space
            open_early = self.sends_early_data or (
                not self.is_client and self.handshake.tls.early_data_accepted and space.write_keys is not None
            )
            return space if open_early else None
        return None if space.write_keys is None else space

    @property
    def sends_early_data(self) -> bool:
        """Whether a client's packets for the application are 0-RTT packets now."""
        return self.is_client and self.handshake.early_keys is not None and not self.handshake.complete
