"""Headless Chromium loads a page with many images over HTTP/3 from our server."""

import base64
import hashlib
import json
import subprocess
import time
from pathlib import Path

from counterparts.server.conftest import Serve, find_tool
from counterparts.server.sites import IMAGES
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from endpoint.testing.certificates import Chain

DEADLINE = 60.0


def test_a_page_with_a_hundred_images(serve: Serve, chain: Chain, tmp_path: Path) -> None:
    report, qlogs = tmp_path / "report.json", tmp_path / "qlog"
    site = serve("--app", "sites:starlette_site", "--qlog-dir", str(qlogs), REPORT=str(report))
    public = chain.private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    command = [
        find_tool("chromium", "chromium"),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-quic",
        f"--origin-to-force-quic-on=localhost:{site.port}",
        f"--ignore-certificate-errors-spki-list={base64.b64encode(hashlib.sha256(public).digest()).decode()}",
        site.url("/page"),
    ]
    with (tmp_path / "chromium.log").open("wb") as log:
        browser = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + DEADLINE
        while not report.exists():
            assert browser.poll() is None
            assert time.monotonic() < deadline, (tmp_path / "chromium.log").read_text()
            time.sleep(0.1)
    finally:
        browser.terminate()
        browser.wait(10)
    assert json.loads(report.read_text()) == {"shown": IMAGES, "protocols": {"h3": IMAGES}}
    site.process.terminate()
    assert site.process.wait(10) == 0
    chosen = [
        event["data"]["chosen_alpn"]["string_value"]
        for file in qlogs.iterdir()
        for event in map(json.loads, file.read_text().replace("\x1e", "").splitlines()[1:])
        if event["name"].endswith(":alpn_information")
    ]
    assert set(chosen) == {"h3"}
