import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from endpoint.tls.certificates import make_self_signed

COMMAND = [sys.executable, "-m", "endpoint.cli.main"]


@dataclass
class Files:
    """PEM files of a server for localhost, and the directory that it serves."""

    certificate: Path
    key: Path
    root: Path


@dataclass
class Running:
    """A server process and the port that it told."""

    process: "subprocess.Popen[str]"
    port: int


StartServer = Callable[..., Running]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("server")
    certificate, key = make_self_signed(["localhost", "127.0.0.1", "::1"], time.time())
    (folder / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    root = folder / "www"
    root.mkdir()
    (root / "small").write_bytes(b"small content")
    (root / "large").write_bytes(bytes(range(256)) * 12288)  # 3 MiB
    for i in range(300):
        (root / f"file{i}").write_bytes(f"content {i}".encode())
    return Files(folder / "cert.pem", folder / "key.pem", root)


@pytest.fixture(scope="session")
def start_server(files: Files) -> Iterator[StartServer]:
    processes: list[subprocess.Popen[str]] = []

    def start(*options: str) -> Running:
        certificate = ["--cert", str(files.certificate), "--key", str(files.key), "--root", str(files.root)]
        process = subprocess.Popen(
            [*COMMAND, "server", "--port", "0", *certificate, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"port (\d+)", line)
        assert found is not None, line
        return Running(process, int(found[1]))

    yield start
    for process in processes:
        process.terminate()
        process.communicate(timeout=10)


@pytest.fixture(scope="session")
def server(start_server: StartServer) -> Running:
    return start_server()
