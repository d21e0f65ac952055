"""The two hosts and the network between them, without QUIC."""

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from endpoint.batch import ECN_ECT_0
from interop.simnet import netns
from interop.simnet.forwarder import Forwarder, wait_for_server
from interop.simnet.impairments import REBIND_ADDRESS, SIMPLE, Scenario
from interop.simnet.netns import Host
from interop.simnet.network import LEFT, RIGHT

# Answers every datagram with its ECN field and where it came from; first, and late, the runner's probe.
ECHO = """
import socket, sys
sock = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
ipv4 = sock.family == socket.AF_INET
level, receive, field = (0, 13, 1) if ipv4 else (41, 66, 67)
sock.setsockopt(level, receive, 1)
sock.bind((sys.argv[1], 443))
if ipv4:
    sock.sendto(b"late", ("193.167.100.2", 57832))
print("bound", flush=True)
while True:
    data, control, _, peer = sock.recvmsg(2048, 64)
    marks = [value[0] & 3 for kind, name, value in control if (kind, name) == (level, field)]
    sock.sendto(f"{marks} {peer[0]}".encode(), peer)
"""
# Sends a marked datagram to the host of that name and prints the answer and the time it took.
ASK = """
import socket, sys, time
family, kind, protocol, _, address = socket.getaddrinfo(sys.argv[1], 443, type=socket.SOCK_DGRAM)[0]
sock = socket.socket(family, kind, protocol)
sock.setsockopt(*((0, 1) if family == socket.AF_INET else (41, 67)), 2)
sock.settimeout(5)
time.sleep(float(sys.argv[2]))
for _ in range(2):
    started = time.monotonic()
    sock.sendto(bytes(1200), address)
    answer = sock.recv(2048).decode()
    print(time.monotonic() - started, answer, flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("name", "address", "client"),
    [
        ("server4", netns.SERVER_IPV4, netns.CLIENT_IPV4),
        ("server6", netns.SERVER_IPV6, netns.CLIENT_IPV6),
        ("server46", netns.SERVER_IPV6, netns.CLIENT_IPV6),
    ],
)
def test_a_datagram_and_its_answer(
    hosts: tuple[Host, Host], tmp_path: Path, seed: int, name: str, address: str, client: str
) -> None:
    answers = ask(hosts, tmp_path, seed, SIMPLE, name, address)
    assert [answer.split(" ", 1)[1] for answer in answers] == [f"[{ECN_ECT_0}] {client}"] * 2
    # Four packets with their headers in each capture; its name is a character longer at the right.
    left, right = ((tmp_path / file).stat().st_size for file in (LEFT, RIGHT))
    assert abs(right - left) <= 4
    assert left > 2 * (16 + 28 + 1200)


def test_rebinding(hosts: tuple[Host, Host], tmp_path: Path, seed: int) -> None:
    """The clock stands at 0.5 s when the first datagram comes, so the second one has another source."""
    answers = ask(hosts, tmp_path, seed, REBIND_ADDRESS, "server4", netns.SERVER_IPV4, pause=0.6)
    first, second = (answer.rpartition(" ")[2] for answer in answers)
    assert first == netns.CLIENT_IPV4
    assert second != first


def ask(
    hosts: tuple[Host, Host],
    directory: Path,
    seed: int,
    scenario: Scenario,
    name: str,
    address: str,
    pause: float = 0.0,
) -> list[str]:
    """Lines "time answer" of two questions, each after a pause."""
    client, server = hosts
    with (
        Forwarder(client, server, scenario, directory, seed=seed),
        subprocess.Popen(
            [*server.command, sys.executable, "-c", ECHO, address], stdout=subprocess.PIPE
        ) as echo,
    ):
        try:
            assert echo.stdout is not None
            assert echo.stdout.readline() == b"bound\n"
            command = [*client.command, sys.executable, "-c", ASK, name, str(pause)]
            lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
        finally:
            echo.kill()
    assert all(0.030 < float(line.split()[0]) < 1.0 for line in lines), lines
    return lines


def test_no_server(hosts: tuple[Host, Host]) -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        wait_for_server(hosts[1], timeout=0.2)
    assert time.monotonic() - started < 2.0


def test_nothing_remains(hosts: tuple[Host, Host]) -> None:
    """Neither of a run that fails nor, once another one begins, of one that was killed."""
    killed = f"{netns.PREFIX}{2**22 + 1}-0-client"  # no process has such a number
    ip("add", killed)
    left_behind = subprocess.Popen(["ip", "netns", "exec", killed, "sleep", "60"])
    while killed not in ip("identify", str(left_behind.pid)):
        time.sleep(0.01)
    program = "from interop.simnet import netns\nwith netns.hosts() as (host, _):\n    exit(host.namespace)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, text=True)
    failed = answer.stderr.strip()
    assert failed.startswith(netns.PREFIX)
    assert left_behind.wait(5) == -signal.SIGKILL
    for namespace in (killed, failed):
        assert namespace not in ip("list")
        assert not Path("/run/interquic", namespace).exists()
    assert hosts[0].namespace in ip("list")


def ip(*arguments: str) -> str:
    command = ["ip", "netns", *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def test_orphans_that_several_workers_find_at_once() -> None:
    """Each of them clears up after a run that was killed, and none stumbles over the others."""
    # No process can have this number.
    orphans = [f"{netns.PREFIX}9999999-{number}-client" for number in range(8)]
    for name in orphans:
        subprocess.run(["ip", "netns", "add", name], check=True)

    def work(_number: int) -> None:
        with netns.hosts():
            pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    listed = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout
    assert not [name for name in orphans if name in listed]
