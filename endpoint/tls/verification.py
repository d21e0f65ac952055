"""Whether a peer's certificate chain leads to a root that we trust (RFC 5280 §6).

The verdict is that of `cryptography.x509.verification`, with policies that are milder than the web's about
absent extensions. The library gives only a text for a failure, and it takes no issuer with an Ed25519 key
(the CA/Browser Forum's rules have none). So after a failure our own `_walk` goes along the chain: it finds
the alert that fits, and it decides alone about a chain with such an issuer.
"""

import datetime as dt
import functools
import warnings
from collections import OrderedDict
from enum import Enum
from typing import TypeAlias, TypeVar

import certifi
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from endpoint.errors import AlertDescription, AlertError

_E = TypeVar("_E", bound=x509.ExtensionType)

# Intermediates between leaf and root: the interop runner has eight.
_MAX_CHAIN_DEPTH = 16

# What the library demands of issuers, too.
_MIN_RSA_BITS = 2048

# RFC 9846 §4.4.2.4: neither MD5 nor SHA-1. None is the hash of an Ed25519 signature.
_SIGNATURE_HASHES = frozenset({"sha256", "sha384", "sha512", None})

# What `_walk` heeds; any other critical extension makes it give up (RFC 5280 §4.2).
_WALK_UNDERSTANDS = frozenset(
    {
        x509.BasicConstraints.oid,
        x509.KeyUsage.oid,
        x509.ExtendedKeyUsage.oid,
        x509.SubjectAlternativeName.oid,
    }
)


# Chains that were found good, per set of roots: those of the servers one talks to again and again.
_MAX_REMEMBERED = 64


class Purpose(Enum):
    """What the peer's certificate has to be good for."""

    SERVER = ExtendedKeyUsageOID.SERVER_AUTH
    CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH


# What is judged: the chain as it was sent, and for what.
_Case: TypeAlias = tuple[tuple[x509.Certificate, ...], Purpose]


class _TrustStore:
    """Roots, and which chains are known to lead to them.

    The verdict about a chain can only change with time, so a good one is remembered together with the
    period in which every certificate of its path is valid.
    """

    __slots__ = ("_accepted", "by_subject", "roots", "store")

    def __init__(self, roots: tuple[x509.Certificate, ...]) -> None:
        self.store = Store(list(roots))
        self.roots = frozenset(roots)
        self._accepted: OrderedDict[_Case, tuple[dt.datetime, dt.datetime]] = OrderedDict()
        self.by_subject: dict[x509.Name, list[x509.Certificate]] = {}
        for root in roots:
            self.by_subject.setdefault(root.subject, []).append(root)

    def has_accepted(self, case: _Case, time: dt.datetime) -> bool:
        """Whether the library found the chain good before, and its path is valid at `time`."""
        period = self._accepted.get(case)
        if period is None or not period[0] <= time <= period[1]:
            return False
        self._accepted.move_to_end(case)
        return True

    def accept(self, case: _Case, path: list[x509.Certificate]) -> None:
        """Remember a chain by its path, from the leaf to the root."""
        self._accepted[case] = (
            max(certificate.not_valid_before_utc for certificate in path),
            min(certificate.not_valid_after_utc for certificate in path),
        )
        if len(self._accepted) > _MAX_REMEMBERED:
            self._accepted.popitem(last=False)


@functools.lru_cache(maxsize=16)
def _trust_store(roots: tuple[x509.Certificate, ...] | None) -> _TrustStore:
    if roots is None:
        with warnings.catch_warnings():
            # Some old roots have serial numbers that RFC 5280 forbids; they are trusted all the same.
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            roots = tuple(x509.load_pem_x509_certificates(certifi.contents().encode("ascii")))
    return _TrustStore(roots)


def verify_chain(
    chain: tuple[x509.Certificate, ...],
    roots: tuple[x509.Certificate, ...] | None,
    purpose: Purpose,
    at: float,
) -> None:
    """Check signatures, validity and permitted use from the leaf, first in `chain`, up to one of `roots`.

    `roots` None are those of certifi; `at` is in seconds since 1970. Names are not checked here. Raises
    AlertError: certificate_expired, unknown_ca, bad_certificate or unsupported_certificate.
    """
    if roots == ():
        raise AlertError(AlertDescription.UNKNOWN_CA, "no CA is trusted")
    trust = _trust_store(roots)
    time = dt.datetime.fromtimestamp(at, dt.UTC)
    try:
        failure = _library_verdict(chain, trust, purpose, time)
        if failure is None:
            return
        path = _walk(chain, trust, purpose, time)
        if any(isinstance(issuer.public_key(), ed25519.Ed25519PublicKey) for issuer in path[1:]):
            return
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion):
        # The library parses names, keys and extensions only when they are asked for.
        raise AlertError(AlertDescription.BAD_CERTIFICATE, "malformed certificate in the chain") from None
    raise AlertError(AlertDescription.BAD_CERTIFICATE, failure)


def _library_verdict(
    chain: tuple[x509.Certificate, ...], trust: _TrustStore, purpose: Purpose, time: dt.datetime
) -> str | None:
    """What the library has against the chain, None if nothing."""
    if trust.has_accepted((chain, purpose), time):
        return None
    ca_policy, leaf_policy = _policies(purpose)
    # The client verifier for servers too: it does the same, and leaves the name to `check_server_name`.
    verifier = (
        PolicyBuilder()
        .store(trust.store)
        .time(time)
        .max_chain_depth(_MAX_CHAIN_DEPTH)
        .extension_policies(ca_policy=ca_policy, ee_policy=leaf_policy)
        .build_client_verifier()
    )
    try:
        verified = verifier.verify(chain[0], list(chain[1:]))
    except VerificationError as error:
        return str(error)
    trust.accept((chain, purpose), verified.chain)
    return None


