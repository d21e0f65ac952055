"""An endpoint with a defect fails the case that looks for it, by the right check; it still shakes hands."""

import shlex
import sys
from pathlib import Path

import pytest

from interop.registry import load_peers, local_peer
from interop.results import CellResult, Status
from interop.runner.carrier import Network
from interop.runner.cell import run_cell
from interop.runner.plan import Cell

PROGRAM = Path(__file__).with_name("peer.py")

# The defect, who has it, the case, and the check that fails.
CASES = (
    ("no ECN counts", "client", "ecn", "ecn"),
    ("no ECN counts", "server", "ecn", "ecn"),
    ("wrong PATH_RESPONSE", "client", "rebind-port", "challenged paths"),
    ("numbers anew after a Retry", "client", "retry", "retry"),
    ("2000 streams", "server", "multiplexing", "stream limit"),
    ("only version 1", "server", "v2", "version 2"),
    ("any cipher suite", "client", "chacha20", "only chacha20"),
    ("no tickets", "server", "resumption", "resumption"),
    ("no early data", "client", "zerortt", "early data"),
    ("no key update", "client", "keyupdate", "key update"),
    ("no Retry", "server", "retry", "retry"),
    ("Retry for all", "server", "handshake", "no retry"),
    ("patient client", "client", "longrtt", "repeated client hello"),
)


def run(defect: str, role: str, test: str, directory: Path) -> CellResult:
    spoilt = local_peer("spoilt", shlex.join([sys.executable, "-P", str(PROGRAM), defect]))
    sound = load_peers()["interquic"]
    return run_cell(
        Cell(
            server=spoilt if role == "server" else sound,
            client=spoilt if role == "client" else sound,
            test=test,
            repeat=1,
            network=Network.PROXY,
            seed=1,
            timeout_scale=0.3,
            log_dir=directory,
        )
    )


@pytest.mark.parametrize(
    ("defect", "role", "test", "check"), CASES, ids=[f"{case[0]}-{case[1]}" for case in CASES]
)
def test_the_case_finds_it(defect: str, role: str, test: str, check: str, tmp_path: Path) -> None:
    result = run(defect, role, test, tmp_path)
    assert result.status is Status.FAILED
    assert check in {found.name for found in result.checks if not found.passed and not found.strict}


@pytest.mark.parametrize("defect", sorted({case[0] for case in CASES} - {"Retry for all"}))
def test_others_do_not(defect: str, tmp_path: Path) -> None:
    result = run(defect, "client", "handshake", tmp_path)
    assert (result.status, result.explanation) == (Status.SUCCEEDED, "")
