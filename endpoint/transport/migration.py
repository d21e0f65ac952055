"""The paths of one connection: which one is used, which are tried, when it moves (RFC 9000 §9).

A path is a pair of addresses. The active one carries the connection. Others are there because packets
came from a new address, because we try one out (`migrate`, a preferred address), or because the
connection was there before and may have to return.
"""

from collections import deque
from collections.abc import Callable

from endpoint.batch import Address
from endpoint.errors import MigrationError
from endpoint.events import Event, MigrationFailed, PathChanged
from endpoint.recovery.loss import LossDetector
from endpoint.transport.cids import LocalCids, PeerCids
from endpoint.transport.path_cids import PathCids
from endpoint.transport.paths import VALIDATION_PTO_COUNT, Path, PathValidation, ProbesInFlight
from endpoint.transport.preferred_address import preferred_peer, take_preferred
from endpoint.transport.spaces import PacketSpace
from endpoint.wire.frames import Ping
from endpoint.wire.transport_params import PreferredAddress, TransportParameters

# Paths kept at one time. One is used, one was before, and who copies packets can make up any number.
MAX_PATHS = 6
# A probe at its full size (§8.2.1).
PROBE_SIZE = 1200
# A short header with the longest packet number, a PATH_CHALLENGE and a tag; the connection ID comes on top.
MIN_PROBE = 1 + 4 + 9 + 16
# Where giving up ends the connection (§9.3.2), so many times as long as elsewhere: the limit of §8.1 holds
# all the while, and a link that is dark for some seconds is no reason.
LAST_PATH_PATIENCE = 5
# PATH_CHALLENGE has 8 bytes (§19.17).
CHALLENGE_LENGTH = 8


