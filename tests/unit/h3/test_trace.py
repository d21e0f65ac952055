"""What HTTP/3 tells a tracer becomes valid qlog."""

import json
from pathlib import Path
from typing import Any

import pytest

from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.settings import Settings
from endpoint.h3.trace import H3Observer
from endpoint.level import Level
from endpoint.trace import PacketInfo
from endpoint.tracing import QlogFolder
from endpoint.tracing.qlog import QlogLevel, QlogTracer
from endpoint.wire.frame_writer import append_frame
from endpoint.wire.frames import ResetStream
from qlog.validate import validate_file

CONTROL, REQUEST = 2, 0
GREASE = 0x21 + 0x1F * 5


class Told:
    """A tracer of a client, and what it writes."""

    def __init__(self, folder: Path, level: QlogLevel = "extra") -> None:
        tracer = QlogFolder(folder, level)(b"\x01" * 8, True)
        assert tracer is not None
        self.tracer: QlogTracer = tracer
        self.http = H3Observer(tracer, is_client=True)
        self._path = folder / f"{'01' * 8}_client.sqlog"

    def packet(self, now: float, payload: bytes = b"\x01") -> None:
        """A packet goes out."""
        info = PacketInfo(Level.ONE_RTT, round(now * 1000), 1, 20 + len(payload), 4)
        self.tracer.packet_sent(now, info, payload, pto=False, mtu_probe=False)

    def records(self) -> list[dict[str, Any]]:
        """End the trace; its valid events."""
        self.tracer.close()
        assert validate_file(self._path, strict=True).findings == []
        return [json.loads(text) for text in self._path.read_text().split("\x1e")[2:]]

    def one(self) -> tuple[str, dict[str, Any]]:
        """The only event but the packet that makes the trace real."""
        self.packet(0.0)
        [record] = [r for r in self.records() if r["name"] != "quic:packet_sent"]
        return record["name"], record["data"]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def test_settings_are_a_frame_and_parameters(told: Told) -> None:
    settings = Settings(enable_connect_protocol=False, h3_datagram=True, extra={GREASE: 7, 0xC0DE: 8})
    told.http.settings(CONTROL, settings, len(settings.encode()), created=True)
    told.packet(0.0)
    frame, parameters, _ = told.records()
    assert frame["name"] == "http3:frame_created"
    assert frame["data"]["frame"]["settings"] == [
        {"name": "settings_qpack_max_table_capacity", "value": 4096},
        {"name": "settings_max_field_section_size", "value": 65536},
        {"name": "settings_qpack_blocked_streams", "value": 16},
        {"name": "settings_h3_datagram", "value": 1},
        {"name": "reserved", "value": 7},
        {"name": "unknown", "name_bytes": 0xC0DE, "value": 8},
    ]
    # The type and a length below 64 take a byte each.
    payload = len(settings.encode())
    assert frame["data"]["frame"]["raw"] == {"length": payload + 2, "payload_length": payload}
    assert parameters["name"] == "http3:parameters_set"
    assert parameters["data"] == {
        "initiator": "local",
        "max_table_capacity": 4096,
        "max_field_section_size": 65536,
        "blocked_streams_count": 16,
        "h3_datagram": 1,
    }


def test_restored_settings(told: Told) -> None:
    told.http.settings_restored(Settings(max_field_section_size=None))
    assert told.one() == (
        "http3:parameters_restored",
        {"max_table_capacity": 4096, "blocked_streams_count": 16, "extended_connect": 1},
    )


@pytest.mark.parametrize(
    ("stream_id", "stream_type", "data"),
    [
        (0, None, {"initiator": "local", "stream_type": "request"}),
        (3, 0x0, {"initiator": "remote", "stream_type": "control"}),
        (7, 0x2, {"initiator": "remote", "stream_type": "qpack_encode"}),
        (10, 0x3, {"initiator": "local", "stream_type": "qpack_decode"}),
        (11, GREASE, {"initiator": "remote", "stream_type": "reserved"}),
        (15, 0x54, {"initiator": "remote", "stream_type": "unknown", "stream_type_bytes": 0x54}),
    ],
)
def test_stream_types(told: Told, stream_id: int, stream_type: int | None, data: dict[str, Any]) -> None:
    told.http.stream_type_set(stream_id, stream_type)
    assert told.one() == ("http3:stream_type_set", {"stream_id": stream_id} | data)


