"""What packets carried, so that an ACK or a loss finds its way back (the `Content` of sent runs).

The content of a run of STREAM packets is `send_stream.StreamContent`; these are the others.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from endpoint.recovery.ack_tracker import AckTracker
from endpoint.recovery.sent_packets import Content


class PacketContent:
    """Everything in one packet."""

    __slots__ = ("items",)

    def __init__(self, items: list[Content]) -> None:
        self.items = items

    def split(self, count: int) -> Content:
        """One packet is never split."""
        raise AssertionError(f"a single packet split after {count}")

    def on_acked(self) -> None:
        """Tell each part."""
        for item in self.items:
            item.on_acked()

    def on_lost(self) -> None:
        """Tell each part."""
        for item in self.items:
            item.on_lost()


class AckContent:
    """An ACK frame that was sent: once acknowledged, its older ranges can be forgotten (RFC 9000 §13.2.4)."""

    __slots__ = ("_acks", "_largest")

    def __init__(self, acks: AckTracker, largest: int) -> None:
        self._acks = acks
        self._largest = largest

    def split(self, count: int) -> Content:
        """An ACK is in one packet."""
        raise AssertionError(f"a single ACK split after {count}")

    def on_acked(self) -> None:
        """The peer knows these ranges."""
        self._acks.on_ack_acked(self._largest)

    def on_lost(self) -> None:
        """ACKs are never repeated: a newer one says more (RFC 9000 §13.2.1)."""


F = TypeVar("F")


class ControlContent(Generic[F]):
    """A frame that its owner may want to send again (RFC 9000 §13.3), once for each time it was sent.

    A PTO repeats what may yet turn out to be lost: if both led to another copy, there would be ever more.
    """

    __slots__ = ("_acked", "_lost", "_repeated", "frame")

    def __init__(self, frame: F, acked: Callable[[F], None], lost: Callable[[F], None]) -> None:
        self.frame = frame
        self._acked = acked
        self._lost = lost
        self._repeated = False

    def split(self, count: int) -> Content:
        """A control frame is in one packet."""
        raise AssertionError(f"a single frame split after {count}")

    def on_acked(self) -> None:
        """The peer has it."""
        self._acked(self.frame)

    def on_lost(self) -> None:
        """The owner decides whether it still matters."""
        if not self._repeated:
            self._repeated = True
            self._lost(self.frame)
