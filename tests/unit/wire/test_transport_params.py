"""RFC 9000 §18 and the parameters of RFC 9221, 9287, 9368 and the ack-frequency draft."""

import pytest

from endpoint.errors import TransportError, TransportErrorCode
from endpoint.wire.transport_params import (
    PARAMETERS,
    PreferredAddress,
    TransportParameters,
    VersionInformation,
    decode_transport_parameters,
    encode_transport_parameters,
)
from endpoint.wire.varint import VARINT_MAX, encode_varint
from endpoint.wire.version import QUIC_V1, QUIC_V2

TOKEN = bytes(range(16))
ADDRESS = bytes.fromhex("c0000201 01bb 20010db8000000000000000000000001 1151")


def parameter(identifier: int, content: bytes) -> bytes:
    return encode_varint(identifier) + encode_varint(len(content)) + content


def integer(identifier: int, value: int) -> bytes:
    return parameter(identifier, encode_varint(value))


def decode(data: bytes, *, from_client: bool = False) -> TransportParameters:
    return decode_transport_parameters(data, from_client=from_client)


def assert_refused(data: bytes, *, from_client: bool = False) -> None:
    with pytest.raises(TransportError) as caught:
        decode(data, from_client=from_client)
    assert caught.value.code == TransportErrorCode.TRANSPORT_PARAMETER_ERROR


def test_defaults_of_the_rfc() -> None:
    params = decode(b"")
    assert params == TransportParameters()
    assert params.max_udp_payload_size == 65527
    assert (params.ack_delay_exponent, params.max_ack_delay) == (3, 25)
    assert params.active_connection_id_limit == 2
    assert (params.initial_max_data, params.initial_max_streams_bidi, params.max_idle_timeout) == (0, 0, 0)
    assert (params.max_datagram_frame_size, params.min_ack_delay) == (0, None)
    assert encode_transport_parameters(params) == b""


def test_every_parameter_by_hand() -> None:
    preferred = parameter(0x0D, ADDRESS + b"\x02id" + TOKEN)
    versions = QUIC_V1.to_bytes(4, "big") + QUIC_V2.to_bytes(4, "big") + QUIC_V1.to_bytes(4, "big")
    data = b"".join(
        (
            parameter(0x00, b"original"),
            integer(0x01, 30_000),
            parameter(0x02, TOKEN),
            *(integer(identifier, 1200 + identifier) for identifier in range(0x03, 0x0A)),
            integer(0x0A, 20),
            integer(0x0B, 16_383),
            parameter(0x0C, b""),
            preferred,
            integer(0x0E, 8),
            parameter(0x0F, b""),
            parameter(0x10, bytes(20)),
            parameter(0x11, versions),
            integer(0x20, 65_535),
            parameter(0x2AB2, b""),
            integer(0xFF04DE1B, 1000),
        )
    )
    params = TransportParameters(
        original_destination_connection_id=b"original",
        max_idle_timeout=30_000,
        stateless_reset_token=TOKEN,
        max_udp_payload_size=1203,
        initial_max_data=1204,
        initial_max_stream_data_bidi_local=1205,
        initial_max_stream_data_bidi_remote=1206,
        initial_max_stream_data_uni=1207,
        initial_max_streams_bidi=1208,
        initial_max_streams_uni=1209,
        ack_delay_exponent=20,
        max_ack_delay=16_383,
        disable_active_migration=True,
        preferred_address=PreferredAddress(("192.0.2.1", 443), ("2001:db8::1", 4433), b"id", TOKEN),
        active_connection_id_limit=8,
        initial_source_connection_id=b"",
        retry_source_connection_id=bytes(20),
        version_information=VersionInformation(QUIC_V1, (QUIC_V2, QUIC_V1)),
        max_datagram_frame_size=65_535,
        grease_quic_bit=True,
        min_ack_delay=1000,
    )
    assert decode(data) == params
    assert encode_transport_parameters(params) == data


def test_order_of_arrival_does_not_matter_and_unknown_ones_are_kept_by_id() -> None:
    data = integer(0x0E, 5) + parameter(31 * 7 + 27, b"grease") + integer(0x01, 9) + parameter(0x7FFF, b"")
    params = decode(data, from_client=True)
    assert (params.active_connection_id_limit, params.max_idle_timeout) == (5, 9)
    assert params.unknown == [31 * 7 + 27, 0x7FFF]
    assert encode_transport_parameters(params) == integer(0x01, 9) + integer(0x0E, 5)


def test_integer_in_a_longer_encoding_is_fine() -> None:
    assert decode(parameter(0x04, bytes.fromhex("c000000000000007"))).initial_max_data == 7


