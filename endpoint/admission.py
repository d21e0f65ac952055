"""Whom a server lets in: the decision about a client that says hello (RFC 9000 §5.2.2, §8.1)."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

from endpoint.batch import Address


class Decision(Enum):
    """What becomes of a first Initial."""

    ACCEPT = auto()
    RETRY = auto()  # ask the client to prove its address first (§8.1.2)
    REFUSE = auto()  # CONNECTION_REFUSED
    IGNORE = auto()  # as if it had never come


@dataclass(frozen=True, slots=True)
class Incoming:
    """A client that asks to be let in. `validated`: it has shown a token that proves its address.

    `half_open` counts the server's handshakes under way. A validated client is not asked to retry again,
    whatever the policy says.
    """

    peer: Address
    version: int
    validated: bool
    half_open: int


AdmissionPolicy: TypeAlias = Callable[[Incoming], Decision]
"""Decides; called for each first Initial, so it has to be quick."""


def accept_all(_: Incoming) -> Decision:
    """No Retry: the 3x limit alone protects others from what we send (§8.1)."""
    return Decision.ACCEPT


def always_retry(_: Incoming) -> Decision:
    """A round trip more for every new client."""
    return Decision.RETRY


def retry_above(half_open: int) -> AdmissionPolicy:
    """Retry only while more than that many handshakes are under way: a flood, perhaps."""

    def decide(incoming: Incoming) -> Decision:
        return Decision.RETRY if incoming.half_open > half_open else Decision.ACCEPT

    return decide
