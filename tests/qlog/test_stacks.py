"""Traces of other stacks, made in the test run: what is known to be wrong with them is found, and no more."""

import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from qlog import checks
from qlog.validate import Report, validate_file


def reports(
    stack: str, certificates: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *, batches: bool = False
) -> list[Report]:
    """Both sides of a connection of a stack with itself that moves 50 kB.

    `batches`: it takes all datagrams of a moment by one call, as qh3's own loop does.
    """
    configure = import_module(f"{stack}.quic.configuration").QuicConfiguration
    connection = import_module(f"{stack}.quic.connection").QuicConnection
    new_logger = import_module(f"{stack}.quic.logger").QuicLogger
    loggers = new_logger(), new_logger()
    options = {"alpn_protocols": ["hq-interop"], "verify_mode": ssl.CERT_NONE, "server_name": "localhost"}
    client = connection(configuration=configure(is_client=True, quic_logger=loggers[0], **options))
    configuration = configure(is_client=False, alpn_protocols=["hq-interop"], quic_logger=loggers[1])
    configuration.load_cert_chain(str(certificates / "cert.pem"), str(certificates / "priv.key"))
    server = connection(
        configuration=configuration,
        original_destination_connection_id=client.original_destination_connection_id,
    )
    now = 100.0
    logger_module = import_module(f"{stack}.quic.logger")
    # The log is to go by the same clock as the connections.
    monkeypatch.setattr(logger_module, "time", SimpleNamespace(time=lambda: now))
    client.connect(("127.0.0.1", 4433), now=now)
    for step in range(30):
        if step == 5:
            client.send_stream_data(0, b"x" * 50_000, end_stream=True)
        for sender, receiver in ((client, server), (server, client)):
            datagrams = [datagram for datagram, _ in sender.datagrams_to_send(now=now)]
            if batches:
                now += 0.005
                receiver.receive_many_datagrams(datagrams, ("127.0.0.1", 4433), now=now)
                continue
            for datagram in datagrams:
                now += 0.005
                receiver.receive_datagram(datagram, ("127.0.0.1", 4433), now=now)
    found = []
    for name, logger in zip(("client", "server"), loggers, strict=True):
        path = folder / f"{name}.qlog"
        path.write_text(json.dumps(logger.to_dict()))
        found.append(validate_file(path, checks.observers()))
    return found


def summary(report: Report) -> set[tuple[str, str, str, str]]:
    return {(one.rule, one.severity, one.name, one.pointer.rpartition("/")[2]) for one in report.findings}


