"""Each check of our own cases is content with what it should be, and complains of what it should."""

from dataclasses import replace

import pytest
from unit.interop.recorded import datagram, from_server, long, run, short

from endpoint.batch import ECN_ECT_0
from endpoint.errors import TransportErrorCode
from endpoint.wire.frames import Ack, ConnectionClose, Frame
from endpoint.wire.version import PacketType
from interop import own_checks
from interop.checks import Check, Run
from interop.dissect.connection import Connection
from interop.dissect.dissector import Dissector
from interop.dissect.keylog import KeyLog
from interop.dissect.model import Datagram, Packet, Side

CONNECTION = Connection(b"original", KeyLog(), Dissector(KeyLog()))
VIOLATION = ConnectionClose(TransportErrorCode.PROTOCOL_VIOLATION, 2, "")
KEYS_WRONG = ConnectionClose(TransportErrorCode.KEY_UPDATE_ERROR, 0, "")
FOLLOWED_CLIENT, FOLLOWED_SERVER = (own_checks.followed_keys(side) for side in Side)
MARKED = datagram(short(), ecn=ECN_ECT_0)


def server(number: int, *frames: Frame, at: float = 0.0) -> Datagram:
    return _of(Side.SERVER, from_server(short(*frames, number=number)), at)


def client(number: int, *frames: Frame, at: float = 0.0) -> Datagram:
    return _of(Side.CLIENT, datagram(short(*frames, number=number)), at)


def _of(side: Side, made: Datagram, at: float) -> Datagram:
    made.time = int(at * 1e9)
    for packet in made.packets:
        packet.connection, packet.sender = CONNECTION, side
    return made


def ack(low: int, high: int) -> Ack:
    return Ack(high, 0, [(low, high)], None)


def with_hole(*then: Datagram) -> Run:
    """Number 7 is left out. The client may not know that the numbers begin with 5."""
    return run(right=[server(5), server(6), client(0, ack(0, 6)), server(8), *then])


def reset(at: float = 0.0) -> Datagram:
    made = server(0, at=at)
    made.packets = [Packet(40, None, b"", connection=CONNECTION, sender=Side.SERVER, is_stateless_reset=True)]
    return made


def restarted(*then: Datagram, end: float | None = None) -> Run:
    """The reset comes at 2 s."""
    captures = run(left=[client(0, at=1.9), reset(2.0), *then], right=[client(0, at=1.9), reset(1.9)])
    return replace(captures, client_end=end)


def again(at: float) -> Datagram:
    made = client(0, at=at)
    made.packets[0].connection = Connection(b"another", KeyLog(), Dissector(KeyLog()))
    return made


def early(number: int | None, dcid: bytes = b"\xdd", of: Connection = CONNECTION) -> Datagram:
    made = _of(Side.CLIENT, datagram(long(PacketType.ZERO_RTT, number=number, dcid=dcid)), 0.0)
    made.packets[0].connection = of
    return made


def retry(scid: bytes, of: Connection = CONNECTION) -> Datagram:
    made = _of(Side.SERVER, from_server(long(PacketType.RETRY, scid=scid, number=None)), 0.0)
    made.packets[0].connection = of
    return made


def early_run(*left: Datagram) -> Run:
    """A Retry in a first connection, and one that answers two 0-RTT packets of another."""
    first = Connection(b"first", KeyLog(), Dissector(KeyLog()))
    return run(left=[retry(b"r", first), early(0), early(1), *left])


def storm(of_client: int, of_server: int, *then: Datagram) -> Run:
    """With so many key updates."""
    left, right = client(1), server(1)
    left.packets[0].key_generation, right.packets[0].key_generation = of_client, of_server
    return run(left=[client(0), left, *then], right=[server(0), right])


