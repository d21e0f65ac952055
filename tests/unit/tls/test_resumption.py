"""Full handshakes that give tickets, and handshakes that a ticket shortens."""

import random
from dataclasses import replace
from typing import Any

import pytest

from endpoint.errors import AlertDescription, AlertError
from endpoint.keyring import KeyRing
from endpoint.level import Level
from endpoint.tls.config import ClientAuthentication
from endpoint.tls.extensions import ExtensionType
from endpoint.tls.groups import SECP384R1
from endpoint.tls.key_schedule import Transcript, finished_verify_data
from endpoint.tls.messages import ClientHello, HandshakeType, NewSessionTicket, encode_message
from endpoint.tls.session import MAX_TICKET_LIFETIME
from endpoint.tls.suites import (
    CIPHER_SUITES,
    TLS_AES_128_GCM_SHA256,
    TLS_AES_256_GCM_SHA384,
    TLS_CHACHA20_POLY1305_SHA256,
)
from endpoint.tls.tickets import MAX_APPLICATION_STATE

H = HandshakeType
NOW = 1_790_000_000.0
DAY = 24 * 3600


def types(pair: Any, sender: str) -> list[int]:
    return [message[0] for who, _, message in pair.log if who == sender]


def check_complete(pair: Any, *, resumed: bool) -> None:
    """Both are done and agree."""
    client, server = pair.client, pair.server
    assert (client.complete, server.complete) == (True, True)
    assert (client.resumed, server.resumed) == (resumed, resumed)
    mirrored = [(each.level, not each.is_write, each.secret) for each in pair.server_secrets]
    # For 0-RTT that it refuses the server has no use.
    ours = [
        (each.level, each.is_write, each.secret)
        for each in pair.client_secrets
        if each.level != Level.ZERO_RTT or server.early_data_accepted
    ]
    assert sorted(ours) == sorted(mirrored)
    assert client.export("label", b"context", 32) == server.export("label", b"context", 32)


def test_full_handshake_gives_two_tickets(make_site: Any) -> None:
    pair = make_site().connect(application_state=b"parameters").run()
    check_complete(pair, resumed=False)
    assert [level for who, level, m in pair.log if m[0] == H.NEW_SESSION_TICKET] == [Level.ONE_RTT] * 2
    first, second = pair.client.take_tickets(b"ours")
    assert pair.client.take_tickets() == []
    for session in (first, second):
        assert (session.alpn, session.server_name) == ("hq-interop", "server")
        assert (session.received, session.established) == (NOW, NOW)
        assert (session.ticket_lifetime, session.early_data, session.verified) == (DAY, True, True)
        assert session.cipher_suite == TLS_AES_128_GCM_SHA256
        assert session.application_state == b"ours"
    assert first.psk != second.psk
    assert first.ticket != second.ticket
    assert first.ticket_age_add != second.ticket_age_add


@pytest.mark.parametrize("suite", CIPHER_SUITES)
def test_resumed_handshake_has_no_certificates(make_site: Any, suite: int) -> None:
    site = make_site(client={"cipher_suites": (suite,)})
    (session, _) = site.sessions()
    pair = site.connect(session).run()
    check_complete(pair, resumed=True)
    assert types(pair, "client") == [H.CLIENT_HELLO, H.FINISHED]
    assert types(pair, "server") == [
        H.SERVER_HELLO,
        H.ENCRYPTED_EXTENSIONS,
        H.FINISHED,
        H.NEW_SESSION_TICKET,
        H.NEW_SESSION_TICKET,
    ]
    assert pair.client.peer_certificates == ()
    assert (pair.client.cipher_suite, pair.client.alpn) == (suite, "hq-interop")
    assert pair.client.group is not None
    assert pair.client.peer_transport_parameters == b"server parameters"
    # And on it goes, with the tickets of the resumed connection.
    (again, _) = pair.client.take_tickets()
    check_complete(site.connect(again).run(), resumed=True)


