"""A small PKI and a pair of endpoints in memory, for the tests of TLS."""

import datetime as dt
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from endpoint.errors import TransportError
from endpoint.keyring import KeyRing
from endpoint.level import Level
from endpoint.tls.client import TlsClient
from endpoint.tls.config import TlsConfig
from endpoint.tls.handshake import TrafficSecret
from endpoint.tls.server import TlsServer
from endpoint.tls.session import Session
from endpoint.tls.tickets import AntiReplay

NOW = 1_790_000_000.0
_START = dt.datetime.fromtimestamp(NOW, dt.UTC)


@dataclass
class Authority:
    """A key and its certificate, and what it can issue."""

    name: str
    key: Any
    certificate: x509.Certificate = field(init=False)

    def issue(
        self,
        name: str,
        key: Any,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
        *,
        names: Sequence[str] = (),
        days: tuple[float, float] = (-1, 10),
        digest: Any = None,
    ) -> x509.Certificate:
        """A certificate for `key`, with `names` as DNS names; `days` is its validity around NOW."""
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(self.name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_START + dt.timedelta(days=days[0]))
            .not_valid_after(_START + dt.timedelta(days=days[1]))
        )
        if names:
            alternative = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
            builder = builder.add_extension(alternative, critical=False)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return builder.sign(self.key, None)
        return builder.sign(self.key, digest or hashes.SHA256())

    def sub_authority(
        self,
        name: str,
        *,
        key: Any = None,
        path_length: int | None = None,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
        days: tuple[float, float] = (-1, 10),
    ) -> "Authority":
        """A CA below this one."""
        child = Authority(name, key or ec.generate_private_key(ec.SECP256R1()))
        constraints = (x509.BasicConstraints(ca=True, path_length=path_length), True)
        child.certificate = self.issue(name, child.key, [constraints, *extensions], days=days)
        return child


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, text)] if text else [])


def make_root(
    name: str, key: Any = None, extensions: Sequence[tuple[x509.ExtensionType, bool]] = ()
) -> Authority:
    """A self-signed CA."""
    root = Authority(name, key or ec.generate_private_key(ec.SECP256R1()))
    constraints = (x509.BasicConstraints(ca=True, path_length=None), True)
    root.certificate = root.issue(name, root.key, [constraints, *extensions])
    return root


@dataclass
class Pki:
    """One root, keys of every kind, and a config for each side."""

    root: Authority
    keys: dict[str, Any]
    now: float = NOW

    def make_root(
        self, name: str, key: Any = None, extensions: Sequence[tuple[x509.ExtensionType, bool]] = ()
    ) -> Authority:
        return make_root(name, key, extensions)

    def server_config(self, kind: str = "p256", **settings: Any) -> TlsConfig:
        leaf = self.root.issue("", self.keys[kind], names=["server", "server4"])
        settings.setdefault("alpn_protocols", ("h3", "hq-interop"))
        settings.setdefault("certificate_chain", (leaf,))
        settings.setdefault("private_key", self.keys[kind])
        return TlsConfig(**settings)

    def client_config(self, kind: str | None = None, **settings: Any) -> TlsConfig:
        settings.setdefault("alpn_protocols", ("hq-interop",))
        settings.setdefault("trusted_roots", (self.root.certificate,))
        if kind is not None:
            leaf = self.root.issue("client", self.keys[kind])
            settings.setdefault("certificate_chain", (leaf,))
            settings.setdefault("private_key", self.keys[kind])
        return TlsConfig(**settings)


class Pair:
    """A client and a server whose messages pass through `on_message`."""

    def __init__(
        self,
        client_config: TlsConfig,
        server_config: TlsConfig,
        *,
        server_name: str = "server",
        seed: int = 1,
        session: Session | None = None,
        now: float = NOW,
        server_now: float | None = None,
        application_state: bytes = b"",
        accept_state: Callable[[bytes], bool] | None = None,
        ticket_scope: bytes = b"",
    ) -> None:
        self.client = TlsClient(
            client_config,
            transport_parameters=b"client parameters",
            random=random.Random(seed).randbytes,
            wall_time=lambda: now,
            server_name=server_name,
            session=session,
        )
        self.server = TlsServer(
            server_config,
            transport_parameters=b"server parameters",
            random=random.Random(seed + 1).randbytes,
            wall_time=lambda: now if server_now is None else server_now,
            application_state=application_state,
            accept_state=accept_state,
            ticket_scope=ticket_scope,
        )
        self.client_secrets: list[TrafficSecret] = []
        self.server_secrets: list[TrafficSecret] = []
        # (sender, level, message) as sent.
        self.log: list[tuple[str, Level, bytes]] = []
        self.on_message: Callable[[str, Level, bytes], bytes] = lambda _sender, _level, message: message
        self.pieces: Callable[[bytes], list[bytes]] = lambda data: [data]

    def run(self) -> "Pair":
        """Exchange messages until both are silent."""
        self.client.start()
        while self.step():
            pass
        return self

    def step(self) -> bool:
        """Pass what is there, once each way; False when there was nothing."""
        moved = False
        for sender, source, target in (
            ("client", self.client, self.server),
            ("server", self.server, self.client),
        ):
            for level, message in source.take_output():
                moved = True
                self.log.append((sender, level, message))
                for piece in self.pieces(self.on_message(sender, level, message)):
                    target.receive(level, piece)
        self.client_secrets += self.client.take_secrets()
        self.server_secrets += self.server.take_secrets()
        return moved

    def failure(self) -> TransportError:
        """Run, and return the error that ends the handshake."""
        with pytest.raises(TransportError) as caught:
            self.run()
        return caught.value


class Site:
    """A client and a server that meet more than once."""

    def __init__(self, pki: Pki, client: dict[str, Any], server: dict[str, Any]) -> None:
        server.setdefault("ticket_keys", KeyRing.generate(random.Random(3).randbytes, NOW))
        server.setdefault("anti_replay", AntiReplay(NOW))
        self.pki = pki
        self.client_config = pki.client_config(**{"early_data": True, **client})
        self.server_config = pki.server_config(**{"early_data": True, **server})
        self._seed = 100

    def connect(self, session: Session | None = None, **settings: Any) -> Pair:
        """Client and server of the next connection, which has not begun."""
        self._seed += 2
        return Pair(
            settings.pop("client_config", self.client_config),
            settings.pop("server_config", self.server_config),
            session=session,
            **{"seed": self._seed, **settings},
        )

    def sessions(self, **settings: Any) -> list[Session]:
        """Those of a full handshake."""
        pair = self.connect(**settings).run()
        assert pair.client.complete
        assert not pair.client.resumed
        return pair.client.take_tickets()


@pytest.fixture
def make_site(pki: Pki) -> Callable[..., Site]:
    """`client` and `server` are settings of their configurations."""

    def make(client: dict[str, Any] | None = None, server: dict[str, Any] | None = None) -> Site:
        return Site(pki, dict(client or {}), dict(server or {}))

    return make


@pytest.fixture(scope="session")
def pki() -> Pki:
    return Pki(
        make_root("root"),
        {
            "p256": ec.generate_private_key(ec.SECP256R1()),
            "p384": ec.generate_private_key(ec.SECP384R1()),
            "p521": ec.generate_private_key(ec.SECP521R1()),
            "rsa": rsa.generate_private_key(65537, 2048),
            "ed25519": ed25519.Ed25519PrivateKey.generate(),
        },
    )


@pytest.fixture(scope="session")
def make_pair() -> type[Pair]:
    return Pair
