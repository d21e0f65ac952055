"""Our HTTP/3 server and the clients of aioquic and qh3 over real sockets; files are compared byte for byte.

More counterparts, which take longer: `make counterparts`.
"""

import asyncio
import os
import random
import sys
from pathlib import Path

import pytest

from endpoint.http.server import H3Server
from endpoint.http.static_server import StaticServer
from endpoint.io.files import Directory
from endpoint.io.server import open_server
from endpoint.testing.certificates import Chain
from endpoint.tls.config import TlsConfig

pytestmark = pytest.mark.peers

SIZES = (1_000_000, 300_000, 1, 0)
DEADLINE = 20.0


@pytest.mark.parametrize("stack", ["aioquic", "qh3"])
def test_downloads(chain: Chain, tmp_path: Path, seed: int, stack: str) -> None:
    """All at once on one connection: some files of different sizes, and many small ones."""
    root, downloads = tmp_path / "www", tmp_path / "downloads"
    root.mkdir()
    downloads.mkdir()
    rng = random.Random(seed)
    for number, size in enumerate([*SIZES, *[1024] * 80]):
        (root / f"file-{number}").write_bytes(rng.randbytes(size))
    names = sorted(path.name for path in root.iterdir())
    tls = TlsConfig(
        alpn_protocols=("h3",), certificate_chain=chain.certificates, private_key=chain.private_key
    )

    async def transfer() -> None:
        h3 = H3Server(StaticServer(Directory(root)).answer)
        async with asyncio.timeout(DEADLINE), open_server("127.0.0.1", 0, application=h3, tls=tls) as driver:
            h3.start(driver)
            port = driver.udp.address[1]
            requests = " ".join(f"https://127.0.0.1:{port}/{name}" for name in names)
            client = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "interop.peers.python.adapter", stack),
                env={**os.environ, "TESTCASE": "http3", "REQUESTS": requests, "DOWNLOADS": str(downloads)},
                stderr=asyncio.subprocess.PIPE,
            )
            _, output = await client.communicate()
            assert client.returncode == 0, output.decode()

    asyncio.run(transfer())
    assert sorted(path.name for path in downloads.iterdir()) == names
    for name in names:
        assert (downloads / name).read_bytes() == (root / name).read_bytes(), name
