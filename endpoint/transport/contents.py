"""What packets carried, so that an ACK or a loss finds its way back (the `Content` of sent runs).

That of one stream is `send_stream.StreamContent`; these are the others.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from endpoint.recovery.ack_tracker import AckTracker
from endpoint.recovery.sent_packets import Content
from endpoint.transport.send_stream import SendStream


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


# Stream, offset, length and FIN: what was sent of one stream, in one packet or in consecutive ones.
Span = tuple[SendStream, int, int, bool]


class MixedContent:
    """What consecutive packets carried of some streams (`Content` of `recovery.sent_packets`).

    `cuts` has, for each packet, what the next one begins with: the index of its span, and how many bytes of
    that span came before.
    """

    __slots__ = ("cuts", "spans")

    def __init__(self, spans: list[Span], cuts: list[tuple[int, int]]) -> None:
        self.spans = spans
        self.cuts = cuts

    def split(self, count: int) -> Content:
        """Keep the share of the first `count` packets, return that of the rest."""
        first, before = self.cuts[count - 1]
        rest = self.spans[first:]
        del self.spans[first:]
        if before:
            send, offset, length, fin = rest[0]
            self.spans.append((send, offset, before, False))
            rest[0] = send, offset + before, length - before, fin
        cuts = [
            (index - first, taken - before if index == first else taken) for index, taken in self.cuts[count:]
        ]
        del self.cuts[count:]
        return MixedContent(rest, cuts)

    def on_acked(self) -> None:
        """The packets were acknowledged."""
        for send, offset, length, fin in self.spans:
            send.on_acked(offset, length, fin)

    def on_lost(self) -> None:
        """The packets were lost, or are to be sent again as a probe."""
        for send, offset, length, fin in self.spans:
            send.on_lost(offset, length, fin)
