"""Greased values, holes in packet numbers, and clients at ports that no client has."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from endpoint.batch import RecvBatch
from endpoint.config import Config
from endpoint.errors import TransportErrorCode
from endpoint.level import Level
from endpoint.testing.apps import ContentServer, Download
from endpoint.testing.link import RUNNER, SERVER_ADDRESS
from endpoint.testing.packets import RawSession, generous_parameters, raw_client_session, raw_server_session
from endpoint.testing.scenario import Scenario
from endpoint.transport.reflection import REFLECTION_PORTS
from endpoint.wire.frames import Ack, Ping, Stream
from endpoint.wire.header import FIXED_BIT, LONG_HEADER_FORM
from endpoint.wire.transport_params import (
    TransportParameters,
    decode_transport_parameters,
)
from endpoint.wire.version import is_reserved_version

MEBIBYTE = 1 << 20
PLAIN = Config(grease=False)


def fixed_bits(datagrams: list[bytes], *, long: bool) -> set[bool]:
    """The values of the fixed bit in first packets with long or short headers."""
    return {bool(data[0] & FIXED_BIT) for data in datagrams if bool(data[0] & LONG_HEADER_FORM) == long}


# The fixed bit (RFC 9287).


@pytest.mark.parametrize("loss", [0.0, 0.05])
def test_both_values_of_the_fixed_bit_are_sent_and_taken(scenario: Scenario, loss: float) -> None:
    scenario.up = replace(RUNNER, loss=loss)
    pair, _ = scenario.download(Download(sizes=[MEBIBYTE], upload=100_000), deadline=30.0)
    for from_client in (True, False):
        sent = [captured.data for captured in pair.network.captured if captured.from_client is from_client]
        assert fixed_bits(sent, long=False) == {True, False}
        assert fixed_bits(sent, long=True) == {True}


@pytest.mark.parametrize(
    ("client", "server"), [(PLAIN, Config()), (Config(), PLAIN)], ids=["client", "server"]
)
def test_the_bit_stays_where_one_side_does_not_grease(
    scenario: Scenario, client: Config, server: Config
) -> None:
    scenario.client_config, scenario.server_config = client, server
    pair, _ = scenario.download(Download(sizes=[200_000], upload=100_000), deadline=30.0)
    assert fixed_bits([captured.data for captured in pair.network.captured], long=False) == {True}


@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("mixed", [False, True])
def test_packets_without_the_bit_are_taken(scenario: Scenario, count: int, mixed: bool) -> None:
    """One by one and as a run, whose packets may differ."""
    session = raw_client_session(scenario.chain, scenario.wall_time)
    session.handshake()
    packets = [
        session.raw.packet(
            Level.ONE_RTT,
            Stream(0, 100 * number, bytes(100), False),
            flip=0 if mixed and number % 2 else FIXED_BIT,
            fill_to=140,
        )
        for number in range(count)
    ]
    session.deliver(*packets, batch=True)
    assert session.closed is None
    data, _ = session.connection.read(0)
    assert len(data) == 100 * count


# Transport parameters and versions.


def parameters_of(session: RawSession) -> TransportParameters:
    """What the endpoint has sent to its raw peer."""
    data = session.raw.tls.peer_transport_parameters
    assert data is not None
    return decode_transport_parameters(data, from_client=not session.raw.is_client)


@pytest.mark.parametrize("make", [raw_client_session, raw_server_session])
def test_reserved_parameter_and_version(scenario: Scenario, make: Callable[..., RawSession]) -> None:
    seen = set()
    for seed in range(1, 9):
        session = make(scenario.chain, scenario.wall_time, seed=seed)
        session.handshake()
        params = parameters_of(session)
        assert params.grease_quic_bit
        assert [identifier % 31 for identifier in params.unknown] == [27]
        seen.update(params.unknown)
        assert params.version_information is not None
        versions = params.version_information.available_versions
        assert [is_reserved_version(version) for version in versions] == [False, False, True]
    assert len(seen) > 4, "always the same"


@pytest.mark.parametrize("make", [raw_client_session, raw_server_session])
def test_without_grease(scenario: Scenario, make: Callable[..., RawSession]) -> None:
    session = make(scenario.chain, scenario.wall_time, config=PLAIN)
    session.handshake()
    params = parameters_of(session)
    assert not params.grease_quic_bit
    assert params.unknown == []
    assert params.version_information is not None
    assert params.version_information.available_versions == PLAIN.versions


# Holes in packet numbers (RFC 9000 §21.4).


def upload_session(scenario: Scenario) -> RawSession:
    """A client after the handshake that sends as much as the window admits to a raw server."""
    session = raw_server_session(scenario.chain, scenario.wall_time)
    session.handshake()
    stream_id = session.connection.open_stream()
    session.connection.write(stream_id, bytes(1 << 19))
    session.collect()
    return session


def numbers(session: RawSession) -> list[int]:
    return sorted(packet.pn for packet in session.raw.packets if packet.level is Level.ONE_RTT)


def test_numbers_are_left_out_and_their_ack_is_a_violation(scenario: Scenario) -> None:
    session = upload_session(scenario)
    while len(numbers(session)) < 200:
        session.now += 0.05
        session.send(Level.ONE_RTT, session.raw.ack(Level.ONE_RTT), Ping())
        session.advance(0.05)
    sent = numbers(session)
    holes = sorted(set(range(sent[-1])) - set(sent))
    assert 1 <= len(holes) <= 3
    assert session.connection.packets_sent == len(session.raw.packets)
    assert session.closed is None
    session.send(Level.ONE_RTT, Ack(sent[-1], 0, [(0, sent[-1])], None))
    closed = session.closed
    assert closed is not None
    assert closed.error_code == TransportErrorCode.PROTOCOL_VIOLATION


def test_holes_do_no_harm(scenario: Scenario) -> None:
    scenario.up = replace(RUNNER, loss=0.01)
    pair, _ = scenario.download(Download(sizes=[MEBIBYTE], upload=MEBIBYTE // 2), deadline=60.0)
    for end in (pair.client, pair.server):
        assert not end.connection.is_closing


# Ports of reflection victims.


@pytest.mark.parametrize("port", [0, 17, 19, 53, 123, 161, 389, 1900, 5353, 11211])
@pytest.mark.parametrize("version", [1, 0x1A2A3A4A])
def test_a_client_at_the_port_of_a_service_gets_no_answer(
    scenario: Scenario, port: int, version: int
) -> None:
    assert port in REFLECTION_PORTS
    session = raw_client_session(scenario.chain, scenario.wall_time)
    assert session.listener is not None
    (hello, *_) = session.raw.flight()
    datagram = hello[:1] + version.to_bytes(4, "big") + hello[5:]
    reset = bytes([0x40]) + bytes(range(100))
    for data in (datagram, reset):
        session.listener.receive(RecvBatch.of([data], ("192.0.2.1", port), SERVER_ADDRESS), 0.0)
    assert session.listener.connections == set()
    assert session.collect() == []
    for other in (1, 52, 1023, 50_000):
        session.listener.receive(RecvBatch.of([datagram], ("192.0.2.1", other), SERVER_ADDRESS), 0.0)
        assert session.collect() != [] or session.listener.connections


@pytest.mark.parametrize("port", [1, 53, 1023])
def test_a_connection_may_be_rebound_to_any_port(scenario: Scenario, port: int) -> None:
    scenario.rebindings = [(0.3, ("192.0.2.1", port))]
    pair, _ = scenario.download(Download(sizes=[MEBIBYTE]), deadline=20.0)
    assert pair.server.connection.peer == ("192.0.2.1", port)


def test_defaults_interoperate_with_none_of_it(scenario: Scenario) -> None:
    """A peer that knows none of the extensions, and greases nothing."""
    scenario.client_config = Config(grease=False, ack_frequency=False)
    scenario.server_config = Config(max_datagram_frame_size=65535)
    download = Download(sizes=[200_000])
    pair = scenario.pair(download, ContentServer)
    assert pair.run(lambda: download.done, deadline=20.0)
    assert generous_parameters(b"").max_datagram_frame_size == 0
