"""The interop runner's test cases as data: what each one changes, and nothing else.

`python -m endpoint.cli.testcases` ends with 0 if `TESTCASE` is supported for `ROLE` and with 127 if not.
It imports next to nothing, so that the answer can't be spoilt by a missing file, certificate or request.
"""

import os
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from endpoint.config import Config

UNSUPPORTED: Final = 127
TLS_CHACHA20_POLY1305_SHA256: Final = 0x1303


class Role(StrEnum):
    """Values of the runner's variable `ROLE`."""

    CLIENT = "client"
    SERVER = "server"


# Every case so far runs on these settings. 30 % loss in both directions has been seen to stretch a
# handshake over a minute, and an attempt that is given up and started anew is one handshake too many: so
# both timeouts leave giving up to the runner. The windows are well below the files of "transfer", so that
# they have to be raised. Probes for a larger MTU are among the bytes that "zerortt" counts, and gain little.
_CONFIG: Final = Config(
    max_idle_timeout=120.0,
    handshake_timeout=240.0,
    initial_max_data=512 * 1024,
    initial_max_stream_data=256 * 1024,
    pmtud=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InteropCase:
    """One value of `TESTCASE`. A field that is not set leaves the ordinary behaviour as it is."""

    name: str
    roles: frozenset[Role] = frozenset(Role)
    config: Config = _CONFIG
    # The only suites to offer (client) and to accept (server); None for the usual ones.
    cipher_suites: tuple[int, ...] | None = None
    # Client: a connection for each URL, one after the other, instead of one for all of them.
    connection_per_url: bool = False


_CASES: Final = (
    InteropCase(name="handshake"),
    InteropCase(name="transfer"),
    InteropCase(name="chacha20", cipher_suites=(TLS_CHACHA20_POLY1305_SHA256,)),
    InteropCase(name="multiconnect", connection_per_url=True),
)


def supported_cases(role: Role) -> tuple[str, ...]:
    """The names of the cases that `role` takes part in, in the order of the table."""
    return tuple(case.name for case in _CASES if role in case.roles)


def find_case(name: str, role: str) -> InteropCase | None:
    """The case of that name if `role` supports it, else None; any strings are fine."""
    for case in _CASES:
        if case.name == name and role in case.roles:
            return case
    return None


def main() -> int:
    """Exit status 0 if the environment asks for something we do, 127 if it does not."""
    case = find_case(os.environ.get("TESTCASE", ""), os.environ.get("ROLE", ""))
    return 0 if case is not None else UNSUPPORTED


if __name__ == "__main__":
    sys.exit(main())
