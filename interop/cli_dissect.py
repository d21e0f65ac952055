"""`interquic interop dissect`: the packets of a capture as lines, as JSON, or as qlog."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from endpoint.cli.errors import CommandError, explain_disk
from endpoint.tracing.qlog_frames import qlog_frames
from interop.dissect.dissector import QUIC_PORT, dissect
from interop.dissect.filters import FilterError, PacketFilter
from interop.dissect.keylog import KeyLog, KeyLogError
from interop.dissect.model import Datagram, Packet
from interop.dissect.text import address_text, datagram_line, packet_line, packet_name
from interop.to_qlog import QlogError, write_traces

# RFC 9000 §18.2.
_DEFAULT_ACK_DELAY_EXPONENT: Final = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("capture", type=Path, metavar="PCAP", help="a pcap or pcapng file")
    parser.add_argument("--keys", type=Path, metavar="FILE", help="key log in the NSS format (SSLKEYLOGFILE)")
    parser.add_argument("--json", action="store_true", help="one line of JSON per datagram")
    parser.add_argument(
        "--filter",
        default="",
        metavar="TERMS",
        help='packets to show, such as "side=client type=1-rtt frame=ack stream=4 number=3-9 problem=yes"',
    )
    parser.add_argument("--qlog", type=Path, metavar="DIR", help="write a trace of each connection there")
    parser.add_argument(
        "--port",
        type=int,
        action="append",
        default=[],
        help=f"all on this UDP port is QUIC, like {QUIC_PORT}",
    )


def run(args: argparse.Namespace) -> int:
    """Exit status 0, or 1 where the file breaks off. Raises CommandError."""
    key_log = _key_log(args.keys)
    try:
        wanted = PacketFilter.parse(args.filter)
    except FilterError as error:
        raise CommandError(str(error)) from error
    datagrams, broken = dissect(args.capture, key_log, [QUIC_PORT, *args.port])
    if args.qlog is not None:
        _write_qlog(datagrams, args.qlog)
    else:
        for line in _json_lines(datagrams, wanted) if args.json else _lines(datagrams, wanted):
            print(line)
    if broken is not None:
        raise CommandError(str(broken)) from broken
    if not datagrams:
        raise CommandError(f"{args.capture}: no QUIC in it; with another port than {QUIC_PORT} say --port")
    return 0


def _key_log(file: Path | None) -> KeyLog:
    if file is None:
        return KeyLog()
    try:
        key_log = KeyLog.read(file)
    except KeyLogError as error:
        raise CommandError(str(error)) from error
    if key_log.damaged:
        lines = ", ".join(map(str, key_log.damaged))
        print(f"interquic: key log {file}: lines that can't be read: {lines}", file=sys.stderr)
    return key_log


def _write_qlog(datagrams: list[Datagram], folder: Path) -> None:
    try:
        paths = write_traces(datagrams, folder)
    except QlogError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise explain_disk(error) from error
    for path in paths:
        print(path)


def _chosen(datagrams: list[Datagram], wanted: PacketFilter) -> Iterator[tuple[Datagram, list[Packet]]]:
    for datagram in datagrams:
        packets = [packet for packet in datagram.packets if wanted(datagram, packet)]
        if packets:
            yield datagram, packets


def _lines(datagrams: list[Datagram], wanted: PacketFilter) -> Iterator[str]:
    for datagram, packets in _chosen(datagrams, wanted):
        yield datagram_line(datagram, datagrams[0].time)
        for packet in packets:
            yield f"    {packet_line(packet)}"


def _json_lines(datagrams: list[Datagram], wanted: PacketFilter) -> Iterator[str]:
    for datagram, packets in _chosen(datagrams, wanted):
        yield json.dumps(
            {
                "datagram": datagram.number,
                "time_ns": datagram.time,
                "source": address_text(datagram.source),
                "destination": address_text(datagram.destination),
                "size": datagram.size,
                "ecn": datagram.ecn,
                "packets": [_packet_json(packet) for packet in packets],
            }
        )


def _packet_json(packet: Packet) -> dict[str, Any]:
    """What there is of a packet; frames as qlog has them."""
    connection = packet.connection
    level = packet.level
    fields: dict[str, Any] = {
        "connection": None if connection is None or connection.number < 0 else connection.number,
        "sender": packet.sender,
        "type": packet_name(packet),
        "version": packet.version,
        "number": packet.number,
        "key_phase": packet.key_phase,
        "dcid": packet.dcid.hex(),
        "scid": None if packet.scid is None else packet.scid.hex(),
        "token": packet.token.hex() or None,
        "size": packet.size,
        "supported_versions": list(packet.supported_versions) or None,
        "messages": [message.name for message in packet.messages] or None,
        "problem": packet.problem,
        "malformed": packet.malformed,
    }
    if packet.payload is not None and level is not None:
        exponent = _DEFAULT_ACK_DELAY_EXPONENT
        if connection is not None and packet.sender in connection.parameters:
            exponent = connection.parameters[packet.sender].ack_delay_exponent
        fields["frames"] = qlog_frames(packet.payload, level, exponent, {})
    return {name: value for name, value in fields.items() if value is not None}
