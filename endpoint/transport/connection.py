"""One QUIC connection without I/O: bytes and time in; bytes, events and a deadline out (RFC 9000 §5).

This file wires the parts and decides nothing. The order of calls:

1. `receive` for every batch that came, then `on_socket_drained` when there is no more;
2. `on_timeout` when `next_timeout` has passed;
3. `next_event` until None, with commands (`write`, `read`, ...) in answer;
4. `transmit` until None, after any of the above.
"""

from collections.abc import Callable
from typing import Self

from endpoint.batch import Address, PacketBuffer, RecvBatch, SendBatch
from endpoint.config import Config
from endpoint.errors import ConnectionClosedError, TransportError
from endpoint.events import DatagramReceived, Event, StreamReadable, StreamReceived
from endpoint.level import Level
from endpoint.recovery.ecn import EcnState
from endpoint.recovery.rtt import RttEstimator
from endpoint.tls.config import TlsConfig
from endpoint.tls.session import Session
from endpoint.trace import Tracer
from endpoint.transport.close import ConnectionState
from endpoint.transport.lifetime import Lifetime
from endpoint.transport.observer import Observer
from endpoint.transport.parts import Parts
from endpoint.transport.probes import on_lost, probe
from endpoint.transport.progress import HandshakeProgress
from endpoint.transport.receive import Receiver
from endpoint.transport.setup import FirstInitial, RandomSource, Surroundings, make_client, make_server
from endpoint.transport.transmit import Transmitter
from endpoint.wire.frames import Ping

_OPEN = (ConnectionState.HANDSHAKE, ConnectionState.ESTABLISHED)


