"""Connection IDs: what is issued, retired, and how much of it (RFC 9000 §5.1, §19.15, §19.16)."""

import pytest
from conformance.expect import closes_with, is_healthy

from endpoint.errors import TransportErrorCode as Code
from endpoint.level import Level
from endpoint.testing.packets import RawSession, build_packet
from endpoint.transport.cids import MAX_RETIREMENTS_IN_FLIGHT
from endpoint.wire.frames import FrameType, NewConnectionId, Ping, RetireConnectionId

ONE_RTT = Level.ONE_RTT


def new_cid(sequence: int, retire_prior_to: int = 0, *, token: bytes | None = None) -> NewConnectionId:
    cid = bytes([0xC1, *sequence.to_bytes(7, "big")])
    return NewConnectionId(sequence, retire_prior_to, cid, token or bytes([sequence % 256]) * 16)


def issued(session: RawSession) -> list[NewConnectionId]:
    """What the endpoint has issued, each once, in order."""
    frames: list[NewConnectionId] = []
    for frame in session.raw.frames(ONE_RTT):
        if isinstance(frame, NewConnectionId) and frame not in frames:
            frames.append(frame)
    return frames


def retired(session: RawSession) -> list[int]:
    return [
        frame.sequence_number
        for frame in session.raw.frames(ONE_RTT)
        if isinstance(frame, RetireConnectionId)
    ]


def last_dcid(session: RawSession) -> bytes:
    """The connection ID of the endpoint's last short header."""
    packet = next(datagram for datagram in reversed(session.sent) if not datagram[0] & 0x80)
    return packet[1:9]


def test_endpoint_issues_up_to_the_peers_limit(session: RawSession) -> None:
    """The raw peer keeps 4; one of them is that of the handshake."""
    frames = issued(session)
    assert [frame.sequence_number for frame in frames] == [1, 2, 3]
    assert len({frame.connection_id for frame in frames}) == 3
    assert len({frame.stateless_reset_token for frame in frames}) == 3


def test_every_issued_id_reaches_the_connection(session: RawSession) -> None:
    for frame in issued(session):
        session.raw.peer_cid = frame.connection_id
        is_healthy(session)


def test_retired_id_is_replaced_and_no_longer_valid(session: RawSession) -> None:
    first = session.raw.peer_cid
    session.raw.peer_cid = issued(session)[0].connection_id
    session.send(ONE_RTT, RetireConnectionId(0))
    assert [frame.sequence_number for frame in issued(session)] == [1, 2, 3, 4]
    raw = session.raw
    session.deliver(build_packet(ONE_RTT, raw.write_keys[ONE_RTT], [b"\x2f"], dcid=first, pn=80, fill_to=100))
    is_healthy(session)
    session.raw.peer_cid = issued(session)[-1].connection_id
    is_healthy(session)


def test_retiring_what_was_never_issued(session: RawSession) -> None:
    session.send(ONE_RTT, RetireConnectionId(4))
    closes_with(session, Code.PROTOCOL_VIOLATION, FrameType.RETIRE_CONNECTION_ID)


def test_retiring_the_id_of_the_packet_itself(session: RawSession) -> None:
    session.send(ONE_RTT, RetireConnectionId(0))
    closes_with(session, Code.PROTOCOL_VIOLATION, FrameType.RETIRE_CONNECTION_ID)


def test_retiring_twice(session: RawSession) -> None:
    session.send(ONE_RTT, RetireConnectionId(1), RetireConnectionId(1))
    session.send(ONE_RTT, RetireConnectionId(1))
    is_healthy(session)


def test_retiring_by_guess_piles_up_nothing(session: RawSession) -> None:
    """Numbers of frames that were never received: new IDs are made only when they can be sent."""
    for sequence in range(1, 4):
        session.send(ONE_RTT, RetireConnectionId(sequence))
    # All in one packet: at most the three after those can have been issued before it is read.
    session.send(ONE_RTT, *(RetireConnectionId(sequence) for sequence in range(4, 7)))
    assert len(session.connection.local_cids) == 4
    session.send(ONE_RTT, *(RetireConnectionId(sequence) for sequence in range(7, 40)))
    closes_with(session, Code.PROTOCOL_VIOLATION, FrameType.RETIRE_CONNECTION_ID)


