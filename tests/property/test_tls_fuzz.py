"""Damaged handshakes: whatever a peer sends, the answer is success or an error of the protocol."""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoint.errors import TransportError
from endpoint.keyring import KeyRing
from endpoint.level import Level
from endpoint.tls.certificates import make_self_signed
from endpoint.tls.client import TlsClient
from endpoint.tls.config import ClientAuthentication, TlsConfig
from endpoint.tls.groups import SECP256R1
from endpoint.tls.messages import NewSessionTicket
from endpoint.tls.server import TlsServer
from endpoint.tls.session import Session
from endpoint.tls.tickets import AntiReplay

NOW = 1_790_000_000.0
Damage = Callable[[bytes], bytes]

# A damaged certificate may have a serial number that the library only warns about.
pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")


@cache
def configs(retry: bool) -> tuple[TlsConfig, TlsConfig]:
    """A client and a server that authenticate each other, with a retry or without."""
    certificate, key = make_self_signed(["server"], NOW)
    server = TlsConfig(
        alpn_protocols=("h3",),
        groups=(SECP256R1,) if retry else TlsConfig(alpn_protocols=("h3",)).groups,
        certificate_chain=(certificate,),
        private_key=key,
        client_authentication=ClientAuthentication.OPTIONAL,
        client_roots=(certificate,),
    )
    client = TlsConfig(
        alpn_protocols=("h3",),
        trusted_roots=(certificate,),
        certificate_chain=(certificate,),
        private_key=key,
    )
    return client, server


def endpoints(
    client_config: TlsConfig, server_config: TlsConfig, session: Session | None = None
) -> tuple[TlsClient, TlsServer]:
    """Both sides, the client started."""
    client = TlsClient(
        client_config,
        transport_parameters=b"parameters",
        random=random.Random(1).randbytes,
        wall_time=lambda: NOW,
        server_name="server",
        session=session,
    )
    server = TlsServer(
        server_config,
        transport_parameters=b"parameters",
        random=random.Random(2).randbytes,
        wall_time=lambda: NOW,
    )
    client.start()
    return client, server


def fresh(retry: bool = False) -> tuple[TlsClient, TlsServer]:
    """Both sides of a full handshake."""
    return endpoints(*configs(retry))


def exchange(client: TlsClient, server: TlsServer, number: int = -1, damage: Damage = bytes) -> bool:
    """Exchange messages until both are silent, with message `number` damaged; whether that changed it."""
    count = 0
    altered = False
    moved = True
    while moved:
        moved = False
        for source, target in ((client, server), (server, client)):
            for level, message in source.take_output():
                moved = True
                received = damage(message) if count == number else message
                altered |= received != message
                target.receive(level, received)
                count += 1
    return altered


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    """Flip, insert, cut, or double bytes, with the length in the header put right or left wrong."""
    kind = draw(st.sampled_from(["flip", "set", "insert", "cut", "double"]))
    where = draw(st.floats(0, 1, exclude_max=True))
    value = draw(st.integers(1, 255))
    repair = draw(st.booleans())

    def damage(message: bytes) -> bytes:
        position = int(where * len(message))
        head, tail = message[:position], message[position:]
        changed = {
            "flip": lambda: head + bytes((tail[0] ^ value,)) + tail[1:],
            "set": lambda: head + b"\xff" + tail[1:],
            "insert": lambda: head + bytes((value,)) + tail,
            "cut": lambda: head + tail[1 + value % 8 :],
            "double": lambda: head + tail[: value % 16] + tail,
        }[kind]()
        if repair and len(changed) >= 4:
            changed = changed[:1] + (len(changed) - 4).to_bytes(3, "big") + changed[4:]
        return changed

    return damage


@given(st.booleans(), st.integers(0, 11), damages())
def test_damaged_message(retry: bool, number: int, damage: Damage) -> None:
    client, server = fresh(retry)
    try:
        altered = exchange(client, server, number, damage)
    except TransportError:
        return
    # Every message is in the transcript, so that no change escapes both of the Finished messages.
    assert (client.complete and server.complete) != altered


@given(st.lists(st.tuples(st.sampled_from(Level), st.binary(max_size=50)), max_size=6), st.booleans())
def test_arbitrary_bytes_at_any_level(pieces: list[tuple[Level, bytes]], complete: bool) -> None:
    pair = fresh()
    if complete:
        exchange(*pair)
    for endpoint in pair:
        try:
            for level, data in pieces:
                endpoint.receive(level, data)
        except TransportError:
            continue


@given(damages())
def test_damaged_ticket(damage: Damage) -> None:
    client, server = fresh()
    exchange(client, server)
    ticket = NewSessionTicket(7200, 5, b"nonce", b"ticket" * 10, early_data=True).encode()
    try:
        client.receive(Level.ONE_RTT, damage(ticket))
    except TransportError:
        return
    assert len(client.take_tickets()) <= 1


@cache
def resumable(retry: bool) -> tuple[TlsConfig, TlsConfig, Session]:
    """A client and a server that have met before, and the session that they have of it."""
    client_config, server_config = configs(retry)
    client_config = replace(client_config, early_data=True)
    keys = KeyRing.generate(random.Random(3).randbytes, NOW)
    server_config = replace(server_config, early_data=True, ticket_keys=keys, anti_replay=AntiReplay(NOW))
    client, server = endpoints(client_config, server_config)
    exchange(client, server)
    (session, _) = client.take_tickets()
    return client_config, server_config, session


@given(st.booleans(), st.integers(0, 8), damages())
def test_damaged_message_of_a_resumption(retry: bool, number: int, damage: Damage) -> None:
    client_config, server_config, session = resumable(retry)
    # A fresh guard each time: the same ticket is used over and over.
    server_config = replace(server_config, anti_replay=AntiReplay(NOW))
    client, server = endpoints(client_config, server_config, session)
    try:
        altered = exchange(client, server, number, damage)
    except TransportError:
        return
    # Only the tickets come after both of the Finished messages, and are in no transcript.
    assert (client.complete and server.complete) != (altered and number < (7 if retry else 5))
    if not client.complete or not server.complete:
        return
    assert (client.resumed, server.resumed) == (True, True)
    assert client.early_data_accepted == server.early_data_accepted == (not retry)


@given(st.binary(min_size=1, max_size=300), st.integers(0, 2**32 - 1))
def test_sessions_of_somebody_else(ticket: bytes, ticket_age_add: int) -> None:
    client_config, server_config, session = resumable(False)
    other = replace(session, ticket=ticket, ticket_age_add=ticket_age_add)
    client, server = endpoints(client_config, server_config, other)
    exchange(client, server)
    assert (client.complete, server.complete) == (True, True)
    assert (client.resumed, client.early_data_accepted) == (False, False)