@pytest.mark.parametrize("count", [0, 1, 16])
def test_number_and_lifetime_of_tickets(make_site: Any, count: int) -> None:
    site = make_site(server={"ticket_count": count, "ticket_lifetime": 60})
    sessions = site.sessions()
    assert len({session.ticket for session in sessions}) == len(sessions) == count
    assert all(session.ticket_lifetime == 60 for session in sessions)


def test_no_ticket_keys_no_resumption(make_site: Any) -> None:
    site = make_site()
    (session, _) = site.sessions()
    plain = site.pki.server_config()
    pair = site.connect(session, server_config=plain).run()
    check_complete(pair, resumed=False)
    assert pair.client.take_tickets() == []


@pytest.mark.parametrize(("modes", "count"), [(b"\1\1", 2), (b"\2\0\1", 2), (b"\1\0", 0), (None, 0)])
def test_tickets_only_for_clients_that_can_use_them(make_site: Any, modes: bytes | None, count: int) -> None:
    pair = make_site().connect()
    pair.client.start()
    ((level, message),) = pair.client.take_output()
    hello = ClientHello.parse(message[4:])
    extensions = dict(hello.extensions)
    del extensions[ExtensionType.PSK_KEY_EXCHANGE_MODES]
    if modes is not None:
        extensions[ExtensionType.PSK_KEY_EXCHANGE_MODES] = modes
    message = replace(hello, extensions=extensions).encode()
    pair.server.receive(level, message)
    # The rest of the client's part, which the client itself can't play with another hello.
    suite = CIPHER_SUITES[TLS_AES_128_GCM_SHA256]
    transcript = Transcript(suite, message)
    for _, answer in pair.server.take_output():
        transcript.add(answer)
    secret = next(
        e.secret for e in pair.server.take_secrets() if e.label == "CLIENT_HANDSHAKE_TRAFFIC_SECRET"
    )
    verify_data = finished_verify_data(suite, secret, transcript.digest())
    pair.server.receive(Level.HANDSHAKE, encode_message(H.FINISHED, verify_data))
    assert pair.server.complete
    assert len(pair.server.take_output()) == count


def test_psk_without_a_key_exchange_is_not_taken(make_site: Any) -> None:
    site = make_site()
    (session, _) = site.sessions()
    pair = site.connect(session)
    pair.client.start()
    ((level, message),) = pair.client.take_output()
    hello = ClientHello.parse(message[4:])
    extensions = {**hello.extensions, ExtensionType.PSK_KEY_EXCHANGE_MODES: b"\1\0"}
    pair.server.receive(level, replace(hello, extensions=extensions).encode())
    assert H.CERTIFICATE in [message[0] for _, message in pair.server.take_output()]
    assert not pair.server.resumed


def test_lifetime_ends(make_site: Any) -> None:
    site = make_site(server={"ticket_lifetime": 100})
    (session, other) = site.sessions()
    check_complete(site.connect(session, now=NOW + 100).run(), resumed=True)
    # The client knows it.
    late = site.connect(other, now=NOW + 100.1).run()
    check_complete(late, resumed=False)
    assert other.ticket not in late.log[0][2]
    # And so does the server, when the client's clock is wrong.
    check_complete(site.connect(other, now=NOW + 99, server_now=NOW + 101).run(), resumed=False)


def test_clock_of_another_server(make_site: Any) -> None:
    site = make_site()
    (session, other) = site.sessions()
    check_complete(site.connect(session, now=NOW, server_now=NOW - 9).run(), resumed=True)
    check_complete(site.connect(other, now=NOW, server_now=NOW - 11).run(), resumed=False)
    # A client whose clock was set back can't tell the age.
    check_complete(site.connect(other, now=NOW - 1, server_now=NOW).run(), resumed=False)


