"""HTTP/3 servers of others, each as a process that serves the same directory."""

import hashlib
import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from endpoint.tls.certificates import load_certificates
from endpoint.tls.config import TlsConfig

PEER = Path(__file__).parents[2] / "peers" / "programs" / "hq_peer.py"

# Name of a server -> the Debian package that has it, "" for those of Python.
PACKAGES = {"aioquic": "", "qh3": "", "gtlsserver": "ngtcp2-server", "caddy": "caddy"}

CADDYFILE = """{{
    admin off
    auto_https disable_redirects
    skip_install_trust
}}
https://localhost:{port} {{
    tls {certificates}/cert.pem {certificates}/priv.key
    root * {root}
    reverse_proxy /upload* 127.0.0.1:{backend}
    file_server
}}
"""

Start = Callable[[str], int]


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all of them serve."""
    folder = tmp_path_factory.mktemp("www")
    (folder / "small.txt").write_bytes(b"small content")
    (folder / "large.bin").write_bytes(bytes(range(256)) * 40_000)
    for i in range(200):
        (folder / f"file{i}.txt").write_bytes(f"content {i}".encode())
    return folder


@pytest.fixture
def tls(certificates: Path) -> TlsConfig:
    roots = load_certificates((certificates / "ca.pem").read_bytes())
    return TlsConfig(alpn_protocols=("h3",), trusted_roots=roots)


class _Backend(http.server.BaseHTTPRequestHandler):
    """Behind Caddy: says how long a body was, and its digest."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        digest = hashlib.sha256()
        left = int(self.headers["content-length"])
        while left:
            piece = self.rfile.read(min(left, 1 << 20))
            assert piece
            digest.update(piece)
            left -= len(piece)
        answer = digest.hexdigest().encode()
        self.send_response(201)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Quietly."""


@pytest.fixture
def backend() -> Iterator[int]:
    """The port of a server for uploads."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Backend) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def find_tool(name: str) -> str:
    """The path of a program. In CI a missing one fails; elsewhere the test is skipped and says why."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if path is None:
        message = f"{name} IS MISSING (Debian: {PACKAGES[name]}): NOT TESTED WITH IT"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


def free_port() -> int:
    """A port of loopback that is free for UDP, and most likely for TCP."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as udp:
        udp.bind(("127.0.0.1", 0))
        return int(udp.getsockname()[1])


def wait_for_udp(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until somebody is bound to the port."""
    deadline = time.monotonic() + 20
    while f":{port:04X} " not in Path("/proc/net/udp").read_text() + Path("/proc/net/udp6").read_text():
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < deadline, "the server does not listen"
        time.sleep(0.02)


@pytest.fixture
def start(certificates: Path, root: Path, backend: int, tmp_path: Path) -> Iterator[Start]:
    """Start one of the servers; its port."""
    processes: list[subprocess.Popen[bytes]] = []
    certificate, key = str(certificates / "cert.pem"), str(certificates / "priv.key")

    def begin(name: str) -> int:
        port = free_port()
        environment = {**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
        if name == "caddy":
            text = CADDYFILE.format(port=port, certificates=certificates, root=root, backend=backend)
            (tmp_path / "Caddyfile").write_text(text)
            command = [find_tool(name), "run", "--config", str(tmp_path / "Caddyfile")]
        elif name == "gtlsserver":
            command = [find_tool(name), "-q", "-d", str(root), "127.0.0.1", str(port), key, certificate]
        else:
            command = [sys.executable, str(PEER), name, "server", "--port", str(port), "--root", str(root)]
            command += ["--cert", certificate, "--key", key]
            environment["PYTHONPATH"] = str(Path(__file__).parents[3])
        processes.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )
        wait_for_udp(port, processes[-1])
        return port

    yield begin
    for process in processes:
        process.terminate()
        process.wait(10)
