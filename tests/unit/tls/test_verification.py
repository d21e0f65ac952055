"""Which chains are accepted, and with which alert the others are refused."""

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from endpoint.errors import AlertDescription, AlertError
from endpoint.tls.certificates import check_server_name, make_self_signed
from endpoint.tls.verification import Purpose, verify_chain

DAY = 86400.0
SHA256_WITH_RSA = bytes.fromhex("06092a864886f70d01010b")
SHA1_WITH_RSA = bytes.fromhex("06092a864886f70d010105")
# Twenty names of 250 characters, as in the runner's amplification test: not valid as host names.
LONG_NAMES = [f"{number:02d}" + "aZ0" * 82 + "zz" for number in range(20)]


def key_usage(**bits: bool) -> x509.KeyUsage:
    names = [
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ]
    return x509.KeyUsage(**{name: bits.get(name, False) for name in names})


@pytest.fixture(params=["p256", "ed25519"])
def root(pki: Any, request: pytest.FixtureRequest) -> Any:
    """A root whose chains the library judges, and one whose chains only our own walk can."""
    return pki.make_root("root", pki.keys[request.param])


def refusal(pki: Any, chain: list[x509.Certificate], *roots: Any, **settings: Any) -> AlertDescription:
    purpose = settings.get("purpose", Purpose.SERVER)
    certificates = tuple(each.certificate for each in roots) or (pki.root.certificate,)
    with pytest.raises(AlertError) as caught:
        verify_chain(tuple(chain), certificates, purpose, settings.get("at", pki.now))
    return caught.value.alert


def accept(pki: Any, chain: list[x509.Certificate], *roots: Any, purpose: Purpose = Purpose.SERVER) -> None:
    certificates = tuple(each.certificate for each in roots) or (pki.root.certificate,)
    verify_chain(tuple(chain), certificates, purpose, pki.now)


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "rsa", "ed25519"])
def test_leaf_without_any_extension(pki: Any, kind: str, purpose: Purpose) -> None:
    accept(pki, [pki.root.issue("", pki.keys[kind])], purpose=purpose)


@pytest.mark.parametrize("kind", ["p384", "p521", "rsa", "ed25519"])
def test_root_with_another_key(pki: Any, kind: str) -> None:
    root = pki.make_root("other root", pki.keys[kind])
    accept(pki, [root.issue("", pki.keys["p256"], names=["server"])], root)


@pytest.mark.parametrize("digest", [hashes.SHA384(), hashes.SHA512()])
def test_other_digests(pki: Any, digest: hashes.HashAlgorithm) -> None:
    accept(pki, [pki.root.issue("", pki.keys["p256"], digest=digest)])


def test_chain_of_nine_with_names_that_are_no_host_names(pki: Any) -> None:
    authority = pki.root
    chain: list[x509.Certificate] = []
    for number in range(8):
        authority = authority.sub_authority(f"intermediate {number}")
        chain.insert(0, authority.certificate)
    leaf = authority.issue("", pki.keys["p256"], names=["server", "server4", *LONG_NAMES])
    accept(pki, [leaf, *chain])
    accept(pki, [leaf, *reversed(chain)])  # RFC 9846 §4.4.2: in any order
    check_server_name(leaf, "server4")
    assert refusal(pki, [leaf, *chain[:-1]]) == AlertDescription.UNKNOWN_CA
    assert refusal(pki, [leaf, *chain[1:]]) == AlertDescription.UNKNOWN_CA
    assert refusal(pki, [leaf, *chain], at=pki.now + 11 * DAY) == AlertDescription.CERTIFICATE_EXPIRED


def test_chain_that_is_too_long(pki: Any, root: Any) -> None:
    authority = root
    chain: list[x509.Certificate] = []
    for number in range(18):
        authority = authority.sub_authority(f"intermediate {number}")
        chain.insert(0, authority.certificate)
    leaf = authority.issue("", pki.keys["p256"])
    assert refusal(pki, [leaf, *chain], root) == AlertDescription.UNKNOWN_CA


def test_root_may_be_sent_along(pki: Any) -> None:
    accept(pki, [pki.root.issue("", pki.keys["p256"]), pki.root.certificate])


@pytest.mark.parametrize("at", [-2 * DAY, 11 * DAY])
def test_outside_of_its_validity(pki: Any, root: Any, at: float) -> None:
    leaf = root.issue("", pki.keys["p256"])
    assert refusal(pki, [leaf], root, at=pki.now + at) == AlertDescription.CERTIFICATE_EXPIRED


def test_expired_intermediate(pki: Any, root: Any) -> None:
    child = root.sub_authority("expired", days=(-5, -1))
    leaf = child.issue("", pki.keys["p256"])
    assert refusal(pki, [leaf, child.certificate], root) == AlertDescription.CERTIFICATE_EXPIRED


