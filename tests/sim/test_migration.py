"""Moves on purpose: the client to another of its addresses, and both to the server's preferred address."""

from dataclasses import replace

import pytest

from endpoint.batch import Address
from endpoint.config import Config
from endpoint.errors import ConnectionClosedError, MigrationError
from endpoint.events import MigrationFailed, PathChanged
from endpoint.testing.apps import ContentServer, Download
from endpoint.testing.dissect import Dissected, KeyLog
from endpoint.testing.link import CLIENT_ADDRESS, RUNNER, SERVER_ADDRESS, Datagram
from endpoint.testing.pair import Pair
from endpoint.testing.scenario import Scenario
from endpoint.wire.frames import NewConnectionId, Padding, PathChallenge, PathResponse, RetireConnectionId
from endpoint.wire.header import LONG_HEADER_FORM, parse_long_header

MEBIBYTE = 1 << 20
WIFI = ("203.0.113.9", 6000)
MOBILE = ("100.64.3.2", 7000)
PREFERRED = (SERVER_ADDRESS[0], 8443)
PREFERRED_6 = ("2001:db8::8", 8443)
PROBING = PathChallenge | PathResponse | NewConnectionId | Padding


@pytest.fixture
def key_log(scenario: Scenario) -> KeyLog:
    log = KeyLog()
    scenario.keylog = log.add
    return log


def start(scenario: Scenario, size: int = 3 * MEBIBYTE, upload: int = 0) -> tuple[Pair, Download]:
    download = Download(sizes=[size], upload=upload)
    pair = scenario.pair(download, ContentServer)
    assert pair.run(lambda: pair.client.connection.handshake_confirmed, deadline=3.0)
    return pair, download


def finish(pair: Pair, download: Download, deadline: float = 20.0) -> None:
    assert pair.run(lambda: download.finished_at is not None, deadline=deadline), download
    assert download.done


def changes(pair: Pair, *, client: bool = True) -> list[tuple[Address, Address | None]]:
    events = (pair.client if client else pair.server).events
    return [(event.peer, event.local) for event in events if isinstance(event, PathChanged)]


def failures(pair: Pair) -> list[MigrationFailed]:
    return [event for event in pair.client.events if isinstance(event, MigrationFailed)]


def cids_by_path(packets: list[Dissected], *, from_client: bool) -> dict[tuple[Address, Address], set[bytes]]:
    """The connection IDs that one side used, by pair of addresses."""
    found: dict[tuple[Address, Address], set[bytes]] = {}
    for packet in packets:
        if packet.captured.from_client is from_client:
            found.setdefault((packet.captured.source, packet.captured.destination), set()).add(packet.dcid)
    return found


def check_no_cid_on_two_paths(packets: list[Dissected]) -> None:
    """RFC 9000 §9.5."""
    for side in (True, False):
        used = [cid for cids in cids_by_path(packets, from_client=side).values() for cid in cids]
        assert len(used) == len(set(used))


def on_path(packets: list[Dissected], source: Address, destination: Address) -> list[Dissected]:
    return [p for p in packets if (p.captured.source, p.captured.destination) == (source, destination)]


@pytest.mark.parametrize("upload", [0, MEBIBYTE])
def test_client_migrates_in_full_transfer(scenario: Scenario, key_log: KeyLog, upload: int) -> None:
    pair, download = start(scenario, upload=upload)
    pair.run(deadline=1.0)
    pair.client.connection.migrate(WIFI, pair.now)
    finish(pair, download)
    assert download.seconds < (3.6 if not upload else 5.0)
    assert changes(pair) == [(SERVER_ADDRESS, WIFI)]
    assert changes(pair, client=False) == [(WIFI, SERVER_ADDRESS)]
    packets = list(key_log.dissect(pair.network.captured))
    check_no_cid_on_two_paths(packets)
    # Before the path is validated nothing but probes goes there, and the server challenges too (§9.3).
    out, back = on_path(packets, WIFI, SERVER_ADDRESS), on_path(packets, SERVER_ADDRESS, WIFI)
    assert all(isinstance(frame, PROBING) for frame in out[0].frames)
    assert out[0].challenges
    assert len(out[0].captured.data) >= 1200
    assert back[0].challenges
    assert back[0].responses == out[0].challenges
    retired = [
        f for p in packets if p.captured.from_client for f in p.frames if isinstance(f, RetireConnectionId)
    ]
    assert [frame.sequence_number for frame in retired] == [0]


