"""What is in a ticket, the keys around it, and the guard against the same 0-RTT twice."""

import random
from dataclasses import replace

import pytest

from endpoint.keyring import KeyRing
from endpoint.tls.session import MAX_TICKET_LIFETIME
from endpoint.tls.suites import TLS_AES_256_GCM_SHA384
from endpoint.tls.tickets import AntiReplay, TicketContent, open_ticket, seal_ticket, server_name_digest

NOW = 1_790_000_000.0
DAY = 24 * 3600
CONTENT = TicketContent(
    cipher_suite=TLS_AES_256_GCM_SHA384,
    psk=bytes(range(48)),
    alpn="h3",
    server_name=server_name_digest("server"),
    issued=NOW + 0.125,
    established=NOW - 1000.5,
    ticket_lifetime=7200,
    ticket_age_add=0xFEDCBA98,
    early_data=True,
    client_authenticated=False,
    application_state=b"parameters",
)


def ring(seed: int = 1, *, period: float | None = None) -> KeyRing:
    return KeyRing.generate(random.Random(seed).randbytes, NOW, period=period)


@pytest.mark.parametrize("early_data", [True, False])
@pytest.mark.parametrize("client_authenticated", [True, False])
@pytest.mark.parametrize("state", [b"", bytes(1024)])
def test_sealed_and_opened(early_data: bool, client_authenticated: bool, state: bytes) -> None:
    content = replace(
        CONTENT,
        early_data=early_data,
        client_authenticated=client_authenticated,
        application_state=state,
    )
    keys = ring()
    ticket = seal_ticket(keys, content, NOW, b"scope")
    assert open_ticket(keys, ticket, b"scope") == content
    # Nothing of it can be read, and no two are the same.
    for secret in (content.psk, b"h3", content.server_name):
        assert secret not in ticket
    assert seal_ticket(keys, content, NOW, b"scope") != ticket


def test_every_bit_is_sealed() -> None:
    keys = ring()
    ticket = seal_ticket(keys, CONTENT, NOW, b"scope")
    for index in range(len(ticket)):
        damaged = bytearray(ticket)
        damaged[index] ^= 1
        assert open_ticket(keys, bytes(damaged), b"scope") is None
        assert open_ticket(keys, ticket[:index], b"scope") is None
    assert open_ticket(keys, ticket + b"\0", b"scope") is None
    assert open_ticket(ring(2), ticket, b"scope") is None
    assert open_ticket(keys, ticket, b"scope2") is None
    assert open_ticket(keys, ticket, b"") is None


def test_age_as_the_client_sees_it() -> None:
    # RFC 9846 §4.2.11.1: 4,294,967,296 - 4,275,878,552 = 19,088,744 ms to the point where the sum wraps.
    assert CONTENT.client_age(0xFEDCBA98) == 0
    assert CONTENT.client_age(0xFEDCBA98 + 1500) == 1.5
    assert CONTENT.client_age(0) == 19_088.744
    assert CONTENT.client_age(0xFEDCBA97) == 4_294_967.295


def test_freshness() -> None:
    assert CONTENT.is_fresh(CONTENT.issued)
    assert CONTENT.is_fresh(CONTENT.issued + 7200)
    assert not CONTENT.is_fresh(CONTENT.issued + 7200.125)
    assert CONTENT.is_fresh(CONTENT.issued - 10)
    assert not CONTENT.is_fresh(CONTENT.issued - 10.125)
    old = replace(CONTENT, established=CONTENT.issued - MAX_TICKET_LIFETIME)
    assert old.is_fresh(CONTENT.issued)
    assert not old.is_fresh(CONTENT.issued + 0.125)


def test_server_names_are_compared_without_case() -> None:
    assert server_name_digest("Server") == server_name_digest("sERVER") != server_name_digest("server4")
    assert len(server_name_digest("x" * 60_000)) == len(server_name_digest(None)) == 32


def test_rotation_on_demand() -> None:
    keys = ring()
    first = seal_ticket(keys, CONTENT, NOW, b"scope")
    keys.rotate(NOW + 2 * DAY)
    second = seal_ticket(keys, CONTENT, NOW + 2 * DAY, b"scope")
    assert first[:16] != second[:16]
    assert open_ticket(keys, first, b"scope") == open_ticket(keys, second, b"scope") == CONTENT
    # Seven days after its last possible ticket a key is of no use.
    keys.rotate(NOW + 9 * DAY)
    assert open_ticket(keys, first, b"scope") == CONTENT
    keys.rotate(NOW + 9 * DAY + 1)
    assert open_ticket(keys, first, b"scope") is None
    assert open_ticket(keys, second, b"scope") == CONTENT


def test_rotation_by_time() -> None:
    keys = ring(period=100.0)
    names = [seal_ticket(keys, CONTENT, NOW + second, b"scope")[:16] for second in range(0, 350, 50)]
    assert [names.index(name) for name in names] == [0, 0, 2, 2, 4, 4, 6]
    still = ring(period=None)
    names = [seal_ticket(still, CONTENT, NOW + day * DAY, b"scope")[:16] for day in range(100)]
    assert len(set(names)) == 1


def test_number_of_keys_is_bounded() -> None:
    keys = ring()
    first = seal_ticket(keys, CONTENT, NOW, b"scope")
    for _ in range(63):
        keys.rotate(NOW)
    assert open_ticket(keys, first, b"scope") == CONTENT
    keys.rotate(NOW)
    assert open_ticket(keys, first, b"scope") is None
    assert len(KeyRing.load(keys.dump(), random.Random(1).randbytes).dump().splitlines()) == 65


