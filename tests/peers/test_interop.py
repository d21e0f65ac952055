"""Our endpoint against aioquic and qh3 over real sockets, in both roles.

The peers run as `programs/hq_peer.py` in a process of their own; ours runs in the test. Files are compared
byte for byte. What a peer can't do is in `UNSUPPORTED`, with the reason, and not in the parameters.
"""

import asyncio
import contextlib
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from endpoint.admission import always_retry
from endpoint.config import Config
from endpoint.errors import ConnectionClosedError
from endpoint.events import Event, HandshakeCompleted
from endpoint.hq import ALPN, HqClient, HqServer
from endpoint.io.client import open_client
from endpoint.io.files import Directory, Downloads
from endpoint.io.server import open_server
from endpoint.io.sessions import SessionStore
from endpoint.keyring import KeyRing
from endpoint.testing.certificates import Chain
from endpoint.testing.link import LinkProfile
from endpoint.testing.relay import Relay
from endpoint.tls.config import TlsConfig
from endpoint.tls.suites import (
    TLS_AES_128_GCM_SHA256,
    TLS_AES_256_GCM_SHA384,
    TLS_CHACHA20_POLY1305_SHA256,
)
from endpoint.transport.connection import Connection
from endpoint.wire.version import QUIC_V1, QUIC_V2

pytestmark = pytest.mark.peers

PROGRAM = str(Path(__file__).parent / "programs" / "hq_peer.py")
STACKS = ("aioquic", "qh3")

# (scenario, stack, our role) that can't be run, and why. `cases` leaves them out.
UNSUPPORTED: dict[tuple[str, str, str], str] = {}

DEADLINE = 20.0


def cases(scenario: str) -> Callable[[Any], Any]:
    """Parametrise a test with every stack and role that has the scenario."""
    pairs = [
        (stack, role)
        for stack in STACKS
        for role in ("client", "server")
        if (scenario, stack, role) not in UNSUPPORTED
    ]
    return pytest.mark.parametrize(("stack", "role"), pairs)


@dataclass(kw_only=True)
class Setting:
    """What both sides of a transfer are given."""

    stack: str
    chain: Chain
    certificates: Path
    root: Path
    downloads: Path
    config: Config = field(default_factory=Config)
    cipher_suites: tuple[int, ...] = (TLS_AES_128_GCM_SHA256,)
    peer_options: tuple[str, ...] = ()
    # Of ours: of `open_server`, and where sessions are kept and whether they are used for 0-RTT.
    server_options: dict[str, Any] = field(default_factory=dict)
    store: SessionStore | None = None
    early_data: bool = False
    # Between client and server, with this seed; None: nothing is between.
    relay: LinkProfile | None = None
    seed: int = 0
    handshakes: list[HandshakeCompleted] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)

    def make_files(self, *sizes: int) -> list[str]:
        """Random files to serve; their names."""
        rng = random.Random(self.seed)
        names = [f"file-{number}-{size}" for number, size in enumerate(sizes)]
        for name, size in zip(names, sizes, strict=True):
            (self.root / name).write_bytes(rng.randbytes(size))
        return names

    def check(self, names: Sequence[str]) -> None:
        """Exactly these files were downloaded, as they are."""
        assert sorted(path.name for path in self.downloads.iterdir()) == sorted(names)
        for name in names:
            assert (self.downloads / name).read_bytes() == (self.root / name).read_bytes(), name


@pytest.fixture
def make_setting(chain: Chain, certificates: Path, tmp_path: Path, seed: int) -> Callable[..., Setting]:
    """A setting with directories of its own."""

    def make(stack: str, **options: Any) -> Setting:
        root, downloads = tmp_path / "www", tmp_path / "downloads"
        root.mkdir()
        downloads.mkdir()
        return Setting(
            stack=stack,
            chain=chain,
            certificates=certificates,
            root=root,
            downloads=downloads,
            seed=seed,
            **options,
        )

    return make


