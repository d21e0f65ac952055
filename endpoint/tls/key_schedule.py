"""The key schedule of RFC 9846 §7.1, with a pre-shared key or without, and the transcript hash."""

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


class EarlySchedule:
    """What comes from a resumption PSK before anything is negotiated; `suite` is that of its session."""

    __slots__ = ("_early_secret", "_suite")

    def __init__(self, suite: CipherSuite, psk: bytes) -> None:
        self._suite = suite
        self._early_secret = hkdf_extract(suite.hash_name, bytes(suite.hash_length), psk)

    def binder(self, transcript_hash: bytes) -> bytes:
        """The PskBinderEntry (RFC 9846 §4.2.11.2), from the hash that ends before the list of binders."""
        empty = _empty_hash(self._suite.hash_name)
        binder_key = derive_secret(self._suite, self._early_secret, "res binder", empty)
        return finished_verify_data(self._suite, binder_key, transcript_hash)

    def client_early_traffic_secret(self, transcript_hash: bytes) -> bytes:
        """What 0-RTT packets are protected with, from the hash of the ClientHello."""
        return derive_secret(self._suite, self._early_secret, "c e traffic", transcript_hash)

    def handshake_salt(self) -> bytes:
        """What the Early Secret passes on to the Handshake Secret."""
        return derive_secret(self._suite, self._early_secret, "derived", _empty_hash(self._suite.hash_name))


@functools.cache
def _handshake_salt(suite: CipherSuite) -> bytes:
    """The salt of every handshake that has no pre-shared key, in whose place are zeros."""
    return EarlySchedule(suite, bytes(suite.hash_length)).handshake_salt()


class KeySchedule:
    """The secrets of one handshake. Each `transcript_hash` is that of the messages §7.1 draws beside it."""

    __slots__ = ("_exporter_secret", "_handshake_secret", "_main_secret", "_suite")

    def __init__(self, suite: CipherSuite, shared_secret: bytes, early: EarlySchedule | None = None) -> None:
        """`early` is that of the PSK that was selected, if any; its hash is that of `suite`."""
        self._suite = suite
        salt = _handshake_salt(suite) if early is None else early.handshake_salt()
        self._handshake_secret = hkdf_extract(suite.hash_name, salt, shared_secret)
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


def resumption_psk(suite: CipherSuite, resumption_secret: bytes, ticket_nonce: bytes) -> bytes:
    """The PSK of one ticket (RFC 9846 §4.6.1)."""
    return hkdf_expand_label(
        suite.hash_name, resumption_secret, "resumption", ticket_nonce, suite.hash_length
    )


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

    def digest_with(self, truncated: bytes) -> bytes:
        """The hash with a ClientHello up to its binders added, which itself stays without it."""
        extended = self._hash.copy()
        extended.update(truncated)
        return extended.digest()
