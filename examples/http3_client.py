"""An HTTP/3 client: several requests at once on one connection, an upload from a generator.

    python examples/http3_client.py [PORT]

It talks to examples/asgi_server.py, whose certificate nobody knows: so any is accepted here.
"""

import asyncio
import sys
from collections.abc import AsyncIterator

import endpoint
from endpoint.http.client import connect


async def numbers() -> AsyncIterator[bytes]:
    """A body that is made while it is sent."""
    for number in range(1000):
        yield f"{number}\n".encode()


async def main(port: int) -> None:
    tls = endpoint.TlsConfig(alpn_protocols=("h3",), insecure=True)
    async with connect("localhost", port, tls=tls) as client:
        responses = await asyncio.gather(*(client.request("GET", f"/page/{i}") for i in range(3)))
        for response in responses:
            print(response.status, (await response.read()).decode(), end="")
        async with await client.request("PUT", "/numbers", body=numbers()) as response:
            async for piece in response:
                print(piece.decode(), end="")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 4433))
