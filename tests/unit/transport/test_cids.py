"""Connection IDs issued by us and by the peer, without packets."""

import hmac

import pytest

from endpoint.errors import TransportError, TransportErrorCode
from endpoint.testing.pair import seeded_bytes
from endpoint.transport.cids import (
    MAX_ABANDONED,
    MAX_OFFERED,
    MAX_RETIREMENTS_IN_FLIGHT,
    LocalCids,
    PeerCids,
)
from endpoint.wire.frames import NewConnectionId, RetireConnectionId

FIRST = b"initial!"


def local(length: int = 8) -> LocalCids:
    return LocalCids(FIRST[:length], seeded_bytes(1), lambda cid: cid[:8].ljust(16, b"t"))


def peer_cid(sequence: int, retire_prior_to: int = 0) -> NewConnectionId:
    return NewConnectionId(sequence, retire_prior_to, b"cid%05d" % sequence, b"%016d" % sequence)


class TestLocal:
    def test_issues_up_to_the_smaller_limit(self) -> None:
        cids = local()
        cids.set_peer_limit(10, 4)
        assert cids.issue_due
        frames = cids.issue()
        assert [frame.sequence_number for frame in frames] == [1, 2, 3]
        assert not cids.issue_due
        assert cids.issue() == []
        assert cids.all() == [FIRST, *(frame.connection_id for frame in frames)]
        assert all(frame.connection_id in cids for frame in frames)
        assert frames[0].stateless_reset_token == frames[0].connection_id + b"t" * 8

    def test_issues_nothing_before_the_peer_has_said_a_limit(self) -> None:
        """In 0-RTT packets it would be lost for good when the server rejects them."""
        assert not local().issue_due
        cids = local()
        cid, _ = cids.issue_preferred()
        assert cids.all() == [FIRST, cid]
        assert not cids.issue_due

    def test_issues_as_soon_as_there_is_a_limit(self) -> None:
        cids = local()
        cids.set_peer_limit(2, 8)
        assert [frame.sequence_number for frame in cids.issue()] == [1]

    def test_issues_no_more_than_are_of_use(self) -> None:
        cids = local()
        cids.set_peer_limit(1000, 8)
        assert len(cids.issue()) == MAX_OFFERED - 1

    def test_offers_another_for_each_path_up_to_the_limit_of_the_peer(self) -> None:
        cids = local()
        cids.set_peer_limit(6, 8)
        assert len(cids.issue()) == MAX_OFFERED - 1
        for expected in (1, 1, 0):
            cids.offer_more()
            assert len(cids.issue()) == expected

    def test_never_issues_empty_ones(self) -> None:
        cids = local(length=0)
        cids.set_peer_limit(10, 4)
        assert not cids.issue_due
        assert cids.issue() == []

    def test_routes_change_with_issue_and_retirement(self) -> None:
        cids = local()
        assert cids.take_routes() == [(True, FIRST)]
        cids.set_peer_limit(3, 8)
        frames = cids.issue()
        assert cids.take_routes() == [(True, frame.connection_id) for frame in frames]
        cids.on_retire(RetireConnectionId(0), frames[0].connection_id)
        assert cids.take_routes() == [(False, FIRST)]
        assert cids.take_routes() == []
        assert FIRST not in cids
        assert not cids.is_due_again(0)
        assert cids.issue_due

    def test_what_the_peer_may_not_have(self) -> None:
        """It is worth sending again until it is acknowledged or retired; only then it is a spare."""
        cids = local()
        cids.set_peer_limit(4, 8)
        frames = cids.issue()
        assert cids.unacknowledged == frames
        assert not cids.has_spare([FIRST])
        cids.on_issue_acked(2)
        cids.on_issue_acked(2)
        cids.on_retire(RetireConnectionId(1), FIRST)
        assert cids.unacknowledged == [frames[2]]
        assert not cids.is_due_again(1)
        assert not cids.is_due_again(2)
        assert cids.has_spare([FIRST])
        assert not cids.has_spare([FIRST, frames[1].connection_id])

    def test_empty_ids_need_no_spare(self) -> None:
        assert local(0).has_spare([b""])

    def test_a_random_source_that_repeats_itself(self) -> None:
        values = iter([FIRST, b"another!", b"another!", b"a third!"])
        cids = LocalCids(FIRST, lambda _: next(values), lambda _: bytes(16))
        cids.set_peer_limit(3, 3)
        assert [frame.connection_id for frame in cids.issue()] == [b"another!", b"a third!"]

    @pytest.mark.parametrize(("sequence", "length"), [(1, 8), (0, 8), (0, 0)])
    def test_violations(self, sequence: int, length: int) -> None:
        """Never issued; the ID of the packet itself; empty IDs."""
        cids = local(length)
        with pytest.raises(TransportError) as caught:
            cids.on_retire(RetireConnectionId(sequence), FIRST[:length])
        assert caught.value.code == TransportErrorCode.PROTOCOL_VIOLATION


