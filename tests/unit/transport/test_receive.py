"""What the receiver tells a tracer about packets that it takes and drops."""

import datetime as dt
from typing import Any

import pytest

from endpoint.config import Config
from endpoint.level import Level
from endpoint.testing.certificates import Chain
from endpoint.testing.packets import RawSession, build_packet, raw_client_session
from endpoint.trace import PacketInfo
from endpoint.wire.frames import Ping
from endpoint.wire.header import FIXED_BIT, encode_version_negotiation

ONE_RTT = Level.ONE_RTT


class Notes:
    """A tracer that remembers what was received and dropped."""

    def __init__(self) -> None:
        self.dropped: list[str] = []
        self.received: list[tuple[int, int]] = []

    def packet_dropped(self, now: float, size: int, trigger: str) -> None:  # noqa: ARG002 - Tracer
        self.dropped.append(trigger)

    def packet_received(self, now: float, packet: PacketInfo, payload: object, *, waited: bool) -> None:  # noqa: ARG002 - Tracer
        self.received.append((packet.level, packet.number))

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def session(chain: Chain, valid_from: dt.datetime, notes: Notes) -> RawSession:
    """A server with a tracer, after the handshake."""
    session = raw_client_session(
        chain, valid_from.timestamp() + 3600, config=Config(tracer=lambda *_: notes, grease=False)
    )
    session.handshake()
    notes.dropped.clear()
    notes.received.clear()
    return session


def test_run_is_told(session: RawSession, notes: Notes) -> None:
    first = session.raw.next_pn[ONE_RTT]
    session.deliver(*(session.raw.packet(ONE_RTT, Ping(), fill_to=100) for _ in range(5)), batch=True)
    assert notes.received == [(ONE_RTT, first + i) for i in range(5)]
    assert notes.dropped == []


def test_run_with_a_gap_is_told_without_duplicates(session: RawSession, notes: Notes) -> None:
    first = session.raw.next_pn[ONE_RTT]
    packets = [session.raw.packet(ONE_RTT, Ping(), fill_to=100) for _ in range(6)]
    session.deliver(packets[0], packets[1], packets[4], packets[1], packets[5], batch=True)
    assert notes.received == [(ONE_RTT, first + i) for i in (0, 1, 4, 5)]
    assert notes.dropped == ["duplicate"]


def test_reasons(session: RawSession, notes: Notes) -> None:
    raw = session.raw
    forged = bytearray(raw.packet(ONE_RTT, Ping(), fill_to=60))
    forged[-1] ^= 1
    elsewhere = build_packet(
        Level.HANDSHAKE, raw.write_keys[Level.HANDSHAKE], [Ping()], dcid=raw.peer_cid, scid=b"somebody", pn=9
    )
    cases = {
        "decryption_failure": bytes(forged),
        "connection_unknown": elsewhere,
        "unexpected_version_negotiation": encode_version_negotiation(raw.peer_cid, raw.cid, [1], 0),
    }
    for reason, datagram in cases.items():
        notes.dropped.clear()
        session.deliver(datagram)
        assert notes.dropped == [reason]
    assert notes.received == []


def test_packet_without_the_fixed_bit_is_not_received(session: RawSession, notes: Notes) -> None:
    session.deliver(session.raw.packet(ONE_RTT, Ping(), fill_to=60, flip=FIXED_BIT))
    assert notes.received == []
    assert len(notes.dropped) == 1
