"""Each check of our own cases is content with what it should be, and complains of what it should."""

import pytest
from unit.interop.recorded import datagram, from_server, run, short

from endpoint.batch import ECN_ECT_0
from endpoint.errors import TransportErrorCode
from endpoint.wire.frames import Ack, ConnectionClose, Frame
from interop import own_checks
from interop.checks import Check, Run
from interop.dissect.model import Datagram, Side

VIOLATION = ConnectionClose(TransportErrorCode.PROTOCOL_VIOLATION, 2, "")
MARKED = datagram(short(), ecn=ECN_ECT_0)


def server(number: int, *frames: Frame, at: float = 0.0) -> Datagram:
    return _of(Side.SERVER, from_server(short(*frames, number=number)), at)


def client(number: int, *frames: Frame, at: float = 0.0) -> Datagram:
    return _of(Side.CLIENT, datagram(short(*frames, number=number)), at)


def _of(side: Side, made: Datagram, at: float) -> Datagram:
    made.time = int(at * 1e9)
    for packet in made.packets:
        packet.sender = side
    return made


def ack(low: int, high: int) -> Ack:
    return Ack(high, 0, [(low, high)], None)


def with_hole(*then: Datagram) -> Run:
    """Number 7 is left out. The client may not know that the numbers begin with 5."""
    return run(right=[server(5), server(6), client(0, ack(0, 6)), server(8), *then])


CONTENT: list[tuple[Check, Run]] = [
    (own_checks.gave_up_marking, run(left=[MARKED] * 400)),
    (own_checks.caught_inventing_acks, with_hole(client(1, ack(5, 8)), server(9), server(10, VIOLATION))),
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
]


@pytest.mark.parametrize(("check", "captures"), CONTENT)
def test_content(check: Check, captures: Run) -> None:
    assert check(captures) == []


@pytest.mark.parametrize(("check", "captures", "text"), COMPLAINING)
def test_complains(check: Check, captures: Run, text: str) -> None:
    (complaint,) = check(captures)
    assert text in complaint


def test_every_check_is_tested() -> None:
    """Functions that a case can have: those that take a run."""
    public = {name for name in vars(own_checks) if name[0].islower() and callable(vars(own_checks)[name])}
    assert {check.__name__ for check, *_ in CONTENT} == public
    assert {check.__name__ for check, *_ in COMPLAINING} == public
