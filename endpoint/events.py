"""What a connection tells its application. Plain values without behaviour.

Those that come with every stream are not frozen, which would double the time that it takes to make one.
"""

from dataclasses import dataclass

from endpoint.batch import Address


@dataclass(frozen=True, slots=True)
class HandshakeCompleted:
    """TLS is done (RFC 9001 §4.1.1): the peer is authenticated and 1-RTT data flows both ways.

    `peer_certificates` are DER, leaf first; empty where the peer sent none, and where a session was
    `resumed`: then it was checked when that began. `early_data`: 0-RTT data was accepted.
    """

    alpn: str
    cipher_suite: int
    peer_certificates: tuple[bytes, ...]
    resumed: bool = False
    early_data: bool = False


@dataclass(frozen=True, slots=True)
class HandshakeConfirmed:
    """The peer is known to have completed the handshake too (RFC 9001 §4.1.2)."""


@dataclass(slots=True, unsafe_hash=True)
class StreamOpened:
    """The peer opened a stream; precedes the first `StreamReadable` of it."""

    stream_id: int


@dataclass(slots=True, unsafe_hash=True)
class StreamReadable:
    """`Connection.read` has bytes or the end of the stream to give."""

    stream_id: int


@dataclass(slots=True, unsafe_hash=True)
class StreamReceived:
    """All of a stream from beginning to end, read already, see `Connection.deliver_whole_streams`."""

    stream_id: int
    data: bytes


@dataclass(slots=True, unsafe_hash=True)
class StreamWritable:
    """`Connection.write` takes bytes again after it took fewer than it was given."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The peer abandoned sending on the stream (RESET_STREAM, RFC 9000 §19.4)."""

    stream_id: int
    error_code: int


@dataclass(frozen=True, slots=True)
class StreamStopped:
    """The peer no longer reads the stream (STOP_SENDING, RFC 9000 §19.5). Our side is reset in answer."""

    stream_id: int
    error_code: int


@dataclass(slots=True, unsafe_hash=True)
class StreamFinished:
    """The peer has acknowledged every byte and the end of what we sent on the stream."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamsAvailable:
    """The peer raised the number of streams we may open (MAX_STREAMS, RFC 9000 §19.11)."""

    unidirectional: bool


@dataclass(frozen=True, slots=True)
class DatagramReceived:
    """The peer sent a datagram (RFC 9221). Some are lost on the way, and some come out of order."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PathChanged:
    """The connection has moved: it is carried between these addresses now (RFC 9000 §9).

    The peer moved, a NAT chose another port or address for it, or we did. `local` is None if unknown.
    """

    peer: Address
    local: Address | None


@dataclass(frozen=True, slots=True)
class MigrationFailed:
    """The path between these addresses does not work; the connection stays where it is."""

    peer: Address
    local: Address | None


@dataclass(frozen=True, slots=True)
class EarlyDataAccepted:
    """0-RTT data is accepted (RFC 9001 §4.6.2).

    To a server it says that what follows came early: it may be a replay, so act only on what is safe to
    repeat, until HandshakeCompleted. To a client, that what it sent early was received.
    """


@dataclass(frozen=True, slots=True)
class EarlyDataRejected:
    """The server has ignored the 0-RTT data; all of it is sent again after the handshake."""


@dataclass(frozen=True, slots=True)
class SessionReceived:
    """A session with which the next connection to this server is resumed, once (RFC 9001 §4.5).

    `session` is for `endpoint.tls.session.Session.from_bytes`. It holds a secret.
    """

    session: bytes


@dataclass(frozen=True, slots=True)
class NewTokenReceived:
    """A token that saves a round trip at the next connection to this server (RFC 9000 §8.1.3)."""

    token: bytes


@dataclass(frozen=True, slots=True)
class VersionsOffered:
    """The server doesn't speak the version we began in, but these (RFC 9000 §6.2); ConnectionClosed follows.

    Another connection may be tried in one of them, see `Connection.client`.
    """

    versions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """The connection has ended; no other event follows.

    `error_code` is a transport code, or the application's own where `application` is true.
    `frame_type` is 0 where unknown. `remote` tells who closed. `reason` is for humans;
    "idle timeout" and "stateless reset" are closes without a code (NO_ERROR).
    """

    error_code: int
    frame_type: int
    reason: str
    application: bool
    remote: bool
    kind: str = (
        "close"  # "close", "idle_timeout", "stateless_reset", "version_negotiation", "handshake_timeout"
    )


Event = (
    HandshakeCompleted
    | HandshakeConfirmed
    | StreamOpened
    | StreamReadable
    | StreamReceived
    | StreamWritable
    | StreamReset
    | StreamStopped
    | StreamFinished
    | StreamsAvailable
    | DatagramReceived
    | PathChanged
    | MigrationFailed
    | EarlyDataAccepted
    | EarlyDataRejected
    | SessionReceived
    | NewTokenReceived
    | VersionsOffered
    | ConnectionClosed
)
