"""Key logs in the NSS format: the secrets of connections by the random of their ClientHello."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from endpoint.tls.keylog import KEY_LOG_LABELS
from endpoint.tls.messages import RANDOM_LENGTH

_LABELS: Final = frozenset(KEY_LOG_LABELS.values())
# Hash lengths of the cipher suites: SHA-256 and SHA-384.
_SECRET_LENGTHS: Final = frozenset((32, 48))


class KeyLogError(Exception):
    """A key log can't be used. The message names the file."""


@dataclass(frozen=True, slots=True)
class KeyLog:
    """`secrets[client_random][label]`; `damaged` has the numbers of lines that are none of the format."""

    secrets: Mapping[bytes, Mapping[str, bytes]] = field(default_factory=dict)
    damaged: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "KeyLog":
        """Comments and other labels are skipped. A line may be cut off where a program was killed."""
        secrets: dict[bytes, dict[str, bytes]] = {}
        damaged = []
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split()
            if not words or line.startswith("#") or (len(words) == 3 and words[0] not in _LABELS):
                continue
            secret = _parse_line(words)
            if secret is None:
                damaged.append(number)
            else:
                client_random, value = secret
                secrets.setdefault(client_random, {}).setdefault(words[0], value)
        return cls(secrets, tuple(damaged))

    @classmethod
    def read(cls, file: Path) -> "KeyLog":
        """Raises KeyLogError for a file that can't be read or is something else."""
        try:
            text = file.read_text("ascii")
        except OSError as error:
            raise KeyLogError(f"key log {file}: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise KeyLogError(f"key log {file}: not a text in the NSS format") from error
        log = cls.parse(text)
        if log.damaged and not log.secrets:
            raise KeyLogError(f"key log {file}: line {log.damaged[0]} is not LABEL CLIENT_RANDOM SECRET")
        return log


def _parse_line(words: list[str]) -> tuple[bytes, bytes] | None:
    if len(words) != 3:
        return None
    try:
        client_random, secret = bytes.fromhex(words[1]), bytes.fromhex(words[2])
    except ValueError:
        return None
    whole = len(client_random) == RANDOM_LENGTH and len(secret) in _SECRET_LENGTHS
    return (client_random, secret) if whole else None