@functools.cache
def _policies(purpose: Purpose) -> tuple[ExtensionPolicy, ExtensionPolicy]:
    """(for CAs, for leaves). What is absent is allowed, what is present must be right."""

    def check_key_usage(_policy: Policy, leaf: x509.Certificate, _usage: x509.KeyUsage | None) -> None:
        _check_leaf_usage(leaf, purpose)

    ca_policy = (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _check_ca_key_usage)
    )
    leaf_policy = ExtensionPolicy.permit_all().may_be_present(
        x509.KeyUsage, Criticality.AGNOSTIC, check_key_usage
    )
    return ca_policy, leaf_policy


def _check_ca_key_usage(_policy: Policy, _ca: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise AlertError(AlertDescription.UNKNOWN_CA, "an issuer may not sign certificates")


def _check_leaf_usage(leaf: x509.Certificate, purpose: Purpose) -> None:
    """RFC 9846 §4.4.2.2 about key usage, RFC 5280 §4.2.1.12 about extended key usage."""
    usage = _find(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise AlertError(AlertDescription.UNSUPPORTED_CERTIFICATE, "the certificate's key may not sign")
    extended = _find(leaf, x509.ExtendedKeyUsage)
    allowed = (purpose.value, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    if extended is not None and not any(oid in extended for oid in allowed):
        raise AlertError(
            AlertDescription.UNSUPPORTED_CERTIFICATE, f"the certificate is not for a {purpose.name.lower()}"
        )


def _find(certificate: x509.Certificate, extension: type[_E]) -> _E | None:
    try:
        return certificate.extensions.get_extension_for_class(extension).value
    except x509.ExtensionNotFound:
        return None


def _walk(
    chain: tuple[x509.Certificate, ...], trust: _TrustStore, purpose: Purpose, time: dt.datetime
) -> list[x509.Certificate]:
    """The path from the leaf to a root, always by the first issuer that fits. Raises AlertError."""
    current, *intermediates = chain
    _check_certificate(current, time)
    _check_leaf_usage(current, purpose)
    path = [current]
    while current not in trust.roots:
        root = _issuer_of(current, trust.by_subject.get(current.issuer, []))
        issuer = root or _issuer_of(current, intermediates)
        if issuer is None:
            named = any(candidate.subject == current.issuer for candidate in intermediates)
            raise AlertError(
                AlertDescription.BAD_CERTIFICATE if named else AlertDescription.UNKNOWN_CA,
                "a certificate is not signed by its issuer" if named else "the issuer is not a known CA",
            )
        if len(path) > _MAX_CHAIN_DEPTH:
            raise AlertError(AlertDescription.UNKNOWN_CA, "the chain is too long")
        _check_certificate(issuer, time)
        _check_issuer(issuer, len(path) - 1)
        path.append(issuer)
        if root is not None:
            break
        intermediates.remove(issuer)
        current = issuer
    return path


def _issuer_of(certificate: x509.Certificate, candidates: list[x509.Certificate]) -> x509.Certificate | None:
    for candidate in candidates:
        if candidate.subject != certificate.issuer:
            continue
        try:
            certificate.verify_directly_issued_by(candidate)
        except (InvalidSignature, ValueError, TypeError):
            continue  # a wrong signature, or a key of another kind than the signature
        return candidate
    return None


def _check_certificate(certificate: x509.Certificate, time: dt.datetime) -> None:
    """What holds for every certificate of a path."""
    if not certificate.not_valid_before_utc <= time <= certificate.not_valid_after_utc:
        raise AlertError(
            AlertDescription.CERTIFICATE_EXPIRED,
            f"a certificate is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M}"
            f" to {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
        )
    digest = certificate.signature_hash_algorithm
    if (None if digest is None else digest.name) not in _SIGNATURE_HASHES:
        raise AlertError(AlertDescription.BAD_CERTIFICATE, "a certificate is signed with a broken hash")
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _WALK_UNDERSTANDS:
            raise AlertError(
                AlertDescription.UNSUPPORTED_CERTIFICATE,
                f"critical certificate extension {extension.oid.dotted_string}",
            )


def _check_issuer(certificate: x509.Certificate, depth: int) -> None:
    """RFC 5280 §6.1.4; `depth` is the number of intermediates below."""
    constraints = _find(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise AlertError(AlertDescription.UNKNOWN_CA, "an issuer is no certificate authority")
    if constraints.path_length is not None and constraints.path_length < depth:
        raise AlertError(AlertDescription.UNKNOWN_CA, "the chain is longer than an issuer allows")
    usage = _find(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise AlertError(AlertDescription.UNKNOWN_CA, "an issuer may not sign certificates")
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _MIN_RSA_BITS:
        raise AlertError(AlertDescription.BAD_CERTIFICATE, "the RSA key of an issuer is too short")
    if _find(certificate, x509.NameConstraints) is not None:
        # The library applies them; the walk can't, so it must not pass them over.
        raise AlertError(AlertDescription.UNSUPPORTED_CERTIFICATE, "a CA with name constraints")
