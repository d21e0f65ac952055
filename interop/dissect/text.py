"""Datagrams, packets and frames as lines to read."""

from collections.abc import Callable
from typing import Any, Final

from endpoint.batch import ECN_CE, ECN_ECT_0, ECN_ECT_1, Address
from endpoint.wire.frames import (
    Ack,
    AckFrequency,
    ConnectionClose,
    Crypto,
    DataBlocked,
    Frame,
    HandshakeDone,
    ImmediateAck,
    MaxData,
    MaxStreamData,
    MaxStreams,
    NewConnectionId,
    NewToken,
    Padding,
    PathChallenge,
    PathResponse,
    Ping,
    ResetStream,
    RetireConnectionId,
    StopSending,
    Stream,
    StreamDataBlocked,
    StreamsBlocked,
)
from endpoint.wire.frames import Datagram as DatagramFrame
from endpoint.wire.version import PacketType
from interop.dissect.model import Datagram, Packet

PACKET_NAMES: Final = {
    PacketType.INITIAL: "Initial",
    PacketType.ZERO_RTT: "0-RTT",
    PacketType.HANDSHAKE: "Handshake",
    PacketType.RETRY: "Retry",
    PacketType.VERSION_NEGOTIATION: "Version Negotiation",
    PacketType.ONE_RTT: "1-RTT",
}
_ECN: Final = {ECN_ECT_0: " ECT(0)", ECN_ECT_1: " ECT(1)", ECN_CE: " CE"}


def datagram_line(datagram: Datagram, start: int) -> str:
    """One line; times are seconds since `start`, which is in nanoseconds."""
    sum_note = "" if datagram.checksum_is_right else ", checksum wrong or left to the network card"
    padding = f", {datagram.padding} bytes behind the last packet" if datagram.padding else ""
    return (
        f"{datagram.number} {(datagram.time - start) / 1e9:.6f} "
        f"{address_text(datagram.source)} > {address_text(datagram.destination)} "
        f"{datagram.size} bytes{_ECN.get(datagram.ecn, '')}{padding}{sum_note}"
    )


def address_text(address: Address) -> str:
    """ "host:port" with brackets around IPv6."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def packet_line(packet: Packet) -> str:
    """One line: who, what, connection IDs, frames, and what is wrong."""
    words = [str(packet.sender or "?"), packet_name(packet)]
    if packet.connection is not None and packet.connection.number >= 0:
        words.insert(0, f"[{packet.connection.number}]")
    if packet.version:
        words.append(f"{packet.version:#x}")
    if packet.number is not None:
        words.append(f"number {packet.number}")
    if packet.kind is PacketType.ONE_RTT and packet.is_open:
        words.append(f"key phase {packet.key_phase}")
    words.append(f"to {packet.dcid.hex() or 'no ID'}")
    if packet.scid is not None:
        words.append(f"from {packet.scid.hex() or 'no ID'}")
    if packet.token:
        words.append(f"token of {len(packet.token)} bytes")
    words.append(f"{packet.size} bytes")
    parts = [describe_frame(frame) for frame in packet.frames]
    parts += [f"versions {', '.join(f'{version:#x}' for version in packet.supported_versions)}"] * bool(
        packet.supported_versions
    )
    parts += [f"({message.name})" for message in packet.messages]
    parts += [f"NOT DECRYPTED: {packet.problem}"] * bool(packet.problem)
    parts += [f"MALFORMED: {packet.malformed}"] * bool(packet.malformed)
    return " ".join(words) + (f": {', '.join(parts)}" if parts else "")


def packet_name(packet: Packet) -> str:
    """The type's name in the RFC."""
    if packet.is_stateless_reset:
        return "Stateless Reset"
    return "packet" if packet.kind is None else PACKET_NAMES[packet.kind]


def describe_frame(frame: Frame) -> str:
    """The frame's name in the RFC and its fields, data as lengths."""
    return _DESCRIPTIONS[type(frame)](frame)


def _ack(frame: Ack) -> str:
    ranges = " ".join(f"{low}-{high}" if low < high else f"{low}" for low, high in frame.ranges)
    ecn = "" if frame.ecn is None else f" ECN {'/'.join(map(str, frame.ecn))}"
    return f"ACK {ranges} delay {frame.ack_delay}{ecn}"


def _stream(frame: Stream) -> str:
    return f"STREAM {frame.stream_id} {frame.offset}+{len(frame.data)}{' FIN' if frame.fin else ''}"


def _close(frame: ConnectionClose) -> str:
    space = "application" if frame.frame_type is None else "transport"
    reason = f" {frame.reason!r}" if frame.reason else ""
    return f"CONNECTION_CLOSE {space} error {frame.error_code:#x}{reason}"


def _direction(frame: MaxStreams | StreamsBlocked) -> str:
    return "unidirectional" if frame.unidirectional else "bidirectional"


_DESCRIPTIONS: dict[type[Frame], Callable[[Any], str]] = {
    Padding: lambda frame: f"PADDING {frame.length}",
    Ping: lambda _: "PING",
    Ack: _ack,
    ResetStream: lambda frame: (
        f"RESET_STREAM {frame.stream_id} error {frame.application_error_code:#x} size {frame.final_size}"
    ),
    StopSending: lambda frame: f"STOP_SENDING {frame.stream_id} error {frame.application_error_code:#x}",
    Crypto: lambda frame: f"CRYPTO {frame.offset}+{len(frame.data)}",
    NewToken: lambda frame: f"NEW_TOKEN of {len(frame.token)} bytes",
    Stream: _stream,
    MaxData: lambda frame: f"MAX_DATA {frame.maximum_data}",
    MaxStreamData: lambda frame: f"MAX_STREAM_DATA {frame.stream_id} {frame.maximum_stream_data}",
    MaxStreams: lambda frame: f"MAX_STREAMS {_direction(frame)} {frame.maximum_streams}",
    DataBlocked: lambda frame: f"DATA_BLOCKED {frame.maximum_data}",
    StreamDataBlocked: lambda frame: f"STREAM_DATA_BLOCKED {frame.stream_id} {frame.maximum_stream_data}",
    StreamsBlocked: lambda frame: f"STREAMS_BLOCKED {_direction(frame)} {frame.maximum_streams}",
    NewConnectionId: lambda frame: (
        f"NEW_CONNECTION_ID {frame.sequence_number} {frame.connection_id.hex()}"
        f" retire prior to {frame.retire_prior_to}"
    ),
    RetireConnectionId: lambda frame: f"RETIRE_CONNECTION_ID {frame.sequence_number}",
    PathChallenge: lambda frame: f"PATH_CHALLENGE {frame.data.hex()}",
    PathResponse: lambda frame: f"PATH_RESPONSE {frame.data.hex()}",
    ConnectionClose: _close,
    HandshakeDone: lambda _: "HANDSHAKE_DONE",
    DatagramFrame: lambda frame: f"DATAGRAM of {len(frame.data)} bytes",
    AckFrequency: lambda frame: (
        f"ACK_FREQUENCY {frame.sequence_number} threshold {frame.ack_eliciting_threshold}"
        f" max delay {frame.requested_max_ack_delay} us reordering {frame.reordering_threshold}"
    ),
    ImmediateAck: lambda _: "IMMEDIATE_ACK",
}
