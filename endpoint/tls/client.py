"""The client's side of the handshake (RFC 9846 appendix A.1)."""

from collections.abc import Callable, Mapping
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
from endpoint.tls.signatures import SIGNATURE_SCHEMES, choose_scheme
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
        "_groups",
        "_hello_retry_suite",
        "_offered",
        "_shares",
        "_state",
        "_tickets",
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
    ) -> None:
        """`server_name` is a host name or an IP address: the certificate must be for it."""
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
        self._tickets: list[NewSessionTicket] = []

    def start(self) -> None:
        """Queue the ClientHello."""
        self.client_random = self._random(RANDOM_LENGTH)
        # One share, to save bytes and time: a server that wants another group asks for it (RFC 9846 §4.1.4).
        first = self._groups[:2] if self._config.offer_mlkem else self._groups[:1]
        self._shares = {group: generate_key_share(group, self._random) for group in first}
        self._client_hello = self._encode_client_hello()
        self._output.append((Level.INITIAL, self._client_hello))
        self._state = ClientState.WAIT_SH

    def take_tickets(self) -> list[NewSessionTicket]:
        """Tickets that the server has sent since the last call."""
        tickets = self._tickets
        self._tickets = []
        return tickets

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
        self._offered = frozenset(fields)
        return ClientHello(self.client_random, config.cipher_suites, fields).encode()

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
        group, public = ext.parse_key_share(ext.require(hello.extensions, ExtensionType.KEY_SHARE))
        share = self._shares.get(group)
        if share is None:
            raise illegal_parameter(f"key share of group 0x{group:04x}, which we sent none for")
        _, transcript = self._negotiated()
        transcript.add(message)
        self._derive_handshake_secrets(share.shared_secret(public))
        self.group = group
        self._shares = {}
        self._state = ClientState.WAIT_EE

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
        _, transcript = self._negotiated()
        transcript.add(message)
        self._state = ClientState.WAIT_CERT_CR

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
        if len(self._tickets) < _MAX_TICKETS:
            self._tickets.append(ticket)

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
