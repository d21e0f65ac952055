"""A QUIC endpoint in plain Python: sans-I/O core, TLS 1.3, and asyncio at the edge.

`connect` and `serve` are for asyncio; `Connection` and `Listener` do no I/O and can be embedded anywhere.
Names are imported when they are first used: `import endpoint.wire` loads neither asyncio nor sockets.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from endpoint import events
    from endpoint.config import Config
    from endpoint.io.client import connect
    from endpoint.io.server import serve
    from endpoint.io.sessions import SessionStore
    from endpoint.keyring import KeyRing
    from endpoint.listener import Listener
    from endpoint.tls.config import TlsConfig
    from endpoint.tracing import QlogFolder
    from endpoint.transport.connection import Connection

__all__ = [
    "Config",
    "Connection",
    "KeyRing",
    "Listener",
    "QlogFolder",
    "SessionStore",
    "TlsConfig",
    "connect",
    "events",
    "serve",
]

_HOMES = {
    "Config": "endpoint.config",
    "Connection": "endpoint.transport.connection",
    "KeyRing": "endpoint.keyring",
    "Listener": "endpoint.listener",
    "QlogFolder": "endpoint.tracing",
    "SessionStore": "endpoint.io.sessions",
    "TlsConfig": "endpoint.tls.config",
    "connect": "endpoint.io.client",
    "serve": "endpoint.io.server",
}


def __getattr__(name: str) -> Any:
    if name == "events":
        return import_module("endpoint.events")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