def test_a_chain_that_was_accepted_still_expires(pki: Any, root: Any) -> None:
    """Also when it is an intermediate that does, and not for another purpose."""
    child = root.sub_authority("short-lived", days=(-5, 1))
    usages = [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)]
    chain = [child.issue("", pki.keys["p256"], extensions=usages), child.certificate]
    for _ in range(2):
        accept(pki, chain, root)
    late, early = pki.now + 2 * DAY, pki.now - 9 * DAY
    for at in (late, early):
        assert refusal(pki, chain, root, at=at) == AlertDescription.CERTIFICATE_EXPIRED
    wrong = refusal(pki, chain, root, purpose=Purpose.CLIENT)
    assert wrong == AlertDescription.UNSUPPORTED_CERTIFICATE
    assert refusal(pki, chain, pki.make_root("root")) != AlertDescription.CERTIFICATE_EXPIRED


def test_unknown_root(pki: Any, root: Any) -> None:
    other = pki.make_root("other root")
    assert refusal(pki, [other.issue("", pki.keys["p256"])], root) == AlertDescription.UNKNOWN_CA


def test_root_of_the_same_name_with_another_key(pki: Any, root: Any) -> None:
    impostor = pki.make_root("root")
    assert refusal(pki, [impostor.issue("", pki.keys["p256"])], root) == AlertDescription.UNKNOWN_CA


def test_intermediate_that_has_not_signed(pki: Any, root: Any) -> None:
    right = root.sub_authority("intermediate")
    wrong = root.sub_authority("intermediate")
    leaf = right.issue("", pki.keys["p256"])
    assert refusal(pki, [leaf, wrong.certificate], root) == AlertDescription.BAD_CERTIFICATE


def test_issuer_that_is_no_authority(pki: Any, root: Any) -> None:
    middle = pki.make_root("middle")
    for extensions in ([], [(x509.BasicConstraints(ca=False, path_length=None), True)]):
        certificate = root.issue("middle", middle.key, extensions)
        leaf = middle.issue("", pki.keys["p256"])
        assert refusal(pki, [leaf, certificate], root) == AlertDescription.UNKNOWN_CA


def test_path_length(pki: Any, root: Any) -> None:
    first = root.sub_authority("first", path_length=0)
    second = first.sub_authority("second")
    accept(pki, [first.issue("", pki.keys["p256"]), first.certificate], root)
    leaf = second.issue("", pki.keys["p256"])
    alert = refusal(pki, [leaf, second.certificate, first.certificate], root)
    assert alert == AlertDescription.UNKNOWN_CA


def test_key_usage_of_an_authority(pki: Any, root: Any) -> None:
    good = root.sub_authority("good", extensions=[(key_usage(key_cert_sign=True), True)])
    accept(pki, [good.issue("", pki.keys["p256"]), good.certificate], root)
    bad = root.sub_authority("bad", extensions=[(key_usage(digital_signature=True), True)])
    leaf = bad.issue("", pki.keys["p256"])
    assert refusal(pki, [leaf, bad.certificate], root) == AlertDescription.UNKNOWN_CA


def test_key_usage_of_a_leaf(pki: Any, root: Any) -> None:
    accept(pki, [root.issue("", pki.keys["p256"], [(key_usage(digital_signature=True), True)])], root)
    leaf = root.issue("", pki.keys["p256"], [(key_usage(key_agreement=True), True)])
    assert refusal(pki, [leaf], root) == AlertDescription.UNSUPPORTED_CERTIFICATE


@pytest.mark.parametrize(
    ("usage", "server", "client"),
    [
        (ExtendedKeyUsageOID.SERVER_AUTH, True, False),
        (ExtendedKeyUsageOID.CLIENT_AUTH, False, True),
        (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, True, True),
        (ExtendedKeyUsageOID.CODE_SIGNING, False, False),
    ],
)
def test_extended_key_usage(
    pki: Any, root: Any, usage: x509.ObjectIdentifier, server: bool, client: bool
) -> None:
    leaf = root.issue("", pki.keys["p256"], [(x509.ExtendedKeyUsage([usage]), False)])
    for purpose, fits in ((Purpose.SERVER, server), (Purpose.CLIENT, client)):
        if fits:
            accept(pki, [leaf], root, purpose=purpose)
        else:
            alert = refusal(pki, [leaf], root, purpose=purpose)
            assert alert == AlertDescription.UNSUPPORTED_CERTIFICATE


def test_unknown_critical_extension(pki: Any, root: Any) -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")
    accept(pki, [root.issue("", pki.keys["p256"], [(unknown, False)])], root)
    leaf = root.issue("", pki.keys["p256"], [(unknown, True)])
    assert refusal(pki, [leaf], root) == AlertDescription.UNSUPPORTED_CERTIFICATE


def test_name_constraints(pki: Any) -> None:
    constraints = x509.NameConstraints([x509.DNSName("example.org")], None)
    root = pki.make_root("constrained", extensions=[(constraints, True)])
    accept(pki, [root.issue("", pki.keys["p256"], names=["www.example.org"])], root)
    leaf = root.issue("", pki.keys["p256"], names=["server"])
    assert refusal(pki, [leaf], root) == AlertDescription.UNSUPPORTED_CERTIFICATE
    for critical in (False, True):
        # The walk that Ed25519 needs can't apply them, and refuses.
        root = pki.make_root("constrained", pki.keys["ed25519"], extensions=[(constraints, critical)])
        leaf = root.issue("", pki.keys["p256"], names=["www.example.org"])
        assert refusal(pki, [leaf], root) == AlertDescription.UNSUPPORTED_CERTIFICATE


