"""Decisions about paths, without packets (RFC 9000 §9)."""

from collections import deque

import pytest

from endpoint.batch import Address
from endpoint.config import CongestionAlgorithm
from endpoint.errors import TransportError, TransportErrorCode
from endpoint.events import Event, PathChanged
from endpoint.level import Level
from endpoint.recovery.ack_tracker import AckTracker
from endpoint.recovery.loss import LossDetector
from endpoint.recovery.sent_packets import SentRun
from endpoint.testing.pair import seeded_bytes
from endpoint.transport.cids import LocalCids, PeerCids
from endpoint.transport.migration import MAX_PATHS, MIN_PROBE, Paths
from endpoint.transport.paths import Path
from endpoint.transport.preferred_address import preferred_peer
from endpoint.transport.spaces import PacketSpace
from endpoint.wire.frames import NewConnectionId
from endpoint.wire.transport_params import PreferredAddress, TransportParameters

CLIENT: Address = ("192.0.2.1", 50000)
SERVER: Address = ("198.51.100.1", 443)
CID = b"our own!"
OTHER_CID = b"another!"
TOKEN = bytes(16)


class World:
    """Paths with the parts they work with; a server's, its handshake made."""

    def __init__(
        self, *, is_client: bool = False, peer_cid: bytes = b"theirs!!", spare: int = 3, heard: bool = True
    ) -> None:
        """With 1-RTT packets `heard` on the path of the handshake."""
        self.events: deque[Event] = deque()
        self.cids = PeerCids(peer_cid, 8)
        for sequence in range(1, spare + 1):
            self.cids.on_new(NewConnectionId(sequence, 0, b"cid%05d" % sequence, TOKEN))
        self.recovery = LossDetector(
            is_client=is_client,
            initial_rtt=0.333,
            max_datagram_size=1252,
            congestion=CongestionAlgorithm.CUBIC,
        )
        self.space = PacketSpace(Level.ONE_RTT, AckTracker(immediate=False, max_ack_delay=0.025))
        self.local_cids = LocalCids(CID, seeded_bytes(2), lambda _: TOKEN)
        self.paths = Paths(
            Path(SERVER if is_client else CLIENT, CLIENT if is_client else SERVER, validated=True),
            is_client=is_client,
            initial_rtt=0.333,
            space=self.space,
            local_cids=self.local_cids,
            peer_cids=self.cids,
            recovery=self.recovery,
            events=self.events,
            random=seeded_bytes(1),
        )
        self.pn = 0
        self.paths.on_handshake_keys_used()
        self.paths.on_confirmed(0.0)
        if heard:
            self.come(CLIENT if not is_client else SERVER, SERVER if not is_client else CLIENT)

    def come(
        self,
        peer: Address,
        local: Address = SERVER,
        *,
        size: int = 40,
        cid: bytes = CID,
        now: float = 1.0,
        probing: bool = False,
        pn: int | None = None,
    ) -> Path | None:
        """A packet arrives, as `Receiver` tells it."""
        paths = self.paths
        path: Path | None = paths.active
        if (peer, local) != (paths.active.peer, paths.active.local):
            path = paths.on_batch(peer, local)
        if path is None:
            return None
        paths.arrival = path
        path.on_received(size)
        paths.on_authentic(cid, now)
        if not probing:
            paths.on_non_probing(self.pn if pn is None else pn, now)
        self.pn += 1
        return path

    def send_probes(self, now: float) -> list[tuple[Path, bytes | None]]:
        """What `Transmitter` does with probes: where they go, and the challenge if there is one."""
        sent = []
        while (path := self.paths.next_probe(now)) is not None:
            challenge = None
            if path.validation is not None and path.validation.due:
                challenge = self.paths.new_challenge()
                path.validation.on_sent(challenge, now, full_size=path.probe_budget() is None)
            if path.responses:
                path.responses.popleft()
            path.on_sent(MIN_PROBE + 8)
            sent.append((path, challenge))
        return sent

    def answer(self, sent: list[tuple[Path, bytes | None]], now: float) -> None:
        for _, challenge in sent:
            assert challenge is not None
            self.paths.on_response(challenge, now)

    @property
    def at(self) -> Address:
        return self.paths.active.peer


def test_the_highest_packet_number_decides() -> None:
    world = World()
    new = ("192.0.2.1", 2)
    world.come(CLIENT, pn=20)
    world.come(new, pn=10)
    assert world.at == CLIENT
    world.come(new, pn=21, probing=True)
    assert world.at == CLIENT
    world.come(new, pn=22)
    assert world.at == new


