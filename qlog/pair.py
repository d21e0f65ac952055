"""`interquic qlog pair`: compare the traces of both sides of one connection.

All that was received must have been sent. What was sent and not received is where packets vanished.
"""

import argparse
import json
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from qlog.datagrams import compare_datagrams
from qlog.findings import Findings
from qlog.model import Finding, Severity
from qlog.side import SPACES, TYPES, Seen, Side, sides_of
from qlog.source import UnreadableFileError

_LONGEST_LIST = 20

_CHECKSUM_REFERENCE = "quic events, Handling Packet Coalescing"

# ms: clocks of whole ms, and what passes between reading the clock and the socket.
_TOLERANCE = 2.0


@dataclass(slots=True)
class Gap:
    """A run of packets that the receiver does not show. Times are ms from the client's first event.

    `fate` says where they went: "network" (the receiver shows later ones, or was still there), "dropped" (it
    shows that it dropped them), "damaged" (their datagram came with another checksum), "after the receiver's
    last event", or "before the receiver's first event".
    `sender` says what the sender made of it: "lost", "acknowledged" or "unknown".
    """

    space: str
    first: int
    last: int
    time: float
    until: float
    fate: str
    sender: str


@dataclass(slots=True)
class Corruption:
    """A datagram that was not sent as it arrived, at `time`, in ms from the client's first event.

    `packets` are the packets of the missing datagram that it probably is, as "initial 0"; if none of its
    `length`, in bytes, is missing, it may be somebody else's.
    """

    time: float
    length: int
    packets: list[str]


@dataclass(slots=True)
class Direction:
    """Packets one way. `delay` is in ms; clocks are aligned so that the fastest packets take equally long.

    `sent` counts those that the sender shows, `received` those of them that the receiver shows. `datagrams`
    counts what was received and could be told by its checksum: what the sender does not show is `damaged`.
    """

    sent: int = 0
    received: int = 0
    vanished: int = 0
    reordered: int = 0
    spuriously_lost: int = 0
    delay: dict[str, float] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    datagrams: int = 0
    damaged: list[Corruption] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """Both sides together. The client's clock plus `clock_offset` is the server's, in ms."""

    client: str
    server: str
    group_id: str
    clock_offset: float | None
    rtt: dict[str, dict[str, float]]
    client_to_server: Direction
    server_to_client: Direction
    findings: list[Finding]

    @property
    def consistent(self) -> bool:
        """Whether nothing of severity error was found."""
        return all(finding.severity != "error" for finding in self.findings)


def pair(client_path: Path, server_path: Path, group_id: str | None = None) -> Report:
    """Compare two files. `group_id` picks the connection if they hold several.

    Raises UnreadableFileError, also if the files have no connection in common.
    """
    client, server = _matching(sides_of(client_path), sides_of(server_path), group_id)
    return _Pairing(client, server).report()


def _matching(clients: dict[str, Side], servers: dict[str, Side], group_id: str | None) -> tuple[Side, Side]:
    if group_id is not None:
        clients = {group: side for group, side in clients.items() if group == group_id}
        servers = {group: side for group, side in servers.items() if group == group_id}
    common = [group for group in clients if group in servers]
    if len(common) > 1:
        raise UnreadableFileError(
            f"{len(common)} connections in common: choose with --group, {common[0]} ..."
        )
    if common:
        client, server = clients[common[0]], servers[common[0]]
    elif len(clients) == len(servers) == 1:
        client, server = next(iter(clients.values())), next(iter(servers.values()))
    else:
        raise UnreadableFileError("the files have no connection in common (by group_id)")
    if client.role == server.role and client.role in {"client", "server"}:
        raise UnreadableFileError(f"both traces are of the {client.role}: the other side's is needed")
    if client.role == "server" and server.role == "client":
        client, server = server, client
    return client, server


