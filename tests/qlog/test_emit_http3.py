"""HTTP/3 in the traces that our endpoint writes: valid, and the same on both sides."""

from typing import Any

import pytest
from qlog_emitted import Traced
from qlog_emitted_http3 import converse

from endpoint.testing.link import LinkProfile
from qlog.checks import observers
from qlog.validate import validate_file


def frames(traced: Traced, role: str, name: str) -> list[tuple[int, dict[str, Any]]]:
    """HTTP/3 frames by stream, without their headers' length, which is only known of one's own."""
    found = []
    for record in traced.records(role):
        if record["name"] == f"http3:frame_{name}":
            frame = dict(record["data"]["frame"])
            frame["raw"] = frame["raw"]["payload_length"]
            found.append((record["data"]["stream_id"], frame))
    return sorted(found, key=lambda one: one[0])


@pytest.mark.parametrize("grease", [True, False])
@pytest.mark.parametrize("up", [LinkProfile(), LinkProfile(loss=0.05), LinkProfile(reordering=0.3)])
def test_strictly_valid(traced: Traced, up: LinkProfile, grease: bool) -> None:
    traced.scenario.up = up
    converse(traced, grease=grease)
    for path in sorted(traced.folder.iterdir()):
        report = validate_file(path, observers(), strict=True)
        # A network that changes the order makes packets look lost that are not.
        assert [one for one in report.findings if one.rule != "R17"] == []


@pytest.mark.parametrize("grease", [True, False])
def test_both_sides_tell_the_same_frames(traced: Traced, grease: bool) -> None:
    converse(traced, grease=grease)
    for sender, receiver in (("client", "server"), ("server", "client")):
        assert frames(traced, sender, "created") == frames(traced, receiver, "parsed")
    created = [one for role in ("client", "server") for _, one in frames(traced, role, "created")]
    kinds = {frame["frame_type"] for frame in created}
    reserved = {"reserved"} if grease else set()
    assert kinds == {"settings", "headers", "data", "priority_update", "goaway", *reserved}
    [headers, _] = [frame for stream_id, frame in frames(traced, "client", "created") if stream_id == 4]
    assert {"name": "cookie"} in headers["headers"]
    assert {"name": ":method", "value": "POST"} in headers["headers"]


def test_streams_and_settings(traced: Traced) -> None:
    converse(traced)
    for role in ("client", "server"):
        told = [record for record in traced.records(role) if record["name"].startswith("http3:")]
        sides = [one["data"]["initiator"] for one in told if one["name"] == "http3:parameters_set"]
        assert sorted(sides) == ["local", "remote"]
        types = {
            (one["data"]["initiator"], one["data"]["stream_type"])
            for one in told
            if one["name"] == "http3:stream_type_set"
        }
        critical = {"control", "qpack_encode", "qpack_decode"}
        assert types >= {(side, kind) for side in ("local", "remote") for kind in critical}
        assert ("local" if role == "client" else "remote", "request") in types
        datagrams = {one["name"] for one in told if "datagram" in one["name"]}
        assert datagrams == {"http3:datagram_created" if role == "client" else "http3:datagram_parsed"}
    updated = [r["data"] for r in traced.records("server") if r["name"] == "http3:priority_updated"]
    assert [(data["stream_id"], data.get("old"), data["new"], data["trigger"]) for data in updated] == [
        (0, None, "u=1, i", "client_signal_received"),
        (4, None, "", "local"),
        (8, None, "u=5", "client_signal_received"),
        (8, "u=5", "u=2", "client_signal_received"),
    ]


def test_errors_have_their_names(traced: Traced) -> None:
    converse(traced)
    resets = [
        frame
        for data in traced.of("server", "packet_received")
        for frame in data["frames"]
        if frame["frame_type"] in {"reset_stream", "stop_sending"}
    ]
    assert {frame["error"] for frame in resets} == {"http_request_cancelled"}
    for role in ("client", "server"):
        [closed] = traced.of(role, "connection_closed")
        assert closed["application_error"] == "http_no_error"