def test_aioquic(certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = reports("aioquic", certificates, tmp_path, monkeypatch)
    common = {
        ("T17", "warning", "connectivity:spin_bit_updated", "state"),
        ("schema-old-field", "warning", "recovery:metrics_updated", "cwnd"),
        ("schema-old-field", "warning", "transport:packet_sent", "length"),
        ("schema-old-field", "warning", "transport:packet_sent", "reset_token"),
        ("schema-old-field", "warning", "transport:packet_received", "length"),
        ("schema-old-field", "warning", "transport:packet_received", "reset_token"),
    }
    # 0.3 demands the length of padding.
    assert summary(server) == common | {("schema-required", "warning", "transport:packet_received", "7")}
    assert summary(client) == common | {
        ("schema-required", "warning", "transport:packet_sent", "7"),
        ("schema-type", "error", "transport:version_information", "0"),
        ("schema-type", "error", "transport:version_information", "chosen_version"),
    }
    assert client.era == server.era == "0.3"
    assert client.events > 100


QH3 = {
    ("schema-required", "error", "transport:packet_sent", "header"),
    ("schema-required", "error", "transport:packet_received", "header"),
    ("P16", "error", "transport:packet_sent", "frames"),
    ("P16", "error", "transport:packet_received", "frames"),
}


@pytest.mark.parametrize("side", [0, 1])
def test_qh3_logs_packets_without_numbers(
    side: int, certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = reports("qh3", certificates, tmp_path, monkeypatch)[side]
    assert summary(report) == QH3
    assert report.events > 50


@pytest.mark.parametrize("side", [0, 1])
def test_qh3_logs_no_packets_of_batches(
    side: int, certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = reports("qh3", certificates, tmp_path, monkeypatch, batches=True)[side]
    assert summary(report) == QH3 | {("P28", "warning", "transport:datagrams_received", "name")}


NGTCP2 = shutil.which("gtlsclient"), shutil.which("gtlsserver", path="/usr/sbin:/usr/bin:/usr/local/bin")


class Ngtcp2:
    """ngtcp2's example programs. They log to one folder per side, and keep sessions of all connections."""

    def __init__(self, folder: Path, certificates: Path) -> None:
        self.folder = folder
        self._certificates = certificates
        self._www = folder / "www"
        self._www.mkdir()
        (self._www / "file").write_bytes(bytes(300_000))
        for role in ("client", "server"):
            (folder / role).mkdir()

    @contextmanager
    def server(self, *options: str) -> Iterator[int]:
        """A server at the port."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        keys = str(self._certificates / "priv.key"), str(self._certificates / "cert.pem")
        logs = "--qlog-dir", str(self.folder / "server"), "-d", str(self._www)
        command = [str(NGTCP2[1]), "-q", *logs, *options, "127.0.0.1", str(port), *keys]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 10
            while f":{port:04X} " not in Path("/proc/net/udp").read_text():
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield port
        finally:
            server.terminate()
            server.wait()

    def get(self, port: int, *options: str) -> None:
        """A client that downloads a file."""
        session, parameters = str(self.folder / "session"), str(self.folder / "parameters")
        sessions = "--session-file", session, "--tp-file", parameters
        logs = "--qlog-dir", str(self.folder / "client")
        end = "--exit-on-all-streams-close", "127.0.0.1", str(port), f"https://localhost:{port}/file"
        command = [str(NGTCP2[0]), "-q", *logs, *sessions, *options, *end]
        subprocess.run(command, check=True, timeout=20, stdout=subprocess.DEVNULL)

    def reports(self, *, strict: bool = False) -> list[Report]:
        """On all traces, the clients' first, in the order in which they were begun."""
        paths = [
            path
            for role in ("client", "server")
            for path in sorted((self.folder / role).iterdir(), key=lambda path: path.stat().st_ctime_ns)
        ]
        return [validate_file(path, checks.observers(), strict=strict) for path in paths]


@pytest.fixture
def ngtcp2(tmp_path: Path, certificates: Path) -> Ngtcp2:
    if None in NGTCP2:
        pytest.skip("ngtcp2's gtlsclient and gtlsserver are not installed")
    return Ngtcp2(tmp_path, certificates)


# A server that is told to end leaves the record unfinished that its buffer ended in. On a busy machine
# packets come so late that they were taken for lost.
CUT, CUT_AT_ITS_END, LATE = "record-cut", "record-line-feed-missing", "R17"
# 0.3 demands the length of padding, which ngtcp2 leaves out.
PADDING = "payload_length"


def rules(report: Report) -> set[str]:
    """Of the findings, without those about padding: each trace has some."""
    padding = [one for one in report.findings if one.rule == "schema-required" and PADDING in one.message]
    assert padding
    assert {one.severity for one in padding} == {"warning"}
    return {one.rule for one in report.findings if one not in padding}


@pytest.mark.parametrize("options", [(), ("--change-local-addr=5ms",), ("--key-update=5ms",), ("-r", "0.05")])
def test_ngtcp2(ngtcp2: Ngtcp2, options: tuple[str, ...]) -> None:
    """Whole ms, all metrics each time, paths and key updates untold: no finding for any of that."""
    with ngtcp2.server() as port:
        ngtcp2.get(port, *options)
    client, server = ngtcp2.reports()
    assert rules(client) <= {LATE}
    assert rules(server) <= {LATE, CUT, CUT_AT_ITS_END}
    assert client.era == server.era == "0.3"
    assert client.events > 300


def test_ngtcp2_gives_a_retry_packet_a_number(ngtcp2: Ngtcp2) -> None:
    with ngtcp2.server("-V") as port:
        ngtcp2.get(port)
    client, _ = ngtcp2.reports()
    assert {one for one in summary(client) if one[0] not in {LATE, "schema-required"}} == {
        ("schema-unknown-field", "info", "transport:packet_received", "packet_number"),
        ("T15", "warning", "transport:packet_received", "packet_number"),
    }


def test_ngtcp2_logs_what_it_remembers_as_the_peers(ngtcp2: Ngtcp2) -> None:
    with ngtcp2.server() as port:
        ngtcp2.get(port)
        ngtcp2.get(port)
    first, resumed, *_ = ngtcp2.reports()
    assert rules(first) <= {LATE}
    assert rules(resumed) - {LATE} == {"T18"}
