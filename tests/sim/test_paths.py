"""The peer's address changes: NAT rebindings in full flight, copies by attackers, loss of what matters."""

from dataclasses import replace

import pytest

from endpoint.config import Config
from endpoint.crypto.initial import initial_keys
from endpoint.events import NewTokenReceived, PathChanged
from endpoint.level import Level
from endpoint.testing.apps import ContentServer, Download
from endpoint.testing.dissect import Dissected, KeyLog
from endpoint.testing.link import CLIENT_ADDRESS, RUNNER, SERVER_ADDRESS, Captured, Datagram, LinkProfile
from endpoint.testing.packets import build_packet
from endpoint.testing.pair import End, Pair
from endpoint.testing.scenario import Scenario
from endpoint.wire.frames import Padding, PathChallenge, PathResponse, Ping
from endpoint.wire.version import QUIC_V1, VERSIONS

MEBIBYTE = 1 << 20
PORT_2 = (CLIENT_ADDRESS[0], 777)
PORT_3 = (CLIENT_ADDRESS[0], 40001)
HOST_2 = ("192.0.2.77", 1023)
HOST_3 = ("192.0.2.200", 50000)


@pytest.fixture
def key_log(scenario: Scenario) -> KeyLog:
    log = KeyLog()
    scenario.keylog = log.add
    return log


def server_packets(pair: Pair, log: KeyLog) -> list[Dissected]:
    return [packet for packet in log.dissect(pair.network.captured) if not packet.captured.from_client]


def first_to_each_pair(packets: list[Captured]) -> list[Captured]:
    """The server's first datagram between each pair of addresses, but the first pair."""
    seen: set[object] = set()
    firsts = []
    for packet in packets:
        pair = (packet.source, packet.destination)
        if not packet.from_client and pair not in seen:
            seen.add(pair)
            firsts.append(packet)
    return firsts[1:]


def check_as_the_runner_does(pair: Pair, log: KeyLog) -> int:
    """The interop runner's check of `rebind-*` and `connectionmigration`; how many new paths there were."""
    packets = list(log.dissect(pair.network.captured))
    firsts = first_to_each_pair(pair.network.captured)
    responses = {data for p in packets if p.captured.from_client for data in p.responses}
    for first in firsts:
        packet = next(p for p in packets if p.captured is first)
        assert packet.challenges, f"no challenge in the first datagram to {first.destination}"
        assert packet.challenges[0] in responses
    return len(firsts)


def path_changes(end: End) -> list[PathChanged]:
    return [event for event in end.events if isinstance(event, PathChanged)]


def tokens(pair: Pair) -> list[bytes]:
    return [event.token for event in pair.client.events if isinstance(event, NewTokenReceived)]


@pytest.mark.parametrize(("second", "third"), [(PORT_2, PORT_3), (HOST_2, HOST_3)], ids=["port", "address"])
def test_rebindings_in_a_full_transfer(
    scenario: Scenario, key_log: KeyLog, second: tuple[str, int], third: tuple[str, int]
) -> None:
    """The runner's `rebind-port` and `rebind-addr`: at 1 s and 6 s, in 10 MiB over 10 Mbit/s."""
    scenario.rebindings = [(1.0, second), (6.0, third)]
    download = Download(sizes=[10 * MEBIBYTE])
    pair, _ = scenario.download(download, deadline=20.0)
    assert download.seconds < 11.0
    assert check_as_the_runner_does(pair, key_log) == 2
    assert [change.peer for change in path_changes(pair.server)] == [second, third]
    assert path_changes(pair.client) == []
    assert pair.server.connection.peer == third


@pytest.mark.parametrize("moment", [0.3, 0.7, 1.1, 1.5, 1.9])
def test_rebinding_at_any_moment(scenario: Scenario, key_log: KeyLog, moment: float) -> None:
    scenario.rebindings = [(moment, HOST_2)]
    download = Download(sizes=[3 * MEBIBYTE])
    pair, _ = scenario.download(download, deadline=10.0)
    assert download.seconds < 3.6  # 2.7 s without
    assert check_as_the_runner_does(pair, key_log) == 1


