"""What the steps of the handshake set going in the transport (RFC 9000 §7, RFC 9001 §4)."""

from endpoint.events import HandshakeCompleted, HandshakeConfirmed
from endpoint.level import Level
from endpoint.transport import early_data
from endpoint.transport.close import ConnectionState
from endpoint.transport.parameters import effective_idle_timeout, peer_parameters
from endpoint.transport.parts import Parts
from endpoint.transport.receive import Receiver
from endpoint.transport.timers import Timer
from endpoint.transport.versions import check_server_choice
from endpoint.wire.frames import HandshakeDone, NewToken
from endpoint.wire.transport_params import TransportParameters


class HandshakeProgress:
    """Looks at the handshake after each batch until it is confirmed; `finished` from then on."""

    __slots__ = ("_applied", "_parts", "_receiver", "finished")

    def __init__(self, parts: Parts, receiver: Receiver) -> None:
        self._parts = parts
        self._receiver = receiver
        self._applied = False
        self.finished = False

    def advance(self, now: float) -> None:
        """Apply what has become known, and process what waited for it. Raises TransportError."""
        parts = self._parts
        self._apply_peer_parameters()
        parts.recovery.has_handshake_keys = parts.spaces[Level.HANDSHAKE].write_keys is not None
        self._receiver.replay_early(now)
        self._apply_peer_parameters()
        if parts.state is ConnectionState.HANDSHAKE and parts.handshake.complete:
            self._on_complete(now)
        if parts.handshake.confirmed and not self.finished:
            self.finished = True
            # RFC 9001 §4.9.2.
            parts.discard_space(Level.HANDSHAKE)
            parts.recovery.handshake_confirmed = True
            parts.paths.on_confirmed(now)
            parts.key_phase.prepare()

    def _on_complete(self, now: float) -> None:
        parts = self._parts
        parts.state = ConnectionState.ESTABLISHED
        parts.timers.set(Timer.HANDSHAKE, None)
        tls = parts.handshake.tls
        assert tls.alpn is not None
        assert tls.cipher_suite is not None
        parts.events.append(
            HandshakeCompleted(
                tls.alpn,
                tls.cipher_suite,
                tls.peer_certificates,
                resumed=tls.resumed,
                early_data=bool(tls.early_data_accepted),
            )
        )
        parts.early_data_end = now + early_data.KEEP_PTO_COUNT * parts.pto
        control = parts.spaces[Level.ONE_RTT].control
        if not parts.is_client:
            # RFC 9001 §4.1.2: to a server, complete is confirmed.
            parts.handshake.confirmed = True
            control.append(HandshakeDone())
            if parts.new_token is not None and parts.path.validated:
                control.append(NewToken(parts.new_token(parts.path.peer, parts.version.version)))
            parts.events.append(HandshakeConfirmed())
        self._receiver.replay_early(now)

    def _apply_peer_parameters(self) -> None:
        """Once they are known. Those of a client are not authenticated yet (RFC 9000 §7.4)."""
        parts = self._parts
        data = parts.handshake.tls.peer_transport_parameters
        if data is None or self._applied:
            return
        self._applied = True
        params = parts.peer_params or self._check_server_parameters(data)
        if parts.is_client:
            early_data.settle(parts, params)
        else:
            early_data.admit(parts)
        parts.streams.apply_peer_limits(params)
        parts.local_cids.set_peer_limit(
            params.active_connection_id_limit, parts.config.active_connection_id_limit
        )
        if params.stateless_reset_token is not None:
            parts.peer_cids.set_reset_token(params.stateless_reset_token)
        parts.recovery.max_ack_delay = params.max_ack_delay / 1000
        parts.extensions.apply_peer_parameters(params)
        parts.idle_timeout = effective_idle_timeout(parts.config.max_idle_timeout, params.max_idle_timeout)
        parts.paths.apply_peer_parameters(params)
        parts.recovery.set_peer_max_udp_payload(params.max_udp_payload_size)

    def _check_server_parameters(self, data: bytes) -> TransportParameters:
        """A client's checks; a server has made its own before it answered, see `setup.make_server`."""
        parts = self._parts
        assert parts.peer_source_cid is not None
        params = parts.peer_params = peer_parameters(
            data,
            from_client=False,
            peer_source_cid=parts.peer_source_cid,
            original_destination_cid=parts.original_destination_cid,
            retry_source_cid=parts.retry_source_cid,
        )
        check_server_choice(
            parts.config.versions,
            parts.version.version,
            params.version_information,
            original=parts.original_version,
            reacted=parts.reacted_to_version_negotiation,
        )
        return params
