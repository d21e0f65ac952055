import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from endpoint.cli.main import main

CLIENT = [sys.executable, "-m", "endpoint.cli.main", "client"]


def urls(port: int, *names: str) -> list[str]:
    return [f"https://localhost:{port}/{name}" for name in names]


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a failing command leaves on standard error."""
    assert main(arguments) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("interquic: ")
    return line.removeprefix("interquic: ")


def test_a_download_is_complete_and_leaves_nothing_else(
    server: Any, files: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = urls(server.port, "small", "large", "missing")
    command = ["client", *wanted, "-o", str(tmp_path), "--ca", str(files.certificate)]
    assert main([*command, "--alpn", "hq-interop"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"small", "large", "missing"}
    assert (tmp_path / "small").read_bytes() == b"small content"
    assert (tmp_path / "large").read_bytes() == (files.root / "large").read_bytes()
    assert (tmp_path / "missing").read_bytes() == b""
    assert capsys.readouterr().out.startswith("3 files, 3.15 MB in ")


def test_hundreds_of_files_queue_at_the_stream_limit(server: Any, files: Any, tmp_path: Path) -> None:
    wanted = urls(server.port, *(f"file{i}" for i in range(300)))
    assert main(["client", "-q", *wanted, "-o", str(tmp_path), "--ca", str(files.certificate)]) == 0
    assert len(list(tmp_path.iterdir())) == 300
    assert (tmp_path / "file299").read_bytes() == b"content 299"


@pytest.mark.parametrize(
    "options",
    [
        ["--connection-per-url"],
        ["--cipher-suites", "TLS_CHACHA20_POLY1305_SHA256"],
        ["--no-gso", "--no-gro", "--congestion", "newreno", "--max-udp-payload", "1200"],
        ["--no-ecn", "--no-pmtud"],
        ["--alpn", "other,hq-interop"],
        ["--alpn", "h3"],
    ],
)
def test_options(server: Any, files: Any, tmp_path: Path, options: list[str]) -> None:
    wanted = urls(server.port, "small", "large")
    assert main(["client", *wanted, "-o", str(tmp_path), "--ca", str(files.certificate), *options]) == 0
    assert (tmp_path / "large").read_bytes() == (files.root / "large").read_bytes()


def test_the_key_log_is_appended_to(server: Any, tmp_path: Path) -> None:
    log = tmp_path / "keys.log"
    arguments = ["client", "-q", *urls(server.port, "small"), "--insecure", "--keylog", str(log)]
    for folder in ("first", "second"):
        assert main([*arguments, "-o", f"{tmp_path}/{folder}/"]) == 0
    lines = log.read_text().splitlines()
    assert len(lines) == 8
    assert {line.split()[0] for line in lines} == {
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "SERVER_TRAFFIC_SECRET_0",
    }


def test_a_self_signed_certificate_is_made_and_told(files: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "endpoint.cli.main", "server", "--port", "0", "--root", str(files.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "self-signed certificate for localhost" in process.stdout.readline()
        port = int(process.stdout.readline().split("port ")[1].split()[0])
        wanted = urls(port, "small")
        assert main(["client", "-q", *wanted, "-o", str(tmp_path), "--insecure"]) == 0
        process.terminate()
        assert process.wait(timeout=10) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_stops_at_once(start_server: Any, number: int) -> None:
    running = start_server()
    start = time.monotonic()
    running.process.send_signal(number)
    assert running.process.wait(timeout=10) == 0
    assert time.monotonic() - start < 1.0
    assert running.process.stderr.read() == ""


def test_a_command_without_an_event_loop_stops_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("qlog.cli.run", interrupted)
    assert main(["qlog", "stats", "somewhere"]) == 128 + signal.SIGINT


def test_a_client_that_is_stopped_leaves_no_parts(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/file"
        silent.settimeout(10)
        with subprocess.Popen([*CLIENT, url, "-o", str(tmp_path)], stderr=subprocess.PIPE) as process:
            silent.recv(2000)
            process.terminate()
            assert process.wait(timeout=10) == 128 + signal.SIGTERM
            assert process.stderr is not None
            assert process.stderr.read() == b""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals")
def test_progress_is_shown_on_a_terminal(server: Any, files: Any, tmp_path: Path) -> None:
    leader, follower = os.openpty()
    command = [*CLIENT, *urls(server.port, "large"), "-o", str(tmp_path), "--ca", str(files.certificate)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=follower, stderr=subprocess.STDOUT, env=environment) as process:
        assert process.wait(timeout=20) == 0
    os.close(follower)
    shown = os.read(leader, 100_000).decode()
    os.close(leader)
    assert "of 1 files" in shown
    assert "1 file, 3.15 MB in " in shown


# One clear line for everything that goes wrong.


def test_port_in_use(server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    line = failure(capsys, "server", "--port", str(server.port))
    assert line == f"port {server.port} is in use by another program"


def test_a_foreign_address(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        failure(capsys, "server", "--host", "192.0.2.200") == "192.0.2.200 is not an address of this machine"
    )


def test_certificate_files(files: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certificate, key, text = str(files.certificate), str(files.key), str(files.root / "small")
    assert "come together" in failure(capsys, "server", "--cert", certificate)
    missing = str(tmp_path / "none.pem")
    assert failure(capsys, "server", "--cert", missing, "--key", key) == (
        f"certificate {missing}: No such file or directory"
    )
    assert "no certificate in PEM" in failure(capsys, "server", "--cert", text, "--key", key)
    assert "no usable private key" in failure(capsys, "server", "--cert", certificate, "--key", text)


def test_a_key_of_another_certificate(files: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    other = tmp_path / "other.pem"
    other.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    line = failure(capsys, "server", "--cert", str(files.certificate), "--key", str(other))
    assert "private key does not belong" in line


def test_a_root_that_is_no_directory(files: Any, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(files.root / "small")
    assert failure(capsys, "server", "--port", "0", "--root", root) == f"directory {root}: not a directory"


def test_unknown_host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = failure(capsys, "client", "https://name.invalid/x", "-o", str(tmp_path))
    assert line.startswith("can't resolve name.invalid: ")


def test_refused_handshakes(server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["client", *urls(server.port, "small"), "-o", str(tmp_path)]
    line = failure(capsys, *command)
    assert line.startswith(f"localhost:{server.port}: handshake failed: ")
    assert "CRYPTO_ERROR(unknown_ca)" in line
    line = failure(capsys, *command, "--insecure", "--alpn", "other")
    assert "the peer closed the connection: CRYPTO_ERROR(no_application_protocol)" in line


def test_a_server_that_goes_away(start_server: Any, files: Any, tmp_path: Path) -> None:
    running = start_server()
    huge = files.root / "huge"
    with huge.open("wb") as file:
        file.truncate(20_000_000_000)
    command = [*CLIENT, *urls(running.port, "huge"), "-o", str(tmp_path), "--insecure"]
    try:
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            deadline = time.monotonic() + 10
            while not any(path.stat().st_size for path in tmp_path.glob(".partial-*/*")):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            running.process.terminate()
            assert process.wait(timeout=10) == 1
            assert process.stderr is not None
            assert "the peer closed the connection" in process.stderr.read()
    finally:
        huge.unlink()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk(
    server: Any,
    files: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = Path.open

    def full(self: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        return original(Path("/dev/full") if "w" in mode else self, mode, *args, **options)

    monkeypatch.setattr(Path, "open", full)
    line = failure(
        capsys, "client", *urls(server.port, "large"), "-o", str(tmp_path), "--ca", str(files.certificate)
    )
    assert line == "the disk is full"
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_no_directory(files: Any, capsys: pytest.CaptureFixture[str]) -> None:
    where = str(files.root / "small" / "x")
    line = failure(capsys, "client", "https://localhost:1/x", "-o", f"{where}/")
    assert line == f"can't write {where}: Not a directory"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://localhost/x", "not a URL of the form"),
        ("https:///x", "not a URL of the form"),
        ("https://[::1/x", "Invalid IPv6 URL"),
        ("https://a..b/x", "can't resolve a..b: not a host name"),
        ("https://bücher.invalid/x", "can't resolve xn--bcher-kva.invalid: "),
        ("https://ü..b/x", "https://ü..b/x: "),
        ("https://localhost:99999/x", "Port out of range"),
        ("https://localhost/", "does not end in a file name"),
        ("https://me:secret@localhost/x", "a user can be named only for one URL"),
    ],
)
def test_bad_urls(url: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert problem in failure(capsys, "client", url, "-o", "here/")


def test_two_urls_of_one_file_name(capsys: pytest.CaptureFixture[str]) -> None:
    line = failure(capsys, "client", "https://a/x", "https://b/x")
    assert line == "https://a/x and https://b/x would both be stored as x"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["unknown"],
        ["client"],
        ["server", "--port", "70000"],
        ["server", "--cipher-suites", "NULL"],
        ["server", "--max-udp-payload", "1100"],
        ["client", "https://h/x", "--congestion", "reno"],
        ["client", "https://h/x", "--alpn", ","],
        ["client", "https://h/x", "--ca", "a", "--insecure"],
    ],
)
def test_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: interquic")


def test_help_imports_no_protocol() -> None:
    program = (
        "import sys\nfrom endpoint.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'cryptography', 'asyncio'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "download files" in done.stdout


def test_nobody_reads_the_output() -> None:
    """As of `... | head`: no failure, and no traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "endpoint.cli.main", "qlog", "checks"]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"")
