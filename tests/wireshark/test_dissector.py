"""Our packets as Wireshark sees them: decrypted with our key log, nothing malformed, and the runner's checks.

In CI a missing tshark fails; elsewhere these tests are skipped and say why.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from image.runner import Pair, containers
from wireshark.capture import TOOLS, Capture, Datagram

KIB = 1024
MIB = 1024 * KIB
INITIAL = "0"
CLIENT_HELLO = "1"
TLS_CHACHA20_POLY1305_SHA256 = "0x1303"


@pytest.fixture(autouse=True)
def _tools() -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    reason = f"{' and '.join(missing)} missing" if missing else ""
    if not reason and os.geteuid() != 0:
        reason = "capturing needs root"
    if reason:
        assert os.environ.get("CI") != "true", f"{reason}: in CI the wire format has to be checked"
        pytest.skip(f"{reason}: the wire format is NOT checked against Wireshark")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with containers(tmp_path) as both:
        both.make_certificates()
        yield both


def run_captured(pair: Pair, testcase: str) -> tuple[list[Datagram], int]:
    """Run a test case; every datagram of it, and the server's port."""
    port = pair.server.serve(testcase)
    with Capture(pair.server.root / "trace.pcapng", port) as capture:
        pair.client.start(testcase, requests=pair.urls(port))
        assert pair.client.wait() == 0, pair.client.output
    assert pair.client.downloaded == pair.files
    datagrams = capture.dissect(pair.client.logs / "keys.log")
    assert [text for datagram in datagrams for text in datagram.complaints] == []
    return datagrams, port


def server_connection_ids(datagrams: list[Datagram], port: int) -> set[str]:
    """The runner's number of handshakes is the size of this set."""
    return {
        datagram["quic.scid"][0]
        for datagram in datagrams
        if datagram.from_port == port and datagram["quic.long.packet_type"][:1] == (INITIAL,)
    }


def first_suites(datagrams: list[Datagram]) -> list[str]:
    return [
        datagram["tls.handshake.ciphersuite"][0]
        for datagram in datagrams
        if CLIENT_HELLO in datagram["tls.handshake.type"]
    ]


def test_handshake(pair: Pair) -> None:
    pair.make_files(KIB)
    datagrams, port = run_captured(pair, "handshake")
    assert len(server_connection_ids(datagrams, port)) == 1
    assert {version for datagram in datagrams for version in datagram["quic.version"]} == {"0x00000001"}
    assert len(first_suites(datagrams)) >= 1


def test_transfer(pair: Pair) -> None:
    pair.make_files(MIB, MIB, *[32] * 200)
    datagrams, port = run_captured(pair, "transfer")
    assert len(server_connection_ids(datagrams, port)) == 1
    sent = sum(
        len(bytes.fromhex(data))
        for datagram in datagrams
        if datagram.from_port == port
        for data in datagram["quic.stream_data"]
    )
    assert sent >= 2 * MIB + 200 * 32, "not all stream data was decrypted"


def test_chacha20(pair: Pair) -> None:
    pair.make_files(MIB)
    datagrams, _ = run_captured(pair, "chacha20")
    assert set(first_suites(datagrams)) == {TLS_CHACHA20_POLY1305_SHA256}


def test_multiconnect(pair: Pair) -> None:
    pair.make_files(*[KIB] * 5)
    datagrams, port = run_captured(pair, "multiconnect")
    assert len(server_connection_ids(datagrams, port)) == 5
