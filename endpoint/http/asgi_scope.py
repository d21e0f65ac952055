"""What an ASGI application is told of a request, and its fields on the way back.

https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

from endpoint.batch import Address
from endpoint.h3.events import Headers
from endpoint.h3.headers import CONNECTION_SPECIFIC, join_cookies
from endpoint.http.lifespan import VERSIONS, Scope
from endpoint.http.server import Session

_EXTENSIONS: Final = ("http.response.trailers", "http.response.early_hint")


def make_scope(session: Session, headers: Headers) -> Scope:
    """The HTTP connection scope of a request."""
    pseudo: dict[bytes, bytes] = {}
    fields: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if name[:1] == b":":
            pseudo[name] = value
        elif name != b"host":
            fields.append((name, value))
        else:
            pseudo.setdefault(b":authority", value)
    authority = pseudo.get(b":authority")
    if authority is not None:
        fields.insert(0, (b"host", authority))
    if session.early:
        # As a gateway does: an application that wants to can answer 425 (RFC 8470 §5.1).
        fields.append((b"early-data", b"1"))
    raw_path, _, query = pseudo[b":path"].partition(b"?")
    return {
        "type": "http",
        "asgi": VERSIONS,
        "http_version": "3",
        "method": pseudo[b":method"].decode("latin-1").upper(),
        "scheme": pseudo[b":scheme"].decode("latin-1"),
        "path": unquote(raw_path),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": join_cookies(fields),
        "client": _host_and_port(session.quic.peer),
        "server": None if session.quic.local is None else _host_and_port(session.quic.local),
        "extensions": {name: {} for name in _EXTENSIONS},
    }


def _host_and_port(address: Address) -> tuple[str, int]:
    host = address[0]
    if host.startswith("::ffff:") and "." in host:
        host = host[7:]  # IPv4, on a socket of both families
    return host, address[1]


def shown_path(scope: Scope) -> str:
    """The path for a line of a log: as it came, since what it decodes to may have line ends."""
    raw: bytes = scope["raw_path"]
    return raw.decode("ascii", "backslashreplace")


def clean_fields(fields: Iterable[Iterable[bytes]]) -> list[tuple[bytes, bytes]]:
    """Fields as HTTP/3 wants them: lower case, without those about an HTTP/1.1 connection (RFC 9114 §4.2),
    which applications send out of habit.
    """
    cleaned = []
    for name, value in fields:
        lower = bytes(name).lower()
        if lower not in CONNECTION_SPECIFIC:
            cleaned.append((lower, bytes(value)))
    return cleaned
