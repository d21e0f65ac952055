"""How the parts of a new connection are made, for either role (RFC 9000 §7)."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from endpoint.batch import Address
from endpoint.config import Config
from endpoint.crypto.initial import initial_keys
from endpoint.events import Event
from endpoint.level import Level
from endpoint.recovery.ack_tracker import AckTracker
from endpoint.recovery.loss import LossDetector
from endpoint.recovery.pmtud import ETHERNET_IPV6
from endpoint.tls.client import TlsClient
from endpoint.tls.config import TlsConfig
from endpoint.tls.server import TlsServer
from endpoint.tls.session import Session
from endpoint.transport import early_data
from endpoint.transport.cids import LocalCids, PeerCids
from endpoint.transport.extensions import make_extensions
from endpoint.transport.grease import encode_with_grease
from endpoint.transport.handshake import Handshake
from endpoint.transport.key_update import KeyPhase
from endpoint.transport.migration import Paths
from endpoint.transport.observe_streams import TracedStreams
from endpoint.transport.parameters import local_parameters, peer_parameters
from endpoint.transport.parts import Parts
from endpoint.transport.paths import Path
from endpoint.transport.retry import MAX_TOKEN_LENGTH
from endpoint.transport.spaces import PacketSpace
from endpoint.transport.stateless_reset import TOKEN_LENGTH
from endpoint.transport.streams import Streams
from endpoint.transport.timers import Timers
from endpoint.transport.versions import negotiate
from endpoint.wire.transport_params import (
    PreferredAddress,
    TransportParameters,
    encode_transport_parameters,
)
from endpoint.wire.version import VERSIONS, first_flight_parameters, is_reserved_version

RandomSource: TypeAlias = Callable[[int], bytes]
"""Gives that many unpredictable bytes; a test gives predictable ones."""

# RFC 9000 §7.2: the client's first Destination Connection ID has at least 8 unpredictable bytes.
INITIAL_DCID_LENGTH = 8


@dataclass(frozen=True, slots=True)
class FirstInitial:
    """What a server knows of a client from the header of the Initial that opens the connection.

    `original_destination_cid` differs from `destination_cid`, that of this very Initial, only after a
    Retry. `validated`: the client has shown a token that proves its address (RFC 9000 §8.1).
    """

    version: int
    source_cid: bytes
    destination_cid: bytes
    original_destination_cid: bytes
    validated: bool = False

    @property
    def retry_source_cid(self) -> bytes | None:
        """The connection ID that our Retry gave, None if there was none (RFC 9000 §7.3)."""
        return None if self.destination_cid == self.original_destination_cid else self.destination_cid


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a connection can't have of its own: randomness, the date, and somewhere to log keys."""

    random: RandomSource
    wall_time: Callable[[], float]
    keylog: Callable[[str], None] | None


def make_client(
    config: Config,
    tls: TlsConfig,
    *,
    peer: Address,
    server_name: str,
    around: Surroundings,
    reacted_to_version_negotiation: bool = False,
    token: bytes = b"",
    session: Session | None = None,
) -> Parts:
    """The parts of a client's connection, ClientHello included; see `Connection.client`."""
    version = config.initial_version
    # RFC 9000 §15: who begins in a reserved version wants to be told of others.
    startable = version in config.versions or is_reserved_version(version)
    if not startable or not VERSIONS.keys() >= set(config.versions):
        raise ValueError("versions must name versions that we speak, among them initial_version")
    if session is not None:
        session = early_data.usable_session(session, version)
    random = around.random
    dcid = random(INITIAL_DCID_LENGTH)
    scid = random(config.connection_id_length)
    params = local_parameters(config, scid, chosen_version=version)
    client = TlsClient(
        tls,
        transport_parameters=_encode(config, params, random),
        random=random,
        wall_time=around.wall_time,
        server_name=server_name,
        session=session,
    )
    parts = _make_parts(
        config,
        client,
        FirstInitial(version, scid, dcid, dcid),
        around,
        is_client=True,
        # A client has no key that outlives it, so nobody could make its resets: any token will do.
        local_cids=LocalCids(scid, random, lambda _: random(TOKEN_LENGTH), routed=False),
        path=Path(peer, None, validated=True),
    )
    parts.local_params = params
    parts.reacted_to_version_negotiation = reacted_to_version_negotiation
    # RFC 9000 §8.1.3: it saves a round trip at best, so one that is in the way can be left out.
    parts.token = token if len(token) <= MAX_TOKEN_LENGTH else b""
    parts.handshake.start()
    if session is not None and client.early_data_offered:
        early_data.begin(parts, session)
    return parts


