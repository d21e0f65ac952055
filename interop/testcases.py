"""The test cases of the matrix as data: names, files, network, time limit and checks.

`STANDARD`, `MEASUREMENTS` and the unlisted case are the interop runner's. `EXTRA` are ours. Most give the
same values of TESTCASE another network, so they work with any endpoint of the runner; where a side has to do
what the runner can't ask for, its value of TESTCASE is one of `interop.roles`, and the other side's is not.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from interop import checks, own_checks, path_checks
from interop.checks import Check
from interop.dissect.model import Side
from interop.simnet import impairments
from interop.simnet.impairments import Scenario
from interop.strict_checks import STRICT, acknowledgements

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB
_CONNECTIONS: Final = 50
_FEW: Final = 10

_ONE: Final = (checks.handshakes(1), checks.version)


class Group(StrEnum):
    """Where a case comes from, and whether more than success is asked of it."""

    STANDARD = "standard"
    # In the interop runner, but not in its list.
    UNLISTED = "unlisted"
    MEASUREMENT = "measurements"
    EXTRA = "extra"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestCase:
    """One test of the runner, over its own network.

    `client` and `server` are what the two see as TESTCASE; the files' `sizes` are in bytes, the `limit` of
    time, which covers everything, in seconds. `abbreviation` is the one of the runner's tables. Each case
    also has its files compared and the key logs and, unless the network loses or damages packets at random,
    the whole captures examined.
    """

    __test__ = False  # what pytest asks of a class with such a name

    name: str
    abbreviation: str
    summary: str
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
    group: Group = Group.STANDARD
    # Its checks look into packets: without a key log of either side there is no verdict.
    needs_keys: bool = False
    # Periods in which the client's process stands still, in seconds since its start.
    pauses: tuple[tuple[float, float], ...] = ()
    # The server is killed, and started anew, when the client has got so many bytes; 0: it is not.
    restart_after: int = 0
    # The connection ends before the files are there: neither these nor the client's status are looked at.
    ends_early: bool = False
    # Of checks that decide other cases those that are asked for here, but don't decide.
    stricter: tuple[Check, ...] = ()
    # Strict checks that do not apply, because a side breaks their rules on purpose.
    breaches: tuple[Check, ...] = ()

    def shortened(self) -> "TestCase":
        """The same case, where it makes many connections with a few of them instead."""
        if len(self.sizes) != _CONNECTIONS:
            return self
        return replace(self, sizes=(_KIB,) * _FEW, checks=_connections(_FEW, self.scenario))

    def all_checks(self) -> tuple[Check, ...]:
        """The case's own and those of every case."""
        files = () if self.ends_early else (checks.files,)
        return (*files, checks.no_flood, *self.checks, *self.strict_checks())

    def strict_checks(self) -> tuple[Check, ...]:
        """What the runner doesn't ask for, and what therefore doesn't decide the verdict."""
        # The dissector needs the packets of a handshake, in order.
        whole = () if self.scenario.is_random else (checks.dissected,)
        usual = (check for check in STRICT if check not in self.breaches)
        return (checks.key_log, *whole, *self.stricter, *usual)


def _connections(count: int, scenario: Scenario) -> tuple[Check, ...]:
    """What is asked of so many connections in one run."""
    return (checks.handshakes(count, damaged=scenario.damages), checks.version)


def _case(
    name: str,
    abbreviation: str,
    summary: str,
    testcase: str,
    sizes: tuple[int, ...],
    *own: Check,
    **more: Any,
) -> TestCase:
    """A case with one connection, unless `more` has other checks; its sides see the same TESTCASE."""
    usual = (*_connections(1, more.get("scenario", impairments.SIMPLE)), *own)
    fields: dict[str, Any] = {"client": testcase, "server": testcase, "checks": usual} | more
    return TestCase(name=name, abbreviation=abbreviation, summary=summary, sizes=sizes, **fields)


def _many(name: str, abbreviation: str, summary: str, scenario: Scenario) -> TestCase:
    """A connection per file, which all have to come about at the first attempt."""
    wanted = _connections(_CONNECTIONS, scenario)
    sizes = (_KIB,) * _CONNECTIONS
    return _case(
        name, abbreviation, summary, "multiconnect", sizes, checks=wanted, limit=300.0, scenario=scenario
    )