def test_migrations_one_after_the_other(scenario: Scenario, key_log: KeyLog) -> None:
    """Connection IDs are retired and replaced, so there are always some."""
    scenario.client_config = Config(keep_alive=0.5)
    pair, _ = start(scenario, size=1000)
    for number in range(12):
        pair.client.connection.migrate((WIFI[0], 6000 + number), pair.now)
        pair.run(deadline=pair.now + 5.0)
        assert len(changes(pair)) == len(changes(pair, client=False)) == number + 1
    check_no_cid_on_two_paths(list(key_log.dissect(pair.network.captured)))


def test_idle_client_migrates(scenario: Scenario) -> None:
    """The server hears of it without any data being sent."""
    pair = scenario.pair()
    pair.run(deadline=1.0)
    pair.client.connection.migrate(WIFI, pair.now)
    pair.run(deadline=1.3)
    assert pair.server.connection.peer == WIFI


def test_path_that_leads_nowhere(scenario: Scenario) -> None:
    """RFC 9000 §9.1: failure to validate does not end the connection, nor disturb the transfer."""
    pair, download = start(scenario)
    pair.run(deadline=0.5)
    pair.network.meddle_up = lambda datagram: [] if datagram.source == WIFI else [datagram]
    pair.client.connection.migrate(WIFI, pair.now)
    finish(pair, download)
    assert download.seconds < 3.2
    pair.run(deadline=6.0)
    assert failures(pair) == [MigrationFailed(SERVER_ADDRESS, WIFI)]
    assert changes(pair) == []
    # It can be tried again, with another connection ID.
    pair.network.meddle_up = lambda datagram: [datagram]
    pair.client.connection.migrate(WIFI, pair.now)
    pair.run(deadline=pair.now + 1.0)
    assert changes(pair) == [(SERVER_ADDRESS, WIFI)]


def test_path_that_carries_no_large_datagrams(scenario: Scenario) -> None:
    """RFC 9000 §8.2.1: a path that does not carry 1200 bytes is none."""
    pair, _ = start(scenario, size=1000)

    def narrow(datagram: Datagram) -> list[Datagram]:
        return (
            []
            if WIFI in (datagram.source, datagram.destination) and len(datagram.data) > 1100
            else [datagram]
        )

    pair.network.meddle_up = pair.network.meddle_down = narrow
    pair.client.connection.migrate(WIFI, pair.now)
    pair.run(deadline=8.0)
    assert len(failures(pair)) == 1
    assert not pair.client.connection.is_closing


@pytest.mark.parametrize("lost", [1, 2])
def test_lost_probes_are_repeated_with_other_data(scenario: Scenario, key_log: KeyLog, lost: int) -> None:
    """After 1 s and no more often (RFC 9000 §8.2.1); after 3 s it is over (§8.2.4)."""
    pair, download = start(scenario)
    pair.run(deadline=0.5)
    left = lost

    def lose(datagram: Datagram) -> list[Datagram]:
        nonlocal left
        if WIFI in (datagram.source, datagram.destination):
            left -= 1
            return [] if left >= 0 else [datagram]
        return [datagram]

    pair.network.meddle_up = pair.network.meddle_down = lose
    pair.client.connection.migrate(WIFI, pair.now)
    finish(pair, download)
    pair.run(deadline=6.0)
    if lost == 1:
        assert changes(pair) == [(SERVER_ADDRESS, WIFI)]
    else:
        assert failures(pair) == [MigrationFailed(SERVER_ADDRESS, WIFI)]
    probes = on_path(list(key_log.dissect(pair.network.captured)), WIFI, SERVER_ADDRESS)
    data = [challenge for probe in probes for challenge in probe.challenges]
    assert len(data) >= 2
    assert len(set(data)) == len(data)


