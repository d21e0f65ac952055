"""Transport parameters (RFC 9000 §18): one table drives both the encoder and the decoder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, auto
from ipaddress import IPv4Address, IPv6Address

from endpoint.errors import TransportError, TransportErrorCode
from endpoint.wire.frames import STATELESS_RESET_TOKEN_LENGTH
from endpoint.wire.header import MAX_CID_LENGTH
from endpoint.wire.varint import VARINT_MAX, append_varint, encode_varint, read_varint


@dataclass(frozen=True, slots=True)
class PreferredAddress:
    """RFC 9000 §18.2: where the server would rather be reached, as (host, port), None where absent.

    The connection ID has sequence number 1.
    """

    ipv4: tuple[str, int] | None
    ipv6: tuple[str, int] | None
    connection_id: bytes
    stateless_reset_token: bytes


@dataclass(frozen=True, slots=True)
class VersionInformation:
    """RFC 9368 §3. Available versions of a client are in order of its preference."""

    chosen_version: int
    available_versions: tuple[int, ...]


@dataclass(slots=True, kw_only=True)
class TransportParameters:
    """One endpoint's parameters; a field at its default stands for a parameter that is not sent.

    Units are those of the wire: max_idle_timeout and max_ack_delay are milliseconds, min_ack_delay
    microseconds. `unknown` lists the identifiers that were received and ignored; it is not sent.
    """

    original_destination_connection_id: bytes | None = None
    max_idle_timeout: int = 0
    stateless_reset_token: bytes | None = None
    max_udp_payload_size: int = 65527
    initial_max_data: int = 0
    initial_max_stream_data_bidi_local: int = 0
    initial_max_stream_data_bidi_remote: int = 0
    initial_max_stream_data_uni: int = 0
    initial_max_streams_bidi: int = 0
    initial_max_streams_uni: int = 0
    ack_delay_exponent: int = 3
    max_ack_delay: int = 25
    disable_active_migration: bool = False
    preferred_address: PreferredAddress | None = None
    active_connection_id_limit: int = 2
    initial_source_connection_id: bytes | None = None
    retry_source_connection_id: bytes | None = None
    version_information: VersionInformation | None = None
    max_datagram_frame_size: int = 0
    grease_quic_bit: bool = False
    min_ack_delay: int | None = None
    unknown: list[int] = field(default_factory=list)


class ParameterType(IntEnum):
    """How a parameter's value is encoded."""

    INTEGER = auto()
    FLAG = auto()  # present or not, without a value
    CONNECTION_ID = auto()
    RESET_TOKEN = auto()
    PREFERRED_ADDRESS = auto()
    VERSION_INFORMATION = auto()


@dataclass(frozen=True, slots=True)
class ParameterRules:
    """One row of the table. `minimum` and `maximum` bound integers; the default is the field's."""

    name: str
    type: ParameterType
    server_only: bool = False
    minimum: int = 0
    maximum: int = VARINT_MAX


_INT, _FLAG, _CID = ParameterType.INTEGER, ParameterType.FLAG, ParameterType.CONNECTION_ID
_MAX_STREAMS = 1 << 60  # RFC 9000 §4.6

