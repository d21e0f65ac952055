"""What two dissectors say of a capture, brought to one form and compared packet by packet."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from wireshark import tshark

from endpoint.wire.frames import (
    Ack,
    AckFrequency,
    ConnectionClose,
    Crypto,
    DataBlocked,
    Datagram,
    Frame,
    FrameType,
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
from endpoint.wire.version import VERSION_NEGOTIATION, VERSIONS, PacketType
from interop.capture import Capture
from interop.dissect.model import Packet

# Types whose last bits a frame object does not keep stand for all of their kind.
_TYPES: dict[type[Frame], FrameType] = {
    Padding: FrameType.PADDING,
    Ping: FrameType.PING,
    Ack: FrameType.ACK,
    ResetStream: FrameType.RESET_STREAM,
    StopSending: FrameType.STOP_SENDING,
    Crypto: FrameType.CRYPTO,
    NewToken: FrameType.NEW_TOKEN,
    Stream: FrameType.STREAM,
    MaxData: FrameType.MAX_DATA,
    MaxStreamData: FrameType.MAX_STREAM_DATA,
    MaxStreams: FrameType.MAX_STREAMS_BIDI,
    DataBlocked: FrameType.DATA_BLOCKED,
    StreamDataBlocked: FrameType.STREAM_DATA_BLOCKED,
    StreamsBlocked: FrameType.STREAMS_BLOCKED_BIDI,
    NewConnectionId: FrameType.NEW_CONNECTION_ID,
    RetireConnectionId: FrameType.RETIRE_CONNECTION_ID,
    PathChallenge: FrameType.PATH_CHALLENGE,
    PathResponse: FrameType.PATH_RESPONSE,
    ConnectionClose: FrameType.CONNECTION_CLOSE,
    HandshakeDone: FrameType.HANDSHAKE_DONE,
    Datagram: FrameType.DATAGRAM,
    AckFrequency: FrameType.ACK_FREQUENCY,
    ImmediateAck: FrameType.IMMEDIATE_ACK,
}
_SAME_KIND: dict[int, int] = {
    FrameType.ACK_ECN: FrameType.ACK,
    FrameType.MAX_STREAMS_UNI: FrameType.MAX_STREAMS_BIDI,
    FrameType.STREAMS_BLOCKED_UNI: FrameType.STREAMS_BLOCKED_BIDI,
    FrameType.APPLICATION_CLOSE: FrameType.CONNECTION_CLOSE,
    FrameType.DATAGRAM_LEN: FrameType.DATAGRAM,
} | {FrameType.STREAM | flags: FrameType.STREAM for flags in range(8)}

Datagrams: TypeAlias = dict[int, tuple[tuple[str, int], tuple[str, int], int, int, list["Row"]]]
"""By number: source, destination, ECN field, size, packets."""


@dataclass(frozen=True, slots=True)
class Row:
    """A packet as both see it; `streams` are (stream ID, offset), `pieces` lengths of stream data."""

    kind: PacketType | None
    version: int | None
    dcid: str
    number: int | None
    key_phase: int | None
    payload: int
    frames: tuple[int, ...]
    crypto: tuple[tuple[int, int], ...]
    streams: tuple[tuple[int, int], ...]
    pieces: tuple[int, ...]
    handshake: tuple[int, ...]


def ours(file: Path, key_log: Path) -> Datagrams:
    return {
        datagram.number: (
            (str(datagram.source[0]), int(datagram.source[1])),
            (str(datagram.destination[0]), int(datagram.destination[1])),
            datagram.ecn,
            datagram.size,
            [_our_row(packet) for packet in datagram.packets],
        )
        for datagram in Capture(file, key_log).datagrams
    }


def theirs(file: Path, key_log: Path) -> Datagrams:
    return {
        datagram.number: (
            datagram.source,
            datagram.destination,
            datagram.ecn,
            datagram.size,
            [_their_row(packet) for packet in datagram.packets],
        )
        for datagram in tshark.Capture(file, key_log).datagrams("quic")
    }


def _our_row(packet: Packet) -> Row:
    streams = packet.find(Stream)
    return Row(
        kind=packet.kind,
        version=packet.version,
        dcid=packet.dcid.hex(),
        number=packet.number,
        key_phase=packet.key_phase,
        payload=packet.protected_size if packet.is_open else 0,
        frames=tuple(_TYPES[type(frame)] for frame in packet.frames),
        crypto=tuple((frame.offset, len(frame.data)) for frame in packet.find(Crypto)),
        streams=tuple((frame.stream_id, frame.offset) for frame in streams),
        pieces=tuple(len(frame.data) for frame in streams if frame.data),
        handshake=tuple(message.type for message in packet.messages),
    )


def _their_row(packet: tshark.Packet) -> Row:
    numbers = packet.values("quic.packet_number")
    is_open = bool(packet.values("quic.frame_type"))
    phase = packet.first("quic.key_phase")
    kinds = map(int, packet.values("quic.frame_type"))
    lengths = _integers(packet, "quic.crypto.length")
    return Row(
        kind=_kind(packet),
        version=packet.version,
        dcid=(packet.first("quic.dcid") or "").replace(":", ""),
        number=int(numbers[0]) if is_open else None,
        key_phase=None if phase is None else int(phase),
        payload=packet.payload_size if is_open else 0,
        frames=tuple(_SAME_KIND.get(kind, kind) for kind in kinds),
        crypto=tuple(zip(_integers(packet, "quic.crypto.offset"), lengths, strict=True)),
        streams=tuple(_streams(packet)),
        pieces=tuple(len(bytes.fromhex(data.replace(":", ""))) for data in packet.values("quic.stream_data")),
        handshake=tuple(_integers(packet, "tls.handshake.type")),
    )


def _integers(packet: tshark.Packet, name: str) -> list[int]:
    return [int(value) for value in packet.values(name)]


def _streams(packet: tshark.Packet) -> Iterable[tuple[int, int]]:
    offsets = iter(_integers(packet, "quic.stream.offset"))
    flags = _integers(packet, "quic.stream.off")
    for stream_id, has_offset in zip(_integers(packet, "quic.stream.stream_id"), flags, strict=True):
        yield stream_id, next(offsets) if has_offset else 0


def _kind(packet: tshark.Packet) -> PacketType | None:
    if packet.is_short:
        return PacketType.ONE_RTT
    if packet.version == VERSION_NEGOTIATION:
        return PacketType.VERSION_NEGOTIATION
    # It takes an unknown version for one that it knows.
    kind = packet.long_type
    return None if kind is None or packet.version not in VERSIONS else PacketType[kind.name]
