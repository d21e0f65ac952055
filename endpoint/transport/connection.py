"""One QUIC connection without I/O: bytes and time in; bytes, events and a deadline out (RFC 9000 §5).

This file wires the parts and decides nothing. The order of calls:

1. `receive` for every batch that came, then `on_socket_drained` when there is no more;
2. `on_timeout` when `next_timeout` has passed;
3. `next_event` until None, with commands (`write`, `read`, ...) in answer;
4. `transmit` until None, after any of the above.
"""

from collections import deque
from collections.abc import Callable
from typing import Self

from endpoint.batch import Address, PacketBuffer, RecvBatch, SendBatch
from endpoint.config import Config
from endpoint.crypto.initial import initial_keys
from endpoint.errors import ConnectionClosedError, TransportError, TransportErrorCode
from endpoint.events import ConnectionClosed, Event, HandshakeCompleted, HandshakeConfirmed
from endpoint.level import Level
from endpoint.recovery.ack_tracker import AckTracker
from endpoint.recovery.loss import LossDetector
from endpoint.recovery.rtt import RttEstimator
from endpoint.tls.client import TlsClient
from endpoint.tls.config import TlsConfig
from endpoint.tls.server import TlsServer
from endpoint.transport.cids import LocalCids, PeerCids
from endpoint.transport.close import CLOSE_PTO_COUNT, Closer, CloseReason, ConnectionState, clip_reason
from endpoint.transport.handshake import Handshake
from endpoint.transport.parameters import effective_idle_timeout, local_parameters, peer_parameters
from endpoint.transport.parts import Parts
from endpoint.transport.paths import Path
from endpoint.transport.receive import Receiver
from endpoint.transport.spaces import PacketSpace
from endpoint.transport.streams import Streams
from endpoint.transport.timers import Timer, Timers
from endpoint.transport.transmit import Transmitter
from endpoint.wire.frames import HandshakeDone, Ping
from endpoint.wire.transport_params import encode_transport_parameters
from endpoint.wire.version import QUIC_V1, VERSIONS

# RFC 9000 §7.2: the client's first Destination Connection ID has at least 8 unpredictable bytes.
INITIAL_DCID_LENGTH = 8

RandomSource = Callable[[int], bytes]
"""Gives that many unpredictable bytes; a test gives predictable ones."""


