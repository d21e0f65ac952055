"""Settings of the TLS handshake, shared by all connections that are made with them."""

from dataclasses import dataclass, field
from enum import Enum

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from endpoint.keyring import KeyRing
from endpoint.tls.groups import GROUPS, SECP256R1, SECP384R1, X25519, X25519MLKEM768
from endpoint.tls.messages import encode_certificate_list
from endpoint.tls.session import MAX_TICKET_LIFETIME
from endpoint.tls.signatures import PrivateKey, key_matches
from endpoint.tls.suites import (
    CIPHER_SUITES,
    TLS_AES_128_GCM_SHA256,
    TLS_AES_256_GCM_SHA384,
    TLS_CHACHA20_POLY1305_SHA256,
)
from endpoint.tls.tickets import AntiReplay

# So many tickets have room in one packet or two, and their nonces in one byte.
MAX_TICKET_COUNT = 16


class ClientAuthentication(Enum):
    """Whether a server asks for a certificate (RFC 9846 §4.3.2)."""

    NONE = "none"
    OPTIONAL = "optional"  # a client without one is let in, a wrong one is not
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """What both roles can choose about the handshake. Raises ValueError where the choices can't work.

    Build one and share it: the encoded chain is kept here, so that no handshake encodes it again.
    """

    # QUIC requires ALPN (RFC 9001 §8.1). Most preferred first; a server's order decides.
    alpn_protocols: tuple[str, ...]
    # Offered exactly so, without GREASE, and a server chooses its first that the client has.
    cipher_suites: tuple[int, ...] = (
        TLS_AES_128_GCM_SHA256,
        TLS_AES_256_GCM_SHA384,
        TLS_CHACHA20_POLY1305_SHA256,
    )
    # A client sends a share for the first only: the ClientHello then fits one datagram.
    groups: tuple[int, ...] = (X25519, SECP256R1, SECP384R1)
    # Client: put X25519MLKEM768 first, with a share. Its 1,216 bytes take a second datagram.
    offer_mlkem: bool = False
    # Server: prefer X25519MLKEM768 above `groups` where the client has a share for it.
    accept_mlkem: bool = True
    # Leaf first. Needed by a server; a client's is sent when the server asks.
    certificate_chain: tuple[x509.Certificate, ...] = ()
    private_key: PrivateKey | None = None
    # Client: whom to trust about servers; None are the roots of certifi.
    trusted_roots: tuple[x509.Certificate, ...] | None = None
    # Client: check neither chain nor name. The server's signature is still verified.
    insecure: bool = False
    client_authentication: ClientAuthentication = ClientAuthentication.NONE
    # Server: whom to trust about clients.
    client_roots: tuple[x509.Certificate, ...] = ()
    # Both: use 0-RTT. A client offers it with a session that allows it, a server accepts it and says so in
    # its tickets, for which it also needs `anti_replay`.
    early_data: bool = False
    # Server: seals the tickets it sends, and opens those that come back. None: no resumption.
    ticket_keys: KeyRing | None = None
    # Server: how many tickets a client gets after the handshake. Each is good for one connection.
    ticket_count: int = 2
    # Server: for how many seconds.
    ticket_lifetime: int = 24 * 3600
    # Server: one guard for all connections.
    anti_replay: AntiReplay | None = None
    # The certificate_list of our Certificate message (RFC 9846 §4.4.2), encoded once.
    certificate_list: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.alpn_protocols:
            raise ValueError("QUIC needs at least one application protocol")
        if not all(1 <= len(protocol.encode()) <= 255 for protocol in self.alpn_protocols):
            raise ValueError("the name of an application protocol has 1 to 255 bytes")
        if not self.cipher_suites or not CIPHER_SUITES.keys() >= set(self.cipher_suites):
            raise ValueError("cipher_suites must name one or more of the suites of endpoint.tls.suites")
        if not self.groups or not GROUPS.keys() >= set(self.groups):
            raise ValueError("groups must name one or more of the groups of endpoint.tls.groups")
        if X25519MLKEM768 in self.groups or len(set(self.groups)) != len(self.groups):
            raise ValueError("groups has a duplicate, or X25519MLKEM768, which has switches of its own")
        if (self.private_key is None) != (not self.certificate_chain):
            raise ValueError("a certificate chain and its private key come together")
        if self.private_key is not None and not key_matches(self.private_key, self.certificate_chain[0]):
            raise ValueError("the private key does not belong to the first certificate of the chain")
        if self.client_authentication is not ClientAuthentication.NONE and not self.client_roots:
            raise ValueError("client authentication needs client_roots")
        if not 0 <= self.ticket_count <= MAX_TICKET_COUNT:
            raise ValueError(f"ticket_count must be 0 to {MAX_TICKET_COUNT}")
        if not 1 <= self.ticket_lifetime <= MAX_TICKET_LIFETIME:
            raise ValueError("ticket_lifetime must be between a second and seven days")
        encoded = encode_certificate_list(_der(self.certificate_chain))
        object.__setattr__(self, "certificate_list", encoded)


def _der(chain: tuple[x509.Certificate, ...]) -> tuple[bytes, ...]:
    """The chain as it goes on the wire."""
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in chain)
