"""A tap between the two containers: hands every datagram on, and keeps a copy."""

import selectors
import socket
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from endpoint.wire.header import HeaderError, LongHeader, parse_long_header


@dataclass(frozen=True, slots=True)
class Tapped:
    """A datagram as it was sent."""

    from_client: bool
    data: bytes

    def long_headers(self) -> list[LongHeader]:
        """The headers of the long header packets in it, in order."""
        headers: list[LongHeader] = []
        start = 0
        while start < len(self.data) and self.data[start] & 0x80:
            try:
                headers.append(parse_long_header(self.data, start, len(self.data)))
            except HeaderError:
                break
            start = headers[-1].packet_end
        return headers

    @property
    def short_header_bytes(self) -> int:
        """Bytes of the packet with a short header, which is the last of a datagram; 0 without one."""
        headers = self.long_headers()
        return len(self.data) - (headers[-1].packet_end if headers else 0)


class Tap:
    """A context manager: clients that send to `port` reach the server, each from a port of its own."""

    def __init__(self, server_port: int) -> None:
        self.datagrams: list[Tapped] = []
        self._server = ("127.0.0.1", server_port)
        self._front = _socket()
        self.port: int = self._front.getsockname()[1]
        self._backs: dict[tuple[str, int], socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._stopping, self._stop = socket.socketpair()
        self._thread = threading.Thread(target=self._run)

    @property
    def from_client(self) -> list[Tapped]:
        return [datagram for datagram in self.datagrams if datagram.from_client]

    @property
    def from_server(self) -> list[Tapped]:
        return [datagram for datagram in self.datagrams if not datagram.from_client]

    def _run(self) -> None:
        self._selector.register(self._front, selectors.EVENT_READ)
        self._selector.register(self._stopping, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._stopping:
                    return
                if key.data is None:
                    data, client = self._front.recvfrom(65536)
                    self.datagrams.append(Tapped(True, data))
                    self._back(client).sendto(data, self._server)
                else:
                    back: socket.socket = self._backs[key.data]
                    data = back.recv(65536)
                    self.datagrams.append(Tapped(False, data))
                    self._front.sendto(data, key.data)

    def _back(self, client: tuple[str, int]) -> socket.socket:
        if client not in self._backs:
            self._backs[client] = _socket()
            self._selector.register(self._backs[client], selectors.EVENT_READ, client)
        return self._backs[client]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.send(b"x")
        self._thread.join(10)
        self._selector.close()
        for each in (self._front, self._stopping, self._stop, *self._backs.values()):
            each.close()


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    return made