def test_same_connection_id_after_a_rebinding_another_after_a_migration() -> None:
    """RFC 9000 §9.5."""
    world = World()
    world.come(("192.0.2.1", 2))
    assert world.cids.sequence == 0
    world.come(("192.0.2.9", 3), cid=OTHER_CID)
    assert world.cids.sequence == 1


def test_a_rebinding_before_the_first_1rtt_packet_needs_no_other_connection_id() -> None:
    """RFC 9000 §9.5: the peer has used this one before, in packets of the handshake."""
    world = World(spare=0, heard=False)
    new = ("192.0.2.1", 2)
    world.come(new)
    assert world.at == new
    assert world.send_probes(1.0)


def test_a_path_that_is_tried_keeps_its_connection_id_after_a_rebinding() -> None:
    """RFC 9000 §9.5: it is that of the same local address, not of the path in use."""
    world = World()
    preferred = ("198.51.100.1", 8443)
    world.come(CLIENT, preferred, cid=OTHER_CID, probing=True)
    (first,) = world.send_probes(1.0)
    world.come(("192.0.2.1", 2), preferred, cid=OTHER_CID, probing=True)
    (second,) = world.send_probes(1.1)
    assert second[0] is not first[0]
    assert first[0].sequence == second[0].sequence == 1


def test_without_connection_ids_it_waits_for_one() -> None:
    """RFC 9000 §9.3: nothing can be sent there before the peer provides one."""
    world = World(spare=0)
    new = ("192.0.2.9", 3)
    world.come(new, cid=OTHER_CID)
    assert world.at == CLIENT
    assert [path.peer for path, _ in world.send_probes(1.0)] == []
    world.cids.on_new(NewConnectionId(1, 0, b"fresh!!!", TOKEN))
    sent = world.send_probes(1.1)
    assert new in [path.peer for path, _ in sent]
    assert world.at == new
    assert world.cids.current == b"fresh!!!"


def test_peer_without_connection_ids() -> None:
    world = World(peer_cid=b"", spare=0)
    world.come(("192.0.2.9", 3), cid=OTHER_CID)
    assert world.at == ("192.0.2.9", 3)
    assert len(world.send_probes(1.0)) == 2
    assert not world.cids.has_retirements


def test_number_of_paths_is_bounded() -> None:
    """The one in use and the last that worked are not driven out by made-up ones."""
    world = World()
    for number in range(1, 10 * MAX_PATHS):
        world.come(("203.0.113.1", number), probing=True)
    assert sum(world.paths.on_batch(("203.0.113.1", n), SERVER) is not None for n in range(60)) == 60
    assert len(world.send_probes(1.0)) == MAX_PATHS - 1
    assert world.at == CLIENT


def test_peer_that_does_not_answer_is_left_again() -> None:
    """RFC 9000 §9.3.2 and §8.2.4."""
    world = World()
    world.come(("192.0.2.66", 3), now=1.0)
    assert world.at == ("192.0.2.66", 3)
    world.send_probes(1.0)
    now = 1.0
    while world.at != CLIENT:
        at = world.paths.next_timeout()
        assert at is not None
        assert at >= now
        now = at
        world.paths.on_timeout(now)
        world.send_probes(now)
    assert 3.9 < now < 4.1
    assert not world.paths.unusable
    assert [event.peer for event in world.events if isinstance(event, PathChanged)] == [
        ("192.0.2.66", 3),
        CLIENT,
    ]


def test_nowhere_to_return_to() -> None:
    """A path that was taken during the handshake and never answers: RFC 9000 §9.3.2 ends the connection.

    A link that is dark for some seconds does not, nor do two lost challenges.
    """
    world = World()
    world.paths.active.reachable = False
    world.come(("192.0.2.66", 3), now=1.0)
    now = 1.0
    world.send_probes(now)
    while not world.paths.unusable:
        at = world.paths.next_timeout()
        assert at is not None
        now = at
        world.paths.on_timeout(now)
        world.send_probes(now)
    assert 10.0 < now < 20.0


def test_a_small_challenge_is_followed_by_a_large_one() -> None:
    """RFC 9000 §8.2.3: the answer to the small one lifts the limit, not the doubt about the path's MTU."""
    world = World()
    world.come(("192.0.2.66", 3), size=40)
    first = [item for item in world.send_probes(1.0) if item[0] is world.paths.active]
    assert len(first) == 1
    path = first[0][0]
    assert path.probe_budget() is not None
    world.answer(first, 1.1)
    assert path.validated
    assert not path.reachable
    second = [item for item in world.send_probes(1.1) if item[0] is path]
    assert len(second) == 1
    world.answer(second, 1.2)
    assert path.reachable