def test_old_network_dies(scenario: Scenario) -> None:
    """The reason to migrate: the window of the old path is full of lost packets."""
    pair, download = start(scenario, upload=2 * MEBIBYTE, size=100)
    pair.run(deadline=0.5)

    def dead(datagram: Datagram) -> list[Datagram]:
        return [] if CLIENT_ADDRESS in (datagram.source, datagram.destination) else [datagram]

    pair.network.meddle_up = pair.network.meddle_down = dead
    pair.run(deadline=1.0)
    pair.client.connection.migrate(WIFI, pair.now)
    finish(pair, download)
    assert download.seconds < 4.0


def test_probe_brings_the_connection_ids_for_its_answer(scenario: Scenario) -> None:
    """RFC 9000 §8.2: of what told of them nothing has arrived, and nothing more will from the old network."""

    def dies(datagram: Datagram) -> list[Datagram]:
        end, data = 0, datagram.data
        while end < len(data) and data[end] & LONG_HEADER_FORM:
            end = parse_long_header(data, end, len(data)).packet_end
        if datagram.source == CLIENT_ADDRESS:
            return [replace(datagram, data=data[:end])] if end else []
        return [datagram]

    pair = scenario.pair()
    pair.network.meddle_up = dies
    assert pair.run(lambda: pair.client.connection.handshake_confirmed, deadline=2.0)
    pair.client.connection.migrate(WIFI, pair.now)
    assert pair.run(lambda: bool(changes(pair, client=False)), deadline=pair.now + 0.5)
    assert pair.server.connection.peer == WIFI


def test_migration_during_a_key_update(scenario: Scenario) -> None:
    pair, download = start(scenario)
    pair.run(deadline=0.6)
    pair.client.connection.update_keys(pair.now)
    pair.client.connection.migrate(WIFI, pair.now)
    pair.run(deadline=0.62)
    pair.server.connection.ping()
    finish(pair, download)
    assert changes(pair, client=False) == [(WIFI, SERVER_ADDRESS)]
    assert pair.client.connection.key_updates == pair.server.connection.key_updates == 1


def test_migration_and_rebinding_at_once(scenario: Scenario) -> None:
    scenario.rebindings = [(1.0, (CLIENT_ADDRESS[0], 999))]
    pair, download = start(scenario)
    pair.run(deadline=0.99)
    pair.client.connection.migrate(WIFI, pair.now)
    finish(pair, download)
    assert pair.server.connection.peer == WIFI


def test_migration_back_and_forth(scenario: Scenario) -> None:
    pair, download = start(scenario)
    for number, local in enumerate([WIFI, MOBILE, ("203.0.113.9", 6001), ("100.64.3.2", 7001)]):
        pair.run(deadline=0.5 * (number + 1))
        pair.client.connection.migrate(local, pair.now)
    finish(pair, download)
    assert len(changes(pair)) == 4


def test_lossy_migration(scenario: Scenario) -> None:
    scenario.up = replace(RUNNER, loss=0.1)
    pair, download = start(scenario, size=MEBIBYTE)
    for number in range(4):
        pair.run(deadline=pair.now + 1.0)
        if download.finished_at is None:
            pair.client.connection.migrate((WIFI[0], 6000 + number), pair.now)
    finish(pair, download, deadline=40.0)


# Where it is not allowed.


def test_not_before_confirmation(scenario: Scenario) -> None:
    pair = scenario.pair()
    assert pair.run(lambda: pair.client.connection.handshake_complete, deadline=2.0)
    with pytest.raises(MigrationError, match="not confirmed"):
        pair.client.connection.migrate(WIFI, pair.now)


def test_server_that_forbids_it(scenario: Scenario) -> None:
    scenario.server_config = Config(disable_active_migration=True)
    pair, _ = start(scenario, size=100)
    with pytest.raises(MigrationError, match="does not allow"):
        pair.client.connection.migrate(WIFI, pair.now)


