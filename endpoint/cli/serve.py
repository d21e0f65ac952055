"""What the server commands run: a directory or an application on a socket, until a signal comes."""

import asyncio
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from endpoint.admission import AdmissionPolicy, accept_all
from endpoint.cli.errors import CommandError, explain_bind, explain_file
from endpoint.cli.options import KeyLog
from endpoint.config import Config
from endpoint.h3.settings import Settings
from endpoint.hq import HqServer
from endpoint.http.alt_svc import Alternative, format_alt_svc
from endpoint.http.asgi import AsgiServer
from endpoint.http.lifespan import AsgiApp, Lifespan, LifespanError, LifespanMode
from endpoint.http.negotiation import ByAlpn
from endpoint.http.requests import ALPN
from endpoint.http.server import H3Server
from endpoint.http.static_server import StaticServer
from endpoint.io.files import Directory
from endpoint.io.server import open_server
from endpoint.keyring import KeyRing
from endpoint.tls.config import TlsConfig

if TYPE_CHECKING:
    from endpoint.io.loop import Application

# Seconds that requests have to be answered after the first signal.
GRACE = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Where and how to serve.

    `keys` seal tickets and tokens; without them there are no tickets, but with `early_data`. `reset_key`, of
    32 bytes, makes stateless resets; None: a new one. `grace` is how many seconds requests over HTTP/3 have
    to be answered after a signal. `alt_svc`: print the field by which a server of the same name tells its
    clients of this one (RFC 7838).
    """

    host: str | None
    port: int
    tls: TlsConfig
    config: Config
    keylog: KeyLog | None = None
    gso: bool = True
    gro: bool = True
    reuse_address: bool = False
    keys: KeyRing | None = None
    early_data: bool = False
    reset_key: bytes | None = None
    admission: AdmissionPolicy = accept_all
    grace: float = GRACE
    alt_svc: bool = False


async def serve_directory(root: str | Path, serving: Serving) -> int:
    """Serve the files of `root` until cancelled, over HTTP/3 and, by ALPN, HTTP/0.9; exit status 0.

    Raises CommandError when the directory or the address can't be used.
    """
    try:
        directory = Directory(root)
    except OSError as error:
        raise explain_file("directory", str(root), error) from error
    h3 = H3Server(StaticServer(directory).answer, settings=Settings(enable_connect_protocol=False))
    async with _listen(str(root), h3, HqServer(directory.open), serving):
        await _until_stopped(h3, serving.grace)
    return 0


async def serve_app(name: str, app: AsgiApp, mode: LifespanMode, serving: Serving) -> int:
    """Serve an ASGI application over HTTP/3 until cancelled; exit status 0.

    Raises CommandError when the address can't be used, or the application can't start or end.
    """
    lifespan = Lifespan(app, mode)
    try:
        await lifespan.startup()
    except LifespanError as error:
        raise CommandError(f"{name}: {error}") from error
    asgi = AsgiServer(app, state=lifespan.state)
    h3 = H3Server(asgi.answer)
    try:
        async with _listen(name, h3, None, serving):
            await _until_stopped(h3, serving.grace)
            await asgi.end_tasks()
    finally:
        # An application that has started ends in order, even if nothing could be served.
        try:
            await lifespan.shutdown()
        except LifespanError as error:
            raise CommandError(f"{name}: {error}") from error
    return 0


@asynccontextmanager
async def _listen(
    what: str, h3: H3Server, other: "Application | None", serving: Serving
) -> AsyncIterator[None]:
    """Open the socket; leaving closes all connections at once. `other` has all protocols but HTTP/3."""
    applications: dict[str, Application] = {}
    for protocol in serving.tls.alpn_protocols:
        application = h3 if protocol == ALPN else other
        if application is None:
            raise CommandError(f"an application can be served over {ALPN} only, not over {protocol}")
        applications[protocol] = application
    async with AsyncExitStack() as stack:
        try:
            driver = await stack.enter_async_context(
                open_server(
                    serving.host,
                    serving.port,
                    application=ByAlpn(applications),
                    tls=serving.tls,
                    config=serving.config,
                    keylog=serving.keylog,
                    gso=serving.gso,
                    gro=serving.gro,
                    reuse_address=serving.reuse_address,
                    ticket_keys=serving.keys,
                    token_keys=serving.keys,
                    early_data=serving.early_data,
                    reset_key=serving.reset_key,
                    admission=serving.admission,
                )
            )
        except OSError as error:
            raise explain_bind(serving.host, serving.port, error) from error
        h3.start(driver)
        name, actual = driver.udp.address[:2]
        protocols = ", ".join(serving.tls.alpn_protocols)
        print(f"serving {what} on {name} port {actual} (UDP), {protocols}", flush=True)
        if serving.alt_svc:
            print(f"Alt-Svc: {format_alt_svc([Alternative(ALPN, '', actual)])}", flush=True)
        try:
            yield
        finally:
            h3.close()


async def _until_stopped(h3: H3Server, grace: float) -> None:
    """Only a signal ends this; another one ends the time that requests are given."""
    with suppress(asyncio.CancelledError):
        await asyncio.get_running_loop().create_future()
    with suppress(asyncio.CancelledError):
        await h3.drain(grace)


def load_app(text: str) -> AsgiApp:
    """The application that MODULE:NAME names; modules of the current directory come first.

    Raises CommandError where there is none.
    """
    module_name, _, name = text.partition(":")
    if not name or not all(map(str.isidentifier, module_name.split("."))):
        raise CommandError(f"--app {text}: not of the form MODULE:NAME")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: object = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise CommandError(f"--app {text}: no module {error.name}, neither here nor installed") from error
        raise CommandError(f"--app {text}: {module_name} needs {error.name}, which is missing") from error
    except SyntaxError as error:
        raise CommandError(f"--app {text}: {error.filename} line {error.lineno}: {error.msg}") from error
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename} line {last.lineno}"
        raise CommandError(f"--app {text}: {where}: {type(error).__name__}: {error}") from error
    for part in name.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise CommandError(f"--app {text}: {module_name} has no {name}")
    if not callable(found):
        raise CommandError(f"--app {text}: {name} is no application, but {type(found).__name__}")
    return cast("AsgiApp", found)
