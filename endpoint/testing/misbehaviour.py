"""Ends that do what products don't: context managers, for the connections of this process made inside."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

from endpoint import listener
from endpoint.batch import Address
from endpoint.recovery.ack_tracker import AckTracker
from endpoint.transport import setup
from endpoint.transport.key_update import KeyPhase
from endpoint.transport.spaces import PacketSpace
from endpoint.transport.tokens import AddressTokens, TokenCheck, TokenOutcome
from endpoint.wire.frames import Ping

# Seconds. Some times that of a path with a round trip of 50 ms.
_LONGEST_PTO = 0.25


class OptimisticAcks(AckTracker):
    """Acknowledges what is missing between the packets that came, too (RFC 9000 §21.4)."""

    __slots__ = ()

    def ack_ranges(self, max_ranges: int) -> list[tuple[int, int]]:
        """One range, from the smallest packet that is still reported to the largest."""
        ranges = super().ack_ranges(max_ranges)
        return [(ranges[-1][0], ranges[0][1])] if ranges else []


@contextmanager
def optimistic_acks() -> Iterator[None]:
    """Connections tell the peer that no packet was ever lost, which has it send ever faster."""
    with mock.patch.object(setup, "AckTracker", OptimisticAcks):
        yield


class UnhurriedKeyPhase(KeyPhase):
    """Updates keys as often as it may (RFC 9001 §6.1, §6.5), and has each acknowledged."""

    __slots__ = ()

    def __init__(self, space: PacketSpace, pto: Callable[[], float]) -> None:
        """A peer that was slow to start must not make the PTO so long that there is no time for updates."""
        super().__init__(space, lambda: min(pto(), _LONGEST_PTO))

    def update(self, now: float) -> None:
        """With something to acknowledge, which the next one needs."""
        super().update(now)
        self._space.control.append(Ping())


@contextmanager
def unhurried_key_updates() -> Iterator[None]:
    """Key updates that the settings want leave the peer its time."""
    with mock.patch.object(setup, "KeyPhase", UnhurriedKeyPhase):
        yield


class RetryTokens(AddressTokens):
    """Knows the tokens of Retry packets only: those of NEW_TOKEN frames need not be honoured (§8.1.3)."""

    __slots__ = ()

    def check(self, token: bytes, peer: Address, destination_cid: bytes, version: int) -> TokenCheck:
        """As the original, but for a token that no Retry has given."""
        checked = super().check(token, peer, destination_cid, version)
        if checked.outcome is TokenOutcome.VALIDATED and checked.original_destination_cid is None:
            return TokenCheck(TokenOutcome.NONE)
        return checked


@contextmanager
def retry_every_time() -> Iterator[None]:
    """A server with a policy of Retry asks for one on every visit of a client."""
    with mock.patch.object(listener, "AddressTokens", RetryTokens):
        yield