def test_chain_of_resumptions_ends_after_a_week(make_site: Any) -> None:
    site = make_site(server={"ticket_lifetime": MAX_TICKET_LIFETIME})
    (session, _) = site.sessions()
    pair = site.connect(session, now=NOW + 6 * DAY).run()
    check_complete(pair, resumed=True)
    (session, other) = pair.client.take_tickets()
    assert (session.established, session.received) == (NOW, NOW + 6 * DAY)
    assert session.ticket_lifetime == DAY
    # At the very end there is no ticket that would last.
    last = site.connect(session, now=NOW + 7 * DAY).run()
    check_complete(last, resumed=True)
    assert H.NEW_SESSION_TICKET not in types(last, "server")
    check_complete(site.connect(other, now=NOW + 7 * DAY + 1).run(), resumed=False)
    # A client that does not count is refused by the server.
    forgetful = replace(other, established=NOW + DAY, ticket_lifetime=2 * DAY)
    check_complete(site.connect(forgetful, now=NOW + 7 * DAY + 1).run(), resumed=False)


@pytest.mark.parametrize(
    ("first", "second", "resumed"),
    [
        (TLS_AES_128_GCM_SHA256, TLS_CHACHA20_POLY1305_SHA256, True),
        (TLS_CHACHA20_POLY1305_SHA256, TLS_AES_128_GCM_SHA256, True),
        (TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, False),
        (TLS_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256, False),
    ],
)
def test_other_suite(make_site: Any, first: int, second: int, resumed: bool) -> None:
    site = make_site(client={"cipher_suites": (first, second)}, server={"cipher_suites": (first,)})
    (session, _) = site.sessions()
    server = replace(site.server_config, cipher_suites=(second,))
    pair = site.connect(session, server_config=server).run()
    check_complete(pair, resumed=resumed)
    # The client asked, for the suite that it knew; 0-RTT needs that very suite (RFC 9846 §4.2.10).
    assert (pair.client.early_data_offered, pair.client.early_data_accepted) == (True, False)
    # Without a suite of the hash it does not ask.
    client = replace(site.client_config, cipher_suites=(second,))
    pair = site.connect(session, server_config=server, client_config=client).run()
    check_complete(pair, resumed=resumed)
    assert not pair.client.early_data_offered


def test_other_server_name_is_not_offered(make_site: Any) -> None:
    site = make_site()
    (session, other) = site.sessions()
    check_complete(site.connect(session, server_name="server4").run(), resumed=False)
    check_complete(site.connect(other, server_name="SERVER").run(), resumed=True)


def test_session_that_was_never_verified(make_site: Any) -> None:
    site = make_site()
    insecure = replace(site.client_config, insecure=True)
    (session, other) = site.sessions(client_config=insecure)
    assert not session.verified
    check_complete(site.connect(session).run(), resumed=False)
    pair = site.connect(other, client_config=insecure).run()
    check_complete(pair, resumed=True)
    # Nor does it become so by resumption.
    assert not pair.client.take_tickets()[0].verified
    # Nor is a check forgotten.
    (session, _) = site.sessions()
    pair = site.connect(session, client_config=insecure).run()
    check_complete(pair, resumed=True)
    assert pair.client.take_tickets()[0].verified


def test_unknown_tickets_give_a_full_handshake(make_site: Any) -> None:
    site = make_site()
    (session, _) = site.sessions()
    damaged = bytearray(session.ticket)
    damaged[-1] ^= 1
    for ticket in (bytes(damaged), session.ticket[:-1], session.ticket[:20], session.ticket[:16], b"x"):
        pair = site.connect(replace(session, ticket=ticket)).run()
        check_complete(pair, resumed=False)
        assert pair.client.early_data_accepted is False
        assert len(pair.client.take_tickets()) == 2


def test_wrong_key_is_a_wrong_binder(make_site: Any) -> None:
    site = make_site()
    (session, other) = site.sessions()
    error = site.connect(replace(session, psk=other.psk)).failure()
    assert isinstance(error, AlertError)
    assert error.alert == AlertDescription.DECRYPT_ERROR


