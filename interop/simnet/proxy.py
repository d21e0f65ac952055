"""Carries the network as a UDP relay on loopback: no privileges, any system, the same model.

Clients talk to the relay's front, and every flow of theirs has a socket towards the server for each source
that the network's NAT gives it. Captures show the addresses of the contract, so checks need not know.
"""

import errno
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from endpoint.batch import Address
from endpoint.testing.link import Datagram
from interop.simnet.forwarder import PROBE, PROBE_INTERVAL, check_answer
from interop.simnet.impairments import Scenario
from interop.simnet.netns import CLIENT_IPV4, CLIENT_IPV6, SERVER_IPV4, SERVER_IPV6
from interop.simnet.network import Delivery
from interop.simnet.pump import Pump

_READ_SIZE: Final = 65535
_READS_IN_A_ROW: Final = 32
_BUFFER: Final = 4 << 20
# Marks can be read and set per datagram here; all of 127.0.0.0/8 are addresses of this machine.
IS_LINUX: Final = sys.platform == "linux"

# Level and names to read and to set the ECN field, by family.
_ECN_OPTIONS: Final = (
    {
        socket.AF_INET: (socket.IPPROTO_IP, socket.IP_RECVTOS, socket.IP_TOS),
        socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, socket.IPV6_TCLASS),
    }
    if sys.platform == "linux"
    else {}
)


class Proxy(Pump):
    """A context manager; see `Pump`. Clients connect to `port` of the server's loopback address."""

    def __init__(self, server: Address, scenario: Scenario, directory: Path, *, seed: int) -> None:
        super().__init__(scenario, directory, seed=seed)
        self._server = server
        self._family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self._front = self._open((server[0], 0))
        self.port: int = self._front.getsockname()[1]
        # Sockets towards the server by the source that the contract's network would show, and back.
        self._outer: dict[Address, socket.socket] = {}
        self._sources: dict[socket.socket, Address] = {}
        ipv6 = self._family == socket.AF_INET6
        self._client_host = CLIENT_IPV6 if ipv6 else CLIENT_IPV4
        self._server_name: Address = (SERVER_IPV6 if ipv6 else SERVER_IPV4, 443)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            super().__exit__(kind, error, traceback)
        finally:
            for sock in (self._front, *self._sources):
                sock.close()

    def _descriptors(self) -> Sequence[int]:
        return [sock.fileno() for sock in (self._front, *self._sources)]

    def _receive(self) -> None:
        for data, source, ecn in self._read(self._front):
            inside = (self._client_host, source[1])
            self.client_sends(Datagram(data, inside, self._server_name, ecn))
        for sock, outside in list(self._sources.items()):
            for data, _, ecn in self._read(sock):
                self.server_sends(Datagram(data, self._server_name, outside, ecn))

    def _to_server(self, delivery: Delivery) -> None:
        datagram = delivery.datagram
        sock = self._outer.get(datagram.source)
        if sock is None:
            sock = self._open_outer(datagram.source)
        self._send(sock, datagram, self._server)

    def _to_client(self, delivery: Delivery) -> None:
        datagram = delivery.datagram
        self._send(self._front, datagram, (self._server[0], datagram.destination[1]))

    def _open_outer(self, outside: Address) -> socket.socket:
        """A socket whose address, though another one, changes whenever the contract's would."""
        host = self._server[0]
        if IS_LINUX and self._family == socket.AF_INET:
            host = f"127.{outside[0].partition('.')[2]}"
        sock = self._open((host, 0))
        self._outer[outside] = sock
        self._sources[sock] = outside
        return sock

    def _open(self, address: Address) -> socket.socket:
        sock = socket.socket(self._family, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        if self._family in _ECN_OPTIONS:
            level, receive, _ = _ECN_OPTIONS[self._family]
            sock.setsockopt(level, receive, 1)
        sock.bind(address)
        return sock

    def _read(self, sock: socket.socket) -> list[tuple[bytes, Address, int]]:
        """What waits at a socket, at most so many: payload, source, ECN field."""
        found: list[tuple[bytes, Address, int]] = []
        while len(found) < _READS_IN_A_ROW:
            try:
                data, control, _, source = sock.recvmsg(_READ_SIZE, 64)
            except BlockingIOError:
                break
            except ConnectionRefusedError:
                continue  # an ICMP error of an earlier datagram: nobody listens there any more
            marks = [value[0] & 3 for _, _, value in control]
            found.append((data, source[:2], marks[0] if marks else 0))
        return found

    def _send(self, sock: socket.socket, datagram: Datagram, destination: Address) -> None:
        control: list[tuple[int, int, bytes]] = []
        if datagram.ecn and self._family in _ECN_OPTIONS:
            level, _, field = _ECN_OPTIONS[self._family]
            control = [(level, field, datagram.ecn.to_bytes(4, sys.byteorder))]
        try:
            sock.sendmsg([datagram.data], control, 0, destination)
        except OSError as error:
            # As on a network: who has gone or can't keep up gets nothing.
            if error.errno not in {errno.ECONNREFUSED, errno.EAGAIN, errno.ENOBUFS}:
                raise


def wait_for_server(server: Address, timeout: float = 10.0, alive: Callable[[], bool] = lambda: True) -> None:
    """As the function of that name for a host in a namespace."""
    deadline = time.monotonic() + timeout
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PROBE_INTERVAL)
        sock.connect(server)
        while time.monotonic() < deadline and alive():
            # Refused: nothing listens yet.
            with suppress(TimeoutError, ConnectionRefusedError):
                sock.send(PROBE)
                check_answer(sock.recv(_READ_SIZE))
                return
            time.sleep(0.02)
    raise TimeoutError("the server does not answer an unknown version")
