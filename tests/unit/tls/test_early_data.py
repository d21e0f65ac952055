"""0-RTT: when it is offered, when it is accepted, and what neither side lets the other do with it."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from endpoint.errors import AlertDescription, AlertError
from endpoint.level import Level
from endpoint.tls.extensions import ExtensionType, encode_alpn, encode_binders, encode_offered_psks
from endpoint.tls.groups import SECP384R1
from endpoint.tls.key_schedule import EarlySchedule, Transcript
from endpoint.tls.messages import ClientHello, EncryptedExtensions, HandshakeType, ServerHello
from endpoint.tls.suites import (
    CIPHER_SUITES,
    TLS_AES_128_GCM_SHA256,
    TLS_AES_256_GCM_SHA384,
    TLS_CHACHA20_POLY1305_SHA256,
)
from endpoint.tls.tickets import AntiReplay

A = AlertDescription
E = ExtensionType
H = HandshakeType
NOW = 1_790_000_000.0
_CODECS: dict[int, Any] = {
    H.CLIENT_HELLO: ClientHello,
    H.SERVER_HELLO: ServerHello,
    H.ENCRYPTED_EXTENSIONS: EncryptedExtensions,
}


def run(pair: Any, accepted: bool | None, *, resumed: bool = True) -> Any:
    """Both sides complete, and agree about 0-RTT. None: it was not even offered."""
    pair.run()
    for side in (pair.client, pair.server):
        assert (side.complete, side.resumed) == (True, resumed)
        assert side.early_data_offered == (accepted is not None)
        assert side.early_data_accepted is accepted
    return pair


def change(message_type: HandshakeType, **fields: Any) -> Callable[[str, Level, bytes], bytes]:
    """An interceptor that replaces fields; `extensions` are added, or taken away where None."""
    added = fields.pop("extensions", {})

    def intercept(_sender: str, _level: Level, message: bytes) -> bytes:
        if message[0] != message_type:
            return message
        parsed = _CODECS[message_type].parse(message[4:])
        extensions = {key: body for key, body in {**parsed.extensions, **added}.items() if body is not None}
        encoded: bytes = replace(parsed, extensions=extensions, **fields).encode()
        return encoded

    return intercept


def fails(pair: Any, alert: AlertDescription) -> None:
    error = pair.failure()
    assert isinstance(error, AlertError)
    assert error.alert == alert, error


def test_secrets_come_first_and_agree(make_site: Any) -> None:
    site = make_site()
    (session, _) = site.sessions()
    pair = site.connect(session)
    pair.client.start()
    # The client can send before it has heard anything.
    (ours,) = pair.client.take_secrets()
    assert (ours.level, ours.is_write, ours.cipher_suite) == (Level.ZERO_RTT, True, session.cipher_suite)
    assert ours.label == "CLIENT_EARLY_TRAFFIC_SECRET"
    assert pair.client.early_data_offered
    assert pair.client.early_data_accepted is None
    for level, message in pair.client.take_output():
        pair.server.receive(level, message)
    theirs, *others = pair.server.take_secrets()
    assert (theirs.level, theirs.is_write, theirs.secret) == (Level.ZERO_RTT, False, ours.secret)
    assert [each.level for each in others] == [Level.HANDSHAKE, Level.HANDSHAKE, Level.ONE_RTT]
    assert pair.server.early_data_accepted
    while pair.step():
        pass
    assert pair.client.early_data_accepted


def test_no_end_of_early_data(make_site: Any) -> None:
    # RFC 9001 §8.3.
    site = make_site()
    (session, _) = site.sessions()
    pair = run(site.connect(session), True)
    assert H.END_OF_EARLY_DATA not in [message[0] for _, _, message in pair.log]
    pair = site.connect(session)
    pair.client.start()
    pair.server.receive(*pair.client.take_output()[0])
    with pytest.raises(AlertError) as caught:
        pair.server.receive(Level.HANDSHAKE, bytes((H.END_OF_EARLY_DATA, 0, 0, 0)))
    assert caught.value.alert == A.UNEXPECTED_MESSAGE


def test_ticket_used_twice(make_site: Any) -> None:
    site = make_site()
    (session, other) = site.sessions()
    run(site.connect(session), True)
    # The connection is resumed all the same.
    run(site.connect(session, now=NOW + 1), False)
    run(site.connect(other, now=NOW + 1), True)


def test_replayed_hello(make_site: Any) -> None:
    site = make_site()
    (session, _) = site.sessions()
    pair = run(site.connect(session), True)
    hello = pair.log[0][2]
    for now in (NOW, NOW + 9, NOW + 11, NOW + 1000):
        server = site.connect(server_now=now).server
        server.receive(Level.INITIAL, hello)
        assert (server.resumed, server.early_data_offered, server.early_data_accepted) == (True, True, False)
        assert Level.ZERO_RTT not in [each.level for each in server.take_secrets()]


@pytest.mark.parametrize(
    ("client_age", "server_age", "accepted"),
    [(60, 69.9, True), (60, 70.2, False), (60, 50.1, True), (60, 49.8, False), (3600, 3600, True)],
)
def test_age_of_the_ticket(make_site: Any, client_age: float, server_age: float, accepted: bool) -> None:
    site = make_site()
    (session, _) = site.sessions()
    run(site.connect(session, now=NOW + client_age, server_now=NOW + server_age), accepted)


def test_clock_that_is_wrong_by_an_hour_but_runs_well(make_site: Any) -> None:
    # Only the age counts, which the client measures with its own clock.
    site = make_site()
    first = site.connect(now=NOW + 3600, server_now=NOW).run()
    (session, _) = first.client.take_tickets()
    run(site.connect(session, now=NOW + 3660, server_now=NOW + 60), True)


def test_either_side_can_do_without(make_site: Any) -> None:
    site = make_site(server={"early_data": False})
    (session, _) = site.sessions()
    assert not session.early_data
    run(site.connect(session), None)
    site = make_site(client={"early_data": False})
    (session, other) = site.sessions()
    assert session.early_data
    run(site.connect(session), None)
    # A server that has changed its mind since it gave the ticket, and the other way round.
    eager = replace(site.client_config, early_data=True)
    no_more = replace(site.server_config, early_data=False)
    run(site.connect(session, client_config=eager, server_config=no_more), False)
    (late, _) = site.connect(server_config=no_more).run().client.take_tickets()
    run(site.connect(replace(late, early_data=True), client_config=eager), False)
    run(site.connect(other, client_config=eager), True)


def test_retry_request_refuses(make_site: Any) -> None:
    site = make_site(server={"groups": (SECP384R1,)})
    (session, _) = site.sessions()
    pair = run(site.connect(session), False)
    hellos = [
        ClientHello.parse(m[4:]) for who, _, m in pair.log if who == "client" and m[0] == H.CLIENT_HELLO
    ]
    assert [E.EARLY_DATA in hello.extensions for hello in hellos] == [True, False]
    # It is refused with the request already, and nobody changes that.
    pair = site.connect(session)
    pair.client.start()
    pair.server.receive(*pair.client.take_output()[0])
    assert pair.server.early_data_accepted is False
    pair.client.receive(*pair.server.take_output()[0])
    assert pair.client.early_data_accepted is False


def test_early_data_in_the_second_hello(make_site: Any) -> None:
    site = make_site(server={"groups": (SECP384R1,)})
    (session, _) = site.sessions()
    pair = site.connect(session)
    edit = change(H.CLIENT_HELLO, extensions={E.PRE_SHARED_KEY: None, E.EARLY_DATA: b""})
    pair.on_message = edit
    fails(pair, A.ILLEGAL_PARAMETER)


def test_other_protocol(make_site: Any) -> None:
    site = make_site(
        client={"alpn_protocols": ("hq-interop", "h3")}, server={"alpn_protocols": ("hq-interop",)}
    )
    (session, other) = site.sessions()
    h3 = replace(site.server_config, alpn_protocols=("h3",))
    run(site.connect(session, server_config=h3), False)
    # A client does not even ask for a protocol that it has not any more.
    client = replace(site.client_config, alpn_protocols=("h3",))
    run(site.connect(other, server_config=h3, client_config=client), None)


def test_other_server_name(make_site: Any) -> None:
    site = make_site()
    (session, other) = site.sessions()
    # A client that knows that both names are one server's may (RFC 9846 §4.6.1), without 0-RTT.
    moved = replace(session, server_name="server4")
    run(site.connect(moved, server_name="server4"), False)
    run(site.connect(replace(other, server_name="SERVER"), server_name="SERVER"), True)


def test_no_server_name_at_all(make_site: Any) -> None:
    site = make_site(client={"insecure": True})
    (session, _) = site.sessions(server_name="192.0.2.1")
    run(site.connect(session, server_name="192.0.2.1"), True)


def test_state_of_the_application(make_site: Any) -> None:
    site = make_site()
    session, other = site.sessions(application_state=b"limits")
    run(site.connect(session, application_state=b"limits"), True)
    run(site.connect(other, application_state=b"less"), False)

    (session, other) = site.sessions(application_state=b"\5")
    asked: list[bytes] = []

    def accept(state: bytes) -> bool:
        asked.append(state)
        return state <= b"\6"

    run(site.connect(session, application_state=b"\6", accept_state=accept), True)
    run(site.connect(other, application_state=b"\4", accept_state=lambda state: state <= b"\4"), False)
    assert asked == [b"\5"]
    # What is refused is not used up.
    run(site.connect(other, application_state=b"\6", accept_state=accept), True)


def test_second_identity_is_resumed_without(make_site: Any) -> None:
    # RFC 9846 §4.2.10: 0-RTT is of the first one.
    site = make_site()
    (session, _) = site.sessions()
    pair = site.connect(session)
    pair.client.start()
    ((level, message),) = pair.client.take_output()
    hello = ClientHello.parse(message[4:])
    identities = ((b"unknown", 0), (session.ticket, session.ticket_age_add))
    extensions = {**hello.extensions, E.PRE_SHARED_KEY: encode_offered_psks(identities, (bytes(32),) * 2)}
    truncated = replace(hello, extensions=extensions).encode()[: -len(encode_binders((bytes(32),) * 2))]
    suite = CIPHER_SUITES[session.cipher_suite]
    binder = EarlySchedule(suite, session.psk).binder(Transcript(suite, truncated).digest())
    # The binder of the first one does not matter (RFC 9846 §4.2.11: only that of the selected one does).
    pair.server.receive(level, truncated + encode_binders((bytes(32), binder)))
    assert pair.server.resumed
    assert pair.server.early_data_accepted is False
    (_, answer), *_ = pair.server.take_output()
    assert ServerHello.parse(answer[4:]).extensions[E.PRE_SHARED_KEY] == b"\0\1"


def test_fresh_server_refuses_what_it_may_have_forgotten(make_site: Any) -> None:
    site = make_site()
    (session, other) = site.sessions()
    run(site.connect(session, now=NOW + 60), True)
    restarted = replace(site.server_config, anti_replay=AntiReplay(NOW + 61))
    run(site.connect(session, now=NOW + 60, server_now=NOW + 62, server_config=restarted), False)
    run(site.connect(other, now=NOW + 70, server_config=restarted), False)
    # It can have seen no 0-RTT that is this young.
    run(site.connect(other, now=NOW + 72, server_config=restarted), True)
    # And none with tickets of its own.
    new, _ = site.connect(server_config=restarted, now=NOW + 73).run().client.take_tickets()
    run(site.connect(new, now=NOW + 73, server_config=restarted), True)


SERVER_BREAKS: dict[str, tuple[HandshakeType, dict[str, Any], AlertDescription]] = {
    "another identity": (
        H.SERVER_HELLO,
        {"extensions": {E.PRE_SHARED_KEY: b"\0\1"}},
        A.ILLEGAL_PARAMETER,
    ),
    "identity in pieces": (H.SERVER_HELLO, {"extensions": {E.PRE_SHARED_KEY: b"\0"}}, A.DECODE_ERROR),
    "PSK with another hash": (
        H.SERVER_HELLO,
        {"cipher_suite": TLS_AES_256_GCM_SHA384},
        A.ILLEGAL_PARAMETER,
    ),
    "PSK without key exchange": (H.SERVER_HELLO, {"extensions": {E.KEY_SHARE: None}}, A.ILLEGAL_PARAMETER),
    "modes": (H.SERVER_HELLO, {"extensions": {E.PSK_KEY_EXCHANGE_MODES: b"\1\1"}}, A.ILLEGAL_PARAMETER),
    "content of early_data": (
        H.ENCRYPTED_EXTENSIONS,
        {"extensions": {E.EARLY_DATA: b"\xff\xff\xff\xff"}},
        A.DECODE_ERROR,
    ),
    "early data with another protocol": (
        H.ENCRYPTED_EXTENSIONS,
        {"extensions": {E.APPLICATION_LAYER_PROTOCOL_NEGOTIATION: encode_alpn(("h3",))}},
        A.ILLEGAL_PARAMETER,
    ),
    "early data turned off": (H.ENCRYPTED_EXTENSIONS, {"extensions": {E.EARLY_DATA: None}}, A.DECRYPT_ERROR),
}


@pytest.mark.parametrize("name", SERVER_BREAKS)
def test_client_refuses(make_site: Any, name: str) -> None:
    message_type, fields, alert = SERVER_BREAKS[name]
    site = make_site(
        client={"alpn_protocols": ("hq-interop", "h3")}, server={"alpn_protocols": ("hq-interop",)}
    )
    (session, _) = site.sessions()
    pair = site.connect(session)
    pair.on_message = change(message_type, **fields)
    fails(pair, alert)


def test_early_data_without_the_psk(make_site: Any) -> None:
    site = make_site()
    (session, _) = site.sessions()
    pair = site.connect(replace(session, ticket=b"unknown"))
    pair.on_message = change(H.ENCRYPTED_EXTENSIONS, extensions={E.EARLY_DATA: b""})
    fails(pair, A.ILLEGAL_PARAMETER)


def test_early_data_with_another_suite(make_site: Any) -> None:
    suites = (TLS_AES_128_GCM_SHA256, TLS_CHACHA20_POLY1305_SHA256)
    site = make_site(client={"cipher_suites": suites})
    (session, _) = site.sessions()
    server = replace(site.server_config, cipher_suites=suites[1:])
    pair = site.connect(session, server_config=server)
    pair.on_message = change(H.ENCRYPTED_EXTENSIONS, extensions={E.EARLY_DATA: b""})
    fails(pair, A.ILLEGAL_PARAMETER)


@pytest.mark.parametrize("answer", [E.EARLY_DATA, E.PRE_SHARED_KEY])
def test_answers_that_nobody_asked_for(make_site: Any, answer: ExtensionType) -> None:
    pair = make_site().connect()
    message_type = H.ENCRYPTED_EXTENSIONS if answer == E.EARLY_DATA else H.SERVER_HELLO
    body = b"" if answer == E.EARLY_DATA else b"\0\0"
    pair.on_message = change(message_type, extensions={answer: body})
    fails(pair, A.UNSUPPORTED_EXTENSION)


@pytest.mark.parametrize(
    ("body", "alert"),
    [
        (b"", A.DECODE_ERROR),
        (b"\0\0" + b"\0\x21\x20" + bytes(32), A.DECODE_ERROR),
        (b"\0\6\0\0" + bytes(4) + b"\0\x21\x20" + bytes(32), A.DECODE_ERROR),
        (b"\0\7\0\1t" + bytes(4) + b"\0\0", A.DECODE_ERROR),
        (b"\0\7\0\1t" + bytes(4) + b"\0\x21\x1f" + bytes(32), A.DECODE_ERROR),
        (b"\0\7\0\1t" + bytes(4) + b"\0\x21\x20" + bytes(33), A.DECODE_ERROR),
        (b"\0\x0e" + 2 * (b"\0\1t" + bytes(4)) + b"\0\x21\x20" + bytes(32), A.ILLEGAL_PARAMETER),
        (b"\0\7\0\1t" + bytes(4) + b"\0\x42" + 2 * (b"\x20" + bytes(32)), A.ILLEGAL_PARAMETER),
    ],
)
@pytest.mark.parametrize("keys", [True, False])
def test_malformed_offers(make_site: Any, body: bytes, alert: AlertDescription, keys: bool) -> None:
    # Also by a server that resumes nothing.
    site = make_site()
    server = site.server_config if keys else site.pki.server_config()
    pair = site.connect(server_config=server)
    pair.on_message = change(H.CLIENT_HELLO, extensions={E.PRE_SHARED_KEY: body})
    fails(pair, alert)


def test_content_of_early_data_in_a_hello(make_site: Any) -> None:
    pair = make_site().connect()
    pair.on_message = change(H.CLIENT_HELLO, extensions={E.EARLY_DATA: b"\0"})
    fails(pair, A.DECODE_ERROR)


@pytest.mark.parametrize("modes", [b"\0", b"", b"\1", b"\1\1\1"])
def test_malformed_modes(make_site: Any, modes: bytes) -> None:
    pair = make_site().connect()
    pair.on_message = change(H.CLIENT_HELLO, extensions={E.PSK_KEY_EXCHANGE_MODES: modes})
    fails(pair, A.DECODE_ERROR)


def test_early_data_without_an_offer_is_refused(make_site: Any) -> None:
    pair = make_site().connect()
    pair.client.start()
    (level, hello) = pair.client.take_output()[0]
    pair.server.receive(level, change(H.CLIENT_HELLO, extensions={E.EARLY_DATA: b""})("", level, hello))
    assert (pair.server.early_data_offered, pair.server.early_data_accepted) == (True, False)


def test_flood_of_identities_is_not_decrypted(make_site: Any) -> None:
    site = make_site()
    (session, _) = site.sessions()
    many = [*((b"unknown", number) for number in range(8)), (session.ticket, 0)]
    offer = encode_offered_psks(many, [random.Random(1).randbytes(32)] * 9)
    pair = site.connect(session)
    pair.client.start()
    (level, hello) = pair.client.take_output()[0]
    edit = change(H.CLIENT_HELLO, extensions={E.PRE_SHARED_KEY: offer})
    pair.server.receive(level, edit("client", level, hello))
    assert not pair.server.resumed


def test_psk_alone_needs_no_signatures(make_site: Any) -> None:
    # RFC 9846 §9.2: such a hello is fine as long as its PSK is.
    site = make_site()
    pair = site.connect()
    offer = encode_offered_psks(((b"unknown", 0),), (bytes(32),))
    pair.on_message = change(
        H.CLIENT_HELLO, extensions={E.SIGNATURE_ALGORITHMS: None, E.PRE_SHARED_KEY: offer}
    )
    fails(pair, A.HANDSHAKE_FAILURE)
    (session, _) = site.sessions()
    pair = site.connect(session)
    pair.on_message = change(H.CLIENT_HELLO, extensions={E.SIGNATURE_ALGORITHMS: None})
    fails(pair, A.DECRYPT_ERROR)
