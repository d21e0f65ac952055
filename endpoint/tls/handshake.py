"""What client and server share: messages out of bytes, the transcript, authentication, and what goes out."""

import hmac
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from cryptography import x509

from endpoint.errors import AlertDescription, AlertError, TransportError, TransportErrorCode
from endpoint.level import Level
from endpoint.tls.certificates import parse_chain
from endpoint.tls.config import TlsConfig
from endpoint.tls.key_schedule import EarlySchedule, KeySchedule, Transcript, finished_verify_data
from endpoint.tls.keylog import KEY_LOG_LABELS
from endpoint.tls.messages import (
    HANDSHAKE_HEADER_LENGTH,
    Certificate,
    CertificateVerify,
    HandshakeType,
    encode_certificate,
    encode_message,
    parse_finished,
)
from endpoint.tls.signatures import sign, signed_content, verify
from endpoint.tls.suites import CIPHER_SUITES, CipherSuite

# Far above any certificate chain in use (the longest of the interop runner has 10 kB), and a bound on what
# a peer can make us keep.
MAX_MESSAGE_LENGTH = 128 * 1024


@dataclass(frozen=True, slots=True)
class TrafficSecret:
    """A secret that packet protection keys are derived from (RFC 9001 §5.1).

    `is_write` tells whether it is ours to send with or the peer's. `label` is that of the NSS key log.
    """

    level: Level
    is_write: bool
    cipher_suite: int
    secret: bytes
    label: str


