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
from interop.results import Status
from interop.testcases import TEST_CASES
from qlog.checks import observers
from qlog.validate import validate_file

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


@pytest.mark.parametrize("test", [case.name for case in TEST_CASES])
@pytest.mark.usefixtures("hosts")
def test_contract(test: str, tmp_path: Path, seed: int) -> None:
    """Every check, those that go beyond the runner's as well, is content, and so are those of our traces."""
    result, _ = run_case(test, tmp_path, seed, short=not FULL)
    assert [f"{check.name}: {check.message}" for check in result.checks if not check.passed] == []
    assert (result.status, result.explanation) == (Status.SUCCEEDED, "")
    traces = sorted((tmp_path / result.log_dir).rglob("*.sqlog"))
    assert {path.stem.rpartition("_")[2] for path in traces} == {"client", "server"}
    reports = [validate_file(path, observers(), strict=True) for path in traces]
    assert [one for report in reports for one in report.findings if one.severity != "info"] == []


@pytest.mark.usefixtures("hosts")
def test_the_checks_complain(tmp_path: Path, seed: int) -> None:
    """On a real capture, of something else than what each of them looks for."""
    _, run = run_case("handshake", tmp_path, seed)
    assert [check.__qualname__ for check in OTHER_CHECKS if check(run) == []] == []
    assert checks.files(run) != []
    # Without the key log the dissector is blind, and everything that needs a look inside fails.
    closed = replace(run.left, key_log=tmp_path / "none")
    blind = replace(run, left=closed, right=replace(run.right, key_log=closed.key_log))
    assert checks.dissected(run) == []
    assert [check(blind) for check in (checks.dissected, checks.stream_limit)].count([]) == 0
