"""Every codec of endpoint.wire gives back what it was given."""

from hypothesis import given, settings
from hypothesis import strategies as st

from endpoint.level import Level
from endpoint.wire.frame_parser import iter_frames
from endpoint.wire.frame_writer import append_ack, append_frame
from endpoint.wire.frames import (
    Ack,
    AckFrequency,
    ConnectionClose,
    Crypto,
    DataBlocked,
    Datagram,
    Frame,
    HandshakeDone,
    ImmediateAck,
    MaxData,
    MaxStreamData,
    MaxStreams,
    NewConnectionId,
    NewToken,
    Padding,
    PathChallenge,
    PathResponse,
    Ping,
    ResetStream,
    RetireConnectionId,
    StopSending,
    Stream,
    StreamDataBlocked,
    StreamsBlocked,
)
from endpoint.wire.header import (
    PacketType,
    append_long_header,
    finish_long_header,
    parse_long_header,
)
from endpoint.wire.packet_number import decode_packet_number, packet_number_length
from endpoint.wire.transport_params import (
    PreferredAddress,
    TransportParameters,
    VersionInformation,
    decode_transport_parameters,
    encode_transport_parameters,
)
from endpoint.wire.varint import VARINT_MAX, append_varint, encode_varint, read_varint, varint_length
from endpoint.wire.version import VERSIONS

# The same examples on every run; no deadline, because the machine may be busy.
REPEATABLE = settings(max_examples=100, deadline=None, derandomize=True)

# Evenly over the four lengths, with the ends of each.
integers = st.one_of(*(st.integers(0, (1 << bits) - 1) for bits in (6, 14, 30, 62)))
offsets = integers.map(lambda value: min(value, VARINT_MAX - 100))
data = st.binary(max_size=80)
cids = st.binary(max_size=20)
tokens = st.binary(min_size=16, max_size=16)
stream_counts = st.integers(0, 1 << 60)


