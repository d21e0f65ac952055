"""Applications that the counterparts visit: `starlette_site` and `fastapi_site`, served by `--app`."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

BLOCK = bytes(range(256)) * 256  # 64 KiB
IMAGES = 100

# What happened, for /log to tell.
LOG: list[str] = []


@asynccontextmanager
async def lifespan(_app: object) -> AsyncIterator[dict[str, str]]:
    LOG.append("started")
    yield {"greeting": "hello"}


async def greet(request: Request) -> Response:
    name = request.query_params.get("name", "world")
    return PlainTextResponse(f"{request.state.greeting}, {name}, over HTTP/{request.scope['http_version']}")


async def echo(request: Request) -> Response:
    headers = {name: value for name, value in request.headers.items() if name.startswith("x-")}
    return Response(await request.body(), headers=headers, media_type="application/octet-stream")


async def upload(request: Request) -> Response:
    """Nothing of it is kept."""
    digest, size = hashlib.sha256(), 0
    async for chunk in request.stream():
        digest.update(chunk)
        size += len(chunk)
    return JSONResponse({"size": size, "sha256": digest.hexdigest()})


async def download(request: Request) -> Response:
    """`blocks` times 64 KiB."""

    async def content() -> AsyncIterator[bytes]:
        try:
            for _ in range(int(request.path_params["blocks"])):
                yield BLOCK
        finally:
            LOG.append("download over")

    return StreamingResponse(content(), media_type="application/octet-stream")


async def wait(request: Request) -> Response:
    """Until the client goes."""
    while not await request.is_disconnected():  # noqa: ASYNC110 - what applications do
        await asyncio.sleep(0.02)
    LOG.append("gone")
    return Response(status_code=204)


async def background(_request: Request) -> Response:
    async def after() -> None:
        LOG.append("background")

    return PlainTextResponse("done", background=BackgroundTask(after))


async def log(_request: Request) -> Response:
    return JSONResponse(LOG)


async def fail(_request: Request) -> Response:
    raise ValueError("on purpose")


async def page(_request: Request) -> Response:
    """A page with many images, whose script reports how they came."""
    images = "".join(f'<img src="/image/{number}.svg">' for number in range(IMAGES))
    return HTMLResponse(f"""<!doctype html><title>images</title><body>{images}<script>
addEventListener("load", async () => {{
  const shown = [...document.images].filter(image => image.complete && image.naturalWidth > 0).length;
  const protocols = {{}};
  for (const entry of performance.getEntriesByType("resource"))
    if (entry.name.includes("/image/"))
      protocols[entry.nextHopProtocol] = (protocols[entry.nextHopProtocol] || 0) + 1;
  await fetch("/report", {{method: "POST", body: JSON.stringify({{shown, protocols}})}});
}});</script>""")


async def image(request: Request) -> Response:
    """Some 2 KiB each."""
    number = int(request.path_params["number"])
    picture = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16"><!--{"." * 2000}-->'
        f'<rect width="16" height="16" fill="hsl({number * 3} 90% 50%)"/></svg>'
    )
    return Response(picture, media_type="image/svg+xml")


async def report(request: Request) -> Response:
    """What the page's script says goes to the file $REPORT."""
    file = Path(os.environ["REPORT"])
    partial = file.with_suffix(".partial")
    await asyncio.to_thread(partial.write_bytes, await request.body())
    await asyncio.to_thread(partial.rename, file)
    return Response(status_code=204)


starlette_site = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/", greet),
        Route("/echo", echo, methods=["POST", "PUT"]),
        Route("/upload", upload, methods=["POST"]),
        Route("/download/{blocks:int}", download),
        Route("/wait", wait),
        Route("/background", background),
        Route("/log", log),
        Route("/fail", fail),
        Route("/old", lambda _request: RedirectResponse("/")),
        Route("/page", page),
        Route("/image/{number:int}.svg", image),
        Route("/report", report, methods=["POST"]),
        Mount("/static", StaticFiles(directory=Path(__file__).parent)),
    ],
)


class Item(BaseModel):
    name: str
    price: float


fastapi_site = FastAPI()


@fastapi_site.get("/items/{number}")
async def read_item(number: int, q: str | None = None) -> dict[str, object]:
    return {"number": number, "q": q}


@fastapi_site.post("/items")
async def add_item(item: Item) -> Item:
    return Item(name=item.name.upper(), price=item.price * 2)
