"""The network between two hosts: moves their packets in real time, as a scenario says, and captures them."""

import os
import random
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from endpoint.testing.link import Datagram, Link
from interop.simnet import packets
from interop.simnet.impairments import Nat, Scenario
from interop.simnet.netns import GATEWAY_IPV4, SERVER_IPV4, Host
from interop.simnet.pcap import PcapWriter

LEFT: Final = "trace_node_left.pcap"
RIGHT: Final = "trace_node_right.pcap"

_READ_SIZE: Final = 65535
_READS_IN_A_ROW: Final = 32

# The runner's client is up and sends 0.3 to 1.3 seconds after the simulator has started. Here it always
# does at this time, however busy the machine is: the first rebinding must not meet its handshake.
_FIRST_DATAGRAM: Final = 0.5

# What the runner's simulator sends until a server answers: an unknown version, no connection IDs.
_PROBE: Final = Datagram(b"\xc0WAIT\x00\x00" + bytes(1200), (GATEWAY_IPV4, 57832), (SERVER_IPV4, 443))
_PROBE_INTERVAL: Final = 0.5


class Forwarder:
    """A context manager that forwards in a thread of its own.

    The network's clock stands at half a second when the first datagram comes.
    `directory` gets the captures `LEFT`, at the client, and `RIGHT`, at the server. A client's packets are in
    the left one as sent and in the right one as they arrive; a server's the other way round. Of what is not
    UDP nothing is forwarded or captured.
    """

    def __init__(self, client: Host, server: Host, scenario: Scenario, directory: Path, *, seed: int) -> None:
        source = random.Random(seed)  # noqa: S311 - a simulation has to be repeatable, not secret
        # The links must not share a generator: one packet more each way would change the other way's fate.
        up_random, down_random, nat_random = (random.Random(source.getrandbits(64)) for _ in range(3))  # noqa: S311
        self.up = Link(scenario.up, up_random)
        self.down = Link(scenario.down, down_random)
        self._nat = Nat(scenario, nat_random)
        self._client = client.device
        self._server = server.device
        self._directory = directory
        self._started: float | None = None
        self._error: Exception | None = None
        self._wake_reader, self._wake_writer = os.pipe()
        self._thread = threading.Thread(target=self._run, name="forwarder", daemon=True)

    def __enter__(self) -> Self:
        # The captures belong to the test case, not to what was before it.
        stale: list[Datagram] = []
        for device in (self._client, self._server):
            _read_all(device, stale.append, limit=None)
        self._left = PcapWriter(self._directory / LEFT)
        self._right = PcapWriter(self._directory / RIGHT)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop; what is on its way is lost. Raises what stopped the forwarder before that."""
        os.write(self._wake_writer, b"\0")
        self._thread.join()
        for descriptor in (self._wake_reader, self._wake_writer):
            os.close(descriptor)
        self._left.close()
        self._right.close()
        if self._error is not None and error is None:
            raise self._error

    @property
    def now(self) -> float:
        """The network's clock, in seconds."""
        now = time.monotonic()
        if self._started is None:
            self._started = now - _FIRST_DATAGRAM
        return now - self._started

    def _run(self) -> None:
        try:
            while self._wait():
                _read_all(self._client, self._from_client)
                _read_all(self._server, self._from_server)
                self._deliver()
        except Exception as error:  # noqa: BLE001 - a thread has nobody to raise to
            self._error = error

    def _wait(self) -> bool:
        """Return when there is something to do; False when it is time to stop."""
        arrivals = (self.up.next_arrival(), self.down.next_arrival())
        arrival = min((time for time in arrivals if time is not None), default=None)
        timeout = None if arrival is None else max(0.0, arrival - self.now)
        # select has a finer clock than epoll, and three descriptors are not many.
        ready, _, _ = select.select([self._client, self._server, self._wake_reader], [], [], timeout)
        return self._wake_reader not in ready

    def _from_client(self, datagram: Datagram) -> None:
        now = self.now
        self._left.write(packets.encode(datagram), now)
        self.up.send(datagram, now)

    def _from_server(self, datagram: Datagram) -> None:
        now = self.now
        self._right.write(packets.encode(datagram), now)
        self.down.send(datagram, now)

    def _deliver(self) -> None:
        if self._started is None:
            return
        now = self.now
        for datagram in self.up.take(now):
            packet = packets.encode(self._nat.outwards(datagram, now))
            self._right.write(packet, now)
            os.write(self._server, packet)
        for datagram in self.down.take(now):
            inside = self._nat.inwards(datagram, now)
            if inside is not None:
                packet = packets.encode(inside)
                self._left.write(packet, now)
                os.write(self._client, packet)


def wait_for_server(server: Host, timeout: float = 10.0) -> None:
    """Return when the server answers an unknown version with Version Negotiation, as the runner waits for it.

    `timeout` is in seconds. Raises TimeoutError when the server does not answer, and ValueError when it
    answers anything else.
    """
    deadline = time.monotonic() + timeout
    answers: list[Datagram] = []
    while time.monotonic() < deadline:
        os.write(server.device, packets.encode(_PROBE))
        select.select([server.device], [], [], _PROBE_INTERVAL)
        _read_all(server.device, answers.append, limit=None)
        for answer in answers:
            if answer.destination == _PROBE.source:
                if answer.data[1:5] != bytes(4):
                    raise ValueError(f"the server answers an unknown version with {answer.data[:16].hex()}")
                return
    raise TimeoutError("the server does not answer an unknown version")


def _read_all(device: int, take: Callable[[Datagram], None], limit: int | None = _READS_IN_A_ROW) -> None:
    """Hand over the UDP datagrams that wait at a device, at most about `limit` of them."""
    count = 0
    while limit is None or count < limit:
        try:
            packet = os.read(device, _READ_SIZE)
        except BlockingIOError:
            return
        count += 1
        datagram = packets.decode(packet)
        if datagram is not None:
            take(datagram)