class Handshake(ABC):
    """One handshake, fed with the bytes of CRYPTO streams. After an exception it is over: feed it no more.

    `complete` is that of RFC 9001 §4.1.1: our Finished is sent and the peer's verified. The attributes below
    it are None, or empty, until the message has arrived that tells them; `peer_certificates` are DER, leaf
    first, `peer_transport_parameters` the body of the extension, authentic once `complete`.

    `resumed` tells that a ticket has taken the place of certificates, of which there are none in such a
    handshake: `peer_certificates` stays empty. `early_data_offered` is whether the client asked for 0-RTT;
    `early_data_accepted` is None as long as the server has not answered that.
    """

    __slots__ = (
        "_buffer",
        "_client_secret",
        "_config",
        "_output",
        "_peer_leaf",
        "_random",
        "_receive_level",
        "_schedule",
        "_secrets",
        "_server_secret",
        "_suite",
        "_transcript",
        "_transport_parameters",
        "_wall_time",
        "alpn",
        "client_random",
        "complete",
        "early_data_accepted",
        "early_data_offered",
        "group",
        "peer_certificates",
        "peer_transport_parameters",
        "resumed",
        "server_name",
    )

    _is_client: ClassVar[bool]

    def __init__(
        self,
        config: TlsConfig,
        *,
        transport_parameters: bytes,
        random: Callable[[int], bytes],
        wall_time: Callable[[], float],
    ) -> None:
        """`transport_parameters` is the encoded extension body; `wall_time` gives seconds since 1970."""
        self._config = config
        self._transport_parameters = transport_parameters
        self._random = random
        self._wall_time = wall_time
        self._output: list[tuple[Level, bytes]] = []
        self._secrets: list[TrafficSecret] = []
        self._buffer = bytearray()
        self._receive_level = Level.INITIAL
        self._suite: CipherSuite | None = None
        self._transcript: Transcript | None = None
        self._schedule: KeySchedule | None = None
        # The handshake traffic secrets, which the Finished messages are keyed with.
        self._client_secret = b""
        self._server_secret = b""
        self._peer_leaf: x509.Certificate | None = None
        self.complete = False
        self.resumed = False
        self.early_data_offered = False
        self.early_data_accepted: bool | None = None
        self.alpn: str | None = None
        self.group: int | None = None
        self.server_name: str | None = None
        self.client_random = b""
        self.peer_certificates: tuple[bytes, ...] = ()
        self.peer_transport_parameters: bytes | None = None

    @property
    def cipher_suite(self) -> int | None:
        return None if self._suite is None else self._suite.id

    def receive(self, level: Level, data: bytes) -> None:
        """Take the next bytes of the level's CRYPTO stream, in order and split anywhere.

        Raises AlertError for what RFC 9846 has an alert for, TransportError(PROTOCOL_VIOLATION) for what
        RFC 9001 forbids on top.
        """
        if level is not self._receive_level:
            # RFC 9001 §4.1.3: no new data at a level that is done, and none before TLS gets there.
            raise _violation(f"handshake bytes at {level.name}, expected at {self._receive_level.name}")
        buffer = self._buffer
        buffer += data
        while len(buffer) >= HANDSHAKE_HEADER_LENGTH:
            message_type = buffer[0]
            # Before the whole message is there: what must not come is not worth waiting for.
            if not self._is_expected(message_type):
                raise AlertError(AlertDescription.UNEXPECTED_MESSAGE, f"handshake message {message_type}")
            length = int.from_bytes(buffer[1:HANDSHAKE_HEADER_LENGTH], "big")
            if length > MAX_MESSAGE_LENGTH:
                raise AlertError(AlertDescription.DECODE_ERROR, f"handshake message of {length} bytes")
            end = HANDSHAKE_HEADER_LENGTH + length
            if len(buffer) < end:
                return
            message = bytes(buffer[:end])
            del buffer[:end]
            self._handle(HandshakeType(message_type), message)
            if level is not self._receive_level and buffer:
                raise _violation(f"bytes after the last handshake message at {level.name}")

    @property
    def alpn_protocols(self) -> tuple[str, ...]:
        """What we offer or accept, most preferred first."""
        return self._config.alpn_protocols

    def take_output(self) -> list[tuple[Level, bytes]]:
        """Handshake bytes to send, in order, since the last call."""
        output = self._output
        self._output = []
        return output

    def take_secrets(self) -> list[TrafficSecret]:
        """Secrets that became available since the last call, in order."""
        secrets = self._secrets
        self._secrets = []
        return secrets

    def export(self, label: str, context: bytes, length: int) -> bytes:
        """`length` bytes of keying material for the application (RFC 9846 §7.5), once `complete`."""
        if not self.complete or self._schedule is None:
            raise ValueError("keying material can be exported only after the handshake")
        return self._schedule.export(label, context, length)

    @abstractmethod
    def _is_expected(self, message_type: int) -> bool:
        """Whether the state table allows a message of this type now."""

    @abstractmethod
    def _handle(self, message_type: HandshakeType, message: bytes) -> None:
        """Process a whole message, header included, that `_is_expected` has let in."""

    # Steps of both roles.

    def _negotiated(self) -> tuple[CipherSuite, Transcript]:
        """Suite and transcript, which are there from the ServerHello or HelloRetryRequest on."""
        assert self._suite is not None
        assert self._transcript is not None
        return self._suite, self._transcript

    def _send(self, level: Level, message: bytes) -> None:
        """Queue a message and add it to the transcript."""
        assert self._transcript is not None
        self._transcript.add(message)
        self._output.append((level, message))

    def _start_transcript(self, cipher_suite: int, client_hello: bytes) -> None:
        self._suite = CIPHER_SUITES[cipher_suite]
        self._transcript = Transcript(self._suite, client_hello)

    def _add_early_secret(self, suite: CipherSuite, early: EarlySchedule, client_hello: bytes) -> None:
        """For 0-RTT packets, from the first ClientHello and with the suite of the session."""
        secret = early.client_early_traffic_secret(Transcript(suite, client_hello).digest())
        label = KEY_LOG_LABELS[Level.ZERO_RTT, True]
        self._secrets.append(TrafficSecret(Level.ZERO_RTT, self._is_client, suite.id, secret, label))

    def _derive_handshake_secrets(self, shared_secret: bytes, early: EarlySchedule | None) -> None:
        """After the ServerHello: from here on messages are at the Handshake level.

        `early` is that of the session that is resumed, if one is.
        """
        suite, transcript = self._negotiated()
        self._schedule = KeySchedule(suite, shared_secret, early)
        self._client_secret, self._server_secret = self._schedule.handshake_traffic_secrets(
            transcript.digest()
        )
        self._add_secret(Level.HANDSHAKE, self._client_secret, from_client=True)
        self._add_secret(Level.HANDSHAKE, self._server_secret, from_client=False)
        self._receive_level = Level.HANDSHAKE

    def _add_secret(self, level: Level, secret: bytes, *, from_client: bool) -> None:
        assert self._suite is not None
        label = KEY_LOG_LABELS[level, from_client]
        self._secrets.append(
            TrafficSecret(level, from_client == self._is_client, self._suite.id, secret, label)
        )

    def _send_certificate(self, scheme: int) -> None:
        """Certificate and CertificateVerify of the configured chain and key."""
        _, transcript = self._negotiated()
        key = self._config.private_key
        assert key is not None
        self._send(Level.HANDSHAKE, encode_certificate(b"", self._config.certificate_list))
        content = signed_content(transcript.digest(), by_server=not self._is_client)
        signature = sign(key, scheme, content)
        self._send(Level.HANDSHAKE, CertificateVerify(scheme, signature).encode())

    def _send_finished(self) -> None:
        suite, transcript = self._negotiated()
        secret = self._client_secret if self._is_client else self._server_secret
        verify_data = finished_verify_data(suite, secret, transcript.digest())
        self._send(Level.HANDSHAKE, encode_message(HandshakeType.FINISHED, verify_data))

    def _read_certificate(self, certificate: Certificate, message: bytes) -> tuple[x509.Certificate, ...]:
        """Keep the peer's chain; whether to trust it is the caller's business."""
        _, transcript = self._negotiated()
        self.peer_certificates = tuple(entry.cert_data for entry in certificate.certificate_list)
        chain = parse_chain(self.peer_certificates)
        self._peer_leaf = chain[0]
        transcript.add(message)
        return chain

    def _check_certificate_verify(self, message: bytes) -> None:
        """Raises AlertError unless the peer has signed with the key of its certificate."""
        _, transcript = self._negotiated()
        assert self._peer_leaf is not None
        certificate_verify = CertificateVerify.parse(message[HANDSHAKE_HEADER_LENGTH:])
        content = signed_content(transcript.digest(), by_server=self._is_client)
        verify(
            self._peer_leaf.public_key(), certificate_verify.algorithm, certificate_verify.signature, content
        )
        transcript.add(message)

    def _check_finished(self, message: bytes) -> None:
        """Raises AlertError(decrypt_error) unless the peer has seen the same handshake (RFC 9846 §4.4.4)."""
        suite, transcript = self._negotiated()
        verify_data = parse_finished(message[HANDSHAKE_HEADER_LENGTH:], suite.hash_length)
        secret = self._server_secret if self._is_client else self._client_secret
        if not hmac.compare_digest(verify_data, finished_verify_data(suite, secret, transcript.digest())):
            raise AlertError(AlertDescription.DECRYPT_ERROR, "wrong Finished")
        transcript.add(message)


def _violation(reason: str) -> TransportError:
    return TransportError(TransportErrorCode.PROTOCOL_VIOLATION, reason)
