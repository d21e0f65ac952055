"""The sockets of one driver: the main one, and those for other local addresses (RFC 9000 §9)."""

from collections.abc import Iterator

from endpoint.batch import Address, PacketBuffer, RecvBatch
from endpoint.io.udp import UdpSocket

# Sockets besides the main one. A client that keeps migrating leaves the older ones behind.
MAX_OTHERS = 4


class Sockets:
    """Finds the socket for what is to be sent by its local address. Nearly always there is just `main`."""

    __slots__ = ("_addresses", "_others", "main")

    def __init__(self, main: UdpSocket) -> None:
        self.main = main
        self._others: list[UdpSocket] = []
        self._addresses: list[Address] = []

    def __iter__(self) -> Iterator[UdpSocket]:
        yield self.main
        yield from self._others

    def add(self, udp: UdpSocket) -> UdpSocket | None:
        """One more; returns the one that is given up for it, if there get too many."""
        given_up = None
        if len(self._others) >= MAX_OTHERS:
            given_up = self._others.pop(0)
            del self._addresses[0]
        self._others.append(udp)
        self._addresses.append(udp.address)
        return given_up

    def find(self, local: Address | None) -> UdpSocket:
        """The socket that sends from `local`: bound there, else with its port, else `main`."""
        if not self._others or local is None:
            return self.main
        for udp, address in zip(self._others, self._addresses, strict=True):
            if address == local:
                return udp
        if local[1] != self.main.address[1]:
            for udp, address in zip(self._others, self._addresses, strict=True):
                # One for all addresses, which tells by itself what each datagram was sent to.
                if address[1] == local[1]:
                    return udp
        return self.main

    def receive(self, udp: UdpSocket, buffer: PacketBuffer) -> RecvBatch | None:
        """A batch of `udp`, with a local address unless it is that of the main socket."""
        batch = udp.recv_batch(buffer)
        if batch is not None and batch.local is None and udp is not self.main and udp in self._others:
            batch.local = self._addresses[self._others.index(udp)]
        return batch
