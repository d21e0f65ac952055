"""The semantic checks on connections of aioquic in virtual time: nothing unfounded is reported.

`test_stacks.py` has what stacks get wrong in every trace, and those of others.
"""

import json
import random
import ssl
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aioquic.quic.logger
import pytest
from aioquic._buffer import Buffer
from aioquic.h3.connection import H3Connection
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import QuicEvent, StreamDataReceived
from aioquic.quic.packet import QuicProtocolVersion, encode_quic_retry, pull_quic_header

from qlog import checks
from qlog.model import Finding
from qlog.pair import pair
from qlog.stats import statistics
from qlog.validate import validate_file

DELAY = 0.010
ADDRESS = ("127.0.0.1", 4433)

# What aioquic does to the letter of the RFCs and drafts: logs the spin bit of every packet, and declares
# packets lost that had only ACK frames.
KNOWN = {"T17", "R01"}
# Old words of all its traces, which `test_stacks.py` holds it to.
EVERYWHERE = {("recovery:metrics_updated", "cwnd")} | {
    (f"transport:packet_{way}", field) for way in ("sent", "received") for field in ("length", "reset_token")
}


class Connection:
    """A client and a server of aioquic, with a link that delays by 10 ms and loses a share."""

    def __init__(
        self,
        certificates: Path,
        patch: pytest.MonkeyPatch,
        alpn: str,
        loss: float,
        seed: int,
        **settings: Any,
    ) -> None:
        self.now = 100.0
        patch.setattr(aioquic.quic.logger, "time", SimpleNamespace(time=lambda: self.now))
        self.loggers = [aioquic.quic.logger.QuicLogger(), aioquic.quic.logger.QuicLogger()]
        self.client = QuicConnection(
            configuration=QuicConfiguration(
                is_client=True,
                alpn_protocols=[alpn],
                quic_logger=self.loggers[0],
                verify_mode=ssl.CERT_NONE,
                server_name="localhost",
                **settings,
            )
        )
        self._configuration = QuicConfiguration(
            is_client=False, alpn_protocols=[alpn], quic_logger=self.loggers[1], **settings
        )
        self._configuration.load_cert_chain(str(certificates / "cert.pem"), str(certificates / "priv.key"))
        self.server = self._new_server()
        self._rng, self._loss = random.Random(seed), loss
        self._flying: list[tuple[float, int, bool, bytes]] = []
        self._count = 0
        self.handlers: dict[bool, Callable[[QuicEvent], object]] = {}
        # aioquic's server can't be asked for datagrams before it has got one.
        self._sides = [(True, self.client)]
        self.client.connect(ADDRESS, now=self.now)

    def _new_server(self, retry_id: bytes | None = None) -> QuicConnection:
        return QuicConnection(
            configuration=self._configuration,
            original_destination_connection_id=self.client.original_destination_connection_id,
            retry_source_connection_id=retry_id,
        )

    def retry(self) -> None:
        """Answer the client's first datagram by a Retry, as a server does that validates addresses."""
        ((initial, _),) = self.client.datagrams_to_send(now=self.now)
        header = pull_quic_header(Buffer(data=initial))
        packet = encode_quic_retry(
            version=QuicProtocolVersion.VERSION_1,
            source_cid=b"from retry",
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=b"token",
        )
        self.now += 2 * DELAY
        self.client.receive_datagram(packet, ADDRESS, now=self.now)
        self.server = self._new_server(b"from retry")

    def run(self, until: float) -> None:
        """Let time pass, to `until` seconds after the start."""
        while True:
            for is_client, quic in self._sides:
                while (event := quic.next_event()) is not None:
                    if is_client in self.handlers:
                        self.handlers[is_client](event)
                for data, _ in quic.datagrams_to_send(now=self.now):
                    self._count += 1
                    if self._rng.random() >= self._loss:
                        self._flying.append((self.now + DELAY, self._count, not is_client, data))
            self._flying.sort()
            timers = [quic.get_timer() for _, quic in self._sides]
            times = [time for time in timers if time is not None] + [one[0] for one in self._flying[:1]]
            if not times or min(times) > 100.0 + until:
                self.now = max(self.now, 100.0 + until)
                return
            self.now = max(self.now, min(times))
            if self._flying and self._flying[0][0] <= self.now:
                _, _, to_client, data = self._flying.pop(0)
                if not to_client and len(self._sides) == 1:
                    self._sides.append((False, self.server))
                (self.client if to_client else self.server).receive_datagram(data, ADDRESS, now=self.now)
            for _, quic in self._sides:
                timer = quic.get_timer()
                if timer is not None and timer <= self.now:
                    quic.handle_timer(now=self.now)

    def write(self, folder: Path) -> tuple[Path, Path]:
        """The traces of client and server."""
        paths = folder / "client.qlog", folder / "server.qlog"
        for path, logger in zip(paths, self.loggers, strict=True):
            path.write_text(json.dumps(logger.to_dict()))
        return paths


