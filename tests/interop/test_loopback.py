"""Ourselves over loopback, as the command that checks peers has it: protocols, refusals, failures."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from endpoint.cli.testcases import Role
from interop.loopback import try_pair
from interop.registry import Peer, load_peers, local_peer


@pytest.fixture(scope="module")
def ours() -> Peer:
    return load_peers()["interquic"]


def with_alpn(peer: Peer, alpn: str) -> Peer:
    """The same, said to speak nothing else."""
    return replace(peer, roles={role: replace(spec, alpn=(alpn,)) for role, spec in peer.roles.items()})


def alpn_of(traces: Path) -> Iterator[str]:
    """What a connection's trace says was negotiated."""
    for path in traces.iterdir():
        for record in path.read_bytes().split(b"\x1e"):
            event = json.loads(record or b"{}")
            if "chosen_alpn" in event.get("data", {}):
                yield event["data"]["chosen_alpn"]["string_value"]


@pytest.mark.parametrize(
    ("testcase", "server_has", "spoken"),
    [
        ("handshake", None, "hq-interop"),
        ("handshake", "h3", "h3"),
        ("http3", None, "h3"),
        ("retry", "h3", "h3"),
    ],
)
def test_the_client_speaks_what_the_server_has(
    ours: Peer, tmp_path: Path, testcase: str, server_has: str | None, spoken: str
) -> None:
    server = ours if server_has is None else with_alpn(ours, server_has)
    trial = try_pair(ours, server, testcase, tmp_path, (1, 20_000))
    assert trial.problem == ""
    assert trial.supported
    assert set(alpn_of(tmp_path / "client-qlog")) == {spoken}


def test_without_a_common_protocol_nothing_is_tried(ours: Peer, tmp_path: Path) -> None:
    assert not try_pair(with_alpn(ours, "hq-interop"), ours, "http3", tmp_path / "new", (1,)).supported
    assert not (tmp_path / "new").exists()


def test_a_side_that_declines_makes_the_case_unsupported(ours: Peer, tmp_path: Path) -> None:
    declines = local_peer("declines", "sh -c 'exit 127'")
    assert not try_pair(ours, declines, "handshake", tmp_path / "one", (1,)).supported
    assert not try_pair(declines, ours, "handshake", tmp_path / "two", (1,)).supported


def test_what_is_wrong_with_a_client_is_told(ours: Peer, tmp_path: Path) -> None:
    idle = local_peer("idle", "true")
    trial = try_pair(idle, ours, "handshake", tmp_path / "one", (1,))
    assert trial.problem.splitlines()[0] == "file-0-1 was not downloaded"
    sloppy = local_peer(
        "sloppy", "sh -c 'echo wrong >$DOWNLOADS/file-0-1; echo and more; touch $DOWNLOADS/x'"
    )
    trial = try_pair(sloppy, ours, "handshake", tmp_path / "two", (1,))
    assert trial.problem.splitlines()[0] == "file-0-1: 6 bytes that differ from the 1 sent"
    assert "  client: and more" in trial.problem.splitlines()
    fails = local_peer("fails", "sh -c 'exit 3'")
    trial = try_pair(fails, ours, "handshake", tmp_path / "three", (1,))
    assert trial.problem.splitlines()[0] == "the client ended with 3"
    slow = local_peer("slow", "sleep 60")
    trial = try_pair(slow, ours, "handshake", tmp_path / "four", (1,), limit=1)
    assert trial.problem.splitlines()[0] == "the client was not done after 1 s"


def test_peers_of_one_role_have_no_other(ours: Peer) -> None:
    only_client = replace(ours, roles={Role.CLIENT: ours.roles[Role.CLIENT]})
    assert only_client.alpn(Role.SERVER) == ()
    assert not only_client.supports(Role.SERVER, "handshake")
