"""An echo server: every stream is answered with what came on it.

    python examples/echo_server.py [PORT]

It makes a certificate of its own and writes it to echo-ca.pem, for examples/echo_client.py to trust.
"""

import asyncio
import sys
import time
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

import endpoint
from endpoint.io.server import ServerConnection
from endpoint.io.streams import Stream
from endpoint.tls.certificates import make_self_signed


async def echo(stream: Stream) -> None:
    # Backpressure comes by itself: while `write` waits nothing is read, and the peer's credit runs out.
    async for chunk in stream:
        await stream.write(chunk)
    stream.finish()


async def handle(connection: ServerConnection) -> None:
    async with asyncio.TaskGroup() as tasks:
        async for stream in connection.incoming_streams():
            tasks.create_task(echo(stream))


async def main(port: int) -> None:
    certificate, key = make_self_signed(["localhost"], time.time())
    await asyncio.to_thread(Path("echo-ca.pem").write_bytes, certificate.public_bytes(Encoding.PEM))
    tls = endpoint.TlsConfig(alpn_protocols=("echo",), certificate_chain=(certificate,), private_key=key)
    async with endpoint.serve(None, port, handle, tls=tls) as server:
        print(f"listening on port {server.address[1]}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 4433))
