"""Which of the peer's connection IDs is used on which path (RFC 9000 §9.5)."""

from collections.abc import Sequence

from endpoint.transport.cids import PeerCids
from endpoint.transport.paths import Path


class PathCids:
    """Gives each path a connection ID of its own, and gives up those of paths that are forgotten.

    `Path.sequence` is where it is written down; for the active path `PeerCids` knows better.
    """

    __slots__ = ("_initial", "_peer_cids")

    def __init__(self, peer_cids: PeerCids, initial: bytes) -> None:
        """`initial` is the connection ID by which the peer has addressed us during the handshake."""
        self._peer_cids = peer_cids
        self._initial = initial

    def of(self, path: Path, active: Path) -> bytes | None:
        """The Destination Connection ID for `path`, None while the peer has issued too few (§9.3)."""
        cids = self._peer_cids
        if path is active or not cids.current:
            return cids.current
        known = None if path.sequence is None else cids.cid(path.sequence)
        if known is None:
            path.sequence = cids.take()
            known = None if path.sequence is None else cids.cid(path.sequence)
        return known

    def share(self, path: Path, dcid: bytes, others: Sequence[Path], active: Path) -> None:
        """The first packet on `path` was for `dcid`: where it came for that on another path before, nobody
        but a NAT has changed anything, so we don't have to either.
        """
        for other in others:
            arrived = other.arrived_cid or self._initial
            if other is not path and arrived == dcid and other.local == path.local:
                path.sequence = self._peer_cids.sequence if other is active else other.sequence

    def switch(self, old: Path, new: Path) -> None:
        """`new` is the active path from now on, and not `old`."""
        old.sequence = self._peer_cids.sequence
        if new.sequence is not None and new.sequence != old.sequence:
            self._peer_cids.use(new.sequence)

    def release(self, path: Path, left: Sequence[Path], active: Path) -> None:
        """`path` is not among those `left`: tell the peer, unless its connection ID is that of another."""
        sequence = path.sequence
        shared = any(other.sequence == sequence for other in left if other is not active)
        if sequence is not None and sequence != self._peer_cids.sequence and not shared:
            self._peer_cids.retire(sequence)

    def is_last(self, path: Path) -> bool:
        """Whether `path` has a connection ID, and no other would be left for the path of a next packet."""
        return path.sequence is not None and not self._peer_cids.available
