"""An endpoint with a defect fails the case that looks for it, by the right check; it still shakes hands.

The gate is red on each of the former and green on the latter.
"""

import os
import shlex
import sys
from pathlib import Path

import pytest

from interop.gate.findings import Verdict, judge
from interop.gate.policy import read_policy
from interop.registry import load_peers, local_peer
from interop.results import CellResult, MatrixResult, Status
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
    ("no PATH_CHALLENGE", "server", "rebind-port", "challenged paths"),
    ("no Retry", "server", "retry", "retry"),
    ("Retry for all", "server", "handshake", "no retry"),
    ("patient client", "client", "longrtt", "repeated client hello"),
    ("0-RTT numbers anew after a Retry", "client", "zerortt-retry", "early data after retry"),
    ("no early data", "client", "zerortt-retry", "early data after retry"),
    ("no key update", "client", "keyupdate-storm-client", "followed keys"),
    ("tired of key updates", "server", "keyupdate-storm-client", "followed keys"),
    ("tired of key updates", "client", "keyupdate-storm-server", "followed keys"),
    ("no packet number left out", "server", "optimistic-ack", "caught inventing acks"),
    ("another key for resets", "server", "server-restart", "ended by reset"),
    ("deaf to resets", "client", "server-restart", "ended by reset"),
)

# Without SABOTAGE_FULL (`make sabotage`) only what takes a second or two.
FEW = ("numbers anew after a Retry", "no Retry", "Retry for all")
CHOSEN = tuple(case for case in CASES if os.environ.get("SABOTAGE_FULL") or case[0] in FEW)


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


def gate(result: CellResult, directory: Path) -> Verdict:
    """By a policy that wants all, and no error in a trace of the sound side."""
    policy = directory / "policy.toml"
    policy.write_text(
        'schema = 1\nqlog = { peers = "interquic" }\ncell = [{ server = "*", client = "*", test = "*" }]\n'
    )
    matrix = MatrixResult(
        started=0.0, ended=0.0, interquic="", peers={}, cells=(result,), options={"seed": "1"}
    )
    return judge(read_policy(policy), matrix)


@pytest.mark.parametrize(
    ("defect", "role", "test", "check"), CHOSEN, ids=[f"{case[0]}-{case[1]}" for case in CHOSEN]
)
def test_the_case_finds_it(defect: str, role: str, test: str, check: str, tmp_path: Path) -> None:
    result = run(defect, role, test, tmp_path)
    assert result.status is Status.FAILED
    verdict = gate(result, tmp_path)
    assert not verdict.is_green
    assert [(finding.criterion, finding.triple) for finding in verdict.findings][:1] == [
        ("required", (result.server, result.client, test))
    ]
    assert check in {found.name for found in result.checks if not found.passed and not found.strict}


@pytest.mark.parametrize("defect", sorted({case[0] for case in CHOSEN} - {"Retry for all"}))
def test_others_do_not(defect: str, tmp_path: Path) -> None:
    result = run(defect, "client", "handshake", tmp_path)
    assert (result.status, result.explanation) == (Status.SUCCEEDED, "")
    assert gate(result, tmp_path).is_green
