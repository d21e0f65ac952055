"""Frames as values (RFC 9000 §19 and extensions), and the one table of where each type may come.

The data path parses STREAM, ACK and DATAGRAM without making these objects; everything else does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from endpoint.level import Level


class FrameType(IntEnum):
    """Frame types. STREAM stands for 0x08-0x0f, whose low bits are the STREAM_* flags."""

    PADDING = 0x00
    PING = 0x01
    ACK = 0x02
    ACK_ECN = 0x03
    RESET_STREAM = 0x04
    STOP_SENDING = 0x05
    CRYPTO = 0x06
    NEW_TOKEN = 0x07
    STREAM = 0x08
    MAX_DATA = 0x10
    MAX_STREAM_DATA = 0x11
    MAX_STREAMS_BIDI = 0x12
    MAX_STREAMS_UNI = 0x13
    DATA_BLOCKED = 0x14
    STREAM_DATA_BLOCKED = 0x15
    STREAMS_BLOCKED_BIDI = 0x16
    STREAMS_BLOCKED_UNI = 0x17
    NEW_CONNECTION_ID = 0x18
    RETIRE_CONNECTION_ID = 0x19
    PATH_CHALLENGE = 0x1A
    PATH_RESPONSE = 0x1B
    CONNECTION_CLOSE = 0x1C
    APPLICATION_CLOSE = 0x1D
    HANDSHAKE_DONE = 0x1E
    IMMEDIATE_ACK = 0x1F
    DATAGRAM = 0x30
    DATAGRAM_LEN = 0x31
    ACK_FREQUENCY = 0xAF


# Flags in the type of a STREAM frame (RFC 9000 §19.8).
STREAM_FIN = 0x01
STREAM_LEN = 0x02
STREAM_OFF = 0x04

# Of NEW_CONNECTION_ID, and of the transport parameters that give one (RFC 9000 §10.3).
STATELESS_RESET_TOKEN_LENGTH = 16
# Of PATH_CHALLENGE and PATH_RESPONSE.
PATH_DATA_LENGTH = 8


@dataclass(slots=True)
class Padding:
    """A run of `length` PADDING frames, one byte each (RFC 9000 §19.1)."""

    length: int


@dataclass(slots=True)
class Ping:
    """RFC 9000 §19.2."""


@dataclass(slots=True)
class Ack:
    """RFC 9000 §19.3. `ack_delay` is the field as sent, not yet scaled by ack_delay_exponent.

    `ranges` are inclusive (smallest, largest) in descending order, disjoint and not adjacent; the
    first one ends with `largest_acknowledged`. `ecn` are the counts of ECT(0), ECT(1) and CE.
    """

    largest_acknowledged: int
    ack_delay: int
    ranges: list[tuple[int, int]]
    ecn: tuple[int, int, int] | None


@dataclass(slots=True)
class ResetStream:
    """RFC 9000 §19.4."""

    stream_id: int
    application_error_code: int
    final_size: int


@dataclass(slots=True)
class StopSending:
    """RFC 9000 §19.5."""

    stream_id: int
    application_error_code: int


@dataclass(slots=True)
class Crypto:
    """RFC 9000 §19.6."""

    offset: int
    data: bytes


@dataclass(slots=True)
class NewToken:
    """RFC 9000 §19.7."""

    token: bytes


@dataclass(slots=True)
class Stream:
    """RFC 9000 §19.8."""

    stream_id: int
    offset: int
    data: bytes
    fin: bool


@dataclass(slots=True)
class MaxData:
    """RFC 9000 §19.9."""

    maximum_data: int


@dataclass(slots=True)
class MaxStreamData:
    """RFC 9000 §19.10."""

    stream_id: int
    maximum_stream_data: int


@dataclass(slots=True)
class MaxStreams:
    """RFC 9000 §19.11."""

    maximum_streams: int
    unidirectional: bool


@dataclass(slots=True)
class DataBlocked:
    """RFC 9000 §19.12."""

    maximum_data: int


@dataclass(slots=True)
class StreamDataBlocked:
    """RFC 9000 §19.13."""

    stream_id: int
    maximum_stream_data: int


@dataclass(slots=True)
class StreamsBlocked:
    """RFC 9000 §19.14."""

    maximum_streams: int
    unidirectional: bool


@dataclass(slots=True)
class NewConnectionId:
    """RFC 9000 §19.15."""

    sequence_number: int
    retire_prior_to: int
    connection_id: bytes
    stateless_reset_token: bytes


@dataclass(slots=True)
class RetireConnectionId:
    """RFC 9000 §19.16."""

    sequence_number: int


@dataclass(slots=True)
class PathChallenge:
    """RFC 9000 §19.17. `data` has 8 bytes."""

    data: bytes


@dataclass(slots=True)
class PathResponse:
    """RFC 9000 §19.18. `data` has 8 bytes."""

    data: bytes


@dataclass(slots=True)
class ConnectionClose:
    """RFC 9000 §19.19. `frame_type` is None where an application closes (type 0x1d)."""

    error_code: int
    frame_type: int | None
    reason: str


@dataclass(slots=True)
class HandshakeDone:
    """RFC 9000 §19.20."""


@dataclass(slots=True)
class Datagram:
    """RFC 9221 §4."""

    data: bytes


@dataclass(slots=True)
class AckFrequency:
    """draft-ietf-quic-ack-frequency §4. `requested_max_ack_delay` is microseconds."""

    sequence_number: int
    ack_eliciting_threshold: int
    requested_max_ack_delay: int
    reordering_threshold: int


@dataclass(slots=True)
class ImmediateAck:
    """draft-ietf-quic-ack-frequency §5."""


Frame: TypeAlias = (
    Padding
    | Ping
    | Ack
    | ResetStream
    | StopSending
    | Crypto
    | NewToken
    | Stream
    | MaxData
    | MaxStreamData
    | MaxStreams
    | DataBlocked
    | StreamDataBlocked
    | StreamsBlocked
    | NewConnectionId
    | RetireConnectionId
    | PathChallenge
    | PathResponse
    | ConnectionClose
    | HandshakeDone
    | Datagram
    | AckFrequency
    | ImmediateAck
)


@dataclass(frozen=True, slots=True)
class FrameRules:
    """One row of RFC 9000 §12.4, Table 3.

    `ack_eliciting`: column N. `in_flight`: column C. `probing`: column P.
    """

    name: str
    levels: frozenset[Level]
    ack_eliciting: bool = True
    in_flight: bool = True
    probing: bool = False


_I, _Z, _H, _ONE = Level.INITIAL, Level.ZERO_RTT, Level.HANDSHAKE, Level.ONE_RTT
_EVERYWHERE = frozenset((_I, _Z, _H, _ONE))  # IH01
_NOT_EARLY = frozenset((_I, _H, _ONE))  # IH_1
_DATA = frozenset((_Z, _ONE))  # __01
_ONE_RTT_ONLY = frozenset((_ONE,))  # ___1

_ACK = FrameRules("ACK", _NOT_EARLY, ack_eliciting=False, in_flight=False)
_STREAM = FrameRules("STREAM", _DATA)
_MAX_STREAMS = FrameRules("MAX_STREAMS", _DATA)
_STREAMS_BLOCKED = FrameRules("STREAMS_BLOCKED", _DATA)
_DATAGRAM = FrameRules("DATAGRAM", _DATA)

FRAME_TYPES: Mapping[int, FrameRules] = {
    FrameType.PADDING: FrameRules("PADDING", _EVERYWHERE, ack_eliciting=False, probing=True),
    FrameType.PING: FrameRules("PING", _EVERYWHERE),
    FrameType.ACK: _ACK,
    FrameType.ACK_ECN: _ACK,
    FrameType.RESET_STREAM: FrameRules("RESET_STREAM", _DATA),
    FrameType.STOP_SENDING: FrameRules("STOP_SENDING", _DATA),
    FrameType.CRYPTO: FrameRules("CRYPTO", _NOT_EARLY),
    FrameType.NEW_TOKEN: FrameRules("NEW_TOKEN", _ONE_RTT_ONLY),
    **{FrameType.STREAM | flags: _STREAM for flags in range(8)},
    FrameType.MAX_DATA: FrameRules("MAX_DATA", _DATA),
    FrameType.MAX_STREAM_DATA: FrameRules("MAX_STREAM_DATA", _DATA),
    FrameType.MAX_STREAMS_BIDI: _MAX_STREAMS,
    FrameType.MAX_STREAMS_UNI: _MAX_STREAMS,
    FrameType.DATA_BLOCKED: FrameRules("DATA_BLOCKED", _DATA),
    FrameType.STREAM_DATA_BLOCKED: FrameRules("STREAM_DATA_BLOCKED", _DATA),
    FrameType.STREAMS_BLOCKED_BIDI: _STREAMS_BLOCKED,
    FrameType.STREAMS_BLOCKED_UNI: _STREAMS_BLOCKED,
    FrameType.NEW_CONNECTION_ID: FrameRules("NEW_CONNECTION_ID", _DATA, probing=True),
    FrameType.RETIRE_CONNECTION_ID: FrameRules("RETIRE_CONNECTION_ID", _DATA),
    FrameType.PATH_CHALLENGE: FrameRules("PATH_CHALLENGE", _DATA, probing=True),
    FrameType.PATH_RESPONSE: FrameRules("PATH_RESPONSE", _ONE_RTT_ONLY, probing=True),
    FrameType.CONNECTION_CLOSE: FrameRules("CONNECTION_CLOSE", _EVERYWHERE, ack_eliciting=False),
    FrameType.APPLICATION_CLOSE: FrameRules("CONNECTION_CLOSE", _DATA, ack_eliciting=False),
    FrameType.HANDSHAKE_DONE: FrameRules("HANDSHAKE_DONE", _ONE_RTT_ONLY),
    # RFC 9221 §4 and §5.1: ack-eliciting, in 0-RTT and 1-RTT packets only.
    FrameType.DATAGRAM: _DATAGRAM,
    FrameType.DATAGRAM_LEN: _DATAGRAM,
    # draft-ietf-quic-ack-frequency §3: never in 0-RTT, because min_ack_delay is not remembered.
    FrameType.ACK_FREQUENCY: FrameRules("ACK_FREQUENCY", _ONE_RTT_ONLY),
    FrameType.IMMEDIATE_ACK: FrameRules("IMMEDIATE_ACK", _ONE_RTT_ONLY),
}

# The table by level: `frame_type in PERMITTED_FRAME_TYPES[level]`.
PERMITTED_FRAME_TYPES: tuple[frozenset[int], ...] = tuple(
    frozenset(int(frame_type) for frame_type, rules in FRAME_TYPES.items() if level in rules.levels)
    for level in Level
)

# Those whose type is its own first byte, as the receive path looks for them; the others take a varint.
ONE_BYTE_FRAME_TYPES: tuple[frozenset[int], ...] = tuple(
    frozenset(frame_type for frame_type in permitted if frame_type < 0x40)
    for permitted in PERMITTED_FRAME_TYPES
)
