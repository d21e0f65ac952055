"""Our server and ngtcp2's HTTP/3 client: files, byte for byte, and an upload to an application."""

import hashlib
import json
import random
import subprocess
from pathlib import Path

from counterparts.server.conftest import Running, Serve, find_tool

SIZES = (5_000_000, 300_000, 1)


def run(server: Running, downloads: Path, urls: list[str], *options: str) -> None:
    """Let the client get `urls` into the folder."""
    client = subprocess.run(
        [
            find_tool("gtlsclient", "ngtcp2-client"),
            "--quiet",
            "--exit-on-all-streams-close",
            f"--download={downloads}",
            *options,
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


def test_downloads(serve: Serve, tmp_path: Path, seed: int) -> None:
    root, downloads = tmp_path / "www", tmp_path / "downloads"
    root.mkdir()
    downloads.mkdir()
    rng = random.Random(seed)
    for number, size in enumerate([*SIZES, *[1024] * 300]):
        (root / f"file-{number}").write_bytes(rng.randbytes(size))
    server = serve("--root", str(root))
    names = sorted(path.name for path in root.iterdir())
    run(server, downloads, [server.url(f"/{name}") for name in names])
    assert sorted(path.name for path in downloads.iterdir()) == names
    for name in names:
        assert (downloads / name).read_bytes() == (root / name).read_bytes(), name


def test_an_upload(serve: Serve, tmp_path: Path, seed: int) -> None:
    content = random.Random(seed).randbytes(5_000_000)
    (tmp_path / "content").write_bytes(content)
    server = serve("--app", "sites:starlette_site")
    data = ("--http-method=POST", f"--data={tmp_path / 'content'}")
    run(server, tmp_path, [server.url("/upload")], *data)
    told = json.loads((tmp_path / "upload").read_text())
    assert told == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