def test_server_that_forbids_it_follows_a_rebinding(scenario: Scenario) -> None:
    """RFC 9000 §9: a NAT asks nobody."""
    scenario.server_config = Config(disable_active_migration=True)
    scenario.rebindings = [(0.5, ("192.0.2.50", 4000))]
    pair, download = start(scenario, size=MEBIBYTE)
    finish(pair, download)
    assert pair.server.connection.peer == ("192.0.2.50", 4000)


def test_only_clients_only_while_open_only_elsewhere(scenario: Scenario) -> None:
    pair, _ = start(scenario, size=100)
    with pytest.raises(MigrationError, match="only a client"):
        pair.server.connection.migrate(WIFI, pair.now)
    with pytest.raises(MigrationError, match="already"):
        pair.client.connection.migrate(CLIENT_ADDRESS, pair.now)
    pair.client.connection.close(now=pair.now)
    with pytest.raises(ConnectionClosedError):
        pair.client.connection.migrate(WIFI, pair.now)


def test_not_without_fresh_connection_ids(scenario: Scenario) -> None:
    scenario.client_config = Config(active_connection_id_limit=2)
    pair, _ = start(scenario, size=100)
    pair.run(deadline=1.0)
    pair.client.connection.migrate(WIFI, pair.now)
    assert pair.run(lambda: bool(changes(pair)), deadline=2.0)
    with pytest.raises(MigrationError, match="connection IDs"):
        pair.client.connection.migrate(MOBILE, pair.now)


# The server's preferred address.


def prefer(scenario: Scenario, ipv4: Address | None = PREFERRED, ipv6: Address | None = PREFERRED_6) -> None:
    scenario.server_config = replace(scenario.server_config, preferred_ipv4=ipv4, preferred_ipv6=ipv6)


def test_client_follows_to_the_preferred_address(scenario: Scenario, key_log: KeyLog) -> None:
    """The runner's `connectionmigration`: during the download, checks of section 7 included."""
    prefer(scenario)
    pair, download = start(scenario, size=2 * MEBIBYTE)
    finish(pair, download)
    assert download.seconds < 2.2
    assert changes(pair) == [(PREFERRED, CLIENT_ADDRESS)]
    assert changes(pair, client=False) == [(CLIENT_ADDRESS, PREFERRED)]
    packets = list(key_log.dissect(pair.network.captured))
    check_no_cid_on_two_paths(packets)
    out, back = on_path(packets, CLIENT_ADDRESS, PREFERRED), on_path(packets, PREFERRED, CLIENT_ADDRESS)
    # RFC 9000 §9.6.2: the client sends nothing but probes first; the contract: the server's first datagram
    # answers and asks in one packet.
    assert all(isinstance(frame, PROBING) for frame in out[0].frames)
    assert back[0].responses == out[0].challenges
    assert back[0].challenges
    assert len(back[0].captured.data) >= 1200
    answered = {data for packet in packets if packet.captured.from_client for data in packet.responses}
    assert back[0].challenges[0] in answered
    # From there on nothing of the server comes from its first address.
    moved = out[-1].captured.time
    assert not [p for p in on_path(packets, SERVER_ADDRESS, CLIENT_ADDRESS) if p.captured.time > moved]


def test_server_stays_until_the_client_moves(scenario: Scenario, key_log: KeyLog) -> None:
    """RFC 9000 §9.6.2: nothing but probes from the preferred address until the path is valid and used."""
    prefer(scenario)
    pair, download = start(scenario, size=MEBIBYTE)
    finish(pair, download)
    packets = list(key_log.dissect(pair.network.captured))
    used = next(
        p
        for p in on_path(packets, CLIENT_ADDRESS, PREFERRED)
        if not all(isinstance(frame, PROBING) for frame in p.frames)
    )
    for packet in on_path(packets, PREFERRED, CLIENT_ADDRESS):
        if packet.captured.time <= used.captured.time:
            assert all(isinstance(frame, PROBING) for frame in packet.frames)


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "followed"), [(PREFERRED, None, True), (None, PREFERRED_6, False)], ids=["ipv4", "ipv6"]
)
def test_one_family_missing(
    scenario: Scenario, ipv4: Address | None, ipv6: Address | None, followed: bool
) -> None:
    prefer(scenario, ipv4, ipv6)
    pair, download = start(scenario, size=MEBIBYTE)
    finish(pair, download)
    assert changes(pair) == ([(PREFERRED, CLIENT_ADDRESS)] if followed else [])


