"""A client that begins in a version its server does not speak (RFC 9368 §2.1), over real sockets."""

import asyncio

import pytest

from endpoint.config import Config
from endpoint.io.client import connect
from endpoint.io.server import ServerConnection, serve
from endpoint.io.streams import ConnectionLostError
from endpoint.tls.config import TlsConfig
from endpoint.wire.version import QUIC_V1, QUIC_V2

V2_FIRST = Config(versions=(QUIC_V2, QUIC_V1), initial_version=QUIC_V2)


async def ignore(connection: ServerConnection) -> None:
    """Let the client do what it likes."""


async def version_of(client: Config, server_tls: TlsConfig, client_tls: TlsConfig) -> int:
    """The version spoken with a server that knows only version 1."""
    async with (
        asyncio.timeout(10),
        serve("127.0.0.1", 0, ignore, tls=server_tls, config=Config(versions=(QUIC_V1,))) as server,
        connect("127.0.0.1", server.address[1], tls=client_tls, config=client) as connection,
    ):
        return connection.core.version


def test_tries_again_in_a_version_of_the_server(server_tls: TlsConfig, client_tls: TlsConfig) -> None:
    assert asyncio.run(version_of(V2_FIRST, server_tls, client_tls)) == QUIC_V1


def test_fails_without_a_common_version(server_tls: TlsConfig, client_tls: TlsConfig) -> None:
    only_v2 = Config(versions=(QUIC_V2,), initial_version=QUIC_V2)
    with pytest.raises(ConnectionLostError, match="0x00000001"):
        asyncio.run(version_of(only_v2, server_tls, client_tls))
