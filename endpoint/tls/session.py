"""What a client keeps of a connection to resume it later: ticket, key, and what was agreed."""

import hashlib
import math
import struct
from dataclasses import dataclass, field

from endpoint.errors import AlertError
from endpoint.tls.reader import Reader, vector
from endpoint.tls.suites import CIPHER_SUITES

# RFC 9846 §4.6.1: no ticket is used longer than this, in seconds, whatever its ticket_lifetime says.
MAX_TICKET_LIFETIME = 7 * 24 * 3600

_MAGIC = b"interquic session 1\n"
_DIGEST_LENGTH = 16

_EARLY_DATA = 1
_VERIFIED = 2
_TIMES = struct.Struct(">dd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One ticket of a server, for one later connection (RFC 9001 §4.5: reuse lets observers link them).

    Holds a secret: keep what `to_bytes` gives where only its owner can read. Raises ValueError for values
    that no session can have.
    """

    ticket: bytes = field(repr=False)
    cipher_suite: int
    psk: bytes = field(repr=False)
    alpn: str
    server_name: str
    # Wall clock, seconds since 1970: when the ticket came, and when the server last showed a certificate.
    received: float
    established: float
    # Seconds from `received` on.
    ticket_lifetime: int
    ticket_age_add: int
    # The ticket allows 0-RTT.
    early_data: bool
    # The certificate was checked, which a client of `TlsConfig.insecure` does not do.
    verified: bool
    # The caller's own: transport parameters to remember (RFC 9000 §7.4.1), settings of the application.
    application_state: bytes = b""

    def __post_init__(self) -> None:
        suite = CIPHER_SUITES.get(self.cipher_suite)
        if suite is None or len(self.psk) != suite.hash_length:
            raise ValueError("session with an unknown cipher suite, or a key that is not for it")
        if not 1 <= len(self.ticket) <= 0xFFFF:
            raise ValueError("session with an empty ticket, or one that is too long")
        if not 1 <= len(self.alpn.encode()) <= 255 or not 1 <= len(self.server_name.encode()) <= 0xFFFF:
            raise ValueError("session without protocol or server name, or with one that is too long")
        if not all(math.isfinite(each) and each >= 0 for each in (self.received, self.established)):
            raise ValueError("session of an impossible time")
        if not (0 < self.ticket_lifetime <= MAX_TICKET_LIFETIME and 0 <= self.ticket_age_add <= 0xFFFFFFFF):
            raise ValueError("session with an impossible ticket_lifetime or ticket_age_add")
        if len(self.application_state) > 0xFFFF:
            raise ValueError("application_state of a session is too long")

    def is_fresh(self, now: float) -> bool:
        """Whether the ticket may still be used at wall clock time `now`.

        Also limits how long a chain of resumptions can go on without a certificate (RFC 9846 §4.6.1).
        """
        return (
            0 <= now - self.received <= self.ticket_lifetime and now - self.established <= MAX_TICKET_LIFETIME
        )

    def obfuscated_ticket_age(self, now: float) -> int:
        """RFC 9846 §4.2.11.1, in milliseconds."""
        return (int((now - self.received) * 1000) + self.ticket_age_add) & 0xFFFFFFFF

    def to_bytes(self) -> bytes:
        """For a file or a database; `from_bytes` of any later release of this format reads it."""
        flags = (_EARLY_DATA if self.early_data else 0) | (_VERIFIED if self.verified else 0)
        body = b"".join(
            (
                vector(2, self.ticket),
                self.cipher_suite.to_bytes(2, "big"),
                vector(1, self.psk),
                vector(1, self.alpn.encode()),
                vector(2, self.server_name.encode()),
                _TIMES.pack(self.received, self.established),
                self.ticket_lifetime.to_bytes(4, "big"),
                self.ticket_age_add.to_bytes(4, "big"),
                bytes((flags,)),
                vector(2, self.application_state),
            )
        )
        return _MAGIC + _digest(body) + body

    @classmethod
    def from_bytes(cls, data: bytes) -> "Session":
        """Raises ValueError for anything that `to_bytes` did not give."""
        start = len(_MAGIC) + _DIGEST_LENGTH
        body = data[start:]
        if not data.startswith(_MAGIC) or data[len(_MAGIC) : start] != _digest(body):
            raise ValueError("not a session, or a damaged one")
        try:
            return cls._parse(Reader(body, "session"))
        except AlertError as error:
            raise ValueError(error.reason) from error

    @classmethod
    def _parse(cls, reader: Reader) -> "Session":
        ticket = reader.vector(2)
        cipher_suite = reader.uint(2)
        psk = reader.vector(1)
        alpn = reader.vector(1).decode()
        server_name = reader.vector(2).decode()
        received, established = _TIMES.unpack(reader.take(_TIMES.size))
        ticket_lifetime = reader.uint(4)
        ticket_age_add = reader.uint(4)
        flags = reader.uint(1)
        application_state = reader.vector(2)
        reader.finish()
        return cls(
            ticket=ticket,
            cipher_suite=cipher_suite,
            psk=psk,
            alpn=alpn,
            server_name=server_name,
            received=received,
            established=established,
            ticket_lifetime=ticket_lifetime,
            ticket_age_add=ticket_age_add,
            early_data=bool(flags & _EARLY_DATA),
            verified=bool(flags & _VERIFIED),
            application_state=application_state,
        )


def _digest(body: bytes) -> bytes:
    """Finds damage, not forgery: who can write the file can read the key in it as well."""
    return hashlib.sha256(body).digest()[:_DIGEST_LENGTH]
