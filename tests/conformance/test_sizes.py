"""Datagrams have the size they should have, whatever goes in them (RFC 9000 §8.1, §14)."""

import datetime as dt
from collections.abc import Callable

import pytest

from endpoint.config import Config
from endpoint.crypto.retry import retry_integrity_tag
from endpoint.level import Level
from endpoint.testing.certificates import Chain
from endpoint.testing.packets import MIN_INITIAL_DATAGRAM, RawSession, raw_client_session
from endpoint.wire.frames import NewToken
from endpoint.wire.header import encode_retry, parse_long_header
from endpoint.wire.version import QUIC_V1, VERSIONS

SessionMaker = Callable[..., RawSession]


@pytest.mark.parametrize("pings", range(820, 1180, 12))
def test_a_token_at_the_end_of_a_packet(new_session: SessionMaker, pings: int) -> None:
    """NEW_TOKEN waits for the next packet where there is too little room left."""
    session = new_session("server")
    session.collect()
    session.deliver(*session.raw.flight())
    for _ in range(pings):
        session.connection.ping()
    session.handshake()
    assert max(map(len, session.sent)) <= Config().max_udp_payload_size
    assert any(isinstance(frame, NewToken) for frame in session.raw.frames(Level.ONE_RTT))


def test_all_that_may_go_to_an_unvalidated_address(long_chain: Chain, valid_from: dt.datetime) -> None:
    """RFC 9000 §8.1: a flight that fits in three times a padded Initial takes no further round trip."""
    session = raw_client_session(long_chain, valid_from.timestamp() + 3600)
    session.deaf = True
    [hello] = session.raw.flight()
    session.deliver(hello)
    assert len(hello) == MIN_INITIAL_DATAGRAM
    assert sum(map(len, session.sent)) == 3 * MIN_INITIAL_DATAGRAM


@pytest.mark.parametrize("length", [1, 1024, 1025, 1200, 5000])
def test_a_long_retry_token(new_session: SessionMaker, length: int) -> None:
    """A Retry whose token leaves no room for the handshake is dropped, and silences nobody."""
    session = new_session("client")
    session.collect()
    session.deaf = True
    original, scid = session.connection.original_destination_cid, session.connection.local_cids[0]
    retry = encode_retry(VERSIONS[QUIC_V1], scid, b"retry-id", bytes(length), 0)
    session.deliver(retry + retry_integrity_tag(VERSIONS[QUIC_V1], original, retry))
    session.advance(3.0)
    session.connection.close(now=session.now)
    session.collect()
    assert len(session.sent) > 2
    assert all(len(datagram) >= MIN_INITIAL_DATAGRAM for datagram in session.sent)
    assert max(map(len, session.sent)) <= Config().max_udp_payload_size
    last = parse_long_header(session.sent[-1], 0, len(session.sent[-1]))
    assert len(last.token) == (length if length <= 1024 else 0)
