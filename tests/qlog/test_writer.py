"""What the writer leaves on disk, also when the process or the disk fails."""

import datetime as dt
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from qlog_samples import events

from qlog.reader import Reader
from qlog.validate import validate_file
from qlog.writer import TraceWriter, trace_header, trace_path

ODCID = bytes.fromhex("0011223344")
HEADER = trace_header("client", group_id=ODCID.hex())
EVENTS = events("newest", full=True)


def test_a_trace_is_valid_in_strict_mode(tmp_path: Path) -> None:
    path = trace_path(tmp_path, ODCID, "server")
    assert path.name == "0011223344_server.sqlog"
    started = dt.datetime(2026, 7, 23, 14, 0, 0, 5000, dt.timezone(dt.timedelta(hours=2)))
    header = trace_header("server", group_id="0011223344", name="us", title="a test", started=started)
    writer = TraceWriter(path, header)
    writer.write(EVENTS[0]["time"], EVENTS[0]["name"], EVENTS[0]["data"])
    writer.write_all((event["time"], event["name"], event["data"], "") for event in EVENTS[1:])
    writer.close()
    writer.write(1, "quic:packet_sent", {})
    report = validate_file(path, strict=True)
    # http and loglevel events are not announced; the list is only a hint.
    assert (report.findings, report.events, report.era) == ([], len(EVENTS), "newest")
    reader = Reader(path)
    assert [event.fields for event in reader.events()] == EVENTS
    (trace,) = reader.traces
    assert trace.common_fields["reference_time"]["wall_clock_time"] == "2026-07-23T12:00:00.005Z"
    assert (trace.vantage_point.name, trace.vantage_point.type, trace.title) == ("us", "server", "a test")
    head = path.read_bytes()[:256]
    assert b"file_schema" in head
    assert b"serialization_format" in head


def test_records_are_there_before_close(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    writer = TraceWriter(path, HEADER)
    writer.write(1, "quic:spin_bit_updated", {"state": True})
    assert len(list(Reader(path).events())) == 1
    writer.close()


def test_a_killed_process_leaves_whole_records(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    program = (
        "import os, signal, sys, pathlib; from qlog.writer import *\n"
        "writer = TraceWriter(pathlib.Path(sys.argv[1]), trace_header('client', group_id='00'))\n"
        "writer.write_all((i, 'quic:spin_bit_updated', {'state': True}, '') for i in range(1000))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    report = validate_file(path, strict=True)
    assert (report.findings, report.events) == ([], 1000)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_disables_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    writer = TraceWriter(Path("/dev/full"), HEADER)
    assert not writer.enabled
    for _ in range(3):
        writer.write(1, "quic:spin_bit_updated", {"state": True})
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "No space left" in record.message


def test_a_partial_record_is_taken_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk takes ten bytes of a record and no more."""
    path = tmp_path / "trace"
    writer = TraceWriter(path, HEADER)
    size = path.stat().st_size
    write, sizes = os.write, iter([10])

    def nearly_full(descriptor: int, data: memoryview) -> int:
        for allowed in sizes:
            return write(descriptor, data[:allowed])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", nearly_full)
    writer.write(1, "quic:spin_bit_updated", {"state": True})
    assert (writer.enabled, path.stat().st_size, len(caplog.records)) == (False, size, 1)


def test_a_folder_that_is_missing_disables_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = TraceWriter(tmp_path / "missing" / "trace", HEADER)
    writer.write(1, "quic:spin_bit_updated", {"state": True})
    writer.close()
    assert not writer.enabled
    assert len(caplog.records) == 1


def test_data_that_is_no_json_never_harms_the_connection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = TraceWriter(tmp_path / "trace", HEADER)
    writer.write(1, "quic:spin_bit_updated", {"state": b"bytes"})
    assert not writer.enabled
    assert len(caplog.records) == 1
    assert list(Reader(tmp_path / "trace").events()) == []
