"""Every installed peer against ourselves over loopback, in both roles, in every test case that both have.

The longer suite, run by naming its folder, after `interquic interop peers install all`.
"""

from pathlib import Path

import pytest

from endpoint.cli.testcases import Role
from interop.install import is_ready
from interop.loopback import SEEN_BY_SERVER, try_pair
from interop.registry import Peer, choose_alpn, load_peers

PEERS = load_peers()
OURS = PEERS["interquic"]
KIB, MIB = 1024, 1024 * 1024
# What the matrix has for each, with fewer connections.
SIZES = {
    "handshake": (KIB,),
    "transfer": (2 * MIB, 3 * MIB, 5 * MIB),
    "chacha20": (3 * MIB,),
    "multiconnect": (KIB,) * 10,
    "retry": (10 * KIB,),
    "resumption": (5 * KIB, 10 * KIB),
    "zerortt": (32,) * 40,
    "http3": (5 * KIB, 10 * KIB, 500 * KIB),
    "keyupdate": (3 * MIB,),
    "ecn": (100 * KIB,),
    "v2": (KIB,),
    "versionnegotiation": (KIB,),
}


def pairs() -> list[tuple[Peer, Peer, str]]:
    """Client, server and test case: ourselves on one side, and what both have and can speak about."""
    found = [
        (client, server, testcase)
        for peer in PEERS.values()
        for client, server in ((peer, OURS), (OURS, peer))
        for testcase in SIZES
        if client.supports(Role.CLIENT, testcase)
        and server.supports(Role.SERVER, SEEN_BY_SERVER.get(testcase, testcase))
        and choose_alpn(client, server, testcase) is not None
    ]
    return [pair for number, pair in enumerate(found) if pair not in found[:number]]


@pytest.mark.parametrize(
    ("client", "server", "testcase"),
    [pytest.param(*pair, id="-".join((pair[0].name, pair[1].name, pair[2]))) for pair in pairs()],
)
def test_pair(client: Peer, server: Peer, testcase: str, tmp_path: Path) -> None:
    for peer in (client, server):
        if not is_ready(peer):
            pytest.skip(f"{peer.name} is not installed")
    trial = try_pair(client, server, testcase, tmp_path / "trial", SIZES[testcase])
    assert trial.problem == ""
    assert trial.supported
