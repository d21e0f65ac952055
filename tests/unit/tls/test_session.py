"""Sessions in a file: what comes back is what went in, or nothing."""

import hashlib
import struct
from dataclasses import replace
from typing import Any

import pytest

from endpoint.tls.session import MAX_TICKET_LIFETIME, Session
from endpoint.tls.suites import TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384

NOW = 1_790_000_000.0
SESSION = Session(
    ticket=b"ticket" * 30,
    cipher_suite=TLS_AES_128_GCM_SHA256,
    psk=bytes(range(32)),
    alpn="h3",
    server_name="server",
    received=NOW + 0.1,
    established=NOW - 3.7,
    ticket_lifetime=7200,
    ticket_age_add=0xFFFFFF00,
    early_data=True,
    verified=False,
    application_state=b"state",
)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"early_data": False, "verified": True},
        {"cipher_suite": TLS_AES_256_GCM_SHA384, "psk": bytes(48)},
        {"ticket": b"t", "alpn": "x" * 255, "server_name": "é" * 100, "application_state": b""},
        {"ticket": bytes(65535), "application_state": bytes(65535), "ticket_lifetime": MAX_TICKET_LIFETIME},
        {"received": 0.0, "established": 0.0, "ticket_age_add": 0, "ticket_lifetime": 1},
    ],
)
def test_round_trip(changes: dict[str, Any]) -> None:
    session = replace(SESSION, **changes)
    assert Session.from_bytes(session.to_bytes()) == session


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cipher_suite": 0x1304}, "cipher suite"),
        ({"psk": bytes(48)}, "key"),
        ({"psk": b""}, "key"),
        ({"ticket": b""}, "ticket"),
        ({"ticket": bytes(65536)}, "ticket"),
        ({"alpn": ""}, "protocol"),
        ({"alpn": "x" * 256}, "protocol"),
        ({"server_name": ""}, "server name"),
        ({"server_name": "x" * 65536}, "server name"),
        ({"received": float("nan")}, "time"),
        ({"received": float("inf")}, "time"),
        ({"established": -1.0}, "time"),
        ({"ticket_lifetime": 0}, "ticket_lifetime"),
        ({"ticket_lifetime": MAX_TICKET_LIFETIME + 1}, "ticket_lifetime"),
        ({"ticket_age_add": -1}, "ticket_age_add"),
        ({"ticket_age_add": 2**32}, "ticket_age_add"),
        ({"application_state": bytes(65536)}, "application_state"),
    ],
)
def test_impossible_values(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        replace(SESSION, **changes)


def test_any_damage_is_found() -> None:
    data = SESSION.to_bytes()
    for index in range(len(data)):
        damaged = bytearray(data)
        damaged[index] ^= 0x10
        with pytest.raises(ValueError, match="damaged"):
            Session.from_bytes(bytes(damaged))
        with pytest.raises(ValueError, match="damaged"):
            Session.from_bytes(data[:index])
    with pytest.raises(ValueError, match="damaged"):
        Session.from_bytes(data + b"\0")


def with_digest(data: bytes, body: bytes) -> bytes:
    """A file whose digest is right, around another body."""
    header = data.index(b"\n") + 1
    return data[:header] + hashlib.sha256(body).digest()[:16] + body


def test_values_are_checked_behind_the_digest() -> None:
    data = SESSION.to_bytes()
    body = data[data.index(b"\n") + 1 + 16 :]
    assert with_digest(data, body) == data
    name = body.index(b"server")
    times = struct.pack(">d", SESSION.received)
    for bad in (
        b"",
        body[:-1],
        body + b"\0",
        body[:name] + b"\xff" + body[name + 1 :],
        body.replace(b"\x02h3", b"\x02\xff3"),
        body.replace(times, struct.pack(">d", float("nan"))),
        body.replace(b"\x13\x01", b"\x13\x04"),
    ):
        with pytest.raises(ValueError, match=r"session|decode"):
            Session.from_bytes(with_digest(data, bad))


def test_age_and_freshness() -> None:
    # RFC 9846 §4.2.11.1: 1,234 ms + 0xFFFFFF00 = 2^32 + 978.
    assert SESSION.obfuscated_ticket_age(NOW + 0.1) == 0xFFFFFF00
    assert replace(SESSION, received=NOW).obfuscated_ticket_age(NOW + 1.2345) == 978
    session = replace(SESSION, received=NOW, established=NOW)
    assert session.is_fresh(NOW)
    assert session.is_fresh(NOW + 7200)
    assert not session.is_fresh(NOW + 7200.5)
    assert not session.is_fresh(NOW - 0.5)
    old = replace(session, established=NOW - MAX_TICKET_LIFETIME)
    assert old.is_fresh(NOW)
    assert not old.is_fresh(NOW + 0.5)


def test_secrets_are_not_printed() -> None:
    assert "psk" not in repr(SESSION)
    assert "ticket=" not in repr(SESSION)
