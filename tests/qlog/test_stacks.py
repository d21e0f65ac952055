"""Traces of other stacks, made in the test run: what is known to be wrong with them is found, and no more."""

import json
import ssl
from pathlib import Path

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.logger import QuicLogger

from qlog.validate import validate_file


@pytest.fixture(scope="module")
def traces(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Both sides of a connection of aioquic with itself that moves 50 kB and closes."""
    loggers = QuicLogger(), QuicLogger()
    client = QuicConnection(
        configuration=QuicConfiguration(
            is_client=True, alpn_protocols=["hq-interop"], quic_logger=loggers[0], verify_mode=ssl.CERT_NONE
        )
    )
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["hq-interop"], quic_logger=loggers[1])
    configuration.load_cert_chain(str(certificates / "cert.pem"), str(certificates / "priv.key"))
    server = QuicConnection(
        configuration=configuration,
        original_destination_connection_id=client.original_destination_connection_id,
    )
    now = 100.0
    client.connect(("127.0.0.1", 4433), now=now)
    for step in range(40):
        if step == 5:
            client.send_stream_data(0, b"x" * 50_000, end_stream=True)
        if step == 35:
            client.close(error_code=0, reason_phrase="bye")
        for sender, receiver in ((client, server), (server, client)):
            for datagram, _ in sender.datagrams_to_send(now=now):
                now += 0.005
                receiver.receive_datagram(datagram, ("127.0.0.1", 4433), now=now)
    folder = tmp_path_factory.mktemp("aioquic")
    paths = folder / "client.qlog", folder / "server.qlog"
    for path, logger in zip(paths, loggers, strict=True):
        path.write_text(json.dumps(logger.to_dict()))
    return paths


def test_aioquic(traces: tuple[Path, Path]) -> None:
    client, server = (validate_file(path) for path in traces)
    found = {(one.rule, one.severity, one.name, one.pointer.rpartition("/")[2]) for one in client.findings}
    assert found == {
        ("schema-type", "error", "transport:version_information", "0"),
        ("schema-type", "error", "transport:version_information", "chosen_version"),
        ("schema-old-field", "warning", "recovery:metrics_updated", "cwnd"),
        ("schema-old-field", "warning", "transport:packet_sent", "length"),
        ("schema-old-field", "warning", "transport:packet_sent", "reset_token"),
        ("schema-old-field", "warning", "transport:packet_received", "length"),
        ("schema-old-field", "warning", "transport:packet_received", "reset_token"),
    }
    assert {one.rule for one in server.findings} <= {"schema-old-field", "schema-type"}
    assert client.era == server.era == "0.3"
    assert client.events > 100
