"""A real transfer, as `make demo` runs it: two `interquic` processes, loopback, a file that is compared.

    python examples/demo.py [MEGABYTES]

Makes a certificate authority and a server certificate, starts `interquic server`, downloads a random file
with `interquic client`, compares SHA-256, and removes everything again. Exit status 1 if anything differs.
"""

import datetime as dt
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from endpoint.testing.certificates import make_chain

DEFAULT_MEGABYTES = 100
CHUNK = 1_000_000


def make_file(path: Path, megabytes: int) -> str:
    """Write random bytes; the SHA-256 of them."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(megabytes):
            chunk = os.urandom(CHUNK)
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def start_server(work: Path) -> tuple["subprocess.Popen[str]", int]:
    """The server's process and its port, once it listens."""
    command = [sys.executable, "-m", "endpoint.cli.main", "server", "--host", "127.0.0.1", "--port", "0"]
    command += [
        "--cert",
        str(work / "cert.pem"),
        "--key",
        str(work / "priv.key"),
        "--root",
        str(work / "www"),
    ]
    print("$ interquic", *command[3:])
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert server.stdout is not None
    for line in server.stdout:
        print("  server:", line.rstrip())
        if line.startswith("serving "):
            return server, int(line.rpartition(" port ")[2].split()[0])
    raise SystemExit("the server did not start")


def download(work: Path, url: str) -> float:
    """Seconds that a client process takes for `url`, its start included."""
    command = [sys.executable, "-m", "endpoint.cli.main", "client", url, "-o", str(work / "downloads")]
    command += ["--ca", str(work / "ca.pem"), "--keylog", str(work / "keys.log")]
    print("$ interquic", *command[3:])
    started = time.monotonic()
    subprocess.run(command, check=True)
    return time.monotonic() - started


def run(work: Path, megabytes: int) -> bool:
    """The whole demonstration in an empty directory; whether the copy is the original."""
    (work / "www").mkdir()
    (work / "downloads").mkdir()
    make_chain(dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)).write(work)
    sent = make_file(work / "www" / "random.bin", megabytes)
    server, port = start_server(work)
    try:
        seconds = download(work, f"https://127.0.0.1:{port}/random.bin")
    finally:
        server.terminate()
        server.wait(10)
    rate = megabytes * 8 / seconds
    print(f"\n{megabytes} MB in {seconds:.2f} s, start of the client included: {rate:.0f} Mbit/s")
    print("key log:")
    for line in (work / "keys.log").read_text().splitlines():
        print(f"  {line[:72]}...")
    received = sha256(work / "downloads" / "random.bin")
    print(f"sha256 sent      {sent}\nsha256 received  {received}")
    print("equal" if sent == received else "DIFFERENT")
    return sent == received and server.returncode == 0


def main() -> int:
    """Exit status of the demonstration."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_MEGABYTES
    with tempfile.TemporaryDirectory(prefix="interquic-demo-") as directory:
        return 0 if run(Path(directory), megabytes) else 1


if __name__ == "__main__":
    sys.exit(main())
