"""One stream, many bytes: throughput and CPU time per packet of each stack.

    python -m bench.throughput [--size BYTES] [--rounds N] [--curve | --http3]

Two processes on the loopback interface, candidates in turn. The clock runs from the request to the end of
the stream, after the handshake; a program that can't tell is timed as a whole, less a run for 32 bytes.
"""

import argparse
import statistics
from dataclasses import dataclass, field
from pathlib import Path

from bench.candidates import (
    Candidate,
    Conditions,
    Work,
    own,
    present,
    python_peer,
    throughput_candidates,
)
from bench.measure import Server, Spent, Table, free_port, run_client, wait_until_idle
from bench.setup import certificate_directory

TINY = 32
# Of each datagram, besides stream data: short header with an 8-byte connection ID and a 2-byte packet
# number (11), AEAD tag (16), STREAM frame with offset but no length (6). One number for all stacks, so
# that microseconds per packet compare; a stack's true count differs by less than 1 %.
PACKET_OVERHEAD = 33


@dataclass(slots=True)
class Series:
    """The runs of one candidate under one set of conditions."""

    candidate: Candidate
    conditions: Conditions
    server: Server
    size: int
    label: str
    alpn: str
    seconds: list[float] = field(default_factory=list)
    client_cpu: list[float] = field(default_factory=list)
    server_cpu: list[float] = field(default_factory=list)
    tiny_seconds: list[float] = field(default_factory=list)
    tiny_client_cpu: list[float] = field(default_factory=list)
    tiny_server_cpu: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    busy: int = 0

    def run(self, certificates: Path) -> None:
        """One round: a tiny run and a full one."""
        self.busy += not wait_until_idle()
        tiny, server_cpu = self._fetch(certificates, TINY)
        if tiny is not None:
            self.tiny_seconds.append(tiny.wall)
            self.tiny_client_cpu.append(tiny.cpu)
            self.tiny_server_cpu.append(server_cpu)
        full, server_cpu = self._fetch(certificates, self.size)
        if full is not None:
            report = full.report or {}
            self.seconds.append(report.get("transfer_seconds", full.wall))
            self.client_cpu.append(report.get("transfer_cpu_seconds", full.cpu))
            self.server_cpu.append(server_cpu)

    def _fetch(self, certificates: Path, size: int) -> tuple[Spent | None, float]:
        before = self.server.cpu_seconds()
        work = Work(size=size, alpn=self.alpn)
        spent = run_client(self.candidate.client(certificates, self.server.port, work, self.conditions))
        received = size if not self.candidate.reports else (spent.report or {}).get("bytes")
        if spent.status != 0 or received != size:
            self.failures.append(f"status {spent.status}, {received} of {size} bytes {spent.errors}")
            return None, 0.0
        return spent, self.server.cpu_seconds() - before

    def rates(self) -> tuple[list[float], list[float]]:
        """Mbit/s per run: with start-up subtracted where it had to be, and raw."""
        startup = 0.0 if self.candidate.reports else statistics.median(self.tiny_seconds)
        net = [8e-6 * self.size / max(seconds - startup, 1e-9) for seconds in self.seconds]
        return net, [8e-6 * self.size / seconds for seconds in self.seconds]

    def cpu_per_packet(self) -> tuple[float, float]:
        """Microseconds of the server and of the client, medians."""
        packets = self.size / (self.conditions.udp_payload - PACKET_OVERHEAD)
        startup = 0.0 if self.candidate.reports else statistics.median(self.tiny_client_cpu)
        server = statistics.median(self.server_cpu) - statistics.median(self.tiny_server_cpu)
        return 1e6 * server / packets, 1e6 * (statistics.median(self.client_cpu) - startup) / packets

    def row(self) -> list[str]:
        if not self.seconds or not self.tiny_seconds:
            return [self.label, "failed", "", "", "", "", f"{self.size / 1e6:g} MB"]
        net, raw = self.rates()
        send, receive = self.cpu_per_packet()
        return [
            self.label,
            f"{max(net):.0f}",
            f"{statistics.median(net):.0f}",
            f"{max(raw):.0f} / {statistics.median(raw):.0f}",
            f"{send:.2f}",
            f"{receive:.2f}",
            f"{self.size / 1e6:g} MB",
        ]