STANDARD: Final = (
    _case("handshake", "H", "a handshake and a small file", "handshake", (_KIB,), checks.no_retry),
    _case("transfer", "DC", "files side by side, windows raised", "transfer", (2 * _MIB, 3 * _MIB, 5 * _MIB)),
    _case(
        "longrtt",
        "LR",
        "a handshake over a round trip of 1.5 s",
        "handshake",
        (_KIB,),
        checks.repeated_client_hello,
        scenario=impairments.LONG_RTT,
    ),
    _case("chacha20", "C20", "only ChaCha20-Poly1305", "chacha20", (3 * _MIB,), checks.only_chacha20),
    _case(
        "multiplexing",
        "M",
        "1999 files, at most 1000 streams at once",
        "transfer",
        (32,) * 1999,
        checks.stream_limit,
        needs_keys=True,
    ),
    _case("retry", "S", "a Retry comes first", "retry", (10 * _KIB,), checks.retry),
    _case(
        "resumption",
        "R",
        "a second connection without certificate",
        "resumption",
        (5 * _KIB, 10 * _KIB),
        checks=(checks.handshakes(2), checks.version, checks.resumption),
        needs_keys=True,
    ),
    _case(
        "zerortt",
        "Z",
        "requests in 0-RTT packets",
        "zerortt",
        (32,) * 40,
        name_length=250,
        checks=(checks.handshakes(2), checks.version, checks.early_data),
    ),
    _case("http3", "3", "files over HTTP/3", "http3", (5 * _KIB, 10 * _KIB, 500 * _KIB)),
    _case(
        "blackhole", "B", "two seconds of nothing", "transfer", (10 * _MIB,), scenario=impairments.BLACKHOLE
    ),
    _case(
        "keyupdate",
        "U",
        "new keys within the first megabyte",
        "keyupdate",
        (3 * _MIB,),
        checks.key_update,
        server="transfer",
        needs_keys=True,
    ),
    _case(
        "ecn",
        "E",
        "marks and their counts",
        "ecn",
        (100 * _KIB,),
        checks.no_retry,
        checks.ecn,
        needs_keys=True,
    ),
    _case(
        "amplificationlimit",
        "A",
        "ten kilobytes of certificates, and a client that is hardly heard",
        "transfer",
        (5 * _KIB,),
        checks.amplification,
        scenario=impairments.DROPLIST,
        certificates=9,
        needs_keys=True,
    ),
    _many("handshakeloss", "L1", "50 handshakes at 30 % loss", impairments.drop_rate(0.3)),
    _case(
        "transferloss",
        "L2",
        "a file at 2 % loss",
        "transfer",
        (2 * _MIB,),
        scenario=impairments.drop_rate(0.02),
    ),
    _many("handshakecorruption", "C1", "50 handshakes at 30 % damage", impairments.corrupt_rate(0.3)),
    _case(
        "transfercorruption",
        "C2",
        "a file at 2 % damage",
        "transfer",
        (2 * _MIB,),
        scenario=impairments.corrupt_rate(0.02),
    ),
    _case("ipv6", "6", "over IPv6", "transfer", (5 * _KIB, 10 * _KIB), checks.only_ipv6, host="server6"),
    _case("v2", "V2", "on to version 2 within the handshake", "v2", (_KIB,), checks=(checks.version_2,)),
    _case(
        "rebind-port",
        "BP",
        "the client's port changes",
        "transfer",
        (10 * _MIB,),
        path_checks.challenged_paths,
        scenario=impairments.REBIND_PORT,
        needs_keys=True,
    ),
    _case(
        "rebind-addr",
        "BA",
        "the client's address changes",
        "transfer",
        (10 * _MIB,),
        path_checks.challenged_paths,
        path_checks.changed_address,
        scenario=impairments.REBIND_ADDRESS,
        needs_keys=True,
    ),
    _case(
        "connectionmigration",
        "CM",
        "on to the server's preferred address",
        "connectionmigration",
        (2 * _MIB,),
        path_checks.challenged_paths,
        path_checks.fresh_connection_ids,
        client="transfer",
        host="server46",
        needs_keys=True,
    ),
)

UNLISTED: Final = (
    _case(
        "versionnegotiation",
        "VN",
        "a version that no server speaks",
        "versionnegotiation",
        (_KIB,),
        checks.version_negotiation,
        group=Group.UNLISTED,
    ),
)

# The runner repeats each of these five times.
MEASUREMENTS: Final = (
    _case("goodput", "G", "goodput of a download", "transfer", (10 * _MIB,), group=Group.MEASUREMENT),
    _case(
        "crosstraffic",
        "C",
        "goodput beside a TCP download",
        "transfer",
        (25 * _MIB,),
        group=Group.MEASUREMENT,
        scenario=impairments.CROSS_TRAFFIC,
        limit=180.0,
    ),
)

# How the client's process stands still: half a second of every second.
_STOPS: Final = tuple((second + 0.7, second + 1.2) for second in range(8))


def _extra(name: str, abbreviation: str, summary: str, testcase: str, *sizes: int, **more: Any) -> TestCase:
    return _case(name, abbreviation, summary, testcase, sizes, group=Group.EXTRA, **more)


