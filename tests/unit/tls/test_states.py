"""Messages in the wrong state, bytes at the wrong level, and what comes after the handshake."""

from typing import Any

import pytest

from endpoint.errors import AlertDescription, AlertError, TransportError, TransportErrorCode
from endpoint.level import Level
from endpoint.tls.config import ClientAuthentication
from endpoint.tls.groups import SECP384R1
from endpoint.tls.handshake import MAX_MESSAGE_LENGTH
from endpoint.tls.messages import CertificateRequest, HandshakeType, encode_message

H = HandshakeType
ALL_TYPES = [*HandshakeType, 0, 3, 12, 22, 99, 255]

# After how many of the server's messages (ServerHello, EncryptedExtensions, CertificateRequest, Certificate,
# CertificateVerify, Finished) the client is ready for what.
CLIENT_STATES: list[set[int]] = [
    {H.SERVER_HELLO},
    {H.ENCRYPTED_EXTENSIONS},
    {H.CERTIFICATE_REQUEST, H.CERTIFICATE},
    {H.CERTIFICATE},
    {H.CERTIFICATE_VERIFY},
    {H.FINISHED},
    {H.NEW_SESSION_TICKET, H.CERTIFICATE_REQUEST},
]
# And the server, after the client's messages (ClientHello twice, Certificate, CertificateVerify, Finished).
SERVER_STATES: list[set[int]] = [
    {H.CLIENT_HELLO},
    {H.CLIENT_HELLO},
    {H.CERTIFICATE},
    {H.CERTIFICATE_VERIFY},
    {H.FINISHED},
    set(),
]


def authenticated_pair(pki: Any, make_pair: Any, **settings: Any) -> Any:
    server = pki.server_config(
        client_authentication=ClientAuthentication.REQUIRED,
        client_roots=(pki.root.certificate,),
        **settings,
    )
    return make_pair(pki.client_config("p256"), server)


def client_after(pki: Any, make_pair: Any, count: int) -> tuple[Any, Level]:
    """A client that has read `count` messages of the server, and the level of the next."""
    pair = authenticated_pair(pki, make_pair)
    pair.client.start()
    pair.server.receive(*pair.client.take_output()[0])
    flight = pair.server.take_output()
    assert len(flight) == len(CLIENT_STATES) - 1
    for level, message in flight[:count]:
        pair.client.receive(level, message)
    return pair.client, (flight[count][0] if count < len(flight) else Level.ONE_RTT)


def server_after(pki: Any, make_pair: Any, count: int) -> tuple[Any, Level]:
    """A server that has read `count` messages of the client, and the level of the next."""
    pair = authenticated_pair(pki, make_pair, groups=(SECP384R1,))
    pair.client.start()
    sent: list[tuple[Level, bytes]] = []
    while len(sent) < len(SERVER_STATES) - 1:
        for level, message in pair.client.take_output():
            sent.append((level, message))
            if len(sent) <= count:
                pair.server.receive(level, message)
        if len(sent) > count:
            return pair.server, sent[count][0]
        for level, message in pair.server.take_output():
            pair.client.receive(level, message)
    return pair.server, Level.ONE_RTT


@pytest.mark.parametrize("message_type", ALL_TYPES)
@pytest.mark.parametrize("role", ["client", "server"])
def test_only_the_table_is_allowed(pki: Any, make_pair: Any, role: str, message_type: int) -> None:
    states, reach = (CLIENT_STATES, client_after) if role == "client" else (SERVER_STATES, server_after)
    for count, allowed in enumerate(states):
        endpoint, level = reach(pki, make_pair, count)
        header = bytes((message_type, 0, 0, 1))
        if message_type in allowed:
            endpoint.receive(level, header)  # waits for the rest
            continue
        with pytest.raises(AlertError) as caught:
            endpoint.receive(level, header)
        assert caught.value.alert == AlertDescription.UNEXPECTED_MESSAGE


def test_client_before_start_takes_nothing(pki: Any, make_pair: Any) -> None:
    pair = make_pair(pki.client_config(), pki.server_config())
    with pytest.raises(AlertError) as caught:
        pair.client.receive(Level.INITIAL, b"\2\0\0\1")
    assert caught.value.alert == AlertDescription.UNEXPECTED_MESSAGE


@pytest.mark.parametrize("role", ["client", "server"])
def test_bytes_at_another_level(pki: Any, make_pair: Any, role: str) -> None:
    states, reach = (CLIENT_STATES, client_after) if role == "client" else (SERVER_STATES, server_after)
    for count in range(len(states)):
        for level in Level:
            endpoint, expected = reach(pki, make_pair, count)
            if level is expected:
                continue
            with pytest.raises(TransportError) as caught:
                endpoint.receive(level, b"\0")
            assert caught.value.code == TransportErrorCode.PROTOCOL_VIOLATION


