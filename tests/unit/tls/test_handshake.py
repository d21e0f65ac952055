"""Whole handshakes in memory: every suite, group and key, retries, client certificates, any split."""

import random
from typing import Any

import pytest

from endpoint.errors import AlertDescription, AlertError
from endpoint.level import Level
from endpoint.tls.config import ClientAuthentication
from endpoint.tls.groups import SECP256R1, SECP384R1, X25519, X25519MLKEM768
from endpoint.tls.messages import HandshakeType, ServerHello
from endpoint.tls.server import TlsServer
from endpoint.tls.suites import (
    CIPHER_SUITES,
    TLS_AES_128_GCM_SHA256,
    TLS_AES_256_GCM_SHA384,
    TLS_CHACHA20_POLY1305_SHA256,
)

SUITES = sorted(CIPHER_SUITES)
GROUPS = [X25519, SECP256R1, SECP384R1, X25519MLKEM768]
KINDS = ["p256", "p384", "p521", "rsa", "ed25519"]


def check_complete(pair: Any) -> None:
    assert pair.client.complete
    assert pair.server.complete
    assert pair.client.alpn == pair.server.alpn == "hq-interop"
    assert pair.client.group == pair.server.group
    assert pair.client.cipher_suite == pair.server.cipher_suite
    assert pair.client.client_random == pair.server.client_random
    assert len(pair.client.client_random) == 32
    assert pair.client.peer_transport_parameters == b"server parameters"
    assert pair.server.peer_transport_parameters == b"client parameters"
    mine = {
        (each.level, each.label, each.cipher_suite, each.secret, each.is_write)
        for each in pair.client_secrets
    }
    theirs = {
        (each.level, each.label, each.cipher_suite, each.secret, not each.is_write)
        for each in pair.server_secrets
    }
    assert mine == theirs
    assert len(mine) == 4
    assert pair.client.export("label", b"context", 80) == pair.server.export("label", b"context", 80)


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_combination_completes(pki: Any, make_pair: Any, suite: int, group: int, kind: str) -> None:
    mlkem = group == X25519MLKEM768
    groups = (X25519,) if mlkem else (group,)
    client = pki.client_config(cipher_suites=(suite,), groups=groups, offer_mlkem=mlkem)
    pair = make_pair(client, pki.server_config(kind)).run()
    check_complete(pair)
    assert pair.client.cipher_suite == suite
    assert pair.client.group == group
    assert len(pair.client.peer_certificates) == 1
    assert [level for _, level, _ in pair.log][:3] == [Level.INITIAL, Level.INITIAL, Level.HANDSHAKE]


def test_secrets_come_in_the_order_that_quic_needs(pki: Any, make_pair: Any) -> None:
    pair = make_pair(pki.client_config(), pki.server_config())
    pair.client.start()
    pair.step()
    assert [(each.level, each.is_write) for each in pair.server_secrets] == [
        (Level.HANDSHAKE, False),
        (Level.HANDSHAKE, True),
        (Level.ONE_RTT, True),  # the client's 1-RTT secret only once the client is known
    ]
    assert not pair.server.complete
    assert pair.client.complete
    assert [(each.level, each.is_write, each.label) for each in pair.client_secrets] == [
        (Level.HANDSHAKE, True, "CLIENT_HANDSHAKE_TRAFFIC_SECRET"),
        (Level.HANDSHAKE, False, "SERVER_HANDSHAKE_TRAFFIC_SECRET"),
        (Level.ONE_RTT, True, "CLIENT_TRAFFIC_SECRET_0"),
        (Level.ONE_RTT, False, "SERVER_TRAFFIC_SECRET_0"),
    ]
    pair.step()
    assert [(each.level, each.is_write) for each in pair.server_secrets[3:]] == [(Level.ONE_RTT, False)]


