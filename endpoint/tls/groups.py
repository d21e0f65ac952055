"""Key exchange groups (RFC 9846 §4.2.8.2; X25519MLKEM768: draft-ietf-tls-ecdhe-mlkem).

Private keys come from the caller's random function, so that a ClientHello can be repeated in a test.
Only the encapsulation of ML-KEM draws from the library's own source.
"""

from collections.abc import Callable
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from endpoint.errors import AlertDescription, AlertError

Random = Callable[[int], bytes]

SECP256R1 = 0x0017
SECP384R1 = 0x0018
X25519 = 0x001D
X25519MLKEM768 = 0x11EC

_X25519_LENGTH = 32
_MLKEM768_SEED_LENGTH = 64
_MLKEM768_KEY_LENGTH = 1184
_MLKEM768_CIPHERTEXT_LENGTH = 1088


class KeyShare(Protocol):
    """The client's half of an exchange: what it sends, and the secret once the server has answered."""

    @property
    def group(self) -> int: ...

    @property
    def public(self) -> bytes: ...

    def shared_secret(self, peer: bytes) -> bytes:
        """The secret that `peer`, the server's key_exchange, completes. Raises AlertError on a bad share."""
        ...


def _bad_share(group: int) -> AlertError:
    return AlertError(AlertDescription.ILLEGAL_PARAMETER, f"invalid key share of group 0x{group:04x}")


class _X25519Share:
    __slots__ = ("_private", "public")

    group = X25519

    def __init__(self, random: Random) -> None:
        self._private = X25519PrivateKey.from_private_bytes(random(_X25519_LENGTH))
        self.public = self._private.public_key().public_bytes_raw()

    def shared_secret(self, peer: bytes) -> bytes:
        try:
            # Raises for a wrong length and for the all-zero secret (RFC 9846 §7.4.2).
            return self._private.exchange(X25519PublicKey.from_public_bytes(peer))
        except ValueError:
            raise _bad_share(self.group) from None


class _EcShare:
    __slots__ = ("_private", "group", "public")

    def __init__(self, group: int, random: Random) -> None:
        curve = _CURVES[group]
        self.group = group
        # 64 bits more than the order has make the bias of the reduction negligible (FIPS 186-5 §A.2.1).
        wide = int.from_bytes(random(curve.key_size // 8 + 8), "big")
        self._private = ec.derive_private_key(wide % (curve.group_order - 1) + 1, curve)
        self.public = self._private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def shared_secret(self, peer: bytes) -> bytes:
        # RFC 9846 §4.2.8.2: the uncompressed form only; the library checks that the point is on the curve.
        if len(peer) != len(self.public) or peer[0] != 4:
            raise _bad_share(self.group)
        try:
            point = ec.EllipticCurvePublicKey.from_encoded_point(self._private.curve, peer)
            return self._private.exchange(ec.ECDH(), point)
        except ValueError:
            raise _bad_share(self.group) from None


class _X25519MlKem768Share:
    """ML-KEM first, X25519 after it, in the shares as in the secret."""

    __slots__ = ("_mlkem", "_x25519", "public")

    group = X25519MLKEM768

    def __init__(self, random: Random) -> None:
        self._mlkem = MLKEM768PrivateKey.from_seed_bytes(random(_MLKEM768_SEED_LENGTH))
        self._x25519 = _X25519Share(random)
        self.public = self._mlkem.public_key().public_bytes_raw() + self._x25519.public

    def shared_secret(self, peer: bytes) -> bytes:
        if len(peer) != _MLKEM768_CIPHERTEXT_LENGTH + _X25519_LENGTH:
            raise _bad_share(self.group)
        mlkem_secret = self._mlkem.decapsulate(peer[:_MLKEM768_CIPHERTEXT_LENGTH])
        return mlkem_secret + self._x25519.shared_secret(peer[_MLKEM768_CIPHERTEXT_LENGTH:])


_CURVES: dict[int, ec.EllipticCurve] = {SECP256R1: ec.SECP256R1(), SECP384R1: ec.SECP384R1()}

GROUPS: dict[int, str] = {
    X25519: "x25519",
    SECP256R1: "secp256r1",
    SECP384R1: "secp384r1",
    X25519MLKEM768: "X25519MLKEM768",
}


def generate_key_share(group: int, random: Random) -> KeyShare:
    """A fresh key of a group of `GROUPS`."""
    if group == X25519:
        return _X25519Share(random)
    if group == X25519MLKEM768:
        return _X25519MlKem768Share(random)
    return _EcShare(group, random)


def answer_key_share(group: int, peer: bytes, random: Random) -> tuple[bytes, bytes]:
    """The server's half: (key_exchange to send, shared secret) for the client's share `peer`.

    Raises AlertError(illegal_parameter) on a share that is not one of the group.
    """
    if group != X25519MLKEM768:
        share = generate_key_share(group, random)
        return share.public, share.shared_secret(peer)
    if len(peer) != _MLKEM768_KEY_LENGTH + _X25519_LENGTH:
        raise _bad_share(group)
    try:
        # Checks the encapsulation key's modulus (FIPS 203 §7.2), as the draft demands.
        mlkem_secret, ciphertext = MLKEM768PublicKey.from_public_bytes(
            peer[:_MLKEM768_KEY_LENGTH]
        ).encapsulate()
    except (ValueError, UnsupportedAlgorithm):
        raise _bad_share(group) from None
    x25519 = _X25519Share(random)
    secret = mlkem_secret + x25519.shared_secret(peer[_MLKEM768_KEY_LENGTH:])
    return ciphertext + x25519.public, secret
