"""`interquic client` with the habits of curl, against a small HTTP/3 site."""

import argparse
import array
import asyncio
import fcntl
import io
import os
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.http.site import PIECE, Site, running

from endpoint.cli.client import add_arguments
from endpoint.cli.curl_request import CurlRequest, upload_url
from endpoint.cli.errors import CommandError
from endpoint.cli.main import main
from endpoint.tls.certificates import load_certificates, load_private_key
from endpoint.tls.config import TlsConfig

CLIENT = [sys.executable, "-m", "endpoint.cli.main", "client"]


@pytest.fixture(scope="module")
def site(files: Any) -> Iterator[Site]:
    """A site in a thread of its own: the command has the main thread."""
    tls = TlsConfig(
        alpn_protocols=("h3",),
        certificate_chain=load_certificates(files.certificate.read_bytes()),
        private_key=load_private_key(files.key.read_bytes()),
    )
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    sites: list[Site] = []
    over = asyncio.Event()

    async def serve() -> None:
        async with running(tls, early_data=True) as running_site:
            sites.append(running_site)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    yield sites[0]
    loop.call_soon_threadsafe(over.set)
    thread.join(10)
    loop.close()


class Curl:
    """Runs the command; `out` and `err` are what it wrote last."""

    def __init__(self, site: Site, files: Any, capfdbinary: "pytest.CaptureFixture[bytes]") -> None:
        self._site, self._files, self._capture = site, files, capfdbinary
        self.out, self.err = b"", ""

    def __call__(self, path: str, *options: str) -> int:
        url = f"https://localhost:{self._site.port}{path}"
        status = main(["client", url, "--ca", str(self._files.certificate), *options])
        said = self._capture.readouterr()
        self.out, self.err = said.out, said.err.decode()
        return status

    @property
    def last(self) -> dict[bytes, bytes]:
        """The header of the last request that the server saw."""
        return dict(self._site.requests[-1])


@pytest.fixture
def curl(site: Site, files: Any, capfdbinary: "pytest.CaptureFixture[bytes]") -> Curl:
    return Curl(site, files, capfdbinary)


def test_the_answer_goes_to_standard_output(curl: Curl) -> None:
    assert curl("/hello?a=1") == 0
    assert (curl.out, curl.err) == (b"the answer", "")
    assert curl.last[b":path"] == b"/hello?a=1"
    assert curl.last[b"accept"] == b"*/*"
    assert curl.last[b"user-agent"].startswith(b"interquic/")


def test_or_to_a_file(curl: Curl, tmp_path: Path) -> None:
    assert curl("/bytes/3000000", "-o", str(tmp_path / "file")) == 0
    assert curl.out == b""
    assert (tmp_path / "file").read_bytes() == (PIECE * 46)[:3_000_000]
    assert curl("/bytes/0", "-o", str(tmp_path / "empty")) == 0
    assert (tmp_path / "empty").read_bytes() == b""
    assert curl("/hello", "-o", "-") == 0
    assert curl.out == b"the answer"


def test_or_to_a_folder_under_its_name(curl: Curl, tmp_path: Path) -> None:
    assert curl("/hello", "-o", str(tmp_path)) == 0
    assert (tmp_path / "hello").read_bytes() == b"the answer"
    assert curl("/status/404", "-o", f"{tmp_path}/") == 1
    assert re.fullmatch(r"interquic: localhost:\d+: 404: the server answered 404\n", curl.err)


def test_methods_and_headers(curl: Curl) -> None:
    assert curl("/hello", "-X", "OPTIONS", "-H", "X-One: 1", "-H", "Accept:", "-H", "x-empty;") == 0
    assert curl.last[b":method"] == b"OPTIONS"
    assert curl.last[b"x-one"] == b"1"
    assert curl.last[b"x-empty"] == b""
    assert b"accept" not in curl.last
    assert curl("/hello", "-H", "Host: other.example") == 0
    assert curl.last[b":authority"] == b"other.example"


def test_users_of_urls(site: Site, files: Any) -> None:
    def ask(user: str, *options: str) -> bytes:
        url = f"https://{user}@localhost:{site.port}/move/hello"
        assert main(["client", url, "-s", "-L", *options, "--ca", str(files.certificate)]) == 0
        return dict(site.requests[-1])[b"authorization"]

    assert ask("me:p%40ss:x") == b"Basic bWU6cEBzczp4"  # me:p@ss:x
    assert ask("me") == b"Basic bWU6"
    assert ask("me:x", "-H", "Authorization: Bearer y") == b"Bearer y"


