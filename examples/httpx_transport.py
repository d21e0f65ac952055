"""httpx over HTTP/3, and over HTTP/2 or 1.1 where a server can't be reached by QUIC.

    python examples/httpx_transport.py URL ...

Needs httpx: pip install 'interquic[httpx]'. Set INSECURE=1 for servers with a certificate of their own.
"""

import asyncio
import os
import sys

import httpx

from endpoint.http.httpx_transport import Http3Transport


async def main(urls: list[str]) -> None:
    transport = Http3Transport(verify="INSECURE" not in os.environ)
    async with httpx.AsyncClient(transport=transport) as client:
        responses = await asyncio.gather(*(client.get(url) for url in urls))
    for response in responses:
        print(response.status_code, response.http_version, response.url.path, len(response.content), "bytes")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
