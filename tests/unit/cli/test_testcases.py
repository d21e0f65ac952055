import subprocess
import sys

import pytest

from endpoint.cli import testcases
from endpoint.cli.testcases import UNSUPPORTED, Role, find_case, supported_cases
from endpoint.wire.version import QUIC_V1, QUIC_V2, is_reserved_version

CASES = (
    "handshake",
    "transfer",
    "chacha20",
    "multiconnect",
    "retry",
    "resumption",
    "zerortt",
    "http3",
    "keyupdate",
    "ecn",
    "v2",
    "connectionmigration",
    "versionnegotiation",
)


@pytest.mark.parametrize("role", list(Role))
def test_both_roles_support_the_cases_of_the_table(role: Role) -> None:
    assert supported_cases(role) == CASES
    for name in CASES:
        case = find_case(name, role)
        assert case is not None
        assert case.name == name


@pytest.mark.parametrize("name", ["", "Handshake", "handshake ", "longrtt", "x" * 300])
def test_a_name_that_is_not_in_the_table_is_no_case(name: str) -> None:
    assert find_case(name, "client") is None


@pytest.mark.parametrize("role", ["", "SERVER", "proxy"])
def test_a_role_that_does_not_exist_supports_nothing(role: str) -> None:
    assert find_case("handshake", role) is None


def test_chacha20_allows_one_suite() -> None:
    case = find_case("chacha20", "client")
    assert case is not None
    assert case.cipher_suites == (0x1303,)


def test_windows_are_well_below_the_files_of_transfer() -> None:
    case = find_case("transfer", "client")
    assert case is not None
    smallest_file = 2 * 1024 * 1024
    assert case.config.initial_max_stream_data * 4 <= smallest_file
    assert case.config.initial_max_data * 4 <= smallest_file


def test_streams_and_timeouts_are_what_the_runner_needs() -> None:
    for name in CASES:
        case = find_case(name, "server")
        assert case is not None
        assert 40 <= case.config.initial_max_streams_bidi <= 1000
        assert case.config.max_idle_timeout >= 60
        assert case.config.handshake_timeout >= 60
        # An initial RTT of 500 ms or more would repeat the ClientHello too late for a round trip of 1.5 s.
        assert case.config.initial_rtt < 0.5
        assert case.config.ecn
        assert not case.config.pmtud


@pytest.mark.parametrize("role", list(Role))
def test_only_v2_offers_another_version(role: Role) -> None:
    """A peer that prefers version 2 would change to it, and the runner counts that as a failure."""
    for name in CASES:
        case = find_case(name, role)
        assert case is not None
        assert case.config.versions == ((QUIC_V2, QUIC_V1) if name == "v2" else (QUIC_V1,))
        begins_elsewhere = name == "versionnegotiation" and role is Role.CLIENT
        assert (case.config.initial_version == QUIC_V1) is not begins_elsewhere
        assert is_reserved_version(case.config.initial_version) is begins_elsewhere


def test_what_a_case_does_not_name_stays_off() -> None:
    switches = {
        "retry": {"always_retry"},
        "resumption": {"resume"},
        "zerortt": {"resume", "early_data"},
        "connectionmigration": {"preferred_address"},
    }
    for name in CASES:
        case = find_case(name, "server")
        assert case is not None
        on = {
            field
            for field in ("always_retry", "resume", "early_data", "preferred_address")
            if getattr(case, field)
        }
        assert on == switches.get(name, set())


@pytest.mark.parametrize(
    ("environment", "status"),
    [
        ({"ROLE": "client", "TESTCASE": "transfer"}, 0),
        ({"ROLE": "server", "TESTCASE": "transfer"}, 0),
        ({"ROLE": "server", "TESTCASE": "xylophone"}, UNSUPPORTED),
        ({"ROLE": "client"}, UNSUPPORTED),
        ({"TESTCASE": "transfer"}, UNSUPPORTED),
    ],
)
def test_the_module_answers_with_its_exit_status(environment: dict[str, str], status: int) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", testcases.__name__], env=environment, capture_output=True, check=False
    )
    assert answer.returncode == status
    # The runner searches all output for words about status 127: there must be none.
    assert answer.stdout == b""
    assert answer.stderr == b""
