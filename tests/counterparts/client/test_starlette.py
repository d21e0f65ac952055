"""httpx through our transport, a Starlette application under our ASGI adapter: 100 MB either way."""

import asyncio
import hashlib
import re
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from endpoint.http.httpx_transport import Http3Transport

MEGABYTE = bytes(range(256)) * 4096
# What client and server may grow by while 100 MB pass: windows and pieces, not the body.
GROWTH_LIMIT = 64 * 1024 * 1024

APP = """
import hashlib
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

MEGABYTE = bytes(range(256)) * 4096

async def upload(request):
    digest = hashlib.sha256()
    async for piece in request.stream():
        digest.update(piece)
    return PlainTextResponse(digest.hexdigest())

async def download(request):
    async def pieces():
        for _ in range(int(request.path_params["count"])):
            yield MEGABYTE
    return StreamingResponse(pieces())

app = Starlette(routes=[Route("/upload", upload, methods=["PUT"]), Route("/download/{count}", download)])
"""


@pytest.fixture
def server(certificates: Path, tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Process id and port."""
    (tmp_path / "shop.py").write_text(APP)
    command = [sys.executable, "-m", "endpoint.cli.main", "server", "--port", "0", "--app", "shop:app"]
    command += ["--cert", str(certificates / "cert.pem"), "--key", str(certificates / "priv.key")]
    process = subprocess.Popen([*command, "--alpn", "h3"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"port (\d+)", process.stdout.readline())
        assert found is not None
        yield process.pid, int(found[1])
    finally:
        process.terminate()
        process.communicate(timeout=10)


def peak(pid: int) -> int:
    """The most memory that a process ever had, bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def own_peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def digest_of(count: int) -> str:
    digest = hashlib.sha256()
    for _ in range(count):
        digest.update(MEGABYTE)
    return digest.hexdigest()


def test_large_bodies_both_ways(server: tuple[int, int], certificates: Path) -> None:
    pid, port = server

    async def body(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield MEGABYTE

    async def transfer(client: httpx.AsyncClient, count: int) -> None:
        expected = digest_of(count)
        assert (await client.put("/upload", content=body(count))).text == expected
        digest = hashlib.sha256()
        async with client.stream("GET", f"/download/{count}") as response:
            assert response.http_version == "HTTP/3"
            async for piece in response.aiter_raw():
                digest.update(piece)
        assert digest.hexdigest() == expected

    async def go() -> None:
        transport = Http3Transport(verify=certificates / "ca.pem", fallback=False)
        base = f"https://localhost:{port}"
        async with httpx.AsyncClient(transport=transport, base_url=base, timeout=30) as client:
            await transfer(client, 5)
            before = peak(pid), own_peak()
            await transfer(client, 100)
        assert peak(pid) - before[0] < GROWTH_LIMIT
        assert own_peak() - before[1] < GROWTH_LIMIT

    asyncio.run(asyncio.wait_for(go(), 100))