# Identifier to rules, in the order of sending. RFC 9000 §18.2 unless said otherwise.
PARAMETERS: Mapping[int, ParameterRules] = {
    0x00: ParameterRules("original_destination_connection_id", _CID, server_only=True),
    0x01: ParameterRules("max_idle_timeout", _INT),
    0x02: ParameterRules("stateless_reset_token", ParameterType.RESET_TOKEN, server_only=True),
    0x03: ParameterRules("max_udp_payload_size", _INT, minimum=1200),
    0x04: ParameterRules("initial_max_data", _INT),
    0x05: ParameterRules("initial_max_stream_data_bidi_local", _INT),
    0x06: ParameterRules("initial_max_stream_data_bidi_remote", _INT),
    0x07: ParameterRules("initial_max_stream_data_uni", _INT),
    0x08: ParameterRules("initial_max_streams_bidi", _INT, maximum=_MAX_STREAMS),
    0x09: ParameterRules("initial_max_streams_uni", _INT, maximum=_MAX_STREAMS),
    0x0A: ParameterRules("ack_delay_exponent", _INT, maximum=20),
    0x0B: ParameterRules("max_ack_delay", _INT, maximum=(1 << 14) - 1),
    0x0C: ParameterRules("disable_active_migration", _FLAG),
    0x0D: ParameterRules("preferred_address", ParameterType.PREFERRED_ADDRESS, server_only=True),
    0x0E: ParameterRules("active_connection_id_limit", _INT, minimum=2),
    0x0F: ParameterRules("initial_source_connection_id", _CID),
    0x10: ParameterRules("retry_source_connection_id", _CID, server_only=True),
    0x11: ParameterRules("version_information", ParameterType.VERSION_INFORMATION),  # RFC 9368 §10.1
    0x20: ParameterRules("max_datagram_frame_size", _INT),  # RFC 9221 §3
    0x2AB2: ParameterRules("grease_quic_bit", _FLAG),  # RFC 9287 §3
    0xFF04DE1B: ParameterRules("min_ack_delay", _INT),  # draft-ietf-quic-ack-frequency §3
}

_DEFAULTS = TransportParameters()


def encode_transport_parameters(params: TransportParameters) -> bytes:
    """The extension's content: every field that is not at its default, in the order of PARAMETERS.

    Values are not checked against the limits; ValueError for an integer that can't be encoded.
    """
    out = bytearray()
    for identifier, rules in PARAMETERS.items():
        value = getattr(params, rules.name)
        if value == getattr(_DEFAULTS, rules.name):
            continue
        content = _ENCODERS[rules.type](value)
        append_varint(out, identifier)
        append_varint(out, len(content))
        out += content
    return bytes(out)


def decode_transport_parameters(data: bytes, *, from_client: bool) -> TransportParameters:
    """Parse and check what the peer sent. `from_client`: the peer is the client.

    Raises TransportError (TRANSPORT_PARAMETER_ERROR) for bad formats and lengths, duplicates, values
    outside their limits, and server-only parameters from a client. Unknown ones are ignored.
    """
    params = TransportParameters()
    seen: set[int] = set()
    pos, end = 0, len(data)
    while pos < end:
        identifier, pos = _read_integer(data, pos, end)
        length, pos = _read_integer(data, pos, end)
        if length > end - pos:
            raise _error(f"parameter 0x{identifier:x} is truncated")
        # RFC 9000 §7.4: a parameter comes once.
        if identifier in seen:
            raise _error(f"parameter 0x{identifier:x} repeated")
        seen.add(identifier)
        content = data[pos : pos + length]
        pos += length
        rules = PARAMETERS.get(identifier)
        if rules is None:
            params.unknown.append(identifier)
        elif rules.server_only and from_client:
            raise _error(f"{rules.name} from a client")
        else:
            setattr(params, rules.name, _DECODERS[rules.type](content, rules))
    _check_together(params, from_client)
    return params


def _check_together(params: TransportParameters, from_client: bool) -> None:
    """What one parameter says about another."""
    # draft-ietf-quic-ack-frequency §3: microseconds against milliseconds.
    if params.min_ack_delay is not None and params.min_ack_delay > params.max_ack_delay * 1000:
        raise _error("min_ack_delay exceeds max_ack_delay")
    information = params.version_information
    # RFC 9368 §4: a client's first flight is compatible with its own version.
    if (
        from_client
        and information is not None
        and information.chosen_version not in information.available_versions
    ):
        raise _error("version_information: the chosen version is not available")


def _error(reason: str) -> TransportError:
    return TransportError(TransportErrorCode.TRANSPORT_PARAMETER_ERROR, reason)


def _read_integer(data: bytes, pos: int, end: int) -> tuple[int, int]:
    try:
        return read_varint(data, pos, end)
    except TransportError:
        raise _error("truncated integer") from None


