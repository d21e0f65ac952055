"""Extensions (RFC 9846 §4.2): their codecs, and one table of the messages where each is legal."""

import functools
import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum, auto

from endpoint.errors import AlertDescription, AlertError
from endpoint.tls.reader import Reader, decode_error, uint16_list, vector

TLS_1_3 = 0x0304

# RFC 9846 §4.2.9: a PSK with a key exchange, the only mode that we offer and accept.
PSK_DHE_KE = 1

# Names that we connect to; the peer has no say in them.
_CACHED_NAMES = 128


class ExtensionType(IntEnum):
    """The types that RFC 9846 §4.2 lists."""

    SERVER_NAME = 0
    STATUS_REQUEST = 5
    SUPPORTED_GROUPS = 10
    SIGNATURE_ALGORITHMS = 13
    USE_SRTP = 14
    HEARTBEAT = 15
    APPLICATION_LAYER_PROTOCOL_NEGOTIATION = 16
    CLIENT_CERTIFICATE_TYPE = 19
    SERVER_CERTIFICATE_TYPE = 20
    PADDING = 21
    COMPRESS_CERTIFICATE = 27
    RECORD_SIZE_LIMIT = 28
    DELEGATED_CREDENTIAL = 34
    SUPPORTED_EKT_CIPHERS = 39
    PRE_SHARED_KEY = 41
    EARLY_DATA = 42
    SUPPORTED_VERSIONS = 43
    COOKIE = 44
    PSK_KEY_EXCHANGE_MODES = 45
    CERTIFICATE_AUTHORITIES = 47
    OID_FILTERS = 48
    POST_HANDSHAKE_AUTH = 49
    SIGNATURE_ALGORITHMS_CERT = 50
    KEY_SHARE = 51
    TRANSPARENCY_INFO = 52
    EXTERNAL_ID_HASH = 55
    EXTERNAL_SESSION_ID = 56
    QUIC_TRANSPORT_PARAMETERS = 57
    TICKET_REQUEST = 58
    ECH_OUTER_EXTENSIONS = 0xFD00
    ENCRYPTED_CLIENT_HELLO = 0xFE0D


class MessageContext(Enum):
    """The messages that carry extensions."""

    CLIENT_HELLO = auto()
    SERVER_HELLO = auto()
    HELLO_RETRY_REQUEST = auto()
    ENCRYPTED_EXTENSIONS = auto()
    CERTIFICATE = auto()
    CERTIFICATE_REQUEST = auto()
    NEW_SESSION_TICKET = auto()


_CH = MessageContext.CLIENT_HELLO
_SH = MessageContext.SERVER_HELLO
_HRR = MessageContext.HELLO_RETRY_REQUEST
_EE = MessageContext.ENCRYPTED_EXTENSIONS
_CT = MessageContext.CERTIFICATE
_CR = MessageContext.CERTIFICATE_REQUEST
_NST = MessageContext.NEW_SESSION_TICKET