@pytest.mark.parametrize("address", [PORT_2, HOST_2], ids=["port", "address"])
def test_window_and_round_trip_survive_a_change_of_port(scenario: Scenario, address: tuple[str, int]) -> None:
    """RFC 9000 §9.4: a change of port keeps them, a change of address does not."""
    scenario.rebindings = [(1.0, address)]
    pair = scenario.pair(Download(sizes=[3 * MEBIBYTE]), ContentServer)
    assert pair.run(lambda: bool(pair.servers) and pair.now > 0.99, deadline=2.0)
    server = pair.server
    before = server.connection.congestion_window
    assert pair.run(lambda: bool(path_changes(server)), deadline=2.0)
    after = server.connection.congestion_window
    if address == PORT_2:
        assert after >= before
    else:
        assert after == 10 * 1252
    assert server.connection.rtt.has_sample is (address == PORT_2)


def test_upload_through_rebindings(scenario: Scenario, key_log: KeyLog) -> None:
    scenario.rebindings = [(0.5, PORT_2), (1.0, HOST_2), (1.5, HOST_3)]
    download = Download(sizes=[100], upload=2 * MEBIBYTE)
    pair, _ = scenario.download(download, deadline=15.0)
    assert check_as_the_runner_does(pair, key_log) == 3
    assert download.seconds < 4.0


def test_rebinding_when_idle(scenario: Scenario, key_log: KeyLog) -> None:
    """The first packet from the new address is a PING of the client."""
    scenario.client_config = Config(keep_alive=1.0)
    scenario.rebindings = [(2.5, HOST_2)]
    pair = scenario.pair()
    assert pair.run(lambda: bool(pair.servers) and bool(path_changes(pair.server)), deadline=5.0)
    pair.run(deadline=pair.now + 0.2)
    assert check_as_the_runner_does(pair, key_log) == 1


def test_rebinding_before_the_answer(scenario: Scenario) -> None:
    """A client whose request was acknowledged has nothing to repeat; it speaks up nevertheless."""
    scenario.rebindings = [(0.2, HOST_2)]
    pair = scenario.pair()
    assert pair.run(lambda: pair.client.connection.handshake_confirmed, deadline=1.0)
    pair.client.connection.write(pair.client.connection.open_stream(), b"GET /slow", fin=True)
    assert pair.run(lambda: pair.server.connection.peer == HOST_2, deadline=1.0)


@pytest.mark.parametrize("moment", [0.0, 0.01, 0.02, 0.035, 0.05, 0.065])
def test_rebinding_during_the_handshake(scenario: Scenario, key_log: KeyLog, moment: float) -> None:
    """RFC 9000 §9: a new address is validated, and the runner wants that first of all there, then too."""
    scenario.rebindings = [(moment, PORT_2), (moment + 0.001, HOST_2)]
    download = Download(sizes=[100_000])
    pair, _ = scenario.download(download, deadline=10.0)
    assert pair.server.connection.peer == HOST_2
    assert download.seconds < 2.5
    assert check_as_the_runner_does(pair, key_log) >= 1


def test_forged_initial_from_elsewhere(scenario: Scenario) -> None:
    """RFC 9000 §21.1.1.1: who sees a ClientHello can send the next Initial, from the address of a victim.

    That gets three times as much at most (§8.1), and the client's next packet ends it.
    """
    # Without a bandwidth what is sent at once arrives at once, before the server answers.
    scenario.up = LinkProfile()
    pair = scenario.pair(Download(sizes=[1000]), ContentServer)

    def forge(datagram: Datagram) -> list[Datagram]:
        pair.network.meddle_up = lambda other: [other]
        connection = pair.client.connection
        dcid, scid = connection.original_destination_cid, connection.local_cids[0]
        keys, _ = initial_keys(VERSIONS[QUIC_V1], dcid, is_client=True)
        data = build_packet(Level.INITIAL, keys, [Ping()], dcid=dcid, scid=scid, pn=1, fill_to=1200)
        return [datagram, Datagram(data, HOST_2, SERVER_ADDRESS)]

    pair.network.meddle_up = forge
    assert pair.run(lambda: pair.client.connection.handshake_confirmed, deadline=5.0)
    assert [change.peer for change in path_changes(pair.server)] == [HOST_2, CLIENT_ADDRESS]
    to_victim = [len(captured.data) for captured in pair.network.captured if captured.destination == HOST_2]
    assert 0 < sum(to_victim) <= 3 * 1200


