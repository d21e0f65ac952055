"""All features at once, mixed by a seed; see `endpoint.testing.chaos`."""

import datetime as dt
from pathlib import Path

import pytest

from endpoint.events import StreamReceived
from endpoint.testing.certificates import Chain
from endpoint.testing.chaos import Chaos
from endpoint.testing.scenario import Scenario
from endpoint.tracing import QlogFolder
from qlog import checks
from qlog.validate import validate_file

# Mixes that have found something before, each for another reason:
FOUND = {
    76: "the path carries 1200 bytes, and what is lost is large, but fills no datagram",
    139: "a NAT rebinds again after the client's one question into the silence",
    171: "challenges to a new address carry marks that the path drops",
    232: "the client uses a path, and the server gives up on it between two challenges",
    711: "PTO probes repeat PINGs instead of the ClientHello",
    781: "the client forgets a path that the server has to use for want of a connection ID",
    3909: "who only sends ACKs marks them for ever on a path that drops marks",
    5302: "every second PTO probe is a PING, though the ClientHello is what is missing",
    6049: "a client that waits for leave to open another stream is cut off by a NAT",
    7812: "after a rebinding in the handshake everything is marked again, on a path that drops marks",
    504737: "every rebinding in the handshake begins to mark packets again, on a path that drops marks",
    510703: "both questions to the only address are lost, and the server is soon at the end of its patience",
    522577: "the server gives up the last connection ID that it has for a path, and the path in use is dead",
    540728: "the client moves to an address that the server tried in vain, and has no other ID for",
    900240: "the few ACKs of a long round trip test whether the path drops marks, and are lost to it",
    910639: "one request after the other is lost to the test whether the path drops marks, before any PTO",
    911154: "a client moves more often than it has given connection IDs for, and the old paths are dead",
    903911: "a preferred address brings back the marks that the path dropped in the handshake",
    1471: "HANDSHAKE_DONE is lost, a NAT rebinds, and the client speaks at Handshake only",
}


@pytest.fixture
def mixed(chain: Chain, valid_from: dt.datetime, number: int) -> Scenario:
    # pytest shows the output of failed tests only.
    print(f"seed {number}")
    return Scenario(chain=chain, wall_time=valid_from.timestamp() + 3600, seed=number)


@pytest.fixture
def mix(mixed: Scenario) -> Chaos:
    return Chaos(mixed)


@pytest.mark.parametrize("number", [*FOUND, *range(4, 54)])
def test_everything_arrives(mix: Chaos) -> None:
    mix.run()


@pytest.mark.parametrize("number", range(60, 80))
def test_everything_arrives_where_short_streams_are_one_event(mixed: Scenario) -> None:
    pair = Chaos(mixed, whole=True).run()
    assert any(
        isinstance(event, StreamReceived) for end in (pair.client, *pair.servers) for event in end.events
    )


@pytest.mark.parametrize("number", [0, 1, 2, 3, *range(54, 60)])
def test_traces_show_no_violation(mix: Chaos, tmp_path: Path) -> None:
    """What both ends log passes the semantic checks."""
    mix.run(QlogFolder(tmp_path))
    for path in tmp_path.iterdir():
        found = validate_file(path, checks.observers()).findings
        # What is only noteworthy is the links' doing.
        assert not [str(finding) for finding in found if finding.severity != "info"]