def test_old_paths_are_forgotten_and_their_ids_retired() -> None:
    world = World()
    world.come(("192.0.2.9", 3), cid=OTHER_CID)
    for now in (1.0, 1.1, 1.2):
        world.answer(world.send_probes(now), now)
    now = 1.2
    while (at := world.paths.next_timeout()) is not None:
        now = at
        world.paths.on_timeout(now)
    assert now < 6.0
    assert [frame.sequence_number for frame in world.cids.take_retirements()] == [0]
    world.come(("192.0.2.9", 3), cid=OTHER_CID)
    assert world.paths.next_probe(now) is None


def test_a_client_that_only_receives_runs_forgets_the_path_that_it_left() -> None:
    """A download: no packet of the server is looked at one by one any more."""
    world = World(is_client=True)
    left, new = world.paths.active, ("192.0.2.9", 3)
    world.paths.migrate(new, 2.0)
    world.answer(world.send_probes(2.0), 2.1)
    assert world.paths.active.local == new
    # The server may have no connection ID to follow with: until it is heard here it is heard there.
    assert world.paths.next_timeout() is None
    world.paths.on_run(world.pn + 50, 2.2)
    at = world.paths.next_timeout()
    assert at is not None
    world.paths.on_timeout(at - 0.01)
    assert left in world.paths.known
    world.paths.on_run(world.pn + 100, at - 0.01)
    world.paths.on_timeout(at)
    assert world.paths.known == [world.paths.active]
    assert [frame.sequence_number for frame in world.cids.take_retirements()] == [0]


def test_response_to_nothing_is_ignored() -> None:
    world = World()
    world.come(("192.0.2.66", 3))
    world.send_probes(1.0)
    world.paths.on_response(b"whatever", 1.1)
    assert not world.paths.active.validated


def test_client_takes_packets_of_its_server_only() -> None:
    """RFC 9000 §9."""
    world = World(is_client=True)
    assert world.come(("198.51.100.2", 443), CLIENT) is None
    # To another address of ours is fine, and changes nothing.
    assert world.come(SERVER, ("192.0.2.1", 1)) is not None
    assert world.paths.active.local == CLIENT


def test_preferred_address_needs_connection_ids() -> None:
    """RFC 9000 §18.2."""
    world = World(is_client=True, peer_cid=b"", spare=0)
    preferred = PreferredAddress(("198.51.100.1", 8443), None, b"preferred", TOKEN)
    with pytest.raises(TransportError) as caught:
        world.paths.apply_peer_parameters(TransportParameters(preferred_address=preferred))
    assert caught.value.code == TransportErrorCode.TRANSPORT_PARAMETER_ERROR


BOTH = PreferredAddress(("203.0.113.1", 1), ("2001:db8::1", 2), b"preferred", TOKEN)


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (("192.0.2.1", 443), ("203.0.113.1", 1)),
        (("2001:db8::7", 443, 0, 0), ("2001:db8::1", 2, 0, 0)),
        (("fe80::1%eth0", 443, 0, 3), ("2001:db8::1", 2, 0, 0)),
        (("::ffff:192.0.2.1", 443, 0, 0), ("::ffff:203.0.113.1", 1, 0, 0)),
        (("2001:db8::7", 443), ("2001:db8::1", 2)),
    ],
)
def test_preferred_address_in_the_family_of_the_present_one(present: Address, expected: Address) -> None:
    assert preferred_peer(BOTH, present) == expected


@pytest.mark.parametrize("present", [("192.0.2.1", 443), ("::ffff:192.0.2.1", 443, 0, 0)])
def test_preferred_address_of_the_other_family_only(present: Address) -> None:
    assert preferred_peer(PreferredAddress(None, ("2001:db8::1", 2), b"preferred", TOKEN), present) is None


def test_no_ipv6_preferred() -> None:
    only = PreferredAddress(("203.0.113.1", 1), None, b"preferred", TOKEN)
    assert preferred_peer(only, ("2001:db8::7", 443, 0, 0)) is None


def test_answers_wait_for_the_window_only_while_it_says_something() -> None:
    """A peer that has moved can't acknowledge anything before its challenge is answered (§8.2.2)."""
    world = World(is_client=True)
    world.recovery.handshake_confirmed = True
    window = world.recovery.available_window
    world.recovery.on_packet_sent(Level.ONE_RTT, SentRun(0, 0, 1.0, window), 1.0)
    world.paths.arrival = world.paths.active
    world.paths.on_challenge(b"12345678")
    assert world.send_probes(1.1) == []
    timeout = world.recovery.next_timeout()
    assert timeout is not None
    world.recovery.on_timeout(timeout)
    assert [path for path, _ in world.send_probes(timeout)] == [world.paths.active]