def test_changed_hello_is_a_wrong_binder(make_site: Any) -> None:
    site = make_site()
    (session, _) = site.sessions()
    pair = site.connect(session)
    pair.on_message = lambda _sender, _level, message: (
        message.replace(b"client parameters", b"client Parameters")
        if message[0] == H.CLIENT_HELLO
        else message
    )
    error = pair.failure()
    assert isinstance(error, AlertError)
    assert error.alert == AlertDescription.DECRYPT_ERROR


def test_servers_share_their_keys(make_site: Any) -> None:
    keys = KeyRing.generate(random.Random(1).randbytes, NOW)
    site = make_site(server={"ticket_keys": keys})
    (session, other) = site.sessions()
    copy = KeyRing.load(keys.dump(), random.Random(2).randbytes)
    twin = make_site(server={"ticket_keys": copy})
    pair = twin.connect(session).run()
    check_complete(pair, resumed=True)
    # And back again, with the other key ring's ticket.
    check_complete(site.connect(pair.client.take_tickets()[0]).run(), resumed=True)
    stranger = make_site(server={"ticket_keys": KeyRing.generate(random.Random(9).randbytes, NOW)})
    check_complete(stranger.connect(other).run(), resumed=False)


def test_ticket_of_another_scope(make_site: Any) -> None:
    # RFC 9369 §5: as a version of QUIC is.
    site = make_site()
    (session, other) = site.sessions(ticket_scope=b"v1")
    pair = site.connect(session, ticket_scope=b"v2").run()
    check_complete(pair, resumed=False)
    pair = site.connect(session, ticket_scope=b"v1")
    # What was negotiated is known later than what the client began with.
    pair.server.new_ticket_scope = b"v2"
    check_complete(pair.run(), resumed=True)
    (session, _) = pair.client.take_tickets()
    check_complete(site.connect(session, ticket_scope=b"v2").run(), resumed=True)
    check_complete(site.connect(other, ticket_scope=b"").run(), resumed=False)


def test_keys_rotate_under_tickets(make_site: Any) -> None:
    site = make_site(server={"ticket_lifetime": MAX_TICKET_LIFETIME})
    (session, other) = site.sessions()
    keys = site.server_config.ticket_keys
    keys.rotate(NOW + DAY)
    check_complete(site.connect(session, now=NOW + DAY).run(), resumed=True)
    for day in range(2, 10):
        keys.rotate(NOW + day * DAY)
    check_complete(site.connect(other, now=NOW + 6 * DAY).run(), resumed=False)


@pytest.mark.parametrize("suite", [TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384])
def test_resumption_after_a_retry_request(make_site: Any, suite: int) -> None:
    site = make_site(server={"groups": (SECP384R1,), "cipher_suites": (suite,)})
    (session, other) = site.sessions()
    pair = site.connect(session).run()
    check_complete(pair, resumed=True)
    assert types(pair, "client") == [H.CLIENT_HELLO, H.CLIENT_HELLO, H.FINISHED]
    assert (pair.client.early_data_offered, pair.server.early_data_offered) == (True, True)
    assert (pair.client.early_data_accepted, pair.server.early_data_accepted) == (False, False)
    # RFC 9846 §4.1.4: with the hash of another suite the session is not offered again.
    other_suite = TLS_AES_256_GCM_SHA384 if suite == TLS_AES_128_GCM_SHA256 else TLS_AES_128_GCM_SHA256
    server = replace(site.server_config, cipher_suites=(other_suite,))
    pair = site.connect(other, server_config=server).run()
    check_complete(pair, resumed=False)
    first, second = (
        message for who, _, message in pair.log if who == "client" and message[0] == H.CLIENT_HELLO
    )
    assert other.ticket in first
    assert other.ticket not in second


def test_second_hello_with_a_wrong_binder(make_site: Any) -> None:
    site = make_site(server={"groups": (SECP384R1,)})
    (session, _) = site.sessions()
    pair = site.connect(session)
    hellos = 0

    def damage(_sender: str, _level: Level, message: bytes) -> bytes:
        nonlocal hellos
        hellos += message[0] == H.CLIENT_HELLO
        return message[:-1] + bytes((message[-1] ^ 1,)) if hellos == 2 and message[0] == 1 else message

    pair.on_message = damage
    error = pair.failure()
    assert isinstance(error, AlertError)
    assert error.alert == AlertDescription.DECRYPT_ERROR