def test_data(curl: Curl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").write_bytes(b"b=\r\n2\n")
    assert curl("/echo", "-d", "a=1", "-d", f"@{tmp_path / 'data'}") == 0
    assert curl.out == b"POST a=1&b=2"
    assert curl.last[b"content-type"] == b"application/x-www-form-urlencoded"
    assert curl.last[b"content-length"] == b"7"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"typed\n")))
    assert curl("/echo", "-d", "@-", "-X", "PATCH", "-H", "Content-Type: text/plain") == 0
    assert curl.out == b"PATCH typed"
    assert curl.last[b"content-type"] == b"text/plain"


def test_uploads(curl: Curl, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(3_000_000))
    assert curl("/echo/", "-i", "-T", str(tmp_path / "file")) == 0
    assert curl.out.startswith(b"HTTP/3 200\r\nx-size: 3000000\r\n\r\nPUT ")
    assert curl.last[b":path"] == b"/echo/file"
    assert curl.last[b"content-length"] == b"3000000"


def test_an_upload_of_standard_input(site: Site, files: Any) -> None:
    command = [*CLIENT, f"https://localhost:{site.port}/echo", "-T", "-", "--ca", str(files.certificate)]
    done = subprocess.run(command, input=b"piped", capture_output=True, check=True, timeout=20)
    assert (done.stdout, done.stderr) == (b"PUT piped", b"")


def test_headers_are_shown(curl: Curl) -> None:
    assert curl("/hello", "-I") == 0
    assert curl.out == b"HTTP/3 200\r\nserver: site\r\n\r\n"
    assert curl.last[b":method"] == b"HEAD"
    assert curl("/hello", "-i") == 0
    assert curl.out == b"HTTP/3 200\r\nserver: site\r\n\r\nthe answer"
    assert curl("/trailers", "-i", "-d", "x") == 0
    assert curl.out == b"HTTP/3 200\r\nx-size: 1\r\n\r\nPOST x\r\nx-after: all\r\n"


def test_verbose(curl: Curl) -> None:
    assert curl("/hints", "-v") == 0
    assert curl.out == b"the answer"
    lines = curl.err.splitlines()
    assert re.fullmatch(r"\* connected to localhost \(127\.0\.0\.1\) port \d+", lines[0])
    assert re.fullmatch(r"\* QUIC v\d, TLS_\w+, ALPN h3", lines[1])
    assert lines[2:5] == ["> GET /hints HTTP/3", "> :method: GET", "> :scheme: https"]
    assert lines[-7:-1] == [
        "< HTTP/3 103",
        "< link: </a>; rel=preload",
        "<",
        "< HTTP/3 200",
        "< server: site",
        "<",
    ]
    assert re.fullmatch(
        r"\* handshake [\d.]+ ms, first byte [\d.]+ ms, total [\d.]+ ms, 0-RTT not used", lines[-1]
    )


def test_early_data_is_told(curl: Curl, tmp_path: Path) -> None:
    options = ("-v", "--early-data", "--session-file", str(tmp_path / "sessions"))
    assert curl("/hello", *options) == 0
    assert curl.err.endswith("0-RTT not used\n")
    for _ in range(2):
        assert curl("/hello", *options) == 0
        assert curl.out == b"the answer"
        assert "ALPN h3, session resumed, 0-RTT accepted\n" in curl.err
        assert curl.err.endswith("0-RTT used\n")
    # What is not safe to repeat waits for the handshake.
    assert curl("/echo", *options, "-d", "x") == 0
    assert curl.out == b"POST x"
    assert curl.err.count("ALPN h3, session resumed, 0-RTT accepted\n") == 1
    assert curl.err.endswith("0-RTT not used\n")


def test_redirections(curl: Curl) -> None:
    assert curl("/move/hello") == 0
    assert curl.last[b":path"] == b"/move/hello"
    assert curl("/move/hello", "-L", "-i") == 0
    assert curl.out == (b"HTTP/3 302\r\nlocation: /hello\r\n\r\nHTTP/3 200\r\nserver: site\r\n\r\nthe answer")
    assert curl("/move/echo", "-L", "-d", "x") == 0
    assert curl.out == b"GET "
    assert b"content-type" not in curl.last
    assert curl("/move/move/hello", "-L") == 0
    assert curl.out == b"the answer"


def test_redirections_to_elsewhere(curl: Curl) -> None:
    assert curl("/move//name.invalid/x", "-L") == 1
    assert "can't resolve name.invalid" in curl.err
    assert curl("/to/http://name.example/", "-L") == 1
    assert curl.err.endswith("redirected to http://name.example/, which is no https URL\n")
    assert curl("/to//round", "-L") == 1
    assert curl.err.endswith("more than 50 redirections\n")


