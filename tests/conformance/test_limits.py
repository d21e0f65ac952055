"""Limits of packet protection and the CRYPTO streams (RFC 9001 §4, §6.6; RFC 9000 §7.5)."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from conformance.expect import closes_with, is_healthy

from endpoint.crypto.aead import AES_128_GCM_SHA256, CIPHER_SUITES
from endpoint.errors import AlertDescription
from endpoint.errors import TransportErrorCode as Code
from endpoint.level import Level
from endpoint.recovery.ack_tracker import MAX_RANGES
from endpoint.testing.packets import RawSession
from endpoint.transport.crypto_stream import MAX_CRYPTO_BUFFER
from endpoint.wire.frames import Ack, Crypto, FrameType, NewConnectionId, Padding, Ping, RetireConnectionId

SessionMaker = Callable[..., RawSession]

INITIAL, HANDSHAKE, ONE_RTT = Level.INITIAL, Level.HANDSHAKE, Level.ONE_RTT
LEVELS = [INITIAL, HANDSHAKE, ONE_RTT]


def limit_suite(
    monkeypatch: pytest.MonkeyPatch, *, confidentiality_limit: int = 1 << 23, integrity_limit: int = 1 << 52
) -> None:
    """Give the suite that is negotiated limits that can be reached."""
    assert isinstance(CIPHER_SUITES, dict)
    suite = replace(
        AES_128_GCM_SHA256,
        confidentiality_limit=confidentiality_limit,
        integrity_limit=integrity_limit,
    )
    monkeypatch.setitem(CIPHER_SUITES, suite.number, suite)


@pytest.mark.parametrize("batch", [False, True])
def test_integrity_limit(
    monkeypatch: pytest.MonkeyPatch, session_at: SessionMaker, role: str, batch: bool
) -> None:
    """So many packets that do not authenticate, and the next one closes the connection."""
    limit_suite(monkeypatch, integrity_limit=10)
    session = session_at(role, ONE_RTT)
    forged = [bytearray(session.raw.packet(ONE_RTT, Ping(), fill_to=60)) for _ in range(11)]
    for packet in forged:
        packet[-1] ^= 1
    session.deliver(*map(bytes, forged[:10]), batch=batch)
    assert session.closed is None
    session.deliver(bytes(forged[10]))
    closes_with(session, Code.AEAD_LIMIT_REACHED)


def test_confidentiality_limit(monkeypatch: pytest.MonkeyPatch, session_at: SessionMaker) -> None:
    """A client that is never confirmed may not update its keys: it ends while it can still say so."""
    limit = 200
    limit_suite(monkeypatch, confidentiality_limit=limit)
    session = session_at("client", ONE_RTT)
    for _ in range(4 * limit):
        session.send(ONE_RTT, Ping())
        session.send(ONE_RTT, Ping())
    closes_with(session, Code.AEAD_LIMIT_REACHED)
    assert session.raw.packets[-1].pn < limit


@pytest.mark.parametrize("level", LEVELS)
def test_crypto_buffer(session_at: SessionMaker, role: str, level: Level) -> None:
    session = session_at(role, level)
    # One byte is missing, or at 1-RTT everything.
    start = session.raw.crypto_offset[level] + 1
    session.send(level, Crypto(start, b"x"))
    assert session.closed is None
    session.send(level, Crypto(start + MAX_CRYPTO_BUFFER, b"x"))
    closes_with(session, Code.CRYPTO_BUFFER_EXCEEDED, FrameType.CRYPTO)


def test_crypto_buffer_holds_4096_bytes_at_least() -> None:
    assert MAX_CRYPTO_BUFFER >= 4096


def test_crypto_data_in_too_many_pieces(session_at: SessionMaker, role: str) -> None:
    """Single bytes with gaps between cost more to keep than they weigh."""
    session = session_at(role, HANDSHAKE)
    start = session.raw.crypto_offset[HANDSHAKE] + 1
    for offset in range(start, start + 4096, 200):
        session.send(HANDSHAKE, *(Crypto(offset + at, b"x") for at in range(0, 200, 2)))
    closes_with(session, Code.INTERNAL_ERROR, FrameType.CRYPTO)


def test_handshake_message_that_never_ends(new_session: SessionMaker) -> None:
    session = new_session("server")
    session.send(INITIAL, Crypto(0, b"\x01\xff\xff\xff" + bytes(100)))
    closes_with(session, 0x100 + AlertDescription.DECODE_ERROR)


@pytest.mark.parametrize("message", [24, 5], ids=["KeyUpdate", "EndOfEarlyData"])
def test_tls_messages_that_quic_forbids(session: RawSession, message: int) -> None:
    """RFC 9001 §6 and §8.3."""
    session.send(ONE_RTT, Crypto(0, bytes([message, 0, 0, 1, 0])))
    closes_with(session, 0x100 + AlertDescription.UNEXPECTED_MESSAGE)


def test_certificate_request_after_the_handshake(client: RawSession) -> None:
    """RFC 9001 §4.4."""
    client.send(ONE_RTT, Crypto(client.raw.crypto_offset[ONE_RTT], bytes([13, 0, 0, 3, 0, 0, 0])))
    closes_with(client, Code.PROTOCOL_VIOLATION)


def test_new_handshake_data_at_a_finished_level(session_at: SessionMaker) -> None:
    """RFC 9001 §4.1.3: nothing new at a level that TLS has left."""
    session = session_at("server", INITIAL)
    session.send(INITIAL, session.raw.crypto(INITIAL, b"more"))
    closes_with(session, Code.PROTOCOL_VIOLATION, FrameType.CRYPTO)


def test_repeated_handshake_data_is_no_error(session_at: SessionMaker) -> None:
    session = session_at("server", INITIAL)
    session.send(INITIAL, Crypto(0, b"\x01"))
    session.handshake()
    is_healthy(session)


def test_damaged_finished(new_session: SessionMaker, role: str) -> None:
    """Authentic packets, a wrong Finished: decrypt_error (RFC 9001 §4.8)."""
    session = new_session(role)
    session.collect()
    if role == "server":
        session.deliver(*session.raw.flight())
    output = session.raw.tls.take_output()
    for index, (level, message) in enumerate(output):
        if index == len(output) - 1:
            message = message[:-1] + bytes([message[-1] ^ 1])
        session.send(level, session.raw.crypto(level, message))
    closes_with(session, 0x100 + AlertDescription.DECRYPT_ERROR)


def test_ack_ranges_are_bounded(session: RawSession) -> None:
    """Every second packet is missing: an ACK stays small, and the oldest are forgotten."""
    raw = session.raw
    for _ in range(4 * MAX_RANGES):
        raw.next_pn[ONE_RTT] += 1
        session.send(ONE_RTT, Ping())
    newest = [frame for frame in raw.frames(ONE_RTT) if isinstance(frame, Ack)][-1]
    assert 1 < len(newest.ranges) <= MAX_RANGES
    assert newest.largest_acknowledged == raw.next_pn[ONE_RTT] - 1
    # What is too old to tell is dropped as if it were a duplicate.
    raw.next_pn[ONE_RTT] = 10
    session.send(ONE_RTT, b"\x2f")
    assert session.closed is None


def test_packet_numbers_far_apart(session: RawSession) -> None:
    """As far as four bytes of packet number can tell (RFC 9000 §A.3)."""
    raw = session.raw
    raw.next_pn[ONE_RTT] += 30_000
    session.send(ONE_RTT, Ping())
    session.send(ONE_RTT, Ping())
    is_healthy(session)


def test_probes_do_not_multiply_frames(server: RawSession) -> None:
    """What PTOs repeat is not sent again once more for each of them when it turns out to be lost."""
    raw = server.raw
    server.send(ONE_RTT, RetireConnectionId(1), RetireConnectionId(2), Ping())
    server.advance(25.0)
    last = max(packet.pn for packet in raw.packets if packet.level is ONE_RTT)
    before = len(raw.packets)
    server.send(ONE_RTT, Ack(last, 0, [(last, last)], None), Ping(), Padding(20))
    server.advance(1.0)
    for packet in raw.packets[before:]:
        numbers = [frame.sequence_number for frame in packet.frames if isinstance(frame, NewConnectionId)]
        assert len(numbers) == len(set(numbers))
