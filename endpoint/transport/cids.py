"""Connection IDs: those we issue and those the peer issued to us (RFC 9000 §5.1)."""

from collections.abc import Callable, Collection

from endpoint.errors import TransportError, TransportErrorCode
from endpoint.recovery.range_set import RangeSet
from endpoint.wire.frames import FrameType, NewConnectionId, RetireConnectionId

# How many RETIRE_CONNECTION_ID may wait unacknowledged before the peer is abusing us: RFC 9000 §5.1.2
# asks for at least twice the active_connection_id_limit.
MAX_RETIREMENTS_IN_FLIGHT = 32
# How many ranges of numbers are remembered that we gave up: a peer may leave gaps between its numbers.
MAX_ABANDONED = 64
# How many of ours the peer has at a time, whatever it could store: one in use, and enough to change path
# and address more than once before ours come that replace them (RFC 9000 §5.1.1).
MAX_OFFERED = 4


class LocalCids:
    """The connection IDs by which the peer addresses us.

    Routing changes (`take_routes`) are for a listener, which knows which datagram is for whom.
    """

    __slots__ = (
        "_active",
        "_changes",
        "_length",
        "_limit",
        "_most",
        "_next_sequence",
        "_random",
        "_reset_token",
        "_routed",
        "_sequences",
        "_unacknowledged",
        "initial",
    )

    def __init__(
        self,
        initial: bytes,
        random: Callable[[int], bytes],
        reset_token: Callable[[bytes], bytes],
        *,
        routed: bool = True,
    ) -> None:
        """`reset_token` maps a connection ID to its stateless reset token (RFC 9000 §10.3.2).

        Without being `routed` nobody calls `take_routes`, and there is nothing to keep for it.
        """
        self._routed = routed
        self.initial = initial
        self._length = len(initial)
        self._random = random
        self._reset_token = reset_token
        self._active: dict[int, bytes] = {0: initial}
        self._sequences: dict[bytes, int] = {initial: 0}
        self._next_sequence = 1
        # Frames of those that the peer may not know of so far.
        self._unacknowledged: dict[int, NewConnectionId] = {}
        # Until the peer's limit is known: what goes out in 0-RTT packets may be forgotten (RFC 9001 §4.6.2).
        self._limit = self._most = 1
        self._changes: list[tuple[bool, bytes]] = []
        self._note_route(True, initial)

    def __contains__(self, cid: bytes) -> bool:
        return cid in self._sequences

    def __len__(self) -> int:
        return len(self._active)

    @property
    def length(self) -> int:
        """Bytes in each of our connection IDs; short headers don't tell (RFC 9000 §17.3)."""
        return self._length

    def all(self) -> list[bytes]:
        """Every connection ID the peer may still use."""
        return list(self._active.values())

    def set_peer_limit(self, active_connection_id_limit: int, ours: int) -> None:
        """The peer stores at most its limit; we never offer more than `ours` at a time."""
        self._most = min(active_connection_id_limit, ours)
        self._limit = min(self._most, MAX_OFFERED)

    def offer_more(self) -> None:
        """The peer needs one for another path, and may have given up those that it had for earlier ones.

        RFC 9000 §5.1.1: whoever migrates sees to it that the pool does not run dry. That the peer retires
        some may be something it can tell us on a dead path only.
        """
        self._limit = min(self._limit + 1, max(self._limit, self._most))

    @property
    def issue_due(self) -> bool:
        """Whether `issue` has any."""
        return self._length > 0 and len(self._active) < self._limit

    def issue(self) -> list[NewConnectionId]:
        """New connection IDs up to the limit; empty where we use zero-length ones (§5.1.1).

        Call it when they can be sent, not when one is retired: a peer that retires numbers by guess could
        else pile up frames here.
        """
        frames: list[NewConnectionId] = []
        if self._length == 0:
            return frames
        while len(self._active) < self._limit:
            cid = self._random(self._length)
            if cid in self._sequences:
                continue
            sequence = self._next_sequence
            self._next_sequence += 1
            self._active[sequence] = cid
            self._sequences[cid] = sequence
            self._note_route(True, cid)
            frame = NewConnectionId(sequence, 0, cid, self._reset_token(cid))
            self._unacknowledged[sequence] = frame
            frames.append(frame)
        return frames

    def issue_preferred(self) -> tuple[bytes, bytes]:
        """The connection ID for the preferred_address parameter, sequence number 1, and its token (§5.1.1).

        To be called before anything else is issued, and not with zero-length connection IDs.
        """
        # RFC 9000 §18.2: no peer's limit is lower.
        self._limit = 2
        (frame,) = self.issue()
        # It goes with the handshake, which is as good as acknowledged when it is complete.
        self._unacknowledged.clear()
        return frame.connection_id, frame.stateless_reset_token

    @property
    def unacknowledged(self) -> list[NewConnectionId]:
        """Those issued that the peer may not have, and has not retired."""
        return list(self._unacknowledged.values())

    def on_issue_acked(self, sequence_number: int) -> None:
        """The peer has the NEW_CONNECTION_ID of this number; may be told more than once."""
        self._unacknowledged.pop(sequence_number, None)

    def is_due_again(self, sequence_number: int) -> bool:
        """Whether a lost NEW_CONNECTION_ID of this number is still worth sending again."""
        return sequence_number in self._unacknowledged

    def has_spare(self, used: Collection[bytes]) -> bool:
        """Whether the peer has one that is not among those it has `used`, or needs none.

        RFC 9000 §9.5: without, it could not answer on a new path.
        """
        return not self._length or any(
            sequence not in self._unacknowledged and cid not in used for sequence, cid in self._active.items()
        )

    def on_retire(self, frame: RetireConnectionId, arrived_on: bytes) -> None:
        """The peer stops using one of ours. `arrived_on` is the DCID of the packet that says so."""
        sequence = frame.sequence_number
        # RFC 9000 §19.16: a number never issued, and the ID of the very packet, are violations.
        if sequence >= self._next_sequence:
            raise TransportError(
                TransportErrorCode.PROTOCOL_VIOLATION,
                f"retires connection ID {sequence}, which was never issued",
                FrameType.RETIRE_CONNECTION_ID,
            )
        if self._length == 0 or self._sequences.get(arrived_on) == sequence:
            raise TransportError(
                TransportErrorCode.PROTOCOL_VIOLATION,
                "retires the connection ID its packet is addressed to",
                FrameType.RETIRE_CONNECTION_ID,
            )
        cid = self._active.pop(sequence, None)
        if cid is not None:
            del self._sequences[cid]
            self._unacknowledged.pop(sequence, None)
            self._note_route(False, cid)

    def take_routes(self) -> list[tuple[bool, bytes]]:
        """What changed since the last call: (True, cid) to route here, (False, cid) no longer."""
        if not self._changes:
            return self._changes
        changes, self._changes = self._changes, []
        return changes

    def _note_route(self, added: bool, cid: bytes) -> None:
        if self._routed:
            self._changes.append((added, cid))


