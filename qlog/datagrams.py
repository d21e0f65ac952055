"""Datagrams of both sides of a connection, told apart by their checksums: which were damaged on the way.

quic-14, "Handling Packet Coalescing": a CRC32C of the UDP payload, the same wherever it is logged.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from qlog.model import Event
from qlog.packets import datagram_lengths, whole


class Datagram(NamedTuple):
    """Of one direction, as one side logged it; `opened`: it is one packet, which was authentic."""

    time: float
    length: int
    checksum: int
    opened: bool = False


class Datagrams:
    """Those that one side sent, or received, and whose checksum it logged: a few bytes each."""

    def __init__(self) -> None:
        self._times = array("d")
        self._lengths = array("q")
        self._checksums = array("q")
        self._opened = array("b")

    def __len__(self) -> int:
        return len(self._times)

    def __iter__(self) -> Iterator[Datagram]:
        return (self[at] for at in range(len(self)))

    def __getitem__(self, at: int) -> Datagram:
        return Datagram(self._times[at], self._lengths[at], self._checksums[at], bool(self._opened[at]))

    def checksums(self) -> set[int]:
        """Of all of them."""
        return set(self._checksums)

    def append(self, datagram: Datagram) -> None:
        """Add the next one."""
        self._times.append(datagram.time)
        self._lengths.append(datagram.length)
        self._checksums.append(datagram.checksum)
        self._opened.append(datagram.opened)

    def open_last(self, length: int) -> None:
        """A packet of this length opened: if that is all of the last datagram, it is as somebody sent it.

        Not all is sent by the connection: listeners answer with Retry, Version Negotiation and resets.
        """
        if len(self) and self._lengths[-1] == length:
            self._opened[-1] = True


class Comparison(NamedTuple):
    """How many `arrived` as they were sent, how many not though they opened, and what was damaged.

    Each of the latter is given as it was received, and as it was probably sent: None if no datagram of its
    length is missing. It may then be somebody else's.
    """

    arrived: int
    opened: int
    damaged: list[tuple[Datagram, Datagram | None]]


def told_datagrams(event: Event, time: float) -> list[Datagram]:
    """What a udp_datagrams_* event tells; nothing if lengths and checksums don't match."""
    checksums = event.data.get("datagram_payload_checksums")
    if not isinstance(checksums, list):
        return []
    lengths, sums = datagram_lengths(event), [whole(one) for one in checksums]
    if len(lengths) != len(sums):
        return []
    return [
        Datagram(time, length, one)
        for length, one in zip(lengths, sums, strict=True)
        if one is not None and 0 <= one < 1 << 32 and 0 <= length < 1 << 32
    ]


def compare_datagrams(sent: Datagrams, received: Datagrams, delay: float) -> Comparison:
    """Those of one direction. The receiver's clock shows `delay` ms more when one arrives, as a rule."""
    as_sent, as_received = sent.checksums(), received.checksums()
    strange = [datagram for datagram in received if datagram.checksum not in as_sent]
    # By length, those that are missing, in the order of their times.
    missing: dict[int, list[Datagram]] = {}
    for datagram in sent:
        if datagram.checksum not in as_received:
            missing.setdefault(datagram.length, []).append(datagram)
    damaged: list[tuple[Datagram, Datagram | None]] = []
    for datagram in (one for one in strange if not one.opened):
        candidates = missing.get(datagram.length, [])
        damaged.append((datagram, _take_nearest(candidates, datagram.time - delay)))
    return Comparison(len(received) - len(strange), len(strange) - len(damaged), damaged)


def _take_nearest(candidates: list[Datagram], time: float) -> Datagram | None:
    at = bisect_left(candidates, time, key=lambda candidate: candidate.time)
    near = [index for index in (at - 1, at) if 0 <= index < len(candidates)]
    if not near:
        return None
    return candidates.pop(min(near, key=lambda index: abs(candidates[index].time - time)))
