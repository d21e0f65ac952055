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
from endpoint.tls.signatures import SIGNATURE_SCHEMES, choose_scheme
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
    """What the server picks from a ClientHello. Without `client_share` the group needs another hello."""

    cipher_suite: int
    group: int
    client_share: bytes | None
    signature_scheme: int
    alpn: str


class TlsServer(Handshake):
    """A server. It answers the bytes of a ClientHello; there is nothing to start."""

    __slots__ = ("_application_secret", "_first_hello", "_groups", "_retry_group", "_state")

    _is_client = False

    def __init__(
        self,
        config: TlsConfig,
        *,
        transport_parameters: bytes,
        random: Callable[[int], bytes],
        wall_time: Callable[[], float],
    ) -> None:
        """Raises ValueError for a configuration without a certificate."""
        if config.private_key is None:
            raise ValueError("a server needs a certificate chain and its private key")
        super().__init__(
            config, transport_parameters=transport_parameters, random=random, wall_time=wall_time
        )
        self._state = ServerState.START
        self._groups = (X25519MLKEM768, *config.groups) if config.accept_mlkem else config.groups
        self._first_hello: ClientHello | None = None
        self._retry_group: int | None = None
        # client_application_traffic_secret_0, held back until the handshake is complete (RFC 9001 §5.7).
        self._application_secret = b""

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
        if ExtensionType.SERVER_NAME in fields:
            self.server_name = ext.parse_server_name(fields[ExtensionType.SERVER_NAME])
        choice = self._choose(hello)
        self._start_transcript(choice.cipher_suite, message)
        if choice.client_share is None:
            self._first_hello = hello
            self._send_hello_retry_request(choice)
            self._state = ServerState.WAIT_CH2
        else:
            self._accept(choice, choice.client_share)

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
        transcript.add(message)
        self._first_hello = None
        self._accept(choice, choice.client_share)

    def _choose(self, hello: ClientHello) -> _Choice:
        """Settle all parameters. Raises AlertError where nothing fits."""
        fields = hello.extensions
        offered_groups = ext.parse_uint16_list(
            ext.require(fields, ExtensionType.SUPPORTED_GROUPS), "supported_groups"
        )
        shares = ext.parse_key_shares(ext.require(fields, ExtensionType.KEY_SHARE))
        if not shares.keys() <= set(offered_groups):
            raise illegal_parameter("key share of a group that supported_groups has not")
        schemes = ext.parse_uint16_list(
            ext.require(fields, ExtensionType.SIGNATURE_ALGORITHMS), "signature_algorithms"
        )
        suite = next((each for each in self._config.cipher_suites if each in hello.cipher_suites), None)
        # A group that is ready to use first, then one that costs a round trip.
        group = next((each for each in self._groups if each in shares), None)
        if group is None:
            group = next((each for each in self._groups if each in offered_groups), None)
        assert self._config.private_key is not None
        scheme = choose_scheme(self._config.private_key, schemes)
        if suite is None or group is None or scheme is None:
            missing = "cipher suite" if suite is None else "group" if group is None else "signature scheme"
            raise AlertError(AlertDescription.HANDSHAKE_FAILURE, f"no {missing} in common")
        return _Choice(suite, group, shares.get(group), scheme, self._choose_alpn(fields))

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

    def _accept(self, choice: _Choice, client_share: bytes) -> None:
        """Answer with the whole flight, ServerHello to Finished."""
        self.alpn = choice.alpn
        self.group = choice.group
        public, shared_secret = answer_key_share(choice.group, client_share, self._random)
        self._send_server_hello(choice, public)
        self._derive_handshake_secrets(shared_secret)
        self._send_encrypted_extensions(choice.alpn)
        if self._config.client_authentication is not ClientAuthentication.NONE:
            request = {int(ExtensionType.SIGNATURE_ALGORITHMS): ext.encode_uint16_list(SIGNATURE_SCHEMES)}
            self._send(Level.HANDSHAKE, CertificateRequest(b"", request).encode())
        self._send_certificate(choice.signature_scheme)
        self._send_finished()
        _, transcript = self._negotiated()
        assert self._schedule is not None
        self._application_secret, server_secret = self._schedule.application_traffic_secrets(
            transcript.digest()
        )
        self._add_secret(Level.ONE_RTT, server_secret, from_client=False)
        asked = self._config.client_authentication is not ClientAuthentication.NONE
        self._state = ServerState.WAIT_CERT if asked else ServerState.WAIT_FINISHED

    def _send_server_hello(self, choice: _Choice, public: bytes) -> None:
        fields: dict[int, bytes] = {
            ExtensionType.SUPPORTED_VERSIONS: ext.encode_uint16(ext.TLS_1_3),
            ExtensionType.KEY_SHARE: ext.encode_key_share(choice.group, public),
        }
        hello = ServerHello(self._random(RANDOM_LENGTH), choice.cipher_suite, fields)
        self._send(Level.INITIAL, hello.encode())

    def _send_encrypted_extensions(self, alpn: str) -> None:
        fields: dict[int, bytes] = {
            ExtensionType.APPLICATION_LAYER_PROTOCOL_NEGOTIATION: ext.encode_alpn((alpn,)),
            ExtensionType.QUIC_TRANSPORT_PARAMETERS: self._transport_parameters,
        }
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
        self._state = ServerState.WAIT_FINISHED

    def _on_finished(self, message: bytes) -> None:
        self._check_finished(message)
        self._add_secret(Level.ONE_RTT, self._application_secret, from_client=True)
        self._receive_level = Level.ONE_RTT
        self.complete = True
        self._state = ServerState.CONNECTED

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