EXTRA: Final = (
    _extra(
        "ecn-bleaching",
        "XE",
        "every mark is cleared on the way",
        "transfer",
        2 * _MIB,
        scenario=impairments.ECN_BLEACHED,
        checks=(*_ONE, own_checks.gave_up_marking),
    ),
    _extra(
        "ce-storm",
        "XC",
        "every marked packet arrives as congested",
        "transfer",
        512 * _KIB,
        scenario=impairments.CE_STORM,
    ),
    _extra(
        "mtu-blackhole",
        "XM",
        "IP packets of more than 1280 bytes vanish",
        "transfer",
        _MIB,
        scenario=impairments.MTU_BLACKHOLE,
    ),
    _extra(
        "rebind-handshake",
        "XB",
        "the client's port changes in the handshake",
        "transfer",
        _MIB,
        scenario=impairments.REBIND_HANDSHAKE,
        # A server may hold the address valid for a Handshake packet that comes from it (RFC 9000 §8.1).
        stricter=(path_checks.challenged_paths,),
    ),
    _extra(
        "shuffled", "XS", "packets come late and twice", "transfer", 2 * _MIB, scenario=impairments.SHUFFLED
    ),
    _extra(
        "shuffled-handshakes",
        "XH",
        "50 handshakes whose packets come late and twice",
        "multiconnect",
        *(_KIB,) * _CONNECTIONS,
        scenario=impairments.SHUFFLED,
        checks=(checks.handshakes(_CONNECTIONS), checks.version),
        limit=120.0,
    ),
    _extra(
        "keyupdate-loss",
        "XU",
        "both sides change keys while packets get lost and shuffled",
        "keyupdate",
        3 * _MIB,
        scenario=impairments.ROUGH,
        needs_keys=True,
    ),
    _extra(
        "keyupdate-storm-client",
        "XK",
        "a client that changes keys as often as it may, while packets get lost and shuffled",
        "keyupdatestorm",
        3 * _MIB,
        server="transfer",
        scenario=impairments.ROUGH,
        checks=(*_ONE, own_checks.followed_keys(Side.CLIENT)),
        needs_keys=True,
    ),
    _extra(
        "keyupdate-storm-server",
        "XL",
        "a server that changes keys as often as it may, while packets get lost and shuffled",
        "transfer",
        3 * _MIB,
        server="keyupdatestorm",
        scenario=impairments.ROUGH,
        checks=(*_ONE, own_checks.followed_keys(Side.SERVER)),
        needs_keys=True,
    ),
    _extra("slow-reader", "XR", "the client stands still half the time", "transfer", 5 * _MIB, pauses=_STOPS),
    _extra(
        "long-queue",
        "XQ",
        "a queue that holds a second of packets",
        "transfer",
        3 * _MIB,
        scenario=impairments.LONG_QUEUE,
    ),
    _extra(
        "optimistic-ack",
        "XA",
        "a client that acknowledges packets which never came",
        "optimisticack",
        3 * _MIB,
        server="transfer",
        limit=20.0,
        checks=(*_ONE, own_checks.caught_inventing_acks),
        needs_keys=True,
        ends_early=True,
        breaches=(acknowledgements,),
    ),
    _extra(
        "zerortt-retry",
        "XZ",
        "requests in 0-RTT packets are answered by a Retry, and sent again",
        "zerortt",
        *(32,) * 40,
        server="zerorttretry",
        name_length=250,
        checks=(checks.handshakes(2), checks.version, own_checks.early_data_after_retry),
        needs_keys=True,
    ),
    _extra(
        "server-restart",
        "XT",
        "the server is killed and started anew with the key of its stateless resets",
        "transfer",
        10 * _MIB,
        server="restart",
        limit=30.0,
        checks=(checks.version, own_checks.ended_by_reset),
        needs_keys=True,
        restart_after=_MIB,
        ends_early=True,
    ),
)

# The runner's cases that have a verdict, which is what an endpoint is held against.
TEST_CASES: Final = STANDARD + UNLISTED
ALL_CASES: Final = {case.name: case for case in (*TEST_CASES, *MEASUREMENTS, *EXTRA)}


def select(words: Iterable[str]) -> list[TestCase]:
    """The cases meant by names, abbreviations and groups ("all" for every one), in the order of the table.

    Raises ValueError for a word that means nothing.
    """
    wanted: set[str] = set()
    for word in words:
        found = {
            case.name
            for case in ALL_CASES.values()
            if word in {"all", case.name, case.abbreviation, case.group.value}
        }
        if not found:
            groups = ", ".join(["all", *Group])
            raise ValueError(f"no test {word!r}; there are {groups} and {', '.join(ALL_CASES)}")
        wanted |= found
    return [case for case in ALL_CASES.values() if case.name in wanted]