def rotate(cids: PeerCids) -> bool:
    """What a change of path does in the end."""
    old, fresh = cids.sequence, cids.take()
    if fresh is None:
        return False
    cids.use(fresh)
    cids.retire(old)
    return True


class TestPeer:
    def test_rotation(self) -> None:
        cids = PeerCids(FIRST, 4)
        assert not rotate(cids)
        cids.on_new(peer_cid(1))
        cids.on_new(peer_cid(2))
        assert cids.available == 2
        assert rotate(cids)
        assert cids.current == b"cid00001"
        assert cids.take_retirements() == [RetireConnectionId(0)]
        assert not cids.has_retirements

    def test_what_was_given_up_does_not_come_back(self) -> None:
        """A copy of the frame that issued it may still arrive (RFC 9000 §5.1.2)."""
        cids = PeerCids(FIRST, 4)
        cids.on_new(peer_cid(1))
        cids.on_new(peer_cid(2))
        rotate(cids)
        rotate(cids)
        assert cids.take_retirements() == [RetireConnectionId(0), RetireConnectionId(1)]
        cids.on_new(peer_cid(1))
        assert cids.current == b"cid00002"
        assert cids.available == 0
        cids.on_retirement_acked(1)
        cids.on_new(peer_cid(1))
        assert cids.take_retirements() == [RetireConnectionId(1)]

    def test_acknowledgement_told_twice(self) -> None:
        """A frame that was sent twice is acknowledged twice; the bound stays what it is."""
        cids = PeerCids(FIRST, 4)
        for sequence in range(1, MAX_RETIREMENTS_IN_FLIGHT + 1):
            cids.on_new(peer_cid(sequence, sequence))
        cids.on_retirement_acked(0)
        cids.on_retirement_acked(0)
        cids.on_new(peer_cid(100, 100))
        with pytest.raises(TransportError) as caught:
            cids.on_new(peer_cid(101, 101))
        assert caught.value.code == TransportErrorCode.CONNECTION_ID_LIMIT_ERROR

    def test_reset_token_of_the_id_in_use_only(self) -> None:
        cids = PeerCids(FIRST, 4)
        cids.set_reset_token(b"0" * 16)
        cids.on_new(peer_cid(1))
        assert cids.is_reset_token(b"0" * 16, hmac.compare_digest)
        assert not cids.is_reset_token(b"%016d" % 1, hmac.compare_digest)
        rotate(cids)
        assert not cids.is_reset_token(b"0" * 16, hmac.compare_digest)
        assert cids.is_reset_token(b"%016d" % 1, hmac.compare_digest)

    def test_empty_ids_are_never_renewed(self) -> None:
        cids = PeerCids(b"", 4)
        with pytest.raises(TransportError) as caught:
            cids.on_new(peer_cid(1))
        assert caught.value.code == TransportErrorCode.PROTOCOL_VIOLATION

    def test_ids_of_several_paths(self) -> None:
        """RFC 9000 §9.5: none is used on two paths."""
        cids = PeerCids(FIRST, 4)
        assert cids.take() is None
        for sequence in (1, 2):
            cids.on_new(peer_cid(sequence))
        assert cids.available == 2
        assert (cids.take(), cids.take(), cids.take()) == (1, 2, None)
        assert cids.available == 0
        assert cids.cid(2) == b"cid00002"
        cids.use(2)
        assert cids.current == b"cid00002"
        # The first is that of the path that was left, until that is forgotten.
        assert cids.take() is None
        cids.retire(0)
        cids.retire(0)
        assert cids.take_retirements() == [RetireConnectionId(0)]
        assert cids.cid(0) is None

    def test_retirement_prefers_an_id_that_no_path_uses(self) -> None:
        cids = PeerCids(FIRST, 4)
        for sequence in (1, 2):
            cids.on_new(peer_cid(sequence))
        assert cids.take() == 1
        cids.on_new(peer_cid(3, 1))
        assert cids.sequence == 2

    def test_reset_tokens_of_all_paths_count(self) -> None:
        cids = PeerCids(FIRST, 4)
        cids.on_new(peer_cid(1))
        assert not cids.is_reset_token(b"%016d" % 1, hmac.compare_digest)
        cids.take()
        assert cids.is_reset_token(b"%016d" % 1, hmac.compare_digest)
        cids.retire(1)
        assert not cids.is_reset_token(b"%016d" % 1, hmac.compare_digest)

    def test_preferred_address_is_number_1(self) -> None:
        ours = local()
        cid, token = ours.issue_preferred()
        assert cid in ours
        ours.set_peer_limit(4, 4)
        assert [frame.sequence_number for frame in ours.issue()] == [2, 3]
        cids = PeerCids(FIRST, 4)
        cids.add_preferred(cid, token)
        assert cids.take() == 1
        # A NEW_CONNECTION_ID frame may say the same again, and nothing else.
        cids.on_new(NewConnectionId(1, 0, cid, token))
        with pytest.raises(TransportError):
            cids.on_new(peer_cid(1))

    def test_paths_may_give_up_only_so_many_that_the_peer_makes_up(self) -> None:
        """RFC 9000 §5.1.2: whose retirement is never acknowledged."""
        cids = PeerCids(FIRST, 4)
        for sequence in range(1, MAX_RETIREMENTS_IN_FLIGHT + 2):
            cids.on_new(peer_cid(sequence))
            assert cids.take() == sequence
            cids.retire(sequence)
        with pytest.raises(TransportError, match="retired faster") as caught:
            cids.on_new(peer_cid(sequence + 1))
        assert caught.value.code == TransportErrorCode.CONNECTION_ID_LIMIT_ERROR

    def test_only_so_many_that_were_given_up_are_remembered(self) -> None:
        """RFC 9000 §5.1.2: one that comes again is retired again. A peer may leave a gap before each."""
        cids = PeerCids(FIRST, 4)
        numbers = range(2, 2 * MAX_ABANDONED + 4, 2)
        for sequence in numbers:
            cids.on_new(peer_cid(sequence))
            assert cids.take() == sequence
            cids.retire(sequence)
            assert cids.take_retirements() == [RetireConnectionId(sequence)]
            cids.on_retirement_acked(sequence)
        oldest, *others = numbers
        assert len(others) == MAX_ABANDONED
        for sequence in others:
            cids.on_new(peer_cid(sequence))
            assert cids.take_retirements() == [RetireConnectionId(sequence)]
            assert cids.available == 0
            cids.on_retirement_acked(sequence)
        # Of the oldest nothing is known any more: it counts as a new one.
        cids.on_new(peer_cid(oldest))
        assert cids.take_retirements() == []
        assert cids.take() == oldest
