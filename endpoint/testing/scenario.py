"""A client, a server and a network, with a default for everything."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from endpoint.admission import AdmissionPolicy, accept_all
from endpoint.batch import MAX_SEGMENTS, Address
from endpoint.config import Config
from endpoint.keyring import KeyRing
from endpoint.listener import Listener
from endpoint.testing.apps import ContentServer, Download
from endpoint.testing.certificates import Chain
from endpoint.testing.link import RUNNER, SERVER_ADDRESS, LinkProfile, make_network
from endpoint.testing.pair import Application, Idle, Pair, seeded_bytes
from endpoint.tls.config import TlsConfig
from endpoint.tls.session import Session
from endpoint.tls.tickets import AntiReplay
from endpoint.transport.connection import Connection

ALPN = ("hq-interop",)


@dataclass(kw_only=True)
class Scenario:
    """A pair in the making: everything has a default but the certificates, the date and the seed.

    `wall_time` is seconds since 1970, for the dates of certificates. The network is the interop runner's
    base network unless told otherwise; `down` is like `up` if None.
    """

    chain: Chain
    wall_time: float
    seed: int
    up: LinkProfile = RUNNER
    down: LinkProfile | None = None
    client_config: Config = field(default_factory=Config)
    server_config: Config = field(default_factory=Config)
    server_name: str = "server4"
    rebindings: Sequence[tuple[float, Address]] = ()
    batch_limit: int = MAX_SEGMENTS
    keylog: Callable[[str], None] | None = None
    admission: AdmissionPolicy = accept_all
    token_keys: KeyRing | None = None
    reset_key: bytes | None = None
    client_token: bytes = b""
    # With `resumable` the server gives tickets and takes 0-RTT; a client uses `session` if there is one.
    resumable: bool = False
    ticket_keys: KeyRing | None = None
    session: Session | None = None
    anti_replay: AntiReplay | None = None

    def make_resumable(self) -> None:
        """Give the server ticket keys and a guard, shared by all pairs from now on, and allow 0-RTT."""
        self.resumable = True
        self.ticket_keys = KeyRing.generate(seeded_bytes(self.seed + 2), self.wall_time)
        self.anti_replay = AntiReplay(self.wall_time - 1000.0)

    def pair(
        self,
        client_application: Application | None = None,
        server_application: Callable[[], Application] = Idle,
    ) -> Pair:
        """The pair, with nothing sent yet."""
        client = Connection.client(
            self.client_config,
            TlsConfig(alpn_protocols=ALPN, trusted_roots=(self.chain.root,), early_data=self.resumable),
            peer=SERVER_ADDRESS,
            server_name=self.server_name,
            random=seeded_bytes(self.seed),
            wall_time=lambda: self.wall_time,
            now=0.0,
            keylog=self.keylog,
            token=self.client_token,
            session=self.session,
        )
        return Pair(
            client,
            self.listener(),
            make_network(self.up, self.down, seed=self.seed, rebindings=self.rebindings),
            client_application=client_application,
            server_application=server_application,
            batch_limit=self.batch_limit,
        )

    def listener(self) -> Listener:
        """The server, or another that takes its place."""
        return Listener(
            self.server_config,
            TlsConfig(
                alpn_protocols=ALPN,
                certificate_chain=self.chain.certificates,
                private_key=self.chain.private_key,
                early_data=self.resumable,
                ticket_keys=self.ticket_keys,
                anti_replay=self.anti_replay,
            ),
            random=seeded_bytes(self.seed + 1),
            wall_time=lambda: self.wall_time,
            admission=self.admission,
            token_keys=self.token_keys,
            reset_key=self.reset_key,
        )

    def download(self, download: Download, *, deadline: float) -> tuple[Pair, ContentServer]:
        """Run a download to its end; fails the test unless all of it arrives as it was sent."""
        servers: list[ContentServer] = []

        def make() -> ContentServer:
            servers.append(ContentServer())
            return servers[-1]

        pair = self.pair(download, make)
        finished = pair.run(lambda: download.finished_at is not None, deadline=deadline)
        assert download.failure == ""
        assert finished, f"{download.received_bytes} of {sum(download.sizes)} bytes after {pair.now:.1f} s"
        assert not download.damaged
        assert download.received_bytes == sum(download.sizes)
        assert len(servers) == 1
        assert not servers[0].damaged
        assert servers[0].uploaded_bytes == download.upload * len(download.sizes)
        return pair, servers[0]