def test_the_same_random_gives_the_same_client_hello(pki: Any, make_pair: Any) -> None:
    hellos = []
    for seed in (5, 5, 6):
        pair = make_pair(pki.client_config(offer_mlkem=True), pki.server_config(), seed=seed)
        pair.client.start()
        hellos.append(pair.client.take_output())
    assert hellos[0] == hellos[1]
    assert hellos[0] != hellos[2]


def test_first_suite_of_the_server_wins(pki: Any, make_pair: Any) -> None:
    client = pki.client_config(cipher_suites=(TLS_CHACHA20_POLY1305_SHA256, TLS_AES_128_GCM_SHA256))
    order = (TLS_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256, TLS_CHACHA20_POLY1305_SHA256)
    pair = make_pair(client, pki.server_config(cipher_suites=order)).run()
    assert pair.server.cipher_suite == TLS_AES_128_GCM_SHA256


def test_first_protocol_of_the_server_wins(pki: Any, make_pair: Any) -> None:
    client = pki.client_config(alpn_protocols=("hq-interop", "h3"))
    pair = make_pair(client, pki.server_config(alpn_protocols=("h3", "hq-interop"))).run()
    assert pair.client.alpn == pair.server.alpn == "h3"


def test_client_hello_offers_exactly_the_configured_suites(pki: Any, make_pair: Any) -> None:
    pair = make_pair(pki.client_config(cipher_suites=(TLS_CHACHA20_POLY1305_SHA256,)), pki.server_config())
    pair.client.start()
    ((level, hello),) = pair.client.take_output()
    assert level is Level.INITIAL
    # After header, version, random and an empty session ID: the list of suites.
    assert hello[4 + 2 + 32 : 4 + 2 + 32 + 5] == b"\x00\x00\x02\x13\x03"


def test_client_hello_fits_one_datagram_unless_mlkem_is_offered(pki: Any, make_pair: Any) -> None:
    sizes = []
    for offer_mlkem in (False, True):
        pair = make_pair(pki.client_config(offer_mlkem=offer_mlkem), pki.server_config())
        pair.client.start()
        sizes.append(len(pair.client.take_output()[0][1]))
    assert sizes[0] < 400
    assert sizes[1] > 1216


def test_server_without_mlkem_takes_the_share_of_x25519(pki: Any, make_pair: Any) -> None:
    pair = make_pair(pki.client_config(offer_mlkem=True), pki.server_config(accept_mlkem=False)).run()
    check_complete(pair)
    assert pair.client.group == X25519
    assert len(pair.log) == 2 + 5


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("group", [SECP256R1, SECP384R1])
def test_hello_retry_request(pki: Any, make_pair: Any, suite: int, group: int) -> None:
    client = pki.client_config(cipher_suites=(suite,), groups=(X25519, SECP256R1, SECP384R1))
    pair = make_pair(client, pki.server_config(groups=(group,))).run()
    check_complete(pair)
    assert pair.client.group == group
    types = [(sender, message[0]) for sender, _, message in pair.log[:4]]
    assert types == [("client", 1), ("server", 2), ("client", 1), ("server", 2)]
    assert ServerHello.parse(pair.log[1][2][4:]).is_retry_request
    assert not ServerHello.parse(pair.log[3][2][4:]).is_retry_request


def test_server_prefers_a_share_over_a_retry(pki: Any, make_pair: Any) -> None:
    server = pki.server_config(groups=(SECP384R1, SECP256R1, X25519))
    pair = make_pair(pki.client_config(groups=(X25519, SECP384R1)), server).run()
    check_complete(pair)
    assert pair.client.group == X25519


@pytest.mark.parametrize("authentication", [ClientAuthentication.OPTIONAL, ClientAuthentication.REQUIRED])
@pytest.mark.parametrize("kind", KINDS)
def test_client_certificate(
    pki: Any, make_pair: Any, authentication: ClientAuthentication, kind: str
) -> None:
    server = pki.server_config(client_authentication=authentication, client_roots=(pki.root.certificate,))
    pair = make_pair(pki.client_config(kind), server).run()
    check_complete(pair)
    assert len(pair.server.peer_certificates) == 1


