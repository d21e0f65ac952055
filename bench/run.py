"""Run every benchmark, and put the tables into bench/README.md and bench/results.json.

    python -m bench.run [--quick]

`--quick` only shows that everything runs: small sizes, one round. Don't publish its numbers.
"""

import argparse
import json
from pathlib import Path

from bench.candidates import Conditions
from bench.measure import Table, machine
from bench.small import handshakes, memory, requests, streams
from bench.throughput import curve, headline, http3

README = Path(__file__).with_name("README.md")
RESULTS = Path(__file__).with_name("results.json")
START, END = "<!-- results: start -->", "<!-- results: end -->"


def tables(*, quick: bool) -> list[Table]:
    """All results, in the order they are printed."""
    size, rounds, count = (4_000_000, 1, 50) if quick else (100_000_000, 5, 1000)
    return [
        headline(size=size, rounds=rounds, conditions=Conditions()),
        headline(size=size, rounds=rounds, conditions=Conditions(udp_payload=1452)),
        headline(size=size, rounds=rounds, conditions=Conditions(rx_loss=0.01)),
        curve(size=size, rounds=rounds),
        handshakes(count=count, rounds=min(rounds, 3)),
        streams(count=2 * count, size=32, rounds=min(rounds, 3)),
        http3(size=size, rounds=rounds),
        requests(count=10 * count, size=1024, rounds=min(rounds, 3)),
        memory(count=count),
    ]


def replace_between_markers(text: str, body: str) -> str:
    """`text` with what stands between the markers replaced. Raises ValueError if it has no markers."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"{README.name} has no markers")
    return f"{before}{START}\n\n{body}\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--dry-run", action="store_true", help="print the tables and write nothing")
    arguments = parser.parse_args()
    facts = machine()
    results = tables(quick=arguments.quick)
    body = (
        f"Taken on {facts['date']}: {facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, "
        f"{facts['python']}.\n\n"
    )
    body += "\n".join(table.markdown() for table in results)
    print(body)
    if arguments.dry_run:
        return
    README.write_text(replace_between_markers(README.read_text(), body))
    raw = {"machine": facts, "tables": {table.title: table.raw for table in results}}
    RESULTS.write_text(json.dumps(raw, indent=1) + "\n")


if __name__ == "__main__":
    main()
