"""Every test case of the interop runner between our own client and server, with its network and its checks.

Not part of an ordinary test run: `make contract`. There the cases with fifty connections make ten; all of
them with `make contract FULL=1`. `SIM_SEED` repeats the network's decisions.
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from contract.runner import run_case

from interop import checks, path_checks
from interop.checks import Check
from interop.simnet.netns import Host
from interop.testcases import TEST_CASES, TestCase

# What a plain handshake must not pass for.
OTHER_CHECKS: tuple[Check, ...] = (
    checks.handshakes(2),
    checks.repeated_client_hello,
    checks.only_chacha20,
    checks.retry,
    checks.resumption,
    checks.early_data,
    checks.key_update,
    checks.amplification,
    checks.only_ipv6,
    checks.version_2,
    checks.version_negotiation,
    path_checks.challenged_paths,
    path_checks.changed_address,
)

FULL = os.environ.get("CONTRACT_FULL") == "1"


@pytest.mark.parametrize("case", TEST_CASES, ids=[case.name for case in TEST_CASES])
def test_contract(case: TestCase, hosts: tuple[Host, Host], tmp_path: Path, seed: int) -> None:
    if not FULL:
        case = case.shortened()
    complaints, run = run_case(case, hosts, tmp_path, seed)
    for check in case.all_checks():
        complaints += check(run)
    assert complaints == []


def test_the_checks_complain(hosts: tuple[Host, Host], tmp_path: Path, seed: int) -> None:
    """On a real capture, of something else than what each of them looks for."""
    handshake = next(case for case in TEST_CASES if case.name == "handshake")
    _, run = run_case(handshake, hosts, tmp_path, seed)
    assert [check.__qualname__ for check in OTHER_CHECKS if check(run) == []] == []
    assert checks.files(replace(run, expected={})) != []
    # Without the key log the dissector is blind, and everything that needs a look inside fails.
    closed = replace(run.left, key_log=tmp_path / "none")
    blind = replace(run, left=closed, right=replace(run.right, key_log=closed.key_log))
    assert checks.dissected(run) == []
    assert [check(blind) for check in (checks.dissected, checks.stream_limit)].count([]) == 0