def test_short_rsa_key_of_an_issuer(pki: Any) -> None:
    short = rsa.generate_private_key(65537, 1024)
    root = pki.make_root("short", short)
    assert refusal(pki, [root.issue("", pki.keys["p256"])], root) == AlertDescription.BAD_CERTIFICATE
    root = pki.make_root("root of Ed25519", pki.keys["ed25519"])
    child = root.sub_authority("short", key=short)
    leaf = child.issue("", pki.keys["p256"])
    assert refusal(pki, [leaf, child.certificate], root) == AlertDescription.BAD_CERTIFICATE


def test_what_only_the_library_refuses_stays_refused(pki: Any) -> None:
    root = pki.make_root("unusual root", ec.generate_private_key(ec.SECP256K1()))
    leaf = root.issue("", pki.keys["p256"])
    with pytest.raises(AlertError, match="Forbidden public key algorithm") as caught:
        verify_chain((leaf,), (root.certificate,), Purpose.SERVER, pki.now)
    assert caught.value.alert == AlertDescription.BAD_CERTIFICATE


def test_broken_hash(pki: Any) -> None:
    """The library no longer makes such signatures, so that the algorithm is written in afterwards."""
    root = pki.make_root("old root", pki.keys["rsa"])
    der = root.issue("", pki.keys["p256"]).public_bytes(Encoding.DER)
    with_sha1 = der.replace(SHA256_WITH_RSA, SHA1_WITH_RSA)
    assert with_sha1 != der
    leaf = x509.load_der_x509_certificate(with_sha1)
    assert refusal(pki, [leaf], root) == AlertDescription.BAD_CERTIFICATE


def test_self_signed_certificate_among_the_roots(pki: Any) -> None:
    certificate, _ = make_self_signed(["localhost", "127.0.0.1", "::1"], pki.now)
    verify_chain((certificate,), (certificate,), Purpose.SERVER, pki.now)
    for name in ("localhost", "127.0.0.1", "::1", "0:0::1"):
        check_server_name(certificate, name)
    for name in ("127.0.0.2", "::2", "server"):
        with pytest.raises(AlertError):
            check_server_name(certificate, name)
    with pytest.raises(AlertError) as caught:
        verify_chain((certificate,), (pki.root.certificate,), Purpose.SERVER, pki.now)
    assert caught.value.alert == AlertDescription.UNKNOWN_CA
    with pytest.raises(AlertError) as caught:
        verify_chain((certificate,), (certificate,), Purpose.SERVER, pki.now + 11 * DAY)
    assert caught.value.alert == AlertDescription.CERTIFICATE_EXPIRED


def test_self_signed_certificate_can_not_issue(pki: Any) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pinned = pki.make_root("pinned", key)
    certificate = pinned.issue("pinned", key)
    leaf = pinned.issue("", pki.keys["p256"])
    with pytest.raises(AlertError) as caught:
        verify_chain((leaf,), (certificate,), Purpose.SERVER, pki.now)
    assert caught.value.alert == AlertDescription.UNKNOWN_CA


def test_ed25519_all_the_way(pki: Any) -> None:
    root = pki.make_root("root of Ed25519", ed25519.Ed25519PrivateKey.generate())
    child = root.sub_authority("child", key=ed25519.Ed25519PrivateKey.generate())
    leaf = child.issue("", pki.keys["ed25519"])
    accept(pki, [leaf, child.certificate], root)
    assert refusal(pki, [leaf], root) == AlertDescription.UNKNOWN_CA


def test_roots_of_the_system_are_used(pki: Any) -> None:
    with pytest.raises(AlertError) as caught:
        verify_chain((pki.root.issue("", pki.keys["p256"]),), None, Purpose.SERVER, pki.now)
    assert caught.value.alert == AlertDescription.UNKNOWN_CA


def test_no_roots_trust_nobody(pki: Any) -> None:
    with pytest.raises(AlertError) as caught:
        verify_chain((pki.root.issue("", pki.keys["p256"]),), (), Purpose.SERVER, pki.now)
    assert caught.value.alert == AlertDescription.UNKNOWN_CA


def test_names_that_can_not_be_parsed(pki: Any) -> None:
    der = pki.root.certificate.public_bytes(Encoding.DER)
    intermediate = x509.load_der_x509_certificate(der.replace(b"root", b"\xff" * 4))
    good = pki.make_root("other root").issue("", pki.keys["p256"])
    assert refusal(pki, [good, intermediate]) == AlertDescription.BAD_CERTIFICATE


def test_library_that_can_not_name_the_culprit(pki: Any) -> None:
    """Found by a damaged handshake: the library fails to parse the name that it wants to report."""
    der = pki.root.issue("leaf name", pki.keys["p256"], days=(-5, -1)).public_bytes(Encoding.DER)
    leaf = x509.load_der_x509_certificate(der.replace(b"leaf name", b"\xff" * 9))
    assert refusal(pki, [leaf]) == AlertDescription.BAD_CERTIFICATE
