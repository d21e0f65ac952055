"""A listener under random datagrams: it never raises, and makes no connections of them."""

import datetime as dt
import random

import pytest

from endpoint.batch import PacketBuffer, RecvBatch
from endpoint.level import Level
from endpoint.listener import Listener
from endpoint.testing.certificates import Chain
from endpoint.testing.link import CLIENT_ADDRESS, SERVER_ADDRESS
from endpoint.testing.packets import make_listener, raw_client_session
from endpoint.wire.frames import Ping, Stream


@pytest.fixture
def wall_time(valid_from: dt.datetime) -> float:
    return valid_from.timestamp() + 3600


@pytest.fixture
def listener(chain: Chain, wall_time: float) -> Listener:
    return make_listener(chain, wall_time)


def flush(listener: Listener, now: float) -> int:
    """How many bytes it answers."""
    buffer = PacketBuffer()
    total = 0
    while (batch := listener.transmit(buffer, now)) is not None:
        total += batch.length
    return total


def test_random_datagrams(listener: Listener, seed: int) -> None:
    """Of any length, singly and in batches; answers are always smaller than what they answer."""
    rng = random.Random(seed)
    for step in range(1500):
        size = rng.choice([1, 5, 9, 21, 22, 43, 100, 1200, 1350])
        count = rng.choice([1, 1, 2, 5])
        datagrams = [bytearray(rng.randbytes(size)) for _ in range(count)]
        for datagram in datagrams:
            if size > 30 and rng.random() < 0.5:
                version = rng.choice([b"\0\0\0\1", b"\0\0\0\0", b"\x6b\x33\x43\xcf", b"\x0a\x1a\x2a\x3a"])
                datagram[:6] = bytes([rng.randrange(0x80, 0x100)]) + version + bytes([rng.randrange(22)])
        batch = RecvBatch.of(list(map(bytes, datagrams)), CLIENT_ADDRESS, SERVER_ADDRESS)
        assert listener.receive(batch, step * 0.01) == []
        assert flush(listener, step * 0.01) < size * count
    assert listener.connections == set()
    assert listener.accept() is None


def test_strangers_do_not_disturb_connections(
    listener: Listener, chain: Chain, wall_time: float, seed: int
) -> None:
    """Batches in which packets of several connections and garbage lie in random order."""
    rng = random.Random(seed)
    sessions = [raw_client_session(chain, wall_time, seed=each, listener=listener) for each in range(1, 5)]
    for session in sessions:
        session.handshake()
    size, chunk, offsets = 400, 300, [0] * len(sessions)
    for _ in range(60):
        batch: list[bytes] = []
        for _ in range(rng.randrange(1, 12)):
            index = rng.randrange(len(sessions))
            raw = sessions[index].raw
            match rng.randrange(4):
                case 0:
                    batch.append(rng.randbytes(size))
                case 1:
                    batch.append(raw.packet(Level.HANDSHAKE, Ping(), fill_to=size))
                case _:
                    frame = Stream(0, offsets[index], bytes([index]) * chunk, False)
                    offsets[index] += chunk
                    batch.append(raw.packet(Level.ONE_RTT, frame, fill_to=size))
        listener.receive(RecvBatch.of(batch, CLIENT_ADDRESS, SERVER_ADDRESS), 0.0)
        flush(listener, 0.0)
    for index, session in enumerate(sessions):
        assert session.connection.read(0)[0] == bytes([index]) * offsets[index]
        session.collect()
        assert session.closed is None
