"""Transport parameters of a peer that breaks the rules (RFC 9000 §7.3, §7.4, §18)."""

from collections.abc import Callable
from typing import Any

import pytest
from conformance.expect import closes_with, is_healthy

from endpoint.config import Config
from endpoint.errors import AlertDescription
from endpoint.errors import TransportErrorCode as Code
from endpoint.level import Level
from endpoint.testing.packets import RawSession
from endpoint.wire.frames import Stream
from endpoint.wire.transport_params import TransportParameters, encode_transport_parameters

SessionMaker = Callable[..., RawSession]


def changed(**values: Any) -> Callable[[TransportParameters], bytes]:
    """An encoder that overwrites parameters; None leaves one out."""

    def encode(params: TransportParameters) -> bytes:
        for name, value in values.items():
            setattr(params, name, value)
        return encode_transport_parameters(params)

    return encode


def with_extra(extra: bytes) -> Callable[[TransportParameters], bytes]:
    return lambda params: encode_transport_parameters(params) + extra


WRONG_IN_BOTH = {
    "initial_source_connection_id is missing": changed(initial_source_connection_id=None),
    "initial_source_connection_id is wrong": changed(initial_source_connection_id=b"somebody"),
    "initial_source_connection_id is empty": changed(initial_source_connection_id=b""),
    "max_udp_payload_size below 1200": changed(max_udp_payload_size=1199),
    "ack_delay_exponent above 20": changed(ack_delay_exponent=21),
    "max_ack_delay of 2^14": changed(max_ack_delay=1 << 14),
    "active_connection_id_limit below 2": changed(active_connection_id_limit=1),
    "initial_max_streams_bidi above 2^60": changed(initial_max_streams_bidi=(1 << 60) + 1),
    "initial_max_streams_uni above 2^60": changed(initial_max_streams_uni=(1 << 60) + 1),
    "a parameter twice": with_extra(b"\x01\x01\x05"),
    "an unknown parameter twice": with_extra(b"\x39\x00\x39\x00"),
    "an integer that is longer than its field": with_extra(b"\x0b\x02\x05\x05"),
    "a flag with a value": with_extra(b"\x0c\x01\x01"),
    "cut short": with_extra(b"\x39\x05ab"),
    "retry_source_connection_id without a Retry": changed(retry_source_connection_id=b"retryscid"),
}
WRONG_IN_A_SERVER = {
    "original_destination_connection_id is missing": changed(original_destination_connection_id=None),
    "original_destination_connection_id is wrong": changed(original_destination_connection_id=b"somebody"),
    "stateless_reset_token of 15 bytes": lambda params: (
        changed(stateless_reset_token=None)(params) + b"\x02\x0f" + bytes(15)
    ),
    "preferred_address cut short": with_extra(b"\x0d\x04abcd"),
}
WRONG_IN_A_CLIENT = {
    "original_destination_connection_id": changed(original_destination_connection_id=bytes(8)),
    "stateless_reset_token": changed(stateless_reset_token=bytes(16)),
    "preferred_address": with_extra(b"\x0d\x29" + bytes(24) + b"\x00" + bytes(16)),
}


@pytest.mark.parametrize("case", WRONG_IN_BOTH)
def test_violation(new_session: SessionMaker, role: str, case: str) -> None:
    session = new_session(role, encode=WRONG_IN_BOTH[case])
    session.handshake()
    closes_with(session, Code.TRANSPORT_PARAMETER_ERROR)
    assert len(session.events) == 1, "nothing is told of a handshake that failed"


@pytest.mark.parametrize("case", WRONG_IN_A_SERVER)
def test_violation_by_a_server(new_session: SessionMaker, case: str) -> None:
    session = new_session("client", encode=WRONG_IN_A_SERVER[case])
    session.handshake()
    closes_with(session, Code.TRANSPORT_PARAMETER_ERROR)


@pytest.mark.parametrize("case", WRONG_IN_A_CLIENT)
def test_parameter_only_a_server_sends(new_session: SessionMaker, case: str) -> None:
    session = new_session("server", encode=WRONG_IN_A_CLIENT[case])
    session.handshake()
    closes_with(session, Code.TRANSPORT_PARAMETER_ERROR)


def test_violation_in_a_reordered_flight(new_session: SessionMaker) -> None:
    """The handshake completes in one step with the packets that waited; the check comes first."""
    session = new_session("client", encode=changed(original_destination_connection_id=b"somebody"))
    session.collect()
    session.deliver(*reversed(session.raw.flight()))
    closes_with(session, Code.TRANSPORT_PARAMETER_ERROR)
    assert len(session.events) == 1


def test_reserved_and_unknown_parameters(new_session: SessionMaker, role: str) -> None:
    """RFC 9000 §7.4.2: ignored; 27 is of the form 31 * N + 27 that is reserved to exercise this."""
    session = new_session(role, encode=with_extra(b"\x1b\x03abc\x7f\xff\x00"))
    session.handshake()
    is_healthy(session)


@pytest.mark.parametrize(
    "values",
    [
        {"ack_delay_exponent": 20, "max_ack_delay": (1 << 14) - 1},
        {"max_udp_payload_size": 1200, "active_connection_id_limit": 2},
        {"initial_max_streams_bidi": 1 << 60, "initial_max_streams_uni": 1 << 60},
        {"max_idle_timeout": (1 << 62) - 1, "initial_max_data": (1 << 62) - 1},
    ],
)
def test_extreme_values(new_session: SessionMaker, role: str, values: dict[str, int]) -> None:
    session = new_session(role, encode=changed(**values))
    session.handshake()
    is_healthy(session)


def test_parameters_are_required(new_session: SessionMaker) -> None:
    """RFC 9001 §8.2: a ClientHello without the extension is refused with missing_extension.

    Here its type, 0x0039, becomes an unknown one.
    """
    session = new_session("server")
    [(level, hello)] = session.raw.tls.take_output()
    at = hello.rindex(b"\x00\x39", 0, hello.index(session.raw.cid))
    hello = hello[:at] + b"\xfa\xfa" + hello[at + 2 :]
    session.deliver(session.raw.datagram(level, session.raw.crypto(level, hello)))
    closes_with(session, 0x100 + AlertDescription.MISSING_EXTENSION)


def test_datagrams_respect_max_udp_payload_size(new_session: SessionMaker) -> None:
    session = new_session(
        "server", encode=changed(max_udp_payload_size=1210), config=Config(max_udp_payload_size=1452)
    )
    session.handshake()
    session.send(Level.ONE_RTT, Stream(0, 0, b"x", True))
    session.connection.write(0, bytes(100_000), fin=True)
    sizes = [len(datagram) for datagram in session.collect()]
    assert max(sizes) == 1210
    assert len(sizes) > 3