def test_secrets_stay_with_their_origin() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    fields = ["Cookie: c", "Authorization: a", "Host: b", "X: y"]
    args = parser.parse_args(["https://a/", *(part for field in fields for part in ("-H", field))])
    request = CurlRequest.read(args)
    assert request.redirected(307, same_origin=True) == request
    names = [name for name, _ in request.redirected(307, same_origin=False).fields]
    assert names == ["user-agent", "accept", "X"]


def test_fail(curl: Curl) -> None:
    assert curl("/status/404") == 0
    assert curl.out == b"the answer"
    assert curl("/status/404", "-f") == 22
    assert curl.out == b""
    assert re.fullmatch(r"interquic: localhost:\d+: the server answered 404\n", curl.err)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["-d", "x", "-I"], "only one of -d, -T and -I can be used"),
        (["-H", "nothing"], "-H nothing: not of the form NAME: VALUE"),
        (["-H", "bad name: x"], "bad name"),
        (["-T", "/nowhere"], "file /nowhere: No such file or directory"),
        (["-d", "@/nowhere"], "file /nowhere: No such file or directory"),
        (["-o", "/nowhere/file"], "can't write /nowhere/file: No such file or directory"),
        (["-o", "/nowhere/", "-i"], "--include is for one URL over HTTP/3"),
        (["--migrate", "1"], "are for downloads"),
        (["--alpn", "hq-interop", "-v"], "--verbose is for one URL over HTTP/3"),
    ],
)
def test_one_line_for_each_mistake(curl: Curl, options: list[str], problem: str) -> None:
    assert curl("/hello", *options) == 1
    [line] = curl.err.splitlines()
    assert line.startswith("interquic: ")
    assert problem in line


def test_an_upload_to_no_url() -> None:
    with pytest.raises(CommandError, match="Invalid IPv6 URL"):
        upload_url("https://[::1/", "report.pdf")


def test_failures_of_the_server(curl: Curl) -> None:
    assert curl("/break") == 1
    assert re.fullmatch(r"interquic: localhost:\d+: the request was reset \(H3_INTERNAL_ERROR\)\n", curl.err)


def test_a_reader_that_goes_away(site: Site, files: Any) -> None:
    url = f"https://localhost:{site.port}/bytes/100000000"
    command = [*CLIENT, url, "--ca", str(files.certificate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(10) == PIECE[:10]
        process.stdout.close()
        assert process.stderr.read() == b"interquic: nobody reads the output any more\n"
        assert process.wait(20) == 1


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def in_pipe(descriptor: int) -> int:
    """How many bytes are in a pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0]


@pytest.mark.parametrize("option", ["-d@-", "-T-"])
def test_a_signal_while_nothing_comes_by_standard_input(site: Site, files: Any, option: str) -> None:
    read_end, write_end = os.pipe()
    url = f"https://localhost:{site.port}/echo"
    command = [*CLIENT, url, option, "--ca", str(files.certificate)]
    with subprocess.Popen(command, stdin=read_end, stderr=subprocess.PIPE) as process:
        os.write(write_end, b"something")
        wait_for(lambda: in_pipe(read_end) == 0)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(10) == 128 + signal.SIGINT
            assert process.stderr is not None
            assert process.stderr.read() == b""
        finally:
            process.kill()
            os.close(read_end)
            os.close(write_end)


@pytest.mark.parametrize("option", ["-o-", "-o/dev/fd/1"])
def test_a_signal_while_nobody_reads(site: Site, files: Any, option: str) -> None:
    url = f"https://localhost:{site.port}/bytes/100000000"
    command = [*CLIENT, url, option, "--ca", str(files.certificate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        output = process.stdout.fileno()
        wait_for(lambda: in_pipe(output) > 30_000)  # most of what it takes
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(10) == 128 + signal.SIGINT
            assert process.stderr is not None
            assert process.stderr.read() == b""
        finally:
            process.kill()


def test_standard_streams_that_are_closed(site: Site, files: Any) -> None:
    command = [*CLIENT, f"https://localhost:{site.port}/echo", "-v", "--ca", str(files.certificate)]

    def run(redirections: str, *options: str) -> tuple[int, bytes, bytes]:
        shell = ["sh", "-c", f'exec "$@" {redirections}', "sh", *command, *options]
        done = subprocess.run(shell, capture_output=True, check=False, timeout=20)
        return done.returncode, done.stdout, done.stderr

    assert run("2>&-", "-d", "x") == (0, b"POST x", b"")
    assert run("<&-", "-T", "-")[:2] == (0, b"PUT ")
    status, _, told = run(">&-")
    assert status == 0
    assert told.endswith(b"0-RTT not used\n")
    assert b"Traceback" not in told