class Paths:
    """`active` is where the connection is. `arrival` is the path of the batch that is being received.

    `pending`: some path may have a challenge or a response to send. `unusable` becomes true when the only
    path there is has turned out not to lead to the peer (§9.3.2).
    """

    __slots__ = (
        "_confirmed",
        "_events",
        "_initial_rtt",
        "_is_client",
        "_largest_non_probing",
        "_local_cids",
        "_may_migrate",
        "_next_id",
        "_path_cids",
        "_paths",
        "_peer_cids",
        "_preferred",
        "_random",
        "_recovery",
        "_space",
        "_until_heard",
        "active",
        "arrival",
        "pending",
        "probes",
        "unusable",
    )

    def __init__(
        self,
        first: Path,
        *,
        is_client: bool,
        initial_rtt: float,
        space: PacketSpace,
        local_cids: LocalCids,
        peer_cids: PeerCids,
        recovery: LossDetector,
        events: deque[Event],
        random: Callable[[int], bytes],
    ) -> None:
        """`first` is the path of the handshake, `space` the 1-RTT space."""
        self.active = first
        self.arrival = first
        self.pending = False
        self.unusable = False
        self._paths = [first]
        self._next_id = 1
        self._is_client = is_client
        self._initial_rtt = initial_rtt
        self._space = space
        self._local_cids = local_cids
        self._peer_cids = peer_cids
        self._path_cids = PathCids(peer_cids, local_cids.initial)
        self._recovery = recovery
        self.probes = ProbesInFlight(recovery.sent_packets[space.level])
        self._events = events
        self._random = random
        self._confirmed = False
        self._may_migrate = True
        self._preferred: PreferredAddress | None = None
        # Client: the server has not been heard on the active path, so it may still use the one before.
        self._until_heard = False
        # The highest packet number of a non-probing 1-RTT packet (§9.3).
        self._largest_non_probing = -1

    @property
    def known(self) -> list[Path]:
        """All paths; those that a client tries out, or may return to, too."""
        return self._paths

    # The way in.

    def on_batch(self, peer: Address, local: Address | None) -> Path | None:
        """The path of a batch that did not come on the active one; None: drop it unread."""
        active = self.active
        if active.local is None and peer == active.peer and len(self._paths) == 1:
            # The socket could not tell before what its address is.
            active.local = local
            return active
        for path in self._paths:
            if path.peer == peer and path.local == local:
                return path
        if self._is_client and all(path.peer != peer for path in self._paths):
            # §9: only a server's client moves without announcement.
            return None
        # Remembered when the first packet of it turns out to be authentic.
        return Path(peer, local, validated=any(path.validated and path.peer == peer for path in self._paths))

    def on_run(self, largest: int, now: float) -> None:
        """A run of packets up to number `largest` came on the active path. They count as non-probing."""
        self._largest_non_probing = max(self._largest_non_probing, largest)
        if self._until_heard:
            self._discard_left(now)

    def on_authentic(self, dcid: bytes, now: float) -> None:
        """A 1-RTT packet for `dcid` was opened, and its frames come next."""
        path = self.arrival
        if path is self.active:
            path.arrived_cid = dcid
            return
        if path not in self._paths and not self._is_client:
            self._add(path)
            self._path_cids.share(path, dcid, self._paths, self.active)
            # §9.6.2, §9.3: whatever the peer is up to, its address has to be proven.
            self._validate(path, now)
        path.arrived_cid = dcid

    def on_non_probing(self, pn: int, now: float) -> None:
        """A 1-RTT packet with more than probing frames in it was processed (§9.1)."""
        if pn <= self._largest_non_probing:
            return
        self._largest_non_probing = pn
        path = self.arrival
        if path is not self.active and not self._is_client:
            path.moving = True
            if path.validation is not None:
                path.validation.go_on(now + self._lifespan(), now, self._pto(path))
                self.pending = True
            elif not path.reachable:
                # It was kept, see `_give_up`, and now the peer is there.
                path.discard_at = None
                self._validate(path, now)
            self._move_if_ready(path, now)
        elif path is self.active and self._until_heard:
            self._discard_left(now)

    def on_handshake_packet(self, now: float) -> None:
        """A server has opened an Initial or Handshake packet that tells where the client is.

        §9 relies on stable addresses while the handshake goes on, but a NAT does not know. Without following
        it nothing more would arrive at the client. The address is validated like any other, as soon as there
        are 1-RTT keys. An Initial may be forged, from a victim's address: §21.1.1.1 has no remedy against
        that, §8.1 limits what the victim gets, and the client's next packet ends it.
        """
        path = self.arrival
        if path is self.active or self._is_client:
            return
        if path not in self._paths:
            self._add(path)
        path.sequence = self._peer_cids.sequence
        # §9.3: what was under way elsewhere has been overtaken.
        self.active.validation = None
        self._switch(path, None)
        if path.id:
            self._validate(path, now)

    def on_challenge(self, data: bytes) -> None:
        """PATH_CHALLENGE: answer on the same path (§8.2.2)."""
        self.arrival.on_challenge(data)
        self.pending = True

    def on_response(self, data: bytes, now: float) -> Path | None:
        """PATH_RESPONSE: the path that the challenge went to is valid, whichever way this came (§8.2.3).

        Returns that path if it is good, and the peer has not been known to be there.
        """
        for path in self._paths:
            validation = path.validation
            full_size = None if validation is None else validation.answers(data)
            if full_size is None:
                continue
            path.validated = True
            path.validation = None
            if not full_size:
                # §8.2.3: the address is the peer's, but whether the path carries 1200 bytes is open.
                self._validate(path, now)
                self._move_if_ready(path, now)
                return None
            is_new = all(other.peer[0] != path.peer[0] for other in self._paths if other.reachable)
            self._on_valid(path, now)
            return path if is_new else None
        return None

    # The handshake.

    def on_handshake_keys_used(self) -> None:
        """Server: a Handshake packet proves that our Initial arrived at the address (RFC 9000 §8.1)."""
        if self.active.id == 0:
            self.active.validated = self.active.reachable = True

    def apply_peer_parameters(self, params: TransportParameters) -> None:
        """What the peer says about migration. Raises TransportError."""
        self._may_migrate = not params.disable_active_migration
        self._preferred = take_preferred(params, self._peer_cids)

    def on_confirmed(self, now: float) -> None:
        """The handshake is confirmed: from here on a connection may move (§9)."""
        self._confirmed = True
        active = self.active
        if self._is_client:
            active.reachable = True
            self._try_preferred(now)
        elif active.validation is not None:
            # It moved during the handshake, and there is no path to return to.
            active.validation.go_on(now + self._lifespan(), now, self._pto(active))
            self.pending = True

    def on_issue_acked(self) -> None:
        """The peer has another connection ID of ours, perhaps its first for another path."""
        if self._preferred is not None and self._confirmed:
            self.pending = True

    # Commands.

    def migrate(self, local: Address, now: float) -> None:
        """Client: try the path from `local`, and move there if it is good (§9.2).

        Raises MigrationError where that is not allowed or not possible.
        """
        if not self._is_client:
            raise MigrationError("only a client migrates")
        if not self._confirmed:
            raise MigrationError("the handshake is not confirmed yet")
        if not self._may_migrate and not self.active.preferred:
            raise MigrationError("the server does not allow it")
        if not self._peer_cids.current:
            raise MigrationError("the server has no connection IDs, so it would not recognise us")
        if any(path.local == local for path in self._paths):
            raise MigrationError("there is a path from this address already")
        targets = [self.active.peer]
        # §9.6.3: the server's preferred address, if it is still being tried, is to be tried from here too.
        targets += [path.peer for path in self._paths if path.preferred and path.moving]
        if self._peer_cids.available < len(targets):
            raise MigrationError("the server has not issued enough connection IDs")
        for path in [path for path in self._paths if path.moving]:
            self._forget(path)
        for peer in targets:
            self._try(peer, local, preferred=peer != self.active.peer or self.active.preferred, now=now)

    # The way out.

    def next_probe(self, now: float) -> Path | None:
        """A path with something to send that only goes there: challenges first. None: no more now."""
        if self._preferred is not None and self._confirmed:
            self._try_preferred(now)
        waiting = False
        for path in list(self._paths):
            validation = path.validation
            due = validation is not None and validation.due
            if not path.responses and not due:
                continue
            waiting = True
            recovery = self._recovery
            full = recovery.available_window < PROBE_SIZE and not recovery.pto_count
            if path is self.active and not due and full:
                # §8.2.2: nothing but congestion control may hold an answer back. It has no say when the
                # peer has fallen silent: the answer may be what opens a path to us for its ACKs.
                continue
            cid = self.cid(path)
            if cid is None:
                continue
            budget = path.probe_budget()
            if budget is not None and budget < MIN_PROBE + len(cid):
                continue
            # It may have waited for the connection ID only.
            self._move_if_ready(path, now)
            return path
        self.pending = waiting
        return None

    def cid(self, path: Path) -> bytes | None:
        """The Destination Connection ID for `path`, None while the peer has issued too few (§9.3, §9.5)."""
        return self._path_cids.of(path, self.active)

    def new_challenge(self) -> bytes:
        """Data for a PATH_CHALLENGE."""
        return self._random(CHALLENGE_LENGTH)

    # Time.

    def next_timeout(self) -> float | None:
        """When `on_timeout` has to be called."""
        active = self.active
        if len(self._paths) == 1 and active.validation is None:
            return None
        times = [path.discard_at for path in self._paths if path.discard_at is not None]
        if self._confirmed:
            known = [(path, path.validation) for path in self._paths]
            times += [validation.next_timeout(self._pto(path)) for path, validation in known if validation]
        return min(times, default=None)

    def on_timeout(self, now: float) -> None:
        """Repeat challenges, give up what is not answered, forget what is not needed any more."""
        if len(self._paths) == 1 and self.active.validation is None:
            return
        for path in list(self._paths):
            if path.discard_at is not None and path.discard_at <= now:
                self._give_up(path, now)
                continue
            validation = path.validation
            if validation is None or not self._confirmed:
                # No peer has to answer before the handshake is complete (RFC 9001 §5.7).
                continue
            if validation.expires_at <= now:
                self._on_invalid(path, now)
                continue
            retry = validation.retry_at(self._pto(path))
            if retry is not None and retry <= now:
                validation.due = self.pending = True

    # Inside.

    def _pto(self, path: Path) -> float:
        """The PTO of a path: that of the connection where it is, else from the initial RTT (§8.2.4)."""
        known = self._recovery if path is self.active else path.recovery
        return 3 * self._initial_rtt if known is None else known.rtt.pto(self._recovery.max_ack_delay)

    def _lifespan(self) -> float:
        """How long a validation may take (§8.2.4)."""
        pto = max(self._recovery.rtt.pto(self._recovery.max_ack_delay), 3 * self._initial_rtt)
        may_return = any(path.reachable for path in self._paths)
        return VALIDATION_PTO_COUNT * pto * (1 if may_return else LAST_PATH_PATIENCE)

    def _add(self, path: Path) -> None:
        if len(self._paths) >= MAX_PATHS:
            # The oldest that is neither in use nor worth returning to.
            dispensable = [other for other in self._paths if other is not self.active]
            self._forget(min(dispensable, key=lambda other: (other.reachable, other.id)))
        path.id = self._next_id
        self._next_id += 1
        self._paths.append(path)

    def _forget(self, path: Path) -> None:
        self._paths.remove(path)
        self._path_cids.release(path, self._paths, self.active)

    def _give_up(self, path: Path, now: float) -> None:
        """Forget a path that is of no use, unless it may yet be the only one.

        Server: while the peer is silent on the active path it won't hear there that it shall issue another
        connection ID. Should it send from this path, or a NAT move it, this one's is all there is (§9.5).
        """
        silent = not self._is_client and self._recovery.pto_count > 0
        if silent and self._path_cids.is_last(path):
            path.discard_at = now + self._lifespan()
        else:
            self._forget(path)

    def _validate(self, path: Path, now: float) -> None:
        path.validation = PathValidation(now + self._lifespan())
        self.pending = True

    def _try(self, peer: Address, local: Address | None, *, preferred: bool, now: float) -> None:
        """Client: probe a path, to move there."""
        # §9.2: the server's address is known to receive; a new one gets nothing but probes first (§9.6.2).
        path = Path(peer, local, validated=True)
        path.preferred = preferred
        path.moving = True
        self._add(path)
        self._local_cids.offer_more()
        self._validate(path, now)

    def _try_preferred(self, now: float) -> None:
        """Follow the server to its preferred address, once it has a connection ID for there (§9.5)."""
        active, preferred = self.active, self._preferred
        used = [path.arrived_cid or self._local_cids.initial for path in self._paths]
        if preferred is None or not self._local_cids.has_spare(used):
            return
        self._preferred = None
        peer = preferred_peer(preferred, active.peer)
        if peer is not None and peer != active.peer and self._peer_cids.current:
            self._try(peer, active.local, preferred=True, now=now)

    def _on_valid(self, path: Path, now: float) -> None:
        """Path validation has succeeded (§8.2.3)."""
        path.reachable = True
        if path is not self.active:
            self._move_if_ready(path, now)
            return
        self._discard_left(now)

    def _discard_left(self, now: float) -> None:
        """Nothing has to be returned to; what arrives late from other paths is taken for a while."""
        self._until_heard = False
        for other in self._paths:
            if other is not self.active and other.discard_at is None and other.validation is None:
                other.discard_at = now + VALIDATION_PTO_COUNT * self._pto(other)

    def _move_if_ready(self, path: Path, now: float) -> None:
        """Move to `path` if that is what somebody wants, and nothing stands against it."""
        if not path.moving or self.cid(path) is None:
            return
        if self._is_client:
            if not path.reachable:
                return
            better = any(other.preferred and other.moving for other in self._paths)
            if better and not path.preferred:
                # §9.6.3: the preferred address goes first as long as there is hope.
                return
        elif path.local != self.active.local and not path.reachable:
            # §9.6.2: a server's own change of address waits for both, the client and the validation.
            return
        self._switch(path, now)

    def _switch(self, path: Path, now: float | None) -> None:
        """Use `path` from now on. `now` is None during the handshake, when nothing can be validated."""
        old = self.active
        old.recovery = self._recovery.keep_path()
        self._path_cids.switch(old, path)
        self.active = path
        path.moving = False
        path.discard_at = None
        if path.recovery is not None:
            self._recovery.return_to_path(path.id, path.recovery)
        elif path.has_same_hosts(old):
            # §9.4: a NAT has chosen another port; the network between is the same.
            self._recovery.return_to_path(path.id, old.recovery)
        else:
            self._recovery.reset_path(path.id)
        self._events.append(PathChanged(path.peer, path.local))
        self.pending = True
        if now is None:
            return
        self._leave(old, now)
        if self._is_client:
            # §9.2: the server follows when it sees a non-probing packet.
            self._space.control.append(Ping())

    def _leave(self, old: Path, now: float) -> None:
        """What becomes of the path that was used until now, and of those nobody needs any more."""
        for other in list(self._paths):
            if other not in (self.active, old) and (other.moving or not other.reachable):
                # §9.3: what was under way elsewhere has been overtaken.
                self._forget(other)
        if not old.reachable:
            if old.discard_at is None:
                self._forget(old)
        elif self._is_client:
            # A server that can't follow so far, for want of a connection ID, has to be heard there.
            self._until_heard = True
        elif self.active.reachable:
            old.discard_at = now + VALIDATION_PTO_COUNT * self._pto(old)
        if not self._is_client and old.reachable:
            # §9.3.3: somebody may only have copied packets; this gives the true peer a chance to tell.
            self._validate(old, now)

    def _on_invalid(self, path: Path, now: float) -> None:
        """No answer came (§8.2.4)."""
        path.validation = None
        moving, path.moving = path.moving, False
        if path is self.active:
            self._return(path, now)
            return
        if not path.reachable or path.discard_at is not None or self.active.reachable:
            self._give_up(path, now)
        if moving and self._is_client:
            self._events.append(MigrationFailed(path.peer, path.local))
            for other in self._paths:
                if other.moving and other.reachable:
                    self._move_if_ready(other, now)
                    return

    def _return(self, failed: Path, now: float) -> None:
        """The active path does not lead to the peer: go back to the last that did (§9.3.2)."""
        earlier = [path for path in self._paths if path is not failed and path.reachable]
        if not earlier:
            self.unusable = not failed.reachable
            return
        # Whether the peer is heard there will be known by then; see `_give_up`.
        failed.discard_at = now + self._lifespan()
        self._switch(max(earlier, key=lambda path: path.id), now)
