"""Our server and libcurl (ngtcp2, nghttp3) in HTTP/3-only mode: files, and applications of two frameworks."""

import hashlib
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from counterparts.server.conftest import Running, Serve
from counterparts.server.sites import BLOCK
from curl_cffi import CurlHttpVersion, requests

MIB = 1 << 20


@pytest.fixture
def curl(certificates: Path) -> Iterator[Any]:
    """A client that speaks nothing but HTTP/3 and keeps its connections."""
    with requests.Session(
        http_version=CurlHttpVersion.V3ONLY, verify=cast("Any", str(certificates / "ca.pem")), timeout=60
    ) as session:
        yield session


@pytest.fixture
def site(serve: Serve) -> Running:
    return serve("--app", "sites:starlette_site")


def test_files(serve: Serve, curl: Any, tmp_path: Path, seed: int) -> None:
    content = random.Random(seed).randbytes(3 * MIB)
    (tmp_path / "file.bin").write_bytes(content)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "index.html").write_text("<p>index")
    server = serve("--root", str(tmp_path))
    answer = curl.get(server.url("/file.bin"))
    assert (answer.status_code, answer.content == content) == (200, True)
    assert answer.http_version == CurlHttpVersion.V3
    head = curl.head(server.url("/file.bin"))
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(content)), b"")
    part = curl.get(server.url("/file.bin"), headers={"range": "bytes=1000-1999"})
    assert (part.status_code, part.content) == (206, content[1000:2000])
    fresh = curl.get(server.url("/file.bin"), headers={"if-none-match": answer.headers["etag"]})
    assert (fresh.status_code, fresh.content) == (304, b"")
    assert curl.get(server.url("/folder")).text == "<p>index", "by a redirect"
    assert curl.get(server.url("/missing")).status_code == 404
    assert curl.post(server.url("/file.bin"), data=b"x" * MIB).status_code == 405


def test_a_starlette_application(site: Running, curl: Any) -> None:
    assert curl.get(site.url("/?name=caf%C3%A9")).text == "hello, café, over HTTP/3"
    assert curl.get(site.url("/old")).text == "hello, world, over HTTP/3"
    assert curl.get(site.url("/static/sites.py")).text.startswith('"""Applications')
    echoed = curl.post(site.url("/echo"), data=b"\0\1\2" * 1000, headers={"x-one": "1"})
    assert (echoed.content, echoed.headers["x-one"]) == (b"\0\1\2" * 1000, "1")
    assert curl.get(site.url("/nowhere")).status_code == 404
    assert curl.post(site.url("/")).status_code == 405
    assert curl.get(site.url("/fail")).status_code == 500
    assert curl.get(site.url("/background")).text == "done"
    assert curl.get(site.url("/log")).json() == ["started", "background"]


def test_a_fastapi_application(serve: Serve, curl: Any) -> None:
    api = serve("--app", "sites:fastapi_site")
    assert curl.get(api.url("/items/3?q=x")).json() == {"number": 3, "q": "x"}
    assert curl.get(api.url("/items/x")).status_code == 422
    added = curl.post(api.url("/items"), json={"name": "pen", "price": 1.5})
    assert added.json() == {"name": "PEN", "price": 3.0}
    assert "/items/{number}" in curl.get(api.url("/openapi.json")).json()["paths"]


def test_a_hundred_megabytes_each_way_in_flat_memory(site: Running, curl: Any) -> None:
    curl.get(site.url("/"))
    before = site.peak_memory
    content = BLOCK * (100 * MIB // len(BLOCK))
    digest = hashlib.sha256(content).hexdigest()
    told = curl.post(site.url("/upload"), data=content).json()
    assert told == {"size": len(content), "sha256": digest}
    received = hashlib.sha256()

    def take(data: bytes) -> int:
        received.update(data)
        return len(data)

    curl.get(site.url(f"/download/{len(content) // len(BLOCK)}"), content_callback=take)
    assert received.hexdigest() == digest
    assert site.peak_memory - before < 40 * MIB


def test_clients_that_go(site: Running, curl: Any) -> None:
    """In the middle of a download, and while the application waits for it."""
    with pytest.raises(requests.exceptions.Timeout):
        curl.get(site.url("/wait"), timeout=0.3)

    def enough(_data: bytes) -> int:
        raise EOFError

    with pytest.raises(EOFError):
        curl.get(site.url("/download/100000"), content_callback=enough)
    wanted = {"started", "gone", "download over"}
    deadline = time.monotonic() + 10
    while (seen := set(curl.get(site.url("/log")).json())) != wanted:
        assert time.monotonic() < deadline, seen
        time.sleep(0.05)
