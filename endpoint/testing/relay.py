"""A UDP relay on real sockets that treats datagrams as a simulated link does."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from endpoint.batch import Address
from endpoint.testing.link import Datagram, Link, LinkProfile, make_network


class Relay:
    """Stands between clients and one server; every client address is a flow with links of its own.

        async with Relay(("127.0.0.1", server_port), LinkProfile(loss=0.02), seed=seed) as relay:
            ...  # clients connect to relay.port

    The seed decides the fate of the n-th datagram of each flow; what it carries depends on real time.
    """

    def __init__(
        self, server: Address, up: LinkProfile, down: LinkProfile | None = None, *, seed: int
    ) -> None:
        self.port = 0
        self.flows: list[Flow] = []
        self._server = server
        self._profiles = (up, down or up)
        self._seed = seed
        self._by_client: dict[Address, Flow] = {}
        self._front: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._front, _ = await loop.create_datagram_endpoint(
            lambda: _Receiver(self._from_client), local_addr=("127.0.0.1", 0)
        )
        self.port = self._front.get_extra_info("sockname")[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._front is not None
        self._front.close()
        for flow in self.flows:
            flow.close()

    def _from_client(self, data: bytes, client: Address) -> None:
        assert self._front is not None
        flow = self._by_client.get(client)
        if flow is None:
            seed = self._seed + len(self.flows)
            flow = Flow(client, self._server, self._front, *self._profiles, seed=seed)
            self._by_client[client] = flow
            self.flows.append(flow)
        flow.from_client(data)


class Flow:
    """One client of a relay: a socket towards the server and a link each way."""

    def __init__(
        self,
        client: Address,
        server: Address,
        front: asyncio.DatagramTransport,
        up: LinkProfile,
        down: LinkProfile,
        *,
        seed: int,
    ) -> None:
        network = make_network(up, down, seed=seed)
        self.up, self.down = network.up, network.down
        self._client = client
        self._server = server
        self._front = front
        self._back: asyncio.DatagramTransport | None = None
        self._loop = asyncio.get_running_loop()
        # Times of a profile count from the flow's first datagram.
        self._start = self._loop.time()
        self._timers: dict[Link, asyncio.TimerHandle] = {}
        self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        self._back, _ = await self._loop.create_datagram_endpoint(
            lambda: _Receiver(self._from_server), remote_addr=(self._server[0], self._server[1])
        )
        self._deliver(self.up)

    def from_client(self, data: bytes) -> None:
        """Take a datagram of the client."""
        self._send(self.up, Datagram(data, self._client, self._server))

    def close(self) -> None:
        """Forget everything on its way."""
        self._connecting.cancel()
        for timer in self._timers.values():
            timer.cancel()
        if self._back is not None:
            self._back.close()

    def _from_server(self, data: bytes, server: Address) -> None:
        self._send(self.down, Datagram(data, server, self._client))

    def _send(self, link: Link, datagram: Datagram) -> None:
        link.send(datagram, self._loop.time() - self._start)
        self._arm(link)

    def _arm(self, link: Link) -> None:
        """Wake up for the link's next arrival; a timer set for later has become useless."""
        arrival = link.next_arrival()
        timer = self._timers.get(link)
        if arrival is None or (timer is not None and timer.when() <= self._start + arrival):
            return
        if timer is not None:
            timer.cancel()
        self._timers[link] = self._loop.call_at(self._start + arrival, self._deliver, link)

    def _deliver(self, link: Link) -> None:
        self._timers.pop(link, None)
        if self._back is None:
            return
        for datagram in link.take(self._loop.time() - self._start):
            if link is self.up:
                self._back.sendto(datagram.data)
            else:
                self._front.sendto(datagram.data, self._client)
        self._arm(link)


class _Receiver(asyncio.DatagramProtocol):
    """Hands datagrams on; an unreachable port is a lost datagram like any other."""

    def __init__(self, receive: Callable[[bytes, Address], None]) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._receive(data, addr)
