"""What Wireshark makes of a capture: datagrams with the QUIC packets in them, decrypted with a key log."""

import json
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any, Final

from interop.simnet.netns import CLIENT_IPV4, CLIENT_IPV6, SERVER_IPV4, SERVER_IPV6

# Display filters. The runner knows a packet's direction by its source.
FROM_CLIENT: Final = f"(ip.src=={CLIENT_IPV4} || ipv6.src=={CLIENT_IPV6})"
FROM_SERVER: Final = f"(ip.src=={SERVER_IPV4} || ipv6.src=={SERVER_IPV6})"
LONG_HEADER: Final = "quic.header_form==1"
# Everything that the dissector did not understand or does not like.
COMPLAINTS: Final = '(quic.decryption_failed || _ws.malformed || _ws.expert.severity>="Warning")'


class PacketType(IntEnum):
    """Long packet types by their numbers in version 1 (RFC 9000 §17.2)."""

    INITIAL = 0
    ZERO_RTT = 1
    HANDSHAKE = 2
    RETRY = 3


@dataclass(frozen=True, slots=True)
class Packet:
    """One QUIC packet: the dissector's fields by name, each with all its values in order."""

    number: int
    fields: dict[str, list[str]]

    def values(self, name: str) -> list[str]:
        """Everything that the packet has under this name."""
        return self.fields.get(name, [])

    def first(self, name: str) -> str | None:
        """The first value, the only one that the runner's checks look at."""
        values = self.fields.get(name)
        return values[0] if values else None

    @property
    def long_type(self) -> PacketType | None:
        """None for short headers, Version Negotiation and unknown versions."""
        value = self.first("quic.long.packet_type")
        if value is not None:
            return PacketType(int(value))
        value = self.first("quic.long.packet_type_v2")
        # RFC 9369 §3.2: the numbers of version 2 are those of version 1 plus one, modulo four.
        return None if value is None else PacketType((int(value) - 1) % 4)

    @property
    def is_short(self) -> bool:
        return self.first("quic.header_form") == "0"

    @property
    def version(self) -> int | None:
        """None for short headers."""
        value = self.first("quic.version")
        return None if value is None else int(value, 16)

    @property
    def payload_size(self) -> int:
        """Bytes behind the header, decrypted or not, as the runner adds them up."""
        names = ("quic.payload", "quic.protected_payload", "quic.remaining_payload")
        value = next((value for value in map(self.first, names) if value), "")
        return len(bytes.fromhex(value.replace(":", "")))


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP datagram of a capture. `number` counts from 1; `size` is that of the UDP payload in bytes."""

    number: int
    time: float
    source: tuple[str, int]
    destination: tuple[str, int]
    ecn: int
    size: int
    packets: tuple[Packet, ...]

    @property
    def is_ipv4(self) -> bool:
        return ":" not in self.source[0]


@dataclass(frozen=True, slots=True)
class Capture:
    """A capture file and the key log that opens it."""

    file: Path
    key_log: Path

    def datagrams(self, display_filter: str) -> list[Datagram]:
        """The QUIC datagrams that match, with all their packets. Much text per datagram: match few."""
        return parse_json(self._tshark(display_filter, "json", "-J", "frame ip ipv6 udp quic"))

    def packets(self, display_filter: str) -> list[Packet]:
        """All packets of the datagrams that match."""
        return [packet for datagram in self.datagrams(display_filter) for packet in datagram.packets]

    def long_packets(self, kind: PacketType, direction: str) -> list[Packet]:
        """All long-header packets of one type from one side."""
        packets = self.packets(f"{direction} && {LONG_HEADER}")
        return [packet for packet in packets if packet.long_type == kind]

    def rows(self, display_filter: str, *fields: str) -> list[tuple[str, ...]]:
        """Some fields of the QUIC datagrams that match: "" if there is none, "a;b" if there are more."""
        arguments = ["-E", "separator=|", "-E", "aggregator=;"]
        for field in fields:
            arguments += ["-e", field]
        text = self._tshark(display_filter, "fields", *arguments)
        return [tuple(line.split("|")) for line in text.splitlines()]

    @cache  # noqa: B019 - a test makes a few captures
    def _tshark(self, display_filter: str, form: str, *arguments: str) -> str:
        program = shutil.which("tshark")
        if program is None:
            raise FileNotFoundError("there is no tshark")
        command = [program, "-r", str(self.file), "-o", f"tls.keylog_file:{self.key_log}"]
        command += ["-d", "udp.port==443,quic", "-Y", f"quic && ({display_filter})", "-T", form, *arguments]
        answer = subprocess.run(command, capture_output=True, check=True, text=True)
        return answer.stdout


def parse_json(text: str) -> list[Datagram]:
    """The datagrams in the JSON of tshark, whose objects repeat a name for each layer and field of a kind."""
    records = json.loads(text, object_pairs_hook=tuple)
    return [_make_datagram(_member(_member(record, "_source"), "layers")) for record in records]


def _member(pairs: Iterable[Any], name: str) -> Any:
    return next(value for key, value in pairs if key == name)


def _flatten(pairs: Iterable[Any]) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}

    def walk(pairs: Iterable[Any]) -> None:
        for name, value in pairs:
            if isinstance(value, tuple):
                # An empty object is an empty tuple; a group's own name is of no use.
                walk(value)
            else:
                fields.setdefault(name, []).append(value)

    walk(pairs)
    return fields


def _make_datagram(layers: Iterable[Any]) -> Datagram:
    outer: dict[str, list[str]] = {}
    quic: list[tuple[Any, ...]] = []
    for name, value in layers:
        if not isinstance(value, tuple):
            continue  # a layer without fields
        if name == "quic":
            quic.append(value)
        else:
            outer |= _flatten(value)
    number = int(outer["frame.number"][0])
    family, ecn = ("ip", "ip.dsfield.ecn") if "ip.src" in outer else ("ipv6", "ipv6.tclass.ecn")
    return Datagram(
        number=number,
        time=float(outer["frame.time_epoch"][0]),
        source=(outer[f"{family}.src"][0], int(outer["udp.srcport"][0])),
        destination=(outer[f"{family}.dst"][0], int(outer["udp.dstport"][0])),
        ecn=int(outer[ecn][0]),
        size=int(outer["udp.length"][0]) - 8,
        packets=tuple(Packet(number, _flatten(pairs)) for pairs in quic),
    )
