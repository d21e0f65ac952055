"""Carries the network between two hosts in namespaces: raw IP packets from one device to the other."""

import os
import select
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self

from endpoint.testing.link import Datagram
from interop.simnet import packets
from interop.simnet.impairments import Scenario
from interop.simnet.netns import GATEWAY_IPV4, SERVER_IPV4, Host
from interop.simnet.network import Delivery
from interop.simnet.pump import Pump

_READ_SIZE: Final = 65535
_READS_IN_A_ROW: Final = 32

# What the runner's simulator sends until a server answers: an unknown version, no connection IDs.
PROBE: Final = b"\xc0WAIT\x00\x00" + bytes(1200)
PROBE_INTERVAL: Final = 0.5
_PROBE: Final = Datagram(PROBE, (GATEWAY_IPV4, 57832), (SERVER_IPV4, 443))


class Forwarder(Pump):
    """A context manager; see `Pump`. Of what is not UDP nothing is forwarded or captured."""

    def __init__(self, client: Host, server: Host, scenario: Scenario, directory: Path, *, seed: int) -> None:
        super().__init__(scenario, directory, seed=seed)
        self._client = client.device
        self._server = server.device

    def __enter__(self) -> Self:
        # The captures belong to the test case, not to what was before it.
        stale: list[Datagram] = []
        for device in (self._client, self._server):
            _read_all(device, stale.append, limit=None)
        return super().__enter__()

    def _descriptors(self) -> Sequence[int]:
        return (self._client,) if self.network.server_is_away else (self._client, self._server)

    def _receive(self) -> None:
        _read_all(self._client, self.client_sends)
        # Who waits for a server that is away reads its device.
        if not self.network.server_is_away:
            _read_all(self._server, self._server_sent)

    def _server_sent(self, datagram: Datagram) -> None:
        # One that took its time to start answers many a probe, and some of them only now.
        if datagram.destination != _PROBE.source:
            self.server_sends(datagram)

    def _to_server(self, delivery: Delivery) -> None:
        os.write(self._server, delivery.packet)

    def _to_client(self, delivery: Delivery) -> None:
        os.write(self._client, delivery.packet)


def wait_for_server(server: Host, timeout: float = 10.0, alive: Callable[[], bool] = lambda: True) -> None:
    """Return when the server answers an unknown version with Version Negotiation, as the runner waits for it.

    `timeout` is in seconds; `alive` is asked whether waiting makes sense. Raises TimeoutError when the server
    does not answer, and ValueError when it answers anything else.
    """
    deadline = time.monotonic() + timeout
    answers: list[Datagram] = []
    while time.monotonic() < deadline and alive():
        os.write(server.device, packets.encode(_PROBE))
        select.select([server.device], [], [], PROBE_INTERVAL)
        _read_all(server.device, answers.append, limit=None)
        for answer in answers:
            if answer.destination == _PROBE.source:
                check_answer(answer.data)
                return
    raise TimeoutError("the server does not answer an unknown version")


def check_answer(data: bytes) -> None:
    """Raises ValueError for anything but Version Negotiation."""
    if data[1:5] != bytes(4):
        raise ValueError(f"the server answers an unknown version with {data[:16].hex()}")


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
