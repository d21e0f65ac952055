"""Where the endpoints of a cell run, and what carries the simulated network between them."""

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from interop.simnet import forwarder, netns, proxy
from interop.simnet.pump import Pump
from interop.testcases import TestCase

_PORT: Final = 443
_LOOPBACK: Final = {"server6": "::1"}


class Network(StrEnum):
    """Values of `--network`."""

    NETNS = "netns"
    PROXY = "proxy"
    DOCKER = "docker"


@dataclass(frozen=True, slots=True)
class Site:
    """What one cell needs of its carrier. `authority` is the URLs' host and port."""

    authority: Callable[[Pump], str]
    wait_for_server: Callable[[float, Callable[[], bool]], None]
    network: Callable[[Path, int], AbstractContextManager[Pump]]
    client_prefix: Sequence[str] = ()
    server_prefix: Sequence[str] = ()
    server_environment: Mapping[str, str] = field(default_factory=dict)


def unfaithful(network: Network, case: TestCase) -> str:
    """Why this carrier can't do the case as the contract has it; empty if it can."""
    if network is not Network.PROXY:
        return ""
    if case.server == "connectionmigration":
        return "a relay on loopback can't be reached at the server's preferred address"
    if proxy.IS_LINUX:
        return ""
    if case.scenario.rebind_address:
        return "loopback has one IPv4 address on this system, so the client's can't change"
    marks = any(case.scenario.up.ecn[mark] != mark for mark in range(4))
    if case.server == "ecn" or marks:
        return "marks can't be carried from socket to socket on this system"
    return ""


@contextmanager
def open_site(network: Network, case: TestCase) -> Iterator[Site]:
    """Raises OSError where the system refuses what the carrier needs."""
    if network is Network.NETNS:
        with netns.hosts() as (client, server):
            yield Site(
                authority=lambda _: f"{case.host}:{_PORT}",
                wait_for_server=lambda limit, alive: forwarder.wait_for_server(server, limit, alive),
                network=lambda directory, seed: forwarder.Forwarder(
                    client, server, case.scenario, directory, seed=seed
                ),
                client_prefix=client.command,
                server_prefix=server.command,
            )
        return
    address = (_LOOPBACK.get(case.host, "127.0.0.1"), _free_port(case.host))
    host = f"[{address[0]}]" if ":" in address[0] else address[0]

    def authority(pump: Pump) -> str:
        assert isinstance(pump, proxy.Proxy)
        return f"{host}:{pump.port}"

    yield Site(
        authority=authority,
        wait_for_server=lambda limit, alive: proxy.wait_for_server(address, limit, alive),
        network=lambda directory, seed: proxy.Proxy(address, case.scenario, directory, seed=seed),
        server_environment={"IP": address[0], "PORT": str(address[1])},
    )


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if host in _LOOPBACK else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((_LOOPBACK.get(host, "127.0.0.1"), 0))
        port: int = sock.getsockname()[1]
        return port
