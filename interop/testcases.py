"""The interop runner's test cases as data: names, files, network, time limit and checks."""

from dataclasses import dataclass, replace
from typing import Any, Final

from interop import checks, path_checks
from interop.checks import Check
from interop.simnet import impairments
from interop.simnet.impairments import Scenario

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB
_CONNECTIONS: Final = 50
_FEW: Final = 10

_ONE: Final = (checks.handshakes(1), checks.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestCase:
    """One test of the runner, over its own network.

    `client` and `server` are what the two see as TESTCASE; the files' `sizes` are in bytes, the `limit` of
    time, which covers everything, in seconds. Each case also has its files compared and the key logs and,
    unless the network loses or damages packets at random, the whole captures examined.
    """

    __test__ = False  # what pytest asks of a class with such a name

    name: str
    client: str
    server: str
    sizes: tuple[int, ...]
    checks: tuple[Check, ...]
    scenario: Scenario = impairments.SIMPLE
    host: str = "server4"
    limit: float = 60.0
    # Length of the certificate chain; the leaf of one that is longer than 1 has 20 long names.
    certificates: int = 1
    # Length of the names of files, made of letters only; 0 for short words.
    name_length: int = 0

    def shortened(self) -> "TestCase":
        """The same case, where it makes many connections with a few of them instead."""
        if len(self.sizes) != _CONNECTIONS:
            return self
        return replace(self, sizes=(_KIB,) * _FEW, checks=(checks.handshakes(_FEW), checks.version))

    def all_checks(self) -> tuple[Check, ...]:
        """The case's own and those of every case."""
        # The dissector needs the packets of a handshake, in order.
        more = () if self.scenario.is_random else (checks.dissected,)
        return (checks.files, checks.key_log, *self.checks, *more)


def _case(name: str, testcase: str, sizes: tuple[int, ...], *own: Check, **more: Any) -> TestCase:
    return TestCase(name=name, client=testcase, server=testcase, sizes=sizes, checks=(*_ONE, *own), **more)


def _many(name: str, **more: Any) -> TestCase:
    """A connection per file, which all have to come about at the first attempt."""
    return TestCase(
        name=name,
        client="multiconnect",
        server="multiconnect",
        sizes=(_KIB,) * _CONNECTIONS,
        checks=(checks.handshakes(_CONNECTIONS), checks.version),
        limit=300.0,
        **more,
    )


TEST_CASES: Final = (
    _case("handshake", "handshake", (_KIB,), checks.no_retry),
    _case("transfer", "transfer", (2 * _MIB, 3 * _MIB, 5 * _MIB)),
    _case("longrtt", "handshake", (_KIB,), checks.repeated_client_hello, scenario=impairments.LONG_RTT),
    _case("chacha20", "chacha20", (3 * _MIB,), checks.only_chacha20),
    _case("multiplexing", "transfer", (32,) * 1999, checks.stream_limit),
    _case("retry", "retry", (10 * _KIB,), checks.retry),
    TestCase(
        name="resumption",
        client="resumption",
        server="resumption",
        sizes=(5 * _KIB, 10 * _KIB),
        checks=(checks.handshakes(2), checks.version, checks.resumption),
    ),
    TestCase(
        name="zerortt",
        client="zerortt",
        server="zerortt",
        sizes=(32,) * 40,
        name_length=250,
        checks=(checks.handshakes(2), checks.version, checks.early_data),
    ),
    _case("blackhole", "transfer", (10 * _MIB,), scenario=impairments.BLACKHOLE),
    TestCase(
        name="keyupdate",
        client="keyupdate",
        server="transfer",
        sizes=(3 * _MIB,),
        checks=(*_ONE, checks.key_update),
    ),
    _case("ecn", "ecn", (100 * _KIB,), checks.no_retry, checks.ecn),
    _case(
        "amplificationlimit",
        "transfer",
        (5 * _KIB,),
        checks.amplification,
        scenario=impairments.DROPLIST,
        certificates=9,
    ),
    _many("handshakeloss", scenario=impairments.drop_rate(0.3)),
    _case("transferloss", "transfer", (2 * _MIB,), scenario=impairments.drop_rate(0.02)),
    _many("handshakecorruption", scenario=impairments.corrupt_rate(0.3)),
    _case("transfercorruption", "transfer", (2 * _MIB,), scenario=impairments.corrupt_rate(0.02)),
    _case("ipv6", "transfer", (5 * _KIB, 10 * _KIB), checks.only_ipv6, host="server6"),
    TestCase(name="v2", client="v2", server="v2", sizes=(_KIB,), checks=(checks.version_2,)),
    _case(
        "rebind-port",
        "transfer",
        (10 * _MIB,),
        path_checks.challenged_paths,
        scenario=impairments.REBIND_PORT,
    ),
    _case(
        "rebind-addr",
        "transfer",
        (10 * _MIB,),
        path_checks.challenged_paths,
        path_checks.changed_address,
        scenario=impairments.REBIND_ADDRESS,
    ),
    TestCase(
        name="connectionmigration",
        client="transfer",
        server="connectionmigration",
        sizes=(2 * _MIB,),
        checks=(*_ONE, path_checks.challenged_paths, path_checks.fresh_connection_ids),
        host="server46",
    ),
    # Not in the runner's list, but in the runner.
    _case("versionnegotiation", "versionnegotiation", (_KIB,), checks.version_negotiation),
)
