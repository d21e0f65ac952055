"""The server's session tickets: their content, and the guard against replayed 0-RTT."""

import hashlib
import struct
from dataclasses import dataclass

from endpoint.keyring import KeyRing
from endpoint.tls.reader import Reader, vector
from endpoint.tls.session import MAX_TICKET_LIFETIME

# Bytes. A ticket comes back in a ClientHello, which should not take more datagrams than it must.
MAX_APPLICATION_STATE = 1024

# Seconds that a clock of another server may be ahead of ours.
_CLOCK_TOLERANCE = 10.0

# Authenticated with each ticket: another layout of the content gets another name, and is then unknown.
_TICKET_FORMAT = b"interquic ticket 1\0"
_EARLY_DATA = 1
_CLIENT_AUTHENTICATED = 2
_TIMES = struct.Struct(">dd")


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketContent:
    """What a server has to know again when the ticket comes back. Times are wall clock, in seconds."""

    cipher_suite: int
    psk: bytes
    alpn: str
    # `server_name_digest` of the server_name: all it is needed for is a comparison.
    server_name: bytes
    issued: float
    # When the full handshake was that this session began with.
    established: float
    ticket_lifetime: int
    ticket_age_add: int
    early_data: bool
    # The client has proved a certificate in that handshake.
    client_authenticated: bool
    application_state: bytes

    def is_fresh(self, now: float) -> bool:
        """Whether the ticket may be used at `now`."""
        return (
            -_CLOCK_TOLERANCE <= now - self.issued <= self.ticket_lifetime
            and now - self.established <= MAX_TICKET_LIFETIME
        )

    def client_age(self, obfuscated_ticket_age: int) -> float:
        """The age that the client says the ticket has, in seconds (RFC 9846 §4.2.11.1)."""
        return ((obfuscated_ticket_age - self.ticket_age_add) & 0xFFFFFFFF) / 1000

    def encode(self) -> bytes:
        flags = (_EARLY_DATA if self.early_data else 0) | (
            _CLIENT_AUTHENTICATED if self.client_authenticated else 0
        )
        return b"".join(
            (
                self.cipher_suite.to_bytes(2, "big"),
                vector(1, self.psk),
                vector(1, self.alpn.encode()),
                vector(1, self.server_name),
                _TIMES.pack(self.issued, self.established),
                self.ticket_lifetime.to_bytes(4, "big"),
                self.ticket_age_add.to_bytes(4, "big"),
                bytes((flags,)),
                vector(2, self.application_state),
            )
        )

    @classmethod
    def parse(cls, data: bytes) -> "TicketContent":
        """Of what `encode` gave; the seal of a ticket tells that it is that."""
        reader = Reader(data, "ticket")
        cipher_suite = reader.uint(2)
        psk = reader.vector(1)
        alpn = reader.vector(1).decode()
        server_name = reader.vector(1)
        issued, established = _TIMES.unpack(reader.take(_TIMES.size))
        ticket_lifetime = reader.uint(4)
        ticket_age_add = reader.uint(4)
        flags = reader.uint(1)
        application_state = reader.vector(2)
        reader.finish()
        return cls(
            cipher_suite=cipher_suite,
            psk=psk,
            alpn=alpn,
            server_name=server_name,
            issued=issued,
            established=established,
            ticket_lifetime=ticket_lifetime,
            ticket_age_add=ticket_age_add,
            early_data=bool(flags & _EARLY_DATA),
            client_authenticated=bool(flags & _CLIENT_AUTHENTICATED),
            application_state=application_state,
        )


def server_name_digest(server_name: str | None) -> bytes:
    """A server_name, of whatever length, as a ticket keeps it. Host names don't differ by case."""
    return hashlib.sha256((server_name or "").lower().encode()).digest()


def seal_ticket(keys: KeyRing, content: TicketContent, now: float, scope: bytes = b"") -> bytes:
    """A ticket with this content; `now` is wall clock time. It opens only for the same `scope`."""
    return keys.seal(content.encode(), _TICKET_FORMAT + scope, now)


def open_ticket(keys: KeyRing, ticket: bytes, scope: bytes = b"") -> TicketContent | None:
    """The content, or None for what no key of the ring has sealed as a ticket of this scope."""
    content = keys.open(ticket, _TICKET_FORMAT + scope)
    return None if content is None else TicketContent.parse(content)


class AntiReplay:
    """Lets 0-RTT of a ticket pass once within a window of time (RFC 9846 §8.2 and §8.3).

    In doubt it refuses, which costs the client a round trip and nothing else. Share one between all
    connections of a server: what it has not seen it can't recognise, so servers that share their ticket
    keys, and each have a guard of their own, let the same 0-RTT data in once each.
    """

    __slots__ = ("_capacity", "_current", "_current_since", "_latest", "_previous", "_started", "_window")

    def __init__(self, now: float, *, window: float = 10.0, capacity: int = 50_000) -> None:
        """`now` is the wall clock time of the start, in seconds.

        `window` is by how many seconds a ClientHello may come before or after the time that the ticket's
        age tells: network delays, and clocks that run at different speeds. `capacity` bounds the memory:
        no more than that many tickets are let in during twice the window (of some 100 bytes each).
        """
        self._started = now
        self._latest = now
        self._window = window
        self._capacity = capacity
        self._current: set[bytes] = set()
        self._previous: set[bytes] = set()
        self._current_since = now

    def __len__(self) -> int:
        """How many tickets are remembered."""
        return len(self._current) + len(self._previous)

    def admit(self, ticket: bytes, issued: float, client_age: float, now: float) -> bool:
        """Whether to accept the 0-RTT data of a ticket whose binder is verified; if so it is remembered.

        `client_age` in seconds; `issued` and `now` are wall clock times.
        """
        if now < self._latest:
            # The clock was set back. What is forgotten could seem fresh again until it catches up.
            return False
        self._latest = now
        expected_arrival_time = issued + client_age
        if abs(now - expected_arrival_time) > self._window:
            return False
        if issued < self._started and expected_arrival_time - self._window <= self._started:
            # RFC 9846 §8.2: may have come before we started, when we could not see it. A ticket that was
            # issued later can't have been used before.
            return False
        self._forget(now)
        key = hashlib.sha256(ticket).digest()[:16]
        if key in self._current or key in self._previous or len(self._current) >= self._capacity:
            return False
        self._current.add(key)
        return True

    def _forget(self, now: float) -> None:
        # From the first ClientHello that fits into the window to the last it is twice the window, and a
        # ticket is remembered for the rest of its generation and all of the next.
        generation = 2 * self._window
        elapsed = now - self._current_since
        if elapsed > generation:
            self._previous = self._current if elapsed <= 2 * generation else set()
            self._current = set()
            self._current_since = now
