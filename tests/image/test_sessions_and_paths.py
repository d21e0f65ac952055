"""The cases about Retry, resumption, versions, keys, ECN and migration, with a tap between the containers.

What the runner reads from decrypted captures is checked by the contract's own suite; here is what can be
seen without keys.
"""

import socket
from collections.abc import Iterable

import pytest
from image.runner import Container, Pair
from image.tap import Tap, Tapped

from endpoint.wire.header import PacketType
from endpoint.wire.version import QUIC_V1, QUIC_V2, VERSION_NEGOTIATION

KIB = 1024
MIB = 1024 * KIB


def run(pair: Pair, case: str, *, server_case: str = "", timeout: float = 30.0) -> Tap:
    """One test of the runner through a tap; the tap with all that was sent."""
    port = pair.server.serve(server_case or case)
    with Tap(port) as tap:
        pair.client.start(case, requests=pair.urls(tap.port))
        assert pair.client.wait(timeout) == 0, pair.client.output + pair.server.output
    assert pair.client.downloaded == pair.files
    status, _ = pair.server.terminate()
    assert status == 0, pair.server.output
    return tap


def versions(datagrams: Iterable[Tapped], kind: PacketType) -> set[int]:
    return {
        header.version for datagram in datagrams for header in datagram.long_headers() if header.type is kind
    }


def connections(container: Container) -> int:
    """How many handshakes the key log tells of."""
    return len({line.split(" ")[1] for line in container.key_log})


@pytest.fixture
def certified(pair: Pair) -> Pair:
    pair.make_certificates()
    return pair


def test_retry(certified: Pair) -> None:
    certified.make_files(10 * KIB)
    tap = run(certified, "retry")
    assert versions(tap.from_server, PacketType.RETRY) == {QUIC_V1}
    initials = [
        header
        for datagram in tap.from_client
        for header in datagram.long_headers()
        if header.type is PacketType.INITIAL
    ]
    assert not initials[0].token
    assert initials[-1].token
    assert connections(certified.client) == 1


def test_no_retry_unless_asked_for(certified: Pair) -> None:
    certified.make_files(KIB)
    assert not versions(run(certified, "handshake").from_server, PacketType.RETRY)


def test_resumption(certified: Pair) -> None:
    certified.make_files(5 * KIB, 10 * KIB, 3 * KIB)
    tap = run(certified, "resumption")
    assert "session resumed\n" in certified.client.output
    assert not versions(tap.from_client, PacketType.ZERO_RTT)
    assert connections(certified.client) == connections(certified.server) == 2


def test_zerortt(certified: Pair) -> None:
    certified.make_files(*[32] * 40, name_length=250)
    tap = run(certified, "zerortt")
    assert "session resumed, 0-RTT data accepted" in certified.client.output
    assert versions(tap.from_client, PacketType.ZERO_RTT) == {QUIC_V1}
    # Half of 40 requests of 250 bytes is what the runner allows of payload.
    assert sum(datagram.short_header_bytes for datagram in tap.from_client) <= 5000
    assert connections(certified.client) == 2
    assert any(line.startswith("CLIENT_EARLY_TRAFFIC_SECRET ") for line in certified.client.key_log)


@pytest.mark.parametrize("server_case", ["keyupdate", "transfer"])
def test_keyupdate(certified: Pair, server_case: str) -> None:
    certified.make_files(3 * MIB)
    run(certified, "keyupdate", server_case=server_case)


def test_ecn(certified: Pair) -> None:
    certified.make_files(100 * KIB)
    run(certified, "ecn")


def test_v2(certified: Pair) -> None:
    certified.make_files(KIB)
    tap = run(certified, "v2")
    first = tap.from_client[0].long_headers()[0]
    assert (first.type, first.version) == (PacketType.INITIAL, QUIC_V1)
    assert versions(tap.from_server, PacketType.INITIAL) == {QUIC_V2}
    assert versions(tap.datagrams, PacketType.HANDSHAKE) == {QUIC_V2}


@pytest.mark.parametrize("sides", [("v2", "handshake"), ("handshake", "v2")])
def test_version_1_unless_both_see_v2(certified: Pair, sides: tuple[str, str]) -> None:
    certified.make_files(KIB)
    tap = run(certified, sides[0], server_case=sides[1])
    assert versions(tap.datagrams, PacketType.INITIAL) == {QUIC_V1}


def test_versionnegotiation(certified: Pair) -> None:
    certified.make_files(KIB)
    tap = run(certified, "versionnegotiation")
    first = int.from_bytes(tap.from_client[0].data[1:5], "big")
    assert first & 0x0F0F0F0F == 0x0A0A0A0A
    answer = tap.from_server[0].long_headers()[0]
    assert answer.version == VERSION_NEGOTIATION
    # The runner looks for one whose Source Connection ID is what the client had made up.
    assert answer.scid == tap.from_client[0].data[6 : 6 + tap.from_client[0].data[5]]
    assert versions(tap.from_client[1:], PacketType.INITIAL) == {QUIC_V1}


def test_versionnegotiation_without_a_file(certified: Pair) -> None:
    port = certified.server.serve("versionnegotiation")
    certified.client.start("versionnegotiation", requests=f"https://127.0.0.1:{port}/")
    assert certified.client.wait() == 0, certified.client.output
    assert certified.client.downloaded == {}


def free_port() -> int:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as some:
        some.bind(("::", 0))
        port: int = some.getsockname()[1]
        return port


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_connectionmigration(certified: Pair, host: str) -> None:
    certified.make_files(2 * MIB)
    preferred = free_port()
    port = certified.server.serve(
        "connectionmigration", f"--preferred-hosts 127.0.0.1,::1 --preferred-port {preferred}"
    )
    certified.client.start("transfer", requests=certified.urls(port, host))
    assert certified.client.wait() == 0, certified.client.output + certified.server.output
    assert certified.client.downloaded == certified.files


def test_connectionmigration_leaves_the_first_port(certified: Pair) -> None:
    certified.make_files(2 * MIB)
    port = certified.server.serve(
        "connectionmigration", f"--preferred-hosts 127.0.0.1,::1 --preferred-port {free_port()}"
    )
    with Tap(port) as tap:
        certified.client.start("transfer", requests=certified.urls(tap.port))
        assert certified.client.wait() == 0, certified.client.output + certified.server.output
    assert certified.client.downloaded == certified.files
    assert sum(len(datagram.data) for datagram in tap.from_server) < MIB


def test_preferred_address_of_an_unknown_name(certified: Pair) -> None:
    certified.server.start("connectionmigration", params="--port 0 --preferred-hosts name.invalid")
    assert certified.server.wait(5) == 1
    assert "can't resolve name.invalid" in certified.server.output
