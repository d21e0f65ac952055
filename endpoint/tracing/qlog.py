"""A tracer that writes qlog: one file per connection and role, in the newest drafts.

Runs are expanded to events of single packets here and nowhere before. Records are collected per batch and
handed to the system when it ends, so a process that is killed leaves whole records.
"""

import datetime as dt
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from endpoint.batch import TAG_LENGTH
from endpoint.events import ConnectionClosed
from endpoint.level import Level
from endpoint.trace import DataRange, PacketInfo, StreamPackets
from endpoint.tracing.checksums import checksums
from endpoint.tracing.qlog_frames import qlog_data, qlog_frames
from endpoint.tracing.qlog_names import (
    DROP_TRIGGERS,
    ECN,
    PACKET_NUMBER_SPACES,
    PACKET_TYPES,
    as_json,
    connection_closed,
    tuple_id,
)
from endpoint.tracing.sampling import Sampling
from qlog.events import events_of_level
from qlog.writer import Record, Role, TraceWriter, trace_header, trace_path

_LOG = logging.getLogger(__name__)

QlogLevel = Literal["core", "base", "extra"]
QLOG_LEVELS: tuple[QlogLevel, ...] = ("core", "base", "extra")

# RFC 9000 §18.2, until the parameters are known, and always for Initial and Handshake packets.
_DEFAULT_ACK_DELAY_EXPONENT = 3
# From where to where data moves, by whether it was received.
_MOVED = (("application", "transport"), ("transport", "application"))
# Events kept before the first authentic packet, when a trace becomes a file.
_MAX_KEPT = 64


class QlogFolder:
    """Makes a tracer per connection that writes `<ODCID>_<client|server>.sqlog` in a folder.

    It is a `TracerFactory` for `Config.tracer`. The folder is made if it is not there. What goes wrong
    with a file, or the folder, is told once in the log and ends the tracing; connections go on.
    """

    def __init__(
        self, folder: str | Path, level: QlogLevel = "extra", *, name: str = "interquic", sample: int = 1
    ) -> None:
        """`level` is the least important kind of event to write, `name` what the traces call us.

        `sample` keeps large transfers small: of what comes with every packet, only each `sample`-th is
        written after the first thousand. Raises ValueError below 1.
        """
        if sample < 1:
            raise ValueError("every 1st event is the most a trace can have")
        self._sample = sample
        self._folder = Path(folder)
        self._events = events_of_level(level)
        self._name = name
        self._usable = True
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            _LOG.warning("qlog: no traces are written to %s: %s", folder, error)
            self._usable = False

    def __call__(self, original_destination_cid: bytes, is_client: bool) -> "QlogTracer | None":
        """The tracer of a connection; None once a trace could not be written."""
        if not self._usable:
            return None
        role: Role = "client" if is_client else "server"
        cid = original_destination_cid.hex()

        def make_writer(started: dt.datetime) -> TraceWriter:
            header = trace_header(role, group_id=cid, name=self._name, started=started, sampled=self._sample)
            return TraceWriter(trace_path(self._folder, original_destination_cid, role), header)

        sampling = Sampling(self._sample) if self._sample > 1 else None
        return QlogTracer(make_writer, self._events, self._disable, sampling)

    def _disable(self) -> None:
        self._usable = False


