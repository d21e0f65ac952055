"""The server's side of the handshake (RFC 9846 appendix A.2)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import ClassVar

from endpoint.errors import AlertDescription, AlertError, TransportError, TransportErrorCode
from endpoint.level import Level
from endpoint.tls import extensions as ext
from endpoint.tls.config import ClientAuthentication, TlsConfig
from endpoint.tls.extensions import ExtensionType, illegal_parameter
from endpoint.tls.groups import X25519MLKEM768, answer_key_share
from endpoint.tls.handshake import Handshake
from endpoint.tls.key_schedule import Transcript
from endpoint.tls.messages import (
    HANDSHAKE_HEADER_LENGTH,
    HELLO_RETRY_REQUEST_RANDOM,
    LEGACY_VERSION,
    RANDOM_LENGTH,
    Certificate,
    CertificateRequest,
    ClientHello,
    EncryptedExtensions,
    HandshakeType,
    ServerHello,
)
from endpoint.tls.psk import SelectedPsk, make_tickets, select_psk
from endpoint.tls.signatures import SIGNATURE_SCHEMES, choose_scheme
from endpoint.tls.suites import CIPHER_SUITES
from endpoint.tls.tickets import MAX_APPLICATION_STATE, TicketContent, open_ticket, server_name_digest
from endpoint.tls.verification import Purpose, verify_chain

# What a second ClientHello may change (RFC 9846 §4.1.2). Types that we don't know are not compared.
_MAY_CHANGE = frozenset(
    {
        ExtensionType.KEY_SHARE,
        ExtensionType.EARLY_DATA,
        ExtensionType.COOKIE,
        ExtensionType.PRE_SHARED_KEY,
        ExtensionType.PADDING,
        ExtensionType.ENCRYPTED_CLIENT_HELLO,
    }
)
_MUST_STAY = ext.LEGAL_IN.keys() - _MAY_CHANGE


class ServerState(Enum):
    """RFC 9846 appendix A.2; WAIT_CH2 is START after a HelloRetryRequest."""

    START = auto()
    WAIT_CH2 = auto()
    WAIT_CERT = auto()
    WAIT_CV = auto()
    WAIT_FINISHED = auto()
    CONNECTED = auto()


@dataclass(frozen=True, slots=True)
class _Choice:
    """What the server picks from a ClientHello. Without `client_share` the group needs another hello.

    `signature_scheme` is None where nothing but a PSK can authenticate us.
    """

    cipher_suite: int
    group: int
    client_share: bytes | None
    signature_scheme: int | None
    alpn: str


class TlsServer(Handshake):
    """A server. It answers the bytes of a ClientHello; there is nothing to start.

    `client_authenticated` tells that the client has proved a certificate, in this handshake or in the one
    that the resumed session began with; then the ticket remembers that alone, and not whose it was.
    """

    __slots__ = (
        "_accept_state",
        "_answer_parameters",
        "_application_secret",
        "_application_state",
        "_first_hello",
        "_groups",
        "_has_psk_mode",
        "_psk",
        "_retry_group",
        "_state",
        "_ticket_scope",
        "client_authenticated",
        "new_ticket_scope",
    )

    _is_client = False

    def __init__(
        self,
        config: TlsConfig,
        *,
        transport_parameters: bytes | Callable[[bytes], bytes],
        random: Callable[[int], bytes],
        wall_time: Callable[[], float],
        application_state: bytes = b"",
        accept_state: Callable[[bytes], bool] | None = None,
        ticket_scope: bytes = b"",
    ) -> None:
        """`transport_parameters` may be a function of the client's: what we say can depend on them.

        `application_state` goes into the tickets: what a client's 0-RTT data will rely on.

        When 0-RTT is offered `accept_state` is asked, with the state that is in the ticket, whether this
        connection can still honour it (RFC 9001 §4.6.3). None accepts only what equals ours.

        `ticket_scope` says where tickets are good, such as the version of QUIC: one that was given in
        another scope is not resumed. Until the handshake is complete `new_ticket_scope` can be set to
        something else for the tickets that this connection gives (RFC 9369 §5: to the negotiated version).

        Raises ValueError for a configuration without a certificate, for one that accepts 0-RTT and has
        not what that takes, and for an `application_state` of more than MAX_APPLICATION_STATE bytes.
        """
        if config.private_key is None:
            raise ValueError("a server needs a certificate chain and its private key")
        if config.early_data and (config.ticket_keys is None or config.anti_replay is None):
            raise ValueError("a server that accepts 0-RTT needs ticket_keys and anti_replay")
        if len(application_state) > MAX_APPLICATION_STATE:
            raise ValueError(f"application_state has more than {MAX_APPLICATION_STATE} bytes")
        super().__init__(
            config,
            transport_parameters=transport_parameters if isinstance(transport_parameters, bytes) else b"",
            random=random,
            wall_time=wall_time,
        )
        self._answer_parameters = None if isinstance(transport_parameters, bytes) else transport_parameters
        self._state = ServerState.START
        self._groups = (X25519MLKEM768, *config.groups) if config.accept_mlkem else config.groups
        self._first_hello: ClientHello | None = None
        self._retry_group: int | None = None
        # client_application_traffic_secret_0, held back until the handshake is complete (RFC 9001 §5.7).
        self._application_secret = b""
        self._application_state = application_state
        self._accept_state = accept_state or (lambda state: state == application_state)
        self._ticket_scope = ticket_scope
        self.new_ticket_scope = ticket_scope
        self._psk: SelectedPsk | None = None
        # The client allows the one way that we resume sessions in.
        self._has_psk_mode = False
        self.client_authenticated = False

    def _is_expected(self, message_type: int) -> bool:
        return message_type in self._HANDLERS[self._state]

    def _handle(self, message_type: HandshakeType, message: bytes) -> None:
        self._HANDLERS[self._state][message_type](self, message)

    def _on_client_hello(self, message: bytes) -> None:
        hello = ClientHello.parse(message[HANDSHAKE_HEADER_LENGTH:])
        _check_client_hello(hello)
        fields = hello.extensions
        self.client_random = hello.random
        self.peer_transport_parameters = ext.require(fields, ExtensionType.QUIC_TRANSPORT_PARAMETERS)
        if self._answer_parameters is not None:
            self._transport_parameters = self._answer_parameters(self.peer_transport_parameters)
        if ExtensionType.SERVER_NAME in fields:
            self.server_name = ext.parse_server_name(fields[ExtensionType.SERVER_NAME])
        modes = fields.get(ExtensionType.PSK_KEY_EXCHANGE_MODES)
        self._has_psk_mode = modes is not None and ext.PSK_DHE_KE in ext.parse_psk_key_exchange_modes(modes)
        early_data = fields.get(ExtensionType.EARLY_DATA)
        if early_data is not None:
            ext.check_empty(early_data, ExtensionType.EARLY_DATA)
            self.early_data_offered = True
        choice = self._choose(hello)
        self._start_transcript(choice.cipher_suite, message)
        if choice.client_share is None:
            if self.early_data_offered:
                # RFC 9001 §4.6.2.
                self.early_data_accepted = False
            self._first_hello = hello
            self._send_hello_retry_request(choice)
            self._state = ServerState.WAIT_CH2
        else:
            self._select_psk(hello, message, Transcript(CIPHER_SUITES[choice.cipher_suite], b""))
            self._accept(choice, choice.client_share, message)

    def _on_second_client_hello(self, message: bytes) -> None:
        hello = ClientHello.parse(message[HANDSHAKE_HEADER_LENGTH:])
        _check_client_hello(hello)
        assert self._first_hello is not None
        _check_unchanged(self._first_hello, hello)
        if ExtensionType.EARLY_DATA in hello.extensions:
            raise illegal_parameter("early_data after a HelloRetryRequest")
        # With suites and groups unchanged the choice is the same, but for the share.
        choice = self._choose(hello)
        shares = ext.parse_key_shares(hello.extensions[ExtensionType.KEY_SHARE])
        if choice.client_share is None or list(shares) != [self._retry_group]:
            raise illegal_parameter("the second ClientHello has not the one share that was asked for")
        _, transcript = self._negotiated()
        self._select_psk(hello, message, transcript)
        transcript.add(message)
        self._first_hello = None
        self._accept(choice, choice.client_share, message)

    def _choose(self, hello: ClientHello) -> _Choice:
        """Settle all parameters. Raises AlertError where nothing fits."""
        fields = hello.extensions
        offered_groups = ext.parse_uint16_list(
            ext.require(fields, ExtensionType.SUPPORTED_GROUPS), "supported_groups"
        )
        shares = ext.parse_key_shares(ext.require(fields, ExtensionType.KEY_SHARE))
        if not shares.keys() <= set(offered_groups):
            raise illegal_parameter("key share of a group that supported_groups has not")
        suite = next((each for each in self._config.cipher_suites if each in hello.cipher_suites), None)
        # A group that is ready to use first, then one that costs a round trip.
        group = next((each for each in self._groups if each in shares), None)
        if group is None:
            group = next((each for each in self._groups if each in offered_groups), None)
        if suite is None or group is None:
            missing = "cipher suite" if suite is None else "group"
            raise AlertError(AlertDescription.HANDSHAKE_FAILURE, f"no {missing} in common")
        return _Choice(
            suite, group, shares.get(group), self._choose_scheme(fields), self._choose_alpn(fields)
        )

    def _choose_scheme(self, fields: Mapping[int, bytes]) -> int | None:
        has_psk = ExtensionType.PRE_SHARED_KEY in fields
        body = fields.get(ExtensionType.SIGNATURE_ALGORITHMS)
        if body is None and has_psk:
            # RFC 9846 §9.2: who offers a PSK can do without signatures.
            return None
        body = ext.require(fields, ExtensionType.SIGNATURE_ALGORITHMS)
        assert self._config.private_key is not None
        scheme = choose_scheme(self._config.private_key, ext.parse_uint16_list(body, "signature_algorithms"))
        if scheme is None and not has_psk:
            raise AlertError(AlertDescription.HANDSHAKE_FAILURE, "no signature scheme in common")
        return scheme

    def _choose_alpn(self, fields: Mapping[int, bytes]) -> str:
        body = fields.get(ExtensionType.APPLICATION_LAYER_PROTOCOL_NEGOTIATION)
        offered = () if body is None else ext.parse_alpn(body)
        for protocol in self._config.alpn_protocols:
            if protocol.encode() in offered:
                return protocol
        # RFC 9001 §8.1: no connection without a protocol.
        raise AlertError(AlertDescription.NO_APPLICATION_PROTOCOL, "no application protocol in common")

    def _send_hello_retry_request(self, choice: _Choice) -> None:
        _, transcript = self._negotiated()
        transcript.replace_client_hello()
        self._retry_group = choice.group
        fields: dict[int, bytes] = {
            ExtensionType.SUPPORTED_VERSIONS: ext.encode_uint16(ext.TLS_1_3),
            ExtensionType.KEY_SHARE: ext.encode_uint16(choice.group),
        }
        retry = ServerHello(HELLO_RETRY_REQUEST_RANDOM, choice.cipher_suite, fields)
        self._send(Level.INITIAL, retry.encode())

    def _select_psk(self, hello: ClientHello, message: bytes, transcript: Transcript) -> None:
        body = hello.extensions.get(ExtensionType.PRE_SHARED_KEY)
        if body is not None:
            offered = ext.OfferedPsks.parse(body)
            if self._has_psk_mode:
                self._psk = select_psk(offered, message, transcript, self._recall)
        self.resumed = self._psk is not None

    def _recall(self, ticket: bytes) -> TicketContent | None:
        """The content of a ticket that can be resumed with the suite that was chosen."""
        keys = self._config.ticket_keys
        content = None if keys is None else open_ticket(keys, ticket, self._ticket_scope)
        if content is None:
            return None
        suite, _ = self._negotiated()
        # With a PSK no certificate can be asked for (RFC 9846 §4.3.2), so one that we need is in the past.
        required = self._config.client_authentication is ClientAuthentication.REQUIRED
        usable = (
            content.is_fresh(self._wall_time())
            and CIPHER_SUITES[content.cipher_suite].hash_name == suite.hash_name
            and (content.client_authenticated or not required)
        )
        return content if usable else None

    def _decide_early_data(self, psk: SelectedPsk | None) -> bool:
        """Whether to accept the 0-RTT that was offered (RFC 9846 §4.2.10)."""
        guard = self._config.anti_replay
        if psk is None or guard is None or not self._config.early_data:
            return False
        content = psk.content
        return (
            content.early_data
            and psk.index == 0
            and content.cipher_suite == self.cipher_suite
            and content.alpn == self.alpn
            and content.server_name == server_name_digest(self.server_name)
            and self._accept_state(content.application_state)
            # Last, because it remembers the ticket as used.
            and guard.admit(psk.ticket, content.issued, psk.ticket_age, self._wall_time())
        )

    def _accept(self, choice: _Choice, client_share: bytes, client_hello: bytes) -> None:
        """Answer with the whole flight, ServerHello to Finished."""
        self.alpn = choice.alpn
        self.group = choice.group
        psk = self._psk
        if psk is None and choice.signature_scheme is None:
            raise AlertError(AlertDescription.HANDSHAKE_FAILURE, "no PSK and no signature scheme in common")
        if self.early_data_offered and self.early_data_accepted is None:
            self.early_data_accepted = self._decide_early_data(psk)
        public, shared_secret = answer_key_share(choice.group, client_share, self._random)
        if psk is not None:
            self.client_authenticated = psk.content.client_authenticated
            if self.early_data_accepted:
                self._add_early_secret(CIPHER_SUITES[psk.content.cipher_suite], psk.early, client_hello)
        self._send_server_hello(choice, public)
        self._derive_handshake_secrets(shared_secret, None if psk is None else psk.early)
        self._send_encrypted_extensions(choice.alpn)
        asked = psk is None and self._config.client_authentication is not ClientAuthentication.NONE
        if psk is None and choice.signature_scheme is not None:
            self._authenticate(choice.signature_scheme, ask_client=asked)
        self._send_finished()
        _, transcript = self._negotiated()
        assert self._schedule is not None
        self._application_secret, server_secret = self._schedule.application_traffic_secrets(
            transcript.digest()
        )
        self._add_secret(Level.ONE_RTT, server_secret, from_client=False)
        self._state = ServerState.WAIT_CERT if asked else ServerState.WAIT_FINISHED

    def _authenticate(self, scheme: int, *, ask_client: bool) -> None:
        """Everything about certificates, of which there is nothing where a session is resumed."""
        if ask_client:
            request = {int(ExtensionType.SIGNATURE_ALGORITHMS): ext.encode_uint16_list(SIGNATURE_SCHEMES)}
            self._send(Level.HANDSHAKE, CertificateRequest(b"", request).encode())
        self._send_certificate(scheme)

    def _send_server_hello(self, choice: _Choice, public: bytes) -> None:
        fields: dict[int, bytes] = {
            ExtensionType.SUPPORTED_VERSIONS: ext.encode_uint16(ext.TLS_1_3),
            ExtensionType.KEY_SHARE: ext.encode_key_share(choice.group, public),
        }
        if self._psk is not None:
            fields[ExtensionType.PRE_SHARED_KEY] = ext.encode_uint16(self._psk.index)
        hello = ServerHello(self._random(RANDOM_LENGTH), choice.cipher_suite, fields)
        self._send(Level.INITIAL, hello.encode())

    def _send_encrypted_extensions(self, alpn: str) -> None:
        fields: dict[int, bytes] = {
            ExtensionType.APPLICATION_LAYER_PROTOCOL_NEGOTIATION: ext.encode_alpn((alpn,)),
            ExtensionType.QUIC_TRANSPORT_PARAMETERS: self._transport_parameters,
        }
        if self.early_data_accepted:
            fields[ExtensionType.EARLY_DATA] = b""
        self._send(Level.HANDSHAKE, EncryptedExtensions(fields).encode())

    def _on_certificate(self, message: bytes) -> None:
        certificate = Certificate.parse(message[HANDSHAKE_HEADER_LENGTH:])
        if certificate.certificate_request_context:
            raise illegal_parameter("certificate_request_context is not what we sent")
        for entry in certificate.certificate_list:
            # Our CertificateRequest asks for no extension of the certificate.
            ext.check_requested(entry.extensions, ())
        if certificate.certificate_list:
            chain = self._read_certificate(certificate, message)
            verify_chain(chain, self._config.client_roots, Purpose.CLIENT, self._wall_time())
            self._state = ServerState.WAIT_CV
            return
        if self._config.client_authentication is ClientAuthentication.REQUIRED:
            raise AlertError(AlertDescription.CERTIFICATE_REQUIRED, "the client sent no certificate")
        _, transcript = self._negotiated()
        transcript.add(message)
        self._state = ServerState.WAIT_FINISHED

    def _on_certificate_verify(self, message: bytes) -> None:
        self._check_certificate_verify(message)
        self.client_authenticated = True
        self._state = ServerState.WAIT_FINISHED

    def _on_finished(self, message: bytes) -> None:
        self._check_finished(message)
        self._add_secret(Level.ONE_RTT, self._application_secret, from_client=True)
        self._receive_level = Level.ONE_RTT
        self.complete = True
        self._state = ServerState.CONNECTED
        self._send_tickets()

    def _send_tickets(self) -> None:
        config, schedule = self._config, self._schedule
        if config.ticket_keys is None or not self._has_psk_mode:
            return
        suite, transcript = self._negotiated()
        assert schedule is not None
        assert self.alpn is not None
        now = self._wall_time()
        template = TicketContent(
            cipher_suite=suite.id,
            psk=schedule.resumption_secret(transcript.digest()),
            alpn=self.alpn,
            server_name=server_name_digest(self.server_name),
            issued=now,
            established=now if self._psk is None else self._psk.content.established,
            ticket_lifetime=config.ticket_lifetime,
            ticket_age_add=0,
            early_data=config.early_data,
            client_authenticated=self.client_authenticated,
            application_state=self._application_state,
        )
        for ticket in make_tickets(
            template, config.ticket_count, config.ticket_keys, self.new_ticket_scope, self._random
        ):
            self._output.append((Level.ONE_RTT, ticket.encode()))

    # Anything else is an unexpected_message; so are KeyUpdate (RFC 9001 §6) and EndOfEarlyData (§8.3).
    _HANDLERS: ClassVar[Mapping[ServerState, Mapping[int, Callable[["TlsServer", bytes], None]]]] = {
        ServerState.START: {HandshakeType.CLIENT_HELLO: _on_client_hello},
        ServerState.WAIT_CH2: {HandshakeType.CLIENT_HELLO: _on_second_client_hello},
        ServerState.WAIT_CERT: {HandshakeType.CERTIFICATE: _on_certificate},
        ServerState.WAIT_CV: {HandshakeType.CERTIFICATE_VERIFY: _on_certificate_verify},
        ServerState.WAIT_FINISHED: {HandshakeType.FINISHED: _on_finished},
        ServerState.CONNECTED: {},
    }


def _check_client_hello(hello: ClientHello) -> None:
    """What RFC 9846 §4.1.2 and RFC 9001 §8.4 demand of the fixed fields, and of the version."""
    versions = hello.extensions.get(ExtensionType.SUPPORTED_VERSIONS)
    if (
        versions is None
        or ext.TLS_1_3 not in ext.parse_supported_versions_offer(versions)
        or hello.legacy_version != LEGACY_VERSION
    ):
        raise AlertError(AlertDescription.PROTOCOL_VERSION, "the client does not offer TLS 1.3")
    if hello.legacy_session_id:
        raise TransportError(
            TransportErrorCode.PROTOCOL_VIOLATION, "legacy_session_id: QUIC has no compatibility mode"
        )
    if hello.legacy_compression_methods != b"\0":
        raise illegal_parameter("legacy_compression_methods is not null alone")
    if ExtensionType.PRE_SHARED_KEY in hello.extensions:
        # RFC 9846 §4.2.9: an offer without its modes is broken, whether we take the offer or not.
        ext.require(hello.extensions, ExtensionType.PSK_KEY_EXCHANGE_MODES)


def _check_unchanged(first: ClientHello, second: ClientHello) -> None:
    """Raise AlertError(illegal_parameter) for a second hello that changes what it may not."""
    if first.random != second.random or first.cipher_suites != second.cipher_suites:
        raise illegal_parameter("the second ClientHello differs from the first")
    for extension_type in _MUST_STAY:
        if first.extensions.get(extension_type) != second.extensions.get(extension_type):
            raise illegal_parameter(f"{extension_type.name.lower()} differs in the second ClientHello")
