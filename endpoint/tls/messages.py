"""Codecs of the handshake messages (RFC 9846 §4). Every parser raises AlertError(decode_error) on bad syntax.

Parsers take a message's body, encoders give the whole message with its header. Extensions stay encoded
here; `extensions` knows their content.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from endpoint.errors import TransportError, TransportErrorCode
from endpoint.tls.extensions import (
    ExtensionType,
    MessageContext,
    encode_extensions,
    illegal_parameter,
    read_extensions,
)
from endpoint.tls.reader import Reader, decode_error, uint16_list, vector

HANDSHAKE_HEADER_LENGTH = 4
LEGACY_VERSION = 0x0303
RANDOM_LENGTH = 32

# RFC 9846 §4.1.3: the ServerHello.random that makes the message a HelloRetryRequest.
HELLO_RETRY_REQUEST_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")

# RFC 9001 §4.6.1: the only max_early_data_size that means something in QUIC.
_MAX_EARLY_DATA_SIZE = 0xFFFFFFFF


class HandshakeType(IntEnum):
    """RFC 9846 §4."""

    CLIENT_HELLO = 1
    SERVER_HELLO = 2
    NEW_SESSION_TICKET = 4
    END_OF_EARLY_DATA = 5
    ENCRYPTED_EXTENSIONS = 8
    CERTIFICATE = 11
    CERTIFICATE_REQUEST = 13
    CERTIFICATE_VERIFY = 15
    FINISHED = 20
    KEY_UPDATE = 24
    MESSAGE_HASH = 254


def encode_message(message_type: HandshakeType, body: bytes) -> bytes:
    """`body` behind its handshake header."""
    return bytes((message_type,)) + vector(3, body)


@dataclass(frozen=True, slots=True)
class ClientHello:
    """RFC 9846 §4.1.2, without legacy_version: `parse` leaves it to the caller in `legacy_version`."""

    random: bytes
    cipher_suites: tuple[int, ...]
    extensions: Mapping[int, bytes]
    legacy_version: int = LEGACY_VERSION
    legacy_session_id: bytes = b""
    legacy_compression_methods: bytes = b"\0"

    @classmethod
    def parse(cls, body: bytes) -> "ClientHello":
        """Also checks what concerns the extension block as a whole (RFC 9846 §4.2)."""
        reader = Reader(body, "ClientHello")
        legacy_version = reader.uint(2)
        random = reader.take(RANDOM_LENGTH)
        legacy_session_id = reader.vector(1)
        if len(legacy_session_id) > 32:
            raise decode_error("ClientHello has a legacy_session_id of more than 32 bytes")
        cipher_suites = reader.uint16_list(2)
        legacy_compression_methods = reader.vector(1, minimum=1)
        # A hello of TLS 1.2 may end here.
        extensions = {} if reader.at_end else read_extensions(reader, MessageContext.CLIENT_HELLO)
        reader.finish()
        if ExtensionType.PRE_SHARED_KEY in extensions and (
            next(reversed(extensions)) != ExtensionType.PRE_SHARED_KEY
        ):
            raise illegal_parameter("pre_shared_key is not the last extension")
        return cls(
            random, cipher_suites, extensions, legacy_version, legacy_session_id, legacy_compression_methods
        )

    def encode(self) -> bytes:
        body = (
            self.legacy_version.to_bytes(2, "big")
            + self.random
            + vector(1, self.legacy_session_id)
            + uint16_list(2, self.cipher_suites)
            + vector(1, self.legacy_compression_methods)
            + encode_extensions(self.extensions)
        )
        return encode_message(HandshakeType.CLIENT_HELLO, body)


@dataclass(frozen=True, slots=True)
class ServerHello:
    """RFC 9846 §4.1.3; a HelloRetryRequest (§4.1.4) where `is_retry_request`."""

    random: bytes
    cipher_suite: int
    extensions: Mapping[int, bytes]
    legacy_version: int = LEGACY_VERSION
    legacy_session_id_echo: bytes = b""
    legacy_compression_method: int = 0

    @property
    def is_retry_request(self) -> bool:
        return self.random == HELLO_RETRY_REQUEST_RANDOM

    @classmethod
    def parse(cls, body: bytes) -> "ServerHello":
        reader = Reader(body, "ServerHello")
        legacy_version = reader.uint(2)
        random = reader.take(RANDOM_LENGTH)
        legacy_session_id_echo = reader.vector(1)
        if len(legacy_session_id_echo) > 32:
            raise decode_error("ServerHello has a legacy_session_id_echo of more than 32 bytes")
        cipher_suite = reader.uint(2)
        legacy_compression_method = reader.uint(1)
        is_retry = random == HELLO_RETRY_REQUEST_RANDOM
        context = MessageContext.HELLO_RETRY_REQUEST if is_retry else MessageContext.SERVER_HELLO
        extensions = {} if reader.at_end else read_extensions(reader, context)
        reader.finish()
        return cls(
            random,
            cipher_suite,
            extensions,
            legacy_version,
            legacy_session_id_echo,
            legacy_compression_method,
        )

    def encode(self) -> bytes:
        body = (
            self.legacy_version.to_bytes(2, "big")
            + self.random
            + vector(1, self.legacy_session_id_echo)
            + self.cipher_suite.to_bytes(2, "big")
            + bytes((self.legacy_compression_method,))
            + encode_extensions(self.extensions)
        )
        return encode_message(HandshakeType.SERVER_HELLO, body)


@dataclass(frozen=True, slots=True)
class EncryptedExtensions:
    """RFC 9846 §4.3.1."""

    extensions: Mapping[int, bytes]

    @classmethod
    def parse(cls, body: bytes) -> "EncryptedExtensions":
        reader = Reader(body, "EncryptedExtensions")
        extensions = read_extensions(reader, MessageContext.ENCRYPTED_EXTENSIONS)
        reader.finish()
        return cls(extensions)

    def encode(self) -> bytes:
        return encode_message(HandshakeType.ENCRYPTED_EXTENSIONS, encode_extensions(self.extensions))


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """RFC 9846 §4.3.2."""

    certificate_request_context: bytes
    extensions: Mapping[int, bytes]

    @classmethod
    def parse(cls, body: bytes) -> "CertificateRequest":
        reader = Reader(body, "CertificateRequest")
        context = reader.vector(1)
        extensions = read_extensions(reader, MessageContext.CERTIFICATE_REQUEST)
        reader.finish()
        return cls(context, extensions)

    def encode(self) -> bytes:
        body = vector(1, self.certificate_request_context) + encode_extensions(self.extensions)
        return encode_message(HandshakeType.CERTIFICATE_REQUEST, body)


@dataclass(frozen=True, slots=True)
class CertificateEntry:
    """One DER certificate and its extensions."""

    cert_data: bytes
    extensions: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class Certificate:
    """RFC 9846 §4.4.2."""

    certificate_request_context: bytes
    certificate_list: tuple[CertificateEntry, ...]

    @classmethod
    def parse(cls, body: bytes) -> "Certificate":
        reader = Reader(body, "Certificate")
        context = reader.vector(1)
        entries = Reader(reader.vector(3), "Certificate")
        reader.finish()
        certificate_list = []
        while not entries.at_end:
            cert_data = entries.vector(3, minimum=1)
            extensions = read_extensions(entries, MessageContext.CERTIFICATE)
            certificate_list.append(CertificateEntry(cert_data, extensions))
        return cls(context, tuple(certificate_list))


def encode_certificate_list(chain: Sequence[bytes]) -> bytes:
    """The certificate_list of a Certificate message, from DER certificates, leaf first."""
    return vector(3, b"".join(vector(3, cert_data) + b"\0\0" for cert_data in chain))


def encode_certificate(context: bytes, certificate_list: bytes) -> bytes:
    """A Certificate message around what `encode_certificate_list` gave."""
    return encode_message(HandshakeType.CERTIFICATE, vector(1, context) + certificate_list)


@dataclass(frozen=True, slots=True)
class CertificateVerify:
    """RFC 9846 §4.4.3."""

    algorithm: int
    signature: bytes

    @classmethod
    def parse(cls, body: bytes) -> "CertificateVerify":
        reader = Reader(body, "CertificateVerify")
        message = cls(reader.uint(2), reader.vector(2))
        reader.finish()
        return message

    def encode(self) -> bytes:
        body = self.algorithm.to_bytes(2, "big") + vector(2, self.signature)
        return encode_message(HandshakeType.CERTIFICATE_VERIFY, body)


def parse_finished(body: bytes, hash_length: int) -> bytes:
    """The verify_data of a Finished (RFC 9846 §4.4.4)."""
    if len(body) != hash_length:
        raise decode_error("Finished of a wrong length")
    return body


@dataclass(frozen=True, slots=True)
class NewSessionTicket:
    """RFC 9846 §4.6.1. `early_data` tells whether the ticket may be used for 0-RTT."""

    ticket_lifetime: int
    ticket_age_add: int
    ticket_nonce: bytes
    ticket: bytes
    early_data: bool

    @classmethod
    def parse(cls, body: bytes) -> "NewSessionTicket":
        """Raises TransportError(PROTOCOL_VIOLATION) for a max_early_data_size that QUIC forbids."""
        reader = Reader(body, "NewSessionTicket")
        ticket_lifetime = reader.uint(4)
        ticket_age_add = reader.uint(4)
        ticket_nonce = reader.vector(1)
        ticket = reader.vector(2, minimum=1)
        extensions = read_extensions(reader, MessageContext.NEW_SESSION_TICKET)
        reader.finish()
        early_data = extensions.get(ExtensionType.EARLY_DATA)
        if early_data is not None:
            size = Reader(early_data, "early_data")
            max_early_data_size = size.uint(4)
            size.finish()
            if max_early_data_size != _MAX_EARLY_DATA_SIZE:
                raise TransportError(
                    TransportErrorCode.PROTOCOL_VIOLATION,
                    f"NewSessionTicket with max_early_data_size {max_early_data_size}",
                )
        return cls(ticket_lifetime, ticket_age_add, ticket_nonce, ticket, early_data is not None)

    def encode(self) -> bytes:
        extensions: dict[int, bytes] = {}
        if self.early_data:
            extensions[ExtensionType.EARLY_DATA] = _MAX_EARLY_DATA_SIZE.to_bytes(4, "big")
        body = (
            self.ticket_lifetime.to_bytes(4, "big")
            + self.ticket_age_add.to_bytes(4, "big")
            + vector(1, self.ticket_nonce)
            + vector(2, self.ticket)
            + encode_extensions(extensions)
        )
        return encode_message(HandshakeType.NEW_SESSION_TICKET, body)