class _Pairing:
    """Two sides being compared."""

    def __init__(self, client: Side, server: Side) -> None:
        self._client = client
        self._server = server
        self._findings = Findings()

    def report(self) -> Report:
        fastest = [
            min(_delays(sender, receiver), default=None)
            for sender, receiver in ((self._client, self._server), (self._server, self._client))
        ]
        there, back = fastest
        offset = None if there is None or back is None else (there - back) / 2
        if there is not None and back is not None and there + back < -_TOLERANCE:
            message = f"the fastest packets there and back take {there + back:.3f} ms together"
            self._report("C02", "error", None, message, "nothing arrives before it was sent")
        self._compare_facts()
        there_and_back = (
            self._direction(self._client, self._server, offset or 0.0),
            self._direction(self._server, self._client, -(offset or 0.0)),
        )
        return Report(
            self._client.file,
            self._server.file,
            self._client.group_id,
            offset,
            {"client": _spread(self._client.rtts), "server": _spread(self._server.rtts)},
            there_and_back[0],
            there_and_back[1],
            self._findings.all(),
        )

    def _report(
        self,
        rule: str,
        severity: Severity,
        seen: Seen | None,
        message: str,
        reference: str,
        name: str = "",
    ) -> None:
        event = None if seen is None else seen.event
        self._findings.add(Finding(rule, severity, None, event, "", name, message, reference))

    def _compare_facts(self) -> None:
        client, server = self._client, self._server
        if client.group_id != server.group_id:
            message = f"group_id is {client.group_id!r} at the client, {server.group_id!r} at the server"
            self._report("C03", "warning", None, message, "main schema, Group IDs")
        for name in ("chosen_version", "chosen_alpn"):
            if name in client.facts and name in server.facts and client.facts[name] != server.facts[name]:
                message = f"{name} is {client.facts[name]} at the client, {server.facts[name]} at the server"
                self._report("C06", "error", None, message, "RFC 9000 §6, RFC 9001 §8.1", name)
        for sender, receiver in ((client, server), (server, client)):
            told, sent = receiver.facts.get("key_phase_received"), sender.facts.get("key_phase_sent")
            if told is not None and sent is not None and told > sent:
                message = (
                    f"the {receiver.role} received key phase {told}, the {sender.role} sent up to {sent}"
                )
                self._report("C06", "error", None, message, "RFC 9001 §6", "key_phase")
            local, remote = sender.parameters["local"], receiver.parameters["remote"]
            for name in sorted(local.keys() & remote.keys() - {"initiator", "owner"}):
                if not _alike(local[name], remote[name]):
                    message = f"the {sender.role} sent {name} {local[name]}, the other read {remote[name]}"
                    self._report("C04", "error", None, message, "RFC 9000 §7.4", name)

    def _direction(self, sender: Side, receiver: Side, offset: float) -> Direction:
        direction = Direction()
        delays = array("d")
        present: dict[str, set[int]] = {}
        for space in SPACES:
            sent, received = sender.sent[space], receiver.received[space]
            direction.sent += len(sent)
            arrived: set[int] = set()
            highest = -1
            for seen in received:
                origin = sent.find(seen.number)
                if origin is None:
                    self._unsent(sender, receiver, space, seen)
                    continue
                direction.received += seen.number not in arrived
                arrived.add(seen.number)
                direction.reordered += seen.number < highest
                highest = max(highest, seen.number)
                delays.append(seen.time - origin.time - offset)
                self._compare(receiver, origin, seen)
            present[space] = arrived
        direction.vanished = direction.sent - direction.received
        direction.delay = _spread(delays)
        damaged = self._damage(direction, sender, receiver, offset)
        for space, arrived in present.items():
            self._missing(direction, sender, receiver, space, arrived, offset, damaged)
        return direction

    def _damage(self, direction: Direction, sender: Side, receiver: Side, offset: float) -> set[int]:
        """Compare datagrams; the checksums with which the damaged ones were sent."""
        if not len(sender.datagrams_sent) or not len(receiver.datagrams_received):
            return set()
        delay = offset + direction.delay.get("median", 0.0)
        told = compare_datagrams(sender.datagrams_sent, receiver.datagrams_received, delay)
        if direction.received and not told.arrived:
            message = f"no datagram of the {sender.role} has the same checksum at the {receiver.role}"
            self._report("C08", "error", None, message, _CHECKSUM_REFERENCE, receiver.role)
            return set()
        direction.datagrams = told.arrived + len(told.damaged)
        packets: dict[int, list[str]] = {was.checksum: [] for _, was in told.damaged if was is not None}
        for space in SPACES:
            for seen in sender.sent[space]:
                if seen.checksum in packets:
                    packets[seen.checksum].append(f"{space} {seen.number}")
        direction.damaged = [
            Corruption(
                arrived.time - self._origin(receiver),
                arrived.length,
                packets[was.checksum] if was is not None else [],
            )
            for arrived, was in told.damaged
        ]
        return set(packets)

    def _unsent(self, sender: Side, receiver: Side, space: str, seen: Seen) -> None:
        message = (
            f"the {receiver.role} received {space} packet {seen.number}, which the {sender.role} never sent"
        )
        self._report("C01", "error", seen, message, "RFC 9000 §12.3", receiver.role)

    def _compare(self, receiver: Side, origin: Seen, seen: Seen) -> None:
        problem = ""
        if origin.type != seen.type:
            problem = f"was sent as {TYPES[origin.type]} and received as {TYPES[seen.type]}"
        elif origin.length != seen.length and min(origin.length, seen.length) >= 0:
            problem = f"was sent with {origin.length} bytes and received with {seen.length}"
        elif origin.frames != seen.frames and min(origin.frames, seen.frames) >= 0:
            problem = "was received with other frames than it was sent with"
        if problem:
            self._report(
                "C01", "error", seen, f"packet {seen.number} {problem}", "RFC 9000 §12.3", receiver.role
            )
        elif origin.checksum != seen.checksum and min(origin.checksum, seen.checksum) >= 0:
            # It opened, so no contradiction: another packet of its datagram may have been damaged.
            message = f"the datagram of packet {seen.number} has another checksum"
            self._report("C08", "warning", seen, message, _CHECKSUM_REFERENCE, receiver.role)

    def _missing(
        self,
        direction: Direction,
        sender: Side,
        receiver: Side,
        space: str,
        arrived: set[int],
        offset: float,
        damaged: set[int],
    ) -> None:
        gap: Gap | None = None
        for seen in sender.sent[space]:
            if seen.number in arrived:
                gap = None
                if seen.number in sender.lost[space]:
                    direction.spuriously_lost += 1
                    message = f"{space} packet {seen.number} was declared lost and arrived"
                    self._report("C07", "info", seen, message, "RFC 9002 §6.1", sender.role)
                continue
            acked = seen.number in sender.acked[space]
            if acked and not len(receiver.received[space]):
                acked = False  # a trace that shows nothing of a space says nothing
            if acked:
                message = (
                    f"{space} packet {seen.number} was acknowledged, the {receiver.role} does not show it"
                )
                self._report("C05", "error", seen, message, "RFC 9000 §13.1", receiver.role)
            lost = seen.number in sender.lost[space]
            verdict = "acknowledged" if acked else "lost" if lost else "unknown"
            fate = "damaged" if seen.checksum in damaged else _fate(receiver, space, seen, offset)
            time = seen.time - self._origin(sender)
            if gap is not None and (gap.fate, gap.sender) == (fate, verdict):
                gap.last, gap.until = seen.number, time
            else:
                gap = Gap(space, seen.number, seen.number, time, time, fate, verdict)
                direction.gaps.append(gap)

    def _origin(self, sender: Side) -> float:
        """Where the sender's clock stands at the client's first event."""
        return self._client.first if sender is self._client else self._server.first


