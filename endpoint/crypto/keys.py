"""The keys of one direction at one encryption level (RFC 9001 §5.1, §6)."""

from endpoint.crypto.aead import NONCE_LENGTH, CipherSuite
from endpoint.crypto.header_protection import HeaderProtection, make_header_protection
from endpoint.hkdf import hkdf_expand_label
from endpoint.wire.version import VersionParameters


class PacketKeys:
    """AEAD key, IV and header protection that follow from one secret, and how much they were used.

    `sealed` counts packets protected, `failed_opens` packets that did not authenticate, with these keys.
    `packet_protection` keeps both; whoever owns the keys compares them with the limits in `suite`:
    `sealed` before it sends (key update, else AEAD_LIMIT_REACHED), and `failed_opens` summed over all
    keys of the connection, also those discarded (RFC 9001 §6.6).
    """

    __slots__ = (
        "_secret",
        "_version",
        "decrypt_into",
        "encrypt_into",
        "failed_opens",
        "header_protection",
        "iv",
        "sealed",
        "suite",
    )

    def __init__(
        self,
        suite: CipherSuite,
        secret: bytes,
        version: VersionParameters,
        header_protection: HeaderProtection | None = None,
    ) -> None:
        """Derive the keys of `secret` with the labels of `version`.

        `header_protection` is given by `next_generation` only: it does not change in a key update.
        """

        def derive(label: str, length: int) -> bytes:
            return hkdf_expand_label(suite.hash_name, secret, label, b"", length)

        aead = suite.aead(derive(version.key_label, suite.key_length))
        self.suite = suite
        self.encrypt_into = aead.encrypt_into
        self.decrypt_into = aead.decrypt_into
        self.iv = int.from_bytes(derive(version.iv_label, NONCE_LENGTH), "big")
        if header_protection is None:
            header_protection = make_header_protection(suite, derive(version.hp_label, suite.key_length))
        self.header_protection = header_protection
        self.sealed = 0
        self.failed_opens = 0
        self._secret = secret
        self._version = version

    def next_generation(self) -> "PacketKeys":
        """The keys after one key update (RFC 9001 §6.1), with counts of their own that start at 0."""
        secret = hkdf_expand_label(
            self.suite.hash_name, self._secret, self._version.ku_label, b"", len(self._secret)
        )
        return PacketKeys(self.suite, secret, self._version, self.header_protection)