def test_fields_are_text_where_they_are_and_secrets_are_left_out(told: Told) -> None:
    headers = [(b":method", b"GET"), (b"x-name", b"\xe4"), (b"b\x00d", b""), (b"cookie", b"key=1")]
    told.http.headers(REQUEST, headers, 100, created=False)
    name, data = told.one()
    assert name == "http3:frame_parsed"
    assert data == {
        "stream_id": 0,
        "frame": {
            "frame_type": "headers",
            "headers": [
                {"name": ":method", "value": "GET"},
                {"name": "x-name", "value_bytes": "e4"},
                {"name_bytes": "620064", "value": ""},
                {"name": "cookie"},
            ],
            "raw": {"payload_length": 100},
        },
    }


@pytest.mark.parametrize(
    ("frame_type", "frame"),
    [
        (0x3, {"frame_type": "cancel_push", "push_id": 8}),
        (0x7, {"frame_type": "goaway", "id": 8}),
        (0xD, {"frame_type": "max_push_id", "push_id": 8}),
    ],
)
def test_frames_with_one_number(told: Told, frame_type: int, frame: dict[str, Any]) -> None:
    told.http.identifier(CONTROL, frame_type, 8, 1, created=False)
    _, data = told.one()
    assert data["frame"] == frame | {"raw": {"payload_length": 1}}


@pytest.mark.parametrize(("frame_type", "element"), [(0xF0700, "stream_id"), (0xF0701, "push_id")])
def test_priorities(told: Told, frame_type: int, element: str) -> None:
    told.http.priority_update(CONTROL, frame_type, 4, b"u=5, i", 7, created=True)
    _, data = told.one()
    assert data["frame"] == {
        "frame_type": "priority_update",
        element: 4,
        "priority_field_value": "u=5, i",
        "raw": {"payload_length": 7, "length": 12},
    }


def test_priority_of_a_request(told: Told) -> None:
    told.http.priority_updated(4, "u=3", "u=1", by_client=True)
    data = {"stream_id": 4, "old": "u=3", "new": "u=1", "trigger": "local"}
    assert told.one() == ("http3:priority_updated", data)


@pytest.mark.parametrize(("frame_type", "kind"), [(GREASE, "reserved"), (0x54, "unknown")])
def test_other_frames(told: Told, frame_type: int, kind: str) -> None:
    told.http.other_frame(REQUEST, frame_type, 0, created=False)
    _, data = told.one()
    assert data["frame"] == {"frame_type": kind, "frame_type_bytes": frame_type, "raw": {"payload_length": 0}}


def test_datagrams_and_capsules(told: Told) -> None:
    told.packet(0.0)
    told.http.datagram(8, 100, created=True)
    told.http.capsule(8, 0x0, 3, created=True)
    told.http.capsule(8, 0x2843, 4, created=False)
    _, datagram, ours, theirs = told.records()
    assert datagram["name"] == "http3:datagram_created"
    assert datagram["data"] == {"quarter_stream_id": 2, "raw": {"payload_length": 100}}
    assert ours["name"] == "http:capsule_created"
    assert ours["data"]["capsule"] == {"capsule_type": "datagram", "raw": {"payload_length": 3}}
    assert theirs["name"] == "http:capsule_parsed"
    assert theirs["data"]["capsule"]["capsule_type_value"] == 0x2843


def test_a_command_has_the_time_of_what_follows_it(told: Told) -> None:
    told.packet(5.0)
    told.http.data(REQUEST, 10, created=True)
    told.packet(6.0)
    assert [(record["name"], record["time"]) for record in told.records()] == [
        ("quic:packet_sent", 0.0),
        ("http3:frame_created", 1000.0),
        ("quic:packet_sent", 1000.0),
    ]


def test_levels_leave_events_out(tmp_path: Path) -> None:
    told = Told(tmp_path, "core")
    told.packet(0.0)
    told.http.stream_type_set(REQUEST)
    told.http.data(REQUEST, 10, created=True)
    assert [record["name"] for record in told.records()] == ["quic:packet_sent", "http3:frame_created"]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (H3ErrorCode.H3_REQUEST_CANCELLED, {"error": "http_request_cancelled"}),
        # Not in the list of the drafts.
        (H3ErrorCode.H3_MESSAGE_ERROR, {"error": "unknown", "error_code": 0x10E}),
        (0x7777, {"error": "unknown", "error_code": 0x7777}),
    ],
)
def test_errors_have_the_names_of_http(told: Told, code: int, error: dict[str, Any]) -> None:
    payload = bytearray()
    append_frame(payload, ResetStream(0, code, 10))
    told.packet(0.0, bytes(payload))
    [record] = told.records()
    [frame] = record["data"]["frames"]
    assert frame == {"frame_type": "reset_stream", "stream_id": 0, "final_size": 10} | error
