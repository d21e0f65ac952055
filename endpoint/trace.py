"""The hook for qlog, statistics and tests. Nothing is built for it while no tracer is set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from endpoint.events import ConnectionClosed
from endpoint.level import Level


@dataclass(slots=True)
class PacketInfo:
    """A packet with a packet number, without its frames.

    `size` counts all bytes of the packet, `header_size` those up to the packet number, that included.
    `key_phase` counts the updates of its keys. A long header has `version`, `dcid`, `scid` and `token`; of a
    short one they are not told. `path` is the id of the path it went or came on, 0 that of the handshake.
    """

    level: Level
    number: int
    number_length: int
    size: int
    header_size: int
    key_phase: int = 0
    version: int = 0
    dcid: bytes = b""
    scid: bytes = b""
    token: bytes = b""
    path: int = 0


@dataclass(slots=True)
class StreamPackets:
    """1-RTT packets of one `size`, each with one STREAM frame and nothing else (in a run).

    The packet `numbers[i]` carries the `chunk` bytes from `offset + i * chunk` on; `fin` is in the last.
    """

    numbers: Sequence[int]
    number_length: int
    size: int
    header_size: int
    key_phase: int
    stream_id: int
    offset: int
    chunk: int
    fin: bool
    path: int = 0


@dataclass(slots=True)
class DataRange:
    """Bytes of a stream, or of CRYPTO data, which has no `stream_id`; `fin`: the stream ends with them."""

    stream_id: int | None
    offset: int
    length: int
    fin: bool


class Tracer(Protocol):
    """Receives runs of packets and changes of state of one connection, in the order they happen.

    `now` is the core's clock in seconds. No method may raise, nor keep a buffer it is given. `name` and
    `data` of events are those of qlog's "quic" namespace: times in ms; but what is hex there is bytes here,
    and `address` (an `Address`, or None) stands for the fields of IP and port.
    """

    def packet_sent(
        self, now: float, packet: PacketInfo, payload: bytes | bytearray, *, pto: bool, mtu_probe: bool
    ) -> None:
        """A packet with the frames in `payload` goes out; `pto`: because a PTO expired."""

    def packet_received(
        self, now: float, packet: PacketInfo, payload: bytes | memoryview, *, waited: bool
    ) -> None:
        """A packet was opened, and its frames come next; `waited`: it had come before its keys.

        What `payload` has after the last well-formed frame is no frame.
        """

    def stream_packets_sent(self, now: float, packets: StreamPackets) -> None:
        """A run of STREAM packets goes out."""

    def stream_packets_received(self, now: float, packets: StreamPackets) -> None:
        """A run of STREAM packets was opened, and its data comes next."""

    def packet_dropped(self, now: float, size: int, reason: str) -> None:
        """A packet of `size` bytes, or a batch of datagrams, was discarded without effect."""

    def packet_buffered(self, now: float, level: Level, size: int) -> None:
        """A packet of `size` bytes came before its keys, and is kept."""

    def packets_acked(self, now: float, level: Level, first: int, last: int, path: int) -> None:
        """Packets that were sent were acknowledged for the first time."""

    def packets_lost(
        self, now: float, level: Level, first: int, last: int, path: int, trigger: str, *, mtu_probe: bool
    ) -> None:
        """Packets were declared lost by "reordering_threshold" or "time_threshold"."""

    def marked_for_retransmit(
        self, now: float, level: Level, data: Sequence[DataRange], frames: bytes | bytearray
    ) -> None:
        """What lost packets carried goes again, but for what turns out to have arrived or to be outdated.

        `frames` has the frames without data of their own, as on the wire.
        """

    def datagrams(self, now: float, payload: memoryview, *, sent: bool, size: int, ecn: int) -> None:
        """UDP payload as it is on the wire, in datagrams of `size` bytes; the last may be shorter."""

    def metrics_updated(self, now: float, metrics: Mapping[str, float], path: int) -> None:
        """All metrics of recovery on a path, under qlog's names and in its units, changed or not."""

    def stream_data_moved(
        self, stream_id: int, offset: int, length: int, *, received: bool, fin: bool
    ) -> None:
        """The application has taken (`received`) or given bytes of a stream, since the time was last told."""

    def datagram_data_moved(self, length: int, *, received: bool) -> None:
        """The application has taken (`received`) or given a datagram, since the time was last told."""

    def connection_closed(self, now: float, closed: ConnectionClosed) -> None:
        """The end of the connection was decided, by whomever."""

    def event(self, now: float, name: str, data: Mapping[str, Any]) -> None:
        """Anything rare: parameters, versions, keys, states, timers, paths."""

    def http_event(self, name: str, data: Mapping[str, Any]) -> None:
        """Something of HTTP happened since the time was last told; commands don't know it.

        `name` has its namespace, and `data` is as qlog writes it, bytes as hex.
        """

    def name_application_errors(self, names: Mapping[int, str]) -> None:
        """From now on the application's error codes of this connection have these names."""

    def flush(self) -> None:
        """A batch is done. What was told so far should be safe now."""

    def close(self) -> None:
        """The connection is over: there is nothing more to tell."""


# Makes the tracer of a connection from the client's first Destination Connection ID and whether we are the
# client; None: this connection is not traced.
TracerFactory: TypeAlias = Callable[[bytes, bool], Tracer | None]
