"""Keys with which a server seals what clients keep for it: session tickets, address tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# Nothing sealed is of use for longer, in seconds: RFC 9846 §4.6.1 says so of tickets.
MAX_LIFETIME = 7 * 24 * 3600.0

_KEY_NAME_LENGTH = 16
_KEY_LENGTH = 32
_NONCE_LENGTH = 12
_FILE_HEADER = "interquic keys 1"
# A bound on the file, and on what is kept when an application rotates often.
_MAX_KEYS = 64


@dataclass(frozen=True, slots=True)
class RingKey:
    """One key of a ring: 16 bytes of name, 32 of key. `created` is wall clock time in whole seconds."""

    created: int
    name: bytes
    key: bytes = field(repr=False)


class KeyRing:
    """A ring of keys: the newest seals, all others still open what they have sealed.

    Session tickets and address tokens need no other state, so servers that share a ring resume each other's
    sessions and know each other's clients. Share by giving all of them the same `dump`. Whoever has the keys
    can read the 0-RTT data of the sessions.
    """

    __slots__ = ("_aeads", "_keys", "_period", "_random")

    def __init__(self, random: Callable[[int], bytes], keys: Sequence[RingKey], period: float | None) -> None:
        """See `generate` and `load`, which are the usual ways. `keys` has one or more, in any order."""
        self._random = random
        self._period = period
        self._keys = sorted(keys, key=lambda each: each.created, reverse=True)
        self._aeads = {each.name: AESGCM(each.key) for each in keys}

    @classmethod
    def generate(
        cls, random: Callable[[int], bytes], now: float, *, period: float | None = 24 * 3600.0
    ) -> "KeyRing":
        """A ring with a fresh key, which gets another one every `period` seconds as it is used.

        With None there is a new key only when `rotate` is called.
        """
        return cls(random, [_new_key(random, now)], period)

    @classmethod
    def load(cls, data: bytes, random: Callable[[int], bytes], *, period: float | None = None) -> "KeyRing":
        """The ring that `dump` gave. Raises ValueError for anything else.

        By default without rotation by time: servers that share a ring have to get the new keys together.
        """
        try:
            header, *lines = data.decode("ascii").splitlines()
            keys = [_parse_key(line) for line in lines]
        except ValueError as error:
            raise ValueError("not a key file, or a damaged one") from error
        if header != _FILE_HEADER or not 1 <= len(keys) <= _MAX_KEYS:
            raise ValueError("not a key file, or one without a key, or with too many")
        if len({each.name for each in keys}) != len(keys):
            raise ValueError("two keys have the same name")
        return cls(random, keys, period)

    def dump(self) -> bytes:
        """The content of a key file: a line of text for each key. Secret."""
        lines = [f"{each.created} {each.name.hex()} {each.key.hex()}" for each in self._keys]
        return "\n".join((_FILE_HEADER, *lines, "")).encode("ascii")

    def rotate(self, now: float) -> None:
        """Seal with a new key from now on, and forget those of which nothing valid can be left."""
        keys = [_new_key(self._random, now)]
        for key in self._keys[: _MAX_KEYS - 1]:
            # The one before it was made when this one sealed its last.
            if now - keys[-1].created > MAX_LIFETIME:
                break
            keys.append(key)
        self._keys = keys
        self._aeads = {each.name: self._aeads.get(each.name) or AESGCM(each.key) for each in keys}

    def seal(self, plaintext: bytes, purpose: bytes, now: float) -> bytes:
        """The name of the key, the nonce, and what AES-256-GCM makes of `plaintext`.

        `purpose` is authenticated with it: what is sealed for one purpose does not open for another.
        """
        if self._period is not None and now - self._keys[0].created >= self._period:
            self.rotate(now)
        name = self._keys[0].name
        nonce = self._random(_NONCE_LENGTH)
        return name + nonce + self._aeads[name].encrypt(nonce, plaintext, purpose)

    def open(self, sealed: bytes, purpose: bytes) -> bytes | None:
        """The plaintext, or None for what no key of the ring has sealed for this purpose."""
        aead = self._aeads.get(sealed[:_KEY_NAME_LENGTH])
        if aead is None:
            return None
        start = _KEY_NAME_LENGTH + _NONCE_LENGTH
        try:
            return aead.decrypt(sealed[_KEY_NAME_LENGTH:start], sealed[start:], purpose)
        except (InvalidTag, ValueError):  # ValueError: a nonce that is cut short
            return None


def _new_key(random: Callable[[int], bytes], now: float) -> RingKey:
    return RingKey(int(now), random(_KEY_NAME_LENGTH), random(_KEY_LENGTH))


def _parse_key(line: str) -> RingKey:
    """One line of a key file. Raises ValueError."""
    created, name, key = line.split(" ")
    parsed = RingKey(int(created), bytes.fromhex(name), bytes.fromhex(key))
    if (len(parsed.name), len(parsed.key)) != (_KEY_NAME_LENGTH, _KEY_LENGTH):
        raise ValueError("not a key")
    return parsed