LEGAL_IN: dict[ExtensionType, frozenset[MessageContext]] = {
    ExtensionType.SERVER_NAME: frozenset({_CH, _EE, _CR}),
    ExtensionType.STATUS_REQUEST: frozenset({_CH, _CR, _CT}),
    ExtensionType.SUPPORTED_GROUPS: frozenset({_CH, _EE}),
    ExtensionType.SIGNATURE_ALGORITHMS: frozenset({_CH, _CR}),
    ExtensionType.USE_SRTP: frozenset({_CH, _EE}),
    ExtensionType.HEARTBEAT: frozenset({_CH, _EE}),
    ExtensionType.APPLICATION_LAYER_PROTOCOL_NEGOTIATION: frozenset({_CH, _EE}),
    ExtensionType.CLIENT_CERTIFICATE_TYPE: frozenset({_CH, _EE}),
    ExtensionType.SERVER_CERTIFICATE_TYPE: frozenset({_CH, _EE}),
    ExtensionType.PADDING: frozenset({_CH}),
    ExtensionType.COMPRESS_CERTIFICATE: frozenset({_CH, _CR}),
    ExtensionType.RECORD_SIZE_LIMIT: frozenset({_CH, _EE}),
    ExtensionType.DELEGATED_CREDENTIAL: frozenset({_CH, _CR, _CT}),
    ExtensionType.SUPPORTED_EKT_CIPHERS: frozenset({_CH, _EE}),
    ExtensionType.PRE_SHARED_KEY: frozenset({_CH, _SH}),
    ExtensionType.EARLY_DATA: frozenset({_CH, _EE, _NST}),
    ExtensionType.SUPPORTED_VERSIONS: frozenset({_CH, _SH, _HRR}),
    ExtensionType.COOKIE: frozenset({_CH, _HRR}),
    ExtensionType.PSK_KEY_EXCHANGE_MODES: frozenset({_CH}),
    ExtensionType.CERTIFICATE_AUTHORITIES: frozenset({_CH, _CR}),
    ExtensionType.OID_FILTERS: frozenset({_CR}),
    ExtensionType.POST_HANDSHAKE_AUTH: frozenset({_CH}),
    ExtensionType.SIGNATURE_ALGORITHMS_CERT: frozenset({_CH, _CR}),
    ExtensionType.KEY_SHARE: frozenset({_CH, _SH, _HRR}),
    ExtensionType.TRANSPARENCY_INFO: frozenset({_CH, _CR, _CT}),
    ExtensionType.EXTERNAL_ID_HASH: frozenset({_CH, _EE}),
    ExtensionType.EXTERNAL_SESSION_ID: frozenset({_CH, _EE}),
    ExtensionType.QUIC_TRANSPORT_PARAMETERS: frozenset({_CH, _EE}),
    ExtensionType.TICKET_REQUEST: frozenset({_CH, _EE}),
    ExtensionType.ECH_OUTER_EXTENSIONS: frozenset({_CH}),
    ExtensionType.ENCRYPTED_CLIENT_HELLO: frozenset({_CH, _HRR, _EE}),
}
_LEGAL_BY_NUMBER: dict[int, frozenset[MessageContext]] = {int(key): value for key, value in LEGAL_IN.items()}


def illegal_parameter(reason: str) -> AlertError:
    """The alert for a value that is well-formed but wrong."""
    return AlertError(AlertDescription.ILLEGAL_PARAMETER, reason)


def read_extensions(reader: Reader, context: MessageContext) -> dict[int, bytes]:
    """An extension block by type, in its order.

    Raises AlertError: decode_error on syntax, illegal_parameter for a type that occurs twice or that is
    known and not legal in this message.
    """
    block = Reader(reader.vector(2), "extension block")
    extensions: dict[int, bytes] = {}
    while not block.at_end:
        extension_type = block.uint(2)
        if extension_type in extensions:
            raise illegal_parameter(f"extension {extension_type} occurs twice")
        legal = _LEGAL_BY_NUMBER.get(extension_type)
        if legal is not None and context not in legal:
            raise illegal_parameter(f"extension {extension_type} in {context.name}")
        extensions[extension_type] = block.vector(2)
    return extensions


def check_requested(extensions: Collection[int], requested: Collection[int]) -> None:
    """Raise AlertError(unsupported_extension) for a response that nobody asked for (RFC 9846 §4.2)."""
    for extension_type in extensions:
        if extension_type not in requested:
            raise AlertError(
                AlertDescription.UNSUPPORTED_EXTENSION, f"extension {extension_type} was not requested"
            )


def require(extensions: Mapping[int, bytes], extension_type: ExtensionType) -> bytes:
    """The body of an extension that must be there. Raises AlertError(missing_extension)."""
    body = extensions.get(extension_type)
    if body is None:
        raise AlertError(AlertDescription.MISSING_EXTENSION, f"no {extension_type.name.lower()} extension")
    return body


