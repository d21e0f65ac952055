"""The whole core without sockets: a download from one connection to another in memory.

    python -m bench.core [--megabytes N] [--rounds N] [--profile]

Prints CPU microseconds per packet, both ends together: build, seal, open, deliver, acknowledge. The minimum
of the rounds repeats within a few per cent even on a busy machine, so a change shows here first.
"""

import argparse
import cProfile
import datetime as dt
import pstats
import time

from endpoint.batch import PacketBuffer, RecvBatch
from endpoint.config import Config
from endpoint.events import StreamReadable, StreamWritable
from endpoint.listener import Listener
from endpoint.testing.certificates import make_chain
from endpoint.testing.pair import seeded_bytes
from endpoint.tls.config import TlsConfig
from endpoint.trace import TracerFactory
from endpoint.transport.connection import Connection

CLIENT, SERVER = ("192.0.2.1", 1000), ("192.0.2.2", 443)
ALPN = ("bench",)
BLOCK = bytes(1 << 20)
# A round trip of the simulated path, in seconds; windows and pacing are then as on a fast network.
STEP = 0.0002


class Ends:
    """A client and a server with a completed handshake, and the buffers between them."""

    def __init__(self, tracer: TracerFactory | None = None) -> None:
        now = dt.datetime.now(dt.UTC)
        chain = make_chain(now - dt.timedelta(hours=1))
        config = Config(
            initial_max_data=8 << 20,
            initial_max_stream_data=6 << 20,
            max_data_window=8 << 20,
            max_stream_data_window=6 << 20,
            pmtud=False,
            tracer=tracer,
        )
        self.now = 0.0
        self.client = Connection.client(
            config,
            TlsConfig(alpn_protocols=ALPN, trusted_roots=(chain.root,)),
            peer=SERVER,
            server_name="server",
            random=seeded_bytes(1),
            wall_time=now.timestamp,
            now=0.0,
        )
        self.listener = Listener(
            config,
            TlsConfig(
                alpn_protocols=ALPN, certificate_chain=chain.certificates, private_key=chain.private_key
            ),
            random=seeded_bytes(2),
            wall_time=now.timestamp,
        )
        self.server: Connection | None = None
        self._up, self._down = PacketBuffer(), PacketBuffer()
        self.packets = 0

    def exchange(self) -> None:
        """Everything each end has to send now reaches the other, batch by batch."""
        self.now += STEP
        client = self.client
        while (batch := client.transmit(self._up, self.now)) is not None:
            arrived = RecvBatch(self._up, batch.length, batch.segment_size, CLIENT, SERVER, batch.ecn)
            for touched in self.listener.receive(arrived, self.now):
                self.server = touched
        server = self.server
        if server is None:
            return
        server.on_socket_drained(self.now)
        self._fire(server)
        while (batch := server.transmit(self._down, self.now)) is not None:
            self.packets += -(-batch.length // batch.segment_size)
            client.receive(
                RecvBatch(self._down, batch.length, batch.segment_size, SERVER, CLIENT, batch.ecn), self.now
            )
        client.on_socket_drained(self.now)
        self._fire(client)

    def _fire(self, connection: Connection) -> None:
        due = connection.next_timeout()
        if due is not None and due <= self.now:
            connection.on_timeout(self.now)

    def download(self, size: int) -> None:
        """One stream of `size` bytes from the server."""
        stream_id = self.client.open_stream()
        self.client.write(stream_id, b"go", fin=True)
        self.exchange()
        assert self.server is not None
        written = received = 0
        blocked = False
        while received < size:
            while (event := self.server.next_event()) is not None:
                blocked = blocked and not isinstance(event, StreamWritable)
            while written < size and not blocked:
                part = BLOCK[: min(size - written, len(BLOCK))]
                accepted = self.server.write(stream_id, part, fin=written + len(part) == size)
                written += accepted
                blocked = accepted < len(part)
            self.exchange()
            while (event := self.client.next_event()) is not None:
                if isinstance(event, StreamReadable) and event.stream_id == stream_id:
                    received += len(self.client.read(stream_id)[0])


def handshake(tracer: TracerFactory | None = None) -> Ends:
    """Two ends that are ready."""
    ends = Ends(tracer)
    while not (ends.client.handshake_confirmed and ends.server is not None):
        ends.exchange()
    return ends


def measure(megabytes: int) -> float:
    """CPU microseconds per packet of one download."""
    ends = handshake()
    ends.download(1_000_000)
    ends.packets = 0
    started = time.process_time()
    ends.download(megabytes * 1_000_000)
    return 1e6 * (time.process_time() - started) / ends.packets


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--profile", action="store_true", help="show where the time goes instead")
    arguments = parser.parse_args()
    if arguments.profile:
        profile = cProfile.Profile()
        profile.runcall(measure, arguments.megabytes)
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    rounds = [measure(arguments.megabytes) for _ in range(arguments.rounds)]
    print(
        f"{min(rounds):.2f} us per packet, both ends together; median {sorted(rounds)[len(rounds) // 2]:.2f}"
    )


if __name__ == "__main__":
    main()
