"""Caddy as a peer: a web server with quic-go's HTTP/3, as an operating system ships it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from types import FrameType

UNSUPPORTED = 127
TESTCASES = {"handshake", "transfer", "multiconnect", "resumption", "zerortt", "http3", "versionnegotiation"}


def configuration(data: str) -> dict[str, object]:
    """Serve WWW and nothing else; what Caddy keeps goes below `data`."""
    certs = os.environ["CERTS"]
    server = {
        "listen": [f"{os.environ.get('IP', '')}:{os.environ.get('PORT') or 443}"],
        "automatic_https": {"disable": True},
        "protocols": ["h1", "h2", "h3"],
        "tls_connection_policies": [{}],
        "routes": [{"handle": [{"handler": "file_server", "root": os.environ["WWW"]}]}],
    }
    pair = {"certificate": f"{certs}/cert.pem", "key": f"{certs}/priv.key"}
    return {
        "admin": {"disabled": True, "config": {"persist": False}},
        "storage": {"module": "file_system", "root": data},
        "apps": {"http": {"servers": {"peer": server}}, "tls": {"certificates": {"load_files": [pair]}}},
    }


def main() -> int:
    if os.environ.get("ROLE") != "server" or os.environ.get("TESTCASE") not in TESTCASES:
        return UNSUPPORTED
    with tempfile.TemporaryDirectory() as data:
        variables = os.environ | {"XDG_DATA_HOME": data, "XDG_CONFIG_HOME": data}
        command = [shutil.which("caddy") or "caddy", "run", "--config", "-"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, env=variables)  # noqa: S603 - ours

        def stop(_number: int, _frame: FrameType | None) -> None:
            process.terminate()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        assert process.stdin is not None
        process.stdin.write(json.dumps(configuration(data)).encode())
        process.stdin.close()
        return process.wait()


if __name__ == "__main__":
    sys.exit(main())