def _fate(receiver: Side, space: str, seen: Seen, offset: float) -> str:
    if seen.number in receiver.dropped[space]:
        return "dropped"
    at = seen.time + offset
    if at > receiver.last:
        return "after the receiver's last event"
    if at < receiver.first - 1000:
        return "before the receiver's first event"
    return "network"


def _delays(sender: Side, receiver: Side) -> Iterator[float]:
    """What the clocks say that packets took."""
    for space in SPACES:
        for seen in receiver.received[space]:
            origin = sender.sent[space].find(seen.number)
            if origin is not None:
                yield seen.time - origin.time


def _spread(values: Iterable[float]) -> dict[str, float]:
    ordered = sorted(values)
    if not ordered:
        return {}
    return {
        "min": round(ordered[0], 3),
        "median": round(median(ordered), 3),
        "max": round(ordered[-1], 3),
    }


def _alike(one: Any, other: Any) -> bool:
    """Equal, whether written as a number or as its digits; a token also as an object with its bytes."""
    one, other = (value.get("data", value) if isinstance(value, dict) else value for value in (one, other))
    return one == other or (not isinstance(one, dict | list) and str(one).lower() == str(other).lower())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("client", type=Path, metavar="CLIENT")
    parser.add_argument("server", type=Path, metavar="SERVER")
    parser.add_argument("--group", metavar="GROUP_ID", help="the connection, if the files hold several")
    parser.add_argument("--format", choices=["text", "json"], default="text", help="json: one object")


