"""Stateless reset: who sends it, how often, how large, and who believes it (RFC 9000 §10.3)."""

from collections.abc import Callable

import pytest
from conformance.expect import is_healthy

from endpoint.batch import PacketBuffer, RecvBatch
from endpoint.level import Level
from endpoint.listener import Listener
from endpoint.testing.certificates import Chain
from endpoint.testing.link import CLIENT_ADDRESS, SERVER_ADDRESS
from endpoint.testing.packets import RawSession, make_listener
from endpoint.wire.frames import NewConnectionId, Ping
from endpoint.wire.transport_params import (
    TransportParameters,
    decode_transport_parameters,
    encode_transport_parameters,
)

SessionMaker = Callable[..., RawSession]

ONE_RTT = Level.ONE_RTT


def forget(session: RawSession) -> None:
    """Let the server close its connection and forget it."""
    session.connection.close(0, "", now=session.now)
    session.collect()
    session.advance(10.0)
    assert session.connection.is_closed
    assert session.listener is not None
    session.listener.forget(session.connection)


def answers(listener: Listener, datagram: bytes, now: float = 100.0) -> list[bytes]:
    listener.receive(RecvBatch.of([datagram], CLIENT_ADDRESS, SERVER_ADDRESS), now)
    buffer = PacketBuffer()
    sent = []
    while (batch := listener.transmit(buffer, now)) is not None:
        sent.append(bytes(buffer.view[: batch.length]))
    return sent


def test_server_that_forgot_a_connection(server: RawSession) -> None:
    """The token is the one that the server advertised in the handshake."""
    data = server.raw.tls.peer_transport_parameters
    assert data is not None
    token = decode_transport_parameters(data, from_client=False).stateless_reset_token
    assert token is not None
    forget(server)
    assert server.listener is not None
    [answer] = answers(server.listener, server.raw.packet(ONE_RTT, Ping(), fill_to=100))
    assert answer[-16:] == token
    assert answer[0] & 0xC0 == 0x40
    assert 21 <= len(answer) < 100


def test_tokens_of_issued_ids_are_true(server: RawSession) -> None:
    issued = [frame for frame in server.raw.frames(ONE_RTT) if isinstance(frame, NewConnectionId)]
    forget(server)
    assert server.listener is not None
    for frame in issued:
        packet = b"\x40" + frame.connection_id + bytes(50)
        [answer] = answers(server.listener, packet)
        assert answer[-16:] == frame.stateless_reset_token


@pytest.mark.parametrize("size", range(1, 60))
def test_reset_is_smaller_than_what_it_answers(chain: Chain, wall_time: float, size: int) -> None:
    """RFC 9000 §10.3.3: so two endpoints that know nothing can't answer each other for ever."""
    sent = answers(make_listener(chain, wall_time), b"\x40" + bytes(size - 1))
    if size < 22:
        assert sent == []
    else:
        assert 21 <= len(sent[0]) < size


def test_resets_are_limited_in_rate(chain: Chain, wall_time: float) -> None:
    listener = make_listener(chain, wall_time)
    packets = [b"\x40" + number.to_bytes(8, "big") + bytes(91) for number in range(1000)]
    at_once = sum(len(answers(listener, packet, 50.0)) for packet in packets)
    assert 0 < at_once <= 50
    a_second_later = sum(len(answers(listener, packet, 51.0)) for packet in packets)
    assert 0 < a_second_later <= 50


def test_resets_that_wait_are_bounded(chain: Chain, wall_time: float) -> None:
    listener = make_listener(chain, wall_time)
    now = 0.0
    for number in range(1000):
        now += 1.0
        packet = b"\x40" + number.to_bytes(8, "big") + bytes(91)
        listener.receive(RecvBatch.of([packet], CLIENT_ADDRESS, SERVER_ADDRESS), now)
    assert len(answers(listener, b"\x00", now)) <= 256


@pytest.mark.parametrize("first_byte", [0xC0, 0xE0, 0xFF])
def test_no_reset_for_long_headers(chain: Chain, wall_time: float, first_byte: int) -> None:
    packet = bytes([first_byte, 0, 0, 0, 1, 8]) + bytes(8) + b"\x08" + bytes(200)
    assert answers(make_listener(chain, wall_time), packet) == []


def token_of_server() -> tuple[Callable[[TransportParameters], bytes], list[bytes]]:
    """An encoder that notes the raw server's token."""
    tokens: list[bytes] = []

    def encode(params: TransportParameters) -> bytes:
        assert params.stateless_reset_token is not None
        tokens.append(params.stateless_reset_token)
        return encode_transport_parameters(params)

    return encode, tokens


def reset_with(token: bytes, size: int = 43) -> bytes:
    return b"\x55" + b"\xaa" * (size - 17) + token


@pytest.mark.parametrize("size", [21, 43, 1200])
@pytest.mark.parametrize("count", [1, 4])
def test_client_believes_the_token(new_session: SessionMaker, size: int, count: int) -> None:
    """Silence follows, and one event, also for a batch of resets that looks like a run of packets."""
    encode, tokens = token_of_server()
    session = new_session("client", encode=encode)
    session.handshake()
    sent = len(session.sent)
    session.deliver(*[reset_with(tokens[0], size)] * count, batch=True)
    closed = session.closed
    assert closed is not None
    assert (closed.kind, closed.remote) == ("stateless_reset", True)
    session.send(ONE_RTT, Ping())
    session.advance(30.0)
    assert len(session.sent) == sent
    assert session.connection.is_closed


def test_reset_behind_good_packets_of_a_batch(new_session: SessionMaker) -> None:
    encode, tokens = token_of_server()
    session = new_session("client", encode=encode)
    session.handshake()
    good = [session.raw.packet(ONE_RTT, Ping(), fill_to=60) for _ in range(3)]
    session.deliver(*good, reset_with(tokens[0], 60), good[0], batch=True)
    assert session.closed is not None


@pytest.mark.parametrize("size", [1, 16, 20])
def test_too_small_for_a_reset(new_session: SessionMaker, size: int) -> None:
    encode, tokens = token_of_server()
    session = new_session("client", encode=encode)
    session.handshake()
    session.deliver((b"\x55" * 5 + tokens[0])[-size:])
    is_healthy(session)


def test_wrong_token(client: RawSession) -> None:
    client.deliver(reset_with(b"0123456789abcdef"))
    is_healthy(client)


def test_token_of_an_id_that_is_not_in_use(session: RawSession) -> None:
    """RFC 9000 §10.3.1: neither before its first use nor after its retirement."""
    first, second = bytes([1]) * 16, bytes([2]) * 16
    session.send(ONE_RTT, NewConnectionId(1, 0, b"cid-one!", first))
    # With a valid ID in front, without which a listener can't tell whose it would be.
    head = b"\x55" + session.raw.peer_cid + bytes(20)
    session.deliver(head + first)
    is_healthy(session)
    session.send(ONE_RTT, NewConnectionId(2, 2, b"cid-two!", second))
    session.deliver(head + first)
    is_healthy(session)
    session.deliver(head + second)
    assert session.closed is not None
    assert session.closed.kind == "stateless_reset"
