"""Network paths: address validation, the anti-amplification limit, path validation (RFC 9000 §8).

What a connection does with several of them is in `endpoint.transport.migration`.
"""

from collections import deque

from endpoint.batch import Address
from endpoint.recovery.path_recovery import PathRecovery
from endpoint.recovery.sent_packets import SentPackets

# RFC 9000 §8.1: until an address is validated we send it at most this many times what came from it.
AMPLIFICATION_FACTOR = 3

# Kept back on an unvalidated path for this many bytes of challenges: three.
PROBE_RESERVE = 200

# RFC 9000 §9.3.3 and §8.2: answers waiting to be sent. A peer that asks faster than we may answer
# loses the oldest questions; it has to repeat those that matter to it.
MAX_PATH_RESPONSES = 8

# Challenges remembered in one validation: an answer to an older one would come very late.
MAX_CHALLENGES = 8

# Challenges and answers that a peer leaves unacknowledged: more than any that hears us ever would.
MAX_PROBES_IN_FLIGHT = 64

# RFC 9000 §8.2.4: a validation is given up after this many PTO.
VALIDATION_PTO_COUNT = 3


class PathValidation:
    """Challenges to one path until one is answered or it is given up (RFC 9000 §8.2). Times are seconds.

    `due`: a challenge should be sent now. `expires_at` is when the validation fails.
    """

    __slots__ = ("_challenges", "_count", "_sent_at", "due", "expires_at")

    def __init__(self, expires_at: float) -> None:
        self.due = True
        self.expires_at = expires_at
        # Data of the challenges that were sent, and whether in a datagram of full size.
        self._challenges: dict[bytes, bool] = {}
        self._count = 0
        self._sent_at = 0.0

    def on_sent(self, data: bytes, now: float, *, full_size: bool) -> None:
        """A challenge with `data` went out. Only the last few are remembered."""
        if len(self._challenges) >= MAX_CHALLENGES:
            del self._challenges[next(iter(self._challenges))]
        self._challenges[data] = full_size
        self._count += 1
        self._sent_at = now
        self.due = False

    def retry_at(self, pto: float) -> float | None:
        """When the next challenge is due: the PTO doubles, as for Initial packets (§8.2.1).

        None while one is due already, or waits for room to be sent.
        """
        if self.due or not self._count:
            return None
        return self._sent_at + pto * float(1 << (self._count - 1))

    def next_timeout(self, pto: float) -> float:
        """When the next challenge is due, or the validation fails."""
        retry = self.retry_at(pto)
        return self.expires_at if retry is None else min(retry, self.expires_at)

    def go_on(self, expires_at: float, now: float, pto: float) -> None:
        """The peer uses the path: it is worth asking for longer, and no less often than once per PTO."""
        self.expires_at = max(self.expires_at, expires_at)
        self.due = self.due or (self._count > 0 and now >= self._sent_at + pto)

    def answers(self, data: bytes) -> bool | None:
        """Whether `data` answers a challenge of full size; None if it answers none of ours."""
        return self._challenges.get(data)


class ProbesInFlight:
    """Packets that only tried paths out and may still be outstanding.

    Neither window nor pacer holds them back, and a peer can ask for any number without ever acknowledging
    one. Something has to bound what is remembered of them.
    """

    __slots__ = ("_numbers", "_sent")

    def __init__(self, sent: SentPackets) -> None:
        """`sent` are the packets of the 1-RTT space."""
        self._sent = sent
        self._numbers: deque[int] = deque()

    def add(self, pn: int) -> None:
        """Packet `pn` was such a one."""
        self._numbers.append(pn)

    @property
    def full(self) -> bool:
        """Whether there are so many that the peer has to acknowledge something before there are more."""
        oldest, numbers = self._sent.oldest, self._numbers
        while numbers and (oldest is None or numbers[0] < oldest):
            numbers.popleft()
        return len(numbers) >= MAX_PROBES_IN_FLIGHT


class Path:
    """A pair of addresses and what is known of it.

    `id` tells recovery which packets were sent on it. `validated`: the peer is known to receive at this
    address, so there is no limit to what we send (§8). `reachable`: a PATH_CHALLENGE was answered, or
    the handshake was made here, so one may come back to it (§9.3.2). `sequence` is the peer's connection
    ID that we use here, None while there is none to use; for the active path `PeerCids` knows better.
    `arrived_cid` is the one of ours that the peer uses.

    `moving`: the peer, or the application, wants the connection here as soon as that is possible.
    `recovery` keeps round trip and window while another path is in use. `discard_at` is when to forget
    the path, None to keep it.
    """

    __slots__ = (
        "arrived_cid",
        "discard_at",
        "id",
        "local",
        "moving",
        "peer",
        "preferred",
        "reachable",
        "received",
        "recovery",
        "responses",
        "sent",
        "sequence",
        "validated",
        "validation",
    )

    def __init__(self, peer: Address, local: Address | None, *, validated: bool, path_id: int = 0) -> None:
        self.id = path_id
        self.peer = peer
        self.local = local
        self.validated = validated
        self.reachable = False
        self.received = 0
        self.sent = 0
        self.responses: deque[bytes] = deque(maxlen=MAX_PATH_RESPONSES)
        self.sequence: int | None = None
        self.arrived_cid: bytes | None = None
        self.validation: PathValidation | None = None
        self.moving = False
        # A client's: this leads to the server's preferred address (§9.6).
        self.preferred = False
        self.recovery: PathRecovery | None = None
        self.discard_at: float | None = None

    def budget(self) -> int | None:
        """Bytes of UDP payload that may go to the peer now; None once it is validated (no limit).

        On a path that the connection has moved to, enough is left to repeat a lost challenge: nothing else
        would ever lift the limit when the peer has nothing to say.
        """
        limit = self.probe_budget()
        return limit if limit is None or not self.id else max(0, limit - PROBE_RESERVE)

    def probe_budget(self) -> int | None:
        """What challenges and responses may use, in bytes; None for no limit."""
        if self.validated:
            return None
        return max(0, AMPLIFICATION_FACTOR * self.received - self.sent)

    def on_received(self, size: int) -> None:
        """A datagram of `size` bytes came; all of it counts, readable or not (§8.1)."""
        self.received += size

    def on_sent(self, size: int) -> None:
        """A datagram of `size` bytes went out; padding and retransmissions count too."""
        self.sent += size

    def on_challenge(self, data: bytes) -> None:
        """PATH_CHALLENGE asks for its data back (§8.2.2)."""
        self.responses.append(data)

    def has_same_hosts(self, other: "Path") -> bool:
        """Whether nothing but ports differs (§9.4)."""
        if self.peer[0] != other.peer[0]:
            return False
        if self.local is None or other.local is None:
            return self.local is other.local
        return bool(self.local[0] == other.local[0])