class Connection:
    """Make one with `Connection.client`; a server's come from `endpoint.listener.Listener`.

    All times are seconds on one monotonic clock that the caller reads. Commands raise
    ConnectionClosedError once the connection is closing, StreamError for what a stream does not allow.
    """

    __slots__ = (
        "_confirmed_seen",
        "_eliciting_since_receive",
        "_heard",
        "_parts",
        "_receiver",
        "_transmitter",
    )

    def __init__(self, parts: Parts, now: float) -> None:
        """Used by `client` and the listener."""
        self._parts = parts
        self._receiver = Receiver(parts)
        self._transmitter = Transmitter(parts)
        self._confirmed_seen = False
        self._eliciting_since_receive = False
        self._heard = False
        parts.timers.set(Timer.HANDSHAKE, now + parts.config.handshake_timeout)
        parts.timers.set(Timer.IDLE, now + parts.config.max_idle_timeout)

    @classmethod
    def client(
        cls,
        config: Config,
        tls: TlsConfig,
        *,
        peer: Address,
        server_name: str,
        random: RandomSource,
        wall_time: Callable[[], float],
        now: float,
        keylog: Callable[[str], None] | None = None,
    ) -> Self:
        """A client's connection to `peer`, with its first flight ready to `transmit`.

        `server_name` is what the certificate has to be for, and SNI where it is a DNS name. `wall_time`
        gives seconds since 1970 for certificate dates. `keylog` gets lines in the NSS format.
        """
        dcid = random(INITIAL_DCID_LENGTH)
        scid = random(config.connection_id_length)
        params = encode_transport_parameters(local_parameters(config, scid))
        session = TlsClient(
            tls, transport_parameters=params, random=random, wall_time=wall_time, server_name=server_name
        )
        parts = _make_parts(
            config,
            session,
            is_client=True,
            original_destination_cid=dcid,
            peer_cid=dcid,
            # A client has no key that outlives it; its peers have no use for its tokens either.
            local_cids=LocalCids(scid, random, lambda _: random(16)),
            path=Path(peer, None, validated=True),
            keylog=keylog,
        )
        parts.handshake.start()
        return cls(parts, now)

    @classmethod
    def server(
        cls,
        config: Config,
        tls: TlsConfig,
        *,
        peer: Address,
        local: Address | None,
        original_destination_cid: bytes,
        peer_source_cid: bytes,
        random: RandomSource,
        wall_time: Callable[[], float],
        reset_token: Callable[[bytes], bytes],
        now: float,
        keylog: Callable[[str], None] | None = None,
    ) -> Self:
        """A server's end, for a client whose first Initial had these connection IDs."""
        scid = random(config.connection_id_length)
        params = local_parameters(
            config,
            scid,
            original_destination_cid=original_destination_cid,
            stateless_reset_token=reset_token(scid),
        )
        session = TlsServer(
            tls,
            transport_parameters=encode_transport_parameters(params),
            random=random,
            wall_time=wall_time,
        )
        parts = _make_parts(
            config,
            session,
            is_client=False,
            original_destination_cid=original_destination_cid,
            peer_cid=peer_source_cid,
            local_cids=LocalCids(scid, random, reset_token),
            path=Path(peer, local, validated=False),
            keylog=keylog,
        )
        parts.peer_source_cid = peer_source_cid
        return cls(parts, now)

    # What is known.

    @property
    def state(self) -> ConnectionState:
        """Where the connection is in its life."""
        return self._parts.state

    @property
    def is_client(self) -> bool:
        """Whether we opened the connection."""
        return self._parts.is_client

    @property
    def is_closing(self) -> bool:
        """Whether it is closing, draining or closed: no command is possible any more."""
        return self._parts.state not in (ConnectionState.HANDSHAKE, ConnectionState.ESTABLISHED)

    @property
    def is_closed(self) -> bool:
        """Whether there is nothing more to send or to wait for: the connection can be forgotten."""
        return self._parts.state is ConnectionState.CLOSED

    @property
    def handshake_complete(self) -> bool:
        """RFC 9001 §4.1.1."""
        return self._parts.handshake.complete

    @property
    def handshake_confirmed(self) -> bool:
        """RFC 9001 §4.1.2."""
        return self._parts.handshake.confirmed

    @property
    def alpn(self) -> str | None:
        """The application protocol, None before it is negotiated."""
        return self._parts.handshake.tls.alpn

    @property
    def peer_certificates(self) -> tuple[bytes, ...]:
        """The peer's certificate chain in DER, leaf first; empty if it sent none (so far)."""
        return self._parts.handshake.tls.peer_certificates

    @property
    def peer(self) -> Address:
        """The address the peer is reached at."""
        return self._parts.path.peer

    @property
    def original_destination_cid(self) -> bytes:
        """The Destination Connection ID of the client's first Initial; names the connection in logs."""
        return self._parts.original_destination_cid

    @property
    def local_cids(self) -> list[bytes]:
        """The connection IDs by which the peer may address us now."""
        return self._parts.local_cids.all()

    @property
    def rtt(self) -> RttEstimator:
        """Round-trip times, seconds."""
        return self._parts.recovery.rtt

    @property
    def congestion_window(self) -> int:
        """Bytes that may be in flight."""
        return self._parts.recovery.congestion.congestion_window

    @property
    def packets_sent(self) -> int:
        """Packets of all packet number spaces so far."""
        return sum(space.next_pn for space in self._parts.spaces.values())

    # Input.

    def receive(self, batch: RecvBatch, now: float) -> None:
        """Take datagrams for this connection. Nothing raises: what the peer did wrong closes it."""
        parts = self._parts
        if parts.state is ConnectionState.CLOSING and parts.closer is not None:
            parts.path.on_received(batch.length)
            parts.closer.on_received(-(-batch.length // batch.segment_size))
            return
        if self.is_closing:
            return
        try:
            self._receiver.receive(batch, now)
            self._heard |= self._receiver.processed
            if not parts.handshake.confirmed or not self._confirmed_seen:
                self._advance_handshake(now)
        except TransportError as error:
            self._close(CloseReason(error.code, error.frame_type, clip_reason(error.reason)), now)
            parts.events.append(
                ConnectionClosed(error.code, error.frame_type, error.reason, application=False, remote=False)
            )
        if parts.state is ConnectionState.DRAINING:
            self._enter_closing_states(now)

    def on_socket_drained(self, now: float) -> None:
        """There is nothing more to receive right now: decide about ACKs (RFC 9000 §13.2.1), and
        restart the idle timer, once for all that came.
        """
        if self._heard and not self.is_closing:
            self._heard = False
            self._set_idle_timer(now)
        for space in self._parts.spaces.values():
            space.acks.on_socket_drained()

    def on_timeout(self, now: float) -> None:
        """Do what is due at `now`; harmless when nothing is."""
        parts = self._parts
        for timer in parts.timers.expired(now):
            self._on_timer(timer, now)
        if self.is_closing:
            return
        for space in parts.spaces.values():
            space.acks.on_timeout(now)
        timeout = parts.recovery.on_timeout(now)
        if timeout is not None:
            for run in timeout.lost:
                if run.content is not None:
                    run.content.on_lost()
            if timeout.probes:
                self._probe(timeout.level, timeout.probes)

    # Output.

    def transmit(self, buffer: PacketBuffer, now: float) -> SendBatch | None:
        """Fill `buffer` with the next batch to send; None if there is nothing, or nothing may go now."""
        parts = self._parts
        if parts.state in (ConnectionState.DRAINING, ConnectionState.CLOSED):
            return None
        try:
            batch = self._transmitter.transmit(buffer, now)
        except TransportError as error:
            self._close(CloseReason(error.code, error.frame_type, clip_reason(error.reason)), now)
            return self._transmitter.transmit(buffer, now)
        if batch is not None and self._transmitter.sent_eliciting:
            self._on_eliciting_sent(now)
        return batch

    def next_timeout(self) -> float | None:
        """When `on_timeout` is to be called (or `transmit`, if pacing waits); None: not at all."""
        parts = self._parts
        candidates = [parts.timers.next()]
        if not self.is_closing:
            candidates.append(parts.recovery.next_timeout())
            candidates.append(self._transmitter.pacing_deadline)
            candidates += [space.acks.deadline for space in parts.spaces.values() if space.write_keys]
        return min((at for at in candidates if at is not None), default=None)

    def next_event(self) -> Event | None:
        """The next thing to tell the application, in order; None if there is none."""
        events = self._parts.events
        return events.popleft() if events else None

    def take_routes(self) -> list[tuple[bool, bytes]]:
        """For the listener: connection IDs that (True) are or (False) are no longer ours."""
        return self._parts.local_cids.take_routes()

    # Commands.

    def can_open_stream(self, *, unidirectional: bool = False) -> bool:
        """Whether the peer's limit admits one more stream."""
        return self._parts.streams.can_open(unidirectional)

    def open_stream(self, *, unidirectional: bool = False) -> int:
        """Open a stream and return its id. StreamError at the peer's limit: wait for StreamsAvailable."""
        return self._open_streams().open(unidirectional)

    def writable(self, stream_id: int) -> int:
        """How many bytes `write` would take now."""
        return self._open_streams().writable(stream_id)

    def write(self, stream_id: int, data: bytes | bytearray | memoryview, *, fin: bool = False) -> int:
        """Queue data on a stream; returns how many bytes were taken.

        `fin` ends the stream, and counts only if all bytes were taken. After a short write
        StreamWritable tells when to go on. `bytes` are kept, not copied.
        """
        return self._open_streams().write(stream_id, data, fin)

    def read(self, stream_id: int, max_bytes: int | None = None) -> tuple[bytes, bool]:
        """Up to `max_bytes` bytes of a stream, and whether its end is reached.

        Taking bytes is what gives the peer credit to send more. After StreamReadable read until there
        is nothing left: no other event comes before.
        """
        return self._parts.streams.read(stream_id, max_bytes)

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        """Abandon sending on a stream (RFC 9000 §19.4)."""
        self._open_streams().reset(stream_id, error_code)

    def stop_sending(self, stream_id: int, error_code: int) -> None:
        """Ask the peer to stop sending on a stream (RFC 9000 §19.5)."""
        self._open_streams().stop_sending(stream_id, error_code)

    def set_priority(self, stream_id: int, urgency: int, *, incremental: bool) -> None:
        """Order of sending among streams (RFC 9218 §4): urgency 0, first, to 7."""
        self._open_streams().set_priority(stream_id, urgency, incremental)

    def ping(self) -> None:
        """Send something the peer has to acknowledge."""
        self._parts.spaces[Level.ONE_RTT].control.append(Ping())

    def close(self, error_code: int = 0, reason: str = "", *, now: float, application: bool = True) -> None:
        """Close at once (RFC 9000 §10.2). Does nothing if the connection is closing already."""
        if self.is_closing:
            return
        frame_type = None if application else 0
        self._close(CloseReason(error_code, frame_type, clip_reason(reason)), now)
        self._parts.events.append(
            ConnectionClosed(error_code, 0, reason, application=application, remote=False)
        )

    # Wiring.

    def _open_streams(self) -> Streams:
        if self.is_closing:
            raise ConnectionClosedError("the connection is closed")
        return self._parts.streams

    def _advance_handshake(self, now: float) -> None:
        """What new keys and completed steps of the handshake set going."""
        parts = self._parts
        tls = parts.handshake.tls
        if parts.peer_params is None and tls.peer_transport_parameters is not None:
            self._apply_peer_parameters(tls.peer_transport_parameters)
        recovery = parts.recovery
        recovery.has_handshake_keys = parts.spaces[Level.HANDSHAKE].write_keys is not None
        self._receiver.replay_early(now)
        if parts.state is ConnectionState.HANDSHAKE and parts.handshake.complete:
            self._on_handshake_complete(now)
        if parts.handshake.confirmed and not self._confirmed_seen:
            self._confirmed_seen = True
            # RFC 9001 §4.9.2.
            parts.spaces[Level.HANDSHAKE].discard()
            recovery.discard_space(Level.HANDSHAKE)
            recovery.handshake_confirmed = True

    def _on_handshake_complete(self, now: float) -> None:
        parts = self._parts
        parts.state = ConnectionState.ESTABLISHED
        parts.timers.set(Timer.HANDSHAKE, None)
        tls = parts.handshake.tls
        assert tls.alpn is not None
        assert tls.cipher_suite is not None
        parts.events.append(HandshakeCompleted(tls.alpn, tls.cipher_suite, tls.peer_certificates))
        control = parts.spaces[Level.ONE_RTT].control
        if not parts.is_client:
            # RFC 9001 §4.1.2: to a server, complete is confirmed.
            parts.handshake.confirmed = True
            control.append(HandshakeDone())
            parts.events.append(HandshakeConfirmed())
        control.extend(parts.local_cids.issue())
        self._receiver.replay_early(now)

    def _apply_peer_parameters(self, data: bytes) -> None:
        parts = self._parts
        assert parts.peer_source_cid is not None
        params = peer_parameters(
            data,
            from_client=not parts.is_client,
            peer_source_cid=parts.peer_source_cid,
            original_destination_cid=parts.original_destination_cid,
        )
        parts.peer_params = params
        parts.streams.apply_peer_limits(params)
        parts.local_cids.set_peer_limit(
            params.active_connection_id_limit, parts.config.active_connection_id_limit
        )
        if params.stateless_reset_token is not None:
            parts.peer_cids.set_reset_token(params.stateless_reset_token)
        parts.recovery.max_ack_delay = params.max_ack_delay / 1000
        parts.idle_timeout = effective_idle_timeout(parts.config.max_idle_timeout, params.max_idle_timeout)
        self._transmitter.set_max_udp_payload(params.max_udp_payload_size)

    def _set_idle_timer(self, now: float) -> None:
        """RFC 9000 §10.1: never less than three PTOs, so that a lost packet is not the end."""
        parts = self._parts
        timeout = parts.config.max_idle_timeout if parts.peer_params is None else parts.idle_timeout
        if timeout is not None and timeout > 0:
            timeout = max(timeout, 3 * _pto(parts))
            parts.timers.set(Timer.IDLE, now + timeout)
        else:
            parts.timers.set(Timer.IDLE, None)
        self._eliciting_since_receive = False
        if parts.config.keep_alive is not None and parts.handshake.complete:
            parts.timers.set(Timer.KEEP_ALIVE, now + parts.config.keep_alive)

    def _on_eliciting_sent(self, now: float) -> None:
        """RFC 9000 §10.1: the first ack-eliciting packet after a received one restarts the timer too."""
        if not self._eliciting_since_receive:
            self._set_idle_timer(now)
            self._eliciting_since_receive = True

    def _probe(self, level: Level, count: int) -> None:
        """RFC 9002 §6.2.4: send again what is oldest, or at least a PING."""
        parts = self._parts
        parts.spaces[level].probes = count
        for run in parts.recovery.sent_packets[level]:
            if run.ack_eliciting:
                if run.content is not None:
                    run.content.on_lost()
                break

    def _on_timer(self, timer: Timer, now: float) -> None:
        parts = self._parts
        if timer is Timer.CLOSE:
            parts.state = ConnectionState.CLOSED
        elif timer is Timer.KEEP_ALIVE:
            self.ping()
            parts.timers.set(Timer.KEEP_ALIVE, now + (parts.config.keep_alive or 0.0))
        elif timer is Timer.IDLE:
            self._end_silently("idle timeout", "idle_timeout")
        elif timer is Timer.HANDSHAKE:
            self._end_silently("the handshake took too long", "handshake_timeout")

    def _end_silently(self, reason: str, kind: str) -> None:
        """RFC 9000 §10.1: the peer has given up too, or can't hear us: nothing to say."""
        parts = self._parts
        parts.state = ConnectionState.CLOSED
        parts.timers.clear()
        parts.events.append(
            ConnectionClosed(
                TransportErrorCode.NO_ERROR, 0, reason, application=False, remote=False, kind=kind
            )
        )

    def _close(self, reason: CloseReason, now: float) -> None:
        parts = self._parts
        parts.state = ConnectionState.CLOSING
        parts.closer = Closer(reason)
        self._enter_closing_states(now)

    def _enter_closing_states(self, now: float) -> None:
        """RFC 9000 §10.2: closing and draining end after three PTOs."""
        timers = self._parts.timers
        if timers.get(Timer.CLOSE) is None:
            timers.clear()
            timers.set(Timer.CLOSE, now + CLOSE_PTO_COUNT * _pto(self._parts))


def _pto(parts: Parts) -> float:
    """The probe timeout without back-off, which other durations are multiples of."""
    return parts.recovery.rtt.pto(parts.recovery.max_ack_delay)


def _make_parts(
    config: Config,
    session: TlsClient | TlsServer,
    *,
    is_client: bool,
    original_destination_cid: bytes,
    peer_cid: bytes,
    local_cids: LocalCids,
    path: Path,
    keylog: Callable[[str], None] | None,
) -> Parts:
    """The parts of a new connection, with Initial keys installed (RFC 9001 §5.2)."""
    version = VERSIONS[QUIC_V1]
    spaces = {
        level: PacketSpace(
            level, AckTracker(immediate=level is not Level.ONE_RTT, max_ack_delay=config.max_ack_delay)
        )
        for level in (Level.INITIAL, Level.HANDSHAKE, Level.ONE_RTT)
    }
    initial = spaces[Level.INITIAL]
    initial.write_keys, initial.read_keys = initial_keys(
        version, original_destination_cid, is_client=is_client
    )
    events: deque[Event] = deque()
    return Parts(
        config=config,
        is_client=is_client,
        version=version,
        original_destination_cid=original_destination_cid,
        peer_source_cid=None,
        spaces=spaces,
        handshake=Handshake(session, spaces, version, keylog),
        streams=Streams(config, is_client=is_client, events=events),
        local_cids=local_cids,
        peer_cids=PeerCids(peer_cid, config.active_connection_id_limit),
        path=path,
        recovery=LossDetector(
            is_client=is_client,
            initial_rtt=config.initial_rtt,
            max_datagram_size=config.max_udp_payload_size,
            congestion=config.congestion,
        ),
        timers=Timers(),
        tracer=config.tracer,
        events=events,
    )
