"""The client's side of the handshake (RFC 9846 appendix A.1)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum, auto
from typing import ClassVar

from endpoint.errors import AlertDescription, AlertError, TransportError, TransportErrorCode
from endpoint.level import Level
from endpoint.tls import extensions as ext
from endpoint.tls.certificates import check_server_name
from endpoint.tls.config import TlsConfig
from endpoint.tls.extensions import ExtensionType, illegal_parameter
from endpoint.tls.groups import X25519MLKEM768, KeyShare, generate_key_share
from endpoint.tls.handshake import Handshake
from endpoint.tls.key_schedule import EarlySchedule, Transcript, resumption_psk
from endpoint.tls.messages import (
    HANDSHAKE_HEADER_LENGTH,
    LEGACY_VERSION,
    RANDOM_LENGTH,
    Certificate,
    CertificateRequest,
    ClientHello,
    EncryptedExtensions,
    HandshakeType,
    NewSessionTicket,
    ServerHello,
    encode_certificate,
    encode_certificate_list,
)
from endpoint.tls.reader import decode_error
from endpoint.tls.session import MAX_TICKET_LIFETIME, Session
from endpoint.tls.signatures import SIGNATURE_SCHEMES, choose_scheme
from endpoint.tls.suites import CIPHER_SUITES
from endpoint.tls.verification import Purpose, verify_chain

# RFC 9846 §4.1.3: a server that knows TLS 1.3 ends its random with one of these when it negotiates less.
_DOWNGRADE_SENTINELS = (b"DOWNGRD\x01", b"DOWNGRD\x00")

# Tickets beyond this are dropped until some are taken: a bound on what a server can make us keep.
_MAX_TICKETS = 16


class ClientState(Enum):
    """RFC 9846 appendix A.1."""

    START = auto()
    WAIT_SH = auto()
    WAIT_EE = auto()
    WAIT_CERT_CR = auto()
    WAIT_CERT = auto()
    WAIT_CV = auto()
    WAIT_FINISHED = auto()
    CONNECTED = auto()


class TlsClient(Handshake):
    """A client. Call `start`, then pass bytes both ways."""

    __slots__ = (
        "_certificate_request_schemes",
        "_client_hello",
        "_cookie",
        "_early",
        "_groups",
        "_hello_retry_suite",
        "_offered",
        "_resumption_secret",
        "_session",
        "_sessions",
        "_shares",
        "_state",
    )

    _is_client = True

    def __init__(
        self,
        config: TlsConfig,
        *,
        transport_parameters: bytes,
        random: Callable[[int], bytes],
        wall_time: Callable[[], float],
        server_name: str,
        session: Session | None = None,
    ) -> None:
        """`server_name` is a host name or an IP address: the certificate must be for it.

        `session` is offered if it is for this server, still fresh, and fits the configuration; otherwise
        the handshake is a full one. Use each session once.
        """
        super().__init__(
            config, transport_parameters=transport_parameters, random=random, wall_time=wall_time
        )
        self.server_name = server_name
        self._state = ClientState.START
        self._groups = (X25519MLKEM768, *config.groups) if config.offer_mlkem else config.groups
        self._shares: dict[int, KeyShare] = {}
        self._cookie = b""
        # The encoded ClientHello and the types of its extensions: what a server may answer.
        self._client_hello = b""
        self._offered: frozenset[int] = frozenset()
        self._hello_retry_suite: int | None = None
        # The signature_algorithms of a CertificateRequest; None as long as there is none.
        self._certificate_request_schemes: tuple[int, ...] | None = None
        # What is offered, or in use; None from the moment on that it is of no use.
        self._session = session
        self._early: EarlySchedule | None = None
        self._resumption_secret = b""
        self._sessions: list[Session] = []

    def start(self) -> None:
        """Queue the ClientHello. With 0-RTT there is a secret for it at once."""
        self.client_random = self._random(RANDOM_LENGTH)
        # One share, to save bytes and time: a server that wants another group asks for it (RFC 9846 §4.1.4).
        first = self._groups[:2] if self._config.offer_mlkem else self._groups[:1]
        self._shares = {group: generate_key_share(group, self._random) for group in first}
        session = self._session
        if session is None or not self._is_usable(session):
            self._session = None
        else:
            self._early = EarlySchedule(CIPHER_SUITES[session.cipher_suite], session.psk)
            self.early_data_offered = self._allows_early_data(session)
        self._client_hello = self._encode_client_hello()
        if self.early_data_offered and session is not None and self._early is not None:
            self._add_early_secret(CIPHER_SUITES[session.cipher_suite], self._early, self._client_hello)
        self._output.append((Level.INITIAL, self._client_hello))
        self._state = ClientState.WAIT_SH

    def take_tickets(self, application_state: bytes = b"") -> list[Session]:
        """Sessions of the tickets that the server has sent since the last call.

        `application_state` is put into each, for the caller to find when it resumes the session. Raises
        ValueError for more than 65,535 bytes.
        """
        sessions = [replace(session, application_state=application_state) for session in self._sessions]
        self._sessions = []
        return sessions

    def _is_expected(self, message_type: int) -> bool:
        return message_type in self._HANDLERS[self._state]

    def _handle(self, message_type: HandshakeType, message: bytes) -> None:
        self._HANDLERS[self._state][message_type](self, message)

    def _encode_client_hello(self) -> bytes:
        config = self._config
        assert self.server_name is not None
        fields: dict[int, bytes] = {}
        server_name = ext.encode_server_name(self.server_name)
        if server_name is not None:
            fields[ExtensionType.SERVER_NAME] = server_name
        fields[ExtensionType.SUPPORTED_VERSIONS] = ext.encode_supported_versions_offer()
        fields[ExtensionType.SUPPORTED_GROUPS] = ext.encode_uint16_list(self._groups)
        fields[ExtensionType.SIGNATURE_ALGORITHMS] = ext.encode_uint16_list(SIGNATURE_SCHEMES)
        fields[ExtensionType.APPLICATION_LAYER_PROTOCOL_NEGOTIATION] = ext.encode_alpn(config.alpn_protocols)
        fields[ExtensionType.QUIC_TRANSPORT_PARAMETERS] = self._transport_parameters
        if self._cookie:
            fields[ExtensionType.COOKIE] = ext.encode_cookie(self._cookie)
        shares = {group: share.public for group, share in self._shares.items()}
        fields[ExtensionType.KEY_SHARE] = ext.encode_key_shares(shares)
        # Also without a session to offer: it asks for tickets that we can use (RFC 9846 §4.2.9).
        fields[ExtensionType.PSK_KEY_EXCHANGE_MODES] = ext.encode_psk_key_exchange_modes()
        if self.early_data_offered and self._hello_retry_suite is None:
            fields[ExtensionType.EARLY_DATA] = b""
        if self._session is not None and self._early is not None:
            return self._encode_with_psk(fields, self._session, self._early)
        self._offered = frozenset(fields)
        return ClientHello(self.client_random, config.cipher_suites, fields).encode()

    def _encode_with_psk(self, fields: dict[int, bytes], session: Session, early: EarlySchedule) -> bytes:
        """The ClientHello with pre_shared_key, the last of its extensions, and the binder in that."""
        suite = CIPHER_SUITES[session.cipher_suite]
        identity = session.ticket, session.obfuscated_ticket_age(self._wall_time())
        # RFC 9846 §4.2.11.2: all lengths are as with the binder when it is computed.
        placeholder = bytes(suite.hash_length)
        fields[ExtensionType.PRE_SHARED_KEY] = ext.encode_offered_psks((identity,), (placeholder,))
        self._offered = frozenset(fields)
        message = ClientHello(self.client_random, self._config.cipher_suites, fields).encode()
        truncated = message[: -len(ext.encode_binders((placeholder,)))]
        if self._transcript is None:
            digest = Transcript(suite, truncated).digest()
        else:
            digest = self._transcript.digest_with(truncated)
        return truncated + ext.encode_binders((early.binder(digest),))

    def _is_usable(self, session: Session) -> bool:
        """Whether to offer the session at all (RFC 9846 §4.6.1)."""
        assert self.server_name is not None
        hash_name = CIPHER_SUITES[session.cipher_suite].hash_name
        return (
            session.is_fresh(self._wall_time())
            and session.server_name.lower() == self.server_name.lower()
            # What was never checked must not spare us the check.
            and (session.verified or self._config.insecure)
            and any(CIPHER_SUITES[suite].hash_name == hash_name for suite in self._config.cipher_suites)
        )

    def _allows_early_data(self, session: Session) -> bool:
        """Whether to offer 0-RTT, which needs exactly the suite and the protocol of the session."""
        return (
            session.early_data
            and self._config.early_data
            and session.cipher_suite in self._config.cipher_suites
            and session.alpn in self._config.alpn_protocols
        )

    def _on_server_hello(self, message: bytes) -> None:
        hello = ServerHello.parse(message[HANDSHAKE_HEADER_LENGTH:])
        self._check_server_hello(hello)
        if hello.is_retry_request:
            self._on_hello_retry_request(hello, message)
            return
        if self._hello_retry_suite is None:
            self._start_transcript(hello.cipher_suite, self._client_hello)
        elif hello.cipher_suite != self._hello_retry_suite:
            raise illegal_parameter("ServerHello and HelloRetryRequest differ in the cipher suite")
        self._check_selected_psk(hello)
        group, public = ext.parse_key_share(ext.require(hello.extensions, ExtensionType.KEY_SHARE))
        share = self._shares.get(group)
        if share is None:
            raise illegal_parameter(f"key share of group 0x{group:04x}, which we sent none for")
        _, transcript = self._negotiated()
        transcript.add(message)
        self._derive_handshake_secrets(share.shared_secret(public), self._early if self.resumed else None)
        self.group = group
        self._shares = {}
        self._state = ClientState.WAIT_EE

    def _check_selected_psk(self, hello: ServerHello) -> None:
        """Notice whether the session is resumed (RFC 9846 §4.2.11)."""
        selected = hello.extensions.get(ExtensionType.PRE_SHARED_KEY)
        if selected is None or self._session is None:
            return
        if ext.parse_uint16(selected, "pre_shared_key") != 0:
            raise illegal_parameter("the server selected a PSK that we did not offer")
        ours = CIPHER_SUITES[self._session.cipher_suite]
        if CIPHER_SUITES[hello.cipher_suite].hash_name != ours.hash_name:
            raise illegal_parameter("the server selected a PSK of another hash than that of its cipher suite")
        if ExtensionType.KEY_SHARE not in hello.extensions:
            raise illegal_parameter("PSK without a key exchange, which we did not offer")
        self.resumed = True

    def _check_server_hello(self, hello: ServerHello) -> None:
        """What holds for a ServerHello and a HelloRetryRequest alike (RFC 9846 §4.1.3 and §4.1.4)."""
        if hello.is_retry_request and self._hello_retry_suite is not None:
            raise AlertError(AlertDescription.UNEXPECTED_MESSAGE, "a second HelloRetryRequest")
        version = hello.extensions.get(ExtensionType.SUPPORTED_VERSIONS)
        if version is None and hello.random[-8:] in _DOWNGRADE_SENTINELS:
            raise illegal_parameter("downgrade to an older TLS")
        if version is None or hello.legacy_version != LEGACY_VERSION:
            raise AlertError(AlertDescription.PROTOCOL_VERSION, "the server does not speak TLS 1.3")
        if ext.parse_uint16(version, "supported_versions") != ext.TLS_1_3:
            raise illegal_parameter("the server selected a version that we did not offer")
        cookie = {ExtensionType.COOKIE} if hello.is_retry_request else set()
        ext.check_requested(hello.extensions, self._offered | cookie)
        if hello.legacy_session_id_echo:
            raise illegal_parameter("legacy_session_id_echo is not what we sent")
        if hello.cipher_suite not in self._config.cipher_suites:
            raise illegal_parameter(f"cipher suite 0x{hello.cipher_suite:04x} was not offered")
        if hello.legacy_compression_method != 0:
            raise illegal_parameter("legacy_compression_method is not null")

    def _on_hello_retry_request(self, hello: ServerHello, message: bytes) -> None:
        cookie = hello.extensions.get(ExtensionType.COOKIE)
        selected_group = hello.extensions.get(ExtensionType.KEY_SHARE)
        if cookie is None and selected_group is None:
            raise illegal_parameter("HelloRetryRequest that changes nothing")
        if cookie is not None:
            self._cookie = ext.parse_cookie(cookie)
        if selected_group is not None:
            group = ext.parse_uint16(selected_group, "key_share")
            if group not in self._groups or group in self._shares:
                raise illegal_parameter(f"HelloRetryRequest for group 0x{group:04x}")
            self._shares = {group: generate_key_share(group, self._random)}
        self._hello_retry_suite = hello.cipher_suite
        suite, session = CIPHER_SUITES[hello.cipher_suite], self._session
        if session is not None and CIPHER_SUITES[session.cipher_suite].hash_name != suite.hash_name:
            # RFC 9846 §4.1.4: it can't be resumed with this suite.
            self._session = None
        if self.early_data_offered:
            # RFC 9001 §4.6.2.
            self.early_data_accepted = False
        self._start_transcript(hello.cipher_suite, self._client_hello)
        _, transcript = self._negotiated()
        transcript.replace_client_hello()
        transcript.add(message)
        self._send(Level.INITIAL, self._encode_client_hello())

    def _on_encrypted_extensions(self, message: bytes) -> None:
        fields = EncryptedExtensions.parse(message[HANDSHAKE_HEADER_LENGTH:]).extensions
        ext.check_requested(fields, self._offered)
        if fields.get(ExtensionType.SERVER_NAME):
            raise decode_error("server_name of a server is not empty")
        if ExtensionType.SUPPORTED_GROUPS in fields:
            # RFC 9846 §4.2.7: of use for later connections only.
            ext.parse_uint16_list(fields[ExtensionType.SUPPORTED_GROUPS], "supported_groups")
        self.peer_transport_parameters = ext.require(fields, ExtensionType.QUIC_TRANSPORT_PARAMETERS)
        alpn = fields.get(ExtensionType.APPLICATION_LAYER_PROTOCOL_NEGOTIATION)
        if alpn is None:
            # RFC 9001 §8.1: a client closes with this alert too.
            raise AlertError(AlertDescription.NO_APPLICATION_PROTOCOL, "the server chose no protocol")
        choice = ext.parse_alpn_choice(alpn)
        self.alpn = next((name for name in self._config.alpn_protocols if name.encode() == choice), None)
        if self.alpn is None:
            raise illegal_parameter("the server chose a protocol that we did not offer")
        if self.early_data_offered:
            self.early_data_accepted = self._check_early_data(fields)
        _, transcript = self._negotiated()
        transcript.add(message)
        self._state = ClientState.WAIT_FINISHED if self.resumed else ClientState.WAIT_CERT_CR

    def _check_early_data(self, fields: Mapping[int, bytes]) -> bool:
        """Whether the server accepts 0-RTT. Raises AlertError where it can't (RFC 9846 §4.2.10)."""
        body = fields.get(ExtensionType.EARLY_DATA)
        if body is None:
            return False
        ext.check_empty(body, ExtensionType.EARLY_DATA)
        session = self._session
        if session is None or not self.resumed:
            raise illegal_parameter("the server accepts 0-RTT and not the PSK of it")
        if (self.cipher_suite, self.alpn) != (session.cipher_suite, session.alpn):
            raise illegal_parameter("the server accepts 0-RTT with another cipher suite or protocol")
        return True

    def _on_certificate_request(self, message: bytes) -> None:
        request = CertificateRequest.parse(message[HANDSHAKE_HEADER_LENGTH:])
        if request.certificate_request_context:
            # RFC 9846 §4.3.2: only post-handshake authentication has one.
            raise illegal_parameter("certificate_request_context is not empty")
        schemes = ext.require(request.extensions, ExtensionType.SIGNATURE_ALGORITHMS)
        self._certificate_request_schemes = ext.parse_uint16_list(schemes, "signature_algorithms")
        _, transcript = self._negotiated()
        transcript.add(message)
        self._state = ClientState.WAIT_CERT

    def _on_certificate(self, message: bytes) -> None:
        certificate = Certificate.parse(message[HANDSHAKE_HEADER_LENGTH:])
        if certificate.certificate_request_context:
            raise illegal_parameter("certificate_request_context of a server is not empty")
        if not certificate.certificate_list:
            raise decode_error("the server sent no certificate")
        for entry in certificate.certificate_list:
            ext.check_requested(entry.extensions, self._offered)
        chain = self._read_certificate(certificate, message)
        if not self._config.insecure:
            assert self.server_name is not None
            verify_chain(chain, self._config.trusted_roots, Purpose.SERVER, self._wall_time())
            check_server_name(chain[0], self.server_name)
        self._state = ClientState.WAIT_CV

    def _on_certificate_verify(self, message: bytes) -> None:
        self._check_certificate_verify(message)
        self._state = ClientState.WAIT_FINISHED

    def _on_finished(self, message: bytes) -> None:
        self._check_finished(message)
        _, transcript = self._negotiated()
        assert self._schedule is not None
        client_secret, server_secret = self._schedule.application_traffic_secrets(transcript.digest())
        if self._certificate_request_schemes is not None:
            self._answer_certificate_request(self._certificate_request_schemes)
        self._send_finished()
        self._resumption_secret = self._schedule.resumption_secret(transcript.digest())
        self._add_secret(Level.ONE_RTT, client_secret, from_client=True)
        self._add_secret(Level.ONE_RTT, server_secret, from_client=False)
        self._receive_level = Level.ONE_RTT
        self.complete = True
        self._state = ClientState.CONNECTED

    def _answer_certificate_request(self, schemes: tuple[int, ...]) -> None:
        key = self._config.private_key
        scheme = None if key is None else choose_scheme(key, schemes)
        if scheme is None:
            # RFC 9846 §4.4.2: without a suitable certificate the list is empty, and the server decides.
            self._send(Level.HANDSHAKE, encode_certificate(b"", encode_certificate_list(())))
        else:
            self._send_certificate(scheme)

    def _on_new_session_ticket(self, message: bytes) -> None:
        ticket = NewSessionTicket.parse(message[HANDSHAKE_HEADER_LENGTH:])
        if ticket.ticket_lifetime == 0 or len(self._sessions) >= _MAX_TICKETS:
            # RFC 9846 §4.6.1: a lifetime of zero says not to keep it.
            return
        suite, _ = self._negotiated()
        assert self.alpn is not None
        assert self.server_name is not None
        now = self._wall_time()
        resumed = self._session if self.resumed else None
        self._sessions.append(
            Session(
                ticket=ticket.ticket,
                cipher_suite=suite.id,
                psk=resumption_psk(suite, self._resumption_secret, ticket.ticket_nonce),
                alpn=self.alpn,
                server_name=self.server_name,
                received=now,
                established=now if resumed is None else resumed.established,
                ticket_lifetime=min(ticket.ticket_lifetime, MAX_TICKET_LIFETIME),
                ticket_age_add=ticket.ticket_age_add,
                early_data=ticket.early_data,
                verified=not self._config.insecure if resumed is None else resumed.verified,
            )
        )

    def _on_late_certificate_request(self, _message: bytes) -> None:
        # RFC 9001 §4.4: not the alert that RFC 9846 has for it.
        raise TransportError(TransportErrorCode.PROTOCOL_VIOLATION, "CertificateRequest after the handshake")

    # Anything else is an unexpected_message; so are KeyUpdate (RFC 9001 §6) and EndOfEarlyData (§8.3).
    _HANDLERS: ClassVar[Mapping[ClientState, Mapping[int, Callable[["TlsClient", bytes], None]]]] = {
        ClientState.START: {},
        ClientState.WAIT_SH: {HandshakeType.SERVER_HELLO: _on_server_hello},
        ClientState.WAIT_EE: {HandshakeType.ENCRYPTED_EXTENSIONS: _on_encrypted_extensions},
        ClientState.WAIT_CERT_CR: {
            HandshakeType.CERTIFICATE_REQUEST: _on_certificate_request,
            HandshakeType.CERTIFICATE: _on_certificate,
        },
        ClientState.WAIT_CERT: {HandshakeType.CERTIFICATE: _on_certificate},
        ClientState.WAIT_CV: {HandshakeType.CERTIFICATE_VERIFY: _on_certificate_verify},
        ClientState.WAIT_FINISHED: {HandshakeType.FINISHED: _on_finished},
        ClientState.CONNECTED: {
            HandshakeType.NEW_SESSION_TICKET: _on_new_session_ticket,
            HandshakeType.CERTIFICATE_REQUEST: _on_late_certificate_request,
        },
    }
