"""`run_endpoint.sh` as the interop runner starts it: both roles, real sockets, every test case."""

import socket

import pytest
from image.runner import Container, Pair

KIB = 1024
MIB = 1024 * KIB
SECRETS = {
    "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
    "SERVER_HANDSHAKE_TRAFFIC_SECRET",
    "CLIENT_TRAFFIC_SECRET_0",
    "SERVER_TRAFFIC_SECRET_0",
}


def run(pair: Pair, testcase: str, host: str = "127.0.0.1", timeout: float = 30.0) -> None:
    """One test of the runner: transfer, exit statuses, files, key logs."""
    port = pair.server.serve(testcase)
    pair.client.start(testcase, requests=pair.urls(port, host))
    assert pair.client.wait(timeout) == 0, pair.client.output + pair.server.output
    assert pair.client.downloaded == pair.files
    status, seconds = pair.server.terminate()
    assert status == 0, pair.server.output
    assert seconds < 1.0


def check_key_logs(pair: Pair, connections: int) -> None:
    for container in (pair.client, pair.server):
        lines = [line.split(" ") for line in container.key_log]
        assert {label for label, _, _ in lines} >= SECRETS
        assert len({client_random for _, client_random, _ in lines}) == connections
        for _, client_random, secret in lines:
            assert len(bytes.fromhex(client_random)) == 32
            assert len(bytes.fromhex(secret)) in (32, 48)
    assert sorted(pair.client.key_log) == sorted(pair.server.key_log)


@pytest.mark.parametrize("testcase", ["handshake", "chacha20", "multiconnect", "transfer"])
def test_one_small_file(pair: Pair, testcase: str) -> None:
    pair.make_certificates()
    pair.make_files(KIB)
    run(pair, testcase)
    check_key_logs(pair, connections=1)
    assert pair.client.calls == ["setup", "wait-for-it sim:57832 -s -t 30"]
    assert pair.server.calls == ["setup"]


def test_transfer(pair: Pair) -> None:
    pair.make_certificates()
    pair.make_files(2 * MIB, 3 * MIB, 5 * MIB)
    run(pair, "transfer")
    check_key_logs(pair, connections=1)


def test_chacha20(pair: Pair) -> None:
    pair.make_certificates()
    pair.make_files(3 * MIB)
    run(pair, "chacha20")
    check_key_logs(pair, connections=1)


def test_http3(pair: Pair) -> None:
    pair.make_certificates()
    pair.make_files(5 * KIB, 10 * KIB, 500 * KIB)
    run(pair, "http3")
    check_key_logs(pair, connections=1)


def test_multiconnect(pair: Pair) -> None:
    pair.make_certificates()
    pair.make_files(*[KIB] * 50)
    run(pair, "multiconnect", timeout=60.0)
    check_key_logs(pair, connections=50)


def test_multiplexing(pair: Pair) -> None:
    pair.make_certificates()
    pair.make_files(*[32] * 1999)
    run(pair, "transfer")
    check_key_logs(pair, connections=1)


def test_amplificationlimit(pair: Pair) -> None:
    pair.make_certificates(length=9, padding_names=20)
    pair.make_files(5 * KIB)
    run(pair, "transfer")


@pytest.mark.parametrize("host", ["[::1]", "localhost"])
def test_other_addresses_of_the_server(pair: Pair, host: str) -> None:
    pair.make_certificates()
    pair.make_files(5 * KIB, 10 * KIB)
    run(pair, "transfer", host=host)


def test_empty_file(pair: Pair) -> None:
    pair.make_certificates()
    pair.make_files(0, 1)
    run(pair, "transfer")


@pytest.mark.parametrize("role", ["client", "server"])
def test_unknown_testcase(pair: Pair, role: str) -> None:
    """Status 127 comes first: no script of the base image, no folder, no certificate is needed for it."""
    container: Container = getattr(pair, role)
    for directory in (container.www, container.downloads, container.certs):
        directory.rmdir()
    (container.root / "setup.sh").unlink()
    (container.root / "wait-for-it.sh").unlink()
    container.start("thunderous-giraffe")
    assert container.wait(5) == 127
    assert "127" not in container.output


@pytest.mark.parametrize("role", ["client", "server"])
def test_broken_environment_is_not_unsupported(pair: Pair, role: str) -> None:
    """Without its script of the base image or its certificates an endpoint fails; it does not say 127."""
    container: Container = getattr(pair, role)
    container.start("handshake", requests="https://127.0.0.1:1/file")
    assert container.wait(5) == 1
    (container.root / "setup.sh").unlink()
    container.start("handshake", requests="https://127.0.0.1:1/file")
    assert container.wait(5) == 1


def test_client_trusts_the_authority_in_certs_only(pair: Pair) -> None:
    pair.make_certificates()
    pair.make_files(KIB)
    port = pair.server.serve("handshake")
    pair.make_certificates()
    pair.client.start("handshake", requests=pair.urls(port))
    assert pair.client.wait() == 1
    assert "CRYPTO_ERROR(unknown_ca)" in pair.client.output
    assert pair.client.downloaded == {}


def test_server_outlives_its_connections(pair: Pair) -> None:
    pair.make_certificates()
    pair.make_files(KIB)
    port = pair.server.serve("handshake")
    for _ in range(2):
        pair.client.start("handshake", requests=pair.urls(port))
        assert pair.client.wait() == 0, pair.client.output
        assert pair.server.process.poll() is None
    assert len(pair.client.key_log) == 2 * len(SECRETS), "the second run appends to the key log of the first"


def test_sigterm_during_a_transfer(pair: Pair) -> None:
    pair.make_certificates()
    (pair.server.www / "large").touch()
    with (pair.server.www / "large").open("r+b") as file:
        file.truncate(4 * 1024 * MIB)
    port = pair.server.serve("transfer")
    pair.client.start("transfer", requests=f"https://127.0.0.1:{port}/large")
    pair.wait_for_keys()
    status, seconds = pair.server.terminate()
    assert status == 0
    assert seconds < 1.0
    assert pair.client.wait(5) == 1
    assert pair.client.downloaded == {}


def test_simulator_sees_that_the_server_is_up(pair: Pair) -> None:
    """Its probe has an unknown version and empty connection IDs; only Version Negotiation is an answer."""
    pair.make_certificates()
    port = pair.server.serve("handshake")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as simulator:
        simulator.settimeout(5)
        simulator.sendto(b"\xc0WAIT\x00\x00" + bytes(1200), ("127.0.0.1", port))
        answer = simulator.recv(2048)
    assert answer[0] & 0x80
    assert answer[1:7] == bytes(6), "version 0 and empty connection IDs"
    assert b"\x00\x00\x00\x01" in answer[7:]
