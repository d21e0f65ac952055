"""Our HTTP/3 client and command against the servers of other stacks, over real sockets."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from endpoint.cli.main import main
from endpoint.http.client import connect
from endpoint.http.httpx_transport import Http3Transport
from endpoint.tls.config import TlsConfig

SERVERS = ["aioquic", "qh3", "gtlsserver", "caddy"]

# Requests at the very beginning of a connection. qh3 now and then leaves those of the third packet without
# an answer, though it has acknowledged it: all streams of that packet, and no others.
MANY = {"qh3": 60}

on_all = pytest.mark.parametrize("name", SERVERS)


@on_all
def test_requests(start: Any, tls: TlsConfig, root: Path, name: str) -> None:
    port = start(name)

    async def go() -> None:
        async with connect("localhost", port, tls=tls) as client:
            response = await client.request("GET", "/large.bin")
            assert response.status == 200
            assert await response.read() == (root / "large.bin").read_bytes()
            assert (await client.request("GET", "/missing.txt")).status == 404

            async def get(number: int) -> bytes:
                return await (await client.request("GET", f"/file{number}.txt")).read()

            answers = await asyncio.gather(*map(get, range(200)))
            assert answers == [f"content {i}".encode() for i in range(200)]
            # A download that is given up does not harm the connection.
            async with await client.request("GET", "/large.bin") as response:
                await response.read_some(1000)
            assert await (await client.request("GET", "/small.txt")).read() == b"small content"

    asyncio.run(asyncio.wait_for(go(), 60))


@on_all
def test_downloads_by_the_command(
    start: Any, certificates: Path, root: Path, tmp_path: Path, name: str
) -> None:
    port = start(name)
    names = ["large.bin", "small.txt", *(f"file{i}.txt" for i in range(MANY.get(name, 150)))]
    urls = [f"https://localhost:{port}/{each}" for each in names]
    folder = tmp_path / "downloads"
    assert main(["client", "-q", *urls, "-o", f"{folder}/", "--ca", str(certificates / "ca.pem")]) == 0
    for each in names:
        assert (folder / each).read_bytes() == (root / each).read_bytes()


@pytest.mark.parametrize("name", ["gtlsserver", "caddy"])
def test_head(start: Any, tls: TlsConfig, name: str) -> None:
    port = start(name)

    async def go() -> None:
        async with connect("localhost", port, tls=tls) as client:
            response = await client.request("HEAD", "/large.bin")
            assert (response.status, await response.read()) == (200, b"")
            assert response.header("content-length") == "10240000"

    asyncio.run(asyncio.wait_for(go(), 60))


def test_an_upload_through_caddy(start: Any, tls: TlsConfig) -> None:
    port = start("caddy")
    content = bytes(range(251)) * 40_000

    async def pieces() -> AsyncIterator[bytes]:
        for begin in range(0, len(content), 100_000):
            yield content[begin : begin + 100_000]

    async def go() -> None:
        async with connect("localhost", port, tls=tls) as client:
            length = ("content-length", str(len(content)))
            for body in (content, pieces()):
                response = await client.request("PUT", "/upload", [length], body)
                assert response.status == 201
                assert await response.read() == hashlib.sha256(content).hexdigest().encode()

    asyncio.run(asyncio.wait_for(go(), 60))


def test_httpx_with_caddy_learns_of_http3(start: Any, certificates: Path, root: Path) -> None:
    """It begins with HTTP/2, is told about HTTP/3, and goes on with that."""
    port = start("caddy")

    async def go() -> None:
        transport = Http3Transport(verify=certificates / "ca.pem", prefer="alt-svc")
        async with httpx.AsyncClient(transport=transport, base_url=f"https://localhost:{port}") as client:
            first = await client.get("/small.txt")
            assert (first.http_version, first.text) == ("HTTP/2", "small content")
            second = await client.get("/large.bin")
            assert (second.http_version, second.content) == ("HTTP/3", (root / "large.bin").read_bytes())

    asyncio.run(asyncio.wait_for(go(), 60))
