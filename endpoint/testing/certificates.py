"""Certificates for tests, made the way the public interop runner makes them.

EC P-256, ECDSA with SHA-256, valid for ten days, a leaf without key usage, extended key usage or basic
constraints, and its key in SEC1 form behind an `EC PARAMETERS` block.
"""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

RUNNER_NAMES = ("server", "server4", "server6", "server46", "localhost")
VALIDITY = dt.timedelta(days=10)

# DER of the object identifier of P-256 (RFC 5480 §2.1.1.1), as `openssl ecparam` prints it.
_EC_PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"


@dataclass(frozen=True, slots=True)
class Chain:
    """A root, a chain from the leaf up to but not including the root, and the leaf's key."""

    root: x509.Certificate
    certificates: tuple[x509.Certificate, ...]
    private_key: ec.EllipticCurvePrivateKey

    @property
    def root_pem(self) -> bytes:
        return self.root.public_bytes(serialization.Encoding.PEM)

    @property
    def chain_pem(self) -> bytes:
        return b"".join(cert.public_bytes(serialization.Encoding.PEM) for cert in self.certificates)

    @property
    def chain_der(self) -> tuple[bytes, ...]:
        return tuple(cert.public_bytes(serialization.Encoding.DER) for cert in self.certificates)

    @property
    def key_pem(self) -> bytes:
        return _EC_PARAMETERS + self.private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )

    def write(self, directory: Path) -> None:
        """Write `ca.pem`, `cert.pem` and `priv.key` to an existing directory."""
        (directory / "ca.pem").write_bytes(self.root_pem)
        (directory / "cert.pem").write_bytes(self.chain_pem)
        (directory / "priv.key").write_bytes(self.key_pem)


def make_chain(
    not_before: dt.datetime,
    *,
    length: int = 1,
    names: tuple[str, ...] = RUNNER_NAMES,
    addresses: tuple[str, ...] = ("127.0.0.1", "::1"),
    padding_names: int = 0,
) -> Chain:
    """A fresh chain of `length` certificates (1: the root signs the leaf).

    `padding_names` adds that many DNS names of 250 characters to the leaf; the runner uses 20 of them in
    a chain of nine for its amplification test, about 10 kB of certificates.
    """
    issuer_key = ec.generate_private_key(ec.SECP256R1())
    issuer_name = _name("interquic test root")
    root = _sign(issuer_name, issuer_key, issuer_name, issuer_key, not_before, ca=True)
    certificates: list[x509.Certificate] = []
    for index in range(1, length):
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(f"interquic test intermediate {index}")
        certificates.insert(0, _sign(name, key, issuer_name, issuer_key, not_before, ca=True))
        issuer_key, issuer_name = key, name
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives += [x509.DNSName(f"{index:03d}" + "x" * 247) for index in range(padding_names)]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    leaf = _sign(
        _name("interquic test leaf"), leaf_key, issuer_name, issuer_key, not_before, alternatives=alternatives
    )
    return Chain(root, (leaf, *certificates), leaf_key)


def _name(organization: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)])


def _sign(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    not_before: dt.datetime,
    *,
    ca: bool = False,
    alternatives: list[x509.GeneralName] | None = None,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_before + VALIDITY)
    )
    if ca:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