def run(setting: Setting, role: str, names: Sequence[str], *, multiconnect: bool = False) -> None:
    """Download the files, with ours in `role`, and check them."""
    transfer = as_client if role == "client" else as_server

    async def limited() -> None:
        async with asyncio.timeout(DEADLINE):
            await transfer(setting, names, multiconnect=multiconnect)

    asyncio.run(limited())
    setting.check(names)


async def as_client(setting: Setting, names: Sequence[str], *, multiconnect: bool) -> None:
    """Our client, the peer's server."""
    cert, key = setting.certificates / "cert.pem", setting.certificates / "priv.key"
    arguments = ("server", f"--cert={cert}", f"--key={key}", f"--root={setting.root}")
    tls = TlsConfig(
        alpn_protocols=(ALPN,), cipher_suites=setting.cipher_suites, trusted_roots=(setting.chain.root,)
    )
    async with process(setting, *arguments) as server:
        assert server.stdout is not None
        port = json.loads(await server.stdout.readline())["port"]
        async with between(setting, port) as entrance:
            for group in [[name] for name in names] if multiconnect else [names]:
                await download(setting, tls, entrance, group)
        server.terminate()
        assert await server.wait() == 0


async def download(setting: Setting, tls: TlsConfig, port: int, names: Sequence[str]) -> None:
    """One connection of ours, all files at once."""
    idle = asyncio.Event()
    client = HqClient(idle.set)
    recorder = Recorder(client, setting)
    files = Downloads(setting.downloads)
    for name in names:
        client.get(f"/{name}", files.sink(name))
    try:
        async with open_client(
            "127.0.0.1",
            port,
            application=recorder,
            tls=tls,
            config=setting.config,
            server_name="localhost",
            store=setting.store,
            early_data=setting.early_data,
        ) as (_, connection):
            if connection.sends_early_data:
                client.send(connection)
            await idle.wait()
            if setting.store is not None:
                await asyncio.sleep(0.1)  # for the ticket
        assert files.abandoned == []
    finally:
        files.close()


async def as_server(setting: Setting, names: Sequence[str], *, multiconnect: bool) -> None:
    """The peer's client, our server."""
    tls = TlsConfig(
        alpn_protocols=(ALPN,),
        cipher_suites=setting.cipher_suites,
        certificate_chain=setting.chain.certificates,
        private_key=setting.chain.private_key,
    )
    application = Recorder(HqServer(Directory(setting.root).open), setting)
    async with (
        open_server(
            "127.0.0.1",
            0,
            application=application,
            tls=tls,
            config=setting.config,
            **setting.server_options,
        ) as driver,
        between(setting, driver.udp.address[1]) as port,
    ):
        arguments = ["client", f"--ca={setting.certificates / 'ca.pem'}", f"--output={setting.downloads}"]
        arguments += ["--multiconnect"] if multiconnect else []
        arguments += [f"https://localhost:{port}/{name}" for name in names]
        async with process(setting, *arguments) as client:
            output, _ = await client.communicate()
            assert client.returncode == 0, output


class Recorder:
    """Keeps what is told of handshakes, and passes everything on."""

    def __init__(self, application: HqClient | HqServer, setting: Setting) -> None:
        self._application = application
        self._setting = setting

    def on_event(self, connection: Connection, event: Event) -> None:
        if isinstance(event, HandshakeCompleted):
            self._setting.handshakes.append(event)
            self._setting.connections.append(connection)
        self._application.on_event(connection, event)