class QlogTracer:
    """Writes the trace of one connection; see `endpoint.trace.Tracer`."""

    __slots__ = (
        "_ack_delay_exponents",
        "_application_errors",
        "_events",
        "_last_early",
        "_make_writer",
        "_metrics",
        "_on_failure",
        "_over",
        "_real",
        "_records",
        "_sampling",
        "_started",
        "_time",
        "_untimed",
        "_wall_time",
        "_writer",
    )

    def __init__(
        self,
        make_writer: Callable[[dt.datetime], TraceWriter],
        events: frozenset[str],
        on_failure: Callable[[], None],
        sampling: Sampling | None = None,
    ) -> None:
        """`make_writer` opens the file, told when the trace began; `events` are the names to write.

        `sampling`: not all of them.
        """
        self._make_writer = make_writer
        self._events = events
        self._on_failure = on_failure
        self._sampling = sampling
        self._writer: TraceWriter | None = None
        self._wall_time = dt.datetime.now(dt.UTC)
        self._started: float | None = None
        self._time = 0.0
        self._records: list[Record] = []
        # Names and data of what commands have done since the time was told.
        self._untimed: list[tuple[str, Mapping[str, Any]]] = []
        self._application_errors: Mapping[int, str] = {}
        # Whether any packet was sent or authentic: only then is there a file. Anybody can send garbage.
        self._real = False
        self._over = False
        # By path, what was told.
        self._metrics: dict[int, dict[str, float]] = {}
        self._ack_delay_exponents = {
            "local": _DEFAULT_ACK_DELAY_EXPONENT,
            "remote": _DEFAULT_ACK_DELAY_EXPONENT,
        }
        # The last packet number of a 0-RTT packet that was sent: they share the space of 1-RTT.
        self._last_early = -1

    # Packets.

    def packet_sent(
        self, now: float, packet: PacketInfo, payload: bytes | bytearray, *, pto: bool, mtu_probe: bool
    ) -> None:
        """See `Tracer`."""
        self._real = True
        if packet.level is Level.ZERO_RTT:
            self._last_early = packet.number
        data = self._packet(packet, payload, "local")
        if mtu_probe:
            data["is_mtu_probe_packet"] = True
        if pto:
            data["trigger"] = "pto_probe"
        self._add(now, "quic:packet_sent", data, packet.path)

    def packet_received(
        self, now: float, packet: PacketInfo, payload: bytes | memoryview, *, waited: bool
    ) -> None:
        """See `Tracer`."""
        self._real = True
        data = self._packet(packet, payload, "remote")
        if waited:
            data["trigger"] = "keys_available"
        self._add(now, "quic:packet_received", data, packet.path)

    def stream_packets_sent(self, now: float, packets: StreamPackets) -> None:
        """See `Tracer`."""
        self._add_run(now, "quic:packet_sent", packets)

    def stream_packets_received(self, now: float, packets: StreamPackets) -> None:
        """See `Tracer`."""
        self._add_run(now, "quic:packet_received", packets)

    def packet_dropped(self, now: float, size: int, reason: str) -> None:
        """See `Tracer`."""
        trigger = DROP_TRIGGERS.get(reason, "general")
        data: dict[str, Any] = {"raw": {"length": size}, "trigger": trigger}
        if trigger != reason:
            data["details"] = {"reason": reason}
        self._add(now, "quic:packet_dropped", data)

    def packet_buffered(self, now: float, level: Level, size: int) -> None:
        """See `Tracer`."""
        header = {"packet_type": PACKET_TYPES[level]}
        data = {"header": header, "raw": {"length": size}, "trigger": "keys_unavailable"}
        self._add(now, "quic:packet_buffered", data)

    def packets_acked(self, now: float, level: Level, first: int, last: int, path: int) -> None:
        """See `Tracer`."""
        name = "quic:packets_acked"
        if name in self._events:
            space = PACKET_NUMBER_SPACES[level]
            numbers = list(range(first, last + 1))
            self._add(now, name, {"packet_number_space": space, "packet_numbers": numbers}, path)

    def packets_lost(
        self, now: float, level: Level, first: int, last: int, path: int, trigger: str, *, mtu_probe: bool
    ) -> None:
        """See `Tracer`."""
        for number in range(first, last + 1):
            early = level is Level.ONE_RTT and number <= self._last_early
            packet_type = PACKET_TYPES[Level.ZERO_RTT if early else level]
            data: dict[str, Any] = {"header": {"packet_type": packet_type, "packet_number": number}}
            if mtu_probe:
                data["is_mtu_probe_packet"] = True
            data["trigger"] = trigger
            self._add(now, "quic:packet_lost", data, path)

    def marked_for_retransmit(
        self, now: float, level: Level, data: Sequence[DataRange], frames: bytes | bytearray
    ) -> None:
        """See `Tracer`."""
        told = qlog_frames(frames, level, _DEFAULT_ACK_DELAY_EXPONENT, self._application_errors)
        told += [qlog_data(one) for one in data]
        self._add(now, "quic:marked_for_retransmit", {"frames": told})

    def datagrams(self, now: float, payload: memoryview, *, sent: bool, size: int, ecn: int) -> None:
        """See `Tracer`."""
        name = "quic:udp_datagrams_sent" if sent else "quic:udp_datagrams_received"
        if not self._wants(name, {}):
            return
        time = self._at(now)
        full, rest = divmod(len(payload), size)
        raw = [{"length": size}] * full
        if rest:
            raw.append({"length": rest})
        data: dict[str, Any] = {"count": len(raw), "raw": raw, "ecn": [ECN[ecn]] * len(raw)}
        # The buffer is used again, so this can't wait.
        sums = checksums(payload, size)
        if sums:
            data["datagram_payload_checksums"] = sums
        self._records.append((time, name, data, ""))

    # Everything else.

    def metrics_updated(self, now: float, metrics: Mapping[str, float], path: int) -> None:
        """See `Tracer`."""
        known = self._metrics.setdefault(path, {})
        changed = {name: value for name, value in metrics.items() if known.get(name) != value}
        if changed:
            known.update(changed)
            self._add(now, "quic:recovery_metrics_updated", changed, path)

    def stream_data_moved(
        self, stream_id: int, offset: int, length: int, *, received: bool, fin: bool
    ) -> None:
        """See `Tracer`."""
        places = _MOVED[received]
        data: dict[str, Any] = {"stream_id": stream_id, "offset": offset, "from": places[0], "to": places[1]}
        if fin:
            data["additional_info"] = "fin_set"
        data["raw"] = {"length": length}
        self._add_untimed("quic:stream_data_moved", data)

    def datagram_data_moved(self, length: int, *, received: bool) -> None:
        """See `Tracer`."""
        places = _MOVED[received]
        data = {"from": places[0], "to": places[1], "raw": {"length": length}}
        self._add_untimed("quic:datagram_data_moved", data)

    def connection_closed(self, now: float, closed: ConnectionClosed) -> None:
        """See `Tracer`."""
        self._add(now, "quic:connection_closed", connection_closed(closed, self._application_errors))

    def event(self, now: float, name: str, data: Mapping[str, Any]) -> None:
        """See `Tracer`."""
        if name == "parameters_set" and "ack_delay_exponent" in data:
            self._ack_delay_exponents[data["initiator"]] = data["ack_delay_exponent"]
        if name == "packet_received":
            self._real = True
        self._add(now, f"quic:{name}", as_json(data))

    def http_event(self, name: str, data: Mapping[str, Any]) -> None:
        """See `Tracer`."""
        self._add_untimed(name, data)

    def name_application_errors(self, names: Mapping[int, str]) -> None:
        """See `Tracer`."""
        self._application_errors = names

    def flush(self) -> None:
        """See `Tracer`."""
        if self._untimed:
            self._place_untimed()
        records = self._records
        if not records:
            return
        if not self._real:
            del records[_MAX_KEPT:]
            return
        if self._writer is None:
            self._writer = self._make_writer(self._wall_time)
        self._writer.write_all(records)
        records.clear()
        if not self._writer.enabled:
            self._over = True
            self._on_failure()

    def close(self) -> None:
        """See `Tracer`."""
        self.flush()
        self._over = True
        if self._writer is not None:
            self._writer.close()

    # Inside.

    def _packet(
        self, packet: PacketInfo, payload: bytes | bytearray | memoryview, sender: str
    ) -> dict[str, Any]:
        level = packet.level
        header: dict[str, Any] = {
            "packet_type": PACKET_TYPES[level],
            "packet_number": packet.number,
            "packet_number_length": packet.number_length,
        }
        if level is Level.ONE_RTT:
            header["key_phase"] = packet.key_phase
            exponent = self._ack_delay_exponents[sender]
        else:
            header["version"] = f"{packet.version:08x}"
            header["scil"], header["dcil"] = len(packet.scid), len(packet.dcid)
            header["scid"], header["dcid"] = packet.scid.hex(), packet.dcid.hex()
            exponent = _DEFAULT_ACK_DELAY_EXPONENT
        if packet.token:
            header["token"] = {"raw": {"length": len(packet.token), "data": packet.token.hex()}}
        return {
            "header": header,
            "frames": qlog_frames(payload, level, exponent, self._application_errors),
            "raw": _raw(packet.size, packet.header_size),
        }

    def _add_run(self, now: float, name: str, run: StreamPackets) -> None:
        self._real = True
        if self._over:
            return
        time = self._at(now)
        raw, data_raw = _raw(run.size, run.header_size), {"length": run.chunk}
        stream_id, offset, chunk, numbers = run.stream_id, run.offset, run.chunk, run.numbers
        number_length, key_phase = run.number_length, run.key_phase
        network_tuple = tuple_id(run.path)
        kept: Sequence[int] = range(len(numbers))
        if self._sampling is not None:
            kept = self._sampling.keeps_of(name, len(numbers), last=run.fin)
        self._records += [
            (
                time,
                name,
                {
                    "header": {
                        "packet_type": "1RTT",
                        "packet_number": numbers[index],
                        "packet_number_length": number_length,
                        "key_phase": key_phase,
                    },
                    "frames": [
                        {
                            "frame_type": "stream",
                            "stream_id": stream_id,
                            "offset": offset + index * chunk,
                            "raw": data_raw,
                        }
                    ],
                    "raw": raw,
                },
                network_tuple,
            )
            for index in kept
        ]
        if run.fin:
            self._records[-1][2]["frames"][0]["fin"] = True

    def _add(self, now: float, name: str, data: Mapping[str, Any], path: int = 0) -> None:
        time = self._at(now)
        if self._wants(name, data):
            self._records.append((time, name, data, tuple_id(path)))

    def _add_untimed(self, name: str, data: Mapping[str, Any]) -> None:
        if self._wants(name, data):
            self._untimed.append((name, data))

    def _wants(self, name: str, data: Mapping[str, Any]) -> bool:
        if self._over or name not in self._events:
            return False
        return self._sampling is None or self._sampling.keeps(name, data)

    def _at(self, now: float) -> float:
        """ms since the trace began, in whole microseconds. Never less than before."""
        if self._started is None:
            self._started = now
        time = round((now - self._started) * 1000.0, 3)
        if time > self._time:
            self._time = time
        if self._untimed:
            self._place_untimed()
        return self._time

    def _place_untimed(self) -> None:
        self._records += [(self._time, name, data, "") for name, data in self._untimed]
        self._untimed.clear()


def _raw(size: int, header_size: int) -> dict[str, int]:
    # "Raw packet and frame information": the tag of the AEAD is a trailer, no payload.
    return {"length": size, "payload_length": size - header_size - TAG_LENGTH}
