"""Traces of other stacks, made in the test run: what is known to be wrong with them is found, and no more."""

import json
import ssl
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from qlog import checks
from qlog.validate import Report, validate_file


def reports(stack: str, certificates: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Report]:
    """Both sides of a connection of a stack with itself that moves 50 kB."""
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
            for datagram, _ in sender.datagrams_to_send(now=now):
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
    assert summary(server) == common
    assert summary(client) == common | {
        ("schema-type", "error", "transport:version_information", "0"),
        ("schema-type", "error", "transport:version_information", "chosen_version"),
    }
    assert client.era == server.era == "0.3"
    assert client.events > 100


@pytest.mark.parametrize("side", [0, 1])
def test_qh3_logs_packets_without_numbers(
    side: int, certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = reports("qh3", certificates, tmp_path, monkeypatch)[side]
    assert summary(report) == {
        ("schema-required", "error", "transport:packet_sent", "header"),
        ("schema-required", "error", "transport:packet_received", "header"),
        ("P16", "error", "transport:packet_sent", "frames"),
        ("P16", "error", "transport:packet_received", "frames"),
    }
    assert report.events > 50