def run(args: argparse.Namespace) -> int:
    """`interquic qlog pair`. Status 1: the traces contradict each other. Raises UnreadableFileError."""
    report = pair(args.client, args.server, args.group)
    if args.format == "json":
        print(json.dumps(asdict(report)))
    else:
        print("\n".join(_text(report)))
    return 0 if report.consistent else 1


def _text(report: Report) -> Iterator[str]:
    yield f"connection {report.group_id or '(no group_id)'}"
    if report.clock_offset is not None:
        yield f"clocks: the server's is {report.clock_offset:+.3f} ms from the client's"
    for role, rtt in report.rtt.items():
        if rtt:
            yield f"RTT by the {role}: {_shown(rtt)}"
    for words, direction in (
        ("client to server", report.client_to_server),
        ("server to client", report.server_to_client),
    ):
        yield from _direction_text(words, direction)
    for finding in report.findings:
        more = f" ({finding.count - 1} more like this)" if finding.count > 1 else ""
        place = "" if finding.event is None else f"event {finding.event}: "
        yield f"{finding.severity}: {place}{finding.message}{more} ({finding.rule}) [{finding.reference}]"
    yield "the traces agree" if report.consistent else "the traces contradict each other"


def _direction_text(words: str, direction: Direction) -> Iterator[str]:
    share = f" ({100 * direction.vanished / direction.sent:.2f} %)" if direction.sent else ""
    yield (
        f"{words}: {direction.sent} packets sent, {direction.received} received, {direction.vanished}"
        f" vanished{share}, {direction.reordered} reordered, {direction.spuriously_lost} lost by mistake"
    )
    if direction.delay:
        yield f"  delay: {_shown(direction.delay)}"
    if direction.datagrams:
        yield f"  datagrams: {direction.datagrams} compared by checksum, {len(direction.damaged)} damaged"
    for one in direction.damaged[:_LONGEST_LIST]:
        which = " with " + ", ".join(one.packets) if one.packets else ", like none that is missing"
        yield f"  at {one.time:.3f} ms damaged: {one.length} bytes{which}"
    if len(direction.damaged) > _LONGEST_LIST:
        yield f"  ... and {len(direction.damaged) - _LONGEST_LIST} more damaged ones"
    for gap in direction.gaps[:_LONGEST_LIST]:
        which = f"{gap.first}" if gap.first == gap.last else f"{gap.first}-{gap.last}"
        yield f"  at {gap.time:.3f} ms {gap.space} {which}: {gap.fate}, to the sender {gap.sender}"
    if len(direction.gaps) > _LONGEST_LIST:
        yield f"  ... and {len(direction.gaps) - _LONGEST_LIST} more runs"


def _shown(spread: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f} ms" for name, value in spread.items())