class PeerCids:
    """The connection IDs by which we address the peer: one on the active path, others on other paths."""

    __slots__ = (
        "_abandoned",
        "_by_sequence",
        "_limit",
        "_pending",
        "_retire_prior_to",
        "_retiring",
        "_taken",
        "_tokens",
        "sequence",
    )

    def __init__(self, initial: bytes, limit: int) -> None:
        """`limit` is the active_connection_id_limit that we advertise."""
        self._by_sequence: dict[int, bytes] = {0: initial}
        self._tokens: dict[int, bytes] = {}
        self._limit = limit
        self._retire_prior_to = 0
        self._pending: list[RetireConnectionId] = []
        # Sequence numbers whose retirement is not acknowledged yet.
        self._retiring: set[int] = set()
        # Those that we gave up ourselves: the peer may still repeat that it issued them.
        self._abandoned = RangeSet()
        # Those that paths other than the active one use.
        self._taken: set[int] = set()
        self.sequence = 0

    @property
    def current(self) -> bytes:
        """The Destination Connection ID of what we send."""
        return self._by_sequence[self.sequence]

    @property
    def available(self) -> int:
        """How many unused ones we hold."""
        return len(self._fresh())

    def replace_initial(self, cid: bytes) -> None:
        """The peer chose its own ID in its first Initial, or a Retry did (RFC 9000 §7.2)."""
        self._by_sequence[0] = cid

    def set_reset_token(self, token: bytes) -> None:
        """The token of sequence number 0, from the server's transport parameters."""
        self._tokens[0] = token

    def add_preferred(self, cid: bytes, token: bytes) -> None:
        """Sequence number 1, from the preferred_address parameter (§5.1.1)."""
        self._by_sequence[1] = cid
        self._tokens[1] = token

    def is_reset_token(self, token: bytes, equal: Callable[[bytes, bytes], bool]) -> bool:
        """Whether a datagram that ends in `token` is a stateless reset by the peer.

        §10.3.1: tokens of connection IDs that are retired or not used yet don't count. `equal` compares in
        constant time, so that timing tells a guesser nothing.
        """
        found = False
        for sequence in (self.sequence, *self._taken):
            known = self._tokens.get(sequence)
            found |= known is not None and equal(known, token)
        return found

    def on_new(self, frame: NewConnectionId) -> None:
        """RFC 9000 §19.15: store it, retire what it asks to retire."""
        sequence = frame.sequence_number
        if len(self._by_sequence[self.sequence]) == 0:
            raise self._violation("sent to an endpoint that addresses it by a zero-length connection ID")
        known = self._by_sequence.get(sequence)
        if known is not None:
            if known != frame.connection_id or self._tokens.get(sequence) != frame.stateless_reset_token:
                raise self._violation(f"connection ID {sequence} issued twice with different content")
            return
        if frame.connection_id in self._by_sequence.values():
            raise self._violation("the same connection ID issued under two sequence numbers")
        self._check_retiring()
        if sequence < self._retire_prior_to or sequence in self._abandoned:
            # §5.1.2: it was retired before it came (again).
            self._retire(sequence)
            return
        self._by_sequence[sequence] = frame.connection_id
        self._tokens[sequence] = frame.stateless_reset_token
        if frame.retire_prior_to > self._retire_prior_to:
            self._retire_prior_to = frame.retire_prior_to
            self._abandoned.discard_below(frame.retire_prior_to)
            for old in [s for s in self._by_sequence if s < frame.retire_prior_to]:
                if old == self.sequence:
                    left = [s for s in self._by_sequence if s >= frame.retire_prior_to]
                    self.sequence = min(left, key=lambda s: (s in self._taken, s))
                    self._taken.discard(self.sequence)
                self._remove(old)
                self._retire(old)
        if len(self._by_sequence) > self._limit:
            raise TransportError(
                TransportErrorCode.CONNECTION_ID_LIMIT_ERROR,
                f"more than {self._limit} active connection IDs",
                FrameType.NEW_CONNECTION_ID,
            )

    def cid(self, sequence: int) -> bytes | None:
        """The connection ID of that number, None if it is retired."""
        return self._by_sequence.get(sequence)

    def take(self) -> int | None:
        """The number of one never used so far, for another path; None if there is none (§9.5)."""
        fresh = self._fresh()
        if not fresh:
            return None
        sequence = min(fresh)
        self._taken.add(sequence)
        return sequence

    def use(self, sequence: int) -> None:
        """Address the peer by this one from now on; the one before belongs to the path that is left."""
        self._taken.add(self.sequence)
        self._taken.discard(sequence)
        self.sequence = sequence

    def retire(self, sequence: int) -> None:
        """No path uses this one any more: tell the peer. Not for the present one."""
        if self._by_sequence.get(sequence):
            self._remove(sequence)
            self._abandoned.add(sequence, sequence + 1)
            self._abandoned.keep_last(MAX_ABANDONED)
            self._retiring.add(sequence)
            self._pending.append(RetireConnectionId(sequence))

    def _fresh(self) -> list[int]:
        return [s for s in self._by_sequence if s != self.sequence and s not in self._taken]

    def _remove(self, sequence: int) -> None:
        del self._by_sequence[sequence]
        self._tokens.pop(sequence, None)
        self._taken.discard(sequence)

    @property
    def has_retirements(self) -> bool:
        """Whether `take_retirements` has any."""
        return bool(self._pending)

    def take_retirements(self) -> list[RetireConnectionId]:
        """RETIRE_CONNECTION_ID frames to send."""
        if not self._pending:
            return self._pending
        frames, self._pending = self._pending, []
        return frames

    def on_retirement_acked(self, sequence: int) -> None:
        """The peer knows that this one is retired; may be told more than once."""
        self._retiring.discard(sequence)

    def _retire(self, sequence: int) -> None:
        if sequence in self._retiring:
            return
        self._retiring.add(sequence)
        self._check_retiring()
        self._pending.append(RetireConnectionId(sequence))

    def _check_retiring(self) -> None:
        """RFC 9000 §5.1.2. Also where paths gave them up: a peer can have us make ever more of these."""
        if len(self._retiring) > MAX_RETIREMENTS_IN_FLIGHT:
            raise TransportError(
                TransportErrorCode.CONNECTION_ID_LIMIT_ERROR,
                "connection IDs retired faster than their retirement is acknowledged",
                FrameType.NEW_CONNECTION_ID,
            )

    @staticmethod
    def _violation(reason: str) -> TransportError:
        return TransportError(TransportErrorCode.PROTOCOL_VIOLATION, reason, FrameType.NEW_CONNECTION_ID)