def test_more_ids_than_the_limit(session: RawSession) -> None:
    """Our active_connection_id_limit is 8."""
    session.send(ONE_RTT, *(new_cid(sequence) for sequence in range(1, 8)))
    is_healthy(session)
    session.send(ONE_RTT, new_cid(8))
    closes_with(session, Code.CONNECTION_ID_LIMIT_ERROR, FrameType.NEW_CONNECTION_ID)


def test_limit_counts_what_retire_prior_to_leaves(session: RawSession) -> None:
    session.send(ONE_RTT, *(new_cid(sequence) for sequence in range(1, 8)))
    session.send(ONE_RTT, new_cid(8, 1))
    is_healthy(session)
    assert retired(session) == [0]


def test_retire_prior_to_changes_the_id_in_use(session: RawSession) -> None:
    session.send(ONE_RTT, new_cid(1), new_cid(2), new_cid(3, 2))
    session.send(ONE_RTT, Ping())
    session.send(ONE_RTT, Ping())
    assert sorted(retired(session)) == [0, 1]
    assert last_dcid(session) == new_cid(2).connection_id


def test_retire_prior_to_is_never_lowered(session: RawSession) -> None:
    session.send(ONE_RTT, new_cid(5, 5), new_cid(6, 1))
    is_healthy(session)
    assert last_dcid(session) == new_cid(5).connection_id


def test_id_that_arrives_after_its_retirement(session: RawSession) -> None:
    """RFC 9000 §19.15: it is retired at once."""
    session.send(ONE_RTT, new_cid(5, 5))
    session.send(ONE_RTT, new_cid(3))
    is_healthy(session)
    assert sorted(retired(session)) == [0, 3]
    assert last_dcid(session) == new_cid(5).connection_id


def test_repeated_frame(session: RawSession) -> None:
    """A copy is no error, neither of a known ID nor, any number of times, of a retired one."""
    session.send(ONE_RTT, new_cid(1), new_cid(1), new_cid(5, 5))
    for _ in range(2 * MAX_RETIREMENTS_IN_FLIGHT):
        session.send(ONE_RTT, new_cid(1))
    is_healthy(session)


@pytest.mark.parametrize(
    "frame",
    [
        NewConnectionId(1, 0, b"another!", bytes([1]) * 16),
        NewConnectionId(1, 0, new_cid(1).connection_id, bytes(16)),
        NewConnectionId(2, 0, new_cid(1).connection_id, bytes([1]) * 16),
    ],
    ids=["other id", "other token", "other number"],
)
def test_contradicting_frames(session: RawSession, frame: NewConnectionId) -> None:
    session.send(ONE_RTT, new_cid(1))
    session.send(ONE_RTT, frame)
    closes_with(session, Code.PROTOCOL_VIOLATION, FrameType.NEW_CONNECTION_ID)


def test_retirements_are_bounded(session: RawSession) -> None:
    """RFC 9000 §5.1.2: a peer that never acknowledges them can't make us remember ever more."""
    session.deaf = True
    for sequence in range(1, MAX_RETIREMENTS_IN_FLIGHT + 1):
        session.send(ONE_RTT, new_cid(sequence, sequence))
    assert session.closed is None
    session.deaf = False
    session.send(ONE_RTT, new_cid(MAX_RETIREMENTS_IN_FLIGHT + 1, MAX_RETIREMENTS_IN_FLIGHT + 1))
    closes_with(session, Code.CONNECTION_ID_LIMIT_ERROR, FrameType.NEW_CONNECTION_ID)


def test_acknowledged_retirements_are_forgotten(session: RawSession) -> None:
    for sequence in range(1, 3 * MAX_RETIREMENTS_IN_FLIGHT):
        session.send(ONE_RTT, new_cid(sequence, sequence))
        session.send(ONE_RTT, session.raw.ack(ONE_RTT))
    is_healthy(session)