def encode_extensions(extensions: Mapping[int, bytes]) -> bytes:
    """An extension block in the order of the mapping."""
    return vector(2, b"".join(key.to_bytes(2, "big") + vector(2, body) for key, body in extensions.items()))


def encode_server_name(name: str) -> bytes | None:
    """The client's server_name, or None for an IP address, which it can't carry (RFC 6066 §3).

    Raises UnicodeError for a name that is not ASCII.
    """
    if ip_address(name) is not None:
        return None
    host = name.rstrip(".").encode("ascii")
    return vector(2, b"\0" + vector(2, host))


@functools.lru_cache(_CACHED_NAMES)
def ip_address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that `name` writes, if it is one and not a host name."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def parse_server_name(body: bytes) -> str:
    """The host name of a ClientHello."""
    reader = Reader(body, "server_name")
    names = Reader(reader.vector(2, minimum=1), "server_name")
    reader.finish()
    if names.uint(1) != 0:
        raise illegal_parameter("server_name of an unknown type")
    host = names.vector(2, minimum=1)
    if not names.at_end:
        # RFC 6066 §3: one name of each type, and there is only one type.
        raise illegal_parameter("server_name holds more than one name")
    if not host.isascii() or b"\0" in host:
        raise illegal_parameter("server_name is not an ASCII host name")
    return host.decode("ascii")


def encode_uint16_list(values: tuple[int, ...]) -> bytes:
    """The body of supported_groups and of signature_algorithms."""
    return uint16_list(2, values)


def parse_uint16_list(body: bytes, what: str) -> tuple[int, ...]:
    """The body of supported_groups and of signature_algorithms."""
    reader = Reader(body, what)
    values = reader.uint16_list(2)
    reader.finish()
    return values


def encode_alpn(protocols: tuple[str, ...]) -> bytes:
    """The ProtocolNameList of RFC 7301 §3.1: the client's offer, or the server's choice."""
    return vector(2, b"".join(vector(1, protocol.encode()) for protocol in protocols))


def parse_alpn(body: bytes) -> tuple[bytes, ...]:
    """The protocol names. Bytes, because a peer may offer names that are no UTF-8."""
    reader = Reader(body, "ALPN")
    names = Reader(reader.vector(2, minimum=2), "ALPN")
    reader.finish()
    protocols = []
    while not names.at_end:
        protocols.append(names.vector(1, minimum=1))
    return tuple(protocols)


def parse_alpn_choice(body: bytes) -> bytes:
    """The server's answer, which has exactly one name (RFC 7301 §3.1)."""
    protocols = parse_alpn(body)
    if len(protocols) != 1:
        raise decode_error("ALPN answer with more than one protocol")
    return protocols[0]


def encode_supported_versions_offer() -> bytes:
    """The client's supported_versions: TLS 1.3 only (RFC 9001 §4.2)."""
    return uint16_list(1, (TLS_1_3,))


def parse_supported_versions_offer(body: bytes) -> tuple[int, ...]:
    """The versions that a client offers."""
    reader = Reader(body, "supported_versions")
    versions = reader.uint16_list(1)
    reader.finish()
    return versions


def encode_uint16(value: int) -> bytes:
    """The body of the server's supported_versions and of a HelloRetryRequest's key_share."""
    return value.to_bytes(2, "big")


def parse_uint16(body: bytes, what: str) -> int:
    """The body of the server's supported_versions and of a HelloRetryRequest's key_share."""
    reader = Reader(body, what)
    value = reader.uint(2)
    reader.finish()
    return value


def encode_key_share(group: int, key_exchange: bytes) -> bytes:
    """One KeyShareEntry: the whole body in a ServerHello."""
    return group.to_bytes(2, "big") + vector(2, key_exchange)


