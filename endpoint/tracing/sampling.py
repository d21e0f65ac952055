"""Which events of a large transfer a trace keeps."""

from collections.abc import Mapping
from typing import Any, Final

# Of each kind, so many are kept before sampling begins: handshakes and small transfers stay whole.
KEPT_FIRST: Final = 1000

# What comes with every packet or batch. Recovery, states, errors and HTTP are told in full.
_FREQUENT: Final = frozenset(
    {
        "quic:packet_sent",
        "quic:packet_received",
        "quic:packets_acked",
        "quic:udp_datagrams_sent",
        "quic:udp_datagrams_received",
        "quic:stream_data_moved",
        "quic:datagram_data_moved",
        "quic:timer_updated",
    }
)
# Packets with anything else are rare, and worth more.
_BULK: Final = frozenset({"ack", "datagram", "padding", "ping", "stream"})


class Sampling:
    """Keeps of each frequent kind of event the first 1000, and after that every `every`th.

    Packets before 1-RTT, those with the end of a stream or with other frames than data and ACKs are all kept.
    """

    __slots__ = ("_counts", "every")

    def __init__(self, every: int) -> None:
        self.every = every
        self._counts = dict.fromkeys(_FREQUENT, 0)

    def keeps(self, name: str, data: Mapping[str, Any]) -> bool:
        """Whether an event belongs into the trace. Asked once for each."""
        if name not in _FREQUENT:
            return True
        header = data.get("header")
        if header is not None and (
            header["packet_type"] != "1RTT"
            or any(frame["frame_type"] not in _BULK or frame.get("fin") for frame in data.get("frames", ()))
        ):
            return True
        return bool(self.keeps_of(name, 1))

    def keeps_of(self, name: str, count: int, *, last: bool = False) -> list[int]:
        """The indexes of those of `count` events of a frequent kind that are kept.

        With `last` the last one is among them.
        """
        before = self._counts[name]
        self._counts[name] = before + count
        whole = min(max(KEPT_FIRST - before, 0), count)
        first = -(before + whole - KEPT_FIRST) % self.every
        kept = [*range(whole), *range(whole + first, count, self.every)]
        if last and kept[-1:] != [count - 1]:
            kept.append(count - 1)
        return kept
