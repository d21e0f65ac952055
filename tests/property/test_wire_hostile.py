"""Whatever bytes arrive, the parsers answer with values or with the protocol's own exceptions."""

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from endpoint.errors import TransportError, TransportErrorCode
from endpoint.level import Level
from endpoint.wire.frame_parser import iter_frames
from endpoint.wire.frame_writer import append_frame
from endpoint.wire.frames import (
    Ack,
    AckFrequency,
    ConnectionClose,
    Crypto,
    Datagram,
    Frame,
    MaxStreams,
    NewConnectionId,
    NewToken,
    PathChallenge,
    Ping,
    Stream,
)
from endpoint.wire.header import (
    HeaderError,
    PacketType,
    append_long_header,
    encode_retry,
    encode_version_negotiation,
    finish_long_header,
    parse_long_header,
)
from endpoint.wire.transport_params import (
    PARAMETERS,
    PreferredAddress,
    TransportParameters,
    VersionInformation,
    decode_transport_parameters,
    encode_transport_parameters,
)
from endpoint.wire.varint import encode_varint
from endpoint.wire.version import VERSIONS

# The same examples on every run; no deadline, because the machine may be busy.
REPEATABLE = settings(max_examples=300, deadline=None, derandomize=True)

FRAME_ERRORS = (TransportErrorCode.FRAME_ENCODING_ERROR, TransportErrorCode.PROTOCOL_VIOLATION)
SEED_FRAMES: list[Frame] = [
    Ping(),
    Ack(1000, 77, [(990, 1000), (900, 980), (0, 3)], (1, 2, 70000)),
    Crypto(300, b"crypto" * 4),
    NewToken(b"token"),
    Stream(4, 100_000, b"data" * 5, True),
    MaxStreams(1 << 60, True),
    NewConnectionId(70, 3, b"connection", bytes(16)),
    PathChallenge(bytes(8)),
    ConnectionClose(7, 6, "because"),
    AckFrequency(7, 64, 5000, 3),
    Datagram(b"datagram"),
]


def seed_payload() -> bytes:
    out = bytearray()
    for frame in SEED_FRAMES:
        append_frame(out, frame)
    return bytes(out)


def seed_datagrams() -> list[bytes]:
    datagrams = []
    for params in VERSIONS.values():
        for packet_type in (PacketType.INITIAL, PacketType.ZERO_RTT, PacketType.HANDSHAKE):
            out = bytearray()
            length_offset = append_long_header(
                out, params, packet_type, b"destination", b"source", b"token", 9, 2
            )
            out += bytes(24)
            finish_long_header(out, length_offset, len(out))
            datagrams.append(bytes(out))
        datagrams.append(encode_retry(params, b"destination", b"source", b"token", 5) + bytes(16))
    datagrams.append(encode_version_negotiation(b"destination", b"source", tuple(VERSIONS), 5))
    return datagrams


SEED_PARAMETERS = encode_transport_parameters(
    TransportParameters(
        original_destination_connection_id=b"original",
        max_idle_timeout=30_000,
        stateless_reset_token=bytes(16),
        initial_max_streams_bidi=100,
        disable_active_migration=True,
        preferred_address=PreferredAddress(("192.0.2.1", 1), None, b"id", bytes(16)),
        version_information=VersionInformation(1, (1, 2)),
        min_ack_delay=5,
    )
)


@st.composite
def mutated(draw: st.DrawFn, seed: bytes) -> bytes:
    """The seed with a few bytes changed, and cut or extended."""
    content = bytearray(seed)
    for _ in range(draw(st.integers(1, 4))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    cut = draw(st.integers(0, len(content)))
    return bytes(content[:cut]) if draw(st.booleans()) else bytes(content) + draw(st.binary(max_size=8))


# Bytes that are likely to be frame types, and small values, make longer sequences of valid frames.
frame_like = st.lists(st.sampled_from([*range(0x20), 0x30, 0x31, 0x40, 0x80, 0xC0, 0xFF]), max_size=60).map(
    bytes
)


@REPEATABLE
@given(st.binary(max_size=100) | frame_like | mutated(seed_payload()), st.sampled_from(Level))
def test_frames(payload: bytes, level: Level) -> None:
    position_independent = []
    for buf, pos in ((payload, 0), (memoryview(b"\xff" * 5 + payload + b"\x00" * 9), 5)):
        seen: list[Frame | tuple[int, int]] = []
        try:
            seen.extend(iter_frames(buf, pos, pos + len(payload), level))
        except TransportError as error:
            if error.code not in FRAME_ERRORS:
                raise
            seen.append((error.code, error.frame_type))
        position_independent.append(seen)
    # Bytes before and behind the payload make no difference.
    assert position_independent[0] == position_independent[1]


@REPEATABLE
@given(frame_like | mutated(seed_payload()))
def test_frames_that_were_read_can_be_written(payload: bytes) -> None:
    read: list[Frame] = []
    with suppress(TransportError):
        for frame in iter_frames(payload, 0, len(payload), Level.ONE_RTT):
            read.append(frame)  # noqa: PERF402 - extend() would lose what came before the error
    out = bytearray()
    for frame in read:
        append_frame(out, frame)
    if read:
        assert list(iter_frames(out, 0, len(out), Level.ONE_RTT)) == read


@REPEATABLE
@given(
    st.binary(min_size=1, max_size=80)
    | st.tuples(st.sampled_from(sorted(VERSIONS)), st.integers(0, 0x7F), st.binary(max_size=60)).map(
        lambda parts: bytes((0x80 | parts[1],)) + parts[0].to_bytes(4, "big") + parts[2]
    )
    | st.sampled_from(seed_datagrams()).flatmap(mutated)
)
def test_long_header(datagram: bytes) -> None:
    end = len(datagram)
    try:
        header = parse_long_header(datagram, 0, end)
    except HeaderError:
        return
    assert 0 <= header.pn_offset <= header.packet_end <= end
    # A receiver that goes on with the next coalesced packet always moves.
    assert header.packet_end > 0
    assert datagram[6 : 6 + len(header.dcid)] == header.dcid
    if header.type is not None and header.type is not PacketType.VERSION_NEGOTIATION:
        assert len(header.dcid) <= 20
        assert len(header.scid) <= 20


@st.composite
def parameter_like(draw: st.DrawFn) -> bytes:
    """Known and unknown identifiers with contents of a right length but any value."""
    out = b""
    for _ in range(draw(st.integers(0, 6))):
        identifier = draw(st.sampled_from([*PARAMETERS, 27, 0x7FFF]))
        content = draw(st.binary(max_size=3) | st.binary(min_size=16, max_size=16) | st.binary(max_size=60))
        out += encode_varint(identifier) + encode_varint(len(content)) + content
    return out


@REPEATABLE
@given(st.binary(max_size=60) | parameter_like() | mutated(SEED_PARAMETERS), st.booleans())
def test_transport_parameters(data: bytes, from_client: bool) -> None:
    try:
        params = decode_transport_parameters(data, from_client=from_client)
    except TransportError as error:
        if error.code != TransportErrorCode.TRANSPORT_PARAMETER_ERROR:
            raise
        return
    again = decode_transport_parameters(encode_transport_parameters(params), from_client=from_client)
    params.unknown.clear()
    assert again == params
