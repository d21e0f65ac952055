"""A client of examples/echo_server.py: sends a text and prints the answer.

python examples/echo_client.py [PORT] [TEXT]
"""

import asyncio
import sys
from pathlib import Path

import endpoint
from endpoint.tls.certificates import load_certificates


async def main(port: int, text: str) -> None:
    roots = load_certificates(await asyncio.to_thread(Path("echo-ca.pem").read_bytes))
    tls = endpoint.TlsConfig(alpn_protocols=("echo",), trusted_roots=roots)
    async with endpoint.connect("localhost", port, tls=tls) as connection:
        stream = await connection.open_stream()
        await stream.write(text.encode())
        stream.finish()
        answer = await stream.read_to_end()
        print(answer.decode())


if __name__ == "__main__":
    arguments = sys.argv[1:]
    asyncio.run(
        main(int(arguments[0]) if arguments else 4433, arguments[1] if len(arguments) > 1 else "hello, QUIC")
    )
