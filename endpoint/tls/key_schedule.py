"""The key schedule of RFC 9846 §7.1 for a handshake without a pre-shared key, and the transcript hash."""

import functools
import hashlib
import hmac

from endpoint.hkdf import hkdf_expand_label, hkdf_extract
from endpoint.tls.messages import HandshakeType, encode_message
from endpoint.tls.suites import CipherSuite


def derive_secret(suite: CipherSuite, secret: bytes, label: str, transcript_hash: bytes) -> bytes:
    """Derive-Secret, given the hash of its messages."""
    return hkdf_expand_label(suite.hash_name, secret, label, transcript_hash, suite.hash_length)


@functools.cache
def _empty_hash(hash_name: str) -> bytes:
    return hashlib.new(hash_name).digest()


@functools.cache
def _handshake_salt(suite: CipherSuite) -> bytes:
    """What the Early Secret passes on; without a pre-shared key the same in every handshake."""
    zeros = bytes(suite.hash_length)
    early_secret = hkdf_extract(suite.hash_name, zeros, zeros)
    return derive_secret(suite, early_secret, "derived", _empty_hash(suite.hash_name))


class KeySchedule:
    """The secrets of one handshake. Each `transcript_hash` is that of the messages §7.1 draws beside it."""

    __slots__ = ("_exporter_secret", "_handshake_secret", "_main_secret", "_suite")

    def __init__(self, suite: CipherSuite, shared_secret: bytes) -> None:
        self._suite = suite
        self._handshake_secret = hkdf_extract(suite.hash_name, _handshake_salt(suite), shared_secret)
        derived = derive_secret(suite, self._handshake_secret, "derived", _empty_hash(suite.hash_name))
        self._main_secret = hkdf_extract(suite.hash_name, derived, bytes(suite.hash_length))
        self._exporter_secret = b""

    def handshake_traffic_secrets(self, transcript_hash: bytes) -> tuple[bytes, bytes]:
        """(client, server), up to and with the ServerHello."""
        return (
            derive_secret(self._suite, self._handshake_secret, "c hs traffic", transcript_hash),
            derive_secret(self._suite, self._handshake_secret, "s hs traffic", transcript_hash),
        )

    def application_traffic_secrets(self, transcript_hash: bytes) -> tuple[bytes, bytes]:
        """(client, server), up to and with the server's Finished; also makes `export` ready."""
        self._exporter_secret = derive_secret(self._suite, self._main_secret, "exp master", transcript_hash)
        return (
            derive_secret(self._suite, self._main_secret, "c ap traffic", transcript_hash),
            derive_secret(self._suite, self._main_secret, "s ap traffic", transcript_hash),
        )

    def resumption_secret(self, transcript_hash: bytes) -> bytes:
        """What tickets are derived from: up to and with the client's Finished."""
        return derive_secret(self._suite, self._main_secret, "res master", transcript_hash)

    def export(self, label: str, context: bytes, length: int) -> bytes:
        """TLS-Exporter (RFC 9846 §7.5), `length` in bytes."""
        assert self._exporter_secret, "application_traffic_secrets comes first"
        name = self._suite.hash_name
        secret = derive_secret(self._suite, self._exporter_secret, label, _empty_hash(name))
        return hkdf_expand_label(name, secret, "exporter", hashlib.new(name, context).digest(), length)


def finished_verify_data(suite: CipherSuite, traffic_secret: bytes, transcript_hash: bytes) -> bytes:
    """The content of the Finished of the side that `traffic_secret` belongs to (RFC 9846 §4.4.4)."""
    key = hkdf_expand_label(suite.hash_name, traffic_secret, "finished", b"", suite.hash_length)
    return hmac.digest(key, transcript_hash, suite.hash_name)


class Transcript:
    """The running hash over the handshake messages (RFC 9846 §4.1)."""

    __slots__ = ("_hash",)

    def __init__(self, suite: CipherSuite, client_hello: bytes) -> None:
        """Starts when the suite is known; `client_hello` is the whole message, which came before that."""
        self._hash = hashlib.new(suite.hash_name, client_hello)

    def replace_client_hello(self) -> None:
        """Put the synthetic message_hash in the place of the first ClientHello, for a HelloRetryRequest."""
        synthetic = encode_message(HandshakeType.MESSAGE_HASH, self._hash.digest())
        self._hash = hashlib.new(self._hash.name, synthetic)

    def add(self, message: bytes) -> None:
        """The next message, with its header."""
        self._hash.update(message)

    def digest(self) -> bytes:
        """The hash of everything so far."""
        return self._hash.copy().digest()
