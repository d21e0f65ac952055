"""Many small things: the measurements behind `bench.handshakes`, `bench.streams` and `bench.memory`."""

import json
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.candidates import Candidate, Conditions, Work, present, python_candidates
from bench.measure import ROOT, Server, Spent, Table, free_port, run_client, serving, wait_until_idle
from bench.setup import certificate_directory


@dataclass(frozen=True, slots=True)
class Run:
    """A client's report, and the CPU seconds of the server meanwhile."""

    report: dict[str, Any]
    server_cpu: float


def measure(candidate: Candidate, work: Work, certificates: Path) -> Run:
    """Let a client do `work` against a fresh server. Raises RuntimeError if it fails."""
    port = free_port()
    with serving(candidate.server(certificates, port, Conditions()), port) as server:
        # A first connection pays for what is imported and cached once.
        run_client(candidate.client(certificates, port, Work(), Conditions()))
        wait_until_idle()
        before = server.cpu_seconds()
        spent = run_client(candidate.client(certificates, port, work, Conditions()))
        return Run(_checked(spent, work), server.cpu_seconds() - before)


def _checked(spent: Spent, work: Work) -> dict[str, Any]:
    report = spent.report
    expected = (work.size or 0) * work.repeat * work.connections
    if spent.status != 0 or report is None:
        raise RuntimeError(f"status {spent.status}: {spent.errors}")
    if report["bytes"] != expected or report["connections"] != work.connections:
        raise RuntimeError(f"asked for {expected} bytes on {work.connections} connections, got {report}")
    return report


def handshakes(*, count: int, rounds: int) -> Table:
    """Sequential handshakes per second, and the server's CPU time for one."""
    table = Table(
        f"{count} handshakes, one after another",
        ["", "best per second", "median per second", "server CPU µs each"],
    )
    work = Work(connections=count)

    def row(runs: list[Run]) -> list[str]:
        rates = [count / run.report["handshake_seconds"] for run in runs]
        cpu = statistics.median(run.server_cpu for run in runs) / count
        return [f"{max(rates):.0f}", f"{statistics.median(rates):.0f}", f"{1e6 * cpu:.0f}"]

    return _fill(table, work, rounds, row)


def streams(*, count: int, size: int, rounds: int) -> Table:
    """Small requests on one connection, as many at a time as the peer's stream limit allows."""
    table = Table(
        f"{count} streams of {size} bytes on one connection",
        ["", "best per second", "median per second", "CPU µs per stream, server", "client"],
    )
    return _fill(table, Work(size=size, repeat=count), rounds, lambda runs: _rates(runs, count))


def _rates(runs: list[Run], count: int) -> list[str]:
    rates = [count / run.report["transfer_seconds"] for run in runs]
    server = statistics.median(run.server_cpu for run in runs) / count
    client = statistics.median(run.report["transfer_cpu_seconds"] for run in runs) / count
    best, median = max(rates), statistics.median(rates)
    return [f"{best:.0f}", f"{median:.0f}", f"{1e6 * server:.0f}", f"{1e6 * client:.0f}"]


def requests(*, count: int, size: int, rounds: int) -> Table:
    """Small requests over HTTP/3, as many at a time as the server's stream limit allows: 128 everywhere."""
    table = Table(
        f"{count} HTTP/3 requests for {size} bytes on one connection",
        ["", "best per second", "median per second", "CPU µs per request, server", "client"],
    )
    return _fill(table, Work(size=size, repeat=count, alpn="h3"), rounds, lambda runs: _rates(runs, count))


def _fill(table: Table, work: Work, rounds: int, row: Callable[[list[Run]], list[str]]) -> Table:
    """A row for each candidate. They take turns: whatever else the machine does falls on all of them."""
    candidates, table.notes = present(python_candidates())
    runs: dict[str, list[Run]] = {candidate.name: [] for candidate in candidates}
    failures: dict[str, str] = {}
    with certificate_directory() as certificates:
        for _ in range(rounds):
            for candidate in candidates:
                if candidate.name in failures:
                    continue
                try:
                    runs[candidate.name].append(measure(candidate, work, certificates))
                except RuntimeError as error:
                    failures[candidate.name] = str(error)
    for name, measured in runs.items():
        if name in failures:
            table.rows.append([name, "failed"] + [""] * (len(table.columns) - 2))
            table.notes.append(f"{name}: {failures[name]}")
            continue
        table.rows.append([name, *row(measured)])
        table.raw[name] = [[run.report, run.server_cpu] for run in measured]
    return table


def memory(*, count: int) -> Table:
    """What an idle connection costs the server: growth of its resident memory by `count` of them."""
    table = Table(f"{count} idle connections on one server", ["", "KiB per connection", "server in all, MiB"])
    candidates, table.notes = present(python_candidates())
    with certificate_directory() as certificates:
        for candidate in candidates:
            port = free_port()
            with serving(candidate.server(certificates, port, Conditions()), port) as server:
                try:
                    before, after = _growth(candidate, server, certificates, count)
                except RuntimeError as error:
                    table.rows.append([candidate.name, "failed", ""])
                    table.notes.append(f"{candidate.name}: {error}")
                    continue
            table.rows.append([candidate.name, f"{(after - before) / count:.1f}", f"{after / 1024:.0f}"])
            table.raw[candidate.name] = {"before_kilobytes": before, "after_kilobytes": after}
    return table


def _growth(candidate: Candidate, server: Server, certificates: Path, count: int) -> tuple[int, int]:
    # A first connection pays for what is imported and cached once.
    run_client(candidate.client(certificates, server.port, Work(), Conditions()))
    before = server.resident_kilobytes()
    arguments = candidate.client(certificates, server.port, Work(connections=count, hold=True), Conditions())
    client = subprocess.Popen(
        arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert client.stdout is not None
    try:
        line = client.stdout.readline()
        held = json.loads(line)["held"] if line else 0
        if held != count:
            raise RuntimeError(f"only {held} of {count} connections")
        return before, server.resident_kilobytes()
    finally:
        client.kill()
        client.communicate()
