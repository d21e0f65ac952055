"""Speed and memory of `interquic qlog validate`: python -m bench.qlog_validate [--events N] [--gigabyte]

Each file is validated in a process of its own, as the command does it. Events per second are of CPU time, so
other work on the machine matters little; memory is the highest resident size. Packet events make up all of a
trace: STREAM frames, ACK frames with ranges, and flow control, as in a download.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HEADER: dict[str, Any] = {
    "common_fields": {
        "group_id": "c0ffee",
        "reference_time": {"clock_type": "monotonic", "epoch": "unknown"},
    },
    "vantage_point": {"type": "server"},
    "event_schemas": ["urn:ietf:params:qlog:events:quic-13"],
}
SEQUENCE = {
    "file_schema": "urn:ietf:params:qlog:file:sequential",
    "serialization_format": "application/qlog+json-seq",
    "trace": HEADER,
}
DOCUMENT = {
    "file_schema": "urn:ietf:params:qlog:file:contained",
    "serialization_format": "application/qlog+json",
    "traces": [HEADER],
}

# What `interquic qlog validate --strict` does, then what it took.
RUN = """
import argparse, resource, sys, time
from qlog import cli
started = time.process_time()
parser = argparse.ArgumentParser()
cli.add_arguments(parser)
cli.run(parser.parse_args(["validate", "--strict", "--schema-only", "--format", "json", sys.argv[1]]))
print(time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def packets(count: int, *, wrong: bool = False) -> Iterator[bytes]:
    """The events of a sender, as JSON."""
    for number in range(count):
        frames: list[dict[str, Any]]
        if number % 3:
            name = "quic:packet_sent"
            frames = [
                {"frame_type": "stream", "stream_id": 0, "offset": number * 1150, "raw": {"length": 1150}}
            ]
        else:
            name = "quic:packet_received"
            frames = [
                {"frame_type": "ack", "ack_delay": 1.25, "acked_ranges": [[0, number], [number + 2]]},
                {"frame_type": "max_data", "maximum": number * 1150},
            ]
        header: dict[str, Any] = {"packet_type": "1RTT", "packet_number": -1 if wrong else number}
        data = {"header": header, "raw": {"length": 1200}, "frames": frames}
        yield json.dumps({"time": number / 8, "name": name, "data": data}, separators=(",", ":")).encode()


def write_sequence(path: Path, count: int, *, wrong: bool = False) -> None:
    """A .sqlog file."""
    with path.open("wb") as file:
        file.write(b"\x1e%b\n" % json.dumps(SEQUENCE).encode())
        file.writelines(b"\x1e%b\n" % event for event in packets(count, wrong=wrong))


def write_document(path: Path, count: int) -> None:
    """A .qlog file."""
    head, tail = json.dumps(DOCUMENT).encode()[:-3], b"}]}"
    with path.open("wb") as file:
        file.write(head + b',"events":[')
        for index, event in enumerate(packets(count)):
            file.write(b",\n" * bool(index) + event)
        file.write(b"]" + tail)


def measure(label: str, path: Path, findings: int = 0) -> None:
    """Validate a file that has so many findings and print a row."""
    output = subprocess.run(
        [sys.executable, "-c", RUN, str(path)], check=True, capture_output=True, text=True
    )
    verdict, taken = output.stdout.splitlines()
    report = json.loads(verdict)
    assert len(report["findings"]) == findings, report
    events = report["events"]
    seconds, megabytes = (float(word) for word in taken.split())
    size = path.stat().st_size / 1e6
    print(
        f"| {label} | {size:.0f} MB | {events} | {events / seconds:,.0f} | {megabytes:.0f} MB |",
        flush=True,
    )
    path.unlink()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=200_000, help="per file (200000)")
    parser.add_argument("--gigabyte", action="store_true", help="also files of 1 GB")
    arguments = parser.parse_args()
    print("| file | size | events | events/s of CPU time | memory |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace"
        write_sequence(path, arguments.events)
        measure("JSON-SEQ", path)
        write_document(path, arguments.events)
        measure("one document", path)
        write_sequence(path, arguments.events // 10, wrong=True)
        measure("JSON-SEQ, every event wrong", path, findings=2)
        if arguments.gigabyte:
            write_sequence(path, 5_000_000)
            measure("JSON-SEQ", path)
            write_document(path, 5_000_000)
            measure("one document", path)


if __name__ == "__main__":
    main()
