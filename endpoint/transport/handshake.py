"""TLS on one side, CRYPTO frames and packet keys on the other (RFC 9001 §4)."""

from collections.abc import Callable, Mapping

from endpoint.crypto.aead import CIPHER_SUITES
from endpoint.crypto.keys import PacketKeys
from endpoint.level import Level
from endpoint.tls.client import TlsClient
from endpoint.tls.keylog import key_log_line
from endpoint.tls.server import TlsServer
from endpoint.tls.session import Session
from endpoint.transport.spaces import PacketSpace
from endpoint.wire.version import VersionParameters


class Handshake:
    """Carries handshake bytes between TLS and the packet number spaces, and installs keys.

    `complete` and `confirmed` are those of RFC 9001 §4.1.1 and §4.1.2; who may set `confirmed` is up to
    the role: a server when it completes, a client when HANDSHAKE_DONE comes. `version` is that of the
    keys to come. `early_keys` protect 0-RTT packets, a client's to send and a server's to read.
    """

    __slots__ = ("_keylog", "_original_version", "_spaces", "confirmed", "early_keys", "tls", "version")

    def __init__(
        self,
        tls: TlsClient | TlsServer,
        spaces: Mapping[Level, PacketSpace],
        version: VersionParameters,
        keylog: Callable[[str], None] | None,
    ) -> None:
        self.tls = tls
        self.confirmed = False
        self._spaces = spaces
        self.version = self._original_version = version
        self.early_keys: PacketKeys | None = None
        self._keylog = keylog

    @property
    def complete(self) -> bool:
        """TLS has sent its Finished and verified the peer's."""
        return self.tls.complete

    def start(self) -> None:
        """Client: produce the ClientHello."""
        if isinstance(self.tls, TlsClient):
            self.tls.start()
        self._pump()

    def receive(self, level: Level, offset: int, data: bytes) -> bool:
        """Take the content of a CRYPTO frame; True if TLS got any further by it.

        Raises TransportError, of which AlertError is TLS's own.
        """
        in_order = self._spaces[level].crypto.receive(offset, data)
        if not in_order:
            return False
        self.tls.receive(level, in_order)
        self._pump()
        return True

    def _pump(self) -> None:
        for level, data in self.tls.take_output():
            self._spaces[level].crypto.send.write(data, fin=False)
        for secret in self.tls.take_secrets():
            if self._keylog is not None:
                self._keylog(key_log_line(secret.label, self.tls.client_random, secret.secret))
            suite = CIPHER_SUITES[secret.cipher_suite]
            if secret.level is Level.ZERO_RTT:
                # RFC 9369 §4.1: 0-RTT packets stay in the version that the connection began in.
                self.early_keys = PacketKeys(suite, secret.secret, self._original_version)
                continue
            keys = PacketKeys(suite, secret.secret, self.version)
            space = self._spaces[secret.level]
            if secret.is_write:
                space.write_keys = keys
            else:
                space.read_keys = keys

    def take_sessions(self, application_state: bytes) -> list[Session]:
        """Client: sessions that the server has sent since the last call, with that state put in."""
        return self.tls.take_tickets(application_state) if isinstance(self.tls, TlsClient) else []