def to_preferred(datagram: Datagram) -> bool:
    return PREFERRED in (datagram.source, datagram.destination)


def test_preferred_address_that_does_not_answer(scenario: Scenario) -> None:
    """RFC 9000 §9.6.1: the client stays with the original."""
    prefer(scenario)
    download = Download(sizes=[MEBIBYTE])
    pair = scenario.pair(download, ContentServer)
    pair.network.meddle_up = lambda datagram: [] if to_preferred(datagram) else [datagram]
    finish(pair, download)
    pair.run(deadline=6.0)
    assert changes(pair) == changes(pair, client=False) == []
    assert failures(pair) == [MigrationFailed(PREFERRED, CLIENT_ADDRESS)]


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_lost_answer_of_the_preferred_address(scenario: Scenario, lost: int) -> None:
    prefer(scenario)
    pair, download = start(scenario, size=3 * MEBIBYTE)
    seen = 0

    def lose(datagram: Datagram) -> list[Datagram]:
        nonlocal seen
        seen += to_preferred(datagram)
        return [] if to_preferred(datagram) and seen == lost + 1 else [datagram]

    pair.network.meddle_up = pair.network.meddle_down = lose
    finish(pair, download)
    assert changes(pair) == [(PREFERRED, CLIENT_ADDRESS)]


def test_rebinding_after_the_preferred_address(scenario: Scenario) -> None:
    prefer(scenario)
    scenario.rebindings = [(0.8, ("192.0.2.1", 3333))]
    pair, download = start(scenario)
    finish(pair, download)
    assert changes(pair, client=False)[-1] == (("192.0.2.1", 3333), PREFERRED)
    assert download.seconds < 3.6


@pytest.mark.parametrize("dead", [None, "preferred", "original"])
def test_migration_before_the_preferred_address(scenario: Scenario, dead: str | None) -> None:
    """RFC 9000 §9.6.3: both addresses of the server are tried from the new one; the preferred is better."""
    prefer(scenario)
    pair, download = start(scenario)

    def meddle(datagram: Datagram) -> list[Datagram]:
        new = WIFI in (datagram.source, datagram.destination)
        lost = new and dead == ("preferred" if to_preferred(datagram) else "original")
        return [] if lost else [datagram]

    pair.network.meddle_up = pair.network.meddle_down = meddle
    pair.client.connection.migrate(WIFI, pair.now)
    finish(pair, download)
    pair.run(deadline=6.0)
    expected = SERVER_ADDRESS if dead == "preferred" else PREFERRED
    assert changes(pair) == [(expected, WIFI)]
    assert changes(pair, client=False)[-1] == (WIFI, expected)


def test_migration_is_allowed_from_the_preferred_address(scenario: Scenario) -> None:
    """RFC 9000 §18.2: disable_active_migration ends where the preferred address begins."""
    scenario.server_config = Config(disable_active_migration=True)
    prefer(scenario)
    pair, download = start(scenario)
    assert pair.run(lambda: bool(changes(pair)), deadline=2.0)
    pair.client.connection.migrate(WIFI, pair.now)
    finish(pair, download)
    assert changes(pair, client=False)[-1] == (WIFI, PREFERRED)


def test_zero_length_client_cids(scenario: Scenario) -> None:
    prefer(scenario)
    scenario.client_config = Config(connection_id_length=0)
    pair, download = start(scenario, size=MEBIBYTE)
    finish(pair, download)
    assert changes(pair) == [(PREFERRED, CLIENT_ADDRESS)]


def test_hooks_are_called_in_any_batch_shape(scenario: Scenario) -> None:
    """Without receive offload every datagram comes by itself."""
    prefer(scenario)
    scenario.batch_limit = 1
    pair, download = start(scenario, size=MEBIBYTE)
    finish(pair, download)
    assert changes(pair) == [(PREFERRED, CLIENT_ADDRESS)]
