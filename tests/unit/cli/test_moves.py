"""The options that move connections; that they do move is tested in `unit/io` and `sim`."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from endpoint.cli.options import numeric_address, seconds

CLIENT = [sys.executable, "-m", "endpoint.cli.main", "client", "--insecure"]
SERVER = [sys.executable, "-m", "endpoint.cli.main", "server"]


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_preferred_addresses_and_a_migration(
    start_server: Any, files: Any, tmp_path: Path, host: str
) -> None:
    port = free_port()
    running = start_server("--preferred-address", f"127.0.0.1:{port}", "--preferred-address", f"[::1]:{port}")
    url = f"https://{host}:{running.port}/large"
    done = subprocess.run(
        [*CLIENT, url, "-o", str(tmp_path), "--migrate", "0.02"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "large").read_bytes() == (files.root / "large").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["127.0.0.1:1", "127.0.0.1:2"], "of each family"),
        (["127.0.0.1:0"], "needs a port"),
        (["localhost:1"], "is not an address"),
        (["127.0.0.1"], "is not an address"),
        (["::1:443"], "is not an address"),
        (["[127.0.0.1]:443"], "is not an address"),
        (["127.0.0.1:65536"], "is not a number"),
    ],
)
def test_preferred_addresses_that_are_none(options: list[str], message: str) -> None:
    given = [part for option in options for part in ("--preferred-address", option)]
    done = subprocess.run(
        [*SERVER, "--port", "0", *given], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode != 0
    assert message in done.stderr


def test_addresses() -> None:
    assert numeric_address("192.0.2.1:443") == ("192.0.2.1", 443)
    assert numeric_address("[2001:DB8::0:1]:443") == ("2001:db8::1", 443)


def test_seconds() -> None:
    assert seconds("1.5") == 1.5
    for text in ("", "-1", "inf", "nan", "soon"):
        with pytest.raises(Exception, match="not a number of seconds"):
            seconds(text)