COLUMNS = [
    "", "best Mbit/s", "median Mbit/s", "raw best / median", "CPU µs/packet send", "receive", "size",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """What to measure: a candidate under conditions, with the label of its row."""

    candidate: Candidate
    conditions: Conditions
    label: str
    alpn: str = "hq-interop"


def measure(title: str, entries: list[Entry], *, size: int, rounds: int, notes: list[str]) -> Table:
    """Run the entries in turn, `rounds` times, each against a server of its own that stays up."""
    table = Table(title, COLUMNS, notes=notes)
    series: list[Series] = []
    with certificate_directory() as certificates:
        try:
            for entry in entries:
                port = free_port()
                server = Server(entry.candidate.server(certificates, port, entry.conditions), port)
                bytes_ = int(size * entry.candidate.share)
                series.append(
                    Series(entry.candidate, entry.conditions, server, bytes_, entry.label, entry.alpn)
                )
            for _ in range(rounds):
                for one in series:
                    one.run(certificates)
        finally:
            for one in series:
                one.server.stop()
    for one in series:
        table.rows.append(one.row())
        table.notes += [f"{one.label}: {failure}" for failure in sorted(set(one.failures))]
        if one.busy:
            table.notes.append(f"{one.label}: {one.busy} of {rounds} rounds began on a machine that was busy")
        table.raw[one.label] = {
            "seconds": one.seconds, "client_cpu": one.client_cpu, "server_cpu": one.server_cpu,
            "tiny_seconds": one.tiny_seconds, "tiny_client_cpu": one.tiny_client_cpu,
            "tiny_server_cpu": one.tiny_server_cpu, "bytes": one.size,
        }  # fmt: skip
    return table


def headline(*, size: int, rounds: int, conditions: Conditions) -> Table:
    """All stacks under one set of conditions."""
    candidates, notes = present(throughput_candidates())
    entries = [Entry(candidate, conditions, candidate.name) for candidate in candidates]
    title = f"Throughput, one stream, {conditions.udp_payload}-byte datagrams"
    if conditions.rx_loss:
        title += f", {conditions.rx_loss:.0%} of them lost"
    return measure(title, entries, size=size, rounds=rounds, notes=notes)


def http3(*, size: int, rounds: int) -> Table:
    """One body over HTTP/3, and ours over HTTP/0.9 to see what the framing costs. ngtcp2 has only HTTP/3."""
    candidates, notes = present([python_peer("qh3"), python_peer("aioquic", share=0.1)])
    entries = [
        Entry(own(), Conditions(), "interquic", "h3"),
        Entry(own(), Conditions(), "interquic, hq-interop"),
        *(Entry(candidate, Conditions(), candidate.name, "h3") for candidate in candidates),
    ]
    return measure("Throughput, one body over HTTP/3", entries, size=size, rounds=rounds, notes=notes)


def curve(*, size: int, rounds: int) -> Table:
    """Ours with smaller batches, and without offload."""
    candidates, notes = present([own()])
    variants = [(f"batches of at most {batch}", Conditions(batch=batch)) for batch in (1, 4, 10, 16)]
    variants += [("unlimited", Conditions()), ("no GSO, no GRO", Conditions(offload=False))]
    entries = [Entry(own(), conditions, label) for label, conditions in variants if candidates]
    return measure("interquic by batch size", entries, size=size, rounds=rounds, notes=notes)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=100_000_000, help="bytes per download")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--payload", type=int, default=Conditions().udp_payload, help="UDP payload in bytes")
    parser.add_argument("--loss", type=float, default=0.0, help="share of datagrams the client drops")
    parser.add_argument("--curve", action="store_true", help="batch sizes of our own stack instead")
    parser.add_argument("--http3", action="store_true", help="a body over HTTP/3 instead")
    arguments = parser.parse_args()
    if arguments.curve:
        print(curve(size=arguments.size, rounds=arguments.rounds).markdown())
        return
    if arguments.http3:
        print(http3(size=arguments.size, rounds=arguments.rounds).markdown())
        return
    conditions = Conditions(udp_payload=arguments.payload, rx_loss=arguments.loss)
    print(headline(size=arguments.size, rounds=arguments.rounds, conditions=conditions).markdown())


if __name__ == "__main__":
    main()