def test_rebinding_during_the_handshake_and_then_an_outage(scenario: Scenario) -> None:
    """Nowhere to return to: the new path gets more time before the connection is given up (§9.3.2)."""
    scenario.rebindings = [(0.02, HOST_2)]
    download = Download(sizes=[300_000])
    pair = scenario.pair(download, ContentServer)
    assert pair.run(lambda: bool(pair.servers) and pair.server.connection.handshake_confirmed, deadline=5.0)
    assert pair.server.connection.peer == HOST_2
    pair.network.down.profile = replace(RUNNER, outages=((pair.now, pair.now + 5.0),))
    assert pair.run(lambda: download.finished_at is not None, deadline=25.0)
    assert download.done


@pytest.mark.parametrize("lost", [1, 2])
def test_loss_of_the_first_packets_on_the_new_path(scenario: Scenario, key_log: KeyLog, lost: int) -> None:
    """New challenges follow, each with other data (RFC 9000 §8.2.1)."""
    scenario.rebindings = [(1.0, PORT_2)]
    download = Download(sizes=[2 * MEBIBYTE])
    pair = scenario.pair(download, ContentServer)
    assert pair.run(lambda: bool(pair.servers) and bool(path_changes(pair.server)), deadline=3.0)
    now = pair.now
    pair.network.down.profile = replace(RUNNER, outages=((now, now + (0.04 if lost == 1 else 0.3)),))
    assert pair.run(lambda: download.finished_at is not None, deadline=10.0)
    challenges = [
        packet.challenges[0]
        for packet in server_packets(pair, key_log)
        if packet.challenges and packet.captured.destination == PORT_2
    ]
    assert len(challenges) > lost
    assert len(set(challenges)) == len(challenges)
    assert download.done
    assert download.seconds < 4.0


def test_lossy_links_with_rebindings(scenario: Scenario) -> None:
    scenario.up = replace(RUNNER, loss=0.05)
    scenario.rebindings = [(0.5 * i, ("192.0.2.99", 1000 + i)) for i in range(1, 8)]
    scenario.download(Download(sizes=[MEBIBYTE]), deadline=40.0)


def test_rebinding_with_a_zero_length_client_cid(scenario: Scenario) -> None:
    scenario.client_config = Config(connection_id_length=0)
    scenario.rebindings = [(0.5, HOST_2)]
    download = Download(sizes=[MEBIBYTE])
    pair, _ = scenario.download(download, deadline=5.0)
    assert pair.server.connection.peer == HOST_2


def test_unvalidated_address_gets_three_times_what_it_sent(scenario: Scenario) -> None:
    """RFC 9000 §9.3.1, when nothing arrives at the new address."""
    scenario.rebindings = [(1.0, HOST_2)]
    download = Download(sizes=[3 * MEBIBYTE])
    pair = scenario.pair(download, ContentServer)
    assert pair.run(lambda: bool(pair.servers) and pair.now > 0.98, deadline=3.0)
    pair.network.down.profile = replace(RUNNER, loss=1.0)
    received = sent = 0
    pair.run(deadline=3.5)
    for captured in pair.network.captured:
        if captured.from_client and captured.source == HOST_2:
            received += len(captured.data)
        elif captured.destination == HOST_2:
            sent += len(captured.data)
            # Everything that was sent has arrived at the server, or will: nothing is lost this way.
            assert sent <= 3 * received
    assert sent > 0


def test_old_path_is_probed(scenario: Scenario, key_log: KeyLog) -> None:
    """RFC 9000 §9.3.3."""
    scenario.rebindings = [(0.5, HOST_2)]
    pair, _ = scenario.download(Download(sizes=[MEBIBYTE]), deadline=5.0)
    moved = path_changes(pair.server)
    assert len(moved) == 1
    to_old = [
        packet
        for packet in server_packets(pair, key_log)
        if packet.challenges and packet.captured.destination == CLIENT_ADDRESS
    ]
    assert to_old
    for packet in to_old:
        assert all(isinstance(frame, PathChallenge | PathResponse | Padding) for frame in packet.frames)
        assert len(packet.captured.data) >= 1200


def copy_next(pair: Pair, count: int) -> None:
    """Somebody puts copies of the client's next datagrams on the link, before them and from elsewhere."""
    left = count

    def meddle(datagram: Datagram) -> list[Datagram]:
        nonlocal left
        left -= 1
        return [replace(datagram, source=HOST_2), datagram] if left >= 0 else [datagram]

    pair.network.meddle_up = meddle


