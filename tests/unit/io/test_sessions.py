"""The store of sessions and tokens."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from endpoint.io.sessions import MAX_ENTRIES, MAX_PER_ORIGIN, Origin, SessionStore, SessionStoreError
from endpoint.tls.session import MAX_TICKET_LIFETIME, Session
from endpoint.wire.version import QUIC_V1, QUIC_V2

START = 1_700_000_000.0
HERE = Origin("server4", 443, "server4")
ELSEWHERE = (
    Origin("server6", 443, "server4"),
    Origin("server4", 444, "server4"),
    Origin("server4", 443, "x"),
)


class Clock:
    now = START

    def __call__(self) -> float:
        return self.now


def make_session(number: int = 1, alpn: str = "h3", lifetime: int = 3600) -> bytes:
    return Session(
        ticket=b"ticket %d" % number,
        cipher_suite=0x1301,
        psk=bytes(32),
        alpn=alpn,
        server_name="server4",
        received=START,
        established=START,
        ticket_lifetime=lifetime,
        ticket_age_add=7,
        early_data=True,
        verified=True,
    ).to_bytes()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> SessionStore:
    return SessionStore(tmp_path / "sessions" if request.param == "file" else None, wall_time=clock)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


def ticket(session: Session | None) -> bytes | None:
    return None if session is None else session.ticket


def test_newest_first_and_each_once(store: SessionStore) -> None:
    for number in (1, 2):
        store.add_session(HERE, QUIC_V1, make_session(number))
        store.add_token(HERE, "h3", QUIC_V1, b"token %d" % number)
    taken = [ticket(store.take_session(HERE, ("h3",), QUIC_V1)) for _ in range(3)]
    assert taken == [b"ticket 2", b"ticket 1", None]
    tokens = [store.take_token(HERE, ("h3",), QUIC_V1) for _ in range(3)]
    assert tokens == [b"token 2", b"token 1", b""]


@pytest.mark.parametrize("other", ELSEWHERE)
def test_another_server(store: SessionStore, other: Origin) -> None:
    store.add_session(HERE, QUIC_V1, make_session())
    store.add_token(HERE, "h3", QUIC_V1, b"token")
    assert store.take_session(other, ("h3",), QUIC_V1) is None
    assert store.take_token(other, ("h3",), QUIC_V1) == b""


def test_another_version_or_protocol(store: SessionStore) -> None:
    store.add_session(HERE, QUIC_V2, make_session())
    assert store.take_session(HERE, ("h3",), QUIC_V1) is None
    assert store.take_session(HERE, ("hq-interop",), QUIC_V2) is None
    assert store.take_session(HERE, ("hq-interop", "h3"), QUIC_V2) is not None


def test_freshness(store: SessionStore, clock: Clock) -> None:
    store.add_session(HERE, QUIC_V1, make_session(1, lifetime=100))
    store.add_session(HERE, QUIC_V1, make_session(2, lifetime=10))
    store.add_token(HERE, "h3", QUIC_V1, b"token")
    clock.now += 11
    assert ticket(store.take_session(HERE, ("h3",), QUIC_V1)) == b"ticket 1"
    clock.now += MAX_TICKET_LIFETIME
    assert store.take_token(HERE, ("h3",), QUIC_V1) == b""


def test_bounds(store: SessionStore) -> None:
    for number in range(MAX_PER_ORIGIN + 2):
        store.add_session(HERE, QUIC_V1, make_session(number))
    store.add_session(HERE, QUIC_V1, make_session(100, alpn="other"))
    taken = [ticket(store.take_session(HERE, ("h3",), QUIC_V1)) for _ in range(MAX_PER_ORIGIN + 1)]
    assert taken == [b"ticket %d" % number for number in range(MAX_PER_ORIGIN + 1, 1, -1)] + [None]


def test_total_is_bounded(clock: Clock) -> None:
    store = SessionStore(None, wall_time=clock)
    for port in range(MAX_ENTRIES + 1):
        store.add_token(Origin("h", port, "h"), "h3", QUIC_V1, b"token")
    assert store.take_token(Origin("h", 0, "h"), ("h3",), QUIC_V1) == b""
    assert store.take_token(Origin("h", 1, "h"), ("h3",), QUIC_V1) == b"token"


def test_last_address(store: SessionStore) -> None:
    assert store.last_address(HERE) == ""
    store.add_session(HERE, QUIC_V1, make_session(), address="192.0.2.1")
    store.add_token(HERE, "h3", QUIC_V1, b"token", address="192.0.2.2")
    store.add_token(ELSEWHERE[0], "h3", QUIC_V1, b"token", address="192.0.2.3")
    assert store.last_address(HERE) == "192.0.2.2"
    store.take_token(HERE, ("h3",), QUIC_V1)
    assert store.last_address(HERE) == "192.0.2.1"


def test_the_file_is_the_owners_alone(path: Path, clock: Clock) -> None:
    store = SessionStore(path, wall_time=clock)
    store.check()
    store.add_session(HERE, QUIC_V1, make_session())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["sessions"], "nothing is left beside it"


def test_another_program_finds_what_is_in_the_file(path: Path, clock: Clock) -> None:
    first, second = (SessionStore(path, wall_time=clock) for _ in range(2))
    first.add_session(HERE, QUIC_V1, make_session())
    first.add_token(HERE, "h3", QUIC_V1, b"\x00\xfftoken")
    session = second.take_session(HERE, ("h3",), QUIC_V1)
    assert session == Session.from_bytes(make_session())
    assert second.take_token(HERE, ("h3",), QUIC_V1) == b"\x00\xfftoken"
    assert first.take_session(HERE, ("h3",), QUIC_V1) is None


def test_a_missing_file_is_an_empty_one(path: Path) -> None:
    assert SessionStore(path).take_session(HERE, ("h3",), QUIC_V1) is None
    assert not path.exists()


def edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    """Damage to the first entry of the file."""

    def edit(content: bytes) -> bytes:
        document = json.loads(content)
        change(document["entries"][0])
        return json.dumps(document).encode()

    return edit


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda content: content[:-20],
        lambda _: b"\xff\xfe",
        lambda _: b"[]",
        lambda _: b'{"format": "interquic sessions 1"}',
        lambda _: b'{"format": "interquic sessions 1", "entries": 3}',
        lambda _: b'{"format": "interquic sessions 1", "entries": [3]}',
        lambda _: b'{"format": "another", "entries": []}',
        lambda _: b"[" * 100_000,
        edited(lambda entry: entry.pop("host")),
        edited(lambda entry: entry.pop("address")),
        edited(lambda entry: entry.update(data="!!")),
        edited(lambda entry: entry.update(data="QUJD")),
        edited(lambda entry: entry.update(data=None)),
        edited(lambda entry: entry.update(version="v1")),
        edited(lambda entry: entry.update(version=1)),
        edited(lambda entry: entry.update(received=None)),
        edited(lambda entry: entry.update(kind="cookie")),
    ],
)
def test_damage_is_told(path: Path, clock: Clock, damage: Callable[[bytes], bytes]) -> None:
    store = SessionStore(path, wall_time=clock)
    store.add_session(HERE, QUIC_V1, make_session())
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(SessionStoreError, match="sessions: not a session file, or damaged"):
        store.check()
    with pytest.raises(SessionStoreError):
        store.add_token(HERE, "h3", QUIC_V1, b"token")
    assert path.read_bytes() == before, "what is not ours is not written over"


def test_places_that_can_not_be_used(tmp_path: Path) -> None:
    with pytest.raises(SessionStoreError, match="Is a directory"):
        SessionStore(tmp_path).check()
    with pytest.raises(SessionStoreError, match="No such file or directory"):
        SessionStore(tmp_path / "none" / "sessions").check()


def test_what_is_no_session(store: SessionStore) -> None:
    with pytest.raises(ValueError, match="not a session"):
        store.add_session(HERE, QUIC_V1, b"x")


def test_settings_are_kept_with_the_sessions(store: SessionStore, clock: Clock) -> None:
    assert store.settings(HERE, "h3") is None
    store.add_session(HERE, QUIC_V1, make_session(1), address="192.0.2.1")
    store.keep_settings(HERE, "h3", b"first", since=START)
    store.keep_settings(ELSEWHERE[0], "h3", b"other", since=START)
    assert store.settings(HERE, "h3") == b"first"
    assert store.settings(HERE, "hq") is None
    # They came from no address: that of the session is the last.
    assert store.last_address(HERE) == "192.0.2.1"
    # The same again change nothing for the sessions from before.
    clock.now += 60
    store.keep_settings(HERE, "h3", b"first", since=clock.now)
    assert store.session_alpn(HERE, ["hq", "h3"], QUIC_V1) == "h3"


def test_other_settings_end_the_sessions_from_before(store: SessionStore, clock: Clock) -> None:
    store.add_session(HERE, QUIC_V1, make_session(1))
    store.add_session(ELSEWHERE[0], QUIC_V1, make_session(2))
    store.keep_settings(HERE, "h3", b"first", since=START)
    clock.now += 60
    store.add_session(HERE, QUIC_V1, make_session(3))
    store.keep_settings(HERE, "h3", b"second", since=clock.now)
    assert store.settings(HERE, "h3") == b"second"
    taken = store.take_session(HERE, ["h3"], QUIC_V1)
    assert taken is not None
    assert taken.ticket == b"ticket 3"
    assert store.take_session(HERE, ["h3"], QUIC_V1) is None
    assert store.take_session(ELSEWHERE[0], ["h3"], QUIC_V1) is not None


def test_the_protocol_of_the_next_session(store: SessionStore, clock: Clock) -> None:
    assert store.session_alpn(HERE, ["h3"], QUIC_V1) is None
    store.add_session(HERE, QUIC_V1, make_session(1, alpn="h3"))
    store.add_session(HERE, QUIC_V1, make_session(2, alpn="hq-interop"))
    assert store.session_alpn(HERE, ["h3", "hq-interop"], QUIC_V1) == "hq-interop"
    assert store.session_alpn(HERE, ["h3"], QUIC_V1) == "h3"
    assert store.session_alpn(HERE, ["h3"], QUIC_V2) is None
    clock.now += 3601
    assert store.session_alpn(HERE, ["h3"], QUIC_V1) is None
