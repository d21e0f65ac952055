"""Captures for tests of the checks: datagrams made by hand instead of a file and a dissector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from interop.capture import FROM_CLIENT, FROM_SERVER, Capture, Datagram, Packet, PacketType
from interop.checks import Run

CLIENT = ("193.167.0.100", 40000)
SERVER = ("193.167.100.100", 443)

NONE: Mapping[str, str] = {}

_LONG = {"quic.header_form": ["1"], "quic.version": ["0x00000001"]}


def long(kind: PacketType, fields: Mapping[str, str] = NONE) -> Packet:
    """A long-header packet, of version 1 unless `fields` say otherwise; several values as "a;b"."""
    return Packet(0, _LONG | {"quic.long.packet_type": [str(int(kind))]} | _split(fields))


def short(fields: Mapping[str, str] = NONE) -> Packet:
    """A 1-RTT packet."""
    return Packet(0, {"quic.header_form": ["0"]} | _split(fields))


def _split(fields: Mapping[str, str]) -> dict[str, list[str]]:
    return {name: value.split(";") for name, value in fields.items()}


def datagram(
    *packets: Packet,
    source: tuple[str, int] = CLIENT,
    destination: tuple[str, int] = SERVER,
    size: int = 1200,
    ecn: int = 0,
) -> Datagram:
    return Datagram(0, 0.0, source, destination, ecn, size, packets)


def from_server(*packets: Packet, destination: tuple[str, int] = CLIENT, size: int = 1200) -> Datagram:
    return datagram(*packets, source=SERVER, destination=destination, size=size)


@dataclass(frozen=True, slots=True)
class Recorded(Capture):
    """Understands the few filters and columns that the checks use. Numbers its datagrams from 1."""

    recorded: Sequence[Datagram] = ()

    def datagrams(self, display_filter: str) -> list[Datagram]:
        numbered = [replace(each, number=number) for number, each in enumerate(self.recorded, 1)]
        conditions = display_filter.split(" && ")
        return [each for each in numbered if all(_matches(each, condition) for condition in conditions)]

    def rows(self, display_filter: str, *fields: str) -> list[tuple[str, ...]]:
        return [
            tuple(_columns(datagram).get(field, "") for field in fields)
            for datagram in self.datagrams(display_filter)
        ]


def _matches(datagram: Datagram, condition: str) -> bool:
    if condition in {FROM_CLIENT, FROM_SERVER}:
        return (datagram.source == SERVER) == (condition == FROM_SERVER)
    if condition == "ip":
        return datagram.is_ipv4
    if condition == "frame.number<200":
        return True
    if condition.startswith("frame.number=="):
        return any(f"=={datagram.number}" in choice for choice in condition.split(" || "))
    name, _, value = condition.partition("==")
    return any(value in packet.values(name) if value else packet.values(name) for packet in datagram.packets)


def _columns(datagram: Datagram) -> dict[str, str]:
    family = "ip" if datagram.is_ipv4 else "ipv6"
    return {
        "frame.number": str(datagram.number),
        f"{family}.src": datagram.source[0],
        f"{family}.dst": datagram.destination[0],
        "udp.srcport": str(datagram.source[1]),
        "udp.dstport": str(datagram.destination[1]),
    }


def run(left: Sequence[Datagram] = (), right: Sequence[Datagram] = ()) -> Run:
    """A run without files."""
    return Run(_recorded(left), _recorded(right), {}, {}, ("", ""))


def _recorded(datagrams: Sequence[Datagram]) -> Recorded:
    return Recorded(Path("none"), Path("none"), datagrams)
