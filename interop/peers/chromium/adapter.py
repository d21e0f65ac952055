"""Chromium as a peer: a page of it fetches the files over HTTP/3, and hands them over its debugging pipe."""

import base64
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

UNSUPPORTED = 127
TESTCASES = {"handshake", "transfer", "retry", "http3"}
# A browser that has to hold back more than a thousand requests closes the connection.
FETCH = """
(async urls => {
    const contents = [];
    let next = 0;
    const download = async url => {
        const answer = await fetch(url, {cache: "no-store"});
        if (!answer.ok) throw new Error(url + ": " + answer.status);
        const content = await answer.blob();
        return new Promise((resolve, reject) => {
            const reader = new FileReader();
            reader.onload = () => resolve(reader.result);
            reader.onerror = () => reject(reader.error);
            reader.readAsDataURL(content);
        });
    };
    const work = async () => {
        while (next < urls.length) {
            const index = next++;
            contents[index] = await download(urls[index]);
        }
    };
    await Promise.all(Array.from({length: 100}, work));
    return contents;
})(%s)
"""


class Browser:
    """The DevTools protocol over a pipe: messages of JSON, each with a zero byte at its end."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to = os.fdopen(to_browser, "wb", buffering=0)
        self._from = os.fdopen(from_browser, "rb", buffering=0)
        self._received = bytearray()
        self._number = 0
        # Why requests failed; the page is only told that they did.
        self.failures: set[str] = set()

    def call(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        """The result of a method. Raises RuntimeError for an error, EOFError if the browser has ended."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        self._to.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = json.loads(self._next())
            if answer.get("method") == "Network.loadingFailed":
                self.failures.add(answer["params"]["errorText"])
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(answer["error"]["message"])
                return answer["result"]

    def _next(self) -> bytes:
        while (end := self._received.find(0)) < 0:
            data = self._from.read(1 << 20)
            if not data:
                raise EOFError("the browser has ended")
            self._received += data
        message = bytes(self._received[:end])
        del self._received[: end + 1]
        return message


@contextmanager
def browser(*options: str) -> Iterator[Browser]:
    """A new one with a profile of its own."""
    commands, to_browser = os.pipe()
    from_browser, answers = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--no-first-run",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
            *options,
            "about:blank",
        ]
        # The browser reads commands from descriptor 3 and writes answers to 4.
        process = subprocess.Popen(  # noqa: S603 - the words are ours
            ["/bin/sh", "-c", f'exec "$@" 3<&{commands} 4>&{answers}', "sh", *command],
            pass_fds=(commands, answers),
            # What it complains about is the desktop that it doesn't find.
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        try:
            yield Browser(to_browser, from_browser)
        finally:
            process.terminate()
            process.wait()


def key_of(certificate: Path) -> str:
    """The SHA-256 of a certificate's public key in base64: what the browser is to trust."""
    key = x509.load_pem_x509_certificates(certificate.read_bytes())[0].public_key()
    encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(encoded).digest()).decode()


def download(urls: list[str]) -> None:
    """Raises RuntimeError if the page could not have them."""
    where = urlsplit(urls[0])
    port = where.port or 443
    # It would try every address of a name, the one of IPv6 first, even if the server has only another.
    (_, _, _, _, address), *_ = socket.getaddrinfo(where.hostname, port, type=socket.SOCK_DGRAM)
    target = f"[{address[0]}]" if ":" in str(address[0]) else address[0]
    options = [
        f"--host-resolver-rules=MAP {where.hostname} {target}",
        f"--origin-to-force-quic-on={where.hostname}:{port}",
        f"--ignore-certificate-errors-spki-list={key_of(Path(os.environ['CERTS']) / 'cert.pem')}",
        # The page is about:blank, and so of another origin than the files.
        "--disable-web-security",
    ]
    if os.environ.get("SSLKEYLOGFILE"):
        options.append(f"--ssl-key-log-file={os.environ['SSLKEYLOGFILE']}")
    with browser(*options) as chromium:
        page = chromium.call("Target.createTarget", url="about:blank")["targetId"]
        session = chromium.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        chromium.call("Network.enable", session)
        outcome = chromium.call(
            "Runtime.evaluate",
            session,
            expression=FETCH % json.dumps(urls),
            awaitPromise=True,
            returnByValue=True,
        )
        if "exceptionDetails" in outcome:
            reasons = ", ".join(sorted(chromium.failures))
            raise RuntimeError(f"{outcome['exceptionDetails']['exception']['description']}\n{reasons}")
        for url, content in zip(urls, outcome["result"]["value"], strict=True):
            name = urlsplit(url).path.removeprefix("/")
            _, _, encoded = content.partition(",")
            (Path(os.environ["DOWNLOADS"]) / name).write_bytes(base64.b64decode(encoded))
        chromium.call("Browser.close")


def main() -> int:
    if os.environ.get("ROLE") != "client" or os.environ.get("TESTCASE") not in TESTCASES:
        return UNSUPPORTED
    if shutil.which("chromium") is None:
        print("chromium is not installed", file=sys.stderr)
        return 1
    try:
        download(os.environ["REQUESTS"].split())
    except (EOFError, OSError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