def make_server(
    config: Config,
    tls: TlsConfig,
    *,
    peer: Address,
    local: Address | None,
    first: FirstInitial,
    around: Surroundings,
    reset_token: Callable[[bytes], bytes],
    new_token: Callable[[Address, int], bytes] | None = None,
) -> Parts:
    """The parts of a server's end, see `Connection.server`."""
    scid = around.random(config.connection_id_length)
    local_cids = LocalCids(scid, around.random, reset_token)
    preferred_address = _preferred_address(config, local_cids)

    def answer(data: bytes) -> bytes:
        """The client's parameters are known: choose the version, and say ours. Raises TransportError."""
        params = peer_parameters(
            data,
            from_client=True,
            peer_source_cid=first.source_cid,
            original_destination_cid=first.original_destination_cid,
        )
        parts.peer_params = params
        parts.switch_version(negotiate(config.versions, first.version, params.version_information))
        # RFC 9369 §5: what the client gets for its next visit is for the version negotiated.
        session.new_ticket_scope = _ticket_scope(parts.version.version)
        ours = local_parameters(
            config,
            scid,
            original_destination_cid=first.original_destination_cid,
            retry_source_cid=first.retry_source_cid,
            stateless_reset_token=reset_token(scid),
            chosen_version=parts.version.version,
            preferred_address=preferred_address,
        )
        parts.local_params = ours
        return _encode(config, ours, around.random)

    limits = local_parameters(config, scid, chosen_version=first.version)
    session = TlsServer(
        tls,
        transport_parameters=answer,
        random=around.random,
        wall_time=around.wall_time,
        application_state=early_data.remember(limits),
        accept_state=early_data.accepts_state(limits),
        ticket_scope=_ticket_scope(first.version),
    )
    parts = _make_parts(
        config,
        session,
        first,
        around,
        is_client=False,
        local_cids=local_cids,
        path=Path(peer, local, validated=first.validated),
    )
    parts.new_token = new_token
    return parts


def _ticket_scope(version: int) -> bytes:
    """Session tickets are bound to a version (RFC 9369 §5)."""
    return version.to_bytes(4, "big")


def _encode(config: Config, params: TransportParameters, random: RandomSource) -> bytes:
    """Our transport parameters as they are sent."""
    return encode_with_grease(params, random) if config.grease else encode_transport_parameters(params)


def _preferred_address(config: Config, local_cids: LocalCids) -> PreferredAddress | None:
    """What the server's settings want told as preferred_address (RFC 9000 §9.6)."""
    if config.preferred_ipv4 is None and config.preferred_ipv6 is None:
        return None
    return PreferredAddress(config.preferred_ipv4, config.preferred_ipv6, *local_cids.issue_preferred())


def _make_parts(
    config: Config,
    session: TlsClient | TlsServer,
    first: FirstInitial,
    around: Surroundings,
    *,
    is_client: bool,
    local_cids: LocalCids,
    path: Path,
) -> Parts:
    """The parts with Initial keys installed (RFC 9001 §5.2)."""
    params = first_flight_parameters(first.version)
    spaces = _make_spaces(config)
    initial = spaces[Level.INITIAL]
    initial.write_keys, read_keys = initial_keys(params, first.destination_cid, is_client=is_client)
    events: deque[Event] = deque()
    tracer = config.tracer(first.original_destination_cid, is_client) if config.tracer else None
    recovery = _make_recovery(config, is_client=is_client)
    peer_cids = PeerCids(
        first.destination_cid if is_client else first.source_cid, config.active_connection_id_limit
    )
    return Parts(
        config=config,
        is_client=is_client,
        version=params,
        original_version=first.version,
        initial_read_keys={first.version: read_keys},
        original_destination_cid=first.original_destination_cid,
        initial_destination_cid=first.destination_cid,
        peer_source_cid=None if is_client else first.source_cid,
        spaces=spaces,
        handshake=Handshake(session, spaces, params, around.keylog),
        streams=(
            Streams(config, is_client=is_client, events=events)
            if tracer is None
            else TracedStreams(config, is_client=is_client, events=events, tracer=tracer)
        ),
        local_cids=local_cids,
        peer_cids=peer_cids,
        paths=Paths(
            path,
            is_client=is_client,
            initial_rtt=config.initial_rtt,
            space=spaces[Level.ONE_RTT],
            local_cids=local_cids,
            peer_cids=peer_cids,
            recovery=recovery,
            events=events,
            random=around.random,
        ),
        recovery=recovery,
        key_phase=KeyPhase(spaces[Level.ONE_RTT], lambda: recovery.rtt.pto(recovery.max_ack_delay)),
        extensions=make_extensions(config, spaces[Level.ONE_RTT], recovery, events, around.random, tracer),
        timers=Timers(),
        tracer=tracer,
        events=events,
    )


def _make_recovery(config: Config, *, is_client: bool) -> LossDetector:
    """Loss detection as the settings want it."""
    return LossDetector(
        is_client=is_client,
        initial_rtt=config.initial_rtt,
        max_datagram_size=config.max_udp_payload_size,
        congestion=config.congestion,
        ecn=config.ecn,
        mtu_probe_limit=(config.max_mtu_probe or ETHERNET_IPV6) if config.pmtud else None,
    )


def _make_spaces(config: Config) -> dict[Level, PacketSpace]:
    """The three packet number spaces (RFC 9000 §12.3). Handshake packets are acknowledged at once."""
    return {
        level: PacketSpace(
            level, AckTracker(immediate=level is not Level.ONE_RTT, max_ack_delay=config.max_ack_delay)
        )
        for level in (Level.INITIAL, Level.HANDSHAKE, Level.ONE_RTT)
    }
