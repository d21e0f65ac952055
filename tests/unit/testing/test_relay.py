"""The relay carries datagrams both ways between real sockets and treats them as its links say."""

import asyncio
from typing import cast

from endpoint.testing.link import LinkProfile
from endpoint.testing.relay import Relay


class Collector(asyncio.DatagramProtocol):
    """Keeps what arrives; an echo server sends it back as well."""

    def __init__(self, *, echo: bool = False) -> None:
        self.echo = echo
        self.received: list[bytes] = []
        self.peers: set[tuple[str, int]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received.append(data)
        self.peers.add(addr)
        if self.echo:
            self.transport.sendto(data, addr)


async def endpoint(*, echo: bool = False, remote: tuple[str, int] | None = None) -> Collector:
    loop = asyncio.get_running_loop()
    local = None if remote else ("127.0.0.1", 0)
    _, protocol = await loop.create_datagram_endpoint(
        lambda: Collector(echo=echo), local_addr=local, remote_addr=remote
    )
    return protocol


async def exchange(
    profile: LinkProfile, clients: int, count: int
) -> tuple[Relay, Collector, list[Collector]]:
    server = await endpoint(echo=True)
    address = server.transport.get_extra_info("sockname")
    async with Relay(address, profile, seed=7) as relay:
        ends = [await endpoint(remote=("127.0.0.1", relay.port)) for _ in range(clients)]
        for number in range(count):
            for client in ends:
                client.transport.sendto(bytes([number]))
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        for client in ends:
            client.transport.close()
    server.transport.close()
    return relay, server, ends


def test_both_ways_for_each_client() -> None:
    _, server, clients = asyncio.run(exchange(LinkProfile(delay=0.01), 2, 20))
    assert len(server.peers) == 2
    assert [client.received for client in clients] == [[bytes([n]) for n in range(20)]] * 2


def test_loss_depends_on_the_seed_only() -> None:
    profile = LinkProfile(delay=0.005, loss=0.3)
    first = asyncio.run(exchange(profile, 1, 100))[2][0].received
    second = asyncio.run(exchange(profile, 1, 100))[2][0].received
    assert first == second
    assert 20 < len(first) < 80
