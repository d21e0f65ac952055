"""Policies that are learned: they read back, and hold the runs they come from to what they did."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from interop_samples import MATRIX, make_cell

from endpoint.cli.main import main
from interop import results
from interop.gate.findings import judge
from interop.gate.learn import learn
from interop.gate.policy import Expect, Policy, read_policy
from interop.gate.rounds import Repetition, go_on
from interop.gate.sequential import Outcome
from interop.results import CellResult, MatrixResult, Owner, Status


def matrix(*cells: CellResult) -> MatrixResult:
    return replace(MATRIX, cells=cells)


def outcome(test: str, *, passes: bool, **more: object) -> CellResult:
    status = Status.SUCCEEDED if passes else Status.FAILED
    return make_cell(test, status, **more)


def learned(runs: list[MatrixResult], directory: Path, least: int = 20) -> Policy:
    file = directory / "policy.toml"
    file.write_text(learn(runs, least, ["red"]))
    return read_policy(file)


def test_what_is_learned(tmp_path: Path) -> None:
    runs = [
        matrix(
            outcome("handshake", passes=True, seconds=2.0 + 0.1 * (number % 3)),
            outcome("transferloss", passes=number != 7),
            outcome("longrtt", passes=number % 4 == 0),
            outcome("v2", passes=False),
            make_cell("ecn", Status.UNSUPPORTED),
            outcome("retry", passes=False, known="counts anew"),
            outcome("goodput", passes=True, goodput_mbps=9.0),
            outcome("zerortt", passes=number != 3, owner=Owner.RUNNER),
        )
        for number in range(30)
    ]
    runs[0] = replace(runs[0], cells=(*runs[0].cells, make_cell("http3")))
    policy = learned(runs, tmp_path)
    rules = {rule.test[0]: rule for rule in policy.rules}
    assert {test: rule.expect for test, rule in rules.items()} == {
        "handshake": Expect.PASSES,
        "transferloss": Expect.RATE,
        "longrtt": Expect.ANY,
        "v2": Expect.ANY,
        "ecn": Expect.ANY,
        "retry": Expect.ANY,
        "goodput": Expect.PASSES,
        "zerortt": Expect.PASSES,
        "http3": Expect.ANY,
    }
    assert rules["http3"].reason == "only 1 of 20 runs"
    assert rules["longrtt"].reason == "passed 8 of 30: too seldom to tell"
    test, seconds, goodput = (
        rules["transferloss"].sequential,
        rules["handshake"].seconds,
        rules["goodput"].goodput,
    )
    assert test is not None
    assert seconds is not None
    assert goodput is not None
    assert 0.83 < test.rate < 29 / 30
    assert (seconds.median, goodput.median) == (2.1, 9.0)
    assert 0.1 < seconds.noise < 0.2
    assert policy.wants_traces_of("red")


@pytest.mark.parametrize(("true_rate", "expected"), [(0.95, Outcome.GREEN), (0.5, Outcome.RED)])
def test_a_cell_that_passes_95_of_100_times(true_rate: float, expected: Outcome, tmp_path: Path) -> None:
    """Learned from 200 runs at 95 %: it stays green, and goes red at 50 %, 99 times of 100 at least."""
    source = random.Random(f"learn {true_rate}")
    past = [matrix(outcome("transferloss", passes=source.random() < 0.95)) for _ in range(200)]
    policy = learned(past, tmp_path)

    def run(wishes: Sequence[Repetition]) -> MatrixResult:
        return matrix(
            *(outcome("transferloss", passes=source.random() < true_rate, repeat=w.number) for w in wishes)
        )

    ends = []
    for _ in range(500):
        first = matrix(outcome("transferloss", passes=source.random() < true_rate))
        (decision,) = judge(policy, go_on(policy, first, run)).decisions
        ends.append(decision.outcome)
    assert ends.count(expected) >= 0.99 * len(ends)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = []
    for number in range(3):
        files.append(str(tmp_path / str(number)))
        results.write(MATRIX, tmp_path / str(number) / "results.json")
    assert main(["interop", "policy", "learn", *files, "--min-runs", "3"]) == 0
    printed = capsys.readouterr().out
    file = tmp_path / "policy.toml"
    assert main(["interop", "policy", "learn", *files, "--min-runs", "3", "-o", str(file)]) == 0
    assert file.read_text() == printed
    assert printed.startswith("# Learned from 3 runs of blue 2.0, red 1.0.\n")
    assert main(["interop", "gate", "--results", files[0], "--policy", str(file)]) == 0


def test_mistakes_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results.write(matrix(), tmp_path / "results.json")
    assert main(["interop", "policy", "learn", str(tmp_path / "none")]) == 2
    assert main(["interop", "policy", "learn", str(tmp_path)]) == 2
    results.write(MATRIX, tmp_path / "results.json")
    assert main(["interop", "policy", "learn", str(tmp_path), "-o", "/dev/null/x"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors[0].endswith("none: No such file or directory")
    assert errors[1] == "interquic: the results have no cells: there is nothing to learn"
    assert errors[2] == "interquic: policy /dev/null/x: Not a directory"
