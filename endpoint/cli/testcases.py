"""The interop runner's test cases as data: what each one changes, and nothing else.

`python -m endpoint.cli.testcases` ends with 0 if `TESTCASE` is supported for `ROLE` and with 127 if not.
It imports next to nothing, so that the answer can't be spoilt by a missing file, certificate or request.
"""

import os
import sys
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from endpoint.config import Config
from endpoint.hq import ALPN as HQ
from endpoint.http.requests import ALPN as H3
from endpoint.wire.version import QUIC_V1, QUIC_V2

UNSUPPORTED: Final = 127
TLS_CHACHA20_POLY1305_SHA256: Final = 0x1303


class Role(StrEnum):
    """Values of the runner's variable `ROLE`."""

    CLIENT = "client"
    SERVER = "server"


# What the settings of every case begin with. 30 % loss in both directions has been seen to stretch a
# handshake over a minute, and an attempt that is given up and started anew is one handshake too many: so
# both timeouts leave giving up to the runner. The windows are well below the files of "transfer", so that
# they have to be raised. Probes for a larger MTU are among the bytes that "zerortt" counts, and gain little.
# Only "v2" allows a server's Initial packets another version than 1, so no other case offers one.
_CONFIG: Final = Config(
    max_idle_timeout=120.0,
    handshake_timeout=240.0,
    initial_max_data=512 * 1024,
    initial_max_stream_data=256 * 1024,
    pmtud=False,
    # The runner's dissector has to know every packet for QUIC; some versions look at the fixed bit for that.
    grease=False,
    versions=(QUIC_V1,),
)
# Packets either way after which the keys are changed. The first change has to come within the first MB,
# some 800 packets; it need not be the only one.
_KEY_UPDATE_AFTER: Final = 400
# RFC 9000 §15: a version that no server speaks.
_RESERVED_VERSION: Final = 0x1A2A3A4A


@dataclass(frozen=True, slots=True, kw_only=True)
class InteropCase:
    """One value of `TESTCASE`. A field that is not set leaves the ordinary behaviour as it is."""

    name: str
    roles: frozenset[Role] = frozenset(Role)
    config: Config = _CONFIG
    # Client: what it asks for. The server has both protocols in every case.
    alpn: str = HQ
    # The only suites to offer (client) and to accept (server); None for the usual ones.
    cipher_suites: tuple[int, ...] | None = None
    # Client: a connection for each URL, one after the other, instead of one for all of them.
    connection_per_url: bool = False
    # Server: no connection without a Retry.
    always_retry: bool = False
    # Server: give session tickets. Client: the first URL alone, the others over a connection that resumes.
    resume: bool = False
    # With `resume`: what can be asked for in 0-RTT packets is. Server: accept that.
    early_data: bool = False
    # Server: tell clients to move to another port of the same addresses.
    preferred_address: bool = False
    # Server: whoever is started with the same private key can reset this one's connections (RFC 9000 §10.3).
    keep_reset_key: bool = False
    # Client: a URL without a file name is no error; there is only a handshake to be made.
    allow_no_file: bool = False


_CASES: Final = (
    InteropCase(name="handshake"),
    InteropCase(name="transfer"),
    InteropCase(name="chacha20", cipher_suites=(TLS_CHACHA20_POLY1305_SHA256,)),
    InteropCase(name="multiconnect", connection_per_url=True),
    InteropCase(name="retry", always_retry=True),
    InteropCase(name="resumption", resume=True),
    InteropCase(name="zerortt", resume=True, early_data=True),
    InteropCase(name="http3", alpn=H3),
    InteropCase(name="keyupdate", config=replace(_CONFIG, key_update_after=_KEY_UPDATE_AFTER)),
    # Marking is the default: what is special about this case is only what the runner looks at.
    InteropCase(name="ecn"),
    InteropCase(name="v2", config=replace(_CONFIG, versions=(QUIC_V2, QUIC_V1))),
    InteropCase(name="connectionmigration", preferred_address=True),
    InteropCase(
        name="versionnegotiation",
        roles=frozenset({Role.CLIENT}),
        config=replace(_CONFIG, initial_version=_RESERVED_VERSION),
        allow_no_file=True,
    ),
    InteropCase(name="versionnegotiation", roles=frozenset({Role.SERVER})),
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
