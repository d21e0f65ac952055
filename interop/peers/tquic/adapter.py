"""tquic's tools as a peer. What the variables ask for becomes their options."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

UNSUPPORTED = 127
CLIENT = {"handshake", "transfer", "multiconnect", "retry", "resumption", "zerortt", "http3"}
# Ciphers and versions are the client's to choose.
SERVER = CLIENT | {"chacha20", "versionnegotiation"}
# As many requests at once as any server allows streams, at least in the matrix.
AT_ONCE = 100
# In milliseconds, whatever the help says. Giving up is left to the matrix.
LIMITS = ("--idle-timeout=120000", "--handshake-timeout=240000")
SUCCESSES = re.compile(r"^requests: sent \d+, finish \d+, success (\d+)$", re.MULTILINE)


def serve(folder: Path, testcase: str) -> None:
    """Become the server."""
    address = os.environ.get("IP") or "::"
    host = f"[{address}]" if ":" in address else address
    certs = os.environ["CERTS"]
    command = [
        str(folder / "tquic_server"),
        f"--listen={host}:{os.environ.get('PORT') or 443}",
        f"--cert={certs}/cert.pem",
        f"--key={certs}/priv.key",
        f"--root={os.environ['WWW']}",
        *LIMITS,
        *(["--enable-retry"] if testcase == "retry" else []),
        *logs(),
    ]
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


def download(folder: Path, testcase: str) -> int:
    """Run the client as often as the case has connections; 1 as soon as one does not get its files."""
    urls = os.environ["REQUESTS"].split()
    with tempfile.TemporaryDirectory() as kept:
        options: list[str] = []
        groups = [urls]
        if testcase == "multiconnect":
            groups = [[url] for url in urls]
        elif testcase in {"resumption", "zerortt"}:
            groups = [urls[:1], urls[1:]]
            options = [f"--session-file={kept}/session"]
            if testcase == "zerortt":
                options.append("--enable-early-data")
        return int(not all(connect(folder, options, group) for group in groups))


def connect(folder: Path, options: list[str], urls: list[str]) -> bool:
    """Whether it says that it has downloaded these over one connection; its status is always 0."""
    command = [
        str(folder / "tquic_client"),
        f"--alpn={os.environ.get('ALPN') or 'hq-interop'}",
        f"--dump-dir={os.environ['DOWNLOADS']}",
        f"--max-concurrent-requests={min(AT_ONCE, len(urls))}",
        f"--max-requests-per-conn={len(urls)}",
        f"--total-requests-per-thread={len(urls)}",
        "--connection-failure-threshold=1",
        *LIMITS,
        *options,
        *logs(),
        *urls,
    ]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)  # noqa: S603 - options are ours
    print(done.stdout, end="", flush=True)
    found = SUCCESSES.search(done.stdout)
    return found is not None and int(found[1]) == len(urls)


def logs() -> list[str]:
    names = {"keylog-file": "SSLKEYLOGFILE", "qlog-dir": "QLOGDIR"}
    return [f"--{option}={os.environ[name]}" for option, name in names.items() if os.environ.get(name)]


def main() -> int:
    folder, testcase = Path(sys.argv[1]), os.environ.get("TESTCASE", "")
    is_server = os.environ.get("ROLE") == "server"
    if testcase not in (SERVER if is_server else CLIENT):
        return UNSUPPORTED
    if is_server:
        serve(folder, testcase)
    return download(folder, testcase)


if __name__ == "__main__":
    sys.exit(main())
