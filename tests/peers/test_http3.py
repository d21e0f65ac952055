"""Our HTTP/3 server and the clients of aioquic and qh3 over real sockets: files, a WebSocket.

More counterparts, which take longer: `make counterparts`.
"""

import asyncio
import os
import random
import ssl
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from endpoint.http.asgi import AsgiServer
from endpoint.http.lifespan import Receive, Scope, Send
from endpoint.http.server import H3Server
from endpoint.http.static_server import StaticServer
from endpoint.io.files import Directory
from endpoint.io.server import open_server
from endpoint.testing.certificates import Chain
from endpoint.tls.config import TlsConfig

pytestmark = pytest.mark.peers

SIZES = (1_000_000, 300_000, 1, 0)
DEADLINE = 20.0


@pytest.mark.parametrize("stack", ["aioquic", "qh3"])
def test_downloads(chain: Chain, tmp_path: Path, seed: int, stack: str) -> None:
    """All at once on one connection: some files of different sizes, and many small ones."""
    root, downloads = tmp_path / "www", tmp_path / "downloads"
    root.mkdir()
    downloads.mkdir()
    rng = random.Random(seed)
    for number, size in enumerate([*SIZES, *[1024] * 80]):
        (root / f"file-{number}").write_bytes(rng.randbytes(size))
    names = sorted(path.name for path in root.iterdir())
    tls = TlsConfig(
        alpn_protocols=("h3",), certificate_chain=chain.certificates, private_key=chain.private_key
    )

    async def transfer() -> None:
        h3 = H3Server(StaticServer(Directory(root)).answer)
        async with asyncio.timeout(DEADLINE), open_server("127.0.0.1", 0, application=h3, tls=tls) as driver:
            h3.start(driver)
            port = driver.udp.address[1]
            requests = " ".join(f"https://127.0.0.1:{port}/{name}" for name in names)
            client = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "interop.peers.python.adapter", stack),
                env={**os.environ, "TESTCASE": "http3", "REQUESTS": requests, "DOWNLOADS": str(downloads)},
                stderr=asyncio.subprocess.PIPE,
            )
            _, output = await client.communicate()
            assert client.returncode == 0, output.decode()

    asyncio.run(transfer())
    assert sorted(path.name for path in downloads.iterdir()) == names
    for name in names:
        assert (downloads / name).read_bytes() == (root / name).read_bytes(), name


async def shout(scope: Scope, receive: Receive, send: Send) -> None:
    """A WebSocket that answers in upper case."""
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"].upper()})


@pytest.mark.parametrize("stack", ["aioquic", "qh3"])
def test_a_websocket(chain: Chain, stack: str) -> None:
    """RFC 9220, with the client's extended CONNECT on its HTTP/3 connection."""
    quic_asyncio: Any = import_module(f"{stack}.asyncio")
    configuration = import_module(f"{stack}.quic.configuration").QuicConfiguration(
        alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE, max_datagram_frame_size=65536
    )
    h3_of: Any = import_module(f"{stack}.h3.connection").H3Connection
    events: Any = import_module(f"{stack}.h3.events")
    tls = TlsConfig(
        alpn_protocols=("h3",), certificate_chain=chain.certificates, private_key=chain.private_key
    )

    class Client(quic_asyncio.QuicConnectionProtocol):  # type: ignore[misc]  # the base is untyped
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.heard: asyncio.Queue[Any] = asyncio.Queue()
            self.h3: Any = None

        def quic_event_received(self, event: Any) -> None:
            for happened in self.h3.handle_event(event) if self.h3 else ():
                self.heard.put_nowait(happened)

    async def chat() -> None:
        server = H3Server(AsgiServer(shout).answer)
        async with (
            asyncio.timeout(DEADLINE),
            open_server("127.0.0.1", 0, application=server, tls=tls) as driver,
        ):
            server.start(driver)
            port = driver.udp.address[1]
            async with quic_asyncio.connect(
                "127.0.0.1", port, configuration=configuration, create_protocol=Client
            ) as client:
                quic = client._quic  # noqa: SLF001 - there is no other way to it
                client.h3 = h3_of(quic)
                stream_id = quic.get_next_available_stream_id()
                names = {"method": "CONNECT", "protocol": "websocket", "scheme": "https"}
                names |= {"authority": f"127.0.0.1:{port}", "path": "/"}
                headers = [(f":{name}".encode(), value.encode()) for name, value in names.items()]
                client.h3.send_headers(stream_id, [*headers, (b"sec-websocket-version", b"13")])
                client.transmit()
                while not isinstance(answer := await client.heard.get(), events.HeadersReceived):
                    pass
                assert dict(answer.headers)[b":status"] == b"200"
                wire = Connection(ConnectionType.CLIENT)
                client.h3.send_data(stream_id, wire.send(TextMessage("hello")), end_stream=False)
                client.transmit()
                received: list[Any] = []
                while not received:
                    wire.receive_data((await client.heard.get()).data)
                    received += wire.events()
                assert [event.data for event in received] == ["HELLO"]

    asyncio.run(chat())
