"""Every test case of the interop runner between our own client and server, with its network and its checks.

Not part of an ordinary test run: `make contract`. There the cases with fifty connections make ten; all of
them with `make contract FULL=1`. `SIM_SEED` repeats the network's decisions.
"""

import os
from pathlib import Path

import pytest
from contract.runner import run_case

from interop.simnet.netns import Host
from interop.testcases import TEST_CASES, TestCase

FULL = os.environ.get("CONTRACT_FULL") == "1"


@pytest.mark.parametrize("case", TEST_CASES, ids=[case.name for case in TEST_CASES])
def test_contract(case: TestCase, hosts: tuple[Host, Host], tmp_path: Path, seed: int) -> None:
    if not FULL:
        case = case.shortened()
    complaints, run = run_case(case, hosts, tmp_path, seed)
    for check in case.all_checks():
        complaints += check(run)
    assert complaints == []