def found(path: Path) -> list[Finding]:
    """What the checks find."""
    report = validate_file(path, checks.observers())
    return [one for one in report.findings if not one.rule.startswith("schema-")]


def old_words(path: Path) -> set[tuple[str, str]]:
    """What is called otherwise today: events, and which of their fields, or whose values."""
    report = validate_file(path)
    old = (one for one in report.findings if one.rule.startswith("schema-old-"))
    return {(one.name, one.pointer.rpartition("/")[2]) for one in old}


def findings(path: Path) -> set[str]:
    """The rules of the checks that find something, less what is known."""
    return {one.rule for one in found(path)} - KNOWN


def upload(connection: Connection, size: int) -> None:
    connection.run(0.5)
    connection.client.send_stream_data(0, b"x" * size, end_stream=True)
    connection.run(20.0)
    connection.client.close(reason_phrase="bye")
    connection.run(21.0)


def test_a_clean_link(certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(certificates, monkeypatch, "hq-interop", 0.0, 1)
    upload(connection, 300_000)
    paths = connection.write(tmp_path)
    assert [findings(path) for path in paths] == [set(), set()]
    report = pair(*paths)
    assert report.findings == []
    assert report.clock_offset == pytest.approx(0.0, abs=0.01)
    assert report.client_to_server.delay["min"] == pytest.approx(1000 * DELAY, abs=0.01)
    assert report.client_to_server.vanished == report.server_to_client.vanished == 0
    (sent,) = (one for one in statistics(paths[0])[0].streams if one.direction == "sent")
    assert (sent.bytes, sent.finished) == (300_000, True)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_link_with_losses(
    seed: int, certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Connection(certificates, monkeypatch, "hq-interop", 0.05, seed)
    upload(connection, 300_000)
    paths = connection.write(tmp_path)
    # Of a packet that was late, the loss was a mistake: an information.
    assert [findings(path) - {"R17"} for path in paths] == [set(), set()]
    report = pair(*paths)
    assert {one.rule for one in report.findings} <= {"C07"}
    there = report.client_to_server
    assert there.vanished == sum(gap.last - gap.first + 1 for gap in there.gaps) > 0


def test_acks_of_nothing_are_lost(
    certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Connection(certificates, monkeypatch, "hq-interop", 0.05, 1)
    upload(connection, 300_000)
    lost = [one for path in connection.write(tmp_path) for one in found(path) if one.rule == "R01"]
    assert lost
    assert all(one.message.endswith("had only ACK frames") and one.severity == "warning" for one in lost)
    lost_fields = {("recovery:packet_lost", "packet_number"), ("recovery:packet_lost", "type")}
    assert [old_words(path) - EVERYWHERE for path in connection.write(tmp_path)] == [lost_fields] * 2


def test_a_retry_leaves_the_first_initial_in_flight(
    certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aioquic's own sum is too large by that packet (RFC 9002 §6.3) until the keys go."""
    connection = Connection(certificates, monkeypatch, "hq-interop", 0.0, 1)
    connection.retry()
    upload(connection, 50_000)
    client, server = connection.write(tmp_path)
    assert (findings(client), findings(server)) == ({"R03"}, set())


def test_small_windows(certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(
        certificates, monkeypatch, "hq-interop", 0.0, 1, max_data=40_000, max_stream_data=20_000
    )
    upload(connection, 200_000)
    assert [findings(path) for path in connection.write(tmp_path)] == [set(), set()]


def test_key_update_and_new_connection_ids(
    certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Connection(certificates, monkeypatch, "hq-interop", 0.0, 1)
    connection.run(0.5)
    connection.client.request_key_update()
    connection.client.change_connection_id()
    connection.client.send_ping(1)
    connection.run(1.0)
    upload(connection, 50_000)
    assert [findings(path) for path in connection.write(tmp_path)] == [set(), set()]


def test_http3(certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(certificates, monkeypatch, "h3", 0.0, 1)
    # aioquic's HTTP/3 asks for nothing but the connection.
    connection.run(0.3)
    client, server = H3Connection(connection.client), H3Connection(connection.server)

    def serve(event: QuicEvent) -> None:
        server.handle_event(event)
        if isinstance(event, StreamDataReceived) and event.stream_id == 0 and event.end_stream:
            server.send_headers(0, [(b":status", b"200"), (b"content-length", b"5000")])
            server.send_data(0, b"x" * 5000, end_stream=True)

    connection.handlers = {False: serve, True: client.handle_event}
    request = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"x"), (b":path", b"/")]
    client.send_headers(0, request, end_stream=True)
    connection.run(2.0)
    connection.client.close()
    connection.run(3.0)
    paths = connection.write(tmp_path)
    assert [findings(path) for path in paths] == [set(), set()]
    assert '"http:frame_parsed"' in paths[0].read_text()
    assert [old_words(path) - EVERYWHERE for path in paths] == [{("http:stream_type_set", "new")}] * 2