def test_optional_client_certificate_may_be_missing(pki: Any, make_pair: Any) -> None:
    server = pki.server_config(
        client_authentication=ClientAuthentication.OPTIONAL, client_roots=(pki.root.certificate,)
    )
    pair = make_pair(pki.client_config(), server).run()
    check_complete(pair)
    assert pair.server.peer_certificates == ()


def test_client_certificate_is_not_sent_unasked(pki: Any, make_pair: Any) -> None:
    pair = make_pair(pki.client_config("p256"), pki.server_config()).run()
    check_complete(pair)
    assert [message[0] for sender, _, message in pair.log if sender == "client"] == [
        HandshakeType.CLIENT_HELLO,
        HandshakeType.FINISHED,
    ]


@pytest.mark.parametrize("server_name", ["server", "server4", "SERVER", "server."])
def test_server_name(pki: Any, make_pair: Any, server_name: str) -> None:
    pair = make_pair(pki.client_config(), pki.server_config(), server_name=server_name).run()
    assert pair.server.server_name == server_name.rstrip(".")


def test_ip_address_is_no_server_name(pki: Any, make_pair: Any) -> None:
    pair = make_pair(pki.client_config(insecure=True), pki.server_config(), server_name="::1").run()
    assert pair.server.server_name is None


def test_one_byte_at_a_time(pki: Any, make_pair: Any) -> None:
    pair = make_pair(pki.client_config(), pki.server_config(groups=(SECP256R1,)))
    pair.pieces = lambda data: [data[i : i + 1] for i in range(len(data))]
    check_complete(pair.run())


def test_random_splits_and_several_messages_at_once(pki: Any, make_pair: Any) -> None:
    for seed in range(20):
        chance = random.Random(seed)
        pair = make_pair(pki.client_config(), pki.server_config())
        pair.client.start()
        pair.server.receive(Level.INITIAL, pair.client.take_output()[0][1])
        streams = {Level.INITIAL: b"", Level.HANDSHAKE: b""}
        for level, message in pair.server.take_output():
            streams[level] += message
        for level, stream in streams.items():
            while stream:
                length = chance.randint(1, len(stream))
                pair.client.receive(level, stream[:length])
                stream = stream[length:]
        assert pair.client.complete


def test_exporter_needs_a_complete_handshake(pki: Any, make_pair: Any) -> None:
    pair = make_pair(pki.client_config(), pki.server_config())
    with pytest.raises(ValueError, match="after the handshake"):
        pair.client.export("label", b"", 32)


def test_server_needs_a_certificate(pki: Any) -> None:
    with pytest.raises(ValueError, match="certificate"):
        TlsServer(
            pki.client_config(),
            transport_parameters=b"",
            random=random.Random(1).randbytes,
            wall_time=lambda: 0.0,
        )


def test_insecure_client_still_checks_the_signature(pki: Any, make_pair: Any) -> None:
    client = pki.client_config(insecure=True, trusted_roots=())
    check_complete(make_pair(client, pki.server_config(), server_name="elsewhere").run())
    pair = make_pair(client, pki.server_config(), server_name="elsewhere")
    pair.on_message = lambda _sender, _level, message: (
        message[:-1] + bytes((message[-1] ^ 1,))
        if message[0] == HandshakeType.CERTIFICATE_VERIFY
        else message
    )
    error = pair.failure()
    assert isinstance(error, AlertError)
    assert error.alert == AlertDescription.DECRYPT_ERROR


def test_server_answers_the_parameters_of_the_client(pki: Any, make_pair: Any) -> None:
    pair = make_pair(pki.client_config(), pki.server_config())
    pair.server = TlsServer(
        pki.server_config(),
        transport_parameters=lambda parameters: b"seen: " + parameters,
        random=random.Random(2).randbytes,
        wall_time=lambda: pki.now,
    )
    pair.run()
    assert pair.client.complete
    assert pair.client.peer_transport_parameters == b"seen: client parameters"