@pytest.mark.parametrize(
    ("identifier", "lowest", "highest"),
    [
        (0x03, 1200, VARINT_MAX),
        (0x08, 0, 1 << 60),
        (0x09, 0, 1 << 60),
        (0x0A, 0, 20),
        (0x0B, 0, (1 << 14) - 1),
        (0x0E, 2, VARINT_MAX),
    ],
)
def test_limits(identifier: int, lowest: int, highest: int) -> None:
    name = PARAMETERS[identifier].name
    for value in (lowest, highest):
        assert getattr(decode(integer(identifier, value)), name) == value
    if lowest:
        assert_refused(integer(identifier, lowest - 1))
    if highest < VARINT_MAX:
        assert_refused(integer(identifier, highest + 1))


@pytest.mark.parametrize(
    "data",
    [
        parameter(0x00, b"original"),
        parameter(0x02, TOKEN),
        parameter(0x0D, ADDRESS + b"\x02id" + TOKEN),
        parameter(0x10, b"retry"),
    ],
)
def test_server_only_parameters(data: bytes) -> None:
    assert_refused(data, from_client=True)
    decode(data)


@pytest.mark.parametrize("identifier", sorted(PARAMETERS))
def test_content_of_a_wrong_length(identifier: int) -> None:
    # No parameter that we know is 300 bytes long, or 301.
    assert_refused(parameter(identifier, b"\x01" + bytes(299)))
    assert_refused(parameter(identifier, b"\x01" + bytes(300)))


@pytest.mark.parametrize(
    "data",
    [
        b"\x01",  # length missing
        b"\x40",  # identifier cut
        b"\x01\x40",  # length cut
        b"\x01\x02\x00",  # value cut
        b"\x01" + encode_varint(VARINT_MAX) + b"\x00",
        parameter(0x01, b""),
        parameter(0x01, b"\x40"),
        parameter(0x01, b"\x05\x00"),  # trailing byte
        parameter(0x02, TOKEN[1:]),
        parameter(0x0C, b"\x00"),
        parameter(0x0F, bytes(21)),
        parameter(0x0D, ADDRESS + b"\x00" + TOKEN),
        parameter(0x0D, ADDRESS + b"\x15" + bytes(21) + TOKEN),
        parameter(0x0D, ADDRESS + b"\x02id" + TOKEN + b"\x00"),
        parameter(0x0D, ADDRESS + b"\x03id" + TOKEN),
        parameter(0x0D, ADDRESS),
        parameter(0x0D, b""),
        parameter(0x11, b""),
        parameter(0x11, b"\x00\x00\x01"),
        parameter(0x11, bytes(4)),
        parameter(0x11, b"\x00\x00\x00\x01" + bytes(4)),
        integer(0x01, 5) + integer(0x01, 5),
        parameter(0x7FFF, b"") + parameter(0x7FFF, b""),
        integer(0xFF04DE1B, 25_001),
        integer(0xFF04DE1B, 2001) + integer(0x0B, 2),
    ],
)
def test_refused(data: bytes) -> None:
    assert_refused(data)


def test_min_ack_delay_is_compared_in_microseconds() -> None:
    assert decode(integer(0xFF04DE1B, 25_000)).min_ack_delay == 25_000
    assert decode(integer(0xFF04DE1B, 0)).min_ack_delay == 0


def test_only_a_client_must_list_its_chosen_version() -> None:
    data = parameter(0x11, QUIC_V1.to_bytes(4, "big") + QUIC_V2.to_bytes(4, "big"))
    assert decode(data).version_information == VersionInformation(QUIC_V1, (QUIC_V2,))
    assert_refused(data, from_client=True)
    assert_refused(parameter(0x11, QUIC_V1.to_bytes(4, "big")), from_client=True)
    assert decode(parameter(0x11, QUIC_V1.to_bytes(4, "big"))).version_information is not None


def test_preferred_address_of_one_family() -> None:
    v4 = decode(parameter(0x0D, ADDRESS[:6] + bytes(18) + b"\x01i" + TOKEN)).preferred_address
    assert v4 == PreferredAddress(("192.0.2.1", 443), None, b"i", TOKEN)
    v6 = decode(parameter(0x0D, bytes(6) + ADDRESS[6:] + b"\x01i" + TOKEN)).preferred_address
    assert v6 == PreferredAddress(None, ("2001:db8::1", 4433), b"i", TOKEN)


def test_parameters_that_an_empty_value_makes_different_from_absent() -> None:
    params = TransportParameters(initial_source_connection_id=b"", min_ack_delay=0)
    assert decode(encode_transport_parameters(params)) == params
    assert encode_transport_parameters(params).startswith(b"\x0f\x00")