def test_bytes_after_the_last_message_of_a_level(pki: Any, make_pair: Any) -> None:
    pair = make_pair(pki.client_config(), pki.server_config())
    pair.client.start()
    ((level, hello),) = pair.client.take_output()
    with pytest.raises(TransportError) as caught:
        pair.server.receive(level, hello + b"\x14")
    assert caught.value.code == TransportErrorCode.PROTOCOL_VIOLATION

    pair = make_pair(pki.client_config(), pki.server_config())
    pair.client.start()
    pair.server.receive(*pair.client.take_output()[0])
    (level, server_hello), (_, encrypted_extensions), *_ = pair.server.take_output()
    with pytest.raises(TransportError) as caught:
        pair.client.receive(level, server_hello + encrypted_extensions)
    assert caught.value.code == TransportErrorCode.PROTOCOL_VIOLATION


def test_certificate_request_after_the_handshake(pki: Any, make_pair: Any) -> None:
    pair = make_pair(pki.client_config(), pki.server_config()).run()
    with pytest.raises(TransportError) as caught:
        pair.client.receive(Level.ONE_RTT, CertificateRequest(b"c", {13: b"\0\2\4\3"}).encode())
    assert caught.value.code == TransportErrorCode.PROTOCOL_VIOLATION


def test_key_update_message(pki: Any, make_pair: Any) -> None:
    pair = make_pair(pki.client_config(), pki.server_config()).run()
    for endpoint in (pair.client, pair.server):
        with pytest.raises(AlertError) as caught:
            endpoint.receive(Level.ONE_RTT, encode_message(H.KEY_UPDATE, b"\0"))
        assert caught.value.alert == AlertDescription.UNEXPECTED_MESSAGE


@pytest.mark.parametrize(
    ("ticket", "code"),
    [
        (b"", AlertDescription.DECODE_ERROR + 0x100),
        (bytes(8) + b"\0" + b"\0\0" + b"\0\0", AlertDescription.DECODE_ERROR + 0x100),
        (bytes(8) + b"\0" + b"\0\1t" + b"\0\0\0", AlertDescription.DECODE_ERROR + 0x100),
        (
            bytes(8) + b"\0" + b"\0\1t" + b"\0\x08\0\x2a\0\4\0\0\x40\0",
            TransportErrorCode.PROTOCOL_VIOLATION,
        ),
        (
            bytes(8) + b"\0" + b"\0\1t" + b"\0\x07\0\x2a\0\3\0\0\x40",
            AlertDescription.DECODE_ERROR + 0x100,
        ),
        (
            bytes(8) + b"\0" + b"\0\1t" + b"\0\x04\0\x33\0\0",
            AlertDescription.ILLEGAL_PARAMETER + 0x100,
        ),
    ],
)
def test_malformed_ticket(pki: Any, make_pair: Any, ticket: bytes, code: int) -> None:
    pair = make_pair(pki.client_config(), pki.server_config()).run()
    with pytest.raises(TransportError) as caught:
        pair.client.receive(Level.ONE_RTT, encode_message(H.NEW_SESSION_TICKET, ticket))
    assert caught.value.code == code


def test_ticket_with_unknown_extension_is_taken(pki: Any, make_pair: Any) -> None:
    pair = make_pair(pki.client_config(), pki.server_config()).run()
    body = bytes((0, 0, 0, 9)) + bytes(4) + b"\0" + b"\0\1t" + b"\0\x04\x0a\x0a\0\0"
    pair.client.receive(Level.ONE_RTT, encode_message(H.NEW_SESSION_TICKET, body))
    (session,) = pair.client.take_tickets()
    assert (session.ticket, session.ticket_lifetime, session.early_data) == (b"t", 9, False)


def test_message_that_is_too_long(pki: Any, make_pair: Any) -> None:
    pair = make_pair(pki.client_config(), pki.server_config())
    pair.server.receive(Level.INITIAL, b"\1" + MAX_MESSAGE_LENGTH.to_bytes(3, "big"))
    pair = make_pair(pki.client_config(), pki.server_config())
    with pytest.raises(AlertError) as caught:
        pair.server.receive(Level.INITIAL, b"\1" + (MAX_MESSAGE_LENGTH + 1).to_bytes(3, "big"))
    assert caught.value.alert == AlertDescription.DECODE_ERROR