@st.composite
def ack_ranges(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Descending inclusive ranges that neither touch nor overlap, built upwards from the smallest."""
    steps = draw(
        st.lists(st.tuples(st.integers(2, 1 << 20), st.integers(0, 1 << 20)), min_size=1, max_size=90)
    )
    ranges: list[tuple[int, int]] = []
    position = draw(st.integers(-2, 1 << 20))
    for gap, length in steps:
        smallest = position + gap
        position = smallest + length
        ranges.append((smallest, position))
    return ranges[::-1]


@st.composite
def acks(draw: st.DrawFn) -> Ack:
    ranges = draw(ack_ranges())
    ecn = draw(st.none() | st.tuples(integers, integers, integers))
    return Ack(ranges[0][1], draw(integers), ranges, ecn)


@st.composite
def new_connection_ids(draw: st.DrawFn) -> NewConnectionId:
    sequence_number = draw(integers)
    retire_prior_to = draw(st.integers(0, sequence_number))
    return NewConnectionId(
        sequence_number, retire_prior_to, draw(st.binary(min_size=1, max_size=20)), draw(tokens)
    )


frames: st.SearchStrategy[Frame] = st.one_of(
    st.just(Ping()),
    st.just(HandshakeDone()),
    acks(),
    st.builds(ResetStream, integers, integers, integers),
    st.builds(StopSending, integers, integers),
    st.builds(Crypto, offsets, data),
    st.builds(NewToken, st.binary(min_size=1, max_size=80)),
    st.builds(Stream, integers, offsets, data, st.booleans()),
    st.builds(MaxData, integers),
    st.builds(MaxStreamData, integers, integers),
    st.builds(MaxStreams, stream_counts, st.booleans()),
    st.builds(DataBlocked, integers),
    st.builds(StreamDataBlocked, integers, integers),
    st.builds(StreamsBlocked, stream_counts, st.booleans()),
    new_connection_ids(),
    st.builds(RetireConnectionId, integers),
    st.builds(PathChallenge, st.binary(min_size=8, max_size=8)),
    st.builds(PathResponse, st.binary(min_size=8, max_size=8)),
    st.builds(ConnectionClose, integers, st.none() | integers, st.text(max_size=30)),
    st.builds(Datagram, data),
    st.builds(AckFrequency, integers, integers, integers, integers),
    st.just(ImmediateAck()),
)


@REPEATABLE
@given(integers)
def test_varint(value: int) -> None:
    encoded = encode_varint(value)
    assert len(encoded) == varint_length(value)
    assert read_varint(b"?" + encoded + b"?", 1, 1 + len(encoded)) == (value, 1 + len(encoded))
    out = bytearray(b"?")
    append_varint(out, value)
    assert out == b"?" + encoded


@REPEATABLE
@given(st.data())
def test_packet_number(source: st.DataObject) -> None:
    """Whatever of the unacknowledged packets the peer expects next, it decodes the number rightly."""
    largest_acked = source.draw(st.integers(-1, (1 << 62) - 2))
    pn = largest_acked + source.draw(st.integers(1, min(1 << 31, VARINT_MAX - largest_acked)))
    length = packet_number_length(pn, largest_acked)
    truncated = pn & ((1 << 8 * length) - 1)
    expected_pn = source.draw(st.integers(largest_acked + 1, pn))
    assert decode_packet_number(truncated, length, expected_pn) == pn


@REPEATABLE
@given(st.lists(frames | st.builds(Padding, st.integers(1, 40)), min_size=1, max_size=8))
def test_frames(sent: list[Frame]) -> None:
    out = bytearray()
    for frame in sent:
        append_frame(out, frame)
    received = list(iter_frames(out, 0, len(out), Level.ONE_RTT))
    assert _merge_padding(received) == _merge_padding(sent)


def _merge_padding(sequence: list[Frame]) -> list[Frame]:
    merged: list[Frame] = []
    for frame in sequence:
        if isinstance(frame, Padding) and merged and isinstance(merged[-1], Padding):
            merged[-1] = Padding(merged[-1].length + frame.length)
        else:
            merged.append(frame)
    return merged


@REPEATABLE
@given(acks(), st.integers(0, 400))
def test_ack_cut_to_a_size(ack: Ack, max_bytes: int) -> None:
    out = bytearray()
    count = append_ack(out, ack.ranges, ack.ack_delay, ack.ecn, max_bytes)
    assert len(out) <= max_bytes
    if count:
        expected = Ack(ack.largest_acknowledged, ack.ack_delay, ack.ranges[:count], ack.ecn)
        assert list(iter_frames(out, 0, len(out), Level.INITIAL)) == [expected]
    if count < len(ack.ranges):
        # One range more would not have fitted.
        longer = bytearray()
        append_ack(longer, ack.ranges[: count + 1], ack.ack_delay, ack.ecn, VARINT_MAX)
        assert len(longer) > max_bytes


@REPEATABLE
@given(
    st.sampled_from(sorted(VERSIONS)),
    st.sampled_from((PacketType.INITIAL, PacketType.ZERO_RTT, PacketType.HANDSHAKE)),
    cids,
    cids,
    data,
    st.integers(0, VARINT_MAX),
    st.integers(1, 4),
    st.integers(1, 1500),
)
def test_long_header(
    version: int,
    packet_type: PacketType,
    dcid: bytes,
    scid: bytes,
    token: bytes,
    pn: int,
    pn_length: int,
    payload: int,
) -> None:
    out = bytearray()
    params = VERSIONS[version]
    length_offset = append_long_header(out, params, packet_type, dcid, scid, token, pn, pn_length)
    pn_bytes = bytes(out[-pn_length:])
    out += bytes(payload)
    finish_long_header(out, length_offset, len(out))
    header = parse_long_header(out + b"next", 0, len(out) + 4)
    assert (header.version, header.type, header.dcid, header.scid) == (version, packet_type, dcid, scid)
    assert header.token == (token if packet_type is PacketType.INITIAL else b"")
    assert header.packet_end == len(out)
    assert out[header.pn_offset : header.pn_offset + pn_length] == pn_bytes
    assert int.from_bytes(pn_bytes, "big") == pn % (1 << 8 * pn_length)
    assert header.first_byte & 0x03 == pn_length - 1


addresses_v4 = st.none() | st.tuples(st.ip_addresses(v=4).map(str), st.integers(1, 65535))
addresses_v6 = st.none() | st.tuples(st.ip_addresses(v=6).map(str), st.integers(1, 65535))
versions = st.integers(1, (1 << 32) - 1)
client_parameters = {
    "max_idle_timeout": integers,
    "max_udp_payload_size": st.integers(1200, VARINT_MAX),
    "initial_max_data": integers,
    "initial_max_stream_data_bidi_local": integers,
    "initial_max_stream_data_bidi_remote": integers,
    "initial_max_stream_data_uni": integers,
    "initial_max_streams_bidi": stream_counts,
    "initial_max_streams_uni": stream_counts,
    "ack_delay_exponent": st.integers(0, 20),
    "max_ack_delay": st.integers(10, (1 << 14) - 1),
    "disable_active_migration": st.booleans(),
    "active_connection_id_limit": st.integers(2, VARINT_MAX),
    "initial_source_connection_id": st.none() | cids,
    "version_information": st.none()
    | st.lists(versions, min_size=1, max_size=5).map(lambda all_: VersionInformation(all_[-1], tuple(all_))),
    "max_datagram_frame_size": integers,
    "grease_quic_bit": st.booleans(),
    "min_ack_delay": st.none() | st.integers(0, 10_000),
}
server_parameters = client_parameters | {
    "original_destination_connection_id": st.none() | cids,
    "stateless_reset_token": st.none() | tokens,
    "preferred_address": st.none()
    | st.builds(PreferredAddress, addresses_v4, addresses_v6, st.binary(min_size=1, max_size=20), tokens),
    "retry_source_connection_id": st.none() | cids,
    "version_information": st.none()
    | st.builds(VersionInformation, versions, st.lists(versions, max_size=5).map(tuple)),
}


@REPEATABLE
@given(st.builds(TransportParameters, **client_parameters))
def test_transport_parameters_of_a_client(params: TransportParameters) -> None:
    encoded = encode_transport_parameters(params)
    assert decode_transport_parameters(encoded, from_client=True) == params


@REPEATABLE
@given(st.builds(TransportParameters, **server_parameters))
def test_transport_parameters_of_a_server(params: TransportParameters) -> None:
    encoded = encode_transport_parameters(params)
    assert decode_transport_parameters(encoded, from_client=False) == params