def parse_key_share(body: bytes) -> tuple[int, bytes]:
    """(group, key_exchange) of a ServerHello."""
    reader = Reader(body, "key_share")
    entry = reader.uint(2), reader.vector(2, minimum=1)
    reader.finish()
    return entry


def encode_key_shares(shares: Mapping[int, bytes]) -> bytes:
    """The client's key_share, key_exchange by group."""
    return vector(2, b"".join(encode_key_share(group, public) for group, public in shares.items()))


def parse_key_shares(body: bytes) -> dict[int, bytes]:
    """The client's key_share, key_exchange by group; may be empty (RFC 9846 §4.2.8)."""
    reader = Reader(body, "key_share")
    entries = Reader(reader.vector(2), "key_share")
    reader.finish()
    shares: dict[int, bytes] = {}
    while not entries.at_end:
        group = entries.uint(2)
        if group in shares:
            raise illegal_parameter(f"two key shares for group 0x{group:04x}")
        shares[group] = entries.vector(2, minimum=1)
    return shares


def encode_cookie(cookie: bytes) -> bytes:
    """A cookie, in either direction."""
    return vector(2, cookie)


def parse_cookie(body: bytes) -> bytes:
    """A cookie, in either direction."""
    reader = Reader(body, "cookie")
    cookie = reader.vector(2, minimum=1)
    reader.finish()
    return cookie


def encode_psk_key_exchange_modes() -> bytes:
    """The client's psk_key_exchange_modes: never a PSK alone, which has no forward secrecy."""
    return vector(1, bytes((PSK_DHE_KE,)))


def parse_psk_key_exchange_modes(body: bytes) -> bytes:
    """The modes that a client allows, a byte each."""
    reader = Reader(body, "psk_key_exchange_modes")
    modes = reader.vector(1, minimum=1)
    reader.finish()
    return modes


def check_empty(body: bytes, extension_type: ExtensionType) -> None:
    """Raise AlertError(decode_error) where the presence of the extension must be all that it says."""
    if body:
        raise decode_error(f"{extension_type.name.lower()} is not empty")


@dataclass(frozen=True, slots=True)
class OfferedPsks:
    """The client's pre_shared_key (RFC 9846 §4.2.11).

    `identities` are pairs of (identity, obfuscated_ticket_age in milliseconds), with a binder each.
    `binders_length` is the length of the binders as they are encoded: what binders are not computed over.
    """

    identities: tuple[tuple[bytes, int], ...]
    binders: tuple[bytes, ...]
    binders_length: int

    @classmethod
    def parse(cls, body: bytes) -> "OfferedPsks":
        """Raises AlertError: illegal_parameter unless there is a binder for each identity."""
        reader = Reader(body, "pre_shared_key")
        identity_reader = Reader(reader.vector(2, minimum=7), "pre_shared_key")
        binder_list = reader.vector(2, minimum=33)
        reader.finish()
        identities = []
        while not identity_reader.at_end:
            identities.append((identity_reader.vector(2, minimum=1), identity_reader.uint(4)))
        binder_reader = Reader(binder_list, "pre_shared_key")
        binders = []
        while not binder_reader.at_end:
            binders.append(binder_reader.vector(1, minimum=32))
        if len(binders) != len(identities):
            raise illegal_parameter("pre_shared_key has not one binder for each identity")
        return cls(tuple(identities), tuple(binders), 2 + len(binder_list))


def encode_offered_psks(identities: Collection[tuple[bytes, int]], binders: Collection[bytes]) -> bytes:
    """The client's pre_shared_key; the arguments as in `OfferedPsks`."""
    entries = b"".join(vector(2, identity) + age.to_bytes(4, "big") for identity, age in identities)
    return vector(2, entries) + encode_binders(binders)


def encode_binders(binders: Collection[bytes]) -> bytes:
    """The list that ends a pre_shared_key, and with it a ClientHello."""
    return vector(2, b"".join(vector(1, binder) for binder in binders))
