"""Turns a dissected capture into qlog: a trace per connection, seen from the network.

The client's packets are "sent", the server's "received" (`flow` of the vantage point says so), so that stacks
without qlog can be seen in its tools too.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from endpoint.level import Level
from endpoint.trace import PacketInfo
from endpoint.tracing.qlog import QlogTracer
from endpoint.tracing.qlog_names import ECN, endpoint_info
from endpoint.transport.observe_handshake import parameters_set
from endpoint.wire.header import PN_LENGTH_MASK
from endpoint.wire.version import PacketType
from interop.dissect.connection import Connection
from interop.dissect.model import Datagram, Packet, Side
from qlog.events import events_of_level
from qlog.writer import TraceWriter, trace_header

_NAME: Final = "interquic dissect"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_INITIATOR: Final = {Side.CLIENT: "local", Side.SERVER: "remote"}
_UNPROTECTED: Final = {PacketType.RETRY: "retry", PacketType.VERSION_NEGOTIATION: "version_negotiation"}


class QlogError(Exception):
    """A trace could not be written; the message names it."""


def write_traces(datagrams: Sequence[Datagram], folder: Path) -> list[Path]:
    """A trace of each connection in `folder`, `<ODCID>_network.sqlog`. Raises QlogError and OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    traces: dict[Connection, _Trace] = {}
    for datagram in datagrams:
        for connection in dict.fromkeys(packet.connection for packet in datagram.packets):
            if connection is None or connection.number < 0:
                continue
            if connection not in traces:
                traces[connection] = _Trace(connection, folder, datagram)
            traces[connection].add(datagram)
    return [trace.close() for trace in traces.values()]


class _Trace:
    """Tells the events of one connection to a tracer."""

    def __init__(self, connection: Connection, folder: Path, first: Datagram) -> None:
        self._connection = connection
        self._path = folder / f"{connection.original_dcid.hex()}_network.sqlog"
        self._started = _EPOCH + timedelta(microseconds=first.time // 1000)
        self._told_parameters: set[Side] = set()
        self._failed = False
        self._tracer = QlogTracer(self._make_writer, events_of_level("extra"), self._on_failure)
        sides = first.source, first.destination
        if first.packets[0].sender is Side.SERVER:
            sides = first.destination, first.source
        local, remote = map(endpoint_info, sides)
        self._tracer.event(first.time / 1e9, "connection_started", {"local": local, "remote": remote})

    def add(self, datagram: Datagram) -> None:
        """Tell of the connection's packets in a datagram."""
        now = datagram.time / 1e9
        mine = [packet for packet in datagram.packets if packet.connection is self._connection]
        sent = mine[0].sender is Side.CLIENT
        # Of the datagram itself no more than this is kept, so there is no checksum.
        told = {"count": 1, "raw": [{"length": datagram.size}], "ecn": [ECN[datagram.ecn]]}
        self._tracer.event(now, "udp_datagrams_sent" if sent else "udp_datagrams_received", told)
        for packet in mine:
            self._add_packet(packet, now)
        self._tracer.flush()

    def close(self) -> Path:
        """The file, complete. Raises QlogError."""
        self._tracer.close()
        if self._failed or not self._path.exists():
            raise QlogError(f"the trace {self._path} can't be written")
        return self._path

    def _add_packet(self, packet: Packet, now: float) -> None:
        sent = packet.sender is Side.CLIENT
        if packet.is_open:
            info = _info(packet)
            payload = packet.payload or b""
            if sent:
                self._tracer.packet_sent(now, info, payload, pto=False, mtu_probe=False)
            else:
                self._tracer.packet_received(now, info, payload, waited=False)
            for message in packet.messages:
                if message.parameters is not None and packet.sender not in self._told_parameters:
                    assert packet.sender is not None, "it was opened"
                    self._told_parameters.add(packet.sender)
                    data = {"initiator": _INITIATOR[packet.sender], **parameters_set(message.parameters)}
                    self._tracer.event(now, "parameters_set", data)
        elif packet.kind in _UNPROTECTED or packet.is_stateless_reset:
            self._tracer.event(now, "packet_sent" if sent else "packet_received", _unprotected(packet))
        else:
            self._tracer.packet_dropped(now, packet.size, "decryption_failure")

    def _make_writer(self, _: datetime) -> TraceWriter:
        header = trace_header(
            "client", group_id=self._connection.original_dcid.hex(), name=_NAME, started=self._started
        )
        header["trace"]["vantage_point"] = {"name": _NAME, "type": "network", "flow": "client"}
        return TraceWriter(self._path, header)

    def _on_failure(self) -> None:
        self._failed = True


def _info(packet: Packet) -> PacketInfo:
    assert packet.level is not None, "it was opened"
    assert packet.number is not None, "it was opened"
    return PacketInfo(
        level=packet.level,
        number=packet.number,
        number_length=(packet.first_byte & PN_LENGTH_MASK) + 1,
        size=packet.size,
        header_size=packet.header_size,
        key_phase=packet.key_generation if packet.level is Level.ONE_RTT else 0,
        version=packet.version or 0,
        dcid=packet.dcid,
        scid=packet.scid or b"",
        token=packet.token,
    )


def _unprotected(packet: Packet) -> dict[str, Any]:
    """Retry, Version Negotiation and stateless reset."""
    if packet.kind is None:
        return {"header": {"packet_type": "stateless_reset"}, "raw": {"length": packet.size}}
    scid = packet.scid or b""
    header: dict[str, Any] = {"packet_type": _UNPROTECTED[packet.kind]}
    if packet.kind is PacketType.RETRY:
        header["version"] = f"{packet.version:08x}"
        header["token"] = {
            "type": "retry",
            "raw": {"length": len(packet.token), "data": packet.token.hex()},
        }
    header |= {"scil": len(scid), "dcil": len(packet.dcid), "scid": scid.hex(), "dcid": packet.dcid.hex()}
    data: dict[str, Any] = {"header": header, "raw": {"length": packet.size}}
    if packet.supported_versions:
        data["supported_versions"] = [f"{version:08x}" for version in packet.supported_versions]
    return data