def test_ring_in_a_file() -> None:
    keys = ring()
    old = seal_ticket(keys, CONTENT, NOW, b"scope")
    keys.rotate(NOW + 60)
    copy = KeyRing.load(keys.dump(), random.Random(5).randbytes)
    assert copy.dump() == keys.dump()
    assert open_ticket(copy, old, b"scope") == CONTENT
    # Both seal with the same key, the newest wherever its line is, and it does not rotate by itself.
    lines = keys.dump().splitlines()
    turned = KeyRing.load(b"\n".join((lines[0], lines[2], lines[1])), random.Random(6).randbytes)
    for each in (copy, turned):
        ticket = seal_ticket(each, CONTENT, NOW + 100 * DAY, b"scope")
        assert ticket[:16] == seal_ticket(keys, CONTENT, NOW + 60, b"scope")[:16]
        assert open_ticket(keys, ticket, b"scope") == CONTENT
    rotating = KeyRing.load(keys.dump(), random.Random(7).randbytes, period=3600.0)
    assert open_ticket(keys, seal_ticket(rotating, CONTENT, NOW + DAY, b"scope"), b"scope") is None


def test_key_file_is_checked() -> None:
    good = ring().dump()
    header, line = good.splitlines()
    created, name, key = line.split()
    for bad in (
        b"",
        b"\n",
        header,
        line,
        header + b"x\n" + line,
        header + b"\n" + name + b" " + key,
        header + b"\nx " + name + b" " + key,
        header + b"\n" + created + b" " + name + b" " + key + b"00",
        header + b"\n" + created + b" " + name + b" " + key[:-2],
        header + b"\n" + created + b" " + name[2:] + b" " + key,
        header + b"\n" + created + b" " + name + b" " + key[:-1] + b"g",
        header + b"\n" + line + b"\n" + line,
        header + b"\n\n" + line,
        header + b"\n" + line + b"\n\xff",
        b"\n".join((header, *(b"1 %032x %064x" % (number, number) for number in range(65)))),
    ):
        with pytest.raises(ValueError, match="key"):
            KeyRing.load(bad, random.Random(1).randbytes)
    assert KeyRing.load(good.rstrip(), random.Random(1).randbytes).dump() == good


def test_keys_are_not_printed() -> None:
    keys = ring()
    secret = keys.dump().split()[-1].decode()
    assert secret not in repr(keys)


def test_once_within_the_window() -> None:
    guard = AntiReplay(NOW, window=10.0)
    # A ticket of before the start is let in only when no replay of it can be older than the start.
    assert guard.admit(b"a", NOW + 1, 4.0, NOW + 5)
    assert not guard.admit(b"a", NOW + 1, 4.0, NOW + 5)
    assert not guard.admit(b"a", NOW + 1, 10.0, NOW + 11)
    assert guard.admit(b"b", NOW + 1, 10.0, NOW + 11)
    assert len(guard) == 2


@pytest.mark.parametrize(
    ("age", "admitted"), [(100, True), (90, True), (89.9, False), (110, True), (110.1, False), (4e6, False)]
)
def test_window(age: float, admitted: bool) -> None:
    guard = AntiReplay(NOW, window=10.0)
    assert guard.admit(b"t", NOW, age, NOW + 100) == admitted
    assert len(guard) == admitted


def test_after_the_start() -> None:
    guard = AntiReplay(NOW, window=10.0)
    assert not guard.admit(b"t", NOW - 50, 50.0, NOW)
    assert not guard.admit(b"t", NOW - 50, 60.0, NOW + 10)
    assert guard.admit(b"t", NOW - 50, 60.125, NOW + 10)


def test_remembered_as_long_as_a_replay_would_fit() -> None:
    for offset in range(100):
        # Let in at any time of a generation, with the earliest arrival: it fits for twice the window.
        start = NOW + offset / 2
        guard = AntiReplay(NOW, window=10.0)
        assert guard.admit(b"first", NOW, 0.0, NOW)
        assert guard.admit(b"t", NOW, start + 10 - NOW, start)
        for step in range(41):
            assert not guard.admit(b"t", NOW, start + 10 - NOW, start + step / 2)
        # Other tickets make the generations change.
        for step in range(41):
            later = start + 20 + step / 2
            assert guard.admit(b"%d" % step, NOW, later - NOW, later)
            assert not guard.admit(b"t", NOW, start + 10 - NOW, later)


def test_forgotten_in_the_end() -> None:
    guard = AntiReplay(NOW, window=10.0)
    assert guard.admit(b"t", NOW, 0.0, NOW)
    assert guard.admit(b"u", NOW, 30.0, NOW + 30)
    assert len(guard) == 2
    assert guard.admit(b"v", NOW, 60.0, NOW + 60)
    assert len(guard) == 2
    assert guard.admit(b"w", NOW, 1000.0, NOW + 1000)
    assert len(guard) == 1
    # A fresh use of an old ticket is no replay.
    assert guard.admit(b"t", NOW, 1001.0, NOW + 1001)


def test_memory_is_bounded_and_doubt_refuses() -> None:
    guard = AntiReplay(NOW, window=10.0, capacity=100)
    chance = random.Random(8)
    admitted = 0
    for number in range(1000):
        now = NOW + number * 0.1
        admitted += guard.admit(chance.randbytes(200), NOW, now - NOW, now)
        assert len(guard) <= 200
    # 100 in each 20 seconds.
    assert admitted == 500


def test_clock_that_is_set_back() -> None:
    guard = AntiReplay(NOW, window=10.0)
    assert guard.admit(b"a", NOW, 1000.0, NOW + 1000)
    assert not guard.admit(b"b", NOW, 999.0, NOW + 999)
    assert not guard.admit(b"b", NOW, 0.0, NOW)
    assert guard.admit(b"b", NOW, 1000.0, NOW + 1000)
