"""ngtcp2's example programs as a peer. What the variables ask for becomes their options."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

UNSUPPORTED = 127
PREFERRED_PORT = 4443
# Where a distribution puts a server's program is not always on a user's PATH.
SEARCH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"

CHACHA20 = "--ciphers=NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+CHACHA20-POLY1305"
# What a value of TESTCASE adds to the options.
CLIENT = {
    "handshake": (),
    "transfer": (),
    "chacha20": (CHACHA20,),
    "multiconnect": (),
    "retry": (),
    "resumption": ("--disable-early-data",),
    "zerortt": (),
    "http3": (),
    "keyupdate": ("--key-update=100ms",),
    "ecn": (),
    "versionnegotiation": ("--version=0xaaaaaaaa", "--preferred-versions=v1"),
}
SERVER = {
    "handshake": (),
    "transfer": (),
    "chacha20": (CHACHA20,),
    "multiconnect": (),
    "retry": ("--validate-addr",),
    "resumption": (),
    "zerortt": (),
    "http3": (),
    "ecn": (),
    "connectionmigration": (),
    "versionnegotiation": (),
}
# Giving up is left to the matrix; probes for a larger MTU would count as the client's data in "zerortt".
COMMON = (
    "--quiet",
    "--no-quic-dump",
    "--no-http-dump",
    "--timeout=120s",
    "--handshake-timeout=240s",
    "--no-pmtud",
)


def serve(testcase: str) -> int:
    """Become the server."""
    certs = Path(os.environ["CERTS"])
    options = [*COMMON, *SERVER[testcase], f"--htdocs={os.environ['WWW']}", *qlog()]
    if testcase == "connectionmigration":
        options += preferred_addresses()
    address = (os.environ.get("IP") or "*", os.environ.get("PORT") or "443")
    command = ["gtlsserver", *options, *address, str(certs / "priv.key"), str(certs / "cert.pem")]
    os.execv(find("gtlsserver"), command)  # noqa: S606 - no shell is wanted


def preferred_addresses() -> list[str]:
    """The server's own addresses under its names in the matrix, with another port."""
    (_, _, _, _, four), *_ = socket.getaddrinfo("server4", None, socket.AF_INET)
    (_, _, _, _, six), *_ = socket.getaddrinfo("server6", None, socket.AF_INET6)
    return [
        f"--preferred-ipv4-addr={four[0]}:{PREFERRED_PORT}",
        f"--preferred-ipv6-addr=[{six[0]}]:{PREFERRED_PORT}",
    ]


def download(testcase: str) -> int:
    """Run the client as often as the case has connections; the status of the first that fails, or 0."""
    urls = os.environ["REQUESTS"].split()
    with tempfile.TemporaryDirectory() as kept:
        options: list[str] = []
        groups = [urls]
        if testcase == "multiconnect":
            groups = [[url] for url in urls]
        elif testcase in {"resumption", "zerortt"}:
            groups = [urls[:1], urls[1:]]
            options = [f"--session-file={kept}/session", f"--tp-file={kept}/parameters"]
        for group in groups:
            status = connect(testcase, options, group)
            if status:
                return status
    return 0


def connect(testcase: str, options: list[str], urls: list[str]) -> int:
    """Download these over one connection; the exit status."""
    where = urlsplit(urls[0])
    command = [
        find("gtlsclient"),
        *COMMON,
        *CLIENT[testcase],
        *options,
        *qlog(),
        f"--download={os.environ['DOWNLOADS']}",
        "--exit-on-all-streams-close",
        str(where.hostname),
        str(where.port or 443),
        *urls,
    ]
    return subprocess.run(command, check=False).returncode  # noqa: S603 - options are ours


def qlog() -> list[str]:
    folder = os.environ.get("QLOGDIR")
    return [f"--qlog-dir={folder}"] if folder else []


def find(program: str) -> str:
    found = shutil.which(program, path=SEARCH)
    if found is None:
        sys.exit(f"{program} is not installed")
    return found


def main() -> int:
    testcase, is_server = os.environ.get("TESTCASE", ""), os.environ.get("ROLE") == "server"
    if testcase not in (SERVER if is_server else CLIENT):
        return UNSUPPORTED
    return serve(testcase) if is_server else download(testcase)


if __name__ == "__main__":
    sys.exit(main())
