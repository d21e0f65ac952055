"""The network on real sockets: as precise as the issue asks, with marks, rebinding and IPv6."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from endpoint.batch import Address
from interop.dissect.container import CapturedFrame, read_frames
from interop.dissect.link import udp_datagram
from interop.simnet import impairments
from interop.simnet.impairments import Scenario
from interop.simnet.network import LEFT, RIGHT
from interop.simnet.proxy import Proxy, wait_for_server

SOURCE_MARK = b"?"


@contextmanager
def echo_server(host: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    """Answers each datagram with itself, or one that begins with SOURCE_MARK with its source and mark."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        sock.setsockopt(*((41, 66, 1) if family == socket.AF_INET6 else (0, 13, 1)))

        def serve() -> None:
            while True:
                data, control, _, peer = sock.recvmsg(2048, 64)
                if not data:
                    return
                marks = [value[0] & 3 for _, _, value in control]
                answer = f"{peer[0]} {peer[1]} {marks}".encode() if data.startswith(SOURCE_MARK) else data
                sock.sendto(answer, peer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        address = sock.getsockname()[:2]
        yield address
        with socket.socket(family, socket.SOCK_DGRAM) as last:
            last.sendto(b"", address)
        thread.join()


@contextmanager
def relayed(scenario: Scenario, directory: Path, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A client of an echo server behind the network."""
    with (
        echo_server(host) as server,
        Proxy(server, scenario, directory, seed=1) as relay,
        client(relay, host) as sock,
    ):
        yield sock


@contextmanager
def client(relay: Proxy, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect((host, relay.port))
        yield sock


def ask(sock: socket.socket, data: bytes = SOURCE_MARK) -> str:
    sock.send(data)
    return sock.recv(2048).decode()


def test_delay_in_real_time(tmp_path: Path) -> None:
    """30 ms and what two packets take to send, to a millisecond where the machine lets us."""
    data = bytes([1]) * 1220
    trips = []
    with relayed(impairments.SIMPLE, tmp_path) as sock:
        for _ in range(30):
            started = time.perf_counter()
            sock.send(data)
            sock.recv(2048)
            trips.append(time.perf_counter() - started)
    exact = 0.030 + 2 * 1e-3
    assert exact - 1e-4 <= min(trips) <= exact + 1e-3


def test_bandwidth_in_real_time(tmp_path: Path) -> None:
    """What waits in a long queue comes out of it at 10 Mbit/s, give or take 2 %."""
    count = 700
    with relayed(impairments.LONG_QUEUE, tmp_path) as sock:
        for number in range(count):
            sock.send(bytes([1]) * 1220)
            if number % 50 == 49:
                time.sleep(0.005)
        for _ in range(count):
            sock.recv(2048)
    times = [frame.time for frame in read_frames(tmp_path / RIGHT) if ends(frame)[1][1] == 443]
    assert len(times) == count
    assert 8 * 1250 * (count - 1) / (times[-1] - times[0]) * 1e9 == pytest.approx(10e6, rel=0.02)


def test_marks_are_carried(tmp_path: Path) -> None:
    with relayed(impairments.SIMPLE, tmp_path) as sock:
        assert ask(sock).endswith("[0]")
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 2)
        assert ask(sock).endswith("[2]")


def test_the_server_sees_another_address(tmp_path: Path) -> None:
    scenario = Scenario(rebind_port=True, rebind_address=True, rebind_first=0.6, rebind_interval=60.0)
    with relayed(scenario, tmp_path) as sock:
        before = ask(sock).split()
        time.sleep(0.15)
        after = ask(sock).split()
        assert (before[0], before[0] != after[0], before[1] != after[1]) == ("127.167.0.100", True, True)
    # In the captures these are the contract's addresses, and the client's own never changes.
    left = {address for frame in read_frames(tmp_path / LEFT) for address in ends(frame)}
    right = {address for frame in read_frames(tmp_path / RIGHT) for address in ends(frame)}
    assert len(left) == 2
    assert {host for host, _ in left} == {"193.167.0.100", "193.167.100.100"}
    assert len({host for host, _ in right}) == 3
    assert all(host.startswith("193.167.") for host, _ in right)


def ends(frame: CapturedFrame) -> list[Address]:
    decoded = udp_datagram(frame)
    assert decoded is not None
    return [decoded[0].source, decoded[0].destination]


def test_ipv6(tmp_path: Path) -> None:
    with relayed(impairments.SIMPLE, tmp_path, "::1") as sock:
        assert ask(sock).startswith("::1 ")


def test_flows_do_not_mix(tmp_path: Path) -> None:
    with (
        echo_server() as server,
        Proxy(server, impairments.SIMPLE, tmp_path, seed=1) as relay,
        client(relay) as one,
        client(relay) as two,
    ):
        one.send(b"one")
        two.send(b"two")
        assert (one.recv(10), two.recv(10)) == (b"one", b"two")
        assert ask(one) != ask(two)


def test_nobody_listens() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        address = sock.getsockname()
    with pytest.raises(TimeoutError):
        wait_for_server(address, timeout=0.3)


def test_an_answer_that_is_no_version_negotiation() -> None:
    with (
        echo_server() as server,
        pytest.raises(ValueError, match="answers an unknown version"),
    ):
        wait_for_server(server, timeout=5.0)
