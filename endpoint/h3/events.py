"""What an HTTP/3 connection tells its application. Plain values without behaviour."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from endpoint.events import ConnectionClosed

if TYPE_CHECKING:
    from endpoint.h3.priority import Priority
    from endpoint.h3.settings import Settings

# Names in lower case, pseudo-header fields first, in the order they came.
Headers: TypeAlias = Sequence[tuple[bytes, bytes]]


@dataclass(slots=True)
class SettingsReceived:
    """The peer's SETTINGS (RFC 9114 §7.2.4); a client keeps them with its session for 0-RTT."""

    settings: "Settings"


@dataclass(slots=True)
class HeadersReceived:
    """To a server a request, to a client the final response. `ended`: neither content nor trailers follow."""

    stream_id: int
    headers: Headers
    ended: bool


@dataclass(slots=True)
class ResponseReceived:
    """To a client that asked for `whole_responses`: a final response and all its content, at once."""

    stream_id: int
    headers: Headers
    content: bytes


@dataclass(slots=True)
class InformationalReceived:
    """To a client: a response with a status of 1xx; others follow (RFC 9114 §4.1)."""

    stream_id: int
    headers: Headers


@dataclass(slots=True)
class BodyReadable:
    """`read_body` has content to give, or the end. Not told again until it returned b"" without the end."""

    stream_id: int


@dataclass(slots=True)
class TrailersReceived:
    """The trailer section. All content before it was read; the next `read_body` tells the end."""

    stream_id: int
    headers: Headers


@dataclass(slots=True)
class RequestReset:
    """Nothing more comes on the stream, and the message is not complete.

    The peer abandoned it (RESET_STREAM), or it was malformed: then `error_code` is what we answered with,
    and our part of the stream is reset, too.
    """

    stream_id: int
    error_code: int


@dataclass(slots=True)
class RequestStopped:
    """The peer no longer wants what we send on the stream (STOP_SENDING)."""

    stream_id: int
    error_code: int


@dataclass(slots=True)
class BodyWritable:
    """`send_body` takes content again after it took less than it was given."""

    stream_id: int


@dataclass(slots=True)
class RequestFinished:
    """After `tell_finished`: the peer has acknowledged all that we sent on the stream."""

    stream_id: int


@dataclass(slots=True)
class RequestsAvailable:
    """To a client: more requests can be sent now."""


@dataclass(slots=True)
class GoawayReceived:
    """The peer is about to close (RFC 9114 §5.2).

    To a client: requests on this stream or a later one were not processed, and can be sent again on another
    connection. To a server it is a push ID, without a meaning where nothing is pushed.
    """

    stream_id: int


@dataclass(slots=True)
class PriorityUpdated:
    """To a server: the client changed the priority of a request (RFC 9218 §7); it is in force already."""

    stream_id: int
    priority: "Priority"


@dataclass(slots=True)
class H3DatagramReceived:
    """An HTTP datagram that belongs to a request (RFC 9297 §2.1). Some are lost, some out of order."""

    stream_id: int
    data: bytes


@dataclass(slots=True)
class ConnectionEnded:
    """The QUIC connection is closed; no other event follows."""

    closed: ConnectionClosed


H3Event: TypeAlias = (
    SettingsReceived
    | HeadersReceived
    | ResponseReceived
    | InformationalReceived
    | BodyReadable
    | TrailersReceived
    | RequestReset
    | RequestStopped
    | BodyWritable
    | RequestFinished
    | RequestsAvailable
    | GoawayReceived
    | PriorityUpdated
    | H3DatagramReceived
    | ConnectionEnded
)
