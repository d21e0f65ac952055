"""The two state machines of a stream as tables (RFC 9000 §3.1 and §3.2).

What is not in a table cannot happen: whatever a peer may send is checked before it becomes an input, so
a missing entry is a command of the application that the state does not allow.
"""

from collections.abc import Mapping
from enum import StrEnum

from endpoint.errors import StreamError


class SendState(StrEnum):
    """States of a sending part (RFC 9000 §3.1, Figure 2)."""

    READY = "Ready"
    SEND = "Send"
    DATA_SENT = "Data Sent"
    DATA_RECVD = "Data Recvd"
    RESET_SENT = "Reset Sent"
    RESET_RECVD = "Reset Recvd"


class SendInput(StrEnum):
    """What moves a sending part."""

    SEND_STREAM = "send STREAM or STREAM_DATA_BLOCKED"
    SEND_FIN = "send STREAM with FIN"
    SEND_RESET = "send RESET_STREAM"
    ALL_ACKED = "everything acknowledged, with the FIN"
    RESET_ACKED = "RESET_STREAM acknowledged"


class RecvState(StrEnum):
    """States of a receiving part (RFC 9000 §3.2, Figure 3)."""

    RECV = "Recv"
    SIZE_KNOWN = "Size Known"
    DATA_RECVD = "Data Recvd"
    RESET_RECVD = "Reset Recvd"
    DATA_READ = "Data Read"
    RESET_READ = "Reset Read"


class RecvInput(StrEnum):
    """What moves a receiving part."""

    RECV_FIN = "receive STREAM with FIN"
    RECV_RESET = "receive RESET_STREAM"
    ALL_DATA = "every byte received"
    READ_ALL = "application read everything"
    READ_RESET = "application learned of the reset"


# RFC 9000 §3.1, §3.2: neither side will say more about a part in one of these.
SEND_TERMINAL = frozenset((SendState.DATA_RECVD, SendState.RESET_RECVD))
RECV_TERMINAL = frozenset((RecvState.DATA_READ, RecvState.RESET_READ))

SEND_TRANSITIONS: Mapping[tuple[SendState, SendInput], SendState] = {
    (SendState.READY, SendInput.SEND_STREAM): SendState.SEND,
    (SendState.READY, SendInput.SEND_FIN): SendState.DATA_SENT,  # by way of "Send"
    (SendState.READY, SendInput.SEND_RESET): SendState.RESET_SENT,
    (SendState.SEND, SendInput.SEND_STREAM): SendState.SEND,
    (SendState.SEND, SendInput.SEND_FIN): SendState.DATA_SENT,
    (SendState.SEND, SendInput.SEND_RESET): SendState.RESET_SENT,
    # Only data that was lost is sent from here on.
    (SendState.DATA_SENT, SendInput.SEND_STREAM): SendState.DATA_SENT,
    (SendState.DATA_SENT, SendInput.SEND_FIN): SendState.DATA_SENT,
    (SendState.DATA_SENT, SendInput.SEND_RESET): SendState.RESET_SENT,
    (SendState.DATA_SENT, SendInput.ALL_ACKED): SendState.DATA_RECVD,
    (SendState.RESET_SENT, SendInput.RESET_ACKED): SendState.RESET_RECVD,
}

# Complete for the two inputs that the peer makes: it may repeat and reorder them as it likes.
RECV_TRANSITIONS: Mapping[tuple[RecvState, RecvInput], RecvState] = {
    (RecvState.RECV, RecvInput.RECV_FIN): RecvState.SIZE_KNOWN,
    (RecvState.RECV, RecvInput.RECV_RESET): RecvState.RESET_RECVD,
    (RecvState.SIZE_KNOWN, RecvInput.RECV_FIN): RecvState.SIZE_KNOWN,
    (RecvState.SIZE_KNOWN, RecvInput.RECV_RESET): RecvState.RESET_RECVD,
    (RecvState.SIZE_KNOWN, RecvInput.ALL_DATA): RecvState.DATA_RECVD,
    # RFC 9000 §3.2 leaves it open: a reset that comes after all the data is not reported.
    (RecvState.DATA_RECVD, RecvInput.RECV_FIN): RecvState.DATA_RECVD,
    (RecvState.DATA_RECVD, RecvInput.RECV_RESET): RecvState.DATA_RECVD,
    (RecvState.DATA_RECVD, RecvInput.READ_ALL): RecvState.DATA_READ,
    (RecvState.RESET_RECVD, RecvInput.RECV_FIN): RecvState.RESET_RECVD,
    (RecvState.RESET_RECVD, RecvInput.RECV_RESET): RecvState.RESET_RECVD,
    (RecvState.RESET_RECVD, RecvInput.READ_RESET): RecvState.RESET_READ,
    (RecvState.DATA_READ, RecvInput.RECV_FIN): RecvState.DATA_READ,
    (RecvState.DATA_READ, RecvInput.RECV_RESET): RecvState.DATA_READ,
    (RecvState.RESET_READ, RecvInput.RECV_FIN): RecvState.RESET_READ,
    (RecvState.RESET_READ, RecvInput.RECV_RESET): RecvState.RESET_READ,
}


def next_send_state(state: SendState, event: SendInput) -> SendState:
    """The state of a sending part after `event`. Raises StreamError where the table has no entry."""
    try:
        return SEND_TRANSITIONS[state, event]
    except KeyError:
        raise StreamError(f"cannot {event.value} in state {state.value}") from None


def next_recv_state(state: RecvState, event: RecvInput) -> RecvState:
    """The state of a receiving part after `event`. Raises StreamError where the table has no entry."""
    try:
        return RECV_TRANSITIONS[state, event]
    except KeyError:
        raise StreamError(f"not possible in state {state.value}: {event.value}") from None
