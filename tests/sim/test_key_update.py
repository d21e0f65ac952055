"""Key updates in the middle of transfers (RFC 9001 §6)."""

from dataclasses import replace
from itertools import pairwise

import pytest

from endpoint.config import Config
from endpoint.testing.apps import ContentServer, Download
from endpoint.testing.link import RUNNER, LinkProfile
from endpoint.testing.scenario import Scenario

MEBIBYTE = 1 << 20


@pytest.mark.parametrize("role", ["client", "server"])
def test_by_command(scenario: Scenario, role: str) -> None:
    download = Download(sizes=[MEBIBYTE])
    pair = scenario.pair(download, ContentServer)
    assert not pair.client.connection.update_keys(pair.now)  # not before the handshake is confirmed
    pair.run(lambda: download.received_bytes > 100_000, deadline=10.0)
    end = pair.client if role == "client" else pair.server
    assert end.connection.update_keys(pair.now)
    assert not end.connection.update_keys(pair.now)  # nothing of the new phase is acknowledged yet
    assert pair.run(lambda: download.done, deadline=20.0)
    assert pair.client.connection.key_updates == pair.server.connection.key_updates == 1


@pytest.mark.parametrize("role", ["client", "server", "both"])
@pytest.mark.parametrize(
    "profile",
    [
        RUNNER,
        replace(RUNNER, loss=0.05),
        LinkProfile(delay=0.02, jitter=0.01, reordering=0.2, loss=0.02, duplication=0.05),
    ],
    ids=["base", "loss", "disorder"],
)
def test_many(scenario: Scenario, role: str, profile: LinkProfile) -> None:
    """An update every 50 packets or three PTOs, whoever begins: both ends agree on the number."""
    scenario.up = profile
    if role != "server":
        scenario.client_config = Config(key_update_after=50)
    if role != "client":
        scenario.server_config = Config(key_update_after=50)
    pair, _ = scenario.download(Download(sizes=[4 * MEBIBYTE]), deadline=240.0)
    client, server = pair.client.connection, pair.server.connection
    assert client.key_updates >= 5
    assert abs(client.key_updates - server.key_updates) <= 1


@pytest.mark.parametrize("role", ["client", "server", "both"])
def test_the_peer_is_left_its_time(scenario: Scenario, role: str) -> None:
    """RFC 9001 §6.5: no update sooner than three PTOs after the last: the peer may need the old keys."""
    if role != "server":
        scenario.client_config = Config(key_update_after=1)
    if role != "client":
        scenario.server_config = Config(key_update_after=1)
    download = Download(sizes=[2 * MEBIBYTE])
    pair = scenario.pair(download, ContentServer)
    began: list[float] = []

    def done() -> bool:
        if pair.client.connection.key_updates > len(began):
            began.append(pair.now)
            if pair.client.connection.handshake_confirmed:
                assert not pair.client.connection.update_keys(pair.now)
        return download.done

    assert pair.run(done, deadline=20.0)
    assert len(began) >= 4
    # The round trip of the link, and what an ACK may wait: no PTO is less.
    least = 3 * (2 * scenario.up.delay + 0.025)
    assert all(after - before > least for before, after in pairwise(began))


def test_before_the_limit_of_the_aead(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9001 §6.6: nobody has to ask for it."""
    from endpoint.crypto import aead
    from endpoint.transport import handshake

    short = {n: replace(suite, confidentiality_limit=400) for n, suite in aead.CIPHER_SUITES.items()}
    monkeypatch.setattr(handshake, "CIPHER_SUITES", short)
    pair, _ = scenario.download(Download(sizes=[MEBIBYTE]), deadline=20.0)
    assert pair.server.connection.key_updates >= 3