@contextlib.asynccontextmanager
async def process(setting: Setting, role: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A peer program, killed at the end if it still runs."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, PROGRAM, setting.stack, role),
        *setting.peer_options,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield program
    finally:
        with contextlib.suppress(ProcessLookupError):
            program.kill()
        await program.communicate()


@contextlib.asynccontextmanager
async def between(setting: Setting, port: int) -> AsyncIterator[int]:
    """The port that a client has to use: the server's, or the relay's in front of it."""
    if setting.relay is None:
        yield port
        return
    async with Relay(("127.0.0.1", port), setting.relay, seed=setting.seed) as relay:
        yield relay.port


@cases("handshake")
def test_handshake(make_setting: Callable[..., Setting], stack: str, role: str) -> None:
    setting = make_setting(stack)
    run(setting, role, setting.make_files(1024))
    assert [handshake.alpn for handshake in setting.handshakes] == ["hq-interop"]
    assert [handshake.cipher_suite for handshake in setting.handshakes] == [TLS_AES_128_GCM_SHA256]


@cases("transfer")
def test_transfer_of_several_files(make_setting: Callable[..., Setting], stack: str, role: str) -> None:
    """All at once on one connection, larger than the windows at the start, and an empty one."""
    setting = make_setting(stack)
    run(setting, role, setting.make_files(2_000_000, 1_000_000, 300_000, 1, 0))
    assert len(setting.handshakes) == 1


@cases("chacha20")
def test_chacha20(make_setting: Callable[..., Setting], stack: str, role: str) -> None:
    setting = make_setting(
        stack, cipher_suites=(TLS_CHACHA20_POLY1305_SHA256,), peer_options=("--cipher=chacha20",)
    )
    run(setting, role, setting.make_files(500_000))
    assert [handshake.cipher_suite for handshake in setting.handshakes] == [TLS_CHACHA20_POLY1305_SHA256]


@cases("aes256")
def test_aes256(make_setting: Callable[..., Setting], stack: str, role: str) -> None:
    setting = make_setting(stack, cipher_suites=(TLS_AES_256_GCM_SHA384,), peer_options=("--cipher=aes256",))
    run(setting, role, setting.make_files(500_000))
    assert [handshake.cipher_suite for handshake in setting.handshakes] == [TLS_AES_256_GCM_SHA384]


@cases("connections")
def test_fifty_connections(make_setting: Callable[..., Setting], stack: str, role: str) -> None:
    """One after the other, a file each."""
    setting = make_setting(stack)
    run(setting, role, setting.make_files(*[1024] * 50), multiconnect=True)
    assert len(setting.handshakes) == 50


@cases("streams")
def test_many_streams(make_setting: Callable[..., Setting], stack: str, role: str) -> None:
    """More than either side's limit, which has to rise."""
    setting = make_setting(stack)
    run(setting, role, setting.make_files(*[32] * 300))
    assert len(setting.handshakes) == 1


@cases("windows")
def test_small_windows(make_setting: Callable[..., Setting], stack: str, role: str) -> None:
    """Both sides grant 20 kB at a time; ours never more, as the peers do by doubling."""
    window = 20_000
    setting = make_setting(
        stack,
        config=Config(
            initial_max_data=window,
            initial_max_stream_data=window,
            max_data_window=window,
            max_stream_data_window=window,
        ),
        peer_options=(f"--max-data={window}", f"--max-stream-data={window}"),
    )
    run(setting, role, setting.make_files(300_000, 200_000))


@cases("loss")
def test_two_percent_loss(make_setting: Callable[..., Setting], stack: str, role: str) -> None:
    """Each way, on a path of 10 ms."""
    setting = make_setting(stack, relay=LinkProfile(delay=0.005, loss=0.02))
    run(setting, role, setting.make_files(1_000_000, 200_000))
    assert len(setting.handshakes) == 1


@cases("version 2")
def test_version_2(make_setting: Callable[..., Setting], stack: str, role: str) -> None:
    """The client begins in version 1, the server changes to version 2 (RFC 9368)."""
    setting = make_setting(
        stack, config=Config(versions=(QUIC_V2, QUIC_V1)), peer_options=("--versions=v2,v1",)
    )
    run(setting, role, setting.make_files(300_000))
    assert [connection.version for connection in setting.connections] == [QUIC_V2]


@cases("our key update")
def test_our_key_update(make_setting: Callable[..., Setting], stack: str, role: str) -> None:
    """We change keys every 100 packets, and leave the peer three PTOs, some 0.1 s, between."""
    setting = make_setting(stack, config=Config(key_update_after=100))
    run(setting, role, setting.make_files(60_000_000 if stack == "qh3" else 10_000_000))
    # Of a client that only receives little is acknowledged, and without that there is no next one (§6.1).
    assert setting.connections[0].key_updates >= (2 if role == "server" else 1)


@pytest.mark.parametrize("stack", STACKS)
def test_their_key_update(make_setting: Callable[..., Setting], stack: str) -> None:
    """Their client changes keys."""
    setting = make_setting(stack, peer_options=("--key-update",))
    run(setting, "server", setting.make_files(500_000))
    assert setting.connections[0].key_updates == 1


@pytest.mark.parametrize("stack", STACKS)
def test_their_retry(make_setting: Callable[..., Setting], stack: str) -> None:
    """Their server answers with a Retry first."""
    setting = make_setting(stack, peer_options=("--retry",))
    run(setting, "client", setting.make_files(50_000))
    (connection,) = setting.connections
    assert connection.initial_destination_cid != connection.original_destination_cid


@pytest.mark.parametrize("stack", STACKS)
def test_our_retry(make_setting: Callable[..., Setting], stack: str) -> None:
    """Their client has to prove its address."""
    setting = make_setting(stack, server_options={"admission": always_retry})
    run(setting, "server", setting.make_files(50_000))
    (connection,) = setting.connections
    assert connection.initial_destination_cid != connection.original_destination_cid


@pytest.mark.parametrize("early_data", [False, True], ids=["resumption", "0-rtt"])
@cases("resumption")
def test_resumption(
    make_setting: Callable[..., Setting], tmp_path: Path, stack: str, role: str, early_data: bool
) -> None:
    """The second connection resumes the first; with 0-RTT its request goes out with the first flight."""
    if role == "client":
        store = SessionStore(tmp_path / "sessions")
        setting = make_setting(stack, peer_options=("--tickets",), store=store, early_data=early_data)
    else:
        options = ("--resume", "--early-data") if early_data else ("--resume",)
        server_options = {"early_data": True} if early_data else {"ticket_keys": make_keys()}
        setting = make_setting(stack, peer_options=options, server_options=server_options)
    run(setting, role, setting.make_files(20_000, 30_000), multiconnect=True)
    assert [handshake.resumed for handshake in setting.handshakes] == [False, True]
    assert [handshake.early_data for handshake in setting.handshakes] == [False, early_data]


def make_keys() -> KeyRing:
    return KeyRing.generate(os.urandom, time.time())


@pytest.mark.parametrize("stack", STACKS)
def test_peer_refuses_an_unknown_root(
    make_setting: Callable[..., Setting], other_chain: Chain, stack: str
) -> None:
    """A client of ours that trusts another root says so and gets nothing."""
    setting = make_setting(stack)
    names = setting.make_files(10)
    setting.chain = other_chain
    with pytest.raises(ConnectionClosedError):
        run(setting, "client", names)
    assert list(setting.downloads.iterdir()) == []


@pytest.mark.parametrize(("client", "server"), [("aioquic", "qh3"), ("qh3", "aioquic")])
def test_the_programs_with_each_other(make_setting: Callable[..., Setting], client: str, server: str) -> None:
    """So that a failure above is ours."""
    setting = make_setting(server)
    names = setting.make_files(100_000, 1000)
    cert, key = setting.certificates / "cert.pem", setting.certificates / "priv.key"

    async def transfer() -> None:
        arguments = (f"--cert={cert}", f"--key={key}", f"--root={setting.root}")
        async with process(setting, "server", *arguments) as server_process:
            assert server_process.stdout is not None
            port = json.loads(await server_process.stdout.readline())["port"]
            setting.stack = client
            urls = [f"https://localhost:{port}/{name}" for name in names]
            options = (f"--ca={setting.certificates / 'ca.pem'}", f"--output={setting.downloads}")
            async with process(setting, "client", *options, *urls) as client_process:
                output, _ = await client_process.communicate()
                assert client_process.returncode == 0, output

    asyncio.run(transfer())
    setting.check(names)
