"""Both state machines, every state with every input (RFC 9000 §3.1, §3.2)."""

import pytest

from endpoint.errors import StreamError
from endpoint.transport.stream_state import (
    RecvInput,
    RecvState,
    SendInput,
    SendState,
    next_recv_state,
    next_send_state,
)

# One row per state, one column per input; "-" is an error.
SEND_SNAPSHOT = """
              SEND_STREAM  SEND_FIN    SEND_RESET   ALL_ACKED    RESET_ACKED
READY         SEND         DATA_SENT   RESET_SENT   -            -
SEND          SEND         DATA_SENT   RESET_SENT   -            -
DATA_SENT     DATA_SENT    DATA_SENT   RESET_SENT   DATA_RECVD   -
DATA_RECVD    -            -           -            -            -
RESET_SENT    -            -           -            -            RESET_RECVD
RESET_RECVD   -            -           -            -            -
"""

RECV_SNAPSHOT = """
              RECV_FIN     RECV_RESET   ALL_DATA     READ_ALL     READ_RESET
RECV          SIZE_KNOWN   RESET_RECVD  -            -            -
SIZE_KNOWN    SIZE_KNOWN   RESET_RECVD  DATA_RECVD   -            -
DATA_RECVD    DATA_RECVD   DATA_RECVD   -            DATA_READ    -
RESET_RECVD   RESET_RECVD  RESET_RECVD  -            -            RESET_READ
DATA_READ     DATA_READ    DATA_READ    -            -            -
RESET_READ    RESET_READ   RESET_READ   -            -            -
"""


def rows(snapshot: str) -> list[tuple[str, str, str]]:
    header, *lines = snapshot.strip().splitlines()
    inputs = header.split()
    cells = []
    for line in lines:
        state, *results = line.split()
        cells += [(state, name, result) for name, result in zip(inputs, results, strict=True)]
    return cells


@pytest.mark.parametrize(("state", "event", "result"), rows(SEND_SNAPSHOT))
def test_sending_part(state: str, event: str, result: str) -> None:
    if result == "-":
        with pytest.raises(StreamError, match="in state"):
            next_send_state(SendState[state], SendInput[event])
    else:
        assert next_send_state(SendState[state], SendInput[event]) is SendState[result]


@pytest.mark.parametrize(("state", "event", "result"), rows(RECV_SNAPSHOT))
def test_receiving_part(state: str, event: str, result: str) -> None:
    if result == "-":
        with pytest.raises(StreamError, match="in state"):
            next_recv_state(RecvState[state], RecvInput[event])
    else:
        assert next_recv_state(RecvState[state], RecvInput[event]) is RecvState[result]


def test_the_snapshots_are_complete() -> None:
    assert len(rows(SEND_SNAPSHOT)) == len(SendState) * len(SendInput)
    assert len(rows(RECV_SNAPSHOT)) == len(RecvState) * len(RecvInput)


@pytest.mark.parametrize("state", RecvState)
def test_a_peer_can_never_cause_an_error_of_the_table(state: RecvState) -> None:
    for event in (RecvInput.RECV_FIN, RecvInput.RECV_RESET):
        assert next_recv_state(state, event) in RecvState