def test_preferred_address_waits_for_a_spare_connection_id() -> None:
    """RFC 9000 §9.5: a server that has none of ours to use could neither answer from there nor follow."""
    world = World(is_client=True, spare=0)
    world.paths.apply_peer_parameters(TransportParameters(preferred_address=BOTH))
    world.local_cids.set_peer_limit(2, 2)
    (frame,) = world.local_cids.issue()
    world.paths.on_confirmed(1.0)
    assert world.paths.next_probe(1.0) is None
    world.local_cids.on_issue_acked(frame.sequence_number)
    world.paths.on_issue_acked()
    assert world.paths.pending
    path = world.paths.next_probe(1.1)
    assert path is not None
    assert path.preferred


def test_a_path_that_the_peer_uses_is_not_given_up() -> None:
    """RFC 9000 §8.2.4 leaves the time to us: who sends there can answer, if it hears us at last."""
    world = World()
    world.come(("192.0.2.77", 1), ("198.51.100.1", 8443), now=1.0, cid=OTHER_CID, probing=True)
    path = world.paths.known[-1]
    assert path.validation is not None
    path.validation.on_sent(b"lost    ", 1.0, full_size=True)
    first = path.validation.expires_at
    world.come(("192.0.2.77", 1), ("198.51.100.1", 8443), now=3.5, cid=OTHER_CID)
    assert path.validation.due
    world.paths.on_timeout(first)
    assert path in world.paths.known


def test_the_last_connection_id_is_kept_while_the_path_in_use_is_silent() -> None:
    """RFC 9000 §9.5: once given up it could not be replaced, and no other path could be used."""
    world = World(spare=1)
    tried: Address = ("198.51.100.1", 8443)
    world.come(CLIENT, tried, cid=OTHER_CID, probing=True)
    world.recovery.pto_count = 1
    world.send_probes(1.0)
    now = 1.0
    for _ in range(8):
        now = world.paths.next_timeout() or now
        world.paths.on_timeout(now)
        world.send_probes(now)
    assert now > 5.0
    assert not world.cids.has_retirements
    # The client moves to what it tried, behind a NAT that has changed its mind.
    world.come(("192.0.2.200", 2000), tried, cid=OTHER_CID, now=now)
    for _ in range(2):
        world.answer(world.send_probes(now), now)
    assert (world.at, world.paths.active.local) == (("192.0.2.200", 2000), tried)
    assert world.cids.sequence == 1


def test_the_last_connection_id_is_given_up_when_the_peer_is_heard_again() -> None:
    world = World(spare=1)
    tried: Address = ("198.51.100.1", 8443)
    world.come(CLIENT, tried, cid=OTHER_CID, probing=True)
    world.send_probes(1.0)
    world.recovery.pto_count = 1
    now = 5.0
    world.paths.on_timeout(now)
    assert not world.cids.has_retirements
    world.recovery.pto_count = 0
    while (at := world.paths.next_timeout()) is not None:
        now = at
        world.paths.on_timeout(now)
    assert now < 10.0
    assert [frame.sequence_number for frame in world.cids.take_retirements()] == [1]


def test_a_path_that_was_given_up_is_validated_when_the_peer_uses_it() -> None:
    world = World(spare=1)
    tried: Address = ("198.51.100.1", 8443)
    world.come(CLIENT, tried, cid=OTHER_CID, probing=True)
    world.send_probes(1.0)
    world.recovery.pto_count = 1
    world.paths.on_timeout(5.0)
    world.come(CLIENT, tried, cid=OTHER_CID, now=5.5)
    sent = world.send_probes(5.5)
    assert [path.local for path, _ in sent] == [tried]
    world.answer(sent, 5.6)
    assert world.paths.active.local == tried


def test_the_connection_id_of_a_path_that_is_left_again_is_kept_until_the_peer_is_heard() -> None:
    """RFC 9000 §9.3.2: where it was before, it need not be any more."""
    world = World(spare=1)
    world.come(("192.0.2.66", 3), cid=OTHER_CID)
    now = 1.0
    while world.at != CLIENT:
        world.send_probes(now)
        now = world.paths.next_timeout() or now
        world.paths.on_timeout(now)
    assert not world.cids.has_retirements
    world.recovery.pto_count = 1
    for _ in range(3):
        now = world.paths.next_timeout() or now
        world.paths.on_timeout(now)
    world.come(("192.0.2.66", 4), cid=OTHER_CID, now=now)
    assert (world.at, world.cids.sequence) == (("192.0.2.66", 4), 1)