def test_spurious_migration_is_undone_by_the_next_packet(scenario: Scenario) -> None:
    """RFC 9000 §9.3.2: one copy comes first from a spoofed address; the window is that of before."""
    download = Download(sizes=[3 * MEBIBYTE])
    pair = scenario.pair(download, ContentServer)
    assert pair.run(lambda: pair.now > 1.0 or bool(download.finished_at), deadline=1.0) is False
    before = pair.server.connection.congestion_window
    copy_next(pair, 1)
    assert pair.run(lambda: len(path_changes(pair.server)) == 2, deadline=2.0)
    assert [change.peer for change in path_changes(pair.server)] == [HOST_2, CLIENT_ADDRESS]
    assert pair.server.connection.congestion_window >= before // 2
    assert pair.run(lambda: download.finished_at is not None, deadline=10.0)
    assert download.done
    assert download.seconds < 3.6


def test_return_to_the_last_validated_path(scenario: Scenario) -> None:
    """RFC 9000 §9.3.2: the last packet of the client is copied, so nothing but the timer can undo it."""
    scenario.client_config = scenario.server_config = Config(max_idle_timeout=60.0)
    pair = scenario.pair(Download(sizes=[1000]), ContentServer)
    pair.run(deadline=2.0)
    copy_next(pair, 1)
    pair.client.connection.ping()
    assert pair.run(lambda: bool(path_changes(pair.server)), deadline=3.0)
    assert pair.server.connection.peer == HOST_2
    assert pair.run(lambda: pair.server.connection.peer == CLIENT_ADDRESS, deadline=8.0)
    # Either by the client's answer to the challenge on the old path, or by giving up on the new one.
    pair.client.connection.ping()
    pair.run(deadline=pair.now + 1.0)
    assert not pair.server.connection.is_closing
    assert pair.server.connection.peer == CLIENT_ADDRESS


def test_every_packet_copied_by_a_faster_attacker(scenario: Scenario) -> None:
    """§9.3.3 calls the defence imperfect; the transfer must survive it nevertheless."""
    download = Download(sizes=[MEBIBYTE])
    pair = scenario.pair(download, ContentServer)
    pair.run(deadline=0.3)
    copy_next(pair, 100)
    assert pair.run(lambda: download.finished_at is not None, deadline=20.0)
    assert download.done


def test_reordered_packets_do_not_move_it_back(scenario: Scenario) -> None:
    """RFC 9000 §9.3: only the highest packet number moves the connection."""
    scenario.up = replace(RUNNER, reordering=0.3, reordering_delay=0.02)
    scenario.down = RUNNER
    scenario.rebindings = [(0.5, HOST_2)]
    pair, _ = scenario.download(Download(sizes=[2 * MEBIBYTE]), deadline=10.0)
    assert [change.peer for change in path_changes(pair.server)] == [HOST_2]


def test_client_ignores_strangers(scenario: Scenario) -> None:
    """RFC 9000 §9: a server that answers from nowhere is not our server."""
    pair = scenario.pair()
    assert pair.run(lambda: pair.client.connection.handshake_confirmed, deadline=2.0)
    elsewhere = ("198.51.100.66", 443)
    pair.network.meddle_down = lambda datagram: [replace(datagram, source=elsewhere)]
    pair.server.connection.close(7, "", now=pair.now)
    pair.run(deadline=pair.now + 1.0)
    assert not pair.client.connection.is_closing
    assert pair.client.connection.peer == SERVER_ADDRESS


def test_token_for_each_new_host(scenario: Scenario) -> None:
    """RFC 9000 §9.3: an address that is proven is good for the next visit too. Tokens name no ports."""
    scenario.rebindings = [(0.3, PORT_2), (0.6, HOST_2)]
    pair, _ = scenario.download(Download(sizes=[MEBIBYTE]), deadline=5.0)
    assert len(set(tokens(pair))) == 2


def test_no_token_before_the_address_is_proven(scenario: Scenario) -> None:
    """RFC 9000 §8.1.3: a token says that it was; §9.3: it follows as soon as it is."""
    scenario.rebindings = [(0.01, HOST_2)]
    pair, _ = scenario.download(Download(sizes=[1000]), deadline=5.0)
    pair.run(deadline=pair.now + 0.2)
    assert len(tokens(pair)) == 1