@pytest.mark.parametrize("kind", ["p256", None])
def test_certificate_of_the_client_is_remembered(make_site: Any, pki: Any, kind: str | None) -> None:
    authentication = {
        "client_authentication": ClientAuthentication.OPTIONAL,
        "client_roots": (pki.root.certificate,),
    }
    site = make_site(server=authentication)
    client = pki.client_config(kind)
    first = site.connect(client_config=client).run()
    assert first.server.client_authenticated == (kind is not None)
    (session, other) = first.client.take_tickets()
    pair = site.connect(session, client_config=client).run()
    check_complete(pair, resumed=True)
    assert pair.server.client_authenticated == (kind is not None)
    assert pair.server.peer_certificates == ()
    assert H.CERTIFICATE_REQUEST not in types(pair, "server")
    # A server that must have a certificate resumes only what began with one.
    strict = replace(site.server_config, client_authentication=ClientAuthentication.REQUIRED)
    pair = site.connect(other, client_config=client, server_config=strict)
    if kind is None:
        error = pair.failure()
        assert isinstance(error, AlertError)
        assert error.alert == AlertDescription.CERTIFICATE_REQUIRED
    else:
        check_complete(pair.run(), resumed=True)


def test_flood_of_tickets_is_bounded(pki: Any, make_pair: Any) -> None:
    pair = make_pair(pki.client_config(), pki.server_config()).run()
    for number in range(1, 100):
        ticket = NewSessionTicket(1, 1, b"", bytes((number,)), early_data=False)
        pair.client.receive(Level.ONE_RTT, ticket.encode())
    assert [each.ticket[0] for each in pair.client.take_tickets()] == list(range(1, 17))


def test_lifetimes_that_a_server_should_not_give(pki: Any, make_pair: Any) -> None:
    pair = make_pair(pki.client_config(), pki.server_config()).run()
    for lifetime in (0, 2**32 - 1):
        ticket = NewSessionTicket(lifetime, 2**32 - 1, b"\0" * 255, b"ticket", early_data=False)
        pair.client.receive(Level.ONE_RTT, ticket.encode())
    (session,) = pair.client.take_tickets()
    assert session.ticket_lifetime == MAX_TICKET_LIFETIME
    assert pair.client.take_output() == []


def test_ticket_in_pieces(make_site: Any) -> None:
    site = make_site()
    pair = site.connect()
    pair.pieces = lambda data: [data[i : i + 1] for i in range(len(data))]
    (session, _) = pair.run().client.take_tickets()
    pair = site.connect(session)
    pair.pieces = lambda data: [data[:20], data[20:]]
    check_complete(pair.run(), resumed=True)


def test_server_that_can_not_work(make_site: Any) -> None:
    site = make_site()
    for missing in ("ticket_keys", "anti_replay"):
        config = replace(site.server_config, **{missing: None})
        with pytest.raises(ValueError, match="0-RTT needs"):
            site.connect(server_config=config)
    site.connect(application_state=bytes(MAX_APPLICATION_STATE))
    with pytest.raises(ValueError, match="application_state"):
        site.connect(application_state=bytes(MAX_APPLICATION_STATE + 1))


def test_early_data_flag_of_quic_is_all_or_nothing(make_site: Any) -> None:
    # RFC 9001 §4.6.1.
    pair = make_site().connect().run()
    (ticket, _) = (message for _, _, message in pair.log if message[0] == H.NEW_SESSION_TICKET)
    assert ticket.endswith(b"\0\x08\0\x2a\0\4\xff\xff\xff\xff")
    pair = make_site(server={"early_data": False}).connect().run()
    (ticket, _) = (message for _, _, message in pair.log if message[0] == H.NEW_SESSION_TICKET)
    assert ticket.endswith(b"\0\0")
