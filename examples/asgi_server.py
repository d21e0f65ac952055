"""An ASGI application over HTTP/3, served by a program of its own.

    python examples/asgi_server.py [PORT]

`interquic server --app asgi_server:app`, started in this folder, does the same with more options. Visit it
with `interquic client https://localhost:4433/some/path --insecure`.
"""

import asyncio
import sys
import time

import endpoint
from endpoint.http.asgi import AsgiServer
from endpoint.http.lifespan import Lifespan, Receive, Scope, Send
from endpoint.http.server import H3Server
from endpoint.io.server import open_server
from endpoint.tls.certificates import make_self_signed


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells how long the body of the request was. Applications of Starlette or FastAPI do as well."""
    if scope["type"] != "http":
        raise ValueError(f"no {scope['type']} here")
    size = 0
    more = True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    text = f"{scope['method']} {scope['path']} over HTTP/{scope['http_version']}, {size} bytes\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


async def main(port: int) -> None:
    certificate, key = make_self_signed(["localhost"], time.time())
    tls = endpoint.TlsConfig(alpn_protocols=("h3",), certificate_chain=(certificate,), private_key=key)
    lifespan = Lifespan(app)
    await lifespan.startup()
    asgi = AsgiServer(app, state=lifespan.state)
    h3 = H3Server(asgi.answer)
    async with open_server(None, port, application=h3, tls=tls) as driver:
        h3.start(driver)
        print(f"listening on port {driver.udp.address[1]}", flush=True)
        try:
            await asyncio.Event().wait()
        finally:
            await h3.drain(grace=1.0)
            await asgi.end_tasks()
            await lifespan.shutdown()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 4433))
