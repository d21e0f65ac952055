"""Loading certificates and keys, and reading the chain that a peer sends."""

import datetime as dt
import functools
import re
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from endpoint.errors import AlertDescription, AlertError
from endpoint.tls.extensions import ip_address
from endpoint.tls.signatures import PrivateKey

# A leaf with its intermediates has two to four; the interop runner sends nine.
_MAX_CERTIFICATES = 32

# Chains kept parsed. A client meets the same few again; what a peer can fill it with is 2 MB at most, since
# a CRYPTO stream takes no more than 64 KiB.
_CACHED_CHAINS = 32

_EC_PARAMETERS = re.compile(rb"-----BEGIN EC PARAMETERS-----.*?-----END EC PARAMETERS-----\s*", re.DOTALL)


def load_certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM file, in its order. Raises ValueError where there is none."""
    return tuple(x509.load_pem_x509_certificates(pem))


def load_private_key(pem: bytes) -> PrivateKey:
    """An unencrypted private key: PKCS #8, SEC1 with or without its EC PARAMETERS block, or PKCS #1.

    Raises ValueError for anything else, and for kinds of keys that can't sign a handshake.
    """
    # openssl ecparam -genkey writes the curve into a block of its own first; the key names it again.
    try:
        key = load_pem_private_key(_EC_PARAMETERS.sub(b"", pem), password=None)
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(f"the private key can't be used: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise ValueError(f"keys of type {type(key).__name__} can't sign a TLS handshake")  # noqa: TRY004
    return key


def make_self_signed(
    names: Sequence[str], at: float, lifetime_days: int = 10
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A new P-256 key with a certificate for host names and IP addresses, valid from `at` (seconds of 1970).

    It is no CA: a client trusts it by having it among its trusted roots.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0][:64])])
    general_names: list[x509.GeneralName] = []
    for name in names:
        address = ip_address(name)
        general_names.append(x509.DNSName(name) if address is None else x509.IPAddress(address))
    start = dt.datetime.fromtimestamp(at, dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # An hour back, for peers whose clock is behind.
        .not_valid_before(start - dt.timedelta(hours=1))
        .not_valid_after(start + dt.timedelta(days=lifetime_days))
        .add_extension(x509.SubjectAlternativeName(general_names), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def parse_chain(chain: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    """A peer's DER certificates, leaf first, at least one.

    Raises AlertError: bad_certificate for what is no certificate, unsupported_certificate for a leaf whose
    key is of a kind that we don't know.
    """
    if len(chain) > _MAX_CERTIFICATES:
        raise AlertError(AlertDescription.BAD_CERTIFICATE, f"a chain of {len(chain)} certificates")
    return _parse_chain(tuple(chain))


@functools.lru_cache(_CACHED_CHAINS)
def _parse_chain(chain: tuple[bytes, ...]) -> tuple[x509.Certificate, ...]:
    try:
        certificates = tuple(x509.load_der_x509_certificate(der) for der in chain)
        certificates[0].public_key()
    except (ValueError, x509.InvalidVersion):
        raise AlertError(AlertDescription.BAD_CERTIFICATE, "a certificate can't be parsed") from None
    except UnsupportedAlgorithm:
        raise AlertError(
            AlertDescription.UNSUPPORTED_CERTIFICATE, "the certificate has a key of an unknown kind"
        ) from None
    return certificates


def check_server_name(leaf: x509.Certificate, server_name: str) -> None:
    """Raise AlertError(bad_certificate) unless the certificate is for this host name or IP address.

    RFC 9525 §6: only subjectAltName counts, and a wildcard stands for the whole leftmost label. We compare
    ourselves, because the names of a certificate need not all be host names.
    """
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns_names = names.get_values_for_type(x509.DNSName)
        addresses = names.get_values_for_type(x509.IPAddress)
    except x509.ExtensionNotFound:
        dns_names, addresses = [], []
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise AlertError(AlertDescription.BAD_CERTIFICATE, "malformed certificate extensions") from None
    address = ip_address(server_name)
    if address is not None:
        matches = address in addresses
    else:
        host = server_name.rstrip(".").lower()
        matches = any(_dns_name_matches(pattern.lower(), host) for pattern in dns_names)
    if not matches:
        raise AlertError(AlertDescription.BAD_CERTIFICATE, f"the certificate is not for {server_name}")


def _dns_name_matches(pattern: str, host: str) -> bool:
    if not pattern.startswith("*."):
        return pattern == host
    label, _, parent = host.partition(".")
    # Two labels at least behind it: nobody owns all of a top-level domain.
    return bool(label) and "." in parent and parent == pattern[2:]
