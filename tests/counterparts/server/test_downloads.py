"""Our server and the HTTP/3 clients of aioquic, qh3 and ngtcp2: files, byte for byte."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from counterparts.server.conftest import Running, Serve, find_tool

SIZES = (5_000_000, 300_000, 1, 0)


@pytest.fixture
def root(tmp_path: Path, seed: int) -> Path:
    folder = tmp_path / "www"
    folder.mkdir()
    rng = random.Random(seed)
    for size in SIZES:
        (folder / f"file-{size}").write_bytes(rng.randbytes(size))
    for number in range(200):
        (folder / f"small-{number}").write_bytes(rng.randbytes(1024))
    return folder


@pytest.fixture
def server(serve: Serve, root: Path) -> Running:
    return serve("--root", str(root))


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    folder = tmp_path / "downloads"
    folder.mkdir()
    return folder


def check(root: Path, downloads: Path) -> None:
    names = sorted(path.name for path in root.iterdir())
    assert sorted(path.name for path in downloads.iterdir()) == names
    for name in names:
        assert (downloads / name).read_bytes() == (root / name).read_bytes(), name


@pytest.mark.parametrize("stack", ["aioquic", "qh3"])
def test_aioquic_and_qh3(server: Running, root: Path, downloads: Path, stack: str) -> None:
    urls = " ".join(server.url(f"/{path.name}") for path in root.iterdir())
    client = subprocess.run(
        [sys.executable, "-m", "interop.peers.python.adapter", stack],
        env={**os.environ, "TESTCASE": "http3", "REQUESTS": urls, "DOWNLOADS": str(downloads)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert client.returncode == 0, client.stderr
    check(root, downloads)


def test_ngtcp2(server: Running, root: Path, downloads: Path) -> None:
    # What has no content makes no file there.
    (root / "file-0").unlink()
    urls = [server.url(f"/{path.name}") for path in root.iterdir()]
    client = subprocess.run(
        [
            find_tool("gtlsclient", "ngtcp2-client"),
            "--quiet",
            "--exit-on-all-streams-close",
            f"--download={downloads}",
            "localhost",
            str(server.port),
            *urls,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert client.returncode == 0, client.stderr
    check(root, downloads)