CONTENT: list[tuple[Check, Run]] = [
    (own_checks.gave_up_marking, run(left=[MARKED] * 400)),
    (own_checks.caught_inventing_acks, with_hole(client(1, ack(5, 8)), server(9), server(10, VIOLATION))),
    (FOLLOWED_CLIENT, storm(5, 4)),
    (FOLLOWED_CLIENT, storm(5, 6, client(2, ConnectionClose(0, None, "")))),
    (FOLLOWED_SERVER, storm(99, 100)),
    (own_checks.early_data_after_retry, early_run(retry(b"r"), early(2, b"r"))),
    (own_checks.early_data_after_retry, early_run(retry(b"r"), retry(b"s"), early(2, b"r"))),
    (own_checks.ended_by_reset, restarted(client(1, at=2.9), end=6.9)),
    (own_checks.ended_by_reset, restarted(again(2.5), again(20.0), end=30.0)),
    (own_checks.ended_by_reset, restarted()),
]

COMPLAINING: list[tuple[Check, Run, str]] = [
    (own_checks.gave_up_marking, run(left=[MARKED] * 401), "client: 401 datagrams"),
    (own_checks.caught_inventing_acks, run(right=[server(5), server(6)]), "server: leaves out no packet"),
    (own_checks.caught_inventing_acks, with_hole(client(1, ack(8, 8))), "client: acknowledges nothing but"),
    (
        own_checks.caught_inventing_acks,
        with_hole(client(1, ack(5, 8))),
        "server: no CONNECTION_CLOSE follows",
    ),
    (
        own_checks.caught_inventing_acks,
        with_hole(client(1, ack(5, 8)), server(9, at=1.1), server(10, VIOLATION, at=1.1)),
        "server: goes on after",
    ),
    (
        own_checks.caught_inventing_acks,
        with_hole(client(1, ack(5, 8)), server(9, ConnectionClose(0, None, ""))),
        "server: closes with error 0x0",
    ),
    (FOLLOWED_CLIENT, storm(4, 4), "client: 4 key updates, not 5 or more"),
    (FOLLOWED_CLIENT, storm(5, 3), "server: is 2 key updates behind"),
    (FOLLOWED_SERVER, storm(3, 5), "client: is 2 key updates behind"),
    (FOLLOWED_SERVER, storm(5, 5, client(2, KEYS_WRONG)), "the client closes with KEY_UPDATE_ERROR"),
    (own_checks.early_data_after_retry, run(left=[retry(b"r")]), "no 0-RTT packet"),
    (own_checks.early_data_after_retry, early_run(), "server: no Retry answers"),
    (own_checks.early_data_after_retry, early_run(retry(b"r"), early(2)), "client: no 0-RTT packet after"),
    (
        own_checks.early_data_after_retry,
        early_run(retry(b"r"), early(0, b"r")),
        "client: 0-RTT packet number 0",
    ),
    (
        own_checks.early_data_after_retry,
        early_run(retry(b"r"), early(None, b"r")),
        "client: a 0-RTT packet is",
    ),
    (own_checks.ended_by_reset, run(left=[reset()], right=[server(0)]), "server: no stateless reset"),
    (own_checks.ended_by_reset, run(left=[server(0)], right=[reset()]), "the stateless reset was lost"),
    (own_checks.ended_by_reset, restarted(client(1, at=3.1)), "client: goes on after a stateless reset"),
    (own_checks.ended_by_reset, restarted(end=7.1), "client: takes 5.1 s to notice"),
    (own_checks.ended_by_reset, restarted(again(7.1), end=9.0), "client: takes 5.1 s to notice"),
]


@pytest.mark.parametrize(("check", "captures"), CONTENT)
def test_content(check: Check, captures: Run) -> None:
    assert check(captures) == []


@pytest.mark.parametrize(("check", "captures", "text"), COMPLAINING)
def test_complains(check: Check, captures: Run, text: str) -> None:
    (complaint,) = check(captures)
    assert text in complaint


def test_every_check_is_tested() -> None:
    """All functions that have a place in a case, or give one that has."""
    public = {name for name in vars(own_checks) if name[0].islower() and callable(vars(own_checks)[name])}
    for tested in (CONTENT, COMPLAINING):
        assert {check.__qualname__.partition(".")[0] for check, *_ in tested} == public - {"senders"}
