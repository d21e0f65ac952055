"""Frames, errors and addresses as qlog writes them."""

from typing import Any

import pytest

from endpoint.events import ConnectionClosed
from endpoint.level import Level
from endpoint.tracing.qlog_frames import qlog_frames
from endpoint.tracing.qlog_names import as_json, connection_closed, endpoint_info, transport_error
from endpoint.wire.frame_writer import append_ack, append_frame, append_stream
from endpoint.wire.frames import (
    AckFrequency,
    ConnectionClose,
    DataBlocked,
    Frame,
    MaxStreams,
    NewConnectionId,
    NewToken,
    PathChallenge,
    ResetStream,
    StopSending,
    StreamDataBlocked,
    StreamsBlocked,
)

CASES: list[tuple[Frame, dict[str, Any]]] = [
    (
        ResetStream(4, 7, 1000),
        {
            "frame_type": "reset_stream",
            "stream_id": 4,
            "error": "unknown",
            "error_code": 7,
            "final_size": 1000,
        },
    ),
    (StopSending(4, 7), {"frame_type": "stop_sending", "stream_id": 4, "error": "unknown", "error_code": 7}),
    (
        NewToken(b"\x01\x02"),
        {"frame_type": "new_token", "token": {"type": "resumption", "raw": {"length": 2, "data": "0102"}}},
    ),
    (MaxStreams(9, True), {"frame_type": "max_streams", "stream_type": "unidirectional", "maximum": 9}),
    (StreamsBlocked(9, False), {"frame_type": "streams_blocked", "stream_type": "bidirectional", "limit": 9}),
    (DataBlocked(5), {"frame_type": "data_blocked", "limit": 5}),
    (StreamDataBlocked(8, 5), {"frame_type": "stream_data_blocked", "stream_id": 8, "limit": 5}),
    (PathChallenge(b"12345678"), {"frame_type": "path_challenge", "data": "3132333435363738"}),
    (
        NewConnectionId(3, 1, b"\xab\xcd", bytes(16)),
        {
            "frame_type": "new_connection_id",
            "sequence_number": 3,
            "retire_prior_to": 1,
            "connection_id_length": 2,
            "connection_id": "abcd",
            "stateless_reset_token": "00" * 16,
        },
    ),
    (
        ConnectionClose(0x0A, 0x06, "no"),
        {
            "frame_type": "connection_close",
            "error_space": "transport",
            "error": "protocol_violation",
            "reason": "no",
            "trigger_frame_type": 6,
        },
    ),
    (
        ConnectionClose(0x100, None, ""),
        {
            "frame_type": "connection_close",
            "error_space": "application",
            "error": "unknown",
            "error_code": 256,
            "reason": "",
        },
    ),
    (AckFrequency(1, 2, 3000, 4), {"frame_type": "unknown", "frame_type_bytes": 0xAF}),
]


@pytest.mark.parametrize(("frame", "qlog"), CASES, ids=[type(frame).__name__ for frame, _ in CASES])
def test_frames(frame: Frame, qlog: dict[str, Any]) -> None:
    payload = bytearray()
    append_frame(payload, frame)
    assert qlog_frames(payload, Level.ONE_RTT, 3, {}) == [qlog]


def test_ack_delay_is_scaled_to_milliseconds() -> None:
    payload = bytearray()
    append_ack(payload, [(5, 9), (2, 2)], 250, (7, 0, 1), 100)
    [ack] = qlog_frames(payload, Level.ONE_RTT, 4, {})
    # 250 units of 2^4 microseconds
    assert ack == {
        "frame_type": "ack",
        "ack_delay": 4.0,
        "acked_ranges": [[5, 9], [2]],
        "ect0": 7,
        "ect1": 0,
        "ce": 1,
    }


def test_what_comes_before_a_malformed_frame_is_told() -> None:
    payload = bytearray()
    append_stream(payload, 0, 100, b"data", fin=True)
    payload += b"\x04\x01"  # RESET_STREAM, cut short
    assert qlog_frames(payload, Level.ONE_RTT, 3, {}) == [
        {"frame_type": "stream", "stream_id": 0, "offset": 100, "fin": True, "raw": {"length": 4}}
    ]


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        (0x0, {"error": "no_error"}),
        (0x10, {"error": "no_viable_path"}),
        (0x11, {"error": "unknown", "error_code": 0x11}),
        (0x128, {"error": "crypto_error_0x128"}),
        (0x4000, {"error": "unknown", "error_code": 0x4000}),
    ],
)
def test_transport_errors(code: int, fields: dict[str, Any]) -> None:
    assert transport_error("error", code) == fields


@pytest.mark.parametrize(
    ("address", "fields"),
    [
        (("192.0.2.1", 443), {"ip_v4": "192.0.2.1", "port_v4": 443}),
        (("::ffff:192.0.2.1", 443, 0, 0), {"ip_v4": "192.0.2.1", "port_v4": 443}),
        (("fe80::1%eth0", 443, 0, 2), {"ip_v6": "fe80::1", "port_v6": 443}),
        (("a name", 443), {}),
        (None, {}),
    ],
)
def test_addresses(address: Any, fields: dict[str, Any]) -> None:
    assert endpoint_info(address) == fields
    assert as_json({"address": address, "connection_ids": [b"\x0a"]}) == {**fields, "connection_ids": ["0a"]}


@pytest.mark.parametrize(
    ("closed", "fields"),
    [
        (
            ConnectionClosed(0, 0, "idle timeout", application=False, remote=False, kind="idle_timeout"),
            {"initiator": "local", "reason": "idle timeout", "trigger": "idle_timeout"},
        ),
        (
            ConnectionClosed(0, 0, "", application=False, remote=True, kind="stateless_reset"),
            {"initiator": "remote", "reason": "", "trigger": "stateless_reset"},
        ),
        (
            ConnectionClosed(0x07, 0, "bad", application=False, remote=True),
            {
                "initiator": "remote",
                "connection_error": "frame_encoding_error",
                "reason": "bad",
                "trigger": "error",
            },
        ),
        (
            ConnectionClosed(0x11, 0, "", application=False, remote=False),
            {
                "initiator": "local",
                "connection_error": "unknown",
                "error_code": 0x11,
                "reason": "",
                "trigger": "version_mismatch",
            },
        ),
    ],
)
def test_closes(closed: ConnectionClosed, fields: dict[str, Any]) -> None:
    assert connection_closed(closed, {}) == fields