class Connection:
    """Make one with `Connection.client`; a server's come from `endpoint.listener.Listener`.

    All times are seconds on one monotonic clock that the caller reads. Commands raise
    ConnectionClosedError once the connection is closing, StreamError for what a stream does not allow.
    """

    __slots__ = ("_heard", "_lifetime", "_observer", "_parts", "_progress", "_receiver", "_transmitter")

    def __init__(self, parts: Parts, now: float) -> None:
        """Used by `client` and `server`."""
        self._parts = parts
        self._receiver = Receiver(parts)
        self._transmitter = Transmitter(parts)
        self._progress = HandshakeProgress(parts, self._receiver)
        self._lifetime = Lifetime(parts, now)
        self._heard = False
        self._observer = None if parts.tracer is None else Observer(parts, parts.tracer, now)

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
        reacted_to_version_negotiation: bool = False,
        token: bytes = b"",
        session: Session | None = None,
    ) -> Self:
        """A client's connection to `peer`, with its first flight ready to `transmit`.

        `server_name` is what the certificate has to be for, and SNI where it is a DNS name. `wall_time`
        gives seconds since 1970 for certificate dates. `keylog` gets lines in the NSS format. After
        VersionsOffered, make another connection whose `config.initial_version` is the first of
        `config.versions` that is offered, and set `reacted_to_version_negotiation`. `token`
        is one that the same server gave before (NewTokenReceived), in the same version. `session` is resumed
        (SessionReceived) if it is of that version, too; if it allows 0-RTT and `tls.early_data` is set,
        `sends_early_data` is true at once.
        """
        parts = make_client(
            config,
            tls,
            peer=peer,
            server_name=server_name,
            around=Surroundings(random, wall_time, keylog),
            reacted_to_version_negotiation=reacted_to_version_negotiation,
            token=token,
            session=session,
        )
        return cls(parts, now)

    @classmethod
    def server(
        cls,
        config: Config,
        tls: TlsConfig,
        *,
        peer: Address,
        local: Address | None,
        first: FirstInitial,
        random: RandomSource,
        wall_time: Callable[[], float],
        reset_token: Callable[[bytes], bytes],
        now: float,
        keylog: Callable[[str], None] | None = None,
        new_token: Callable[[Address, int], bytes] | None = None,
    ) -> Self:
        """A server's end, for the client of that `first` Initial, which is still to be received.

        `reset_token` gives the stateless reset token of a connection ID. `new_token` makes a token for
        the client's next visit from an address in a version, see `tokens.AddressTokens`.
        """
        parts = make_server(
            config,
            tls,
            peer=peer,
            local=local,
            first=first,
            around=Surroundings(random, wall_time, keylog),
            reset_token=reset_token,
            new_token=new_token,
        )
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
        return self._parts.state not in _OPEN

    @property
    def is_closed(self) -> bool:
        """Whether there is nothing more to send or to wait for: the connection can be forgotten."""
        return self._parts.state is ConnectionState.CLOSED

    @property
    def peer_stream_limit(self) -> int:
        """How many bidirectional streams the peer may open in all, as it was last told (RFC 9000 §4.6)."""
        return self._parts.streams.accept_limits[False].limit

    @property
    def handshake_complete(self) -> bool:
        """RFC 9001 §4.1.1."""
        return self._parts.handshake.complete

    @property
    def sends_early_data(self) -> bool:
        """Client: streams can be opened and written now, and go out as 0-RTT data (RFC 9001 §4.6).

        An observer can make a server see such data twice: send only what is safe to repeat.
        """
        return self._parts.sends_early_data

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
    def local(self) -> Address | None:
        """Our own address, None where the socket does not tell."""
        return self._parts.path.local

    @property
    def is_peer_validated(self) -> bool:
        """Whether the peer has proved its address, so that the 3x limit is lifted (RFC 9000 §8.1)."""
        return self._parts.path.validated

    @property
    def original_destination_cid(self) -> bytes:
        """The Destination Connection ID of the client's first Initial; names the connection in logs."""
        return self._parts.original_destination_cid

    @property
    def initial_destination_cid(self) -> bytes:
        """What the client's Initials are addressed to: the same, or the ID of a Retry."""
        return self._parts.initial_destination_cid

    @property
    def has_opened_packet(self) -> bool:
        """Whether any packet of the peer was authentic so far."""
        return self._receiver.opened_any

    @property
    def version(self) -> int:
        """The QUIC version we send in; final once the handshake is complete."""
        return self._parts.version.version

    @property
    def key_updates(self) -> int:
        """How many key updates there were, whoever began them (RFC 9001 §6)."""
        return self._parts.key_phase.updates

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
    def max_udp_payload(self) -> int:
        """Bytes of UDP payload that our datagrams have at most now (RFC 9000 §14)."""
        return self._parts.recovery.max_datagram_size

    @property
    def ecn_state(self) -> EcnState:
        """Whether the path carries ECN marks in our direction (RFC 9000 §13.4.2)."""
        return self._parts.recovery.ecn.state

    @property
    def tracer(self) -> Tracer | None:
        """What this connection is traced by, for protocols on top of it to tell it more."""
        return self._parts.tracer

    @property
    def packets_sent(self) -> int:
        """Packets of all packet number spaces so far."""
        parts = self._parts
        return sum(space.next_pn for space in parts.spaces.values()) - parts.extensions.holes.count

    # Input.

    def receive(self, batch: RecvBatch, now: float) -> None:
        """Take datagrams for this connection. Nothing raises: what the peer did wrong closes it."""
        parts = self._parts
        if self._observer is not None:
            self._observer.on_receive(batch, now, ignored=self.is_closing)
        if parts.state is ConnectionState.CLOSING and parts.closer is not None:
            parts.path.on_received(batch.length)
            parts.closer.on_received(-(-batch.length // batch.segment_size))
            return
        if self.is_closing:
            return
        try:
            self._receiver.receive(batch, now)
            self._heard |= self._receiver.processed
            if not self._progress.finished and not self.is_closing:
                self._progress.advance(now)
        except TransportError as error:
            # What comes with the peer's close can't make anything worse.
            if not self.is_closing:
                self._lifetime.fail(error, now)
        if parts.state is ConnectionState.DRAINING:
            self._lifetime.on_closed_by_peer(now)
        if self._observer is not None:
            self._observer.update(now)

    def on_socket_drained(self, now: float) -> None:
        """There is nothing more to receive right now: decide about ACKs (RFC 9000 §13.2.1), and
        restart the idle timer, once for all that came.
        """
        if self._heard and not self.is_closing:
            self._heard = False
            self._lifetime.on_heard(now)
        for space in self._parts.live_spaces:
            if space.acks.ack_eliciting_pending:
                space.acks.on_socket_drained()

    def on_timeout(self, now: float) -> None:
        """Do what is due at `now`; harmless when nothing is."""
        self._on_timeout(now)
        if self._observer is not None:
            self._observer.update(now)

    def _on_timeout(self, now: float) -> None:
        self._lifetime.on_timeout(now)
        if self.is_closing:
            return
        parts = self._parts
        parts.paths.on_timeout(now)
        if parts.paths.unusable:
            self._lifetime.on_path_lost()
            return
        for space in parts.live_spaces:
            space.acks.on_timeout(now)
        if (timeout := parts.recovery.on_timeout(now)) is None:
            return
        on_lost(parts, timeout.level, timeout.lost)
        if timeout.probes:
            probe(parts, timeout.level, timeout.probes)

    # Output.

    def transmit(self, buffer: PacketBuffer, now: float) -> SendBatch | None:
        """Fill `buffer` with the next batch to send; None if there is nothing, or nothing may go now."""
        parts = self._parts
        if parts.state in (ConnectionState.DRAINING, ConnectionState.CLOSED):
            return None
        try:
            batch = self._transmitter.transmit(buffer, now)
        except TransportError as error:
            self._lifetime.fail(error, now)
            batch = self._transmitter.transmit(buffer, now)
        if batch is not None and self._transmitter.sent_eliciting:
            self._lifetime.on_eliciting_sent(now)
        if self._observer is not None:
            self._observer.on_transmitted(batch, buffer, now)
        return batch

    def next_timeout(self) -> float | None:
        """When `on_timeout` is to be called (or `transmit`, if pacing waits); None: not at all."""
        parts = self._parts
        earliest = parts.timers.next()
        if parts.state not in _OPEN:
            return earliest
        waiting = [
            parts.recovery.next_timeout(),
            parts.paths.next_timeout(),
            self._transmitter.pacing_deadline,
        ]
        for space in parts.live_spaces:
            acks = space.acks
            # One that has passed waits for the amplification limit, not for time.
            if acks.deadline is not None and space.write_keys is not None and not acks.ack_now:
                waiting.append(acks.deadline)
        for at in waiting:
            if at is not None and (earliest is None or at < earliest):
                earliest = at
        return earliest

    def next_event(self) -> Event | None:
        """The next thing to tell the application, in order; None if there is none."""
        events = self._parts.events
        if not events:
            return None
        event = events.popleft()
        if event.__class__ is DatagramReceived:
            self._parts.extensions.datagrams.on_taken(event)
        return event

    def take_events(self) -> list[Event]:
        """All that `next_event` would give, one by one."""
        parts = self._parts
        taken = list(parts.events)
        parts.events.clear()
        for index, event in enumerate(taken):
            if event.__class__ is StreamReadable:
                data = parts.streams.take_whole(event.stream_id)
                if data is not None:
                    taken[index] = StreamReceived(event.stream_id, data)
            elif event.__class__ is DatagramReceived:
                parts.extensions.datagrams.on_taken(event)
        return taken

    def take_routes(self) -> list[tuple[bool, bytes]]:
        """For the listener: connection IDs that (True) are or (False) are no longer ours."""
        return self._parts.local_cids.take_routes()

    # Commands.

    def deliver_whole_streams(self, *, finished: bool = True) -> None:
        """Tell short streams that come whole by one StreamReceived, without events and `read` for each step.

        That is: the peer's in one frame, ours complete by `take_events`. And StreamFinished if `finished`.
        """
        self._parts.streams.deliver_whole(finished=finished)

    @property
    def ending_streams(self) -> int:
        """Bidirectional streams that we have ended, and of which the peer may still lack something."""
        return 0 if self.is_closing else self._parts.streams.ending

    def streams_left(self, *, unidirectional: bool = False) -> int:
        """How many more streams the peer's limit admits."""
        return self._parts.streams.left(unidirectional)

    def can_open_stream(self, *, unidirectional: bool = False) -> bool:
        """Whether the peer's limit admits one more stream."""
        return self._parts.streams.can_open(unidirectional)

    def open_stream(self, *, unidirectional: bool = False) -> int:
        """Open a stream and return its id. StreamError at the peer's limit: wait for StreamsAvailable."""
        return self._open().streams.open(unidirectional)

    def writable(self, stream_id: int) -> int:
        """How many bytes `write` would take now."""
        return self._open().streams.writable(stream_id)

    def write(self, stream_id: int, data: bytes | bytearray | memoryview, *, fin: bool = False) -> int:
        """Queue data on a stream; returns how many bytes were taken.

        `fin` ends the stream, and counts only if all bytes were taken. After a short write
        StreamWritable tells when to go on. `bytes` are kept, not copied.
        """
        return self._open().streams.write(stream_id, data, fin)

    def read(self, stream_id: int, max_bytes: int | None = None) -> tuple[bytes, bool]:
        """Up to `max_bytes` bytes of a stream, and whether its end is reached.

        Taking bytes is what gives the peer credit to send more. After StreamReadable read until there
        is nothing left: no other event comes before.
        """
        return self._parts.streams.read(stream_id, max_bytes)

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        """Abandon sending on a stream (RFC 9000 §19.4)."""
        self._open().streams.reset(stream_id, error_code)

    def stop_sending(self, stream_id: int, error_code: int) -> None:
        """Ask the peer to stop sending on a stream (RFC 9000 §19.5)."""
        self._open().streams.stop_sending(stream_id, error_code)

    def set_priority(self, stream_id: int, urgency: int, *, incremental: bool) -> None:
        """Order of sending among streams (RFC 9218 §4): urgency 0, first, to 7."""
        self._open().streams.set_priority(stream_id, urgency, incremental)

    def set_default_priority(self, urgency: int, *, incremental: bool) -> None:
        """`set_priority` for each bidirectional stream from now on."""
        self._parts.streams.set_default_priority(urgency, incremental)

    @property
    def datagram_limit(self) -> int:
        """The longest datagram that `send_datagram` takes now; 0 if the peer takes none (so far)."""
        return self._parts.extensions.datagrams.max_size(self._parts.packet_room)

    def send_datagram(self, data: bytes) -> bool:
        """Send `data` unreliably (RFC 9221), as soon as congestion control allows and never again.

        False if the queue was full and lost its oldest for this one. Raises DatagramError if the peer
        takes no datagrams, or if this one is longer than `datagram_limit`.
        """
        parts = self._open()
        return parts.extensions.datagrams.send(data, parts.packet_room)

    def update_keys(self, now: float) -> bool:
        """Begin a key update (RFC 9001 §6.1); False if it is too early for one (§6.5: three PTOs)."""
        parts = self._parts
        sent = parts.recovery.sent_packets[Level.ONE_RTT]
        ready = parts.handshake.confirmed and parts.key_phase.may_update(sent.largest_acked)
        if self.is_closing or not ready or not parts.key_phase.is_settled(now):
            return False
        parts.key_phase.update(now)
        if self._observer is not None:
            self._observer.update(now)
        return True

    def ping(self) -> None:
        """Send something the peer has to acknowledge."""
        self._parts.spaces[Level.ONE_RTT].control.append(Ping())

    def migrate(self, local: Address, now: float) -> None:
        """Client: move the connection to another local address, if the server can be reached from there.

        `local` comes back in `SendBatch.local` of what has to be sent from there, and is to be told in
        `RecvBatch.local`. PathChanged or MigrationFailed follows. Raises MigrationError where the
        connection may not move (RFC 9000 §9).
        """
        self._open().paths.migrate(local, now)

    def close(self, error_code: int = 0, reason: str = "", *, now: float, application: bool = True) -> None:
        """Close at once (RFC 9000 §10.2). Does nothing if the connection is closing already."""
        if self.is_closing:
            return
        self._lifetime.close(error_code, reason, now, application=application)
        if self._observer is not None:
            self._observer.update(now)

    def _open(self) -> Parts:
        parts = self._parts
        if parts.state not in _OPEN:
            raise ConnectionClosedError("the connection is closed")
        return parts
