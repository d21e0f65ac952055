"""Microseconds per packet of the in-memory 1-RTT data path, for batches of n packets.

    python bench/datapath.py [--size 1252] [--suite aes128|aes256|chacha20] [--repeat 3000]

Two columns: write a STREAM run and seal it, open a run and recognise and join its stream data. No sockets,
no recovery. The minimum of many short repetitions is printed, since that repeats within a few percent even
on a busy machine; the fit is `fixed + slope * n` microseconds per batch by least squares over the rows.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from endpoint.batch import PacketBuffer
from endpoint.crypto.aead import CIPHER_SUITES, CipherSuite
from endpoint.crypto.keys import PacketKeys
from endpoint.crypto.packet_protection import open_run, seal_run
from endpoint.wire.stream_run import read_stream_runs, stream_run_chunk, write_stream_run
from endpoint.wire.version import QUIC_V1, VERSIONS

BATCHES = (1, 4, 10, 16, 32, 52)
SUITES = {"aes128": 0x1301, "aes256": 0x1302, "chacha20": 0x1303}
DCID = b"\xd0\xd1\xd2\xd3\xd4\xd5\xd6\xd7"
PN_OFFSET = 1 + len(DCID)
PN_LENGTH = 2
FIRST_BYTE = 0x40 | PN_LENGTH - 1
STREAM_ID = 0
# A transfer that is under way: four bytes of offset, as from 16 KB to 1 GB.
FIRST_OFFSET = 1 << 20
FIRST_PN = 1000


@dataclass(frozen=True, slots=True)
class Timing:
    """Microseconds per batch of n packets."""

    n: int
    send: float
    receive: float


def minimum_time(repeat: int, prepare: Callable[[], None], work: Callable[[], object]) -> float:
    """Microseconds of the fastest of `repeat` calls of `work`, each after `prepare`, which isn't timed."""
    best = float("inf")
    for _ in range(repeat):
        prepare()
        start = perf_counter()
        work()
        best = min(best, perf_counter() - start)
    return best * 1e6


def measure(suite: CipherSuite, size: int, n: int, repeat: int) -> Timing:
    """Time batches of `n` packets of `size` bytes, and check that what was sent arrived."""
    secret = bytes(range(48))
    send_keys, receive_keys = (PacketKeys(suite, secret, VERSIONS[QUIC_V1]) for _ in range(2))
    sent, received = PacketBuffer(), PacketBuffer()
    chunk = stream_run_chunk(size, len(DCID), PN_LENGTH, STREAM_ID, FIRST_OFFSET + n * size)
    source = bytes(i * 31 & 0xFF for i in range(n * chunk + 1))
    delivered: list[bytes] = []

    def send() -> None:
        layout = sent.layout(size, PN_OFFSET, PN_LENGTH, n)
        write_stream_run(
            layout,
            n,
            first_byte=FIRST_BYTE,
            dcid=DCID,
            first_pn=FIRST_PN,
            stream_id=STREAM_ID,
            offset=FIRST_OFFSET,
            block=source[1:],  # one copy out of a larger source, as a send stream makes it
        )
        seal_run(send_keys, layout, FIRST_PN, n)

    def arrive() -> None:
        received.data[: n * size] = sent.data[: n * size]
        delivered.clear()

    def receive() -> None:
        run = open_run(receive_keys, received, size, n, PN_OFFSET, FIRST_PN, 0)
        assert run is not None
        runs, others = read_stream_runs(run.layout, n, run.failed)
        delivered.extend([b"".join(stream_run.views) for stream_run in runs])
        # Too few for a run: what the row parser would hand over.
        delivered.extend([bytes(run.layout.plain[i][-chunk:]) for i in others])

    send_time = minimum_time(repeat, lambda: None, send)
    receive_time = minimum_time(repeat, arrive, receive)
    assert b"".join(delivered) == source[1:], "what was sent did not arrive"
    return Timing(n, send_time, receive_time)


def fit(points: list[tuple[int, float]]) -> tuple[float, float]:
    """Least squares of time = fixed + slope * n."""
    count = len(points)
    mean_n = sum(n for n, _ in points) / count
    mean_time = sum(time for _, time in points) / count
    slope = sum((n - mean_n) * (time - mean_time) for n, time in points) / sum(
        (n - mean_n) ** 2 for n, _ in points
    )
    return mean_time - slope * mean_n, slope


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=1252)
    parser.add_argument("--suite", choices=SUITES, default="aes128")
    parser.add_argument("--repeat", type=int, default=3000)
    options = parser.parse_args()
    suite = CIPHER_SUITES[SUITES[options.suite]]
    capacity = PacketBuffer().capacity(options.size)
    timings = [measure(suite, options.size, n, options.repeat) for n in BATCHES if n <= capacity]
    print(f"{suite.name}, {options.size} bytes, microseconds per packet, minimum of {options.repeat}")
    print(f"{'n':>4}  {'build+seal':>10}  {'open+parse':>10}")
    for timing in timings:
        print(f"{timing.n:>4}  {timing.send / timing.n:>10.2f}  {timing.receive / timing.n:>10.2f}")
    for name, points in (
        ("build+seal", [(timing.n, timing.send) for timing in timings]),
        ("open+parse", [(timing.n, timing.receive) for timing in timings]),
    ):
        fixed, slope = fit(points)
        print(f"{name}: {fixed:.1f} + {slope:.2f} n microseconds per batch")


if __name__ == "__main__":
    main()
