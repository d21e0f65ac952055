"""Whatever comes: nothing raises, nobody but the peer itself ends a connection, and time goes on."""

import datetime as dt
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endpoint.events import ConnectionClosed
from endpoint.level import Level
from endpoint.testing.certificates import Chain
from endpoint.testing.packets import RawSession, raw_client_session, raw_server_session
from endpoint.wire.frames import Ping, Stream

LEVELS = [Level.INITIAL, Level.HANDSHAKE, Level.ONE_RTT]
ROLES = ["client", "server"]
STAGES = ["start", "flight", "complete"]


@pytest.fixture(scope="session")
def sessions(chain: Chain, valid_from: dt.datetime) -> "Maker":
    return Maker(chain, valid_from.timestamp() + 3600)


class Maker:
    """Makes sessions of either role at any stage."""

    def __init__(self, chain: Chain, wall_time: float) -> None:
        self.chain = chain
        self.wall_time = wall_time

    def __call__(self, role: str, stage: str) -> RawSession:
        make = raw_client_session if role == "server" else raw_server_session
        session = make(self.chain, self.wall_time)
        if stage == "complete":
            session.handshake()
            return session
        session.collect()
        if stage == "flight":
            first, *session.held = session.raw.flight()
            session.deliver(first)
        elif role == "server":
            session.send(Level.INITIAL, Ping())
        return session


def mutate(rng: random.Random, datagram: bytes) -> bytes:
    """One change that a network or an attacker might make."""
    data = bytearray(datagram)
    match rng.randrange(5):
        case 0:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 1:
            del data[rng.randrange(1, len(data)) :]
        case 2:
            data += rng.randbytes(rng.randrange(1, 300))
        case 3:
            start = rng.randrange(len(data))
            data[start : start + rng.randrange(1, 40)] = rng.randbytes(rng.randrange(1, 40))
        case _:
            data[: min(30, len(data))] = data[rng.randrange(len(data)) :][:30].ljust(
                min(30, len(data)), b"\0"
            )
    return bytes(data)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("role", ROLES)
def test_damaged_datagrams(sessions: Maker, role: str, stage: str, seed: int) -> None:
    """Mutations of real packets at every level: the connection stays open, and works afterwards."""
    rng = random.Random(seed)
    session = sessions(role, stage)
    raw = session.raw
    session.deaf = True
    for _ in range(800):
        level = rng.choice([level for level in LEVELS if level in raw.write_keys])
        number = raw.next_pn[level]
        genuine = raw.datagram(
            level, Ping(), Stream(0, 0, b"x" * 40, False) if level is Level.ONE_RTT else b"\x01"
        )
        raw.next_pn[level] = number
        damaged = mutate(rng, genuine)
        if damaged.startswith(genuine):
            continue  # only something appended: the packet itself is genuine
        session.deliver(damaged)
    assert session.closed is None
    session.deaf = False
    session.handshake()
    session.send(Level.ONE_RTT, Ping())
    assert session.connection.handshake_complete
    assert session.closed is None


@pytest.mark.parametrize("role", ROLES)
def test_batches_with_anything_between(sessions: Maker, role: str, seed: int) -> None:
    """Runs of equal datagrams, some of them good: every good one counts, once."""
    rng = random.Random(seed)
    session = sessions(role, "complete")
    stream_id, size, chunk = (0 if role == "server" else 1), 500, 400
    expected = b""
    for _ in range(30):
        batch: list[bytes] = []
        for _ in range(rng.randrange(1, 20)):
            kind = rng.random()
            if kind < 0.6 or not batch:
                data = rng.randbytes(chunk)
                frame = Stream(stream_id, len(expected), data, False)
                batch.append(session.raw.packet(Level.ONE_RTT, frame, fill_to=size))
                expected += data
            elif kind < 0.75:
                batch.append(rng.choice(batch))
            elif kind < 0.9:
                damaged = bytearray(rng.choice(batch))
                damaged[rng.randrange(size)] ^= 1 << rng.randrange(8)
                batch.append(bytes(damaged))
            else:
                batch.append(rng.randbytes(size))
        rng.shuffle(batch)
        session.deliver(*batch, batch=True)
        data, _ = session.connection.read(stream_id)
        session.collect()
        assert expected.endswith(data)
        assert data or expected == b""
        assert session.connection.read(stream_id) == (b"", False)
        session.settle()
    assert session.closed is None


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("role", ROLES)
def test_authentic_nonsense(sessions: Maker, role: str, stage: str, seed: int) -> None:
    """Random frames in good packets: a close at worst, said once, and it ends in time."""
    rng = random.Random(seed)
    for _ in range(30):
        session = sessions(role, stage)
        raw = session.raw
        session.deaf = True
        for _ in range(25):
            level = rng.choice([level for level in LEVELS if level in raw.write_keys])
            content = bytes([rng.randrange(0x20)]) + rng.randbytes(rng.randrange(60))
            session.deliver(raw.datagram(level, content))
            if session.closed is not None:
                break
        session.advance(200.0)
        closed = session.closed
        assert isinstance(closed, ConnectionClosed)
        assert session.connection.is_closed
        assert session.connection.next_timeout() is None


@pytest.mark.parametrize("role", ROLES)
def test_damaged_handshake_messages(sessions: Maker, role: str, seed: int) -> None:
    """Mutated TLS in authentic packets never raises anything of its own."""
    rng = random.Random(seed)
    for _ in range(100):
        session = sessions(role, "start")
        raw = session.raw
        if role == "server":
            raw.next_pn[Level.INITIAL] = 1
        target = rng.randrange(2)
        for index, (level, message) in enumerate(raw.tls.take_output()):
            if index == target or role == "server":
                data = bytearray(message)
                # Of most messages anything; the length of the first is left alone half of the time.
                data[rng.randrange(rng.choice([0, 4]), len(data))] = rng.randrange(256)
                message = bytes(data)
            for start in range(0, len(message), 1000):
                session.send(level, raw.crypto(level, message[start : start + 1000]))
        session.collect()
        assert session.closed is None or not session.closed.remote


@settings(max_examples=150, deadline=None)
@given(
    datagrams=st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=4),
    prefix=st.sampled_from(["none", "short", "long", "initial"]),
    role=st.sampled_from(ROLES),
)
def test_arbitrary_bytes(
    shared: dict[str, RawSession], datagrams: list[bytes], prefix: str, role: str
) -> None:
    """Also behind the beginning of a good header."""
    session = shared[role]
    raw = session.raw
    ids = bytes([len(raw.peer_cid)]) + raw.peer_cid + bytes([len(raw.cid)]) + raw.cid
    head = {
        "none": b"",
        "short": b"\x41" + raw.peer_cid,
        "long": b"\xe0\x00\x00\x00\x01" + ids,
        "initial": b"\xc0\x00\x00\x00\x01" + ids,
    }[prefix]
    for datagram in datagrams:
        session.deliver(head + datagram)
    assert session.closed is None


@pytest.fixture(scope="session")
def shared(sessions: Maker) -> dict[str, RawSession]:
    """One long-lived session per role."""
    return {role: sessions(role, "complete") for role in ROLES}
