"""Captures for tests of the checks: packets made by hand instead of a file and a dissector."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from endpoint.tls.extensions import ExtensionType
from endpoint.tls.messages import ClientHello, EncryptedExtensions, HandshakeType
from endpoint.wire.frames import Frame
from endpoint.wire.transport_params import TransportParameters, decode_transport_parameters
from endpoint.wire.varint import encode_varint
from endpoint.wire.version import QUIC_V1, PacketType
from interop.capture import Capture
from interop.checks import Run
from interop.dissect.model import Datagram, Message, Packet

CLIENT = ("193.167.0.100", 40000)
SERVER = ("193.167.100.100", 443)


def long(
    kind: PacketType | None,
    *frames: Frame,
    scid: bytes = b"\xaa",
    dcid: bytes = b"\xdd",
    version: int = QUIC_V1,
    number: int | None = 0,
    token: bytes = b"",
    size: int = 0,
    messages: Sequence[Message] = (),
    repeats: bool = False,
) -> Packet:
    """A long-header packet."""
    return Packet(
        size=size,
        kind=kind,
        dcid=dcid,
        version=version,
        scid=scid,
        token=token,
        number=number,
        payload=b"",
        frames=list(frames),
        messages=list(messages),
        repeats_crypto=repeats,
    )


def short(
    *frames: Frame, key_phase: int = 0, size: int = 0, dcid: bytes = b"\xdd", number: int = 0
) -> Packet:
    """A 1-RTT packet."""
    return Packet(
        size=size,
        kind=PacketType.ONE_RTT,
        dcid=dcid,
        number=number,
        first_byte=0x40 | key_phase << 2,
        payload=b"",
        frames=list(frames),
    )


def client_hello(*suites: int) -> Message:
    content = ClientHello(bytes(32), suites, {})
    return Message(HandshakeType.CLIENT_HELLO, b"", content, TransportParameters())


def encrypted_extensions(max_streams: int | None) -> Message:
    """With initial_max_streams_bidi, even of 0, as the second parameter; None leaves it out."""
    sent = encode_varint(0x04) + b"\x01\x05"
    if max_streams is not None:
        value = encode_varint(max_streams)
        sent += encode_varint(0x08) + encode_varint(len(value)) + value
    content = EncryptedExtensions({ExtensionType.QUIC_TRANSPORT_PARAMETERS: sent})
    params = decode_transport_parameters(sent, from_client=False)
    return Message(HandshakeType.ENCRYPTED_EXTENSIONS, b"", content, params)


def datagram(
    *packets: Packet,
    source: tuple[str, int] = CLIENT,
    destination: tuple[str, int] = SERVER,
    size: int = 1200,
    ecn: int = 0,
) -> Datagram:
    return Datagram(0, 0, source, destination, ecn, size, list(packets))


def from_server(
    *packets: Packet, destination: tuple[str, int] = CLIENT, size: int = 1200, ecn: int = 0
) -> Datagram:
    return datagram(*packets, source=SERVER, destination=destination, size=size, ecn=ecn)


@dataclass(frozen=True)
class Recorded(Capture):
    """Numbers its datagrams from 1."""

    recorded: Sequence[Datagram] = ()

    def load(self) -> list[Datagram]:
        return [replace(each, number=number) for number, each in enumerate(self.recorded, 1)]


def run(left: Sequence[Datagram] = (), right: Sequence[Datagram] = ()) -> Run:
    """A run without files."""
    return Run(_recorded("left", left), _recorded("right", right), {}, {}, ("", ""))


def _recorded(name: str, datagrams: Sequence[Datagram]) -> Recorded:
    return Recorded(Path(f"trace_node_{name}.pcap"), Path("none"), datagrams)
