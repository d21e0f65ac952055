"""Requests as fields of HTTP/3, for all clients in here (RFC 9114 §4.3.1)."""

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from endpoint.errors import InterquicError
from endpoint.h3.headers import CONNECTION_SPECIFIC

# As an application gives them, in any case of letters.
Field: TypeAlias = tuple[str | bytes, str | bytes]
Fields: TypeAlias = Sequence[Field]

ALPN: Final = "h3"
DEFAULT_PORT: Final = 443

# RFC 9110 §9.2.1: these ask for nothing to be changed, so they do no harm when they are repeated.
SAFE_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))


class RequestError(InterquicError):
    """A request has failed; its connection may go on.

    `error_code` is that of HTTP/3 where there was one. `retryable`: the server has done nothing about the
    request, so that it can be sent again, whatever its method (RFC 9114 §4.1.1, §5.2).
    """

    def __init__(self, message: str, error_code: int | None = None, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.error_code = error_code
        self.retryable = retryable


class InvalidRequestError(ValueError):
    """The request is none that can be sent: its body is not as long as it said, for one."""


def authority(host: str, port: int) -> str:
    """Host and port as `:authority` has them: without the port that is usual for https (RFC 9110 §4.2.2)."""
    name = f"[{host}]" if ":" in host else host
    return name if port == DEFAULT_PORT else f"{name}:{port}"


def request_headers(method: str, host: str, path: str, fields: Iterable[Field]) -> list[tuple[bytes, bytes]]:
    """The header section of a request to `host`, as `authority` gives it; `path` has the query with it.

    A `host` among the fields replaces it (RFC 9114 §4.3.1), and fields that HTTP/3 does not have (§4.2) are
    left out.
    """
    others: list[tuple[bytes, bytes]] = []
    named = host.encode()
    for name, value in fields:
        key, content = as_bytes(name).lower(), as_bytes(value)
        if key == b"host":
            named = content
        elif key not in CONNECTION_SPECIFIC and (key != b"te" or content == b"trailers"):
            others.append((key, content))
    return [
        (b":method", method.encode()),
        (b":scheme", b"https"),
        (b":authority", named),
        (b":path", path.encode()),
        *others,
    ]


def has_field(fields: Iterable[Field], name: bytes) -> bool:
    """Whether there is a field of this (lower case) name."""
    return any(as_bytes(key).lower() == name for key, _ in fields)


def as_bytes(value: str | bytes) -> bytes:
    """A field's name or value as it goes on the wire."""
    return value.encode() if isinstance(value, str) else value