def _decode_integer(content: bytes, rules: ParameterRules) -> int:
    value, pos = _read_integer(content, 0, len(content))
    if pos != len(content):
        raise _error(f"{rules.name} has trailing bytes")
    if not rules.minimum <= value <= rules.maximum:
        raise _error(f"{rules.name} is {value}, outside its limits")
    return value


def _decode_flag(content: bytes, rules: ParameterRules) -> bool:
    if content:
        raise _error(f"{rules.name} has a value")
    return True


def _decode_connection_id(content: bytes, rules: ParameterRules) -> bytes:
    if len(content) > MAX_CID_LENGTH:
        raise _error(f"{rules.name} is longer than 20 bytes")
    return content


def _decode_reset_token(content: bytes, rules: ParameterRules) -> bytes:
    if len(content) != STATELESS_RESET_TOKEN_LENGTH:
        raise _error(f"{rules.name} is not 16 bytes long")
    return content


def _encode_preferred_address(value: PreferredAddress) -> bytes:
    host4, port4 = value.ipv4 or ("0.0.0.0", 0)  # noqa: S104 - the wire's sign for "none"
    host6, port6 = value.ipv6 or ("::", 0)
    return b"".join(
        (
            IPv4Address(host4).packed,
            port4.to_bytes(2, "big"),
            IPv6Address(host6).packed,
            port6.to_bytes(2, "big"),
            bytes((len(value.connection_id),)),
            value.connection_id,
            value.stateless_reset_token,
        )
    )


def _decode_preferred_address(content: bytes, rules: ParameterRules) -> PreferredAddress:
    # 4 + 2 bytes of IPv4, 16 + 2 of IPv6, the ID's length at 24, the ID, the token.
    if len(content) < 25 or len(content) != 25 + content[24] + STATELESS_RESET_TOKEN_LENGTH:
        raise _error(f"{rules.name} has a wrong length")
    # RFC 9000 §18.2: syntax of NEW_CONNECTION_ID, so never empty.
    if not 1 <= content[24] <= MAX_CID_LENGTH:
        raise _error(f"{rules.name} has a connection ID of {content[24]} bytes")
    ipv4 = (str(IPv4Address(content[0:4])), int.from_bytes(content[4:6], "big"))
    ipv6 = (str(IPv6Address(content[6:22])), int.from_bytes(content[22:24], "big"))
    return PreferredAddress(
        ipv4=ipv4 if any(content[0:6]) else None,
        ipv6=ipv6 if any(content[6:24]) else None,
        connection_id=content[25:-STATELESS_RESET_TOKEN_LENGTH],
        stateless_reset_token=content[-STATELESS_RESET_TOKEN_LENGTH:],
    )


def _encode_version_information(value: VersionInformation) -> bytes:
    versions = (value.chosen_version, *value.available_versions)
    return b"".join(version.to_bytes(4, "big") for version in versions)


def _decode_version_information(content: bytes, rules: ParameterRules) -> VersionInformation:
    if not content or len(content) % 4:
        raise _error(f"{rules.name} has a wrong length")
    versions = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(0, len(content), 4))
    # RFC 9368 §4.
    if 0 in versions:
        raise _error(f"{rules.name} lists version 0")
    return VersionInformation(versions[0], versions[1:])


_ENCODERS: Mapping[ParameterType, Callable[..., bytes]] = {
    ParameterType.INTEGER: encode_varint,
    ParameterType.FLAG: lambda _: b"",
    ParameterType.CONNECTION_ID: bytes,
    ParameterType.RESET_TOKEN: bytes,
    ParameterType.PREFERRED_ADDRESS: _encode_preferred_address,
    ParameterType.VERSION_INFORMATION: _encode_version_information,
}

_DECODERS: Mapping[ParameterType, Callable[[bytes, ParameterRules], object]] = {
    ParameterType.INTEGER: _decode_integer,
    ParameterType.FLAG: _decode_flag,
    ParameterType.CONNECTION_ID: _decode_connection_id,
    ParameterType.RESET_TOKEN: _decode_reset_token,
    ParameterType.PREFERRED_ADDRESS: _decode_preferred_address,
    ParameterType.VERSION_INFORMATION: _decode_version_information,
}
